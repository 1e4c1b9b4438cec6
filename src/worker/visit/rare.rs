//! The reads that are made seldom: texts of statements, and settings.

use super::Visit;
use super::elapsed_us;
use crate::pg::clock;
use crate::{probe, store};

/// Most texts read in one visit.
const MOST_TEXTS: i64 = 10_000;

impl Visit {
    /// Queryids whose text is to be read now, if any.
    pub(super) fn wanted_texts(&mut self) -> Option<Vec<i64>> {
        if !(self.new_queryids || self.header.texts_missing) {
            return None;
        }
        self.header.texts_missing = true;
        if !self.has_statements || !self.header.texts_due(self.until) {
            return None;
        }
        let wanted = store::dictionary::missing_texts(self.source, MOST_TEXTS);
        self.header.texts_missing = !wanted.is_empty();
        self.header.texts_missing.then_some(wanted)
    }

    pub(super) fn read_texts(&mut self, wanted: &[i64]) -> Vec<probe::texts::StatementText> {
        let began = clock::monotonic_us();
        let read =
            self.attempt("statement texts", || probe::texts::texts(wanted)).unwrap_or_default();
        self.header.texts_at = self.until;
        self.header.texts_cost_us = elapsed_us(began);
        read
    }

    pub(super) fn store_texts(&mut self, wanted: &[i64], read: Vec<probe::texts::StatementText>) {
        self.header.texts_missing = read.len() < wanted.len() || read.len() as i64 == MOST_TEXTS;
        let texts: Vec<store::dictionary::Text> = read
            .into_iter()
            .map(|text| store::dictionary::Text {
                queryid: text.queryid,
                command: Some(text.command),
                query: text.query,
                note: text.note.map(str::to_owned),
            })
            .collect();
        store::dictionary::enter_texts(self.source, &texts, self.until);
    }

    /// Keeps settings as they are, and what changed in them since they were last seen.
    pub(super) fn store_settings(&mut self, read: Option<Vec<probe::settings::Setting>>) {
        let Some(read) = read else { return };
        let now: Vec<(String, String)> = read
            .into_iter()
            .filter_map(|s| {
                let unit = s.unit.unwrap_or_default();
                Some((s.name, s.value.map(|value| format!("{value}{}", spaced(&unit)))?))
            })
            .collect();
        let changes = store::setting::replace(self.source, self.until, &now);
        store::change::record(self.source, self.until, &changes);
        self.header.settings_at = self.until;
    }
}

/// A unit as it follows a value: numbers like "8kB" are multiplied, others are written behind.
fn spaced(unit: &str) -> String {
    match unit {
        "" => String::new(),
        _ if unit.starts_with(|c: char| c.is_ascii_digit()) => format!(" x {unit}"),
        _ => format!(" {unit}"),
    }
}
