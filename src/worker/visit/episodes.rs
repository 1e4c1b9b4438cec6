//! Waits for locks, deadlocks and idle times inside transactions since the last visit, with names instead of oids. The
//! home database keeps all of them, with relations of other databases left without a name; each other database keeps the
//! waits and deadlocks that concern it, as nobody else can name its relations.

use std::collections::{BTreeMap, HashMap};

use perfmon_core::activity::State;
use perfmon_core::activity::rows::Lookup;
use perfmon_core::capture::kept::{self, Stamp};
use perfmon_core::lock::deadlock::Deadlock;
use perfmon_core::lock::ring::{Idle, Wait, before_prepared};
use perfmon_core::lock::{self, Party, Tag, UNKNOWN_KIND, idle};

use super::Visit;
use crate::pg::{backends, catalog, clock, session};
use crate::probe::ProbeError;
use crate::recall::live::{self as locks, Prepared};
use crate::store::lock as table;
use crate::watch::live;
use crate::worker::episodes::{self, Changed};
use crate::{settings, store};

/// Subject among the kept readings.
const SUBJECT: &str = "episode";

/// What a row of deadlocks and waits is told with.
#[derive(Default)]
struct Names {
    names: backends::Names,
    relations: HashMap<u32, Option<String>>,
    /// Prepared transactions by the process that waits for them.
    prepared: HashMap<i32, Prepared>,
}

impl Names {
    /// A prepared transaction for which a process waits, if that is known.
    fn prepared(&self, waiter: Option<i32>, party: table::Party) -> table::Party {
        match waiter.and_then(|pid| self.prepared.get(&pid)) {
            Some(prepared) => table::Party {
                database: prepared.database.clone(),
                user: prepared.user.clone(),
                state: "prepared",
                transaction: Some(prepared.since),
                gid: Some(prepared.gid.clone()),
                ..party
            },
            None => party,
        }
    }

    fn party(&mut self, party: &Party) -> table::Party {
        table::Party {
            process_id: party.pid,
            database: self.names.database(party.database),
            user: self.names.user(party.user),
            application: party.application_name(),
            state: State::of(party.state).name(),
            queryid: party.queryid,
            transaction: Some(party.transaction).filter(|at| *at > 0),
            gid: None,
        }
    }

    fn relation(&mut self, tag: Tag) -> Option<String> {
        // Relations without a database are those that all share.
        if tag.relation == 0 || ![0, session::database().to_u32()].contains(&tag.database) {
            return None;
        }
        let name = || catalog::relation_name(tag.relation.into());
        self.relations.entry(tag.relation).or_insert_with(name).clone()
    }

    fn wait(&mut self, wait: &Wait, all: &[Wait]) -> table::Wait {
        let blocker = self.party(&wait.blocker);
        let own = Some(wait.waiter.pid).filter(|_| wait.blocker.pid == 0);
        let blocker = self.prepared(own, blocker);
        let head = self.party(&wait.head);
        let head = self.prepared(before_prepared(all, wait), head);
        table::Wait {
            began: wait.began,
            seen: wait.seen,
            ended: Some(wait.ended).filter(|at| *at > 0),
            waiter: self.party(&wait.waiter),
            blocker,
            head,
            lock_type: wait.tag.kind_name(),
            relation: self.relation(wait.tag),
            wanted: lock::mode_name(wait.wanted),
            held: lock::mode_name(wait.held),
            depth: i32::from(wait.depth),
        }
    }

    fn members(&mut self, deadlock: &Deadlock) -> Vec<table::Member> {
        let numbered = (0..).zip(&deadlock.members);
        let members = numbered.map(|(number, member)| table::Member {
            at: clock::unix_us(deadlock.at),
            number: i64::try_from(deadlock.number).unwrap_or(i64::MAX),
            member: number,
            party: self.party(&member.party),
            waits_for: Some(member.blocker).filter(|pid| *pid != 0),
            lock_type: (member.tag.kind != UNKNOWN_KIND).then(|| member.tag.kind_name()),
            relation: self.relation(member.tag),
        });
        members.collect()
    }

    fn idles(&mut self, idles: &[Idle], since: i64) -> Vec<table::Idle> {
        let sums = idle::sums(idles, since);
        // Names, other than oids, need not be unique: a role that was dropped, and one that was made.
        let mut rows: Vec<table::Idle> = Vec::with_capacity(sums.len());
        for ((database, user, application, queryid), sum) in sums {
            rows.push(table::Idle {
                database: self.names.database(database),
                user: self.names.user(user),
                application,
                queryid,
                sessions: idle::to_text(&sum.sessions),
                numbers: [
                    sum.idle_us,
                    sum.longest_us,
                    sum.resumed,
                    sum.finished,
                    sum.gone,
                    sum.returned_us,
                    sum.gone_us,
                    sum.open,
                    sum.open_us,
                    sum.longest_returned_us,
                ],
            });
        }
        rows
    }
}

