//! What is known of errors for certain where not all of them are known.

use super::judge::{failed, perhaps};
use super::{Errors, Row};

/// Where not all errors of some intervals are known: what is known for certain of all of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Least {
    /// So many failed, of no more than so many that were tried.
    pub(super) errors: Errors,
    /// No fewer were tried.
    pub(super) tried: u64,
    /// There is an interval of which nothing is known.
    pub(super) is_part: bool,
}

impl Least {
    /// `None` where nothing more is known than that of intervals of which all errors are.
    pub(super) fn of(rows: &[Row]) -> Option<Self> {
        let is_more = |row: &Row| row.heard.errors > 0 && row.least_errors().is_some();
        rows.iter().any(is_more).then(|| rows.iter().fold(Self::default(), Self::with))
    }

    fn with(self, row: &Row) -> Self {
        let (errors, tried) = match (row.errors, row.least_errors()) {
            (Some(known), _) => (known.at_best(row.failed_perhaps), known.of),
            (None, Some(least)) => {
                (least, row.executions().unwrap_or(0).saturating_add(row.heard.of))
            }
            (None, None) => (Errors::default(), 0),
        };
        let is_untold = row.errors.is_none() && row.least_errors().is_none();
        Self {
            errors: self.errors.with(errors),
            tried: self.tried.saturating_add(tried),
            is_part: self.is_part || is_untold && row.active_us() > 0,
        }
    }
}

/// The largest share of errors that is known for certain, of a part of the intervals or of all.
pub(super) fn surest(rows: &[Row]) -> Option<Errors> {
    let known = failed(rows).map(|known| known.at_best(perhaps(rows)));
    let least = Least::of(rows).map(|least| least.errors);
    let is_more = |a: Errors, b: Errors| share(a) > share(b);
    match (known, least) {
        (Some(known), Some(least)) if is_more(least, known) => Some(least),
        (None, least) => least,
        (known, _) => known,
    }
}

/// As a share of what was tried.
pub(super) fn share(Errors { errors, of }: Errors) -> f64 {
    errors as f64 / of.max(1) as f64
}
