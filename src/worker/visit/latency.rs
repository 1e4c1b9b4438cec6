//! Execution times that the hooks counted: what happened since the last visit, under the ids of the statements.

use std::collections::BTreeMap;

use perfmon_core::capture::interval::{self, Interval, Kept};
use perfmon_core::capture::reading::{Moved, Reading};
use perfmon_core::capture::statement::TOPLEVEL;
use perfmon_core::capture::table::Key;
use perfmon_core::capture::whole::TimesOfAll;
use perfmon_core::family::{Family, LATENCY, STATEMENT};
use perfmon_core::frame::{self, Quality};
use perfmon_core::latency::Row;
use perfmon_core::rollup::OTHER;
use pgrx::pg_sys;

use super::off::{Off, WHY_OFF};
use super::{SQUEEZED_TO, Visit};
use crate::pg::{fmgr, session};
use crate::store::period::Level;
use crate::watch::live;
use crate::{probe, store};

/// What the hooks counted so far.
pub(super) struct Read {
    began: i64,
    entries: Reading,
    /// Of all databases, at home.
    pub(super) all: Option<TimesOfAll>,
    /// What the last visit left, and what happened since; once it was subtracted.
    since: Option<(Option<Kept>, Interval)>,
}

/// Reads the counters of this database, at home also the sum over all; `None` without preloading.
pub(super) fn read(home: bool) -> Option<Read> {
    let began = live::began()?;
    let (entries, all) = live::statements_and(session::database().to_u32(), home)?;
    Some(Read { began, entries, all, since: None })
}

/// Names of users, and their hashes, by oid: there are few.
struct Users(BTreeMap<u32, (String, u64)>);

impl Users {
    fn of(entries: &Reading) -> Self {
        let mut users = BTreeMap::new();
        let mut last = None;
        for user in entries.entries().iter().map(|entry| entry.key.user()) {
            if last.replace(user) == Some(user) {
                continue;
            }
            users.entry(user).or_insert_with(|| {
                let name = fmgr::role_name(pg_sys::Oid::from_u32(user));
                let label = probe::label([name.as_str()]);
                (name, label)
            });
        }
        Self(users)
    }

    fn label(&self, user: u32) -> u64 {
        self.0.get(&user).map_or(0, |(_, label)| *label)
    }

    /// As the dictionary calls a statement.
    #[allow(clippy::cast_possible_wrap)]
    fn names(&self, key: Key) -> store::dictionary::Names {
        let name = self.0.get(&key.user()).map(|(name, _)| name.clone()).unwrap_or_default();
        let toplevel = if key.kind == TOPLEVEL { "t" } else { "f" };
        [name, (key.what as i64).to_string(), toplevel.to_owned()]
    }
}

impl Visit {
    /// How often the statements of a reading were executed since the last visit. The server says it itself where it tells
    /// when each of its entries was born.
    pub(super) fn executed(&mut self, reading: &frame::Reading) -> Vec<(frame::Key, u64)> {
        if reading.family.name != STATEMENT.name || reading.born.is_some() {
            return Vec::new();
        }
        self.subtract_latency();
        let since = self.latency.as_ref().and_then(|read| read.since.as_ref());
        let moved = since.map_or(&[][..], |(_, made)| &made.moved);
        let own = moved.iter().filter(|moved| moved.at.is_some());
        let key = |key: Key| {
            let top_level = u64::from(key.kind == TOPLEVEL);
            frame::Key(key.what, u64::from(key.user()) * 2 + top_level)
        };
        own.map(|moved| (key(moved.key), moved.latency.executions())).collect()
    }

    /// Subtracts what the last visit left, once.
    fn subtract_latency(&mut self) {
        let Some(mut read) = self.latency.take() else { return };
        if read.since.is_none() {
            let kept = self.priors.remove(LATENCY.name).and_then(|bytes| {
                let decoded = Kept::decode(&bytes);
                decoded.map_err(|e| self.problems.push(format!("last execution times: {e}"))).ok()
            });
            let last = if kept.is_some() { None } else { self.last_until(&LATENCY) };
            let made =
                interval::between(kept.as_ref(), last, read.began, self.until, &read.entries);
            read.since = Some((kept, made));
        }
        self.latency = Some(read);
    }

