//! Connections: limits that are nearly reached, or will be, connections that were refused, pools that are too large, and
//! sessions that come and go.

use super::words::{counted, moment, number, percent, span};
use super::{Detector, Judgement};
use crate::activity::group::Level;
use crate::capture::failure::Refusal;
use crate::facts::Facts;
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::pool::advice::{LITTLE_RATIO, MARGIN, MIN_SAMPLES, OVERSIZED_MIN, OVERSIZED_RATIO};
use crate::pool::forecast::{MIN_DAYS, MIN_POINTS, MIN_RISE, MIN_TAU};
use crate::pool::limit::{Kind, Limit, Nearness};
use crate::pool::queue::{CROWDED, Cause, IDLE_RATIO, MIN_SESSIONS, Verdict};
use crate::pool::{CRITICAL_RATIO, Group, Look, Pools, WARNING_RATIO, Whose, hides};
use crate::threshold::{Threshold, Thresholds};

mod churn;
mod refused;
#[cfg(test)]
mod tests;

/// A limit is nearly reached.
pub const SATURATION: &str = "pool_saturation";
/// A limit will be reached.
pub const EXHAUSTION: &str = "pool_exhaustion";
/// Connections were refused.
pub const REFUSED: &str = "connections_refused";
/// A pool is larger than it need be.
pub const OVERSIZED: &str = "pool_oversized";
/// Sessions come and go.
pub const CHURN: &str = "connection_churn";

/// The detector.
pub static DETECTOR: Detector = Detector {
    name: "pools",
    kinds: &[SATURATION, EXHAUSTION, REFUSED, OVERSIZED, CHURN],
    thresholds: THRESHOLDS,
    detect,
};

const EXHAUSTION_HOURS: Threshold = Threshold::new(
    "pool_exhaustion_hours",
    24.0,
    "hours until connections run out: warning",
    "pg_perfmon: time to act within a working day",
);
const EXHAUSTION_CRITICAL_HOURS: Threshold = Threshold::new(
    "pool_exhaustion_critical_hours",
    1.0,
    "hours until connections run out: critical",
    "pg_perfmon",
);

static THRESHOLDS: &[Threshold] = &[
    WARNING_RATIO,
    CRITICAL_RATIO,
    MIN_SESSIONS,
    CROWDED,
    IDLE_RATIO,
    MIN_POINTS,
    MIN_TAU,
    MIN_RISE,
    MIN_DAYS,
    EXHAUSTION_HOURS,
    EXHAUSTION_CRITICAL_HOURS,
    MARGIN,
    MIN_SAMPLES,
    LITTLE_RATIO,
    OVERSIZED_RATIO,
    OVERSIZED_MIN,
    churn::PER_S,
    churn::LENGTH_MS,
    refused::MIN_AUTHENTICATION,
];

fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let Some(pools) = facts.pools.as_ref().filter(|pools| pools.window.samples > 0) else {
        DETECTOR.kinds.iter().for_each(|kind| judgement.unknown(kind));
        return;
    };
    saturation(pools, thresholds, judgement);
    exhaustion(pools, thresholds, judgement);
    match pools.recent.refused {
        None => judgement.unknown(REFUSED),
        Some(_) => refused::detect(pools, thresholds, judgement),
    }
    oversized(pools, thresholds, judgement);
    let look = if pools.standing { &pools.recent } else { &pools.window };
    churn::detect(look, thresholds, judgement);
}

/// The limit that is a group's own, so that each is judged once.
fn own_limit(group: &Group) -> Option<&Limit> {
    let own: &[Kind] = match group.whose.level {
        Level::Server => &[Kind::Server],
        Level::Database => &[Kind::Database],
        Level::User => &[Kind::Role],
        // What poolers' clients wait for is a finding of its own.
        Level::Pool => &[Kind::Declared],
    };
    let all = group.limits.iter().filter(|limit| own.contains(&limit.kind));
    all.min_by(|a, b| a.headroom().total_cmp(&b.headroom()))
}

