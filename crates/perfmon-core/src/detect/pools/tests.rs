//! Each finding with a twin in which nothing is wrong.

use super::super::samples::{self, found, silent, the};
use super::*;
use crate::pool::forecast::Point;
use crate::pool::limit::{Declared, Limits, Role, Server};
use crate::pool::{Course, Figure, Refused, Sessions};

mod churn;

fn steady(number: u32) -> Figure {
    let float = Some(f64::from(number));
    Figure { now: Some(number), average: float, p95: float, p99: float, peak: Some(number) }
}

fn pool_of(user: &str, application: &str) -> Whose {
    Whose {
        level: Level::Pool,
        database: Some("shop".to_owned()),
        user: Some(user.to_owned()),
        application: Some(application.to_owned()),
        address: Some(String::new()),
        ..Whose::server()
    }
}

/// Pools by user and application: open, active and in a transaction.
fn look(pools: &[(&str, &str, u32, u32, u32)], limits: &Limits) -> Look {
    let mut groups = Vec::new();
    let mut add = |whose: Whose, members: &[&(&str, &str, u32, u32, u32)]| {
        let sum = |of: fn(&(&str, &str, u32, u32, u32)) -> u32| members.iter().map(|m| of(m)).sum();
        let (open, active, inside): (u32, u32, u32) = (sum(|m| m.2), sum(|m| m.3), sum(|m| m.4));
        let mut group = Group::of(whose);
        (group.samples, group.there) = (3_600, 3_600);
        group.open = steady(open);
        group.busy = steady(active + inside);
        group.busy_percentiles = [Some(f64::from(active + inside)); 5];
        group.active = steady(active);
        group.idle = steady(open - active - inside);
        group.in_transaction = steady(inside);
        group.on_cpu = Some(f64::from(active));
        (group.on_lock, group.on_io) = (Some(0.0), Some(0.0));
        groups.push(group);
    };
    let all: Vec<_> = pools.iter().collect();
    add(Whose::server(), &all);
    let database = Some("shop".to_owned());
    add(Whose { level: Level::Database, database, ..Whose::server() }, &all);
    let mut users: Vec<&str> = pools.iter().map(|pool| pool.0).collect();
    users.dedup();
    for user in users {
        let members: Vec<_> = pools.iter().filter(|pool| pool.0 == user).collect();
        let user = Some(user.to_owned());
        add(Whose { level: Level::User, user, ..Whose::server() }, &members);
    }
    for pool in pools {
        add(pool_of(pool.0, pool.1), &[pool]);
    }
    limits.judge(&mut groups);
    Look {
        covered_us: 3_600_000_000,
        samples: 3_600,
        groups,
        refused: Some(Vec::new()),
        sessions: vec![Sessions {
            database: None,
            sessions: 60,
            mean_ms: Some(600_000.0),
            busy_ms: 3_600_000.0,
            transactions: 360_000,
            covered_us: 3_600_000_000,
        }],
        cpus: Some(8.0),
        ..Look::default()
    }
}

fn limits() -> Limits {
    Limits {
        server: Some(Server { most: 200, superusers: 3, reserved: 0 }),
        roles: vec![Role {
            name: "app".to_owned(),
            limit: Some(20),
            superuser: false,
            reserve: false,
        }],
        ..Limits::default()
    }
}

/// Facts in which the last two intervals are like all of the window.
fn facts(look: Look) -> Facts {
    let (last, recent) = (look.clone(), look.clone());
    let pools = Pools { last, recent, window: look, standing: true, ..Pools::default() };
    Facts { pools: Some(pools), ..samples::healthy() }
}

fn pools(facts: &mut Facts) -> &mut Pools {
    facts.pools.as_mut().unwrap()
}

/// A hundred sessions in pools, of which few do anything.
fn calm() -> Facts {
    facts(look(&[("shop", "web", 100, 1, 0)], &limits()))
}

