//! As it is stored: names for the dictionary, and the frames of the families `session`, `wait` and `pool`.

use std::collections::BTreeMap;

use super::count::{Doing, Waiting};
use super::group::{self, Key, LOAD, Level};
use super::reading::Moved;
use super::{Kind, State, wait};
use crate::family::{Family, POOL, POOL_SUMS, SESSION, WAIT};
use crate::frame::Frame;

/// What an object is called in the dictionary.
pub type Names = [String; 3];

/// Names behind the server's numbers.
pub trait Lookup {
    /// Of a database; empty for none.
    fn database(&mut self, oid: u32) -> String;
    /// Of a user; empty for nobody.
    fn user(&mut self, oid: u32) -> String;
    /// Class and event of a wait, as [`wait::name`] gives them.
    fn wait(&mut self, wait: u32) -> String;
}

/// (backend type, state, wait).
pub fn doing_names(doing: &Doing, lookup: &mut impl Lookup) -> Names {
    let (kind, state) = (Kind::of(doing.kind), State::of(doing.state));
    [kind.name().to_owned(), state.name().to_owned(), wait_name(doing.wait, lookup)]
}

fn wait_name(wait: u32, lookup: &mut impl Lookup) -> String {
    match wait {
        0 => String::new(),
        wait::OTHER => wait::name(wait::OTHER_NAME, wait::OTHER_NAME),
        wait => lookup.wait(wait),
    }
}

/// (database, user, statement with state and wait); a statement that found no place has no names.
pub fn waiting_names(waiting: &Waiting, lookup: &mut impl Lookup) -> Names {
    let rest = Waited {
        queryid: (!waiting.is_other()).then_some(waiting.queryid),
        state: State::of(waiting.state),
        wait: wait_name(waiting.wait, lookup),
    };
    if waiting.is_other() {
        return [String::new(), String::new(), rest.join()];
    }
    [lookup.database(waiting.database), lookup.user(waiting.user), rest.join()]
}

/// The third name of a statement that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    /// The statement, 0 where it is not known; `None` where it found no place.
    pub queryid: Option<i64>,
    /// What its sessions do.
    pub state: State,
    /// Class and event.
    pub wait: String,
}

impl Waited {
    fn join(&self) -> String {
        let statement = self.queryid.map_or_else(|| "*".to_owned(), |id| id.to_string());
        format!("{statement} {} {}", self.state as u8, self.wait)
    }

    /// From the third name.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.splitn(3, ' ');
        let statement = parts.next()?;
        let queryid = if statement == "*" { None } else { Some(statement.parse().ok()?) };
        let state = State::of(parts.next()?.parse().ok()?);
        Some(Self { queryid, state, wait: parts.next()?.to_owned() })
    }
}

/// The third name of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Of {
    /// What it is of.
    pub level: Level,
    /// Of all that found no place.
    pub other: bool,
    /// The application; `None` where pools are not told apart by it.
    pub application: Option<String>,
    /// The client's address, empty for a socket of this machine; `None` where pools are not told apart by it.
    pub address: Option<String>,
}

impl Of {
    /// From a key.
    pub fn key(key: &Key) -> Self {
        let used = key.application.iter().position(|b| *b == 0).unwrap_or(key.application.len());
        let name = || String::from_utf8_lossy(&key.application[..used]).into_owned();
        Self {
            level: key.level(),
            other: key.other,
            application: key.named.then(name),
            address: group::address_text(&key.address),
        }
    }

    /// The name. An address holds no space, and an application's name is the rest.
    pub fn join(&self) -> String {
        let other = if self.other { "other" } else { "one" };
        let mut name = format!("{} {other}", self.level.name());
        if self.level == Level::Pool && !self.other {
            let address = self.address.as_ref().map_or_else(|| "*".to_owned(), |a| format!("@{a}"));
            name.push(' ');
            name.push_str(&address);
            if let Some(application) = &self.application {
                name.push_str(" =");
                name.push_str(application);
            }
        }
        name
    }