/// What was read.
pub(super) struct Episodes {
    changed: Changed,
    deadlocks: Vec<Deadlock>,
    /// Deadlocks since the server started.
    count: u64,
    /// Prepared transactions by the process that waits for them.
    prepared: HashMap<i32, Prepared>,
}

impl Visit {
    /// What is kept from the last visit: when it was, and numbers of the last sample and the next deadlock, the
    /// sample's time, and how many waits went on.
    fn known_episodes(&self) -> Option<(Stamp, [u64; 4])> {
        let bytes = self.priors.get(SUBJECT)?;
        let (stamp, columns) = kept::from_bytes(bytes).ok()?;
        let [numbers] = columns.as_slice() else { return None };
        Some((stamp, numbers.as_slice().try_into().ok()?))
    }

    /// Reads: at home all of them.
    pub(super) fn read_episodes(&mut self, home: bool) {
        let known = self.known_episodes();
        let same = |began: i64| known.filter(|(stamp, _)| stamp.began == began);
        let changed = episodes::changed(|began| same(began).map_or(0, |(_, [tick, ..])| tick));
        let Some(mut changed) = changed else { return };
        // The hooks' memory lives as long as that of samples.
        let number = same(changed.began).map_or(0, |(_, [_, number, ..])| number);
        let Some((mut deadlocks, count)) = live::deadlocks(number) else { return };
        for deadlock in &mut deadlocks {
            deadlock.name_rows(clock::unix_us(deadlock.at), &changed.waits);
        }
        let for_prepared = changed.waits.iter().any(|wait| wait.blocker.pid == 0);
        let prepared = if for_prepared {
            let read =
                || locks::prepared().map_err(|error| ProbeError::unexpected(error.to_string()));
            self.attempt("prepared transactions", read).unwrap_or_default()
        } else {
            HashMap::new()
        };
        if !home {
            let own = session::database().to_u32();
            changed.waits.retain(|wait| wait.concerns(own));
            changed.idles.clear();
            deadlocks.retain(|deadlock| deadlock.concerns(own));
        }
        self.episodes = Some(Episodes { changed, deadlocks, count, prepared });
    }

    /// Writes what was read.
    pub(super) fn store_episodes(&mut self) {
        let known = self.known_episodes();
        self.priors.remove(SUBJECT);
        let Some(Episodes { changed, deadlocks, count, prepared }) = self.episodes.take() else {
            return;
        };
        let stamp = Stamp { began: changed.began, at: self.until };
        let open = changed.waits.iter().filter(|wait| wait.ended <= 0).count() as u64;
        let numbers = vec![changed.tick, count, changed.at.unsigned_abs(), open];
        self.next_priors.push((SUBJECT, kept::to_bytes(stamp, &[numbers])));
        let mut names = Names { prepared, ..Names::default() };
        // One that lost its place and got another is there twice: the later tells more.
        let by_key: BTreeMap<(i64, i32, i32), &Wait> =
            changed.waits.iter().map(|w| ((w.began, w.waiter.pid, w.blocker.pid), w)).collect();
        let waits: Vec<table::Wait> =
            by_key.into_values().map(|wait| names.wait(wait, &changed.waits)).collect();
        if !waits.is_empty() {
            table::keep_waits(self.source, &waits);
        }
        // Where none went on when the last visit ended, there is none to be ended.
        if known.is_none_or(|(_, [.., open])| open > 0) {
            table::end_others(self.source, &waits);
        }
        let members: Vec<table::Member> =
            deadlocks.iter().flat_map(|deadlock| names.members(deadlock)).collect();
        if !members.is_empty() {
            table::keep_deadlocks(self.source, &members);
        }
        if known.is_none_or(|(stamp, _)| stamp.began != changed.began) {
            table::end_idles(self.source);
        }
        // Without an interval before, what of them lies in this one is not known.
        let known = known.filter(|(stamp, _)| stamp.at < self.until && !changed.idles.is_empty());
        if let Some((stamp, [_, _, sampled, _])) = known {
            // What was seen up to the sample of then is stored.
            let idles = names.idles(&changed.idles, i64::try_from(sampled).unwrap_or(i64::MAX));
            table::add_idles(self.source, (stamp.at, self.until), &idles);
        }
        let wrote = !(waits.is_empty() && members.is_empty() && changed.idles.is_empty());
        let [retention, ..] = settings::retention_us();
        if let Some(retention) = retention.filter(|_| wrote) {
            store::lock::trim(self.source, self.until.saturating_sub(retention));
        }
    }
}
