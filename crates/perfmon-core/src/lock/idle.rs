//! Idle times inside transactions, added up by the statement after which sessions idled; and what they mean.

use std::collections::{BTreeMap, BTreeSet};

use super::ring::{Ending, Idle};
use super::tracker::SHORTEST_IDLE_US;

/// Sessions that are told apart in one interval.
pub const SESSIONS: usize = 256;

/// Whose idle times: database, user, application, queryid.
pub type Whose = (u32, u32, String, i64);

/// What idle times come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sum {
    /// The sessions, by a hash of process and start.
    pub sessions: BTreeSet<u32>,
    /// Time within the interval, and before it if it was too short to be told by then.
    pub idle_us: i64,
    /// The longest idle time, so far.
    pub longest_us: i64,
    /// That ended with the client going on in its transaction, with its end, and with that of the session.
    pub resumed: i64,
    /// See above.
    pub finished: i64,
    /// See above.
    pub gone: i64,
    /// Whole lengths of those that the client came back from, and of those that it did not.
    pub returned_us: i64,
    /// See above.
    pub gone_us: i64,
    /// That go on at the end, and how long they do so far.
    pub open: i64,
    /// See above.
    pub open_us: i64,
    /// The longest of those that the client came back from; where rows of older releases do not tell, no less than that.
    pub longest_returned_us: i64,
    /// The longest of those that go on at the end; of stored rows, which do not tell, no less than that.
    pub longest_open_us: i64,
}

/// Those that no client came back from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// That go on.
    pub open: i64,
    /// That ended with their sessions.
    pub gone: i64,
    /// Of how many sessions.
    pub sessions: i64,
    /// There may be more: they are counted by the sums of times.
    pub at_least: bool,
}

fn session(idle: &Idle) -> u32 {
    let mixed =
        (idle.who.started as u64 ^ (idle.who.pid as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32
}

impl Sum {
    fn add(&mut self, idle: &Idle, since: i64) {
        if self.sessions.len() < SESSIONS {
            self.sessions.insert(session(idle));
        }
        let until = if idle.ended == 0 { idle.seen } else { idle.ended };
        let whole = (until - idle.began).max(0);
        // One that was too short then to be told is told as a whole.
        let is_new = since.saturating_sub(idle.began) < SHORTEST_IDLE_US;
        let from = if is_new { idle.began } else { since };
        self.idle_us += (until - from).max(0);
        self.longest_us = self.longest_us.max(whole);
        let (count, time) = match idle.ending {
            e if e == Ending::Resumed as u8 => (&mut self.resumed, &mut self.returned_us),
            e if e == Ending::Finished as u8 => (&mut self.finished, &mut self.returned_us),
            e if e == Ending::Gone as u8 => (&mut self.gone, &mut self.gone_us),
            // Neither over nor going on, as far as is known: it counts by its time alone.
            e if e == Ending::Unseen as u8 => return,
            _ => (&mut self.open, &mut self.open_us),
        };
        *count += 1;
        *time += whole;
        if [Ending::Resumed as u8, Ending::Finished as u8].contains(&idle.ending) {
            self.longest_returned_us = self.longest_returned_us.max(whole);
        }
        if idle.ending == Ending::Open as u8 {
            self.longest_open_us = self.longest_open_us.max(whole);
        }
    }

    /// Adds what a later interval holds: what goes on at its end goes on at the end of both.
    pub fn then(&mut self, later: &Self) {
        self.sessions.extend(&later.sessions);
        self.idle_us += later.idle_us;
        self.longest_us = self.longest_us.max(later.longest_us);
        self.resumed += later.resumed;
        self.finished += later.finished;
        self.gone += later.gone;
        self.returned_us += later.returned_us;
        self.gone_us += later.gone_us;
        (self.open, self.open_us) = (later.open, later.open_us);
        self.longest_returned_us = self.longest_returned_us.max(later.longest_returned_us);
        self.longest_open_us = later.longest_open_us;
    }

    /// How many distinct sessions. Each that goes on or ended with its session is another one, however many are told apart.
    pub fn distinct(&self) -> i64 {
        let told_apart = i64::try_from(self.sessions.len()).unwrap_or(i64::MAX);
        told_apart.max(self.gone + self.open)
    }

    /// Idle times in all.
    pub fn times(&self) -> i64 {
        self.resumed + self.finished + self.gone + self.open
    }

    /// Of those that go on, the ones that may be left, where an idle time of `long_us` is long: none if no one is long, and the
    /// longest alone if all others together are not.
    fn open_for_long(&self, long_us: i64) -> i64 {
        match self.open_us.saturating_sub(self.longest_open_us) {
            _ if self.longest_open_us < long_us => 0,
            others if others < long_us => self.open.min(1),
            _ => self.open,
        }
    }

    /// Those that are left, where an idle time of `long_us` is long: all, unless clients came back, but from none that is long. Then
    /// those that are longer than any of these, as short ones go on at any time. Of those that go on it is never a short one.
    pub fn left(&self, long_us: i64) -> Left {
        if self.longest_returned_us == 0 || self.longest_returned_us >= long_us {
            let open = self.open_for_long(long_us);
            let sessions = self.distinct() - (self.open - open);
            return Left { open, gone: self.gone, sessions, at_least: false };
        }
        let longer = |count: i64, time: i64| {
            if time < long_us {
                return 0;
            }
            // What time is left when all are as long as short ones can be is that of some that are as long as the longest.
            let more = time.saturating_sub(count.saturating_mul(self.longest_returned_us));
            let each = (self.longest_us - self.longest_returned_us).max(1);
            (more.max(0) / each + i64::from(more > 0 && more % each > 0)).min(count)
        };
        let open = longer(self.open, self.open_us).min(self.open_for_long(long_us));
        let gone = longer(self.gone, self.gone_us);
        Left { open, gone, sessions: open + gone, at_least: true }
    }

    /// What it means, where an idle time of `long_us` is long. What becomes of long ones is told by long ones alone: where clients came
    /// back from none of these, it does not count how many short ones they came back from.
    pub fn meaning(&self, long_us: i64) -> Meaning {
        let left_us = self.gone_us + self.open_us;
        let none_returned = self.longest_returned_us < long_us;
        if self.longest_us < long_us {
            Meaning::Pauses
        } else if left_us >= long_us && (none_returned || left_us > self.returned_us) {
            Meaning::Leak
        } else {
            Meaning::SlowClient
        }
    }
}

/// What idle times mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// None is long.
    Pauses,
    /// The client comes back, after long.
    SlowClient,
    /// The client does not come back: sessions stay so until they are ended.
    Leak,
}

impl Meaning {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pauses => "pauses",
            Self::SlowClient => "slow client",
            Self::Leak => "leak",
        }
    }
}

/// Adds up what was seen since a time.
pub fn sums(idles: &[Idle], since: i64) -> BTreeMap<Whose, Sum> {
    let mut sums: BTreeMap<Whose, Sum> = BTreeMap::new();
    for idle in idles {
        let who = &idle.who;
        let whose = (who.database, who.user, who.application_name(), who.queryid);
        sums.entry(whose).or_default().add(idle, since);
    }
    sums
}

/// Sessions as text, for a table.
pub fn to_text(sessions: &BTreeSet<u32>) -> String {
    sessions.iter().map(|session| format!("{session:08x}")).collect()
}

/// And back; what is not understood is left out.
pub fn from_text(text: &str) -> BTreeSet<u32> {
    let parts = text.as_bytes().chunks(8).filter_map(|part| std::str::from_utf8(part).ok());
    parts.filter_map(|part| u32::from_str_radix(part, 16).ok()).collect()
}
