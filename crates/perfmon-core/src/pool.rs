//! Pools of sessions: how full they are, of which limit they run out, when, why sessions queue, and how large a pool
//! need be. Plain numbers in, judgement out.

pub mod advice;
mod course;
pub mod elsewhere;
pub mod forecast;
pub mod head;
pub mod limit;
pub mod look;
pub mod pooled;
mod pressed;
pub mod queue;
#[cfg(test)]
mod tests;
mod under;

use crate::activity::group::Level;
use crate::threshold::Threshold;

/// Share of a limit in use: warning.
pub const WARNING_RATIO: Threshold = Threshold::ratio(
    "pool_saturation_ratio",
    0.8,
    "connections in use over their limit: warning",
    "requirements; PgBouncer and PostgreSQL mixins",
);
/// The same: critical.
pub const CRITICAL_RATIO: Threshold = Threshold::ratio(
    "pool_saturation_critical_ratio",
    0.9,
    "connections in use over their limit: critical",
    "requirements; PgBouncer and PostgreSQL mixins",
);

/// Numbers of sessions over a window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figure {
    /// Now, where it is known.
    pub now: Option<u32>,
    /// Average over samples.
    pub average: Option<f64>,
    /// Not exceeded in 95 % of samples.
    pub p95: Option<f64>,
    /// Not exceeded in 99 % of samples.
    pub p99: Option<f64>,
    /// The most.
    pub peak: Option<u32>,
}

impl Figure {
    /// What is in use: what a sample in twenty exceeds, or as many as there are now.
    pub fn used(&self) -> Option<f64> {
        match (self.p95, self.now.map(f64::from)) {
            (Some(p95), Some(now)) => Some(p95.max(now)),
            (one, other) => one.or(other),
        }
    }
}

/// Whose sessions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Whose {
    /// What the group is of.
    pub level: Level,
    /// All that found no place of their own.
    pub other: bool,
    /// Of a database or pool.
    pub database: Option<String>,
    /// Of a user or pool.
    pub user: Option<String>,
    /// Of a pool, where pools are told apart by it.
    pub application: Option<String>,
    /// The same; empty is a socket of the server's machine.
    pub address: Option<String>,
    /// It watches databases: pg_perfmon, Grafana.
    pub monitoring: bool,
}

impl Whose {
    /// All clients of the server.
    pub fn server() -> Self {
        Self {
            level: Level::Server,
            other: false,
            database: None,
            user: None,
            application: None,
            address: None,
            monitoring: false,
        }
    }

    /// Of a pool, whether its application and its address make it one.
    fn grouping(&self) -> Option<(bool, bool)> {
        (self.level == Level::Pool && !self.other)
            .then_some((self.application.is_some(), self.address.is_some()))
    }

    /// Whether both are pools of the same program, from different addresses.
    fn differs_in_address_from(&self, other: &Self) -> bool {
        self.level == Level::Pool
            && self.address != other.address
            && *self == Self { address: self.address.clone(), ..other.clone() }
    }

    /// As an object of findings: names may hold anything.
    pub fn object(&self) -> String {
        let all = || "(all others)".to_owned();
        let name = |name: &Option<String>| {
            if self.other { all() } else { name.clone().unwrap_or_default() }
        };
        match self.level {
            Level::Server => "server".to_owned(),
            Level::Database => format!("database {}", name(&self.database)),
            Level::User => format!("role {}", name(&self.user)),
            Level::Pool => format!("pool {}", self.program()),
        }
    }

    /// Whether a group's sessions are among these.
    pub fn holds(&self, other: &Self) -> bool {
        let within = |mine: &Option<String>, theirs: &Option<String>| {
            mine.is_none() || (mine == theirs && !other.other)
        };
        !self.other
            && within(&self.database, &other.database)
            && within(&self.user, &other.user)
            && within(&self.application, &other.application)
            && within(&self.address, &other.address)
    }

    /// The program that holds the sessions, in words.
    pub fn program(&self) -> String {
        if self.other {
            return "(all others)".to_owned();
        }
        let user = self.user.as_deref().unwrap_or_default();
        let database = self.database.as_deref().unwrap_or_default();
        let of = match self.address.as_deref() {
            None | Some("") => format!("user {user}, database {database}"),
            Some(address) => format!("user {user}, database {database}, from {address}"),
        };
        match self.application.as_deref() {
            None => format!("of {of}"),
            Some("") => format!("without a name ({of})"),
            Some(application) => format!("{application} ({of})"),
        }
    }
}

