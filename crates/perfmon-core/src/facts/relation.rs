//! Tables, indexes, foreign keys and sequences: the catalog as it is now, with the window's counters.

/// A table, partition, materialized view, or partitioned table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Oid now.
    pub oid: u32,
    /// Schema and table, quoted where needed: `public.orders`.
    pub name: String,
    /// Partitioned: holds no rows itself.
    pub partitioned: bool,
    /// A partition's (or inheritance child's) parent.
    pub parent: Option<u32>,
    /// Materialized view.
    pub materialized: bool,
    /// Rows by the planner's estimate; `None` before the first ANALYZE or VACUUM.
    pub rows: Option<f64>,
    /// Size of the table without indexes and TOAST, bytes.
    pub table_bytes: Option<i64>,
    /// Size of its TOAST table, bytes.
    pub toast_bytes: Option<i64>,
    /// Columns in order, dropped ones left out.
    pub columns: Vec<Column>,
    /// `d`efault, `n`othing, `f`ull, `i`ndex.
    pub replica_identity: char,
    /// Belongs to a publication.
    pub published: bool,
    /// Storage parameters such as `autovacuum_enabled` (and `toast.…`), as set.
    pub options: Vec<(String, String)>,
    /// Transactions since its frozen horizon.
    pub xid_age: Option<i64>,
    /// Multixacts since its frozen horizon.
    pub mxid_age: Option<i64>,
    /// Counters over the window; `None` when none were recorded.
    pub window: Option<Activity>,
    /// The same over the first half of the window, for a trend.
    pub first_half: Option<Activity>,
    /// The same over the whole history.
    pub history: Option<Activity>,
    /// Live rows at the end of the window, by the statistics system.
    pub live_rows: Option<u64>,
    /// Dead rows at the end of the window.
    pub dead_rows: Option<u64>,
    /// Rows changed since the last ANALYZE.
    pub mod_since_analyze: Option<u64>,
    /// Rows inserted since the last VACUUM.
    pub ins_since_vacuum: Option<u64>,
    /// Last manual or automatic runs, microseconds since the Unix epoch: vacuum, analyze.
    pub last_vacuum_us: Option<i64>,
    /// See above.
    pub last_analyze_us: Option<i64>,
    /// Of the system or of an extension, by itself or by its schema: nobody tunes it. Its columns and
    /// indexes are left out.
    pub internal: bool,
}

/// What happened to a table in a stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Activity {
    /// Sequential scans.
    pub seq_scan: u64,
    /// Rows that these read.
    pub seq_tup_read: u64,
    /// Index scans.
    pub idx_scan: u64,
    /// Rows fetched by these.
    pub idx_tup_fetch: u64,
    /// Rows inserted.
    pub n_tup_ins: u64,
    /// Rows updated.
    pub n_tup_upd: u64,
    /// Rows updated without new index entries.
    pub n_tup_hot_upd: u64,
    /// Rows deleted.
    pub n_tup_del: u64,
    /// Runs of autovacuum that ended.
    pub autovacuum_count: u64,
    /// Runs of VACUUM that ended.
    pub vacuum_count: u64,
    /// Blocks of table and indexes, TOAST included, found in shared buffers.
    pub blks_hit: u64,
    /// The same, read from outside.
    pub blks_read: u64,
    /// Dead rows at the end of that time, where the last interval that touched the table is known.
    pub dead_rows: Option<u64>,
    /// Rows changed since the last ANALYZE, at the same moment.
    pub mod_since_analyze: Option<u64>,
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Column {
    /// Attribute number.
    pub attnum: i16,
    /// Name, quoted where needed.
    pub name: String,
    /// Width in bytes: of the type where that is fixed, else the average by the planner's statistics.
    pub width: Option<i32>,
    /// Share of NULLs by the planner's statistics.
    pub null_ratio: Option<f64>,
    /// Distinct values as `pg_stats.n_distinct` has them: below 0 a share of the rows.
    pub distinct: Option<f64>,
    /// Alignment in bytes: 1, 2, 4 or 8.
    pub align: u8,
    /// NOT NULL.
    pub not_null: bool,
}

