//! Time about which nothing, or less than usual, is known. Must never decide what counts as a gap.

use super::sql;

/// One gap. `kind` is one of the table's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) since: i64,
    pub(crate) until: i64,
    /// A family, or what the gap is about.
    pub(crate) subject: String,
    pub(crate) kind: String,
    pub(crate) detail: Option<String>,
}

/// Writes a gap; one that is already there stays as it was.
pub(crate) fn record(source: i64, gap: &Gap) {
    sql::write(
        "INSERT INTO perfmon.gap (source, since, until, subject, kind, detail)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        &[
            source.into(),
            sql::time(gap.since),
            sql::time(gap.until),
            sql::text(&gap.subject),
            sql::text(&gap.kind),
            sql::optional_text(gap.detail.as_deref()),
        ],
    );
}