/// Who sent statements, by the hooks, which see short sessions too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The application's name.
    pub application: String,
    /// Its user.
    pub user: String,
    /// Transactions.
    pub transactions: u64,
}

/// What is known of a group over a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Whose sessions.
    pub whose: Whose,
    /// Samples of the window.
    pub samples: u64,
    /// Of them, those that found any session: what it needs is asked of the time in which it was there.
    pub there: u64,
    /// All sessions.
    pub open: Figure,
    /// Inside a statement or a transaction.
    pub busy: Figure,
    /// Percentiles of these while it was there, in the order of `advice::PERCENTILES`.
    pub busy_percentiles: [Option<f64>; advice::PERCENTILES.len()],
    /// Of those that do not wait for locks, over blocks of such samples; `None` where some samples are of no block.
    pub load: Option<advice::Blocks>,
    /// What 95 % of samples did not exceed of all sessions, while it was there.
    pub open_there_p95: Option<f64>,
    /// Sessions that do not say what they do (track_activities is off), on average: nobody knows whether they are busy.
    pub hidden: Option<f64>,
    /// Inside a statement.
    pub active: Figure,
    /// Outside of both.
    pub idle: Figure,
    /// Waiting for the client inside a transaction.
    pub in_transaction: Figure,
    /// Busy and waiting for nothing, on average: mostly on a processor, or waiting for one.
    pub on_cpu: Option<f64>,
    /// Waiting for a lock, on average.
    pub on_lock: Option<f64>,
    /// The most that waited for locks at once.
    pub lock_peak: Option<u32>,
    /// Waiting for a file, on average.
    pub on_io: Option<f64>,
    /// Waiting for their client inside a statement or a transaction, on average.
    pub on_client: Option<f64>,
    /// Clients that have not said yet who they are, on average; known of the whole server only.
    pub starting: Option<f64>,
    /// Sessions that came.
    pub opened: u64,
    /// The size that a pool shows by standing still.
    pub inferred: Option<u32>,
    /// Limits that it is under, the one that binds first.
    pub limits: Vec<limit::Limit>,
}

impl Group {
    /// Nothing known yet.
    pub fn of(whose: Whose) -> Self {
        Self {
            whose,
            samples: 0,
            there: 0,
            open: Figure::default(),
            busy: Figure::default(),
            busy_percentiles: [None; advice::PERCENTILES.len()],
            load: None,
            open_there_p95: None,
            hidden: None,
            active: Figure::default(),
            idle: Figure::default(),
            in_transaction: Figure::default(),
            on_cpu: None,
            on_lock: None,
            lock_peak: None,
            on_io: None,
            on_client: None,
            starting: None,
            opened: 0,
            inferred: None,
            limits: Vec::new(),
        }
    }

    /// The limit that it meets first.
    pub fn binding(&self) -> Option<&limit::Limit> {
        self.limits.first()
    }

    /// The limit of which it is counted what it refused to them: their own.
    pub fn limit_that_refuses(&self) -> Option<&limit::Limit> {
        let kind = match self.whose.level {
            Level::Server => limit::Kind::Server,
            Level::Database => limit::Kind::Database,
            Level::User | Level::Pool => limit::Kind::Role,
        };
        self.limits.iter().find(|limit| limit.kind == kind)
    }

    /// What is left where most of its sessions do not say what they do: how many are open.
    #[must_use]
    pub fn as_far_as_told(self) -> Self {
        if !hides(self.hidden, self.open.average) {
            return self;
        }
        Self {
            busy: Figure::default(),
            busy_percentiles: [None; advice::PERCENTILES.len()],
            load: None,
            active: Figure::default(),
            idle: Figure::default(),
            in_transaction: Figure::default(),
            on_cpu: None,
            on_lock: None,
            on_io: None,
            on_client: None,
            ..self
        }
    }

