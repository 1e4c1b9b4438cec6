//! Objectives: what was promised of latency, errors, throughput and availability, whether it was kept over a
//! window, and how fast the error budget is spent. Percentiles come from summed buckets only. It must never
//! let pass what is not known: no data and too few executions are results of their own.

use crate::histogram::{Latency, Sum};

mod availability;
mod burn;
pub mod declare;
mod judge;
mod least;
mod stretch;
#[cfg(test)]
mod tests;
mod throughput;
pub mod words;

pub use availability::Unanswered;
pub use judge::judge;
pub use stretch::{Stretch, longest};

/// Objectives of those who name no target.
pub const DEFAULTS: [Target; 3] = [
    Target::Latency { quantile: 0.95, limit_ms: 200.0 },
    Target::Latency { quantile: 0.99, limit_ms: 500.0 },
    Target::Errors { ratio: 0.005 },
];
/// Executions below which a share of them says too little.
pub const MIN_EXECUTIONS: u64 = 100;
/// Share of a time that must be known before something is said about all of it.
pub const KNOWN: f64 = 0.8;

const MINUTE_US: i64 = 60_000_000;
/// The short and the long window of a fast burn, and those of a slow one: Site Reliability Workbook,
/// chapter 5, "Alerting on SLOs", multiple windows and burn rates.
pub const WINDOWS_US: [i64; 4] = [5 * MINUTE_US, 60 * MINUTE_US, 30 * MINUTE_US, 360 * MINUTE_US];

/// One promise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// The share `quantile` of all executions takes at most so long.
    Latency {
        /// From 0 to 1, both excluded.
        quantile: f64,
        /// Milliseconds.
        limit_ms: f64,
    },
    /// At most this share of the executions fails.
    Errors {
        /// From 0 to 1.
        ratio: f64,
    },
    /// At least so many executions end in a second.
    Throughput {
        /// Executions.
        per_second: f64,
    },
    /// In at least this share of the time the server is up and answers in time.
    Availability {
        /// From 0 to 1.
        ratio: f64,
    },
}

impl Target {
    /// The promised value, in the unit of the kind.
    pub fn value(self) -> f64 {
        match self {
            Self::Latency { limit_ms, .. } => limit_ms,
            Self::Errors { ratio } | Self::Availability { ratio } => ratio,
            Self::Throughput { per_second } => per_second,
        }
    }

    /// The share of what is counted that may be bad: the error budget. Throughput has none.
    pub fn allowed(self) -> Option<f64> {
        match self {
            Self::Latency { quantile, .. } => Some(1.0 - quantile),
            Self::Errors { ratio } => Some(ratio),
            Self::Availability { ratio } => Some(1.0 - ratio),
            Self::Throughput { .. } => None,
        }
    }
}

/// Whose executions are meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Scope {
    /// All of this database.
    #[default]
    Database,
    /// Those of all databases of the server.
    Cluster,
    /// Those of one user in this database.
    User(String),
    /// Those of one application name in this database.
    Application(String),
    /// Those of one statement.
    Statement(i64),
}

/// Promises about the same executions, under one name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Objective {
    /// Its name; it may hold anything.
    pub name: String,
    /// Whose executions are meant.
    pub scope: Scope,
    /// The promises.
    pub targets: Vec<Target>,
    /// Executions below which nothing is said about a share of them.
    pub min_executions: u64,
}

impl Objective {
    /// What a minute's answers must keep for the minute to count as available: the latencies that are
    /// promised, or the first of the defaults.
    fn limits(&self) -> Vec<(f64, f64)> {
        let limit = |target: &Target| match target {
            Target::Latency { quantile, limit_ms } => Some((*quantile, *limit_ms)),
            _ => None,
        };
        let own: Vec<_> = self.targets.iter().filter_map(limit).collect();
        if own.is_empty() { DEFAULTS.iter().filter_map(limit).take(1).collect() } else { own }
    }
}

/// Errors that reached clients, and what they are a share of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Errors {
    /// Errors.
    pub errors: u64,
    /// Executions, those that failed before they began among them.
    pub of: u64,
}

impl Errors {
    /// Both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let errors = self.errors.saturating_add(other.errors);
        Self { errors, of: self.of.saturating_add(other.of) }
    }

    /// What is left without another.
    fn less(self, other: Self) -> Self {
        let errors = self.errors.saturating_sub(other.errors);
        Self { errors, of: self.of.saturating_sub(other.of).max(errors) }
    }

    /// No more than another.
    fn up_to(self, other: Self) -> Self {
        let errors = self.errors.min(other.errors);
        Self { errors, of: self.of.min(other.of).max(errors) }
    }

    /// Nothing else failed of what may be theirs.
    fn at_best(self, perhaps: Self) -> Self {
        let of = self.of.saturating_add(perhaps.of.saturating_sub(perhaps.errors));
        Self { of, ..self }
    }

    /// All that failed of what may be theirs was theirs, and nothing else.
    fn at_worst(self, perhaps: Self) -> Self {
        self.with(Self { of: perhaps.errors, ..perhaps })
    }
}

