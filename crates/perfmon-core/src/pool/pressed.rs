//! Moments at which a group was short of connections: only these say why it queues.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::elsewhere::Elsewhere;
use super::limit::{Kind, Limit};
use super::look::{Look, mark, mean, under};
use super::queue::{self, Behind, Cause, Load};
use super::{CRITICAL_RATIO, Group, Whose};
use crate::activity::group::Level;
use crate::threshold::Thresholds;

/// A part of the window in which a group was short of connections.
#[derive(Clone)]
struct Moment<'a> {
    look: &'a Look,
    /// `None` where no sample is kept, since nothing happened.
    group: Option<&'a Group>,
    /// A limit of it was full.
    is_full: bool,
    /// Who waited for its connections at poolers.
    behind: Behind,
}

/// What a group is short of at a moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Short {
    /// Clients wait at a pooler that uses none of its connections for them.
    HeldUp,
    /// Clients wait for connections that others have, although no limit of the server is full.
    Waits,
    /// A limit is full.
    Full,
}

/// All such moments of one kind.
pub(super) struct Pressed {
    pub(super) short: Short,
    samples: u64,
    pub(super) load: Load,
}

impl Look {
    /// How much it counts for: its samples, or where none are kept, since nothing happened, its seconds.
    fn weight(&self) -> u64 {
        let seconds = self.span_us.1.saturating_sub(self.span_us.0) / 1_000_000;
        if self.samples > 0 { self.samples } else { u64::try_from(seconds).unwrap_or(0).max(1) }
    }

    /// Moments at which a limit of a group was full or somebody waited for its connections: only these say why. Those at which
    /// clients wait although no limit is full are another trouble than the others, and so are those at which a pooler
    /// gives connections to nobody: an average would be of none of them.
    /// What lasted longer comes first; of what nothing is to be said is left out.
    pub(super) fn pressed(&self, group: &Group, thresholds: &Thresholds) -> Vec<Pressed> {
        let moments: Vec<(Short, Moment<'_>)> = self.presses(group, thresholds).collect();
        let of = |short: Short| {
            let own = moments.iter().filter(|moment| moment.0 == short);
            let own: Vec<Moment<'_>> = own.map(|moment| moment.1.clone()).collect();
            let samples = own.iter().map(|moment| moment.look.weight()).sum();
            let load = self.load_of(group, &own)?;
            Some(Pressed { short, samples, load })
        };
        let mut all: Vec<Pressed> =
            [Short::Full, Short::Waits, Short::HeldUp].into_iter().filter_map(of).collect();
        all.retain(|kind| queue::verdict(&kind.load, thresholds).cause != Cause::Nothing);
        all.sort_by_key(|kind| Reverse((kind.samples, kind.short)));
        all
    }

    fn presses<'a>(
        &'a self,
        whole: &'a Group,
        thresholds: &'a Thresholds,
    ) -> impl Iterator<Item = (Short, Moment<'a>)> {
        let is_pooled = whole.limits.iter().any(|limit| limit.kind == Kind::Pooler);
        let mark = mark(&whole.whose);
        self.moments.iter().filter_map(move |look| {
            let group = look.marked(&whole.whose, mark);
            let full = |limit: &Limit| limit.ratio() > thresholds.of(&CRITICAL_RATIO);
            let is_full = group.and_then(Group::binding).is_some_and(full);
            let behind = look.behind(group.unwrap_or(whole), is_pooled);
            // A pooler that is paused closes its connections: then there is nobody to be seen.
            if group.is_none() && behind.held_up <= 0.0 {
                return None;
            }
            let short = [
                (Short::Full, is_full),
                (Short::Waits, group.is_some() && behind.waiting.is_some_and(|n| n > 0.0)),
                (Short::HeldUp, behind.held_up > 0.0),
            ];
            let (short, _) = short.into_iter().find(|(_, is)| *is)?;
            Some((short, Moment { look, group, is_full, behind }))
        })
    }