#[test]
fn a_calm_server_of_idle_pools_has_no_warning() {
    let loud: Vec<Finding> =
        found(&DETECTOR, &calm()).into_iter().filter(|f| f.severity > Severity::Info).collect();
    assert_eq!(loud, []);
    let finding = the(&DETECTOR, &calm(), OVERSIZED);
    assert_eq!(finding.severity, Severity::Info);
    assert_eq!(
        finding.title,
        "Pool web (user shop, database shop): 100 sessions open, never seen more than 1 busy"
    );
    let idle = facts(look(&[("shop", "web", 100, 0, 0)], &limits()));
    let finding = the(&DETECTOR, &idle, OVERSIZED);
    assert!(finding.title.ends_with("none seen busy in any sample"), "{}", finding.title);
    let few = facts(look(&[("shop", "web", 15, 1, 0)], &limits()));
    silent(&DETECTOR, &few, OVERSIZED);
    let mut dark = look(&[("shop", "web", 100, 1, 0)], &limits());
    dark.groups.iter_mut().for_each(|group| group.hidden = Some(10.0));
    silent(&DETECTOR, &facts(dark), OVERSIZED);
    let used = facts(look(&[("shop", "web", 100, 60, 0)], &limits()));
    silent(&DETECTOR, &used, OVERSIZED);
}

#[test]
fn a_pool_that_is_smaller_by_now_is_told_of_the_window_only() {
    let gone = |now: u32| {
        let mut facts = calm();
        let mut last = look(&[("shop", "web", 100, 1, 0)], &limits());
        last.groups.iter_mut().for_each(|group| group.open.now = Some(now));
        pools(&mut facts).last = last;
        facts
    };
    silent(&DETECTOR, &gone(0), OVERSIZED);
    silent(&DETECTOR, &gone(12), OVERSIZED);
    let finding = the(&DETECTOR, &gone(40), OVERSIZED);
    assert_eq!(
        finding.title,
        "Pool web (user shop, database shop): 40 sessions open, never seen more than 1 busy"
    );
    assert_eq!(finding.gain.as_deref(), Some("38 connections free for others."));
    let mut report = gone(0);
    pools(&mut report).last.groups.clear();
    silent(&DETECTOR, &report, OVERSIZED);
    pools(&mut report).standing = false;
    let finding = the(&DETECTOR, &report, OVERSIZED);
    assert_eq!(
        finding.title,
        "Pool web (user shop, database shop): 100 sessions were open, never seen more than 1 busy"
    );
}

#[test]
fn a_role_at_its_limit_is_found_with_who_holds_it() {
    let full = facts(look(&[("app", "cron", 2, 1, 0), ("app", "web", 18, 1, 15)], &limits()));
    let finding = the(&DETECTOR, &full, SATURATION);
    assert_eq!(finding.severity, Severity::Critical);
    assert_eq!((finding.object.as_str(), finding.subject.as_str()), ("role app", "role"));
    assert_eq!(finding.title, "Role app: 20 of 20 connections in use (100 %)");
    assert_eq!(
        finding.cause.unwrap(),
        "18 are held by web (user app, database shop): 11.1 % of the time idle, 83.3 % idle in a transaction. \
         15.0 sessions wait for their client inside a transaction, 2.0 execute."
    );
    assert!(finding.remedy.contains("idle_in_transaction_session_timeout"));
    assert_eq!(finding.evidence[0].threshold, Some(0.9));
    // Of sessions that do not say what they do it is not told.
    let mut hidden = look(&[("app", "cron", 2, 1, 0), ("app", "web", 18, 1, 15)], &limits());
    for group in &mut hidden.groups {
        group.hidden = group.open.average;
    }
    let cause = the(&DETECTOR, &facts(hidden), SATURATION).cause.unwrap();
    assert!(cause.starts_with("18 are held by web (user app, database shop)."), "{cause}");
    let near = facts(look(&[("app", "web", 17, 1, 0)], &limits()));
    assert_eq!(the(&DETECTOR, &near, SATURATION).severity, Severity::Warning);
    silent(&DETECTOR, &facts(look(&[("app", "web", 16, 1, 0)], &limits())), SATURATION);
}

