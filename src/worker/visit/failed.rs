//! Texts of statements that failed since the last visit: pg_stat_statements has none of those that never ran to their
//! end.

use std::collections::BTreeMap;

use super::Visit;
use crate::pg::session;
use crate::probe::texts::{self, StatementText};
use crate::watch::live;

/// What was read.
pub(super) struct Failed {
    /// In which life of the memory, and how many there were in it so far.
    began: i64,
    count: u64,
    texts: Vec<StatementText>,
}

impl Visit {
    /// Reads those that came since the last visit.
    pub(super) fn read_failed(&mut self) {
        let Some(began) = live::began() else { return };
        let (known_began, known) = self.header.failed;
        let from = if known_began == began { known } else { 0 };
        let found = live::failed(session::database().to_u32(), from);
        let Some((found, count)) = found.filter(|(_, count)| (began, *count) != self.header.failed)
        else {
            return;
        };
        let judge = || {
            // The same may have come twice.
            let mut all: BTreeMap<i64, StatementText> = BTreeMap::new();
            for text in &found {
                let queryid = text.query_id as i64;
                all.insert(queryid, texts::of_failed(queryid, &text.text, text.cut));
            }
            all.retain(|_, text| text.query.is_some());
            Ok(all.into_values().collect())
        };
        let texts = self.attempt("texts of errors", judge).unwrap_or_default();
        self.failed = Some(Failed { began, count, texts });
    }

    /// Keeps those of statements of which no other text is known.
    pub(super) fn store_failed(&mut self) {
        let Some(Failed { began, count, texts }) = self.failed.take() else { return };
        self.header.failed = (began, count);
        self.enter_texts(texts);
    }
}
