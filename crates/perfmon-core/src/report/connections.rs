//! Clients' connections as facts of a report: who has how many, under which limit, and why they queue.

use crate::activity::group::Level;
use crate::pool::limit::{Limit, Nearness};
use crate::pool::queue::Cause;
use crate::pool::{Group, Look, Pools};
use crate::threshold::Thresholds;

/// Connections of the period.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Connections {
    /// Samples behind it.
    pub samples: u64,
    /// The server, databases, roles and pools; those nearest to their limit first, the server before all.
    pub groups: Vec<GroupOut>,
    /// Connections that were refused; `None`: not counted.
    pub refused: Option<Vec<RefusedOut>>,
}

/// Sessions of the server, a database, a role or a pool.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct GroupOut {
    /// `server`, `database`, `user` or `pool`.
    pub level: &'static str,
    /// Whose.
    pub name: String,
    /// It watches databases.
    pub monitoring: bool,
    /// Open on average.
    pub open_avg: Option<f64>,
    /// The most that were open.
    pub open_peak: Option<u32>,
    /// Busy in all but one of a hundred samples.
    pub busy_p99: Option<f64>,
    /// Share that idled outside of a transaction.
    pub idle_ratio: Option<f64>,
    /// Share that idled inside one.
    pub in_transaction_ratio: Option<f64>,
    /// What limits it first.
    pub limited_by: Option<&'static str>,
    /// How many that allows.
    pub connections_limit: Option<u32>,
    /// Share of it in use.
    pub saturation_ratio: Option<f64>,
    /// `ok`, `warning` or `critical`.
    pub saturation: Option<&'static str>,
    /// Hours until the limit is reached.
    pub hours_to_exhaustion: Option<f64>,
    /// Why sessions queue, in a word; `None`: they do not.
    pub queue_cause: Option<&'static str>,
    /// The same in a sentence.
    pub queue_detail: Option<String>,
    /// The size that a pool need have.
    pub advised_size: Option<u32>,
    /// What to change, in words.
    pub advice: Option<String>,
}

/// Connections that were refused for one cause.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct RefusedOut {
    /// Why: `too_many_clients`, `reserved`, `role_limit`, `database_limit`, `starting_up`, `wal_senders`, `authentication`,
    /// `other`.
    pub cause: &'static str,
    /// Who asked.
    pub user_name: Option<String>,
    /// To which database.
    pub database_name: Option<String>,
    /// What clients were told.
    pub sqlstates: Vec<String>,
    /// How often.
    pub connections: u64,
}

impl Connections {
    /// From what is known of pools; `None` where nothing is.
    pub fn of(pools: &Pools, thresholds: &Thresholds) -> Option<Self> {
        let look = &pools.window;
        if look.samples == 0 {
            return None;
        }
        let mut groups: Vec<(&Group, GroupOut)> = look
            .groups
            .iter()
            .filter(|group| group.open.average.is_some())
            .map(|group| (group, out(pools, look, group, thresholds)))
            .collect();
        let nearness = |group: &Group| group.binding().map_or(0.0, Limit::ratio);
        groups.sort_by(|(a, _), (b, _)| {
            let server = |group: &Group| group.whose.level != Level::Server;
            let open = |group: &Group| group.open.average.unwrap_or(0.0);
            server(a)
                .cmp(&server(b))
                .then(nearness(b).total_cmp(&nearness(a)))
                .then(open(b).total_cmp(&open(a)))
                .then(a.whose.cmp(&b.whose))
        });
        let refused = look.refused.as_ref().map(|all| {
            all.iter()
                .map(|one| RefusedOut {
                    cause: one.why.map_or("authentication", |why| why.name()),
                    user_name: one.user.clone(),
                    database_name: one.database.clone(),
                    sqlstates: one.states.clone(),
                    connections: one.count,
                })
                .collect()
        });
        let groups = groups.into_iter().map(|(_, out)| out).collect();
        Some(Self { samples: look.samples, groups, refused })
    }
}

fn out(pools: &Pools, look: &Look, group: &Group, thresholds: &Thresholds) -> GroupOut {
    let binding = group.binding();
    let verdict = look.verdict(group, thresholds).filter(|v| v.cause != Cause::Nothing);
    let is_pool = group.whose.level == Level::Pool;
    let advice = look.advice(group, thresholds).filter(|_| is_pool);
    GroupOut {
        level: group.whose.level.name(),
        name: group.whose.object(),
        monitoring: group.whose.monitoring,
        open_avg: group.open.average,
        open_peak: group.open.peak,
        busy_p99: group.busy_there_p99().or(group.busy.p99),
        idle_ratio: group.share(&group.idle),
        in_transaction_ratio: group.share(&group.in_transaction),
        limited_by: binding.map(|limit| limit.kind.word()),
        connections_limit: binding.map(|limit| limit.most),
        saturation_ratio: binding.map(Limit::ratio),
        saturation: binding.map(|limit| Nearness::of(limit, thresholds).word()),
        hours_to_exhaustion: pools.exhaustion_of(group).map(|found| found.hours),
        queue_cause: verdict.as_ref().map(|verdict| verdict.cause.word()),
        queue_detail: verdict.map(|verdict| verdict.detail),
        advised_size: advice.as_ref().map(|advice| advice.size),
        advice: advice.map(|advice| advice.change(group)),
    }
}
