//! Connections that were refused, by cause.

use std::collections::BTreeMap;

use super::{IDLE_RATIO, REFUSED, STARTERS, capital, why};
use crate::activity::group::Level;
use crate::capture::failure::Refusal;
use crate::detect::Judgement;
use crate::detect::words::{counted, number};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::pool::limit::Limit;
use crate::pool::{Group, Look, Pools, Refused, Whose};
use crate::threshold::{Threshold, Thresholds};

/// People mistype.
pub(super) const MIN_AUTHENTICATION: Threshold = Threshold::new(
    "refused_authentication_min",
    20.0,
    "failed authentications below which nothing is said",
    "pg_perfmon: people mistype, programs repeat",
);

/// What was refused, by object and cause.
type Found = BTreeMap<(String, &'static str), (Option<Refusal>, u64, Vec<String>)>;

pub(super) fn detect(pools: &Pools, thresholds: &Thresholds, judgement: &mut Judgement) {
    let look = if pools.standing { &pools.recent } else { &pools.window };
    let mut found: Found = BTreeMap::new();
    for refused in look.refused.iter().flatten().filter(|refused| refused.count > 0) {
        let object = object(refused);
        let word = refused.why.map_or("authentication", Refusal::name);
        let entry = found.entry((object, word)).or_insert((refused.why, 0, Vec::new()));
        entry.1 = entry.1.saturating_add(refused.count);
        entry.2.extend(refused.user.clone());
    }
    for ((object, word), (cause, times, users)) in found {
        let few = (times as f64) < thresholds.of(&MIN_AUTHENTICATION);
        if cause.is_none() && few {
            continue;
        }
        judgement.add(finding(look, (&object, word), (cause, times), &users, thresholds));
    }
}

/// What ran out.
fn object(refused: &Refused) -> String {
    match (refused.why, &refused.user, &refused.database) {
        (Some(Refusal::RoleLimit), Some(user), _) => format!("role {user}"),
        (Some(Refusal::DatabaseLimit), _, Some(database)) => format!("database {database}"),
        _ => "server".to_owned(),
    }
}

fn finding(
    look: &Look,
    (object, word): (&str, &str),
    (cause, times): (Option<Refusal>, u64),
    users: &[String],
    thresholds: &Thresholds,
) -> Finding {
    // Whoever starts a server expects some.
    let calm = matches!(cause, Some(Refusal::StartingUp));
    let full = [Refusal::TooManyClients, Refusal::Reserved].map(Some);
    let is_starters =
        full.contains(&cause) && starters(look, &Whose::server(), thresholds).is_some();
    let is_walsender = cause == Some(Refusal::WalSenders);
    let title = format!(
        "{}: {} {} refused: {}",
        capital(object),
        counted(times as f64, if is_walsender { "walsender" } else { "connection" }),
        if times == 1 { "was" } else { "were" },
        why(cause)
    );
    let mut finding = Finding::new(
        REFUSED,
        if calm { Severity::Info } else { Severity::Warning },
        object,
        title,
        if is_starters { STARTERS } else { remedy(cause) },
        "PostgreSQL manual, Error Codes: class 53, 57P03 and class 28",
    );
    finding.subject = word.to_owned();
    finding.cause = holder(look, object, cause, thresholds);
    finding.evidence.push(Evidence::new("refused", times, "connections").over(0.0));
    finding.evidence.push(Evidence::new("refused_cause", word, ""));
    if !users.is_empty() {
        let mut users = users.to_vec();
        users.sort_unstable();
        users.dedup();
        finding.evidence.push(Evidence::new("users", users.join(", "), ""));
    }
    finding.effort = Effort::Medium;
    let whom = if is_walsender { "Standbys and backups" } else { "Clients" };
    finding.gain = Some(format!("{whom} get a connection."));
    finding
}

/// Clients that had not said who they are, if these took most of the places.
fn starters(look: &Look, of: &Whose, thresholds: &Thresholds) -> Option<f64> {
    let server = look.server().filter(|server| server.whose == *of)?;
    let places = f64::from(server.limit_that_refuses()?.most);
    Some(server.starting_most()).filter(|n| *n > thresholds.of(&IDLE_RATIO) * places)
}

/// Who holds what others were refused.
fn holder(
    look: &Look,
    object: &str,
    cause: Option<Refusal>,
    thresholds: &Thresholds,
) -> Option<String> {
    let limited =
        [Refusal::TooManyClients, Refusal::Reserved, Refusal::RoleLimit, Refusal::DatabaseLimit];
    cause.filter(|cause| limited.contains(cause))?;
    let group = look.groups.iter().map(|group| &group.whose).find(|w| w.object() == object);
    let server = Whose::server();
    // Of a role or a database that no sample found, it is not known who held its connections: not those of others.
    let own = [Refusal::RoleLimit, Refusal::DatabaseLimit].map(Some);
    if group.is_none() && own.contains(&cause) {
        return None;
    }
    let of = group.unwrap_or(&server);
    let peak = |pool: &Group| pool.open.peak.unwrap_or(0);
    let limit = look.groups.iter().find(|group| group.whose == *of);
    let limit = limit.and_then(Group::limit_that_refuses);
    // Who had them when most were in use, however short that was.
    let most_of = |limit: &Limit| limit.peak.map_or(limit.used, f64::from);
    let at = limit.map_or(look, |limit| look.fullest(of, limit.kind, most_of));
    let pools = at.groups.iter().filter(|group| group.whose.level == Level::Pool);
    let holders = pools.filter(|pool| of.holds(&pool.whose) && peak(pool) > 0);
    if let Some(starting) = starters(look, of, thresholds) {
        return Some(format!(
            "At least {} of the places were taken by clients that had not finished authentication.",
            number(starting)
        ));
    }
    let average = |pool: &Group| pool.open.average.unwrap_or(0.0);
    let most =
        holders.max_by(|a, b| peak(a).cmp(&peak(b)).then(average(a).total_cmp(&average(b))))?;
    // Without whom it would have been as full, whoever was not seen kept others out.
    if limit.is_some_and(|limit| !limit.has_room_without(f64::from(peak(most)), thresholds)) {
        return None;
    }
    Some(format!(
        "Most connections were held by {}: {} at the peak.",
        most.whose.program(),
        number(f64::from(peak(most)))
    ))
}

fn remedy(cause: Option<Refusal>) -> &'static str {
    match cause {
        None => {
            "See in the server's log who fails, and from where: a program with an old password, or somebody who guesses."
        }
        Some(Refusal::StartingUp) => "Have clients try again after a moment.",
        Some(Refusal::WalSenders) => {
            "See pg_stat_replication for who has one: each standby, base backup and subscription takes one, one that lost its network until wal_sender_timeout; max_wal_senders allows more after a restart."
        }
        Some(Refusal::RoleLimit) => {
            "See perfmon.pool_saturation() for what the role's sessions do; ALTER ROLE ... CONNECTION LIMIT sets its limit."
        }
        Some(Refusal::DatabaseLimit) => {
            "See perfmon.pool_saturation() for what the database's sessions do; ALTER DATABASE ... CONNECTION LIMIT sets its limit."
        }
        Some(_) => {
            "See perfmon.pool_saturation() for who holds connections and perfmon.pool_size_advice() for how many they need; a pooler shares them, max_connections allows more after a restart."
        }
    }
}
