//! Clients that come back to their transactions: the session says so when the next message comes, a second or more after
//! the one before, so that the end of a pause is known whatever the session does until a sample sees it again. Writers never
//! wait: what finds its place being written to is lost.

use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Those that are kept until the next sample.
pub const PLACES: usize = 2048;
/// A word that says how far it is, and the record.
const PLACE_WORDS: usize = 4;
/// Words of all: a counter, and the places.
pub const WORDS: usize = 8 + PLACES * PLACE_WORDS;

/// A client that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comeback {
    /// The session's process.
    pub pid: i32,
    /// When the client's message before came.
    pub before: i64,
    /// When the one came with which it is back.
    pub at: i64,
}

/// Clients that came back of late.
#[derive(Debug, Clone, Default)]
pub struct Comebacks {
    /// In the order in which they did.
    pub all: Vec<Comeback>,
    /// Whether some were lost.
    pub lost: bool,
}

impl Comebacks {
    /// When the client came back to which a session waited since a time. Between two messages lies one such time alone.
    pub fn after(&self, pid: i32, began: i64) -> Option<i64> {
        let is_it = |one: &&Comeback| one.pid == pid && (one.before..=one.at).contains(&began);
        self.all.iter().find(is_it).map(|one| one.at)
    }
}

/// The places in shared memory, which begin as zeroes.
#[derive(Debug, Clone, Copy)]
pub struct Board<'a> {
    words: &'a [AtomicU64],
}

impl<'a> Board<'a> {
    /// In this memory, [`WORDS`] long.
    pub fn new(words: &'a [AtomicU64]) -> Self {
        Self { words }
    }

    fn place(&self, number: u64) -> Option<(&'a AtomicU64, &'a [AtomicU64])> {
        let from = 8 + (number % PLACES as u64) as usize * PLACE_WORDS;
        self.words.get(from..from + PLACE_WORDS)?.split_first()
    }

    /// Those so far.
    pub fn count(&self) -> u64 {
        self.words.first().map_or(0, |count| count.load(Ordering::Acquire))
    }

    /// Notes one. Of the word before the record, an odd number says that it is being written, an even one which it is.
    pub fn post(&self, one: Comeback) {
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
        let values = [one.pid as u64, one.before as u64, one.at as u64];
        for (word, value) in record.iter().zip(values) {
            word.store(value, Ordering::Relaxed);
        }
        mark.store(writing + 1, Ordering::Release);
    }

    /// Those of a number on up to another.
    pub fn between(&self, number: u64, count: u64) -> Comebacks {
        let first = number.max(count.saturating_sub(PLACES as u64));
        let mut found = Comebacks { all: Vec::new(), lost: first > number };
        for number in first..count {
            match self.get(number) {
                Some(one) => found.all.push(one),
                None => found.lost = true,
            }
        }
        found
    }

    fn get(&self, number: u64) -> Option<Comeback> {
        let (mark, record) = self.place(number)?;
        let written = 2 * number + 2;
        if mark.load(Ordering::Acquire) != written {
            return None;
        }
        let mut values = [0; PLACE_WORDS - 1];
        for (value, word) in values.iter_mut().zip(record) {
            *value = word.load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        if mark.load(Ordering::Relaxed) != written {
            return None;
        }
        let [pid, before, at] = values;
        Some(Comeback { pid: pid as i32, before: before as i64, at: at as i64 })
    }
}
