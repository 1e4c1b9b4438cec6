//! Who is at the head of the sessions that wait for locks.

use std::collections::{BTreeMap, BTreeSet};

use super::Whose;
use crate::activity::State;
use crate::detect::words::{name, second};

/// A session behind which others wait for locks.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Its process; 0 is a prepared transaction.
    pub pid: i64,
    /// What the prepared transaction is called, where it is known.
    pub gid: Option<String>,
    /// What it calls itself.
    pub application: Option<String>,
    /// Its user.
    pub user: Option<String>,
    /// What it does.
    pub state: String,
    /// Age of its transaction, seconds.
    pub age_s: Option<f64>,
    /// Its statement, or its last one where it idles, as far as it is known in this history.
    pub statement_id: Option<i64>,
    /// Since when somebody waits behind it, microseconds since the Unix epoch.
    pub since_us: Option<i64>,
    /// How many wait behind it, directly or not.
    pub behind: i64,
}

/// A wait for a lock.
#[derive(Debug, Clone, PartialEq)]
pub struct Blocked {
    /// Database of the session that waited.
    pub database: String,
    /// Its user.
    pub user: String,
    /// What it calls itself.
    pub application: String,
    /// Its process.
    pub process_id: i64,
    /// Since when, microseconds since the Unix epoch.
    pub began_us: i64,
    /// Until when that was seen.
    pub seen_us: i64,
    /// At the head of those in its way when it was seen last; what is behind that is counted over all waits.
    pub head: Head,
}

impl Blocked {
    /// Whether the session is one of a group's.
    fn is_of(&self, whose: &Whose) -> bool {
        let same = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        !whose.other
            && same(&whose.database, &self.database)
            && same(&whose.user, &self.user)
            && same(&whose.application, &self.application)
    }

    /// How much of it lies in a stretch of time, microseconds; `None` if nothing does.
    fn within(&self, (since, until): (i64, i64)) -> Option<i64> {
        let length = self.seen_us.min(until).saturating_sub(self.began_us.max(since));
        (length >= 0).then_some(length)
    }
}

impl Head {
    /// The one for which sessions of a group waited most over a stretch of time.
    pub fn of(blocked: &[Blocked], whose: &Whose, span_us: (i64, i64)) -> Option<Self> {
        type Key<'a> = (i64, Option<&'a String>, Option<&'a String>);
        let mut heads: BTreeMap<Key<'_>, Vec<&Blocked>> = BTreeMap::new();
        for one in blocked.iter().filter(|one| one.is_of(whose)) {
            let head = &one.head;
            let key = (head.pid, head.gid.as_ref(), head.application.as_ref());
            heads.entry(key).or_default().push(one);
        }
        let waited = |waits: &[&Blocked]| -> Option<i64> {
            // A wait has a row for each session in its way.
            let mut each: BTreeMap<(i64, i64), i64> = BTreeMap::new();
            for one in waits {
                let Some(length) = one.within(span_us) else { continue };
                let longest = each.entry((one.process_id, one.began_us)).or_default();
                *longest = length.max(*longest);
            }
            each.values().copied().reduce(i64::saturating_add)
        };
        let found = heads.into_values().filter_map(|waits| Some((waited(&waits)?, waits)));
        let (_, mut waits) = found.max_by_key(|(waited, _)| *waited)?;
        waits.retain(|one| one.within(span_us).is_some());
        let last = waits.iter().max_by_key(|one| one.seen_us)?;
        let processes: BTreeSet<i64> = waits.iter().map(|one| one.process_id).collect();
        Some(Self {
            since_us: waits.iter().map(|one| one.began_us).min(),
            behind: i64::try_from(processes.len()).unwrap_or(i64::MAX),
            ..last.head.clone()
        })
    }

    /// In words.
    pub fn words(&self) -> String {
        let mut what = Vec::new();
        what.extend(Some(self.state.clone()).filter(|state| !state.is_empty()));
        what.extend(self.age_s.map(|age| format!("{age:.0} s old")));
        let idles = State::parse(&self.state).is_some_and(State::is_in_transaction);
        let with = if idles { "after" } else { "with" };
        what.extend(self.statement_id.map(|id| format!("{with} statement {id}")));
        let who = match (self.pid, self.application.as_deref()) {
            (0, _) => match &self.gid {
                Some(gid) => format!("the prepared transaction {}", name(gid)),
                None => "a prepared transaction".to_owned(),
            },
            (pid, None | Some("")) => format!("process {pid}"),
            (pid, Some(application)) => format!("process {pid} of {application}"),
        };
        let what = if what.is_empty() { String::new() } else { format!(" ({})", what.join(", ")) };
        let since = self.since_us.map(|at| format!(" since {}", second(at)));
        format!("{who}{what}, {} behind it{}", self.behind, since.unwrap_or_default())
    }
}
