use super::*;
use crate::detect::samples::{found, healthy, silent, the};
use crate::family::POOLER;

fn seen(values: &[(&str, u64)]) -> Seen {
    let mut row = vec![Some(0); POOLER.columns.len()];
    for (name, value) in values {
        row[POOLER.position(name).unwrap()] = Some(*value);
    }
    let mut seen = Seen::default();
    seen.add(&row);
    seen
}

fn moment(waiting: u64, longest_ms: u64) -> Seen {
    seen(&[
        ("samples", 1),
        ("clients_waiting", waiting),
        ("max_wait_us", longest_ms * 1000),
        ("servers_active", 10),
        ("pool_size", 10),
    ])
}

/// One pooler with these minutes of one pool and of its database.
fn facts(pool: &[Seen], database: &[Seen], answers: &[bool]) -> Facts {
    let rows = |all: &[Seen]| (1..).map(|n| n * 60_000_000).zip(all.iter().cloned()).collect();
    let of = |user: Option<&str>, rows: Vec<(i64, Seen)>| Pool {
        database: "app".into(),
        user: user.map(str::to_owned),
        is_stopped: false,
        rows,
    };
    let (pool, database) = (of(Some("alice"), rows(pool)), of(None, rows(database)));
    let pooler = Pooler {
        name: "front".into(),
        answers: answers.to_vec(),
        pools: vec![pool, database],
        ..Pooler::default()
    };
    Facts { poolers: Some(vec![pooler]), ..healthy() }
}

#[test]
fn clients_that_keep_waiting_are_told() {
    let finding = the(&DETECTOR, &facts(&[moment(3, 900), moment(5, 1200)], &[], &[true]), WAITING);
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(finding.object, "front database app, user alice");
    assert!(finding.title.starts_with("4 clients on average wait"), "{}", finding.title);
    assert!(finding.cause.as_ref().unwrap().starts_with("10 of at most 10 server connections"));
    let long = the(&DETECTOR, &facts(&[moment(1, 16_000), moment(1, 1)], &[], &[true]), WAITING);
    assert_eq!(long.severity, Severity::Critical);
}

/// Clients wait for seconds while so many of twenty connections are in use.
fn in_use(servers: u64) -> Facts {
    let one = seen(&[
        ("samples", 1),
        ("clients_waiting", 4),
        ("max_wait_us", 31_000_000),
        ("servers_active", servers),
        ("pool_size", 20),
    ]);
    facts(&[one.clone(), one], &[], &[true])
}

#[test]
fn a_pool_that_is_not_full_is_not_what_clients_wait_for() {
    let full = the(&DETECTOR, &in_use(20), WAITING);
    assert!(full.remedy.contains("raise pool_size"), "{}", full.remedy);
    let other = the(&DETECTOR, &in_use(2), WAITING);
    assert!(other.remedy.contains("max_user_connections"), "{}", other.remedy);
    assert!(!other.remedy.contains("raise pool_size"), "{}", other.remedy);
    let cause = other.cause.unwrap();
    assert!(cause.starts_with("2 of at most 20 server connections"), "{cause}");
    assert!(
        cause.contains("another limit") && cause.ends_with("longest wait was 31 s."),
        "{cause}"
    );
    let none = the(&DETECTOR, &in_use(0), WAITING);
    assert!(none.cause.unwrap().starts_with("No server connection of the pool was in use"));
    assert!(!none.remedy.contains("pool_size"), "{}", none.remedy);
    let mut stopped = in_use(0);
    stopped.poolers.as_mut().unwrap()[0].pools[0].is_stopped = true;
    let finding = the(&DETECTOR, &stopped, WAITING);
    assert!(finding.cause.unwrap().starts_with("The database is paused or disabled"));
    assert!(finding.remedy.contains("RESUME app"), "{}", finding.remedy);
}

#[test]
fn a_limit_that_pools_share_is_named() {
    let mut one = in_use(8);
    let pooler = &mut one.poolers.as_mut().unwrap()[0];
    let other = Pool { user: Some("bob".to_owned()), ..pooler.pools[0].clone() };
    pooler.pools.push(other);
    pooler.shared.databases.insert("app".to_owned(), 16);
    pooler.shared.users.insert("alice".to_owned(), 30);
    let finding = the_first(&one);
    let cause = finding.cause.as_deref().unwrap();
    assert!(
        cause.starts_with("16 of at most 16 server connections that max_db_connections"),
        "{cause}"
    );
    assert!(finding.remedy.starts_with("Raise max_db_connections"), "{}", finding.remedy);
    let evidence = |metric: &str| finding.evidence.iter().any(|e| e.metric == metric);
    assert!(evidence("pooler_limit") && evidence("pooler_limit_used"));
    let pooler = &mut one.poolers.as_mut().unwrap()[0];
    pooler.shared.databases.clear();
    let finding = the_first(&one);
    assert!(finding.cause.as_deref().unwrap().contains("another limit"), "{:?}", finding.cause);
}

/// What is found of alice.
fn the_first(facts: &Facts) -> Finding {
    let all = found(&DETECTOR, facts);
    all.into_iter().find(|finding| finding.object.contains("alice")).unwrap()
}

