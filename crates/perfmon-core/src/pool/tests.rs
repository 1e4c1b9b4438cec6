//! Limits, forecasts, verdicts and sizes, each with a twin in which nothing is wrong.

use super::advice;
use super::forecast::{Point, Season, exhaustion, trend};
use super::head::{Blocked, Head};
use super::limit::{Declared, Kind, Limit, Limits, Nearness, Role, Server, plateau};
use super::queue::{Behind, Cause, Load, verdict};
use super::*;
use crate::threshold::Thresholds;
use proptest::prelude::*;

mod advised;
mod elsewhere;
mod keepers;
mod moments;
mod poolers;

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
const DAY_US: i64 = 24 * HOUR_US;
/// 2026-11-21 12:00 UTC.
const NOON: i64 = 1_795_262_400_000_000;

fn thresholds() -> Thresholds {
    Thresholds::default()
}

fn steady(number: u32) -> Figure {
    let float = Some(f64::from(number));
    Figure { now: Some(number), average: float, p95: float, p99: float, peak: Some(number) }
}

fn whose(level: Level, database: &str, user: &str) -> Whose {
    let some = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    Whose { level, database: some(database), user: some(user), ..Whose::server() }
}

fn pool(user: &str, application: &str) -> Whose {
    Whose {
        application: Some(application.to_owned()),
        address: Some(String::new()),
        ..whose(Level::Pool, "shop", user)
    }
}

/// A group of so many sessions, of which some are active.
fn group(whose: Whose, open: u32, active: u32) -> Group {
    let mut group = Group::of(whose);
    (group.samples, group.there) = (3_600, 3_600);
    group.open = steady(open);
    group.busy = steady(active);
    group.busy_percentiles = [Some(f64::from(active)); 5];
    group.active = steady(active);
    group.idle = steady(open - active);
    group.in_transaction = steady(0);
    group.on_cpu = Some(f64::from(active));
    group.on_lock = Some(0.0);
    group.on_io = Some(0.0);
    group.on_client = Some(0.0);
    group
}

fn role(name: &str, limit: Option<u32>) -> Role {
    Role { name: name.to_owned(), limit, superuser: false, reserve: false }
}

fn limits() -> Limits {
    Limits {
        server: Some(Server { most: 100, superusers: 3, reserved: 5 }),
        databases: vec![("shop".to_owned(), 60)],
        roles: vec![
            role("app", Some(20)),
            role("other", None),
            Role { superuser: true, ..role("postgres", Some(1)) },
            Role { reserve: true, ..role("ops", None) },
        ],
        declared: Vec::new(),
        pooler: Vec::new(),
    }
}

/// All levels of one pool of a user.
fn all(user: &str, open: u32, active: u32) -> Vec<Group> {
    vec![
        group(Whose::server(), open, active),
        group(whose(Level::Database, "shop", ""), open, active),
        group(whose(Level::User, "", user), open, active),
        group(pool(user, "web"), open, active),
    ]
}

#[test]
fn the_limit_with_least_room_binds() {
    let mut groups = all("app", 18, 2);
    limits().judge(&mut groups);
    let kinds: Vec<Vec<(Kind, u32)>> = groups
        .iter()
        .map(|group| group.limits.iter().map(|limit| (limit.kind, limit.most)).collect())
        .collect();
    assert_eq!(
        kinds,
        [
            vec![(Kind::Server, 92)],
            vec![(Kind::Database, 60), (Kind::Server, 92)],
            vec![(Kind::Role, 20), (Kind::Server, 92)],
            vec![(Kind::Role, 20), (Kind::Database, 60), (Kind::Server, 92)],
        ]
    );
    let limit = groups[3].binding().unwrap();
    assert_eq!((limit.used, limit.headroom(), limit.peak), (18.0, 2.0, Some(18)));
    assert_eq!(Nearness::of(limit, &thresholds()), Nearness::Warning, "18 of 20 is not over 90 %");
    let mut groups = all("app", 19, 2);
    limits().judge(&mut groups);
    assert_eq!(Nearness::of(groups[3].binding().unwrap(), &thresholds()), Nearness::Critical);
}

