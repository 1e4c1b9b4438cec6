//! What one process does to keep entries of a table free.

use std::sync::atomic::Ordering;

use super::{Entry, FREE, GONE, LIVE, Payload, RETIRING, Table};

impl<'a, P: Payload> Table<'a, P> {
    /// Entries by number that can be retired or are retiring, for the worker.
    pub(in crate::capture) fn candidates(
        &self,
    ) -> impl Iterator<Item = (u32, &'a Entry<P>)> + use<'a, P> {
        (0u32..)
            .zip(self.entries)
            .skip(P::ROOTS as usize)
            .filter(|(_, entry)| entry.state() != FREE)
    }

    /// How many entries should be free: those kept for coarse keys, and some for new keys.
    pub(in crate::capture) fn wanted(&self) -> u32 {
        let capacity = self.entries.len() as u32 - P::ROOTS;
        self.reserve() as u32 + (capacity / 16).max(1)
    }

    /// How many entries were ever claimed: those of later births than what is told now come later.
    pub fn births(&self) -> u32 {
        self.header.births.load(Ordering::Acquire)
    }

    /// How many databases have an entry for all that has none of its own, for each kind of counting.
    pub fn databases(&self) -> u32 {
        self.entries.iter().map(|entry| u32::from(entry.is_live() && entry.key().what == 0)).sum()
    }

    /// Whether something was counted that found no place at all.
    pub fn has_lost_places(&self) -> bool {
        self.entries.iter().take(P::ROOTS.div_ceil(2) as usize).any(|e| e.payload.activity() != 0)
    }

    /// Takes an entry out of the index: whoever comes next finds it no more. A coarse one stays as long as its database.
    pub(in crate::capture) fn retire(&self, number: u32) {
        let Some(entry) = self.entry(number) else { return };
        let home = entry.line.home.load(Ordering::Relaxed) as usize;
        let mask = self.index.len() - 1;
        if let Some(place) = self.index.get(home)
            && place.load(Ordering::Acquire) as u32 == number + 1
        {
            // Nobody searches past an empty place, so the last of a run leaves none behind.
            let last = self.index[(home + 1) & mask].load(Ordering::Acquire) == 0;
            place.store(if last { 0 } else { GONE }, Ordering::Release);
            if last {
                self.clear_before(home);
            }
        }
        entry.line.state.store(RETIRING, Ordering::Release);
        entry.end_life();
    }

    /// Empties the places of retired entries right before an empty place.
    fn clear_before(&self, empty: usize) {
        let mask = self.index.len() - 1;
        let mut at = empty;
        loop {
            at = at.wrapping_sub(1) & mask;
            let place = &self.index[at];
            if place.compare_exchange(GONE, 0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                return;
            }
        }
    }

    /// Moves the counts of a retired entry to its coarser key, or, if that is gone with its database, to what is kept of
    /// such, and frees it. It is told in numbers where that was for want of room.
    pub(in crate::capture) fn fold(&self, number: u32, for_room: bool) {
        let Some(entry) = self.entry(number) else { return };
        let key = entry.key();
        let rest = self.find(key.coarse()).unwrap_or_else(|| self.first(P::gone(key.kind)));
        if let Some(rest) = self.entry(rest.entry) {
            entry.payload.move_to(&rest.payload);
        }
        self.release(number);
        if for_room {
            self.header.folded.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// There is room again: whoever counts with the rest looks for an entry of its own.
    pub(in crate::capture) fn announce_room(&self) {
        for (number, entry) in (0u32..).zip(self.entries) {
            if number < P::ROOTS || (entry.state() == LIVE && entry.key().what == 0) {
                entry.end_life();
            }
        }
    }
}

impl<P> Entry<P> {
    /// Whether the entry is on its way out.
    pub(in crate::capture) fn is_retiring(&self) -> bool {
        self.state() == RETIRING
    }

    /// Whether it may be folded: coarse ones take in the others.
    pub(in crate::capture) fn is_fine(&self) -> bool {
        self.state() == LIVE && self.key().what != 0
    }

    /// Whether it is in use, and on no way out.
    pub(in crate::capture) fn is_live(&self) -> bool {
        self.state() == LIVE
    }

    /// The database, 0 for none.
    pub(in crate::capture) fn database(&self) -> u32 {
        self.key().database()
    }

    /// Whether it was claimed before so many were.
    pub(in crate::capture) fn is_older(&self, births: u32, roots: u32) -> bool {
        let age = births.wrapping_add(roots).wrapping_sub(self.born());
        age != 0 && age <= u32::MAX / 2
    }

    /// Number of its birth.
    pub(in crate::capture) fn born(&self) -> u32 {
        self.line.born.load(Ordering::Relaxed)
    }
}