#[test]
fn who_held_a_limit_is_told_of_the_moment_at_which_it_was_full() {
    // Job was there for a minute of an hour, with nearly all that the role may have; idler stayed afterwards.
    let full = look(&[("app", "idler", 1, 0, 0), ("app", "job", 19, 19, 0)], &limits());
    let after = look(&[("app", "idler", 1, 0, 0), ("app", "job", 0, 0, 0)], &limits());
    let mut window = full.clone();
    for group in &mut window.groups {
        if group.whose.application.as_deref() == Some("job") {
            group.open.p95 = Some(0.0);
            group.open.now = Some(0);
        }
    }
    let refused = Refused {
        why: Some(Refusal::RoleLimit),
        user: Some("app".to_owned()),
        count: 6,
        ..Refused::default()
    };
    window.refused = Some(vec![refused]);
    window.moments = vec![after.clone(), full, after];
    let mut facts = facts(window);
    pools(&mut facts).standing = false;
    let cause = the(&DETECTOR, &facts, SATURATION).cause.unwrap_or_default();
    assert!(cause.starts_with("19 were held by job"), "{cause}");
    let cause = the(&DETECTOR, &facts, REFUSED).cause.unwrap_or_default();
    assert!(cause.starts_with("Most connections were held by job"), "{cause}");
    // So short that nothing but its peak is left of it.
    for look in &mut pools(&mut facts).window.moments {
        for group in &mut look.groups {
            (group.open.p95, group.open.now) = (Some(1.0), None);
        }
        limits().judge(&mut look.groups);
    }
    let cause = the(&DETECTOR, &facts, REFUSED).cause.unwrap_or_default();
    assert!(cause.ends_with("19 at the peak."), "{cause}");
}

#[test]
fn each_level_has_its_own_finding() {
    let mut limits = limits();
    limits.server = Some(Server { most: 50, superusers: 3, reserved: 0 });
    limits.databases = vec![("shop".to_owned(), 46)];
    let size = Declared {
        name: "web".to_owned(),
        size: 46,
        user: Some("shop".to_owned()),
        ..Declared::default()
    };
    limits.declared = vec![size];
    let full = facts(look(&[("shop", "web", 46, 45, 0)], &limits));
    let mut objects: Vec<String> = found(&DETECTOR, &full)
        .into_iter()
        .filter(|f| f.kind == SATURATION)
        .map(|f| f.object)
        .collect();
    objects.sort();
    assert_eq!(objects, ["database shop", "pool web (user shop, database shop)", "server"]);
}

#[test]
fn what_is_over_is_said_of_the_window_only() {
    let full = look(&[("app", "web", 20, 1, 0)], &limits());
    let over = look(&[("app", "web", 3, 1, 0)], &limits());
    let mut facts = facts(full);
    pools(&mut facts).last = over;
    silent(&DETECTOR, &facts, SATURATION);
    pools(&mut facts).standing = false;
    the(&DETECTOR, &facts, SATURATION);
}

#[test]
fn a_limit_that_will_be_reached() {
    let mut growing = facts(look(&[("app", "web", 10, 1, 0)], &limits()));
    let role = Whose { level: Level::User, user: Some("app".to_owned()), ..Whose::server() };
    let course = |slope: f64| Course {
        whose: role.clone(),
        open: (0..31).map(|i| -> Point { (i * 60_000_000, 4.0 + slope * i as f64) }).collect(),
        opened: Vec::new(),
        other_days: Vec::new(),
    };
    pools(&mut growing).courses = vec![course(0.2)];
    let steady = facts(look(&[("app", "web", 10, 1, 0)], &limits()));
    growing.pools = growing.pools.map(|pools| pools.foreseen(&Thresholds::default()));
    let finding = the(&DETECTOR, &growing, EXHAUSTION);
    assert_eq!(
        finding.title,
        "Role app: its 20 connections run out in 50 min (growing by 12 an hour)"
    );
    assert_eq!(finding.severity, Severity::Critical);
    assert!(finding.impact.outage_at_us.is_some());
    assert_eq!(
        finding.cause.as_deref(),
        Some("Most are held by web (user app, database shop): 10.")
    );
    silent(&DETECTOR, &steady, EXHAUSTION);
}