#[test]
fn of_limits_that_leave_as_much_the_narrowest_binds() {
    let mut groups = all("app", 92, 2);
    let tight = Limits {
        databases: vec![("shop".to_owned(), 92)],
        roles: vec![role("app", Some(92))],
        ..limits()
    };
    tight.judge(&mut groups);
    let binding = groups.iter().map(|group| group.binding().unwrap().kind);
    let binding: Vec<Kind> = binding.collect();
    assert_eq!(binding, [Kind::Server, Kind::Database, Kind::Role, Kind::Role]);
}

#[test]
fn superusers_and_those_with_a_reserve_have_more() {
    let limits = limits();
    let usable = |name: &str| limits.server.unwrap().usable(limits.role(name));
    assert_eq!(["app", "ops", "postgres", "nobody"].map(usable), [92, 97, 100, 92]);
    let mut groups = all("postgres", 18, 2);
    limits.judge(&mut groups);
    // Neither the limit of the role nor that of the database holds a superuser.
    assert_eq!(groups[3].limits.len(), 1);
}

#[test]
fn a_pool_that_idles_is_not_full_however_many_are_open() {
    let mut groups = all("other", 50, 4);
    let mut limits = limits();
    let declared = |name: &str, size: u32| Declared {
        name: name.to_owned(),
        size,
        user: Some("other".to_owned()),
        ..Declared::default()
    };
    limits.declared = vec![
        declared("wide", 500),
        Declared { application: Some("web".to_owned()), ..declared("web", 50) },
    ];
    limits.judge(&mut groups);
    let size = groups[3].limits.iter().find(|limit| limit.kind == Kind::Declared).unwrap();
    assert_eq!((size.most, size.used), (50, 4.0), "the pool that says most is meant");
    // The database has room for ten more, the pool for 46.
    assert_eq!(groups[3].binding().unwrap().kind, Kind::Database);
    assert!(groups[2].limits.iter().all(|limit| limit.kind != Kind::Declared));
}

#[test]
fn a_size_is_inferred_where_a_pool_stands_still() {
    let web = pool("app", "web");
    let open = steady(20);
    assert_eq!(plateau(&web, &open, 600, 1_000), Some(20));
    assert_eq!(plateau(&web, &open, 300, 1_000), None, "a peak is no plateau");
    assert_eq!(plateau(&web, &open, 60, 60), None, "a minute shows nothing");
    assert_eq!(plateau(&web, &steady(2), 1_000, 1_000), None);
    assert_eq!(plateau(&whose(Level::User, "", "app"), &open, 600, 1_000), None);
    let mut groups = all("other", 10, 10);
    groups[3].inferred = Some(10);
    limits().judge(&mut groups);
    let last = groups[3].limits.last().unwrap();
    assert_eq!((last.kind, Nearness::of(last, &thresholds())), (Kind::Inferred, Nearness::Ok));
}

/// Points a minute apart.
fn minutes(n: i64, value: impl Fn(i64) -> f64) -> Vec<Point> {
    (0..n).map(|i| (NOON + i * MINUTE_US, value(i))).collect()
}

/// The same hours of so many days before.
fn days(n: i64, value: impl Fn(i64) -> f64) -> Vec<Point> {
    let hour = |h: i64| (NOON - n * DAY_US + h * HOUR_US, value((12 + h) % 24));
    (0..n * 24).map(hour).collect()
}

