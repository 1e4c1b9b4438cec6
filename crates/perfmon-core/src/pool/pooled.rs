//! What poolers tell of their pools: how many connections to the server they give to clients, under which limits, and who
//! waits there.

use std::collections::BTreeMap;

use super::Group;
use super::limit::{self, Kind, Limit};
use crate::pooler::Seen;

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
    /// Limits that it shares with other pools of its pooler, and what all of these together were given.
    pub shared: Vec<Limit>,
}

impl Pooled {
    /// Where its connections come from, if sessions are known to be these: of all addresses from which sessions of its database
    /// and user come, the one from which most do, unless more come from there than the pooler has connections. Whoever else
    /// comes from there, or as that user, makes more of them.
    pub(super) fn comes_from<'a>(&self, own: &[&'a Group]) -> Option<&'a Option<String>> {
        const ROUNDING: f64 = 0.5;
        const DRIFT: f64 = 1.1;
        let mut open: BTreeMap<&'a Option<String>, f64> = BTreeMap::new();
        for group in own {
            *open.entry(&group.whose.address).or_default() += group.open.average.unwrap_or(0.0);
        }
        let (most, open) = open.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let mut from = own.iter().filter(|group| group.whose.address == *most);
        let all_fit = from.all(|group| {
            group.open.peak.is_none_or(|peak| peak <= self.servers_peak.max(self.size))
        });
        (all_fit && open <= self.servers * DRIFT + ROUNDING).then_some(most)
    }

    /// Its own size, and what it shares with others; `own` are sessions of its database and user.
    pub(super) fn limits(
        &self,
        from: &Option<String>,
        own: &[&Group],
    ) -> impl Iterator<Item = Limit> {
        let sampled = own.iter().filter(|group| group.open.average.is_some());
        let own = sampled.filter(|group| group.whose.address == *from);
        // Unknown where one of them does not say what it does.
        let busy: Option<f64> = own.map(|group| group.busy.average).sum();
        let idle = busy.map(|busy| (self.given - busy).max(0.0));
        let idle = idle.filter(|_| self.given > 0.0).map(|idle| idle / self.given);
        let all = std::iter::once(self.own_limit()).chain(self.shared.iter().copied());
        all.map(move |limit| Limit { idle, ..limit })
    }

    fn own_limit(&self) -> Limit {
        Limit {
            kind: Kind::Pooler,
            most: self.size,
            used: self.given_p95,
            peak: Some(self.given_peak),
            idle: None,
        }
    }
}

/// Clients that waited for a pooler's pool, on average.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Waiting {
    /// Name of the pooler.
    pub pooler: String,
    /// Database as its clients call it.
    pub called: String,
    /// Database and user as the server calls them.
    pub database: String,
    /// See above.
    pub user: String,
    /// Those that waited while connections of the pool were in use.
    pub clients: f64,
    /// Those that waited while none was: for nothing that another pool size would give them.
    pub held_up: f64,
    /// The database is paused or disabled there, as far as that was told last.
    pub is_stopped: bool,
    /// The limit of the pooler that is met first.
    pub limit: Option<Limit>,
}

/// A pool of a pooler, as both sides call it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Named {
    /// Pooler, database and user, by the names of its clients.
    pub names: [String; 3],
    /// Database and user by the names of the server; `None` where that is another server.
    pub here: Option<(String, String)>,
    /// max_db_connections of its database.
    pub database_limit: Option<u32>,
    /// max_user_connections of its user.
    pub user_limit: Option<u32>,
    /// Its database is paused or disabled.
    pub is_stopped: bool,
}

/// All that poolers told over some time, visit by visit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// Pools.
    pub pools: Vec<Named>,
    /// When (microseconds since the Unix epoch), of which pool, and what was found; one or several visits in each.
    pub visits: Vec<(i64, usize, Seen)>,
}

/// Connections that were given to clients on average, by visit or several, with the number of visits.
type Given = Vec<(f64, u64)>;

