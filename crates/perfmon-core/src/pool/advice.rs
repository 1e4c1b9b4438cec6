//! How large a pool need be: as many sessions as its load keeps busy, and a margin for chance.
//!
//! A session is busy inside a statement or a transaction; only then must a client have one for itself. How many are busy
//! varies with the load, and, as clients come on their own, by chance: of a load of 9 sessions, a sample in a hundred finds 17
//! or more. What chance adds lasts for moments, and waits as long, so that a pool for all of it is much too large. Hence the
//! size is the load at its height, and on top as many square roots of it as the margin says (Erlang's load; square-root
//! staffing: Halfin and Whitt 1981). The height is told by percentiles of busy sessions up to the 99th, less what chance adds
//! to each: of a number that is there for half of the time chance adds nothing. Crowds that come and go within seconds, as
//! of clients that march in step, are no load either: they are averaged over ten seconds.
//!
//! By Little's law the average number of busy sessions is transactions per second times the time that a transaction keeps
//! one, which the server counts on its own: both must agree, or the samples are not to be trusted. Where more sessions want a
//! processor than there are, those beyond would wait as well outside of the server, and do not count. Nor do those that wait
//! for locks: as many as come wait for the one that holds it, whatever the size of the pool.
//!
//! All of it is about the time in which the pool was there: an hour of which it existed for a minute says nothing more of it.

use super::Group;
use super::limit::Kind;
use crate::threshold::{Threshold, Thresholds};

/// On top of the load.
pub const MARGIN: Threshold = Threshold::new(
    "pool_size_margin",
    0.75,
    "what an advised pool has on top of its load, in square roots of the load",
    "Halfin and Whitt (1981): one client in three waits for a session, for a part of a transaction",
);
/// Evidence.
pub const MIN_SAMPLES: Threshold = Threshold::new(
    "pool_size_samples",
    300.0,
    "samples below which no size of a pool is advised",
    "pg_perfmon: five minutes at one a second; three of them are above the 99th percentile",
);
/// Agreement.
pub const LITTLE_RATIO: Threshold = Threshold::ratio(
    "pool_size_little_ratio",
    0.25,
    "difference between busy sessions by samples and by Little's law from which samples are doubted",
    "pg_perfmon",
);
/// Many more than needed.
pub const OVERSIZED_RATIO: Threshold = Threshold::new(
    "pool_oversized_ratio",
    3.0,
    "open sessions over those ever needed from which a pool is called oversized: information",
    "pg_perfmon",
);
/// Few are no matter.
pub const OVERSIZED_MIN: Threshold = Threshold::new(
    "pool_oversized_sessions",
    20.0,
    "sessions that a smaller pool would free below which it is not called oversized",
    "pg_perfmon: each costs some megabytes and a place among the connections",
);

/// Percentiles by which the height of a load is told, with the standard deviations above the average below which so many of
/// normally distributed numbers are.
pub const PERCENTILES: [(f64, f64); 5] =
    [(0.5, 0.0), (0.75, 0.674), (0.9, 1.282), (0.95, 1.645), (0.99, 2.326)];
/// Share of busy sessions that wait for locks from which the rest is not known well enough.
const LOCKED: f64 = 0.1;
/// Of the margin, where what does not wait for a session waits for a processor.
const SHORT_OF_CPUS: f64 = 0.5;

/// Busy sessions that do not wait for locks, on average over blocks of samples that follow each other
/// (`crate::activity::group::BLOCK_US`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Blocks {
    /// In the order of [`PERCENTILES`].
    pub percentiles: [Option<f64>; PERCENTILES.len()],
    /// Samples of a block.
    pub samples: f64,
    /// Variance of busy sessions over single samples, and of the averages of blocks.
    pub variance: [f64; 2],
}

impl Blocks {
    /// The largest load that a percentile tells, once what the average of a few samples owes to chance is taken from it: the
    /// samples of one block vary by what all vary by more than blocks do. Where single samples are mostly of sessions that wait
    /// for locks, what chance adds to the others is not known, and nothing is taken.
    fn height(&self, is_locked: bool) -> Option<f64> {
        let [all, between] = self.variance;
        let rest = (self.samples > 1.0).then(|| (all - between).max(0.0) / (self.samples - 1.0))?;
        let rest = if is_locked { 0.0 } else { rest };
        let loads = PERCENTILES.iter().zip(self.percentiles);
        let loads =
            loads.filter_map(|((_, deviations), load)| Some(load? - deviations * rest.sqrt()));
        loads.reduce(f64::max)
    }
}