#[test]
fn a_leak_has_a_date() {
    let leak = minutes(31, |i| 20.0 + i as f64);
    let found = exhaustion(&leak, &Season::default(), 92.0, &thresholds()).unwrap();
    assert!((found.per_hour - 60.0).abs() < 1e-6);
    assert!((found.hours - 42.0 / 60.0).abs() < 0.01, "{found:?}");
    // A wild sample in five changes nothing.
    let wild = minutes(31, |i| if i % 5 == 2 { 90.0 } else { 20.0 + i as f64 });
    let found = exhaustion(&wild, &Season::default(), 92.0, &thresholds());
    assert!(found.is_none_or(|found| (found.per_hour - 60.0).abs() < 10.0), "{found:?}");
}

#[test]
fn what_does_not_grow_has_none() {
    let none = |points: &[Point]| {
        assert_eq!(exhaustion(points, &Season::default(), 92.0, &thresholds()), None);
    };
    none(&minutes(60, |_| 91.0));
    none(&minutes(60, |i| 60.0 - i as f64));
    none(&minutes(60, |i| 50.0 + [0.0, 3.0, 1.0, 4.0, 2.0][i as usize % 5]));
    none(&minutes(10, |i| 20.0 + i as f64));
    // It grew, and then stood still.
    none(&minutes(60, |i| 20.0 + i.min(30) as f64));
    // The same, and one came after it.
    none(&minutes(60, |i| 20.0 + i.min(36) as f64 + f64::from(u8::from(i > 51))));
    // Too slow to be followed so far: two hours of one hour's growth.
    none(&minutes(60, |i| 20.0 + i as f64 / 10.0));
    none(&[]);
}

#[test]
fn what_every_day_has_is_no_growth() {
    // Each day rises from 20 at noon by ten an hour until 16:00, and falls.
    let usual = |hour: i64| match hour {
        12..=16 => 20.0 + 10.0 * (hour - 12) as f64,
        _ => 15.0,
    };
    let season = Season::of(&days(7, usual), &thresholds());
    // The middle of an hour has what is said of it.
    let today = minutes(60, |i| 20.0 + 10.0 * (i - 30) as f64 / 60.0);
    assert!(trend(&today).unwrap().tau > 0.9);
    assert_eq!(exhaustion(&today, &season, 92.0, &thresholds()), None);
    // With a limit that the afternoon reaches every day, the hour is known.
    let found = exhaustion(&today, &season, 55.0, &thresholds()).unwrap();
    assert!(found.seasonal && (found.hours - 3.0).abs() < 0.2, "{found:?}");
    // Two days are not enough to know that.
    let season = Season::of(&days(2, usual), &thresholds());
    assert!(!exhaustion(&today, &season, 25.0, &thresholds()).unwrap().seasonal);
}

#[test]
fn a_leak_is_seen_through_the_day() {
    let season = Season::of(&days(7, |_| 20.0), &thresholds());
    let leak = minutes(60, |i| 20.0 + i as f64 / 2.0);
    let found = exhaustion(&leak, &season, 92.0, &thresholds()).unwrap();
    assert!(found.seasonal && (found.hours - 1.41).abs() < 0.1, "{found:?}");
}

fn load() -> Load {
    Load {
        open: 20.0,
        idle: 16.0,
        active: 4.0,
        cpu: 2.0,
        cpu_of_all: 2.0,
        active_of_all: 4.0,
        cpus: Some(8.0),
        ..Load::default()
    }
}

fn cause(load: &Load) -> Cause {
    verdict(load, &thresholds()).cause
}

/// So many clients wait at a pooler for connections that others have.
fn queue(clients: f64) -> Behind {
    Behind { waiting: Some(clients), ..Behind::default() }
}

fn full(most: u32) -> Option<Limit> {
    Some(Limit { kind: Kind::Role, most, used: f64::from(most), peak: Some(most), idle: None })
}

