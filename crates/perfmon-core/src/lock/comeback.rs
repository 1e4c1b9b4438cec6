//! Clients that come back to their transactions: the session says so when the next message comes, a second or more after
//! the one before, so that the end of a pause is known whatever the session does until a sample sees it again.

use std::sync::atomic::AtomicU64;

use super::records::Records;

/// Those that are kept until the next sample.
pub const PLACES: usize = 2048;
/// Words of one.
const RECORD_WORDS: usize = 3;
/// Words of all.
pub const WORDS: usize = Records::<'_, PLACES, RECORD_WORDS>::LENGTH;

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
pub struct Board<'a>(Records<'a, PLACES, RECORD_WORDS>);

impl<'a> Board<'a> {
    /// In this memory, [`WORDS`] long.
    pub fn new(words: &'a [AtomicU64]) -> Self {
        Self(Records::new(words))
    }

    /// Those so far.
    pub fn count(&self) -> u64 {
        self.0.count()
    }

    /// Notes one.
    pub fn post(&self, one: Comeback) {
        self.0.post([one.pid as u64, one.before as u64, one.at as u64].into_iter());
    }

    /// Those of a number on up to another.
    pub fn between(&self, number: u64, count: u64) -> Comebacks {
        let first = Records::<'_, PLACES, RECORD_WORDS>::first(number, count);
        let mut found = Comebacks { all: Vec::new(), lost: first > number };
        for number in first..count {
            match self.0.get(number) {
                Some([pid, before, at]) => {
                    let (pid, before, at) = (pid as i32, before as i64, at as i64);
                    found.all.push(Comeback { pid, before, at });
                }
                None => found.lost = true,
            }
        }
        found
    }
}
