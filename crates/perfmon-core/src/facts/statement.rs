//! Statements: what they did in the window, and what their texts say.

use super::form::{Form, Offset, Returned};

/// One statement (user, queryid, toplevel).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statement {
    /// Id in this history.
    pub statement_id: i64,
    /// Not inside a function.
    pub toplevel: bool,
    /// Kind of command: `SELECT`, `UPDATE`, …
    pub command: Option<String>,
    /// Who ran it, quoted where needed.
    pub user_name: Option<String>,
    /// Executions.
    pub calls: u64,
    /// Execution time, ms.
    pub exec_ms: f64,
    /// Standard deviation of the execution time, ms.
    pub stddev_ms: Option<f64>,
    /// Executions whose times were counted one by one; 0 where none were.
    pub timed_calls: u64,
    /// Time within which 95 of 100 of these ended, ms.
    pub p95_ms: Option<f64>,
    /// Share of all top-level execution time.
    pub share_ratio: Option<f64>,
    /// Rows returned or changed.
    pub rows: u64,
    /// Planning time, ms; `None` while pg_stat_statements.track_planning is off.
    pub plan_ms: Option<f64>,
    /// Times planned.
    pub plans: Option<u64>,
    /// Blocks found in shared buffers.
    pub blks_hit: u64,
    /// Blocks read from outside.
    pub blks_read: u64,
    /// Blocks made dirty.
    pub blks_dirtied: u64,
    /// Time of reading blocks, ms; `None` while track_io_timing is off.
    pub read_ms: Option<f64>,
    /// Time of writing blocks, ms; `None` while track_io_timing is off.
    pub write_ms: Option<f64>,
    /// Blocks written to temporary files.
    pub temp_blks_written: u64,
    /// Blocks read from temporary files.
    pub temp_blks_read: u64,
    /// Time of temporary files, ms; `None` while track_io_timing is off.
    pub temp_ms: Option<f64>,
    /// WAL written, bytes.
    pub wal_bytes: u64,
    /// Time of just-in-time compilation, ms.
    pub jit_ms: Option<f64>,
    /// The worst quality of its differences: 0 exact, 1 lower bound, 2 doubtful.
    pub quality: u8,
    /// What its text says, where the text is known and the server could analyse it.
    pub shape: Option<Shape>,
    /// Names in its text mean nothing now, or other tables than those that its executions read: it has no shape.
    pub unresolved: bool,
    /// What it returned over all of history, in stretches of like length, oldest first; empty where nobody
    /// asked.
    pub returned: Vec<Returned>,
}

impl Statement {
    /// Shows a plan: what it reads, if anything, is read for somebody who looks at it.
    pub fn explains(&self) -> bool {
        self.command.as_deref() == Some("EXPLAIN")
    }

    /// Mean execution time, ms.
    #[allow(clippy::cast_precision_loss)]
    pub fn mean_ms(&self) -> Option<f64> {
        (self.calls > 0).then(|| self.exec_ms / self.calls as f64)
    }

    /// An amount per execution.
    #[allow(clippy::cast_precision_loss)]
    pub fn per_call(&self, amount: u64) -> Option<f64> {
        (self.calls > 0).then(|| amount as f64 / self.calls as f64)
    }
}

/// What the server's parser and analyser say about a statement's text.
///
/// Words in it are the server's, of catalogs: only the text of an expression may hold a constant, and
/// only when the statement's text held one; texts that pg_stat_statements normalised hold none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shape {
    /// Tables that it reads or writes, wherever in the statement; views are looked through. A table that
    /// stands several times in the statement under different conditions stands here as often.
    pub tables: Vec<TableUse>,
    /// Has LIMIT or FETCH FIRST at the top, or gives one row by its nature (a plain aggregate).
    pub bounded: bool,
    /// Aggregates, groups, or takes duplicates away at the top.
    pub aggregates: bool,
    /// Skips rows at the top.
    pub offset: Option<Offset>,
    /// The highest number of its parameters; 0 when it has none.
    pub parameters: u32,
    /// Forms that have a better one.
    pub forms: Vec<Form>,
    /// What the result is made of, deparsed, from FROM on where that is all; `None` where it is limited, gathered or
    /// not of tables, and where the server's deparser could not write it.
    pub result: Option<String>,
}

