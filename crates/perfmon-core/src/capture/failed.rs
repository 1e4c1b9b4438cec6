//! Texts of statements that failed, without their literals: pg_stat_statements keeps none of a statement that never ran
//! to its end. Writers never wait: what finds its place being written to is lost.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::literal::{LONGEST, Masked};

/// Texts that are kept; of more between two visits of a collector the last.
pub const PLACES: usize = 64;

/// Words of a text.
const TEXT_WORDS: usize = LONGEST / 8;
/// The statement, its database with the text's length and whether it was cut, and the text.
const RECORD_WORDS: usize = 2 + TEXT_WORDS;
/// A word that says how far it is, and the record.
const PLACE_WORDS: usize = 1 + RECORD_WORDS;
/// Words before the places: a counter, and of each place whose text it has.
const HEAD_WORDS: usize = 8 + PLACES;
/// Words of all.
pub const WORDS: usize = HEAD_WORDS + PLACES * PLACE_WORDS;

const CUT: u64 = 1 << 31;

/// A statement's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Number since the server started.
    pub number: u64,
    /// The statement.
    pub query_id: u64,
    /// Its database.
    pub database: u32,
    /// In that database's encoding, with parameters in place of literals.
    pub text: Vec<u8>,
    /// It is longer than what there is of it.
    pub cut: bool,
}

/// What tells a statement from others; never 0.
fn key(query_id: u64, database: u32) -> u64 {
    (query_id ^ u64::from(database).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1 << 63
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

    fn keys(&self) -> &'a [AtomicU64] {
        self.words.get(8..HEAD_WORDS).unwrap_or_default()
    }

    fn place(&self, number: u64) -> Option<(&'a AtomicU64, &'a AtomicU64, &'a [AtomicU64])> {
        let at = (number % PLACES as u64) as usize;
        let from = HEAD_WORDS + at * PLACE_WORDS;
        let (mark, record) = self.words.get(from..from + PLACE_WORDS)?.split_first()?;
        Some((self.keys().get(at)?, mark, record))
    }

    /// Texts so far.
    pub fn count(&self) -> u64 {
        self.words.first().map_or(0, |count| count.load(Ordering::Acquire))
    }

    /// Whether a statement's text is there.
    pub fn has(&self, query_id: u64, database: u32) -> bool {
        let key = key(query_id, database);
        self.keys().iter().any(|known| known.load(Ordering::Relaxed) == key)
    }

    /// Takes a text that was written to `text`. Of the word before the record, an odd number says that it is being
    /// written, an even one which it is.
    pub fn post(&self, query_id: u64, database: u32, masked: Masked, text: &[u8; LONGEST]) {
        let Some(counter) = self.words.first() else { return };
        let number = counter.fetch_add(1, Ordering::AcqRel);
        let Some((known, mark, record)) = self.place(number) else { return };
        let before = mark.load(Ordering::Relaxed);
        let writing = 2 * number + 1;
        if before % 2 == 1
            || before > writing
            || mark.compare_exchange(before, writing, Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            return;
        }
        fence(Ordering::Release);
        let length = masked.length.min(LONGEST);
        let cut = if masked.cut { CUT } else { 0 };
        let head = [query_id, u64::from(database) << 32 | cut | length as u64];
        let (chunks, _) = text.as_chunks::<8>();
        let words = chunks.iter().take(length.div_ceil(8)).map(|chunk| u64::from_le_bytes(*chunk));
        for (place, word) in record.iter().zip(head.into_iter().chain(words)) {
            place.store(word, Ordering::Relaxed);
        }
        known.store(key(query_id, database), Ordering::Relaxed);
        mark.store(writing + 1, Ordering::Release);
    }

    /// Those of a number on, oldest first, as far as they are still there.
    pub fn since(&self, number: u64) -> Vec<Text> {
        let count = self.count();
        let first = number.max(count.saturating_sub(PLACES as u64));
        (first..count).filter_map(|number| self.get(number)).collect()
    }

    fn get(&self, number: u64) -> Option<Text> {
        let (_, mark, record) = self.place(number)?;
        let written = 2 * number + 2;
        if mark.load(Ordering::Acquire) != written {
            return None;
        }
        let words: Vec<u64> = record.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        fence(Ordering::Acquire);
        if mark.load(Ordering::Relaxed) != written {
            return None;
        }
        let ([query_id, about], text) = words.split_first_chunk::<2>()?;
        let length = (*about & (CUT - 1)) as usize;
        let bytes: Vec<u8> = text.iter().flat_map(|word| word.to_le_bytes()).take(length).collect();
        Some(Text {
            number,
            query_id: *query_id,
            database: (*about >> 32) as u32,
            text: bytes,
            cut: *about & CUT != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(board: &Board<'_>, query_id: u64, database: u32, said: &str, cut: bool) {
        let mut text = [b'?'; LONGEST];
        text[..said.len()].copy_from_slice(said.as_bytes());
        board.post(query_id, database, Masked { length: said.len(), cut }, &text);
    }

    #[test]
    fn a_text_is_read_as_it_was_written() {
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        let board = Board::new(&words);
        assert!(board.since(0).is_empty() && !board.has(7, 5));
        post(&board, 7, 5, "SELECT $1", false);
        post(&board, u64::MAX, u32::MAX, &"x".repeat(LONGEST), true);
        let found = board.since(0);
        let first =
            Text { number: 0, query_id: 7, database: 5, text: b"SELECT $1".to_vec(), cut: false };
        assert_eq!(found[0], first);
        assert_eq!((found[1].query_id, found[1].database), (u64::MAX, u32::MAX));
        assert_eq!((found[1].text.len(), found[1].cut), (LONGEST, true));
        assert!(board.has(7, 5) && !board.has(7, 6) && !board.has(8, 5));
        assert_eq!(board.since(1).len(), 1);
        assert_eq!(board.since(2), []);
    }

    #[test]
    fn of_more_than_there_is_room_for_the_last_stay() {
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        let board = Board::new(&words);
        for query_id in 0..3 * PLACES as u64 {
            post(&board, query_id, 5, "SELECT", false);
        }
        let left: Vec<u64> = board.since(0).iter().map(|text| text.query_id).collect();
        assert_eq!(left, (2 * PLACES as u64..3 * PLACES as u64).collect::<Vec<u64>>());
        assert!(board.has(2 * PLACES as u64, 5) && !board.has(PLACES as u64, 5));
    }
}