/// An index.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Index {
    /// Oid now.
    pub oid: u32,
    /// Schema and index, quoted where needed.
    pub name: String,
    /// Its table.
    pub table: u32,
    /// Access method: `btree`, `gin`, …
    pub method: String,
    /// Parts of the key, in order.
    pub key: Vec<KeyPart>,
    /// INCLUDEd columns, quoted.
    pub include: Vec<String>,
    /// What an entry holds: the parts of the key, then the INCLUDEd columns.
    pub stored: Vec<Stored>,
    /// A B-tree that keeps equal keys as one entry with a list of rows.
    pub deduplicates: bool,
    /// WHERE of a partial index, as the server deparses it; empty when `unread`.
    pub predicate: Option<String>,
    /// Expressions, predicate and definition are not known, because the table was locked or the server
    /// could not deparse them. Whether there are any is known.
    pub unread: bool,
    /// Forbids equal keys.
    pub unique: bool,
    /// UNIQUE NULLS NOT DISTINCT.
    pub nulls_not_distinct: bool,
    /// Checked at the statement's end at once (not deferrable).
    pub immediate: bool,
    /// Serves the primary key.
    pub primary: bool,
    /// Serves an exclusion constraint.
    pub exclusion: bool,
    /// `indisvalid`: may be used by queries.
    pub valid: bool,
    /// `indisready`: is kept up to date.
    pub ready: bool,
    /// `indislive`.
    pub live: bool,
    /// The table is clustered on it.
    pub clustered: bool,
    /// The table's replica identity.
    pub replica_identity: bool,
    /// Constraints that need it, foreign keys of other tables among them.
    pub constraints: Vec<Constraint>,
    /// Index of a partitioned table that this one is attached to.
    pub parent: Option<u32>,
    /// The index of a partitioned table: holds nothing itself.
    pub partitioned: bool,
    /// Belongs to an extension.
    pub of_extension: bool,
    /// Storage parameters, as set.
    pub options: Vec<(String, String)>,
    /// Size, bytes.
    pub bytes: Option<i64>,
    /// Pages and rows by the planner's estimate.
    pub pages: Option<i64>,
    /// See above.
    pub rows: Option<f64>,
    /// CREATE INDEX command, as the server deparses it; empty when `unread`.
    pub definition: String,
    /// A command that builds or drops it is in progress, as far as that can be seen.
    pub being_built: bool,
    /// First time it was seen in this history, microseconds since the Unix epoch.
    pub first_seen_us: Option<i64>,
    /// Scans over the window, and over all of history.
    pub window_scans: Option<u64>,
    /// See above.
    pub history_scans: Option<u64>,
    /// Time of history in which its table's and its own counters were recorded.
    pub history_covered_us: i64,
    /// Scans since the server's statistics were last reset.
    pub total_scans: Option<u64>,
    /// Last scan, 16 and later.
    pub last_scan_us: Option<i64>,
}

/// One part of an index's key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyPart {
    /// Attribute number; 0 for an expression.
    pub attnum: i16,
    /// The column, quoted, or the expression as the server deparses it, without parentheses around the
    /// whole; empty for an expression of an index that is `unread`.
    pub expression: String,
    /// Distinct values as `pg_stats.n_distinct` has them: below 0 a share of the rows.
    pub distinct: Option<f64>,
    /// Oid of the operator class.
    pub opclass: u32,
    /// Parameters of the operator class, as set; mostly empty.
    pub opclass_options: String,
    /// Oid of the collation; 0 for none.
    pub collation: u32,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST.
    pub nulls_first: bool,
}

/// One value in an index entry.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stored {
    /// Alignment in bytes: 1, 2, 4 or 8.
    pub align: u8,
    /// Length in the server's terms: bytes where fixed, below 0 where it varies.
    pub length: i16,
    /// Width in bytes: of the type where that is fixed, else the average by the planner's statistics.
    pub width: Option<i32>,
    /// Share of NULLs by the planner's statistics.
    pub null_ratio: Option<f64>,
}

/// A constraint that needs an index.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Constraint {
    /// `p`rimary, `u`nique, e`x`clusion, `f`oreign key that refers to it.
    pub kind: char,
    /// Name, quoted where needed.
    pub name: String,
}

/// A foreign key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ForeignKey {
    /// Constraint's name, quoted where needed.
    pub name: String,
    /// The referring table.
    pub table: u32,
    /// Its columns, in the order of the constraint.
    pub columns: Vec<i16>,
    /// The same, quoted.
    pub column_names: Vec<String>,
    /// The table referred to.
    pub referenced: u32,
    /// Its columns that are referred to, in the same order.
    pub referenced_columns: Vec<i16>,
    /// ON DELETE: `a` no action, `r` restrict, `c` cascade, `n` set null, `d` set default.
    pub on_delete: char,
    /// ON UPDATE.
    pub on_update: char,
}

/// A sequence.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sequence {
    /// Schema and sequence, quoted where needed.
    pub name: String,
    /// Last value given out; `None` before the first.
    pub last_value: Option<i64>,
    /// Where it starts.
    pub start: i64,
    /// Its bounds.
    pub min: i64,
    /// See above.
    pub max: i64,
    /// Step; below 0 it goes down.
    pub increment: i64,
    /// Starts again at its end.
    pub cycle: bool,
    /// The column that it feeds, table and column quoted, if it is owned by one.
    pub owned_by: Option<String>,
    /// Largest value that this column's type can hold; smaller than `max` when types differ.
    pub column_max: Option<i64>,
    /// Where it stood at an earlier moment, with that moment in microseconds since the Unix epoch.
    pub before: Option<(i64, i64)>,
}

impl Sequence {
    /// Table and column that it feeds, as the server quotes them.
    pub fn owner(&self) -> Option<(&str, &str)> {
        split(self.owned_by.as_deref()?)
    }
}

/// `public.orders.id` as table and column; dots within quotes do not part them.
fn split(owned_by: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let mut last = None;
    for (position, byte) in owned_by.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'.' if !quoted => last = Some(position),
            _ => {}
        }
    }
    last.map(|position| (&owned_by[..position], &owned_by[position + 1..]))
}
