//! What is known of all pools over a stretch of time, and what follows of it for one of them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use super::advice::{self, Advice, Counted};
use super::elsewhere::{Elsewhere, Event};
use super::head::{Blocked, Head};
use super::limit::{Kind, Limit};
use super::pooled::Waiting;
use super::pressed::{Pressed, Short};
use super::queue::{self, Behind, Cause, Held, Load, Verdict};
use super::{CRITICAL_RATIO, Figure, Group, Sender, Whose};
use crate::activity::group::Level;
use crate::capture::failure::Refusal;
use crate::threshold::Thresholds;

/// Connections that were refused, or whose clients could not say who they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// `None`: authentication failed.
    pub why: Option<Refusal>,
    /// Who asked, where that was known.
    pub user: Option<String>,
    /// To which database, where that was known.
    pub database: Option<String>,
    /// What clients were told: SQLSTATEs in their order, each once.
    pub states: Vec<String>,
    /// How often.
    pub count: u64,
}

impl Refused {
    /// Adds it to what was refused to the same for the same cause, however clients were told of it.
    pub fn add_to(self, all: &mut Vec<Self>) {
        let whose = |one: &Self| (one.why, one.user.clone(), one.database.clone());
        let own = whose(&self);
        let Some(same) = all.iter_mut().find(|one| whose(one) == own) else {
            all.push(self);
            return;
        };
        same.count = same.count.saturating_add(self.count);
        same.states.extend(self.states);
        same.states.sort_unstable();
        same.states.dedup();
    }

    /// Whether it is about a group: none is told apart by more than database and user.
    pub fn is_of(&self, whose: &Whose) -> bool {
        match whose.level {
            Level::Server => true,
            Level::Database => self.database.is_some() && self.database == whose.database,
            Level::User => self.user.is_some() && self.user == whose.user,
            Level::Pool => false,
        }
    }
}

/// What pg_stat_database counted of a database, or of all.
#[derive(Debug, Clone, PartialEq)]
pub struct Sessions {
    /// `None` is all of them.
    pub database: Option<String>,
    /// Sessions that were established.
    pub sessions: u64,
    /// How long one lasted, by the intervals of which that is known.
    pub mean_ms: Option<f64>,
    /// Time inside statements, or waiting for the client inside a transaction.
    pub busy_ms: f64,
    /// Commits and rollbacks.
    pub transactions: u64,
    /// Time that is covered.
    pub covered_us: i64,
}

impl Sessions {
    /// For Little's law.
    pub fn counted(&self) -> Option<Counted> {
        let seconds = (self.covered_us > 0).then_some(self.covered_us as f64 / 1e6)?;
        let transactions = (self.transactions > 0).then_some(self.transactions as f64)?;
        Some(Counted {
            transactions_per_s: transactions / seconds,
            transaction_ms: self.busy_ms / transactions,
        })
    }

    /// New sessions per second.
    pub fn per_s(&self) -> Option<f64> {
        (self.covered_us > 0).then(|| self.sessions as f64 / (self.covered_us as f64 / 1e6))
    }
}

/// Where each group of a look is, found out when that is asked first.
#[derive(Debug, Default)]
pub struct Index(OnceLock<Vec<(u64, usize)>>);

