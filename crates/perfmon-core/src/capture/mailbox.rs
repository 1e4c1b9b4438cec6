//! Plans on their way from the backends in which they ran to the collector of their database: a bounded piece of
//! shared memory, without locks on the way of an execution.
//!
//! Protocol. The memory is cut into chunks, a bit for each says whether it is taken.
//! * A sender takes neighbouring free chunks by one compare-and-swap, writes the letter, and publishes it by
//!   its length at the first chunk. When there is no room the letter is dropped, and that is counted; nobody waits.
//!   Between taking and publishing nothing can fail or end the process but a crash of the server, after which all
//!   memory is new.
//! * Letters are read by anybody and taken out by those who hold a lock of the caller's, by the number that each
//!   has for itself: so a letter read before is never mistaken for a later one in its place.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::table::Key;

const CHUNK_WORDS: usize = 512;
const CHUNK_BYTES: usize = CHUNK_WORDS * 8;
const GROUPS: usize = 16;
const CHUNKS: usize = GROUPS * 64;

/// Words of all letters together: 4 MB.
pub const WORDS: usize = CHUNKS * CHUNK_WORDS;

/// Longest plan, both forms together, in bytes.
pub const MAX_PLAN: usize = 64 * 1024;

/// What is known of the letters.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Header {
    taken: [AtomicU64; GROUPS],
    /// Lengths of the letters that begin at each chunk; 0 for none.
    lengths: [AtomicU32; CHUNKS],
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    held_back: AtomicU64,
    expired: AtomicU64,
    /// When the next plan may be printed in any process, microseconds.
    next_at: AtomicU64,
}

impl Default for Header {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            taken: [const { AtomicU64::new(0) }; GROUPS],
            lengths: [const { AtomicU32::new(0) }; CHUNKS],
            sent: zero(),
            dropped: zero(),
            failed: zero(),
            held_back: zero(),
            expired: zero(),
            next_at: zero(),
        }
    }
}

/// One plan of one statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// The statement.
    pub statement: Key,
    /// How the plan is called while it is counted.
    pub counted_as: Key,
    /// Identity of the plan.
    pub plan: i64,
    /// When it was printed, microseconds on the clock of the sightings.
    pub at: i64,
    /// The execution's time.
    pub us: u64,
    /// Constants were kept in it.
    pub constants: bool,
    /// The plan as text, cut if it is too long.
    pub text: Vec<u8>,
    /// The plan as JSON; empty if it is too long.
    pub json: Vec<u8>,
}

/// Words before the two forms of the plan.
const HEAD: usize = 13;

impl Letter {
    /// Makes the plan fit: what is too long loses its JSON first, and then the end of its text.
    pub fn fit(&mut self) {
        if self.text.len() + self.json.len() <= MAX_PLAN {
            return;
        }
        self.json.clear();
        if self.text.len() <= MAX_PLAN {
            return;
        }
        let note = format!("\n... ({} bytes in all)", self.text.len());
        let most = MAX_PLAN - note.len();
        let end = self.text[..most].iter().rposition(|byte| *byte == b'\n').unwrap_or(most);
        self.text.truncate(end);
        self.text.extend_from_slice(note.as_bytes());
    }

    fn head(&self, number: u64) -> [u64; HEAD] {
        [
            number,
            self.statement.what,
            self.statement.whose,
            self.statement.kind,
            self.counted_as.what,
            self.counted_as.whose,
            self.counted_as.kind,
            self.plan as u64,
            self.at as u64,
            self.us,
            u64::from(self.constants),
            self.text.len() as u64,
            self.json.len() as u64,
        ]
    }

    fn of(words: &[u64]) -> Option<(u64, Self)> {
        let (head, body) = words.split_first_chunk::<HEAD>()?;
        let [number, what, whose, kind, c_what, c_whose, c_kind, plan, at, us, flags, text, json] =
            *head;
        let bytes: Vec<u8> = body.iter().flat_map(|word| word.to_le_bytes()).collect();
        let (text, json) = (usize::try_from(text).ok()?, usize::try_from(json).ok()?);
        let letter = Self {
            statement: Key { what, whose, kind },
            counted_as: Key { what: c_what, whose: c_whose, kind: c_kind },
            plan: plan as i64,
            at: at as i64,
            us,
            constants: flags != 0,
            text: bytes.get(..text)?.to_vec(),
            json: bytes.get(text..text.checked_add(json)?)?.to_vec(),
        };
        Some((number, letter))
    }
}