#[test]
fn each_cause_is_told_by_what_shows_it() {
    assert_eq!(cause(&load()), Cause::Nothing);
    assert_eq!(cause(&Load::default()), Cause::Nothing);
    let busy = Load { idle: 2.0, active: 18.0, ..load() };
    assert_eq!(
        cause(&Load { cpu: 16.0, cpu_of_all: 16.0, active_of_all: 18.0, ..busy.clone() }),
        Cause::Cpu
    );
    let crowd = Load { cpu: 60.0, cpu_of_all: 60.0, active_of_all: 64.0, ..busy.clone() };
    assert_eq!(cause(&crowd), Cause::PoolTooLarge);
    assert_eq!(cause(&Load { io: 12.0, ..busy.clone() }), Cause::Io);
    let client = Load { idle: 2.0, client: 14.0, active: 4.0, ..load() };
    assert_eq!(cause(&client), Cause::Client);
    // COPY FROM STDIN whose programs send nothing.
    let stalled = Load { stalled: 3.8, active: 3.8, cpu: 0.0, idle: 0.0, open: 3.8, ..load() };
    let said = verdict(&Load { refused: Some(7), ..stalled.clone() }, &thresholds());
    assert_eq!(said.cause, Cause::Client);
    assert_eq!(said.detail, "3.8 sessions wait for their client inside a statement, 0.0 execute");
    // Nobody else wants a connection: one that dumps a table to a slow disk keeps nobody waiting.
    assert_eq!(cause(&stalled), Cause::Nothing);
    let mut slow = group(pool("app", "web"), 5, 5);
    (slow.on_cpu, slow.on_client, slow.in_transaction) = (Some(0.0), Some(6.0), steady(2));
    let of = Load::of(&slow, &group(Whose::server(), 9, 5), None).unwrap();
    assert_eq!(
        (of.client, of.stalled, of.active),
        (2.0, 4.0, 5.0),
        "who idles waits for the client too"
    );
    let locked = Load { lock: 12.0, ..busy.clone() };
    assert_eq!(cause(&locked), Cause::Lock);
    let said = verdict(&Load { head: Some(head(77, 12)), ..locked }, &thresholds());
    assert_eq!(
        said.detail,
        "12.0 sessions wait for locks; at the head is process 77 of batch (idle in transaction, 90 s old, after \
         statement 5), 12 behind it since 2026-11-21 12:00:00 UTC"
    );
    let evidence = |metric: &str| said.evidence.iter().any(|e| e.metric == metric);
    for metric in ["pid", "application", "user", "state", "statement_id", "since"] {
        assert!(evidence(&format!("lock_head_{metric}")), "{metric}");
    }
}

fn head(pid: i64, behind: i64) -> Head {
    Head {
        pid,
        gid: None,
        application: Some("batch".to_owned()),
        user: Some("ops".to_owned()),
        state: "idle in transaction".to_owned(),
        age_s: Some(90.0),
        statement_id: Some(5),
        since_us: Some(NOON),
        behind,
    }
}

/// A session of a user that waited for some seconds, behind a process.
fn blocked(user: &str, process_id: i64, seconds: (i64, i64), head_pid: i64) -> Blocked {
    Blocked {
        database: "shop".to_owned(),
        user: user.to_owned(),
        application: "web".to_owned(),
        process_id,
        began_us: NOON + seconds.0 * 1_000_000,
        seen_us: NOON + seconds.1 * 1_000_000,
        head: Head { state: format!("seen {}", seconds.1), ..head(head_pid, 1) },
    }
}

