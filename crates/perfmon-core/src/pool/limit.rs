//! Limits of connections, which of them binds, and how near it is.
//!
//! Limits of the server, a database and a role are about sessions that are open: one that is idle takes a place too. The
//! size of a pool is about those that are busy: an open session that idles in its pool is what the pool is for.

use super::pooled::Pooled;
use super::under::Known;
use super::{CRITICAL_RATIO, Figure, Group, WARNING_RATIO, Whose};
use crate::activity::group::Level;
use crate::threshold::Thresholds;

/// What limits sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// max_connections, less what is reserved for others.
    Server,
    /// CONNECTION LIMIT of the database.
    Database,
    /// CONNECTION LIMIT of the role.
    Role,
    /// max_user_connections of a pooler: all pools of a user.
    PoolerUser,
    /// max_db_connections of a pooler: all pools of a database.
    PoolerDatabase,
    /// The size of a pooler's pool.
    Pooler,
    /// The size that somebody declared.
    Declared,
    /// The same, where more sessions are open than that: it is not the size of this pool.
    Exceeded,
    /// The number at which the pool stood still.
    Inferred,
}

impl Kind {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Database => "database",
            Self::Role => "role",
            Self::PoolerUser => "pooler, max_user_connections",
            Self::PoolerDatabase => "pooler, max_db_connections",
            Self::Pooler => "pooler",
            Self::Declared => "declared",
            Self::Exceeded => "declared, exceeded",
            Self::Inferred => "inferred",
        }
    }

    /// Whether nobody is kept out by it, as far as is known.
    fn is_doubtful(self) -> bool {
        matches!(self, Self::Exceeded | Self::Inferred)
    }

    /// Whether a pooler keeps to it.
    pub fn is_of_pooler(self) -> bool {
        matches!(self, Self::PoolerUser | Self::PoolerDatabase | Self::Pooler)
    }

    /// Whether only busy sessions count.
    pub fn is_of_pool(self) -> bool {
        self.is_of_pooler() || matches!(self, Self::Declared | Self::Exceeded | Self::Inferred)
    }

    /// The setting of a pooler that several of its pools share.
    pub fn shared(self) -> Option<&'static str> {
        match self {
            Self::PoolerUser => Some("max_user_connections"),
            Self::PoolerDatabase => Some("max_db_connections"),
            _ => None,
        }
    }
}

/// A limit, and how much of it is in use by all that it is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// What limits.
    pub kind: Kind,
    /// How many it allows.
    pub most: u32,
    /// In use.
    pub used: f64,
    /// The most that were in use.
    pub peak: Option<u32>,
    /// Of the connections that a pooler gave to clients, the share that idled on average.
    pub idle: Option<f64>,
}

impl Limit {
    /// Share of it in use; that of no session at all is full.
    pub fn ratio(&self) -> f64 {
        if self.most == 0 { 1.0 } else { self.used / f64::from(self.most) }
    }

    /// Whether so many sessions fewer would have left room, where it was full.
    pub fn has_room_without(&self, sessions: f64, thresholds: &Thresholds) -> bool {
        let most = f64::from(self.most);
        self.used.max(most) - sessions <= thresholds.of(&CRITICAL_RATIO) * most
    }

    /// How many more it allows.
    pub fn headroom(&self) -> f64 {
        (f64::from(self.most) - self.used).max(0.0)
    }

    /// Whether it may be what keeps those waiting that wait: connections that change hands are nobody's for a moment.
    pub fn is_nearly_used(&self) -> bool {
        const NEARLY: f64 = 0.7;
        self.ratio() >= NEARLY || self.peak.is_some_and(|peak| peak >= self.most)
    }
}

/// How near a limit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nearness {
    /// Far.
    Ok,
    /// Near.
    Warning,
    /// At it, or nearly.
    Critical,
}

impl Nearness {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// Of a limit. A size that was only inferred proves nothing: a pool that works with all it has may be made so. Nor does
    /// one that is exceeded.
    pub fn of(limit: &Limit, thresholds: &Thresholds) -> Self {
        match limit.ratio() {
            _ if limit.kind.is_doubtful() => Self::Ok,
            ratio if ratio > thresholds.of(&CRITICAL_RATIO) => Self::Critical,
            ratio if ratio > thresholds.of(&WARNING_RATIO) => Self::Warning,
            _ => Self::Ok,
        }
    }
}