#[test]
fn a_moment_is_not_enough() {
    for pool in
        [vec![moment(9, 1)], vec![moment(9, 1), moment(0, 0)], vec![moment(0, 0), moment(9, 1)]]
    {
        silent(&DETECTOR, &facts(&pool, &[], &[true]), WAITING);
    }
    let mut passed = vec![moment(9, 1); 3];
    passed.extend(vec![moment(0, 0); 3]);
    silent(&DETECTOR, &facts(&passed, &[], &[true]), WAITING);
}

#[test]
fn a_queue_is_told_as_it_is_since_it_began() {
    let waited = |clients: u64| {
        seen(&[
            ("watched_us", 60_000_000),
            ("wait_watched_us", 60_000_000),
            ("wait_us", clients * 60_000_000),
        ])
    };
    let calm = [moment(0, 0), moment(0, 0)];
    // At its first visit nothing is said: neither by the pool nor of the average of its database.
    let first: Vec<Seen> = calm.iter().cloned().chain([moment(6, 9)]).collect();
    let database = [waited(0), waited(0), waited(4)];
    silent(&DETECTOR, &facts(&first, &database, &[true]), WAITING);
    let second: Vec<Seen> = first.iter().cloned().chain([moment(6, 9)]).collect();
    let database = [waited(0), waited(0), waited(4), waited(6)];
    let finding = the(&DETECTOR, &facts(&second, &database, &[true]), WAITING);
    assert!(finding.title.starts_with("6 clients on average wait"), "{}", finding.title);
    assert_eq!(finding.object, "front database app, user alice");
    let now = finding.evidence.iter().find(|e| e.metric == "clients_waiting_now").unwrap();
    assert_eq!(now.value, 6_u64.into());
    let gone: Vec<Seen> = second.iter().cloned().chain([moment(0, 0)]).collect();
    silent(&DETECTOR, &facts(&gone, &[], &[true]), WAITING);
    // Visits that are far apart are two all the same.
    let mut rare = facts(&second, &[], &[true]);
    let rows = &mut rare.poolers.as_mut().unwrap()[0].pools[0].rows;
    rows.iter_mut().for_each(|row| row.0 *= 10);
    assert!(the(&DETECTOR, &rare, WAITING).title.starts_with("6 clients"));
    // A queue of an hour is told as it was in the last minutes.
    let long: Vec<Seen> =
        (0..60).map(|nth| moment(if nth < 55 { 40 } else { 2 }, 20_000)).collect();
    let finding = the(&DETECTOR, &facts(&long, &[], &[true]), WAITING);
    assert!(finding.title.starts_with("2 clients"), "{}", finding.title);
    assert_eq!(finding.severity, Severity::Critical);
    // Of a database alone: since it began, in two intervals or more.
    let finding = the(&DETECTOR, &facts(&[], &database, &[true]), WAITING);
    assert!(finding.title.starts_with("5 clients on average"), "{}", finding.title);
}

#[test]
fn time_waited_is_exact_where_moments_miss_it() {
    let waited = |us: u64| {
        seen(&[("watched_us", 60_000_000), ("wait_watched_us", 60_000_000), ("wait_us", us)])
    };
    let minutes = vec![waited(150_000_000); 3];
    let finding = the(&DETECTOR, &facts(&[], &minutes, &[true]), WAITING);
    assert_eq!(finding.object, "front database app");
    silent(&DETECTOR, &facts(&[], &vec![waited(30_000_000); 3], &[true]), WAITING);
    // A long wait that ended in this minute.
    silent(&DETECTOR, &facts(&[], &[waited(150_000_000)], &[true]), WAITING);
    // It is over: the last minute saw nobody wait.
    let over = [waited(300_000_000), waited(300_000_000), waited(0)];
    silent(&DETECTOR, &facts(&[moment(0, 0), moment(0, 0)], &over, &[true]), WAITING);
    silent(&DETECTOR, &facts(&[], &over, &[true]), WAITING);
    // Waits that go on are counted when they end.
    let long = facts(&[moment(0, 0), moment(9, 1)], &over, &[true]);
    assert_eq!(the(&DETECTOR, &long, WAITING).object, "front database app");
    // What a pool says need not be said again of its database.
    let both = facts(&[moment(3, 1), moment(3, 1)], &minutes, &[true]);
    assert_eq!(found(&DETECTOR, &both).len(), 1);
}

#[test]
fn one_that_does_not_answer_is_told_until_it_does() {
    let one = |answers: &[bool]| found(&DETECTOR, &facts(&[], &[], answers)).len();
    assert_eq!((one(&[]), one(&[true, false]), one(&[false, false, true])), (0, 0, 0));
    let finding = the(&DETECTOR, &facts(&[], &[], &[true, false, false]), UNREACHABLE);
    assert_eq!((finding.severity, finding.object.as_str()), (Severity::Warning, "front"));
}

#[test]
fn other_databases_cannot_say() {
    let mut judgement = Judgement::default();
    detect(&healthy(), &Thresholds::default(), &mut judgement);
    assert_eq!(judgement.unjudged, DETECTOR.kinds);
}
