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

/// Writes a gap, or makes the one that ended where this begins longer, if it tells the same. What goes on
/// for days is then one gap, not one for each interval.
pub(crate) fn extend(source: i64, gap: &Gap) {
    if !lengthen(source, gap) {
        record(source, gap);
    }
}

/// Makes the gap longer that ended where this begins and tells the same; whether there is one.
pub(crate) fn lengthen(source: i64, gap: &Gap) -> bool {
    let longer = sql::write_again(
        "UPDATE perfmon.gap g SET until = $3
         WHERE g.source OPERATOR(pg_catalog.=) $1 AND g.until OPERATOR(pg_catalog.=) $2
             AND g.subject OPERATOR(pg_catalog.=) $4 AND g.kind OPERATOR(pg_catalog.=) $5
             AND g.detail IS NOT DISTINCT FROM $6",
        &[
            source.into(),
            sql::time(gap.since),
            sql::time(gap.until),
            sql::text(&gap.subject),
            sql::text(&gap.kind),
            sql::optional_text(gap.detail.as_deref()),
        ],
    );
    longer != 0
}