    /// From the name.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.splitn(4, ' ');
        let level = Level::parse(parts.next()?)?;
        let other = parts.next()? == "other";
        let address = parts.next().and_then(|a| a.strip_prefix('@')).map(str::to_owned);
        let application = parts.next().and_then(|a| a.strip_prefix('=')).map(str::to_owned);
        Some(Self { level, other, application, address })
    }

    /// Whether an application watches databases, so that its sessions are to be shown apart: ours, and Grafana's.
    pub fn is_monitor(&self) -> bool {
        let name = self.application.as_deref().unwrap_or_default().to_ascii_lowercase();
        ["pg_perfmon", "grafana"].iter().any(|monitor| name.starts_with(monitor))
    }
}

/// (database, user, what it is of).
pub fn group_names(key: &Key, lookup: &mut impl Lookup) -> Names {
    let has = |level: &[Level]| !key.other && level.contains(&key.level());
    let database = has(&[Level::Database, Level::Pool]).then(|| lookup.database(key.database));
    let user = has(&[Level::User, Level::Pool]).then(|| lookup.user(key.user));
    [database.unwrap_or_default(), user.unwrap_or_default(), Of::key(key).join()]
}

/// How well a row is known.
#[derive(Debug, Clone, Copy)]
pub struct Sampled {
    /// Samples.
    pub samples: u64,
    /// Time for which they stand, microseconds.
    pub sampled_us: u64,
}

impl Moved {
    /// How well it is known.
    pub fn sampled(&self) -> Sampled {
        Sampled { samples: self.samples, sampled_us: self.sampled_us }
    }
}

/// Sums by the ids of the objects; two of one name are one.
pub fn sums_frame(
    family: &'static Family,
    ids: &[u32],
    counts: impl Iterator<Item = u64>,
    sampled: Sampled,
) -> Frame {
    debug_assert!([SESSION.name, WAIT.name].contains(&family.name));
    let mut rows: BTreeMap<u32, u64> = BTreeMap::new();
    for (id, count) in ids.iter().zip(counts) {
        let sum = rows.entry(*id).or_default();
        *sum = sum.saturating_add(count);
    }
    frame(family, rows.keys().copied().collect(), vec![rows.into_values().collect()], sampled)
}

/// Groups by the ids of the objects; two of one name are one.
pub fn pool_frame(ids: &[u32], moved: &Moved) -> Frame {
    const WIDTH: usize = POOL.columns.len() - 1;
    let mut rows: BTreeMap<u32, [u64; WIDTH]> = BTreeMap::new();
    for (id, group) in ids.iter().zip(&moved.groups) {
        // There is room for sixteen million groups; further ones would go together.
        let object = if *id < 1 << 24 { *id << 8 } else { 0 };
        for ((which, place), samples) in &group.places {
            let row = rows.entry(object | u32::from(*place)).or_insert([0; WIDTH]);
            // The load came later: its column is behind the peaks.
            let cell = &mut row[if *which == LOAD { WIDTH - 1 } else { usize::from(*which) }];
            *cell = cell.saturating_add(*samples);
        }
        let row = rows.entry(object | POOL_SUMS).or_insert([0; WIDTH]);
        let (_, sums_and_peaks) = row.split_at_mut(group::SPREADS.len());
        let (sums, peaks) = sums_and_peaks.split_at_mut(group.sums.len());
        sums.iter_mut().zip(group.sums).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        peaks.iter_mut().zip(group.peaks).for_each(|(p, more)| *p = u64::from(more).max(*p));
    }
    let columns = (0..WIDTH).map(|c| rows.values().map(|row| row[c]).collect()).collect();
    frame(&POOL, rows.keys().copied().collect(), columns, moved.sampled())
}

fn frame(
    family: &'static Family,
    ids: Vec<u32>,
    columns: Vec<Vec<u64>>,
    sampled: Sampled,
) -> Frame {
    let some = |column: Vec<u64>| column.iter().any(|value| *value != 0).then_some(column);
    let total = |number: u64| i64::try_from(number).ok();
    Frame {
        family,
        ids,
        columns: [None].into_iter().chain(columns.into_iter().map(some)).collect(),
        known: (1 << family.columns.len()) - 1,
        totals: vec![total(sampled.samples), total(sampled.sampled_us)],
    }
}