#[test]
fn the_head_is_the_one_for_which_most_was_waited() {
    let all = [
        blocked("app", 1, (0, 50), 77),
        // The same wait, with another session in its way.
        blocked("app", 1, (0, 50), 77),
        blocked("app", 2, (10, 40), 77),
        blocked("app", 3, (0, 60), 88),
        blocked("other", 4, (0, 999), 99),
    ];
    let span = (NOON, NOON + MINUTE_US);
    let of = |whose: &Whose, span| Head::of(&all, whose, span);
    let app = of(&pool("app", "web"), span).unwrap();
    assert_eq!((app.pid, app.behind, app.since_us), (77, 2, Some(NOON)));
    assert_eq!((app.state.as_str(), app.statement_id), ("seen 50", Some(5)));
    assert_eq!(of(&pool("app", "cron"), span), None);
    assert_eq!(of(&whose(Level::User, "", "other"), span).unwrap().pid, 99);
    // What was waited outside of the window does not count.
    assert_eq!(of(&Whose::server(), span).unwrap().pid, 77, "80 s in all, 60 s the others");
    let later = (NOON + 55 * 1_000_000, NOON + MINUTE_US);
    assert_eq!(of(&pool("app", "web"), later).unwrap().pid, 88);
    assert_eq!(of(&Whose::server(), (NOON - HOUR_US, NOON - MINUTE_US)), None);
    let others = Whose { other: true, ..whose(Level::User, "", "") };
    assert_eq!(of(&others, span), None, "who the others are is not known");
    let prepared = Head { pid: 0, state: String::new(), age_s: None, ..head(0, 1) };
    let prepared = Head { statement_id: None, since_us: None, ..prepared };
    assert_eq!(prepared.words(), "a prepared transaction, 1 behind it");
    let named = |gid: &str| Head { gid: Some(gid.to_owned()), ..prepared.clone() };
    assert_eq!(named("order-17").words(), "the prepared transaction order-17, 1 behind it");
    // Two of them are two heads.
    let behind = |pid: i64, seconds: i64, gid: &str| Blocked {
        head: named(gid),
        ..blocked("web", pid, (0, seconds), 0)
    };
    let waits = [behind(1, 30, "a"), behind(2, 40, "b"), behind(3, 20, "a")];
    let found = Head::of(&waits, &Whose::server(), span).unwrap();
    assert_eq!((found.gid.as_deref(), found.behind), (Some("a"), 2));
}

#[test]
fn a_head_is_nobody_s_where_waits_of_several_addresses_may_be_behind_it() {
    let from = |address: &str, waits: f64| {
        let whose = Whose { address: Some(address.to_owned()), ..pool("app", "web") };
        Group { on_lock: Some(waits), active: steady(4), ..group(whose, 5, 4) }
    };
    let said = |waits: f64| {
        let groups = vec![group(Whose::server(), 9, 8), from("a", 4.0), from("b", waits)];
        let blocked = vec![blocked("app", 1, (0, 50), 77)];
        let look = Look { groups, blocked, span_us: (NOON, NOON + MINUTE_US), ..Look::default() };
        look.verdict(&look.groups[1], &thresholds()).unwrap().detail
    };
    assert!(said(0.0).contains("at the head is process 77"), "{}", said(0.0));
    assert_eq!(said(2.0), "4.0 sessions wait for locks");
}

#[test]
fn a_full_pool_is_too_small_or_too_large_by_what_it_does() {
    let working = Load { idle: 1.0, active: 4.0, open: 5.0, limit: full(5), ..load() };
    assert_eq!(cause(&working), Cause::PoolTooSmall);
    assert_eq!(
        cause(&Load { limit: None, behind: queue(7.0), ..working.clone() }),
        Cause::PoolTooSmall
    );
    assert_eq!(
        cause(&Load { limit: None, refused: Some(3), ..working.clone() }),
        Cause::PoolTooSmall
    );
    assert_eq!(cause(&Load { limit: None, ..working.clone() }), Cause::Nothing);
    assert_eq!(cause(&Load { idle: 4.0, active: 1.0, ..working.clone() }), Cause::PoolTooLarge);
    // A larger pool would wait for the same processors.
    let starved = Load { cpu: 10.0, cpu_of_all: 10.0, active: 4.0, ..working };
    assert_eq!(cause(&starved), Cause::Cpu);
}