impl Told {
    /// Pools of this server's databases, and who waited for them, over a part of the time.
    pub fn over(&self, (since, until): (i64, i64)) -> (Vec<Pooled>, Vec<Waiting>) {
        let mut found: BTreeMap<usize, OfPool> = BTreeMap::new();
        let mut shared: BTreeMap<SharedBy<'_>, BTreeMap<i64, (f64, u64)>> = BTreeMap::new();
        for (at, pool, seen) in self.visits.iter().filter(|one| one.0 > since && one.0 <= until) {
            let Some(named) = self.pools.get(*pool) else { continue };
            found.entry(*pool).or_default().add(seen);
            let given = seen.average("servers_active").unwrap_or(0.0);
            for (by, _) in named.shares() {
                let sum = shared.entry(by).or_default().entry(*at).or_default();
                *sum = (sum.0 + given, sum.1.max(seen.of("samples")));
            }
        }
        let used: BTreeMap<SharedBy<'_>, Given> =
            shared.into_iter().map(|(by, visits)| (by, visits.into_values().collect())).collect();
        let (mut pools, mut waiting) = (Vec::new(), Vec::new());
        for (pool, found) in &found {
            let Some(named) = self.pools.get(*pool) else { continue };
            let Some((database, user)) = &named.here else { continue };
            let here = (database.as_str(), user.as_str());
            let limit = |(by, most): (SharedBy<'_>, u32)| {
                let given = used.get(&by)?;
                Some(Limit {
                    kind: by.0,
                    most,
                    used: most_of(given),
                    peak: Some(peak_of(given)),
                    idle: None,
                })
            };
            let shared: Vec<Limit> = named.shares().filter_map(limit).collect();
            let pooled = found.pooled(here, shared.clone());
            let mut limits = shared;
            limits.extend(pooled.as_ref().map(Pooled::own_limit));
            limit::sort(&mut limits);
            waiting.extend(found.waiting(named, here, limits.first().copied()));
            pools.extend(pooled);
        }
        (pools, waiting)
    }
}

/// Which limit, of which pooler, and of which database or user.
type SharedBy<'a> = (Kind, &'a str, &'a str);

impl Named {
    /// Limits that it shares.
    fn shares(&self) -> impl Iterator<Item = (SharedBy<'_>, u32)> {
        let [pooler, database, user] = &self.names;
        let of_database = self.database_limit.map(|most| ((Kind::PoolerDatabase, database), most));
        let of_user = self.user_limit.map(|most| ((Kind::PoolerUser, user), most));
        let all = [of_database, of_user].into_iter().flatten();
        all.map(|((kind, of), most)| ((kind, pooler.as_str(), of.as_str()), most))
    }
}

/// What visits found of one pool.
#[derive(Default)]
struct OfPool {
    seen: Seen,
    given: Given,
    /// Clients, summed over visits that found no connection in use.
    held_up: u64,
}

impl OfPool {
    fn add(&mut self, seen: &Seen) {
        self.seen.add(&seen.values_in_use());
        let given = seen.average("servers_active");
        self.given.extend(given.map(|given| (given, seen.of("samples"))));
        if seen.is_held_up() {
            self.held_up = self.held_up.saturating_add(seen.of("clients_waiting"));
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn pooled(&self, (database, user): (&str, &str), shared: Vec<Limit>) -> Option<Pooled> {
        let seen = &self.seen;
        Some(Pooled {
            database: database.to_owned(),
            user: user.to_owned(),
            size: seen.pool_size()?.round() as u32,
            given: seen.average("servers_active").unwrap_or(0.0),
            given_p95: most_of(&self.given),
            given_peak: peak_of(&self.given),
            servers: seen.average("servers")?,
            servers_peak: seen.of("servers_peak").try_into().unwrap_or(u32::MAX),
            shared,
        })
    }

    #[allow(clippy::cast_precision_loss)]
    fn waiting(
        &self,
        named: &Named,
        (database, user): (&str, &str),
        limit: Option<Limit>,
    ) -> Option<Waiting> {
        let clients = self.seen.average("clients_waiting").or(self.seen.waiting())?;
        let [pooler, called, _] = &named.names;
        let samples = self.seen.of("samples").max(1) as f64;
        Some(Waiting {
            pooler: pooler.clone(),
            called: called.clone(),
            database: database.to_owned(),
            user: user.to_owned(),
            clients,
            held_up: self.held_up as f64 / samples,
            is_stopped: named.is_stopped,
            limit,
        })
    }
}

/// What 95 % of visits did not exceed.
fn most_of(given: &Given) -> f64 {
    let mut given = given.clone();
    given.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: u64 = given.iter().map(|row| row.1).sum();
    let mut before = 0_u64;
    let found = given.iter().find(|row| {
        before = before.saturating_add(row.1);
        before.saturating_mul(20) >= all.saturating_mul(19)
    });
    found.map_or(0.0, |row| row.0)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn peak_of(given: &Given) -> u32 {
    given.iter().map(|row| row.0).fold(0.0, f64::max).round() as u32
}