#[test]
fn refused_connections_by_cause() {
    let mut facts = facts(look(&[("app", "web", 4, 1, 0)], &limits()));
    let refused = |why: Option<Refusal>, count: u64| Refused {
        why,
        user: Some("app".to_owned()),
        database: Some("shop".to_owned()),
        count,
        ..Refused::default()
    };
    pools(&mut facts).recent.refused = Some(vec![
        refused(Some(Refusal::RoleLimit), 3),
        refused(Some(Refusal::DatabaseLimit), 1),
        refused(Some(Refusal::Reserved), 2),
        refused(Some(Refusal::StartingUp), 2),
        refused(None, 5),
    ]);
    let mut found: Vec<(Severity, String)> = found(&DETECTOR, &facts)
        .into_iter()
        .filter(|f| f.kind == REFUSED)
        .map(|f| (f.severity, f.title))
        .collect();
    found.sort();
    let expected = [
        (Severity::Info, "Server: 2 connections were refused: the server was starting or stopping"),
        (
            Severity::Warning,
            "Database shop: 1 connection was refused: the database has as many as it may",
        ),
        (Severity::Warning, "Role app: 3 connections were refused: the role has as many as it may"),
        (
            Severity::Warning,
            "Server: 2 connections were refused: the connections left are reserved",
        ),
    ];
    assert_eq!(found, expected.map(|(severity, title)| (severity, title.to_owned())));
    // Sessions of role tiny came and went between two samples: those of others did not hold its connections.
    let of = |user: &str| Refused {
        user: Some(user.to_owned()),
        ..refused(Some(Refusal::RoleLimit), 11)
    };
    pools(&mut facts).recent.refused = Some(vec![of("tiny")]);
    assert_eq!(the(&DETECTOR, &facts, REFUSED).cause, None);
    pools(&mut facts).recent.refused = Some(vec![of("app")]);
    let cause = the(&DETECTOR, &facts, REFUSED).cause.unwrap_or_default();
    assert!(cause.starts_with("Most connections were held by web"), "{cause}");
    pools(&mut facts).recent.refused = Some(vec![refused(None, 20)]);
    assert_eq!(the(&DETECTOR, &facts, REFUSED).subject, "authentication");
    pools(&mut facts).recent.refused = Some(Vec::new());
    silent(&DETECTOR, &facts, REFUSED);
}

#[test]
fn walsenders_are_refused_by_a_limit_of_their_own() {
    let mut look = look(&[("app", "web", 4, 1, 0)], &limits());
    let of = |why: Refusal, count: u64| Refused { why: Some(why), count, ..Refused::default() };
    look.refused = Some(vec![of(Refusal::WalSenders, 3), of(Refusal::Other, 1)]);
    let server = Whose::server();
    assert_eq!(look.refused(&server, None), Some(1));
    assert_eq!(look.refused(&server, Some(Refusal::WalSenders)), Some(3));
    let told: Vec<(String, String)> = found(&DETECTOR, &facts(look))
        .into_iter()
        .filter(|finding| finding.kind == REFUSED)
        .map(|finding| (finding.subject, finding.title))
        .collect();
    let title = "Server: 3 walsenders were refused: there are as many as max_wal_senders allows";
    assert!(told.contains(&("wal_senders".to_owned(), title.to_owned())), "{told:?}");
}

#[test]
fn what_a_role_is_refused_is_no_queue_of_the_server() {
    let mut look = look(&[("app", "web", 20, 1, 0)], &limits());
    look.refused = Some(vec![Refused {
        why: Some(Refusal::RoleLimit),
        user: Some("app".to_owned()),
        count: 4,
        ..Refused::default()
    }]);
    let causes: Vec<Cause> = look
        .groups
        .iter()
        .map(|group| look.verdict(group, &Thresholds::default()).unwrap().cause)
        .collect();
    use Cause::{Nothing, PoolTooLarge};
    assert_eq!(causes, [Nothing, Nothing, PoolTooLarge, PoolTooLarge]);
}

#[test]
fn without_samples_nothing_is_judged() {
    let nothing = samples::healthy();
    let judgement = super::super::judge_with(&[&DETECTOR], &nothing, &Thresholds::default());
    assert_eq!((judgement.findings, judgement.unjudged), (Vec::new(), DETECTOR.kinds.to_vec()));
    let mut uncounted = calm();
    pools(&mut uncounted).recent.refused = None;
    let judgement = super::super::judge_with(&[&DETECTOR], &uncounted, &Thresholds::default());
    assert_eq!(judgement.unjudged, [REFUSED]);
}
