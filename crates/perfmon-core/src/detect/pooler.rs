//! Poolers: clients that wait for a server connection, and poolers that do not answer.

use super::words::{count, counted, milliseconds, name};
use super::{Detector, Judgement};
use crate::facts::Facts;
use crate::facts::pooler::{Pool, Pooler};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::pooler::Seen;
use crate::threshold::{Threshold, Thresholds};

#[cfg(test)]
mod tests;

/// The detector.
pub static DETECTOR: Detector =
    Detector { name: "pooler", kinds: &[WAITING, UNREACHABLE], thresholds: THRESHOLDS, detect };

const WAITING: &str = "pooler_clients_waiting";
const UNREACHABLE: &str = "pooler_unreachable";

const CLIENTS: Threshold = Threshold::new(
    "pooler_waiting_clients",
    1.0,
    "clients that wait for a server connection of a pool, on average: warning",
    "pg_perfmon: somebody waits all the time",
);
const CRITICAL_MS: Threshold = Threshold::new(
    "pooler_wait_critical_ms",
    15_000.0,
    "how long a client waits for a server connection: critical",
    "the usual alert of PgBouncer's exporters",
);
const MINUTES: Threshold = Threshold::new(
    "pooler_minutes",
    3.0,
    "minutes at the end of the window over which waiting clients are averaged, at most",
    "pg_perfmon: what was before is not now",
);
const FAILURES: Threshold = Threshold::new(
    "pooler_unanswered",
    2.0,
    "times in a row that a pooler must not have answered",
    "pg_perfmon: a restart takes a moment",
);

static THRESHOLDS: &[Threshold] = &[CLIENTS, CRITICAL_MS, MINUTES, FAILURES];
const MANUAL: &str = "pg_perfmon manual, poolers";
/// Of the minutes asked for, so many must be recorded.
const COVERED: f64 = 0.8;
/// Visits in a row that must find somebody who waits.
const VISITS: usize = 2;
/// A pool of which less is in use, while clients wait all the time, is not what they wait for.
const FULL: f64 = 0.7;

fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let Some(poolers) = &facts.poolers else {
        DETECTOR.kinds.iter().for_each(|kind| judgement.unknown(kind));
        return;
    };
    for pooler in poolers {
        let unanswered = pooler.answers.iter().rev().take_while(|answered| !**answered).count();
        #[allow(clippy::cast_precision_loss)]
        if unanswered > 0 && unanswered as f64 >= thresholds.of(&FAILURES) {
            judgement.add(unreachable(pooler, unanswered, thresholds));
        }
        let found: Vec<Waiting<'_>> =
            pooler.pools.iter().filter_map(|pool| Waiting::of(pooler, pool, thresholds)).collect();
        let told = |waiting: &&Waiting<'_>| {
            // A database is told of only where none of its pools says it more exactly.
            let in_pool = |other: &Waiting<'_>| {
                other.pool.user.is_some() && other.pool.database == waiting.pool.database
            };
            waiting.pool.user.is_some() || !found.iter().any(in_pool)
        };
        judgement.findings.extend(found.iter().filter(told).map(|w| w.finding(thresholds)));
    }
}

/// Over how long waiting clients are averaged.
#[allow(clippy::cast_possible_truncation)]
fn minutes_us(thresholds: &Thresholds) -> i64 {
    (thresholds.of(&MINUTES) * 60e6) as i64
}

/// Clients that wait.
struct Waiting<'a> {
    pooler: &'a Pooler,
    pool: &'a Pool,
    /// Since when they are looked at.
    from: i64,
    /// On average since they wait, and at the last visit if that is told.
    clients: f64,
    now: Option<u64>,
    last: Seen,
}

impl<'a> Waiting<'a> {
    fn of(pooler: &'a Pooler, pool: &'a Pool, thresholds: &Thresholds) -> Option<Self> {
        let newest = pool.rows.last()?;
        let found = if newest.1.is_pool() {
            Self::of_pool(pooler, pool, newest.0, thresholds)
        } else {
            Self::of_database(pooler, pool, newest.0, thresholds)
        };
        found.filter(|found| found.clients >= thresholds.of(&CLIENTS))
    }

    /// Of a pool it is told at each visit who waits: over those visits, the last ones in a row, that found somebody. In a moment
    /// without anybody who waits there was room, and what was before that is over.
    fn of_pool(
        pooler: &'a Pooler,
        pool: &'a Pool,
        newest: i64,
        thresholds: &Thresholds,
    ) -> Option<Self> {
        let since = newest.saturating_sub(minutes_us(thresholds));
        let own = pool.rows.iter().rev().enumerate();
        // Two of them, however far apart visits are: a single moment says nothing.
        let own = own.take_while(|(nth, (at, seen))| {
            seen.of("clients_waiting") > 0 && (*nth < VISITS || *at > since)
        });
        let own: Vec<&(i64, Seen)> = own.map(|(_, row)| row).collect();
        let first = own.last().filter(|_| own.len() >= VISITS)?;
        let mut last = Seen::default();
        own.iter().rev().for_each(|(_, seen)| last.add(&seen.values()));
        Some(Self {
            pooler,
            pool,
            from: first.0.saturating_sub(1),
            clients: last.average("clients_waiting")?,
            now: own.first().and_then(|(_, seen)| {
                (seen.of("samples") == 1).then(|| seen.of("clients_waiting"))
            }),
            last,
        })
    }