/// What the server counted of a database or of all of them, beside samples.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counted {
    /// Transactions per second.
    pub transactions_per_s: f64,
    /// Time that a transaction kept a session busy, milliseconds.
    pub transaction_ms: f64,
}

impl Counted {
    /// Little's law: how many are under way at a time.
    pub fn busy(&self) -> f64 {
        self.transactions_per_s * self.transaction_ms / 1000.0
    }
}

/// What a pool should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Advice {
    /// Sessions.
    pub size: u32,
    /// Sessions that the load keeps busy at its height.
    pub load: f64,
    /// On top of it.
    pub margin: f64,
    /// As it is: declared, inferred, or the most that were open.
    pub current: u32,
    /// Whence that is known.
    pub current_from: &'static str,
    /// Open sessions for each one needed in 99 % of samples.
    pub factor: f64,
    /// Sessions that would be free for others.
    pub frees: u32,
    /// More wanted a processor than there were.
    pub by_cpus: bool,
    /// Sessions that waited for locks on average, and are no load.
    pub locked: f64,
    /// Sessions of which nobody knows whether they are busy.
    pub hidden: f64,
    /// Little's law disagrees with the samples, or was not there to check them; or samples say too little: many sessions
    /// waited for locks, or some do not say what they do.
    pub doubtful: bool,
}

/// The advice; `None` where the data do not support one. `cpus` are the processors that are there for this pool.
pub fn advise(
    group: &Group,
    counted: Option<&Counted>,
    sampled_busy: Option<f64>,
    cpus: Option<f64>,
    thresholds: &Thresholds,
) -> Option<Advice> {
    let (busy_p99, busy_avg) = (group.busy_there_p99()?, group.while_there(group.busy.average)?);
    if (group.there as f64) < thresholds.of(&MIN_SAMPLES) || group.whose.other {
        return None;
    }
    let locked = group.while_there(group.on_lock).unwrap_or(0.0);
    let is_locked = locked > LOCKED * busy_avg;
    let at_work = (busy_avg - locked).max(0.0);
    let crowd = match (group.while_there(group.on_cpu), cpus) {
        (Some(on_cpu), Some(cpus)) => (on_cpu - cpus).max(0.0),
        _ => 0.0,
    };
    // With processors to wait for, the p99 says how many stood in the queue, the average how many did not.
    let by_cpus = crowd >= 1.0;
    let load =
        if by_cpus { at_work - crowd } else { height(group, locked, is_locked).max(at_work) };
    let part = if by_cpus { SHORT_OF_CPUS } else { 1.0 };
    let margin = part * thresholds.of(&MARGIN) * load.max(0.0).sqrt();
    let size = (load + margin - 1e-9).ceil().max(1.0) as u32;
    let (current, current_from) = current(group)?;
    let little = counted.zip(sampled_busy).map(|(counted, sampled)| {
        (counted.busy() - sampled).abs() <= thresholds.of(&LITTLE_RATIO) * sampled.max(1.0)
    });
    let hidden = group.while_there(group.hidden).unwrap_or(0.0);
    Some(Advice {
        size,
        load,
        margin,
        current,
        current_from,
        factor: group.open_there()? / busy_p99.max(1.0),
        frees: current.saturating_sub(size),
        by_cpus,
        locked,
        hidden,
        doubtful: little != Some(true) || is_locked || hidden > 0.0,
    })
}

/// The largest load that a percentile of busy sessions tells. Single samples cannot tell a crowd that is gone after some
/// milliseconds from one that stays; blocks of samples can, and know of each who waits for a lock.
fn height(group: &Group, locked: f64, is_locked: bool) -> f64 {
    let known = PERCENTILES.iter().zip(group.busy_percentiles);
    let loads = known.filter_map(|((_, deviations), busy)| Some(load(busy?, *deviations)));
    let by_samples = (loads.fold(0.0, f64::max) - locked).max(0.0);
    let by_blocks = group.load.as_ref().and_then(|blocks| blocks.height(is_locked));
    by_blocks.map_or(by_samples, |load| load.min(by_samples))
}