/// A letter that was read, and how to take it out.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivered {
    /// Where it lies, and its own number.
    pub place: (u32, u64),
    /// What it says.
    pub letter: Letter,
}

/// A letter that lies there: how to take it out, and what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Where it lies, and its own number.
    pub place: (u32, u64),
    /// The statement.
    pub statement: Key,
    /// Identity of the plan.
    pub plan: i64,
}

/// What became of the plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Post {
    /// Plans that were sent.
    pub sent: u64,
    /// Plans for which there was no room.
    pub dropped: u64,
    /// Plans that could not be printed.
    pub failed: u64,
    /// How often a plan was not printed as too many were just before.
    pub held_back: u64,
    /// Plans that no collector came for.
    pub expired: u64,
}

/// The mailbox over its parts. Any number of processes may have one over the same memory.
#[derive(Debug, Clone, Copy)]
pub struct Mailbox<'a> {
    header: &'a Header,
    words: &'a [AtomicU64],
}

impl<'a> Mailbox<'a> {
    /// Over memory of [`WORDS`] words, zeroed before its first use.
    pub fn new(header: &'a Header, words: &'a [AtomicU64]) -> Self {
        Self { header, words }
    }

    /// Whether a plan may be printed at a time: at most one in each pause (microseconds) in all processes.
    pub fn may_print(&self, now: i64, pause: i64) -> bool {
        let now = now.max(0) as u64;
        let next = self.header.next_at.load(Ordering::Relaxed);
        // A clock that went back must not stop it for long.
        let due = now >= next || next > now + 60_000_000;
        let after = now + pause.max(0) as u64;
        let exchange = |next| {
            let order = Ordering::Relaxed;
            self.header.next_at.compare_exchange(next, after, order, order).is_ok()
        };
        let may = due && exchange(next);
        if !may {
            self.hold_back();
        }
        may
    }

    /// A plan was not printed, as too many were just before.
    pub fn hold_back(&self) {
        self.header.held_back.fetch_add(1, Ordering::Relaxed);
    }