impl Clone for Index {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Index {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

pub(super) fn mark(whose: &Whose) -> u64 {
    let mut hasher = DefaultHasher::new();
    whose.hash(&mut hasher);
    hasher.finish()
}

/// All whose open sessions count against a limit of a group.
pub(super) fn under(kind: Kind, whose: &Whose) -> Option<Whose> {
    let (database, user) = (whose.database.clone(), whose.user.clone());
    match kind {
        Kind::Server => Some(Whose::server()),
        Kind::Database => Some(Whose { level: Level::Database, database, ..Whose::server() }),
        Kind::Role => Some(Whose { level: Level::User, user, ..Whose::server() }),
        _ => None,
    }
}

/// All pools over a stretch of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// Time that samples cover, microseconds.
    pub covered_us: i64,
    /// Samples.
    pub samples: u64,
    /// Groups, with their limits. None is added, moved or removed once one was looked for.
    pub groups: Vec<Group>,
    /// See above.
    pub index: Index,
    /// Connections that were refused; `None` where nobody counted them.
    pub refused: Option<Vec<Refused>>,
    /// What the server counted.
    pub sessions: Vec<Sessions>,
    /// Who sent statements of this database, where many sessions began.
    pub senders: Vec<Sender>,
    /// Processors.
    pub cpus: Option<f64>,
    /// Start and end, microseconds since the Unix epoch.
    pub span_us: (i64, i64),
    /// Waits for locks of which a part lies in it.
    pub blocked: Vec<Blocked>,
    /// At the head of those that wait for locks now, whoever they are.
    pub head: Option<Head>,
    /// For what sessions waited inside statements, of what groups do not count themselves.
    pub events: Vec<Event>,
    /// Clients that waited at poolers.
    pub waiting: Vec<Waiting>,
    /// The same step by step, as far as why sessions queue depends on it: samples, groups with limits, and who waited.
    pub moments: Vec<Look>,
}

/// A mean over parts with so many samples.
pub(super) fn weighted(parts: impl Iterator<Item = (u64, f64)>) -> Option<f64> {
    let sum = parts.fold((0.0, 0.0), |(all, sum), (samples, value)| {
        (all + samples as f64, sum + samples as f64 * value)
    });
    (sum.0 > 0.0).then(|| sum.1 / sum.0)
}

/// A group on average over several stretches.
pub(super) fn mean(whose: Whose, parts: &[(u64, &Group)]) -> Group {
    let of = |value: &dyn Fn(&Group) -> Option<f64>| {
        weighted(parts.iter().filter_map(|(samples, group)| Some((*samples, value(group)?))))
    };
    let figure = |value: &dyn Fn(&Group) -> &Figure| Figure {
        average: of(&|group| value(group).average),
        peak: parts.iter().filter_map(|(_, group)| value(group).peak).max(),
        ..Figure::default()
    };
    Group {
        samples: parts.iter().map(|part| part.0).sum(),
        open: figure(&|group| &group.open),
        busy: figure(&|group| &group.busy),
        active: figure(&|group| &group.active),
        idle: figure(&|group| &group.idle),
        in_transaction: figure(&|group| &group.in_transaction),
        on_cpu: of(&|group| group.on_cpu),
        on_lock: of(&|group| group.on_lock),
        on_io: of(&|group| group.on_io),
        on_client: of(&|group| group.on_client),
        starting: of(&|group| group.starting),
        hidden: of(&|group| group.hidden),
        ..Group::of(whose)
    }
}

impl Look {
    /// The group of all clients.
    pub fn server(&self) -> Option<&Group> {
        self.groups.iter().find(|group| group.whose.level == Level::Server)
    }

    /// A group whose mark is known.
    pub(super) fn marked(&self, whose: &Whose, mark_of: u64) -> Option<&Group> {
        let index = self.index.0.get_or_init(|| {
            let marks = self.groups.iter().enumerate();
            let mut all: Vec<(u64, usize)> = marks.map(|(at, g)| (mark(&g.whose), at)).collect();
            all.sort_unstable();
            all
        });
        let first = index.partition_point(|(mark, _)| *mark < mark_of);
        let same = index.iter().skip(first).take_while(|(mark, _)| *mark == mark_of);
        same.filter_map(|(_, at)| self.groups.get(*at)).find(|group| group.whose == *whose)
    }

    /// By what its pools are told apart beside database and user: application and address; `None` where none or several.
    pub fn grouping(&self) -> Option<(bool, bool)> {
        let mut found = self.groups.iter().filter_map(|group| group.whose.grouping());
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    }