/// Each limit as it was worst: now or over all of the window.
fn saturation(pools: &Pools, thresholds: &Thresholds, judgement: &mut Judgement) {
    let mut worst: Vec<(&Look, &Group, &Limit)> = Vec::new();
    for look in pools.looks() {
        for group in &look.groups {
            let Some(limit) = own_limit(group) else { continue };
            match worst.iter_mut().find(|found| found.1.whose == group.whose) {
                Some(found) if limit.ratio() > found.2.ratio() => *found = (look, group, limit),
                Some(_) => {}
                None => worst.push((look, group, limit)),
            }
        }
    }
    for (look, group, limit) in worst {
        let severity = match Nearness::of(limit, thresholds) {
            // Nobody is kept out by a limit that lets nobody in.
            _ if limit.most == 0 => continue,
            Nearness::Ok => continue,
            Nearness::Warning => Severity::Warning,
            Nearness::Critical => Severity::Critical,
        };
        judgement.add(saturated((look, group, limit), severity, thresholds));
    }
}

fn saturated(
    (look, group, limit): (&Look, &Group, &Limit),
    severity: Severity,
    thresholds: &Thresholds,
) -> Finding {
    let what = if limit.kind.is_of_pool() { "busy" } else { "in use" };
    let verdict = look.verdict(group, thresholds);
    let title = format!(
        "{}: {} of {} connections {what} ({})",
        capital(&group.whose.object()),
        number(limit.used),
        limit.most,
        percent(limit.ratio())
    );
    let mut finding = Finding::new(
        SATURATION,
        severity,
        group.whose.object(),
        title,
        remedy(verdict.as_ref(), limit),
        "requirements; PostgreSQL manual, Connections and Authentication",
    );
    finding.subject = limit.kind.word().to_owned();
    finding.cause = Some(cause(look, group, limit, verdict.as_ref()));
    let over = if severity == Severity::Critical { &CRITICAL_RATIO } else { &WARNING_RATIO };
    finding.evidence.push(
        Evidence::new("saturation_ratio", limit.ratio(), "ratio")
            .over(thresholds.of(over))
            .out_of(i64::try_from(look.samples).unwrap_or(i64::MAX)),
    );
    finding.evidence.push(Evidence::new("connections_used", limit.used, ""));
    finding.evidence.push(Evidence::new("connections_limit", i64::from(limit.most), ""));
    finding.evidence.push(Evidence::new("headroom", limit.headroom(), ""));
    if let Some(peak) = limit.peak {
        finding.evidence.push(Evidence::new("connections_peak", i64::from(peak), ""));
    }
    if let Some(verdict) = verdict {
        finding.evidence.push(Evidence::new("queue_cause", verdict.cause.word(), ""));
        finding
            .evidence
            .extend(verdict.evidence.into_iter().filter(|e| e.metric != "saturation_ratio"));
    }
    finding.effort = Effort::Medium;
    finding.gain = Some("Clients get connections instead of waiting or being refused.".to_owned());
    finding
}

/// Who holds the connections, and what they do with them.
fn cause(look: &Look, group: &Group, limit: &Limit, verdict: Option<&Verdict>) -> String {
    let of_pool = limit.kind.is_of_pool();
    let at = look.fullest(&group.whose, limit.kind, |limit| limit.used);
    let holders = at.holders(&group.whose, |pool| if of_pool { &pool.busy } else { &pool.open });
    let are = if std::ptr::eq(at, look) { "are" } else { "were" };
    let mut said = String::new();
    // Those that have not said who they are belong to nobody yet.
    let is_known = verdict.is_none_or(|verdict| verdict.cause != Cause::Authentication);
    if let Some((pool, held)) = holders.first().filter(|_| is_known) {
        // Against the size of a pool those that idle do not count. Of sessions that do not say what they do nothing is known.
        let is_told = !hides(pool.hidden, pool.open.average);
        let idle = pool.share(&pool.idle).filter(|_| !of_pool && is_told);
        let idle = idle.map(|idle| format!("{} of the time idle", percent(idle)));
        let inside = pool.share(&pool.in_transaction).filter(|_| is_told);
        let inside = inside.map(|inside| format!("{} idle in a transaction", percent(inside)));
        let shares: Vec<String> = idle.into_iter().chain(inside).collect();
        let shares =
            if shares.is_empty() { String::new() } else { format!(": {}", shares.join(", ")) };
        let (held, program) = (number(*held), pool.whose.program());
        said = format!("{held} {are} held by {program}{shares}.");
    }
    if let Some(verdict) = verdict.filter(|verdict| verdict.cause != Cause::Nothing) {
        said.push_str(&format!(" {}.", capital(&verdict.detail)));
    }
    said.trim().to_owned()
}

