//! Forms of writing a statement that have a better one, as the server's analyser shows them. Whether one is
//! worth a word is for the detectors.

/// Something in a statement that can be written in another way.
///
/// Its texts are the server's own: parameters stand in place of constants, except where a constant is the
/// form itself, such as the unit of `date_trunc` or the zero of `count(*) > 0`.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// What it is.
    pub kind: FormKind,
    /// Oids of the tables whose rows it is about.
    pub tables: Vec<u32>,
    /// Attribute number of the column that it is about; 0 where there is none, or several.
    pub attnum: i16,
    /// What is written.
    pub expression: String,
    /// What to write instead; `None` where the server's deparser could not write it.
    pub better: Option<String>,
    /// What an index would have to be on to serve what is written: the column, quoted, or the expression.
    pub indexable: Option<String>,
    /// The better form looks at the written one's query from outside: it belongs into the view or subquery
    /// that computes the expression.
    pub inside: bool,
    /// Types of parameters in it are those that the analyser took for them; the text does not tell them.
    pub guessed: bool,
}

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub enum FormKind {
    /// `date_trunc(unit, column)` is compared.
    Truncated {
        /// The column, or what it is compared with, is a `timestamptz`.
        zoned: bool,
    },
    /// `date_trunc(unit, column)` of a `date` is compared.
    TruncatedDay,
    /// `column::date` is compared.
    Dated {
        /// The column, or what it is compared with, is a `timestamptz`.
        zoned: bool,
    },
    /// Something is added to the column, taken off, multiplied with it, or the column taken off it.
    Shifted {
        /// What becomes of it on the other side.
        moved: Moved,
    },
    /// `COALESCE(column, value)` is compared.
    Defaulted,
    /// The column is written as text, and this is compared.
    Spelled,
    /// The column is cast to a type that holds its values exactly and in the same order, and this is compared.
    Widened,
    /// Any other function, operator or cast is applied to columns of one table.
    Computed,
    /// The same with values in it that the text does not keep: an index could be on it, yet nobody knows with which.
    Templated,
    /// The same of what changes with settings or with time: no index can be on it.
    Unstable,
    /// The server converts the column silently, because it is compared with another type.
    Converted {
        /// The column's type.
        column: String,
        /// The type that it is converted to.
        to: String,
        /// It is compared with columns of another table.
        joined: bool,
    },
    /// A column of whole numbers is converted, mostly silently, because it is compared with a number that may have a
    /// fraction; the better form rounds that number so that the same rows are found.
    Rounded {
        /// The column's type.
        column: String,
        /// The type that it is converted to.
        to: String,
    },
    /// A pattern that begins with a wildcard, or any pattern where the type's LIKE is none that indexes know.
    Wildcard {
        /// The pattern is in the text; else executions have to tell what it begins with.
        known: bool,
        /// What is compared with it.
        of: Patterned,
    },
    /// Tables that no condition connects, in the parts that conditions do connect.
    Unconnected {
        /// Oid of each table with its name in the statement, quoted.
        parts: Vec<Vec<(u32, String)>>,
    },
    /// `NOT IN (SELECT …)`.
    NotIn {
        /// The subquery may give NULL, as far as the catalog tells.
        inner_nullable: bool,
        /// What is sought may be NULL.
        outer_nullable: bool,
        /// Several columns are compared at once.
        rows: bool,
        /// The server keeps the subquery's rows in a hash table, unless they are too many for its memory.
        hashable: bool,
    },
    /// A number of rows is compared with one so small that one row would tell.
    Counted {
        /// The number is in the text; else executions have to tell what it is.
        known: bool,
        /// It is a parameter that is counted, `count($1)`, of which the text does not tell whether it is NULL.
        given: bool,
    },
}

/// What a pattern is sought in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patterned {
    /// Text: trigrams are of it.
    Text,
    /// `char(n)`, whose blanks at the end are no part of its text.
    Padded,
    /// `name`, as the server calls its own objects: its text is the same.
    Name,
    /// A type that is compared without regard to case (citext): its LIKE is ILIKE of its text, for which no index of the
    /// type is searched, whatever the pattern begins with.
    Caseless,
}

/// Arithmetic that is taken to the other side of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// Of whole or decimal numbers, or days of a date, which are added and taken off without rounding.
    Exact,
    /// Spans of time, which are not of one length.
    Span,
    /// Numbers in floating point, which are rounded.
    Rounded,
    /// A product, which becomes a quotient.
    Divided,
}

/// OFFSET of a statement, or of a query within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offset {
    /// Rows that it skips; `None` where that is a parameter.
    pub rows: Option<i64>,
    /// LIMIT and OFFSET as they are written, with parameters in place of constants; empty where the server's deparser
    /// could not write them.
    pub expression: String,
    /// It is of a subquery, a view or a WITH query.
    pub inside: bool,
    /// The tables of the query that it is of.
    pub tables: Vec<u32>,
}

/// What a statement returned in a stretch of history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Returned {
    /// Its end, microseconds since the Unix epoch.
    pub until_us: i64,
    /// Executions.
    pub calls: u64,
    /// Rows that these returned.
    pub rows: u64,
}

impl Returned {
    /// Rows per execution.
    #[allow(clippy::cast_precision_loss)]
    pub fn per_call(&self) -> Option<f64> {
        (self.calls > 0).then(|| self.rows as f64 / self.calls as f64)
    }
}