    /// Leaves out pools that are told apart in another way: before `pg_perfmon.pool_grouping` was changed, the same sessions
    /// were counted in them.
    pub fn keep_grouping(&mut self, grouping: (bool, bool)) {
        self.groups.retain(|group| group.whose.grouping().is_none_or(|found| found == grouping));
        self.index = Index::default();
    }

    /// What the server counted of a database, or of all.
    pub fn sessions_of(&self, database: Option<&str>) -> Option<&Sessions> {
        self.sessions.iter().find(|found| found.database.as_deref() == database)
    }

    /// The same for a group: of its database where that is known.
    pub fn sessions_for(&self, whose: &Whose) -> Option<&Sessions> {
        match whose.level {
            Level::Server => self.sessions_of(None),
            Level::Database | Level::Pool => self.sessions_of(Some(whose.database.as_deref()?)),
            Level::User => None,
        }
    }

    /// How many connections were refused to a group, for a cause or for any but authentication; walsenders are no clients' sessions.
    pub fn refused(&self, whose: &Whose, why: Option<Refusal>) -> Option<u64> {
        let all = self.refused.as_ref()?;
        let is_meant = |refused: &Refused| match why {
            Some(_) => refused.why == why,
            None => refused.why.is_some_and(|found| found != Refusal::WalSenders),
        };
        let counts = |refused: &&Refused| refused.is_of(whose) && is_meant(refused);
        (whose.level != Level::Pool)
            .then(|| all.iter().filter(counts).map(|refused| refused.count).sum())
    }

    /// Clients that could not say who they are.
    pub fn unauthenticated(&self, whose: &Whose) -> Option<u64> {
        let all = self.refused.as_ref()?;
        let counts = |refused: &&Refused| refused.is_of(whose) && refused.why.is_none();
        (whose.level != Level::Pool)
            .then(|| all.iter().filter(counts).map(|refused| refused.count).sum())
    }

