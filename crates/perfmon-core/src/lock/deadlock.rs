//! Deadlocks as the session that was ended tells them: the words of the error name the processes, the hook adds what
//! their statements are, and a collector reads it.

use std::sync::atomic::AtomicU64;

use super::records::Records;
use super::ring::Wait;
use super::{ADVISORY_KIND, Party, TRANSACTION_KIND, TUPLE_KIND, Tag, UNKNOWN_KIND, VIRTUAL_KIND};

/// Sessions of one deadlock that are kept, that which was ended included.
pub const PARTIES: usize = 8;
/// Deadlocks that are kept until a collector comes.
pub const PLACES: usize = 64;

/// Words of one party and of one deadlock.
const PARTY_WORDS: usize = 14;
const RECORD_WORDS: usize = 2 + PARTIES * PARTY_WORDS;
/// Words of all.
pub const WORDS: usize = Records::<'_, PLACES, RECORD_WORDS>::LENGTH;

/// One that waited for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Who waited.
    pub pid: i32,
    /// For whom.
    pub blocker: i32,
    /// What the lock was on.
    pub tag: Tag,
}

/// The circle, as long as it fits.
pub type Links = [Option<Link>; PARTIES];

/// Numbers of a line, as far as they matter.
const NUMBERS: usize = 8;

fn numbers(line: &[u8]) -> ([u32; NUMBERS], usize) {
    let mut found = [0_u32; NUMBERS];
    let mut count = 0_usize;
    let mut inside = false;
    for byte in line {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
        match digit {
            Some(digit) if inside => {
                if let Some(number) = count.checked_sub(1).and_then(|at| found.get_mut(at)) {
                    *number = number.saturating_mul(10).saturating_add(digit);
                }
            }
            Some(digit) => {
                if let Some(number) = found.get_mut(count) {
                    *number = digit;
                }
                count += 1;
            }
            None => {}
        }
        inside = digit.is_some();
    }
    (found, count)
}

fn link(line: &[u8], database: u32) -> Option<Link> {
    let (found, count) = numbers(line);
    if !(3..=NUMBERS).contains(&count) {
        return None;
    }
    let object = &found[1..count - 1];
    let has = |byte: u8| line.contains(&byte);
    // Of a relation the words end with its number and the database's.
    let last = object.last().copied();
    let relation = object.len().checked_sub(2).and_then(|at| object.get(at)).copied();
    let in_relation = |kind| Tag { database, relation: relation.unwrap_or(0), kind };
    let apart = |kind| Tag { database: 0, relation: 0, kind };
    let tag = match object.len() {
        1 => apart(TRANSACTION_KIND),
        4 if has(b'[') => Tag { database, relation: 0, kind: ADVISORY_KIND },
        2 if has(b'/') => apart(VIRTUAL_KIND),
        4 if has(b'(') && last == Some(database) => in_relation(TUPLE_KIND),
        2 if last == Some(database) => in_relation(0),
        _ => apart(UNKNOWN_KIND),
    };
    let pid = i32::try_from(found[0]).ok()?;
    let blocker = i32::try_from(found[count - 1]).ok()?;
    Some(Link { pid, blocker, tag })
}

/// Who waited for whom, from the error's detail, whose lines name processes and locks by their numbers, in whatever
/// language: "Process 1 waits for ShareLock on transaction 3; blocked by process 2." What makes no circle is not
/// understood, and nothing is said.
pub fn links(detail: &[u8], database: u32) -> Links {
    let mut links: Links = [None; PARTIES];
    let mut count = 0_usize;
    for line in detail.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let Some(found) = link(line, database) else { return [None; PARTIES] };
        // A longer circle is kept in part.
        if let Some(place) = links.get_mut(count) {
            *place = Some(found);
            count += 1;
        }
    }
    let follows = |at: usize| match (links[at - 1], links[at]) {
        (Some(before), Some(next)) => before.blocker == next.pid,
        _ => false,
    };
    if count == 0 || !(1..count).all(follows) {
        return [None; PARTIES];
    }
    links
}

/// One session of a deadlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Who; the times are not kept.
    pub party: Party,
    /// For whom it waited; 0 is unknown.
    pub blocker: i32,
    /// What the lock was on.
    pub tag: Tag,
}

/// One deadlock: the first member was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deadlock {
    /// Number since the server started.
    pub number: u64,
    /// When, on the server's epoch.
    pub at: i64,
    /// Who took part.
    pub members: Vec<Member>,
}