#[test]
fn storms_stand_out() {
    let mut calm = vec![2_u64; 30];
    assert_eq!(storms(&calm, 10), (0, 2));
    calm[7] = 40;
    calm[20] = 45;
    assert_eq!(storms(&calm, 10), (2, 45));
    // One across the border of two steps, and one that lasts.
    calm[8] = 25;
    assert_eq!(storms(&calm, 10), (2, 65));
    calm[9] = 30;
    assert_eq!(storms(&calm, 10), (2, 45));
    assert_eq!(storms(&[100, 0], 10), (0, 100), "two steps say nothing of what is usual");
    let busy: Vec<u64> = (0..60).map(|i| 500 + i % 7).collect();
    assert_eq!(storms(&busy, 10).0, 0);
}

proptest! {
    #[test]
    fn a_line_is_found_through_any_order_of_noise(
        slope in -50.0..50.0_f64,
        noise in proptest::collection::vec(-0.5..0.5_f64, 20..60),
    ) {
        let at = |i: usize| NOON + i as i64 * MINUTE_US;
        let points: Vec<Point> =
            noise.iter().enumerate().map(|(i, n)| (at(i), slope * i as f64 / 60.0 + n)).collect();
        let found = trend(&points).unwrap();
        let hours = (points.len() - 1) as f64 / 60.0;
        // Half of the noise at each end is the worst that a median of slopes can be off by, and then some.
        prop_assert!((found.per_hour - slope).abs() <= 2.0 / hours);
        prop_assert!((-1.0..=1.0).contains(&found.tau));
    }

    #[test]
    fn nothing_is_beyond_reason(open in 0_u32..500, active in 0_u32..500, cpus in 1_u32..64) {
        let active = active.min(open);
        let web = group(pool("app", "web"), open, active);
        let found = advice::advise(&web, None, None, Some(f64::from(cpus)), &thresholds()).unwrap();
        let most = f64::from(active) + f64::from(active).sqrt() + 1.0;
        prop_assert!(found.size >= 1 && f64::from(found.size) <= most);
        prop_assert!(found.frees <= open);
    }

    #[test]
    fn chance_makes_no_pool_larger(load in 1_u32..200) {
        // Clients that come on their own (Poisson), at a load that stays as it is.
        let mut web = group(pool("app", "web"), 400, load);
        let quantile = |part: f64| {
            let (mut number, mut term) = (0_u32, (-f64::from(load)).exp());
            let mut sum = term;
            while sum < part {
                number += 1;
                term *= f64::from(load) / f64::from(number);
                sum += term;
            }
            number
        };
        web.busy_percentiles = advice::PERCENTILES.map(|(part, _)| Some(f64::from(quantile(part))));
        web.busy.p99 = web.busy_percentiles[4];
        let found = advice::advise(&web, None, None, None, &thresholds()).unwrap();
        // A twentieth and one session: numbers of sessions are whole.
        prop_assert!((found.load - f64::from(load)).abs() <= f64::from(load) / 20.0 + 1.0, "{found:?}");
    }

    #[test]
    fn a_height_that_lasts_is_no_chance(load in 4_u32..200, lasts in 0.02..1.0_f64) {
        // Nothing else, but for a part of the time as many as that.
        let mut web = group(pool("app", "web"), 400, 0);
        let at = |part: f64| if part > 1.0 - lasts { f64::from(load) } else { 0.0 };
        web.busy_percentiles = advice::PERCENTILES.map(|(part, _)| Some(at(part)));
        (web.busy.p99, web.busy.average) = (Some(at(0.99)), Some(f64::from(load) * lasts));
        let found = advice::advise(&web, None, None, None, &thresholds()).unwrap();
        let part = if lasts > 0.25 { 0.6 } else { 0.25 };
        let least = if lasts > 0.5 { f64::from(load) - 0.5 } else { f64::from(load) * part };
        prop_assert!(found.load >= least - 1e-9 && found.load <= f64::from(load), "{found:?}");
        prop_assert!(lasts < 0.1 || f64::from(found.size) >= f64::from(load) * 0.7, "{found:?}");
    }
}