/// What failed or was cancelled by its kind: what is known to be theirs, and what found no place of its own and may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failed {
    /// Theirs.
    pub known: Errors,
    /// Theirs or others'.
    pub perhaps: Errors,
}

impl Failed {
    /// Of what found no place, a user's is no more than failed under its routes, and under those of nobody in particular,
    /// less what has a place.
    #[must_use]
    pub fn within(self, own: Errors, nobodys: Errors, placed: Errors) -> Self {
        Self { perhaps: self.perhaps.up_to(own.with(nobodys).less(placed)), ..self }
    }

    /// What failed under the routes of the user who is meant is theirs, whatever kind it was of.
    #[must_use]
    pub fn at_least(self, own: Errors) -> Self {
        let more = own.less(self.known).up_to(self.perhaps);
        Self { known: self.known.with(more), perhaps: self.perhaps.less(more) }
    }
}

/// What the executions of a scope did in one interval. What is not known is `None`, never zero.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// Start, microseconds since the Unix epoch.
    pub since_us: i64,
    /// End.
    pub until_us: i64,
    /// Time that the interval covers, the server being up.
    pub length_us: i64,
    /// Of it, time in which nothing at all happened.
    pub quiet_us: i64,
    /// Execution times.
    pub latency: Option<Latency>,
    /// How many executions were counted where their times say nothing of all.
    pub executions: Option<u64>,
    /// Executions besides, of which nothing but their number is known; hooks were off for them.
    pub uncounted: u64,
    /// Executions that may be theirs or others': they found no place of their own, or nothing but their number is known of
    /// all of a user, and a statement of its is meant.
    pub perhaps: u64,
    /// Executions of anybody that found no place among the statements, where theirs are known in part.
    pub unplaced: u64,
    /// No more than so many, where nothing else is known: what begins and ends transactions is among them.
    pub at_most: Option<u64>,
    /// These may not be all, as some were forgotten or never counted.
    pub may_be_more: bool,
    /// Those that failed.
    pub errors: Option<Errors>,
    /// Where not all of these are known: those that are, and with them what was cancelled.
    pub heard: Errors,
    /// Errors that may be theirs or others', and all that was tried of what found no place of its own.
    pub failed_perhaps: Errors,
    /// Of these errors, those that were counted without their statement.
    pub nameless_errors: u64,
    /// Of statements whose errors are not known, those that are known to have failed; they count as no executions.
    pub unseen: u64,
    /// What was asked for besides.
    pub unanswered: Unanswered,
}

impl Row {
    /// Keeps as much of the time as what is told of it covers, and gives the rest of it, of which nothing is known.
    pub fn split(&mut self, covered_us: i64) -> Option<Self> {
        let rest_us = self.length_us.saturating_sub(covered_us);
        if covered_us < 0 || rest_us <= 0 {
            return None;
        }
        let border = self.since_us.saturating_add(rest_us).min(self.until_us);
        let rest = Self {
            since_us: self.since_us,
            until_us: border,
            length_us: rest_us,
            quiet_us: rest_us.min(self.quiet_us),
            ..Self::default()
        };
        self.since_us = border;
        self.length_us = covered_us;
        self.quiet_us -= rest.quiet_us;
        Some(rest)
    }

    /// Time in which something could happen.
    fn active_us(&self) -> i64 {
        self.length_us.saturating_sub(self.quiet_us).max(0)
    }

    /// All executions, if their number is known.
    fn executions(&self) -> Option<u64> {
        let timed = || self.latency.as_ref().map(|latency| sum(latency).executions());
        let none = self.bound().filter(|most| *most == 0);
        let known = self.executions.or_else(timed).or(none)?;
        Some(known.saturating_add(self.uncounted))
    }

    fn bound(&self) -> Option<u64> {
        self.at_most.filter(|_| !self.may_be_more)
    }

    /// No more than so many.
    fn most(&self) -> Option<u64> {
        self.executions().map(|known| known.saturating_add(self.perhaps)).or(self.bound())
    }

    /// Where not all errors are known: those that are, of no more than so many that were tried.
    fn least_errors(&self) -> Option<Errors> {
        let most = self.most().filter(|_| self.errors.is_none())?;
        let perhaps = self.failed_perhaps.of.saturating_sub(self.perhaps);
        let others = [self.heard.of, self.unseen, perhaps];
        let of = others.into_iter().fold(most, u64::saturating_add);
        Some(Errors { of, ..self.heard })
    }