    /// Clients that wait at poolers for connections of a group. Of the same database and user there may be pools that never
    /// came by way of the pooler: a pool's own are those whose sessions are known to be the pooler's.
    pub(super) fn behind(&self, group: &Group, is_pooled: bool) -> Behind {
        let whose = &group.whose;
        let of_pooler = || group.limits.iter().any(|limit| limit.kind == Kind::Pooler);
        if whose.level == Level::Pool && !is_pooled && !of_pooler() {
            return Behind::default();
        }
        let within = |wanted: &Option<String>, name: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == name)
        };
        let of = self.waiting.iter().filter(|waiting| {
            within(&whose.database, &waiting.database) && within(&whose.user, &waiting.user)
        });
        Behind::of(of)
    }

    /// Why sessions of a group queue.
    pub fn verdict(&self, group: &Group, thresholds: &Thresholds) -> Option<Verdict> {
        self.verdict_or(group, thresholds, |main| {
            let is_asked = main.short == Short::Waits;
            is_asked.then(|| self.narrower(group, &main.load, thresholds)).flatten()
        })
    }

    /// The same; `narrower` says it where clients wait while the group has room.
    pub(super) fn verdict_or(
        &self,
        group: &Group,
        thresholds: &Thresholds,
        narrower: impl FnOnce(&Pressed) -> Option<(Cause, String)>,
    ) -> Option<Verdict> {
        let kinds = self.pressed(group, thresholds);
        let Some((main, others)) = kinds.split_first() else {
            // At no moment: what is known of all of the window is all there is.
            let full = |limit: &Limit| limit.ratio() > thresholds.of(&CRITICAL_RATIO);
            // A pool was not there at moments that were short, or else they would be its own; nor was a user or a database at those
            // at which a limit was full.
            let was_there = group.whose.level != Level::Pool || self.moments.is_empty();
            let is_always = group.whose.level == Level::Server || self.moments.is_empty();
            let is_now = |limit: &Limit| self.is_used_now(group, limit, thresholds);
            let is_there = is_always || group.binding().is_some_and(is_now);
            // What is full is told of the time in which it was there, not of hours in which it was not.
            let is_full = is_there && group.binding().is_some_and(full);
            let group = &if is_full { group.in_its_time() } else { group.clone() };
            let mut load = Load::of(group, self.server()?, self.cpus)?;
            load.behind = if was_there { self.behind(group, false) } else { Behind::default() };
            load.limit = load.limit.filter(|limit| is_full || !full(limit));
            if was_there || is_full {
                load.refused = self.refused_by_own_limit(&group.whose);
                load.refuser = group.limit_that_refuses().copied();
            }
            // It is asked for only where it is full, and would be asked for each of hundreds of pools.
            if is_full || load.refused > Some(0) {
                load.held = self.held(&load, group, |whose| {
                    let found = self.groups.iter().find(|other| other.whose == *whose)?;
                    Some(if is_full { found.in_its_time() } else { found.clone() })
                });
            }
            load.head = self.head_of(&group.whose);
            load.elsewhere =
                Elsewhere::of(&load, &group.whose, [(1, self.events.as_slice())].into_iter());
            return Some(queue::verdict(&load, thresholds));
        };
        let mut verdict = queue::verdict(&main.load, thresholds);
        if verdict.cause == Cause::PoolTooSmall {
            (verdict.cause, verdict.detail) =
                narrower(main).unwrap_or((verdict.cause, verdict.detail));
        }
        let others = others.iter().map(|other| queue::verdict(&other.load, thresholds).detail);
        let refused = self.refused_by_own_limit(&group.whose).filter(|refused| *refused > 0);
        let untold = refused.filter(|_| !kinds.iter().any(|kind| kind.short == Short::Full));
        let untold = untold.map(|n| format!("connections were refused ({n})"));
        for other in others.chain(untold) {
            verdict.detail.push_str(&format!("; at other moments: {other}"));
        }
        Some(verdict)
    }

    /// What was refused to a group by the limit that is its own; to a pool, what was refused to its user.
    pub(super) fn refused_by_own_limit(&self, whose: &Whose) -> Option<u64> {
        let user = Whose { level: Level::User, ..whose.clone() };
        let of = |whose: &Whose, why: Refusal| self.refused(whose, Some(why));
        match whose.level {
            Level::Pool | Level::User => of(&user, Refusal::RoleLimit),
            Level::Database => of(whose, Refusal::DatabaseLimit),
            Level::Server => of(whose, Refusal::TooManyClients)
                .zip(of(whose, Refusal::Reserved))
                .map(|(none, reserved)| none.saturating_add(reserved)),
        }
    }

    /// Waits are not told apart by address: where sessions of several waited, whose head it is is not known.
    pub(super) fn head_of(&self, whose: &Whose) -> Option<Head> {
        // Where nobody waited there is none, however many groups would have to be looked at.
        if self.blocked.is_empty() && self.head.is_none() {
            return None;
        }
        let mut waited = self.groups.iter().filter(|other| {
            other.on_lock > Some(0.0) && other.whose.differs_in_address_from(whose)
        });
        if waited.next().is_some() {
            return None;
        }
        Head::of(&self.blocked, whose, self.span_us).or_else(|| self.head.clone())
    }

    /// Who holds what a group's limit allows, where others are under it too.
    pub(super) fn held(
        &self,
        load: &Load,
        group: &Group,
        find: impl FnOnce(&Whose) -> Option<Group>,
    ) -> Option<Held> {
        let whose = &group.whose;
        // What is refused to a pool is refused to its user.
        let kind = load.limit.map(|limit| limit.kind).unwrap_or(Kind::Role);
        let all = under(kind, whose)?;
        let found = Some(&all).filter(|all| *all != whose).and_then(find)?;
        Some(Held {
            open: found.open.average?,
            idle: found.idle.average?,
            idle_most: found.idle_most(),
            open_most: found.open_most(),
            // Of a long window it is who had most when most was in use.
            by: self
                .fullest(&all, kind, |limit| limit.used)
                .most_idle(&all)
                .or_else(|| self.most_idle(&all))
                .map(|pool| pool.whose.program()),
        })
    }

    /// Whether a group has sessions now, and what it shares a limit with uses that now.
    fn is_used_now(&self, group: &Group, limit: &Limit, thresholds: &Thresholds) -> bool {
        let all = under(limit.kind, &group.whose);
        let all = all.map(|all| self.groups.iter().find(|other| other.whose == all)?.open.now);
        let used = all.unwrap_or(group.busy.now).map(f64::from);
        let least = thresholds.of(&CRITICAL_RATIO) * f64::from(limit.most);
        group.open.now > Some(0) && used.is_some_and(|used| used > least)
    }

    /// How large a group's pool need be.
    pub fn advice(&self, group: &Group, thresholds: &Thresholds) -> Option<Advice> {
        let all = self.server()?;
        // Others want processors too: a pool has its part of them.
        let cpus = match (self.cpus, group.on_cpu, all.on_cpu) {
            (Some(cpus), Some(own), Some(of_all)) if of_all > 0.0 => Some(cpus * own / of_all),
            _ => None,
        };
        let counted = self.sessions_for(&group.whose).and_then(Sessions::counted);
        let sampled = self.sampled_busy(&group.whose);
        advice::advise(group, counted.as_ref(), sampled, cpus, thresholds)
    }

    /// Busy sessions by samples, of what the server counted for a group.
    pub fn sampled_busy(&self, whose: &Whose) -> Option<f64> {
        let level = if whose.level == Level::Server { Level::Server } else { Level::Database };
        let same = |group: &&Group| {
            group.whose.level == level
                && (level == Level::Server || group.whose.database == whose.database)
        };
        self.groups.iter().find(same)?.busy.average
    }

    /// The pool with most idle sessions of a group.
    pub(super) fn most_idle(&self, whose: &Whose) -> Option<&Group> {
        let pools = self.groups.iter().filter(|group| group.whose.level == Level::Pool);
        let idle = pools.filter_map(|pool| Some((pool, pool.idle.used()?)));
        let idle = idle.filter(|(pool, idle)| *idle > 0.0 && whose.holds(&pool.whose));
        // The first of those that have as many.
        idle.reduce(|most, next| if next.1 > most.1 { next } else { most }).map(|(pool, _)| pool)
    }

    /// The moment at which most of a limit was in use, by what is told of that; all of the time where that is more, as now, or no
    /// moments are known.
    pub fn fullest(&self, whose: &Whose, kind: Kind, of: impl Fn(&Limit) -> f64) -> &Self {
        let used = |look: &Self| {
            let group = look.groups.iter().find(|group| group.whose == *whose)?;
            group.limits.iter().find(|limit| limit.kind == kind).map(&of)
        };
        let least = used(self).unwrap_or(0.0);
        let moments = self.moments.iter().filter_map(|look| Some((look, used(look)?)));
        let fullest = moments.reduce(|most, next| if next.1 >= most.1 { next } else { most });
        fullest.filter(|(_, used)| *used >= least).map_or(self, |(look, _)| look)
    }

    /// Who holds most of the sessions of a group: pools in order of what they hold.
    pub fn holders<'a>(
        &'a self,
        whose: &'a Whose,
        of: impl Fn(&Group) -> &Figure,
    ) -> Vec<(&'a Group, f64)> {
        let pools = self.groups.iter().filter(|group| {
            group.whose.level == Level::Pool && (whose == &group.whose || whose.holds(&group.whose))
        });
        let mut all: Vec<(&Group, f64)> =
            pools.filter_map(|pool| Some((pool, of(pool).used()?))).collect();
        all.retain(|holder| holder.1 > 0.0);
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all
    }
}