    /// On average over the time in which it was there; as it is now, if no sample found it.
    #[must_use]
    pub fn in_its_time(&self) -> Self {
        let figure = |figure: &Figure| match self.there {
            0 => Figure { average: figure.now.map(f64::from).or(figure.average), ..*figure },
            _ => Figure { average: self.while_there(figure.average), ..*figure },
        };
        let average = |average: Option<f64>| {
            if self.there == 0 { average } else { self.while_there(average) }
        };
        Self {
            open: figure(&self.open),
            busy: figure(&self.busy),
            active: figure(&self.active),
            idle: figure(&self.idle),
            in_transaction: figure(&self.in_transaction),
            on_cpu: average(self.on_cpu),
            on_lock: average(self.on_lock),
            on_io: average(self.on_io),
            on_client: average(self.on_client),
            starting: average(self.starting),
            ..self.clone()
        }
    }

    /// An average over the time in which it was there.
    pub fn while_there(&self, average: Option<f64>) -> Option<f64> {
        (self.there > 0).then(|| average.map(|a| a * self.samples as f64 / self.there as f64))?
    }

    /// What 99 % of samples did not exceed of busy sessions, while it was there.
    pub fn busy_there_p99(&self) -> Option<f64> {
        self.busy_percentiles[advice::PERCENTILES.len() - 1]
    }

    /// Open sessions in most samples, while it was there.
    pub fn open_there(&self) -> Option<f64> {
        self.open_there_p95.or(self.open.p95)
    }

    /// The most clients at a time that had not said who they are, as far as is known: no fewer than on average, than those that
    /// say nothing of what they do now, or than all at the peak without as many as ever said what they do.
    pub fn starting_most(&self) -> f64 {
        let Some(average) = self.starting else { return 0.0 };
        if self.hidden > Some(0.0) {
            return average;
        }
        let rest = |of: fn(&Figure) -> Option<u32>| {
            let [open, busy, idle] = [of(&self.open)?, of(&self.busy)?, of(&self.idle)?];
            Some(f64::from(open.saturating_sub(busy).saturating_sub(idle)))
        };
        let all = [rest(|figure| figure.now), rest(|figure| figure.peak)].into_iter().flatten();
        all.fold(average, f64::max)
    }

    /// The most that idled at a time, as far as is known.
    pub fn idle_most(&self) -> f64 {
        let all = [self.idle.now.map(f64::from), self.idle.peak.map(f64::from), self.idle.average];
        all.into_iter().flatten().fold(0.0, f64::max)
    }

    /// The most that were open at a time, as far as is known.
    pub fn open_most(&self) -> f64 {
        let all = [self.open.now.map(f64::from), self.open.peak.map(f64::from), self.open.average];
        all.into_iter().flatten().fold(0.0, f64::max)
    }

    /// Share of open sessions in some state.
    pub fn share(&self, of: &Figure) -> Option<f64> {
        self.share_of(of.average)
    }

    /// Share of open sessions.
    pub fn share_of(&self, average: Option<f64>) -> Option<f64> {
        let open = self.open.average.filter(|open| *open > 0.0)?;
        average.map(|average| (average / open).clamp(0.0, 1.0))
    }
}

/// Whether so few say what they do that what these do says nothing of all: more than half of them do not.
pub fn hides(hidden: Option<f64>, open: Option<f64>) -> bool {
    hidden.zip(open).is_some_and(|(hidden, open)| hidden * 2.0 > open)
}

pub use course::{Course, Pools};
pub use look::{Look, Refused, Sessions};

/// How many storms of new sessions there were in a series of steps, and the most in one step: steps that exceed the median by
/// six times the median deviation, and by no less than `least`. Neighbouring ones are one storm, and one of two steps lies
/// across their border: it is as large as both.
pub fn storms(opened: &[u64], least: u64) -> (usize, u64) {
    let most = opened.iter().copied().max().unwrap_or(0);
    if opened.len() < 5 {
        return (0, most);
    }
    let middle = |mut values: Vec<u64>| {
        values.sort_unstable();
        values[values.len() / 2]
    };
    let median = middle(opened.to_vec());
    let deviation = middle(opened.iter().map(|n| n.abs_diff(median)).collect());
    let over = median.saturating_add(least.max(6 * deviation));
    let storms = opened.chunk_by(|a, b| (*a > over) == (*b > over));
    let storms: Vec<&[u64]> = storms.filter(|steps| steps[0] > over).collect();
    let size = |storm: &&[u64]| match storm {
        [one, other] => one.saturating_add(*other),
        steps => steps.iter().copied().max().unwrap_or(0),
    };
    (storms.len(), storms.iter().map(size).max().unwrap_or(most))
}