/// One table in a statement.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableUse {
    /// Its oid, to be joined with the facts about tables.
    pub oid: u32,
    /// Its rows are looked for: not so for the target of an INSERT.
    pub read: bool,
    /// Its rows are inserted, updated, deleted or merged.
    pub written: bool,
    /// Columns that an UPDATE sets, of its target itself; empty where there is none, or where it goes
    /// through a view.
    pub set: Vec<i16>,
    /// Looked into once for each row of something else: a correlated subquery, a LATERAL one.
    pub repeated: bool,
    /// Conditions on it that a scan could use, from WHERE and JOIN … ON, all joined by AND.
    pub predicates: Vec<Predicate>,
    /// Its columns that are compared, as they are, with a parameter.
    pub given: Vec<Given>,
    /// Columns and expressions of it by which rows are grouped, or duplicates taken away.
    pub group_by: Vec<String>,
    /// What the result is ordered by, when that is all of this table, or what an only `min` or `max`
    /// looks for.
    pub order_by: Vec<Order>,
    /// Only the first rows in this order are wanted: LIMIT, FETCH FIRST, `min`, `max`.
    pub first_rows: bool,
}

/// A condition on one column or expression of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Predicate {
    /// The column as the server quotes it, or the expression as it deparses it, such as `lower(email)`.
    pub expression: String,
    /// Attribute number of a plain column; 0 for an expression.
    pub attnum: i16,
    /// How it is compared.
    pub test: Test,
    /// Compared with a column of another table, rather than with a constant or parameter.
    pub join: bool,
    /// Oid of that table; 0 when it is a function, a list of values, or several tables.
    pub other: u32,
}

/// A column compared with parameters, nothing around any of them as far as the text tells. What type they had, and what
/// was converted for them, only executions tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Attribute number.
    pub attnum: i16,
    /// The column's type, as SQL writes it.
    pub of_type: String,
    /// How it is compared, the column first: `<`, `<=`, `=`, `>=`, `>`.
    pub sign: &'static str,
    /// The parameters.
    pub values: Values,
}

/// Parameters that a column is compared with, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// This one.
    One(u32),
    /// Any element of this array.
    Array(u32),
    /// Any of these; none where they are too many to be written out.
    List(Vec<u32>),
}

/// How a column is compared. What an index can do is said of one with the default operator class of
/// the column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Test {
    /// `=`, by a btree.
    Equal,
    /// `IN`, `= ANY`, and `=` joined by OR, by a btree.
    In,
    /// `<`, `<=`, `>`, `>=`, by a btree.
    Range,
    /// The same at both ends, or BETWEEN.
    Between,
    /// `LIKE`, `ILIKE`, `~` on text, with a pattern that is not known or not anchored.
    Pattern,
    /// `LIKE` on text with a pattern whose beginning is known to be fixed, by the text or by executions, or `^@`.
    Prefix,
    /// `@>`, `?`, `&&`, `@@` and the like, by a GIN index.
    Contain,
    /// `&&`, `@>`, `<<` and the like of types that a GiST index serves.
    Overlap,
    /// `IS NULL`.
    Null,
    /// Anything else, `<>` among it: no index helps.
    Other,
}

impl Test {
    /// Whether it asks for single values: `=`, `IN`.
    pub fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::In)
    }
}

/// One part of an ORDER BY.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Order {
    /// The column as the server quotes it, or the expression as it deparses it.
    pub expression: String,
    /// Attribute number of a plain column; 0 for an expression.
    pub attnum: i16,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST, said or by default.
    pub nulls_first: bool,
}