    /// Writes the row of this interval, and keeps the reading for the next.
    pub(super) fn store_latency(&mut self) {
        self.subtract_latency();
        let Some((read, (kept, made))) =
            self.latency.take().and_then(|mut read| read.since.take().map(|since| (read, since)))
        else {
            self.note_not_preloaded(&LATENCY);
            return;
        };
        if let Some(gap) = &made.gap {
            self.gap(LATENCY.name, gap.since, gap.until, gap.kind, gap.detail.clone());
        }
        let off = self.off();
        if off != Off::Nobody {
            self.note_disabled(LATENCY.name, WHY_OFF);
        }
        // Where some are counted, what the others executed is known as that of sessions that have the hooks off for themselves.
        let off = off == Off::All;
        self.want_plans(&made.moved);
        let users = Users::of(&read.entries);
        let mut ids = match &kept {
            Some(kept) => kept.ids_of(&read.entries, |user| users.label(user)),
            None => vec![OTHER; read.entries.len()],
        };
        self.name_statements(&made.moved, &users, &mut ids);
        // What functions of others did may be counted.
        if let Some(since) = made.since.filter(|_| !off || !made.moved.is_empty()) {
            let quality = if off { made.quality.max(Quality::LowerBound) } else { made.quality };
            let continues = kept.as_ref().is_some_and(|kept| kept.at == since);
            let span = self.span(since, quality, continues);
            let row = self.latency_row(made.moved, &ids);
            self.stored_bytes += store::latency::append(Level::Minute, self.source, &span, &row);
        }
        let next = Kept {
            began: read.began,
            at: self.until,
            off,
            ids,
            users: users.0.iter().map(|(user, (_, label))| (*user, *label)).collect(),
            entries: read.entries,
        };
        self.next_priors.push((LATENCY.name, next.encode()));
    }

    /// Where execution times were counted once, time in which they are not is a gap.
    pub(super) fn note_not_preloaded(&self, family: &Family) {
        let why = "pg_perfmon is not in shared_preload_libraries";
        // The gap that goes on says that they were; the rows are only asked where it begins, as that means planning over
        // the tables that they are in.
        if !self.goes_on_disabled(family.name, why) && self.last_until(family).is_some() {
            self.note_disabled(family.name, why);
        }
    }

    /// Dictionary ids for statements that have none yet, those that took most time first.
    fn name_statements(&mut self, moved: &[Moved], users: &Users, ids: &mut [u32]) {
        let mut unnamed: Vec<(f64, Key, usize)> = Vec::new();
        for moved in moved {
            let Some(at) = moved.at.filter(|at| ids[*at] == OTHER) else { continue };
            let key = moved.key;
            match self.statement_id(key.what, key.user(), key.kind == TOPLEVEL) {
                Some(id) => ids[at] = id,
                None => unnamed.push((moved.latency.total_ns(), key, at)),
            }
        }
        if unnamed.is_empty() {
            return;
        }
        unnamed.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let names: Vec<_> = unnamed.iter().map(|(_, key, _)| users.names(*key)).collect();
        let given = store::dictionary::resolve(&STATEMENT, self.source, &names, self.until);
        for ((.., at), id) in unnamed.into_iter().zip(given) {
            ids[at] = id;
        }
        self.new_queryids = true;
    }

    fn latency_row(&mut self, moved: Vec<Moved>, ids: &[u32]) -> Row {
        let part = |moved: Moved| {
            let id = moved.at.map_or(OTHER, |at| ids[at]);
            (id, moved.key.kind == TOPLEVEL, moved.latency)
        };
        let mut row = Row::of(moved.into_iter().map(part).collect());
        if row.statements.len() > SQUEEZED_TO && self.is_squeezed() {
            row.keep_largest(SQUEEZED_TO);
        }
        row
    }
}
