//! Keeps some entries of a table free: the coldest are folded into the rest of their database, a few in each
//! pass. Those of databases that are gone go altogether. One process does this; its memory of how busy each entry was is its
//! own.

use std::collections::HashSet;
use std::rc::Rc;

use super::table::{Entry, Occupancy, Payload, Table};

/// Most entries that one pass retires.
const FEW: usize = 64;

/// What is known of an entry from earlier passes.
#[derive(Debug, Clone, Copy, Default)]
struct Note {
    born: u32,
    /// Its activity at the last pass.
    seen: u32,
    /// How busy it was lately: half of that counts with each pass.
    heat: u32,
}

/// The databases that there are, and how many entries of a table had been claimed before that was known.
#[derive(Debug, Clone)]
struct There {
    databases: Rc<[u32]>,
    births: u32,
}

/// The worker's memory between passes.
#[derive(Debug, Default)]
pub struct Tender {
    notes: Vec<Note>,
    /// Until nothing is left of databases that are not among these.
    there: Option<There>,
    /// Entries that were retiring at the end of the last pass, by number and birth.
    retiring: Vec<(u32, u32)>,
    /// Those of them, by number, whose database is gone.
    gone: HashSet<u32>,
}

impl Tender {
    /// Learns which databases there are, ascending, by a list that was read after so many entries had been claimed: what
    /// came later may be of others.
    pub fn learn(&mut self, databases: Rc<[u32]>, births: u32) {
        self.there = Some(There { databases, births });
    }

    /// Folds what retired in the last pass, and retires the coldest if free entries are wanted. Passes must
    /// be apart by longer than a backend takes from finding an entry to counting in it: a second is plenty.
    /// Readers must be kept out meanwhile. Says whether another pass has something to do.
    pub fn pass<P: Payload>(&mut self, table: &Table<'_, P>) -> bool {
        if self.retiring.is_empty() && missing(table) == 0 && self.there.is_none() {
            return false;
        }
        self.fold(table);
        self.gone = self.retire_gone(table);
        let missing = missing(table).saturating_sub(self.gone.len());
        if missing > 0 {
            let mut coldest = self.look(table);
            coldest.sort_unstable();
            for (_, number) in coldest.into_iter().take(missing.min(FEW)) {
                table.retire(number);
            }
        }
        self.retiring = retiring(table);
        missing > 0 || !self.retiring.is_empty()
    }

    /// Retires some of what databases counted that are gone, and says which: nobody counts in these any more.
    fn retire_gone<P: Payload>(&mut self, table: &Table<'_, P>) -> HashSet<u32> {
        let Some(There { databases, births }) = &self.there else { return HashSet::new() };
        let is_gone = |entry: &Entry<P>| {
            let database = entry.database();
            entry.is_live()
                && database != 0
                && entry.is_older(*births, P::ROOTS)
                && databases.binary_search(&database).is_err()
        };
        let gone = table.candidates().filter(|(_, entry)| is_gone(entry)).take(FEW);
        let gone: HashSet<u32> = gone.map(|(number, _)| number).collect();
        gone.iter().for_each(|number| table.retire(*number));
        if gone.len() < FEW {
            self.there = None;
        }
        gone
    }

    /// Folds those that were retiring a pass ago. One that an earlier worker left behind is noted first.
    fn fold<P: Payload>(&mut self, table: &Table<'_, P>) {
        let mut folded = false;
        for (number, born) in std::mem::take(&mut self.retiring) {
            if table.entry(number).is_some_and(|e| e.is_retiring() && e.born() == born) {
                table.fold(number, !self.gone.contains(&number));
                folded = true;
            }
        }
        if folded {
            table.announce_room();
        }
    }

    /// How busy each entry was, coldest first after sorting. Those that were born since the last pass are
    /// left alone, as nothing is known of them.
    fn look<P: Payload>(&mut self, table: &Table<'_, P>) -> Vec<(u32, u32)> {
        let mut coldest = Vec::new();
        for (number, entry) in table.candidates().filter(|(_, entry)| entry.is_fine()) {
            let at = number as usize;
            if self.notes.len() <= at {
                self.notes.resize(at + 1, Note::default());
            }
            let (note, seen) = (&mut self.notes[at], entry.payload.activity());
            let new = note.born != entry.born();
            let moved = if new { seen } else { seen.wrapping_sub(note.seen) };
            let before = if new { 0 } else { note.heat / 2 };
            *note = Note { born: entry.born(), seen, heat: before.saturating_add(moved) };
            if !new {
                coldest.push((note.heat, number));
            }
        }
        coldest
    }
}

/// How many entries more should be free.
fn missing<P: Payload>(table: &Table<'_, P>) -> usize {
    let Occupancy { used, capacity, .. } = table.occupancy();
    table.wanted().saturating_sub(capacity.saturating_sub(used)) as usize
}

fn retiring<P: Payload>(table: &Table<'_, P>) -> Vec<(u32, u32)> {
    let on_its_way = |(_, entry): &(u32, &Entry<P>)| entry.is_retiring();
    table.candidates().filter(on_its_way).map(|(number, entry)| (number, entry.born())).collect()
}