    /// Executions, at most, whose time is not known: any number of them where some were not counted.
    fn untimed(&self) -> u64 {
        /// Others can still be added.
        const ANY: u64 = u64::MAX / 4;
        match self.latency {
            Some(_) => self.uncounted.saturating_add(self.perhaps),
            None => self.most().unwrap_or(if self.at_most.is_some() { ANY } else { 0 }),
        }
    }
}

fn sum(latency: &Latency) -> Sum {
    let mut sum = Sum::default();
    sum.add(latency);
    sum
}

/// What is known about the executions of a scope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// Intervals in order of time; they do not overlap.
    pub rows: Vec<Row>,
    /// Times without a server: since and until.
    pub down: Vec<(i64, i64)>,
    /// Why execution times are not known, and what turns them on.
    pub no_latency: Option<String>,
    /// Why errors are not known, and what turns them on.
    pub no_errors: Option<String>,
    /// The setting of now by which not all is timed, and the line that changes that.
    pub untimed: Option<String>,
    /// The setting of now by which errors are counted without their statement, and the line that changes that.
    pub nameless: Option<String>,
    /// Whose executions nobody counts, in words.
    pub without: Option<String>,
}

impl History {
    /// The rows that a window takes: those that end in (since, until].
    pub fn within(&self, since: i64, until: i64) -> &[Row] {
        let first = self.rows.partition_point(|row| row.until_us <= since);
        let last = self.rows.partition_point(|row| row.until_us <= until);
        &self.rows[first..last.max(first)]
    }

    /// Time without a server between two moments.
    fn down_us(&self, since: i64, until: i64) -> i64 {
        let within =
            |(from, to): &(i64, i64)| (*to).min(until).saturating_sub((*from).max(since)).max(0);
        self.down.iter().map(within).sum()
    }

    /// Time of a row from a moment on, the server being up.
    fn up_us(&self, row: &Row, begin: i64) -> i64 {
        let down_us = self.down_us(begin, row.until_us);
        let up_us = row.until_us.saturating_sub(begin).saturating_sub(down_us).max(0);
        row.length_us.min(up_us)
    }
}

/// An objective and what is known about its executions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// The objective.
    pub objective: Objective,
    /// What its executions did.
    pub history: History,
}

impl Observed {
    /// Judges all of its promises over the window (since, until]; so nothing from before it counts, for burn rates
    /// either.
    pub fn verdicts(&self, since: i64, until: i64) -> Vec<Verdict> {
        let Self { objective, history } = self;
        let judged = |target: &Target| Verdict {
            burn: burn::burns(objective, *target, history, since, until),
            ..judge(objective, *target, history, since, until)
        };
        objective.targets.iter().map(judged).collect()
    }
}

/// What became of a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was kept.
    Met,
    /// It was not.
    Missed,
    /// Nothing is known, or too little of the time.
    NoData,
    /// There were too few executions to say.
    TooFew,
}

impl Status {
    /// In one word, as SQL shows it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::NoData => "no_data",
            Self::TooFew => "too_few",
        }
    }
}

/// The judgement of one promise over one window.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The promise.
    pub target: Target,
    /// Whether it was kept.
    pub status: Status,
    /// What there was, in the unit of the target.
    pub actual: Option<f64>,
    /// It is not below this: the error of the histogram, or what is not known.
    pub low: Option<f64>,
    /// It is not above this; unknown from an hour on.
    pub high: Option<f64>,
    /// How many executions stand behind it.
    pub executions: Option<u64>,
    /// Fewer would have been too few.
    pub min_executions: u64,
    /// Share of the error budget of the window that is left; negative when more than all is spent.
    pub budget_left_ratio: Option<f64>,
    /// How fast the budget was spent in each of [`WINDOWS_US`] up to the end, 1 being as fast as allowed.
    pub burn: [Option<f64>; 4],
    /// Time of the intervals in which it was not kept.
    pub bad_us: Option<i64>,
    /// Time about which something is known.
    pub known_us: i64,
    /// Time that was looked at: all of the window.
    pub looked_at_us: i64,
    /// Connections that were refused, and those that may be theirs or others', of an availability.
    pub refused: (u64, u64),
    /// Time in which clients waited for locks and got no answer at all, of an availability.
    pub locked_us: i64,
    /// The target lies within the error of what was measured: it may as well be the other way.
    pub uncertain: bool,
    /// Why nothing is known, and what turns it on.
    pub missing: Option<String>,
    /// Whose executions it says nothing about, in words.
    pub without: Option<String>,
}