    /// Of a database time waited is told, which is exact, but counted when a wait ends: in a short time more of it than took
    /// place.
    #[allow(clippy::cast_precision_loss)]
    fn of_database(
        pooler: &'a Pooler,
        pool: &'a Pool,
        newest: i64,
        thresholds: &Thresholds,
    ) -> Option<Self> {
        let least = thresholds.of(&CLIENTS);
        let from = newest.saturating_sub(minutes_us(thresholds));
        let rows: Vec<&(i64, Seen)> = pool.rows.iter().filter(|row| row.0 > from).collect();
        let watched: u64 = rows.iter().map(|row| row.1.of("wait_watched_us")).sum();
        let waits = |row: &&(i64, Seen)| row.1.waiting() >= Some(least);
        // From where it began: an average over the time before would be of neither. One interval alone may be a wait that ended
        // in it, or a queue that its pool tells of at the next visit.
        let first = rows.iter().position(waits)?;
        let enough = watched as f64 >= minutes_us(thresholds) as f64 * COVERED;
        if !enough || rows.iter().filter(|row| waits(row)).count() < VISITS {
            return None;
        }
        let mut last = Seen::default();
        rows[first..].iter().for_each(|row| last.add(&row.1.values()));
        // What was waited before says nothing of now: a pool of the database has somebody who waits, or time waited goes on.
        let mut own = pooler
            .pools
            .iter()
            .filter(|other| other.user.is_some() && other.database == pool.database);
        let waits_at_visit = own
            .any(|other| other.rows.last().is_some_and(|(_, seen)| seen.of("clients_waiting") > 0));
        let waits_now = waits_at_visit || rows.last().is_some_and(waits);
        let clients = last.waiting().filter(|_| waits_now)?;
        Some(Self { pooler, pool, from, clients, now: None, last })
    }

    /// The limit that the pool shares with others of its pooler, of which most is in use: its setting, how many connections
    /// it allows, and how many all of these used on average.
    fn shared(&self) -> Option<(&'static str, u32, f64)> {
        let user = self.pool.user.as_ref()?;
        let shared = &self.pooler.shared;
        let used = |is_one: &dyn Fn(&Pool) -> bool| -> f64 {
            let all = self.pooler.pools.iter().filter(|pool| pool.user.is_some() && is_one(pool));
            let of = |pool: &Pool| {
                let mut seen = Seen::default();
                let rows = pool.rows.iter().filter(|row| row.0 > self.from);
                rows.for_each(|(_, row)| seen.add(&row.values()));
                seen.average("servers_active").unwrap_or(0.0)
            };
            all.map(of).sum()
        };
        let of_database = shared.databases.get(&self.pool.database).map(|most| {
            ("max_db_connections", *most, used(&|pool| pool.database == self.pool.database))
        });
        let of_user = shared.users.get(user).map(|most| {
            ("max_user_connections", *most, used(&|pool| pool.user.as_ref() == Some(user)))
        });
        let all = [of_database, of_user].into_iter().flatten();
        let ratio = |(_, most, used): &(&str, u32, f64)| used / f64::from(*most).max(1.0);
        all.max_by(|a, b| ratio(a).total_cmp(&ratio(b))).filter(|limit| ratio(limit) >= FULL)
    }