/// The load of which chance alone gives a percentile: numbers of clients that come on their own vary by the square root of
/// their average (Poisson), so that `load + deviations * sqrt(load) = percentile`. Numbers are whole, and what a part of the
/// samples does not exceed is half of one too high.
fn load(percentile: f64, deviations: f64) -> f64 {
    let (half, percentile) = (deviations / 2.0, (percentile - 0.5).max(0.0));
    ((half * half + percentile).sqrt() - half).powi(2)
}

/// The size that a pool has.
fn current(group: &Group) -> Option<(u32, &'static str)> {
    let size = |kind: Kind| group.limits.iter().find(|limit| limit.kind == kind).map(|l| l.most);
    // No pool of a pooler gets larger than what it shares with others.
    let pooler = group.limits.iter().filter(|limit| limit.kind.is_of_pooler());
    let pooler = pooler.map(|limit| limit.most).min().map(|most| (most, Kind::Pooler.word()));
    let known = [Kind::Declared, Kind::Inferred];
    let known = || known.into_iter().find_map(|kind| Some((size(kind)?, kind.word())));
    pooler.or_else(known).or_else(|| Some((group.open.peak?, "peak")))
}

impl Advice {
    /// What to change, in words, and what speaks against it.
    pub fn change(&self, group: &Group) -> String {
        let mut said = self.size_of(group);
        let exceeded = group.limits.iter().find(|limit| limit.kind == Kind::Exceeded);
        if let Some((limit, peak)) = exceeded.zip(group.open.peak) {
            let most = limit.most;
            said.push_str(&format!(
                " {most} is declared, which is not the size of this pool: {peak} were open."
            ));
        }
        if self.locked >= 0.05 {
            said.push_str(&format!(
                " Not counted: {:.1} that wait for locks on average (perfmon.blocking() says for whom).",
                self.locked
            ));
        }
        if self.hidden >= 0.05 {
            said.push_str(&format!(
                " Nobody knows of {:.1} more whether they are busy: track_activities is off.",
                self.hidden
            ));
        }
        said
    }

    fn size_of(&self, group: &Group) -> String {
        let (size, current) = (self.size, self.current);
        let (load, margin) = (self.load, self.margin);
        let busy = group.busy_there_p99().unwrap_or(0.0);
        let peak = group.busy.peak.unwrap_or(0);
        let of_pool = self.current_from != "peak";
        if self.by_cpus {
            return format!(
                "Set the pool to {size}: more sessions want a processor than there are, and further ones only \
                 wait inside the server instead of before it."
            );
        }
        if size < current {
            let open = if of_pool { "in the pool" } else { "open at most" };
            if peak == 0 {
                // Statements that take less than the time between two samples are seldom seen.
                return format!(
                    "Set the pool to {size}, or a few more: {current} {open}, and no sample saw one busy, so each is \
                     for moments only."
                );
            }
            return format!(
                "Set the pool to {size}: {current} {open}, a load of {load:.1} sessions at its height ({busy:.0} busy in \
                 99 % of samples, never seen more than {peak}), and {margin:.1} for chance."
            );
        }
        if size > current && of_pool {
            return format!(
                "Raise the pool to {size}: of {current}, {busy:.0} were busy in 99 % of samples; that is a load of \
                 {load:.1}, and {margin:.1} for chance."
            );
        }
        format!("Leave it: {current} sessions at most serve {busy:.0} busy ones.")
    }

    /// The same in the terms of the usual pools.
    pub fn terms(&self) -> String {
        let size = self.size;
        let overflow = size / 5;
        let base = size - overflow;
        format!(
            "HikariCP: maximumPoolSize={size}, maxLifetime=1800000, no connectionTestQuery (it asks by isValid()). \
             SQLAlchemy: pool_size={base}, max_overflow={overflow}, pool_recycle=1800, pool_pre_ping costs a round \
             trip for each checkout. node-postgres: max={size}, idleTimeoutMillis=30000. Go database/sql: \
             SetMaxOpenConns({size}), SetMaxIdleConns({size}), SetConnMaxLifetime(30 min). PgBouncer in transaction \
             mode: default_pool_size={size}, reserve_pool_size={overflow}, server_lifetime=3600. These are for the \
             whole: divide them by the number of processes that have a pool of their own."
        )
    }
}