/// What the server allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Server {
    /// max_connections.
    pub most: u32,
    /// superuser_reserved_connections.
    pub superusers: u32,
    /// reserved_connections, from 16 on.
    pub reserved: u32,
}

impl Server {
    /// For a role.
    pub fn usable(&self, role: Option<&Role>) -> u32 {
        let reserved = match role {
            Some(role) if role.superuser => 0,
            Some(role) if role.reserve => self.superusers,
            _ => self.superusers.saturating_add(self.reserved),
        };
        self.most.saturating_sub(reserved)
    }
}

/// What a role is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Of connections, if there is a limit.
    pub limit: Option<u32>,
    /// Limits of roles and databases do not hold it.
    pub superuser: bool,
    /// It may use reserved connections.
    pub reserve: bool,
}

/// A pool whose size is known from elsewhere: what is `None` matches any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// What it is called.
    pub name: String,
    /// Of each pool that matches.
    pub size: u32,
    /// Of a database.
    pub database: Option<String>,
    /// Of a user.
    pub user: Option<String>,
    /// Of an application.
    pub application: Option<String>,
    /// From an address.
    pub address: Option<String>,
}

impl Declared {
    /// Whether a group is such a pool.
    pub fn matches(&self, whose: &Whose) -> bool {
        let same =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        whose.level == Level::Pool
            && !whose.other
            && same(&self.database, &whose.database)
            && same(&self.user, &whose.user)
            && same(&self.application, &whose.application)
            && same(&self.address, &whose.address)
    }

    /// How much it says: the pool that says most is meant.
    pub(super) fn says(&self) -> usize {
        [&self.database, &self.user, &self.application, &self.address]
            .into_iter()
            .filter(|part| part.is_some())
            .count()
    }
}

/// All limits of a server.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// `None` where the settings are not known, as of another server.
    pub server: Option<Server>,
    /// Databases that have a limit.
    pub databases: Vec<(String, u32)>,
    /// Roles.
    pub roles: Vec<Role>,
    /// Sizes that were declared.
    pub declared: Vec<Declared>,
    /// Poolers' pools.
    pub pooler: Vec<Pooled>,
}

impl Limits {
    /// A role by its name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }

    /// Fills in the limits of all groups of a window, for each the one that it meets first before others.
    pub fn judge(&self, groups: &mut [Group]) {
        self.judge_with(&self.pooler, groups);
    }

    /// The same with what poolers told of another time.
    pub fn judge_with(&self, pooler: &[Pooled], groups: &mut [Group]) {
        let known = Known::of(self, pooler, groups);
        let found: Vec<Vec<Limit>> = groups.iter().map(|group| known.limits(group)).collect();
        for (group, limits) in groups.iter_mut().zip(found) {
            group.limits = limits;
        }
    }
}

/// The one that binds first comes first: what was only inferred binds nobody before what is known to. Of two that leave as much, the
/// narrower one is met by those whose it is, and by nobody else.
pub(super) fn sort(limits: &mut [Limit]) {
    limits.sort_by(|a, b| {
        let nearer = a.headroom().total_cmp(&b.headroom());
        let doubtful = a.kind.is_doubtful().cmp(&b.kind.is_doubtful());
        doubtful.then(nearer).then(b.kind.cmp(&a.kind))
    });
}

/// The size of a pool that was not declared: the number of open sessions at which it stood for most of the window, if it
/// never had more. `at_peak` is how many samples found as many as the peak.
pub fn plateau(whose: &Whose, open: &Figure, at_peak: u64, samples: u64) -> Option<u32> {
    /// Fewer sessions are no pool, and fewer samples are chance.
    const LEAST: u32 = 3;
    const SAMPLES: u64 = 120;
    let peak = open.peak?;
    let stands = samples >= SAMPLES && at_peak.saturating_mul(2) >= samples;
    let pool = whose.level == Level::Pool && !whose.other && !whose.monitoring;
    (pool && stands && peak >= LEAST).then_some(peak)
}