    /// A plan could not be printed.
    pub fn fail(&self) {
        self.header.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends a letter, or drops it when there is no room.
    pub fn send(&self, letter: &Letter) -> bool {
        let body = letter.text.len() + letter.json.len();
        let length = HEAD + body.div_ceil(8);
        let Some(first) = self.take(length.div_ceil(CHUNK_WORDS)) else {
            self.header.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        let number = self.header.sent.fetch_add(1, Ordering::Relaxed) + 1;
        let words = &self.words[first * CHUNK_WORDS..][..length];
        let head = letter.head(number);
        for (place, word) in words.iter().zip(head) {
            place.store(word, Ordering::Relaxed);
        }
        let mut bytes = letter.text.iter().chain(&letter.json).copied();
        for place in &words[HEAD..] {
            let word = std::array::from_fn(|_| bytes.next().unwrap_or(0));
            place.store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
        self.header.lengths[first].store(length as u32, Ordering::Release);
        true
    }

    /// Takes neighbouring chunks; gives the number of the first.
    fn take(&self, chunks: usize) -> Option<usize> {
        if chunks == 0 || chunks > 64 {
            return None;
        }
        for (number, group) in self.header.taken.iter().enumerate() {
            let mut taken = group.load(Ordering::Acquire);
            while let Some((at, mask)) = run(taken, chunks) {
                let order = (Ordering::AcqRel, Ordering::Acquire);
                match group.compare_exchange(taken, taken | mask, order.0, order.1) {
                    Ok(_) => return Some(number * 64 + at),
                    Err(now) => taken = now,
                }
            }
        }
        None
    }

    /// What lies there for one database, or for all, oldest first. Nobody may take letters out meanwhile.
    pub fn waiting(&self, database: Option<u32>) -> Vec<Waiting> {
        let ours = |key: &Key| database.is_none_or(|database| key.database() == database);
        let mut all: Vec<Waiting> = (0..CHUNKS as u32)
            .filter_map(|at| {
                let head = self.words_of(at)?.first_chunk::<HEAD>()?;
                let [number, what, whose, kind, _, _, _, plan, ..] =
                    head.each_ref().map(|word| word.load(Ordering::Relaxed));
                let statement = Key { what, whose, kind };
                Some(Waiting { place: (at, number), statement, plan: plan as i64 })
            })
            .filter(|waiting| ours(&waiting.statement))
            .collect();
        all.sort_unstable_by_key(|waiting| waiting.place.1);
        all
    }

    /// A letter, if it is still there. Nobody may take letters out meanwhile.
    pub fn letter(&self, (at, number): (u32, u64)) -> Option<Delivered> {
        let words = self.words_of(at)?;
        let words: Vec<u64> = words.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        let (own, letter) = Letter::of(&words)?;
        (own == number).then_some(Delivered { place: (at, number), letter })
    }

    /// The letters of one database, or of all, oldest first. Nobody may take letters out meanwhile.
    pub fn letters(&self, database: Option<u32>) -> Vec<Delivered> {
        let all = self.waiting(database).into_iter();
        all.filter_map(|waiting| self.letter(waiting.place)).collect()
    }

    /// The words of the letter that begins at a chunk.
    fn words_of(&self, at: u32) -> Option<&[AtomicU64]> {
        let length = self.header.lengths.get(at as usize)?.load(Ordering::Acquire) as usize;
        let start = at as usize * CHUNK_WORDS;
        self.words.get(start..start + length).filter(|words| words.len() >= HEAD)
    }

    /// Takes a letter out, if it is still there. Nobody else may take letters out at the same time.
    pub fn remove(&self, (at, number): (u32, u64)) -> bool {
        let Some(length) = self.header.lengths.get(at as usize) else { return false };
        let words = length.load(Ordering::Acquire) as usize;
        let start = at as usize * CHUNK_WORDS;
        if words == 0 || self.words[start].load(Ordering::Relaxed) != number {
            return false;
        }
        length.store(0, Ordering::Relaxed);
        let mask = mask(words.div_ceil(CHUNK_WORDS)) << (at % 64);
        self.header.taken[at as usize / 64].fetch_and(!mask, Ordering::AcqRel);
        true
    }

    /// Takes out those that were sent before a time: their collector does not come. Gives how the plans are counted.
    pub fn expire(&self, before: i64) -> Vec<Key> {
        let old = self.letters(None).into_iter().filter(|d| d.letter.at < before);
        let gone = old.filter(|delivered| self.remove(delivered.place));
        let keys: Vec<Key> = gone.map(|delivered| delivered.letter.counted_as).collect();
        self.header.expired.fetch_add(keys.len() as u64, Ordering::Relaxed);
        keys
    }

    /// Whether there is any letter.
    pub fn is_empty(&self) -> bool {
        self.header.taken.iter().all(|group| group.load(Ordering::Relaxed) == 0)
    }

    /// What became of the plans.
    pub fn post(&self) -> Post {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Post {
            sent: count(&self.header.sent),
            dropped: count(&self.header.dropped),
            failed: count(&self.header.failed),
            held_back: count(&self.header.held_back),
            expired: count(&self.header.expired),
        }
    }
}

fn mask(chunks: usize) -> u64 {
    u64::MAX >> (64 - chunks)
}

/// A run of so many bits that are not set, and its mask.
fn run(taken: u64, chunks: usize) -> Option<(usize, u64)> {
    let starts = (1..chunks).fold(!taken, |starts, step| starts & (!taken >> step));
    let at = starts.trailing_zeros() as usize;
    (at + chunks <= 64).then(|| (at, mask(chunks) << at))
}

const _: () = assert!((HEAD * 8 + MAX_PLAN).div_ceil(CHUNK_BYTES) <= 64);

#[cfg(test)]
#[path = "mailbox_tests.rs"]
mod tests;