    #[allow(clippy::cast_precision_loss)]
    fn finding(&self, thresholds: &Thresholds) -> Finding {
        let pooler = self.pooler;
        let longest = self.last.peak("max_wait_us").map(|us| us as f64 / 1000.0);
        let critical = longest.is_some_and(|ms| ms >= thresholds.of(&CRITICAL_MS));
        let severity = if critical { Severity::Critical } else { Severity::Warning };
        let database = name(&self.pool.database);
        let of = match &self.pool.user {
            Some(user) => format!("database {database}, user {}", name(user)),
            None => format!("database {database}"),
        };
        let clients = counted(self.clients.round().max(1.0), "client");
        let verb = if self.clients.round() > 1.0 { "wait" } else { "waits" };
        let title =
            format!("{clients} on average {verb} for a server connection of {}, {of}", pooler.name);
        let mut finding =
            Finding::new(WAITING, severity, format!("{} {of}", pooler.name), title, "", MANUAL);
        finding
            .evidence
            .push(Evidence::new("clients_waiting", self.clients, "").over(thresholds.of(&CLIENTS)));
        let now = self.now.map(|now| Evidence::new("clients_waiting_now", now, ""));
        finding.evidence.extend(now);
        if let Some(ms) = longest {
            let mut evidence = Evidence::new("max_wait", ms, "ms");
            if critical {
                evidence = evidence.over(thresholds.of(&CRITICAL_MS));
            }
            finding.evidence.push(evidence);
        }
        let busy = self.last.average("servers_active");
        finding.evidence.extend(busy.map(|busy| Evidence::new("servers_active", busy, "")));
        let size = self.last.pool_size();
        finding.evidence.extend(size.map(|size| Evidence::new("pool_size", size, "")));
        if let Some((setting, most, used)) = self.shared() {
            finding.evidence.push(Evidence::new("pooler_limit", setting, ""));
            finding.evidence.push(Evidence::new("pooler_limit_connections", i64::from(most), ""));
            finding.evidence.push(Evidence::new("pooler_limit_used", used, ""));
        }
        let most = longest.map(|ms| format!(" The longest wait was {}.", milliseconds(ms)));
        let (cause, remedy) = self.why(busy, size);
        finding.cause = cause.map(|cause| format!("{cause}{}", most.unwrap_or_default()));
        finding.remedy = remedy;
        finding.effort = Effort::Medium;
        finding
    }

    /// Why they wait, as far as that is known, and what to do.
    fn why(&self, busy: Option<f64>, size: Option<f64>) -> (Option<String>, String) {
        let database = name(&self.pool.database);
        if self.pool.is_stopped {
            let cause = "The database is paused or disabled at the pooler: its clients get no server connection.";
            let remedy = format!(
                "SHOW DATABASES at its console tells which of both; RESUME {database} or ENABLE {database} lets them go on."
            );
            return (Some(cause.to_owned()), remedy);
        }
        if self.last.is_pool() && self.last.of("servers_active") == 0 {
            let cause = "No server connection of the pool was in use, so that it is not too small: the pooler is held up, or \
                         cannot log in to the server.";
            let remedy = "Look for failed logins in its log, whether the server of the database answers (SHOW DATABASES: host, \
                          port) and has connections left, and whether the pooler was suspended or paused.";
            return (Some(cause.to_owned()), remedy.to_owned());
        }
        let in_use = busy.zip(size).map(|(busy, size)| {
            let (busy, size) = (count(busy.round()), count(size));
            format!("{busy} of at most {size} server connections of the pool were in use.")
        });
        let has_room = busy.zip(size).is_some_and(|(busy, size)| busy < size * FULL);
        if let Some((setting, most, used)) = self.shared().filter(|_| has_room) {
            let used = count(used.round());
            let cause = format!(
                "{used} of at most {most} server connections that {setting} of the pooler allows were in use, by this pool \
                 and others, while the pool itself has room."
            );
            let remedy = format!(
                "Raise {setting} at the pooler, or have others that share it keep fewer connections: a larger pool_size \
                 changes nothing."
            );
            return (Some(cause), remedy);
        }
        if has_room {
            let more = " The pool is not full, so that another limit keeps them waiting.";
            let remedy = "Look at max_user_connections and max_db_connections of the pooler (SHOW CONFIG, and its file for \
                          databases and users), which several pools share, and at limits of the server \
                          (perfmon.pool_saturation(), connections refused in its log): a larger pool_size changes nothing.";
            return (in_use.map(|said| said + more), remedy.to_owned());
        }
        let remedy = "Look at perfmon.pooler_clients() for clients that keep a server connection while they do nothing \
                      (pins_server), and shorten transactions. With pool_mode = session each client keeps one until it \
                      leaves, idle or not: pool_mode = transaction gives it to others between transactions. If the server \
                      is not busy, raise pool_size of the database or default_pool_size.";
        (in_use, remedy.to_owned())
    }
}

fn unreachable(pooler: &Pooler, unanswered: usize, thresholds: &Thresholds) -> Finding {
    #[allow(clippy::cast_precision_loss)]
    let times = unanswered as f64;
    let mut finding = Finding::new(
        UNREACHABLE,
        Severity::Warning,
        &pooler.name,
        format!("PgBouncer {} did not answer {}", pooler.name, counted(times, "time")),
        "See perfmon.status() for what went wrong; look whether it runs, whether it accepts the user of the user \
         mapping (stats_users), and at the options of the foreign server.",
        MANUAL,
    );
    finding.cause = Some(
        "Its console gave no answer within a second, or refused the login; clients may find the same.".to_owned(),
    );
    finding.evidence.push(
        Evidence::new("unanswered", times, "")
            .over(thresholds.of(&FAILURES))
            .out_of(i64::try_from(pooler.answers.len()).unwrap_or(i64::MAX)),
    );
    finding
}
