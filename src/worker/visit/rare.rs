//! The reads that are made seldom: texts of statements, settings, and the catalog.

use std::collections::HashMap;

use perfmon_core::change::{self, Change, Object};

use super::Visit;
use super::elapsed_us;
use crate::pg::clock;
use crate::probe::objects::{self, Look, Seen};
use crate::{probe, store};

/// What is read before a look at the catalog.
pub(super) struct Standing {
    counters: i64,
    sight: Option<objects::Sight>,
}

/// Most texts read in one visit.
const MOST_TEXTS: i64 = 10_000;

impl Visit {
    /// Queryids whose text is to be read now, if any.
    pub(super) fn wanted_texts(&mut self) -> Option<Vec<i64>> {
        if !(self.new_queryids || self.header.texts_missing) {
            return None;
        }
        self.header.texts_missing = true;
        self.header.texts_new |= self.new_queryids;
        // Somebody who asked is there to look at them. What was not to be found a moment ago may wait.
        let asked = self.header.texts_new && (self.request.asked || !self.request.scheduled);
        if !self.has_statements || !(asked || self.header.texts_due(self.until)) {
            return None;
        }
        let wanted = store::dictionary::missing_texts(self.source, MOST_TEXTS, self.until);
        self.header.texts_missing = !wanted.is_empty();
        self.header.texts_new &= self.header.texts_missing;
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
        let more = read.len() as i64 == MOST_TEXTS;
        self.header.texts_missing = read.len() < wanted.len() || more;
        self.header.texts_new = more;
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
    pub(super) fn store_settings(&mut self, look: Option<probe::settings::Look>, own: Option<i64>) {
        let Some(look) = look else { return };
        let now: Vec<(String, String)> = look
            .settings
            .into_iter()
            .filter_map(|s| {
                let unit = s.unit.unwrap_or_default();
                Some((s.name, s.value.map(|value| format!("{value}{}", spaced(&unit)))?))
            })
            .collect();
        let changes = store::setting::replace(self.source, self.until, &now, &look.untold);
        store::change::record(self.source, self.until, &changes);
        self.header.settings_at = self.until;
        self.header.settings_own = own.unwrap_or(self.header.settings_own);
    }

    /// Where the catalog's counters stand, if it is time to look at it: whoever asks for a snapshot does not
    /// wait for them to move, which they do only seconds after the fact.
    pub(super) fn objects_due(&self) -> Option<Standing> {
        let counters = objects::counters();
        let pace = &self.header.objects;
        let asked = !self.request.scheduled || self.request.asked;
        let may_wait = !asked || objects::is_as_seen(pace.last());
        if may_wait && !pace.is_due(self.until, counters) {
            return None;
        }
        // A collector ends before it could look again.
        let sight = (!self.request.scheduled).then(objects::begin_to_watch);
        Some(Standing { counters, sight })
    }

    pub(super) fn seen_objects(&self) -> Seen {
        store::object::marks(self.source, objects::form())
    }

    /// Looks at the catalog; with what that cost.
    pub(super) fn look_at_objects(&mut self, seen: &Seen) -> (Option<Look>, i64) {
        let began = clock::monotonic_us();
        let look = self.attempt("tables and indexes", || objects::look(seen));
        (look, elapsed_us(began))
    }

    /// Keeps the catalog as it is, and what changed in it since it was last seen; the first look changes
    /// nothing, nor does what a restore brings along.
    pub(super) fn store_objects(
        &mut self,
        seen: &Seen,
        look: (Option<Look>, i64),
        standing: &Standing,
    ) {
        let (look, cost_us) = look;
        let counters = standing.counters;
        let Some(look) = look else {
            // Not at once again, whatever was wrong.
            self.header.objects.looked(self.until, counters, cost_us, false, true);
            return;
        };
        let changes = self.changes(seen, &look);
        store::object::replace(self.source, &look.objects, &look.left);
        store::change::record(self.source, self.until, &changes);
        let found = !changes.is_empty();
        if let Some(sight) = standing.sight.filter(|_| !look.unfinished) {
            objects::saw(sight, self.until);
        }
        self.header.objects.looked(self.until, counters, cost_us, found, look.unfinished);
    }

    /// What changed in the catalog; of a restored database, what it brings along is taken off the list.
    fn changes(&self, seen: &Seen, look: &Look) -> Vec<Change> {
        let is_new = |object: &Object| !seen.contains_key(&object.key());
        let new: Vec<&Object> = look.objects.iter().filter(|object| is_new(object)).collect();
        let originals = store::object::take_originals(self.source, &new);
        if seen.is_empty() {
            return Vec::new();
        }
        let originals: HashMap<(change::Kind, &str), &Object> =
            originals.iter().map(|object| ((object.kind, object.name.as_str()), object)).collect();
        let is_copy = |object: &Object| {
            let original = originals.get(&(object.kind, object.name.as_str()));
            original.is_some_and(|original| object.is_copy_of(original))
        };
        let here = look.objects.iter().filter(|object| !is_new(object) || !is_copy(object));
        let now: Vec<Object> = here.cloned().collect();
        let keys = now.iter().map(Object::key).chain(look.left.iter().copied());
        let before = store::object::seen(self.source, &keys.collect());
        change::between(&before, &now, &look.there)
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