    /// A group and all of the server as they were on average at some moments, under the limit that was fullest.
    fn load_of(&self, whole: &Group, moments: &[Moment<'_>]) -> Option<Load> {
        let ratio = |m: &Moment<'_>| m.group.and_then(Group::binding).map_or(0.0, Limit::ratio);
        let fullest = moments.iter().max_by(|a, b| ratio(a).total_cmp(&ratio(b)))?;
        let groups = moments.iter().filter_map(|m| Some((m.look.samples, m.group?)));
        let own: Vec<(u64, &Group)> = groups.collect();
        let all = moments.iter().filter_map(|m| Some((m.look.samples, m.look.server()?)));
        let all: Vec<(u64, &Group)> = all.collect();
        let behind = Behind::mean(moments.iter().map(|m| (m.look.weight(), &m.behind)));
        let Some(limited) = fullest.group.filter(|_| !all.is_empty()) else {
            return Some(Load { unseen: true, cpus: self.cpus, behind, ..Load::default() });
        };
        // Where it came in the middle of a moment, it is told as it was while it was there.
        let there = own.iter().map(|(samples, group)| group.there.min(*samples)).sum();
        let own = Group { there, ..mean(whole.whose.clone(), &own) }.in_its_time();
        let own = Group { limits: limited.limits.clone(), ..own };
        let mut load = Load::of(&own, &mean(Whose::server(), &all), self.cpus)?;
        // What a pooler gave is known of moments only: they tell how much of it idles all together, and not each.
        let pooler = whole.limits.iter().find(|limit| limit.kind == Kind::Pooler);
        let of_pooler = load.limit.as_mut().filter(|limit| limit.kind.is_of_pooler());
        if let (Some(limit), Some(pooler)) = (of_pooler, pooler) {
            limit.idle = pooler.idle;
        }
        load.behind = behind;
        // When it was that connections were refused is not known, but that the limit must have been full.
        let full = fullest.is_full.then(|| self.refused_by_own_limit(&whole.whose));
        load.refused = full.flatten();
        load.refuser = own.limit_that_refuses().copied();
        let find = |whose: &Whose| {
            let mark = mark(whose);
            let own = moments.iter();
            let own: Vec<(u64, &Group)> =
                own.filter_map(|m| Some((m.look.samples, m.look.marked(whose, mark)?))).collect();
            (!own.is_empty()).then(|| mean(whose.clone(), &own))
        };
        load.held = fullest.is_full.then(|| self.held(&load, whole, find)).flatten();
        if let (Some(held), Some(limit)) = (&mut load.held, load.limit) {
            // Who was there at another moment, when the group was not, kept it out of nothing.
            let idle = |pool: &&Group| pool.idle.used().unwrap_or(0.0);
            let at = moments.iter().filter(|m| ratio(m) >= ratio(fullest));
            held.by = under(limit.kind, &whole.whose).and_then(|all| {
                let most = at.filter_map(|m| m.look.most_idle(&all));
                let most = most.max_by(|a, b| idle(a).total_cmp(&idle(b)));
                most.map(|pool| pool.whose.program())
            });
        }
        load.head = self.head_of(&whole.whose);
        let events = moments.iter().map(|m| (m.look.samples, m.look.events.as_slice()));
        load.elsewhere = Elsewhere::of(&load, &whole.whose, events);
        Some(load)
    }

    /// Why clients wait at a pooler for connections of a group that has room itself, where a limit below it keeps their pool from
    /// more: that of its role or of its database, or connections that clients have and that idle.
    pub(super) fn narrower(
        &self,
        group: &Group,
        load: &Load,
        thresholds: &Thresholds,
    ) -> Option<(Cause, String)> {
        let at = load.behind.most.as_ref().filter(|_| group.whose.level != Level::Pool)?;
        let same = |own: &Option<String>, name: &str| own.as_deref().is_none_or(|own| own == name);
        let meant = |other: &&Group| {
            let (whose, level) = (&other.whose, other.whose.level);
            let binds = other.binding().is_some_and(|limit| {
                limit.kind
                    == (match level {
                        Level::Database => Kind::Database,
                        Level::User => Kind::Role,
                        _ => Kind::Pooler,
                    })
                    && limit.ratio() > thresholds.of(&CRITICAL_RATIO)
            });
            let is_other = !whose.other && level != Level::Server && *whose != group.whose;
            is_other && binds && same(&whose.database, &at.database) && same(&whose.user, &at.user)
        };
        let mut told = BTreeSet::new();
        // What was full while nobody waited kept nobody waiting.
        let waiting = self.presses(group, thresholds).filter(|(short, _)| *short == Short::Waits);
        let found = waiting.flat_map(|(_, at)| at.look.groups.iter().filter(&meant));
        let mut once = found.filter(|found| told.insert(&found.whose));
        once.find_map(|found| {
            let own = self.marked(&found.whose, mark(&found.whose))?;
            // Whatever stands behind that in turn: two limits that bind each other's group would ask for ever.
            let said = self.verdict_or(own, thresholds, |_| None)?;
            let limit = found.binding()?;
            let tells = limit.kind != Kind::Pooler || said.cause == Cause::PoolTooLarge;
            let of =
                format!("{}, {:.0} of {} in use", found.whose.object(), limit.used, limit.most);
            (tells && said.cause != Cause::Nothing)
                .then(|| (said.cause, format!("{} ({of})", said.detail)))
        })
    }
}
