//! Limits of connections, which of them binds, and how near it is.
//!
//! Limits of the server, a database and a role are about sessions that are open: one that is idle takes a place too. The
//! size of a pool is about those that are busy: an open session that idles in its pool is what the pool is for.

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

    /// Whether only busy sessions count.
    pub fn is_of_pool(self) -> bool {
        matches!(self, Self::Pooler | Self::Declared | Self::Exceeded | Self::Inferred)
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

    /// How many more it allows.
    pub fn headroom(&self) -> f64 {
        (f64::from(self.most) - self.used).max(0.0)
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
    fn says(&self) -> usize {
        [&self.database, &self.user, &self.application, &self.address]
            .into_iter()
            .filter(|part| part.is_some())
            .count()
    }
}

/// A pooler's pool, as the pooler tells of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pooled {
    /// Its database, by the name that the server has for it.
    pub database: String,
    /// Its user.
    pub user: String,
    /// Most connections to the server that it may have.
    pub size: u32,
    /// Connections to the server that were given to clients, on average.
    pub given: f64,
    /// What 95 % of visits did not exceed of these.
    pub given_p95: f64,
    /// The most of these that a visit found.
    pub given_peak: u32,
    /// Connections to the server that it had, on average.
    pub servers: f64,
    /// The most of these.
    pub servers_peak: u32,
}

impl Pooled {
    /// Where its connections come from, if sessions are known to be these: of all addresses, the one from which most
    /// sessions of its database and user come, unless more come from there than the pooler has connections. Whoever else
    /// comes from there, or as that user, makes more of them.
    fn comes_from<'a>(&self, groups: &'a [Group]) -> Option<&'a Option<String>> {
        const ROUNDING: f64 = 0.5;
        const DRIFT: f64 = 1.1;
        let own = |group: &&Group| self.could_be(&group.whose);
        let of = |address: &Option<String>| -> f64 {
            let from = groups.iter().filter(own).filter(|group| group.whose.address == *address);
            from.filter_map(|group| group.open.average).fold(0.0, |sum, open| sum + open)
        };
        let addresses = groups.iter().filter(own).map(|group| &group.whose.address);
        let most = addresses.max_by(|a, b| of(a).total_cmp(&of(b)))?;
        let from = groups.iter().filter(own).filter(|group| group.whose.address == *most);
        let fits = |group: &Group| {
            group.open.peak.is_none_or(|peak| peak <= self.servers_peak.max(self.size))
        };
        let all_fit = from.into_iter().all(fits);
        (all_fit && of(most) <= self.servers * DRIFT + ROUNDING).then_some(most)
    }

    fn could_be(&self, whose: &Whose) -> bool {
        whose.level == Level::Pool
            && !whose.other
            && whose.database.as_ref() == Some(&self.database)
            && whose.user.as_ref() == Some(&self.user)
    }

    fn limit(&self, from: &Option<String>, groups: &[(Whose, Option<f64>)]) -> Limit {
        let own = groups.iter().filter(|(whose, _)| self.could_be(whose) && whose.address == *from);
        // Unknown where one of them does not say what it does.
        let busy: Option<f64> = own.map(|(_, busy)| *busy).sum();
        let idle = busy.map(|busy| (self.given - busy).max(0.0));
        Limit {
            kind: Kind::Pooler,
            most: self.size,
            used: self.given_p95,
            peak: Some(self.given_peak),
            idle: idle.filter(|_| self.given > 0.0).map(|idle| idle / self.given),
        }
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

    /// Of a database.
    pub fn database(&self, name: &str) -> Option<u32> {
        self.databases.iter().find(|found| found.0 == name).map(|found| found.1)
    }

    /// The one among pools of known size that is meant.
    fn size(all: &[Declared], whose: &Whose) -> Option<u32> {
        let meant = all.iter().filter(|pool| pool.matches(whose));
        meant.max_by_key(|pool| pool.says()).map(|pool| pool.size)
    }

    /// Fills in the limits of all groups of a window, for each the one that it meets first before others.
    pub fn judge(&self, groups: &mut [Group]) {
        let open: Vec<(Whose, Figure)> =
            groups.iter().map(|group| (group.whose.clone(), group.open)).collect();
        let of = |level: Level, database: Option<&String>, user: Option<&String>| {
            open.iter().find(|(whose, _)| {
                whose.level == level
                    && !whose.other
                    && whose.database.as_ref() == database
                    && whose.user.as_ref() == user
            })
        };
        // A pooler's pool is of a database and user, whatever the application; how full it is, the pooler knows best.
        let poolers: Vec<(&Pooled, Option<String>)> = self
            .pooler
            .iter()
            .filter_map(|pool| Some((pool, pool.comes_from(groups)?.clone())))
            .collect();
        let sampled = groups.iter().filter(|group| group.open.average.is_some());
        let busy: Vec<(Whose, Option<f64>)> =
            sampled.map(|group| (group.whose.clone(), group.busy.average)).collect();
        for group in groups.iter_mut() {
            let whose = &group.whose;
            let role = whose.user.as_deref().and_then(|user| self.role(user));
            let mut limits = Vec::new();
            let mut add = |kind: Kind, most: Option<u32>, figure: Option<&Figure>| {
                let used = figure.and_then(Figure::used);
                if let (Some(most), Some(used)) = (most, used) {
                    // As many as there are now were there at least.
                    let peak = figure.and_then(|figure| figure.peak.max(figure.now));
                    // Superusers may use what is reserved: for all others, that is as full as full.
                    let reserved = kind == Kind::Server;
                    let used = if reserved { used.min(f64::from(most)) } else { used };
                    let peak = peak.map(|peak| if reserved { peak.min(most) } else { peak });
                    limits.push(Limit { kind, most, used, peak, idle: None });
                }
            };
            let server = self.server.map(|server| server.usable(role));
            add(Kind::Server, server, of(Level::Server, None, None).map(|found| &found.1));
            let held = !role.is_some_and(|role| role.superuser);
            if let Some(name) = whose.database.as_ref().filter(|_| held) {
                let figure = of(Level::Database, Some(name), None).map(|found| &found.1);
                add(Kind::Database, self.database(name), figure);
            }
            if let Some(name) = whose.user.as_ref().filter(|_| held) {
                let figure = of(Level::User, None, Some(name)).map(|found| &found.1);
                add(Kind::Role, role.and_then(|role| role.limit), figure);
            }
            let declared = Self::size(&self.declared, whose);
            let open = group.open_there().or(group.open.now.map(f64::from));
            let exceeds = |size: u32| open.is_some_and(|open| open > f64::from(size));
            let is_exceeded = declared.is_some_and(exceeds);
            let kind = if is_exceeded { Kind::Exceeded } else { Kind::Declared };
            add(kind, declared, Some(&group.busy));
            if declared.is_none() {
                add(Kind::Inferred, group.inferred, Some(&group.busy));
            }
            let own = poolers
                .iter()
                .filter(|(pool, from)| pool.could_be(whose) && *from == whose.address);
            limits.extend(own.map(|(pool, from)| pool.limit(from, &busy)));
            sort(&mut limits);
            group.limits = limits;
        }
    }
}

/// The one that binds first: what was only inferred binds nobody before what is known to. Of two that leave as much, the
/// narrower one is met by those whose it is, and by nobody else.
fn sort(limits: &mut [Limit]) {
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