/// What to do about clients that do not finish authentication.
const STARTERS: &str = "Find out who connects and does not log in: with log_connections the server's log tells each address, from 18 on \
     pg_stat_activity too (state starting). authentication_timeout ends such connections sooner; pg_hba.conf, a firewall or a \
     pooler before the server keeps them out. Raising max_connections (a restart) gives them more places to take.";

fn remedy(verdict: Option<&Verdict>, limit: &Limit) -> String {
    let raise = match limit.kind {
        Kind::Server => "max_connections (a restart)",
        Kind::Database => "the limit (ALTER DATABASE ... CONNECTION LIMIT)",
        Kind::Role => "the limit (ALTER ROLE ... CONNECTION LIMIT)",
        _ => "the size of the pool",
    };
    match verdict.map_or(Cause::Nothing, |verdict| verdict.cause) {
        Cause::PoolTooLarge => format!(
            "Have the program that holds them keep fewer: perfmon.pool_size_advice() says how many do. A pooler in \
             transaction mode shares them among clients. Raising {raise} gives the same program more to hold."
        ),
        Cause::Authentication => STARTERS.to_owned(),
        Cause::Client => "Have the program end its transactions before it waits for anything else, send what it \
             copies without a pause, and read results at once; set idle_in_transaction_session_timeout. \
             perfmon.pool_activity() shows whose they are. More connections would wait in the same way."
            .to_owned(),
        Cause::Lock => "Find out who holds the lock and have that transaction end sooner; lock_timeout keeps others \
             from waiting for long. More connections would wait for the same lock."
            .to_owned(),
        Cause::Cpu | Cause::Io => "Make the statements cheaper that take most time (perfmon.top_statements()); more \
             connections would make each slower."
            .to_owned(),
        Cause::Wait => "Look at what they wait for: perfmon.top_waits() names the event and the statements. For SyncRep, \
             bring the standby back or take it out of synchronous_standby_names. More connections would wait for the same."
            .to_owned(),
        Cause::Pooler => "Look at the pooler's console: SHOW DATABASES tells what is paused or disabled (RESUME, ENABLE), \
             SHOW CONFIG and SHOW USERS its limits. More connections of the server would not be used."
            .to_owned(),
        Cause::PoolTooSmall | Cause::Nothing => format!(
            "Raise {raise}, or put a pooler in transaction mode before the server if the machine could not serve \
             many more sessions at a time."
        ),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + chars.as_str())
}

fn exhaustion(pools: &Pools, thresholds: &Thresholds, judgement: &mut Judgement) {
    for (whose, kind, most, found) in &pools.exhaustion {
        let full = pools.last.groups.iter().filter(|group| group.whose == *whose);
        let full =
            full.filter_map(own_limit).any(|limit| limit.kind == *kind && limit.headroom() < 1.0);
        if full || found.hours > thresholds.of(&EXHAUSTION_HOURS) {
            continue;
        }
        let critical = found.hours <= thresholds.of(&EXHAUSTION_CRITICAL_HOURS);
        let severity = if critical { Severity::Critical } else { Severity::Warning };
        judgement.add(exhausted(pools, whose, (*kind, *most), (found, severity), thresholds));
    }
}

fn exhausted(
    pools: &Pools,
    whose: &Whose,
    (kind, most): (Kind, u32),
    (found, severity): (&crate::pool::forecast::Exhaustion, Severity),
    thresholds: &Thresholds,
) -> Finding {
    let title = format!(
        "{}: its {most} connections run out in {} (growing by {} an hour)",
        capital(&whose.object()),
        span(found.hours * 3600.0),
        number(found.per_hour)
    );
    let mut finding = Finding::new(
        EXHAUSTION,
        severity,
        whose.object(),
        title,
        "Look whether a program opens connections without closing them (perfmon.pool_saturation() says whose they \
         are), before more are allowed.",
        "Theil (1950) and Sen (1968): median of pairwise slopes",
    );
    finding.subject = kind.word().to_owned();
    let holders = pools.last.holders(whose, |pool| &pool.open);
    finding.cause = holders.first().map(|(pool, held)| {
        format!("Most are held by {}: {}.", pool.whose.program(), number(*held))
    });
    finding.evidence.push(
        Evidence::new("hours_to_exhaustion", found.hours, "h")
            .over(thresholds.of(&EXHAUSTION_HOURS)),
    );
    finding.evidence.push(Evidence::new("growth_per_hour", found.per_hour, "connections"));
    finding.evidence.push(Evidence::new("connections_limit", i64::from(most), ""));
    let basis = if found.seasonal { "trend and the same hours of other days" } else { "trend" };
    finding.evidence.push(Evidence::new("forecast_by", basis, ""));
    finding.impact.outage_at_us = Some(found.at);
    finding.gain = Some(format!("No client is refused about {}.", moment(found.at)));
    finding.effort = Effort::High;
    finding
}

