//! Numbered records in shared memory, of which the last so many are kept. Writers never wait: what finds its place being written
//! to is lost.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Words before the places: a counter.
const HEAD: usize = 8;

/// Room for `PLACES` records of `WORDS` words, in memory that begins as zeroes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Records<'a, const PLACES: usize, const WORDS: usize> {
    words: &'a [AtomicU64],
}

impl<'a, const PLACES: usize, const WORDS: usize> Records<'a, PLACES, WORDS> {
    /// A word that says how far it is, and the record.
    const PLACE: usize = 1 + WORDS;
    /// Words of all.
    pub(super) const LENGTH: usize = HEAD + PLACES * Self::PLACE;

    /// In this memory, [`Self::LENGTH`] long.
    pub(super) fn new(words: &'a [AtomicU64]) -> Self {
        Self { words }
    }

    fn place(&self, number: u64) -> Option<(&'a AtomicU64, &'a [AtomicU64])> {
        let from = HEAD + (number % PLACES as u64) as usize * Self::PLACE;
        self.words.get(from..from + Self::PLACE)?.split_first()
    }

    /// Those so far.
    pub(super) fn count(&self) -> u64 {
        self.words.first().map_or(0, |count| count.load(Ordering::Acquire))
    }

    /// The first of those after a number that may still be there, where there are so many.
    pub(super) fn first(number: u64, count: u64) -> u64 {
        number.max(count.saturating_sub(PLACES as u64))
    }

    /// Notes one. Of the word before the record, an odd number says that it is being written, an even one which it is.
    pub(super) fn post(&self, values: impl Iterator<Item = u64>) {
        let Some(counter) = self.words.first() else { return };
        let number = counter.fetch_add(1, Ordering::AcqRel);
        let Some((mark, record)) = self.place(number) else { return };
        let before = mark.load(Ordering::Relaxed);
        let writing = 2 * number + 1;
        if before % 2 == 1
            || before > writing
            || mark.compare_exchange(before, writing, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            return;
        }
        fence(Ordering::Release);
        for (word, value) in record.iter().zip(values) {
            word.store(value, Ordering::Relaxed);
        }
        mark.store(writing + 1, Ordering::Release);
    }

    /// The one of a number, if it is still there and whole.
    pub(super) fn get(&self, number: u64) -> Option<[u64; WORDS]> {
        let (mark, record) = self.place(number)?;
        let written = 2 * number + 2;
        if mark.load(Ordering::Acquire) != written {
            return None;
        }
        let mut values = [0; WORDS];
        for (value, word) in values.iter_mut().zip(record) {
            *value = word.load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        (mark.load(Ordering::Relaxed) == written).then_some(values)
    }
}