impl Deadlock {
    /// Whether a session or an object of a database takes part.
    pub fn concerns(&self, database: u32) -> bool {
        let of = |member: &Member| [member.party.database, member.tag.database];
        self.members.iter().any(|member| of(member).contains(&database))
    }

    /// Says in which relation the rows are that were waited for: the error names the transaction that changed a row, but
    /// samples may have seen the wait and know the row. `at` is when it was, by the clock of the waits.
    pub fn name_rows(&mut self, at: i64, waits: &[Wait]) {
        let unnamed = |tag: Tag| tag.kind == TRANSACTION_KIND && tag.relation == 0;
        for member in self.members.iter_mut().filter(|member| unnamed(member.tag)) {
            let is_it = |wait: &&Wait| {
                let goes_on = wait.ended == 0 || wait.ended >= at;
                let between = (wait.waiter.pid, wait.blocker.pid);
                wait.tag.kind == TRANSACTION_KIND
                    && wait.tag.relation != 0
                    && between == (member.party.pid, member.blocker)
                    && wait.began <= at
                    && goes_on
            };
            let seen = waits.iter().filter(is_it).max_by_key(|wait| wait.began);
            member.tag = seen.map_or(member.tag, |wait| wait.tag);
        }
    }
}

fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

fn low(word: u64) -> u32 {
    word as u32
}

fn to_words(member: &Member) -> [u64; PARTY_WORDS] {
    let Member { party, blocker, tag } = member;
    let mut words = [0; PARTY_WORDS];
    words[0] = party.queryid as u64;
    words[1] = pair(party.pid as u32, *blocker as u32);
    words[2] = pair(party.database, party.user);
    words[3] = pair(tag.database, tag.relation);
    words[4] = u64::from(tag.kind) << 8 | u64::from(party.state);
    words[5] = 0;
    let (chunks, _) = party.application.as_chunks::<8>();
    for (word, chunk) in words[6..].iter_mut().zip(chunks) {
        *word = u64::from_le_bytes(*chunk);
    }
    words
}

fn from_words(words: &[u64]) -> Option<Member> {
    let words: &[u64; PARTY_WORDS] = words.try_into().ok()?;
    let mut party = Party::nobody(high(words[1]) as i32);
    party.queryid = words[0] as i64;
    (party.database, party.user) = (high(words[2]), low(words[2]));
    party.state = words[4] as u8;
    let (chunks, _) = party.application.as_chunks_mut::<8>();
    for (chunk, word) in chunks.iter_mut().zip(&words[6..]) {
        *chunk = word.to_le_bytes();
    }
    let kind = (words[4] >> 8) as u8;
    let tag = Tag { database: high(words[3]), relation: low(words[3]), kind };
    Some(Member { party, blocker: low(words[1]) as i32, tag })
}

/// The places in shared memory, which begin as zeroes.
#[derive(Debug, Clone, Copy)]
pub struct Board<'a>(Records<'a, PLACES, RECORD_WORDS>);

impl<'a> Board<'a> {
    /// In this memory, [`WORDS`] long.
    pub fn new(words: &'a [AtomicU64]) -> Self {
        Self(Records::new(words))
    }

    /// Deadlocks so far.
    pub fn count(&self) -> u64 {
        self.0.count()
    }

    /// Notes one.
    pub fn post(&self, at: i64, members: &[Option<Member>; PARTIES]) {
        let head = [at as u64, members.iter().flatten().count() as u64];
        self.0.post(head.into_iter().chain(members.iter().flatten().flat_map(to_words)));
    }

    /// Those of a number on, oldest first, as far as they are still there.
    pub fn since(&self, number: u64) -> Vec<Deadlock> {
        let count = self.count();
        let first = Records::<'_, PLACES, RECORD_WORDS>::first(number, count);
        (first..count).filter_map(|number| self.get(number)).collect()
    }

    fn get(&self, number: u64) -> Option<Deadlock> {
        let words = self.0.get(number)?;
        let ([at, count], members) = words.split_first_chunk::<2>()?;
        let members = members.chunks_exact(PARTY_WORDS).take(usize::try_from(*count).ok()?);
        let members = members.map(from_words).collect::<Option<Vec<Member>>>()?;
        Some(Deadlock { number, at: *at as i64, members })
    }
}