/// Open sessions of a pool over the window; where a finding says what stands, as many as there are.
fn open_of(pools: &Pools, pool: &Group) -> Option<f64> {
    if !pools.standing {
        return pool.open_there();
    }
    let last = pools.last.groups.iter().find(|group| group.whose == pool.whose);
    let open = last.map_or(Some(0.0), |last| last.open.now.map(f64::from).or(last.open.p95));
    open.filter(|_| last.is_some() || pools.last.samples > 0)
}

fn oversized(pools: &Pools, thresholds: &Thresholds, judgement: &mut Judgement) {
    let look = &pools.window;
    let all = look.groups.iter().filter(|g| g.whose.level == Level::Pool && !g.whose.monitoring);
    for pool in all {
        let Some(advice) = look.advice(pool, thresholds) else { continue };
        // One that nobody sees at work may be at work.
        if advice.hidden > 0.0 || f64::from(advice.frees) < thresholds.of(&OVERSIZED_MIN) {
            continue;
        }
        let Some(open) = open_of(pools, pool) else { continue };
        let busy_p99 = pool.busy_there_p99().unwrap_or(0.0);
        let factor = open / busy_p99.max(1.0);
        let spare = (open - f64::from(advice.size)).max(0.0);
        let frees = f64::from(advice.frees).min(if pools.standing { spare } else { f64::INFINITY });
        if factor < thresholds.of(&OVERSIZED_RATIO) || frees < thresholds.of(&OVERSIZED_MIN) {
            continue;
        }
        let title = format!(
            "Pool {}: {} {}, {}",
            pool.whose.program(),
            counted(open, "session"),
            if pools.standing { "open" } else { "were open" },
            match pool.busy.peak.unwrap_or(0) {
                0 => "none seen busy in any sample".to_owned(),
                peak => format!("never seen more than {peak} busy"),
            }
        );
        let mut finding = Finding::new(
            OVERSIZED,
            Severity::Info,
            pool.whose.object(),
            title,
            format!("{} {}", advice.change(pool), advice.terms()),
            "Little's law; pg_perfmon manual, How large a pool need be",
        );
        finding.cause =
            Some("The pool was sized by clients, not by what they do at a time.".to_owned());
        finding.evidence.push(
            Evidence::new("over_provision_factor", factor, "")
                .over(thresholds.of(&OVERSIZED_RATIO))
                .out_of(i64::try_from(pool.samples).unwrap_or(i64::MAX)),
        );
        finding.evidence.push(
            Evidence::new("connections_freed", frees as i64, "")
                .over(thresholds.of(&OVERSIZED_MIN)),
        );
        finding.evidence.push(Evidence::new("busy_p99", busy_p99, "sessions"));
        finding.evidence.push(Evidence::new("advised_size", i64::from(advice.size), "sessions"));
        finding.gain = Some(format!("{} free for others.", capital(&counted(frees, "connection"))));
        finding.effort = Effort::Medium;
        judgement.add(finding);
    }
}

/// The cause in words of a title.
fn why(refusal: Option<Refusal>) -> &'static str {
    match refusal {
        None => "authentication failed",
        Some(Refusal::TooManyClients) => "all connections of the server are in use",
        Some(Refusal::Reserved) => "the connections left are reserved",
        Some(Refusal::RoleLimit) => "the role has as many as it may",
        Some(Refusal::DatabaseLimit) => "the database has as many as it may",
        Some(Refusal::StartingUp) => "the server was starting or stopping",
        Some(Refusal::WalSenders) => "there are as many as max_wal_senders allows",
        Some(Refusal::Other) => "another limit",
    }
}
