use core::net::IpAddr;

use super::*;
use crate::family::POOLER;

fn options(given: &[(&str, &str)]) -> Vec<(String, String)> {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Answers as psql prints them: names, then rows, columns parted by bars; `~` is NULL.
fn table(text: &str) -> Table {
    let fields =
        |line: &str| -> Vec<String> { line.split('|').map(|f| f.trim().to_owned()).collect() };
    let mut lines = text.trim().lines();
    let columns = fields(lines.next().unwrap());
    let rows =
        lines.map(|line| fields(line).into_iter().map(|f| (f != "~").then_some(f)).collect());
    Table { columns, rows: rows.collect() }
}

#[test]
fn a_target_is_told_by_its_options() {
    let target = |server: &[(&str, &str)], mapping: &[(&str, &str)]| {
        Target::of("one", &options(server), &options(mapping))
    };
    let found = target(&[], &[("user", "stats"), ("password", "s3cret")]).unwrap();
    let local: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    assert_eq!((&found.place, found.database.as_str()), (&Place::Tcp(local, 6432), "pgbouncer"));
    assert!(!format!("{found:?}").contains("s3cret"));
    let found =
        target(&[("host", "/run/x"), ("port", "7"), ("dbname", "console")], &[("user", "u")]);
    let found = found.unwrap();
    assert_eq!(found.place, Place::Unix("/run/x/.s.PGSQL.7".into()));
    assert_eq!((found.database.as_str(), found.password), ("console", None));
    assert!(target(&[("host", "2001:db8::5")], &[("user", "u")]).is_ok());
    for (server, mapping) in [
        (vec![("host", "db.example.org")], vec![("user", "u")]),
        (vec![("host", "")], vec![("user", "u")]),
        (vec![("port", "0")], vec![("user", "u")]),
        (vec![("port", "65536")], vec![("user", "u")]),
        (vec![("password", "s3cret")], vec![("user", "u")]),
        (vec![("user", "u")], vec![]),
        (vec![], vec![("user", "u"), ("host", "1.2.3.4")]),
        (vec![], vec![("password", "s3cret")]),
        (vec![], vec![("user", "")]),
    ] {
        let refused = target(&server, &mapping).unwrap_err();
        assert!(!format!("{refused:?}").contains("s3cret"), "{refused:?}");
        assert!(!refused.hint.is_empty());
    }
}

const POOLS_1_18: &str = "
database  | user  | cl_active | cl_waiting | cl_active_cancel_req | cl_waiting_cancel_req | sv_active | sv_active_cancel | sv_being_canceled | sv_idle | sv_used | sv_tested | sv_login | maxwait | maxwait_us | pool_mode
app       | alice | 12 | 3 | 0 | 0 | 5 | 1 | 0 | 2 | 1 | 1 | 1 | 2 | 500000 | transaction
pgbouncer | stats | 1 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | statement";
const POOLS_1_7: &str = "
database | user | cl_active | cl_waiting | sv_active | sv_idle | sv_used | sv_tested | sv_login | maxwait
app | alice | 12 | 3 | 5 | 2 | 1 | 1 | 1 | 2";
const POOLS_1_24: &str = "
database | user | cl_active | cl_waiting | cl_active_cancel_req | cl_waiting_cancel_req | sv_active | sv_active_cancel | sv_being_canceled | sv_idle | sv_used | sv_tested | sv_login | maxwait | maxwait_us | pool_mode | load_balance_hosts | something_new
app | alice | 12 | 3 | 0 | 0 | 5 | 1 | 0 | 2 | 1 | 1 | 1 | 2 | 500000 | transaction | ~ | 7";
const STATS_1_18: &str = "
database | total_xact_count | total_query_count | total_received | total_sent | total_xact_time | total_query_time | total_wait_time | avg_xact_count
app | 1000 | 4000 | 50000 | 90000 | 7000000 | 6000000 | 300000 | 3
pgbouncer | 5 | 5 | 0 | 0 | 0 | 0 | 0 | 0";
const STATS_1_7: &str = "
database | total_requests | total_received | total_sent | total_query_time | avg_req
app | 1000 | 50000 | 90000 | 6000000 | 4";
const DATABASES: &str = "
name | host | port | database | force_user | pool_size | min_pool_size | reserve_pool | pool_mode | max_connections | current_connections
app | /tmp | 5432 | app | ~ | 20 | 0 | 5 | ~ | 11 | 9
pgbouncer | ~ | 6432 | pgbouncer | pgbouncer | 2 | 0 | 0 | statement | 0 | 0";

#[test]
fn columns_are_found_by_name_in_every_version() {
    let of = |pools: &str, stats: &str| reading(&table(pools), &table(stats), &table(DATABASES));
    let newer = of(POOLS_1_18, STATS_1_18);
    assert_eq!(newer.pools.len(), 1, "the console's own pool waits for nothing");
    let pool = &newer.pools[0];
    assert_eq!((pool.clients_active, pool.clients_waiting), (Some(12), Some(3)));
    assert_eq!(
        (pool.servers_active, pool.servers_idle, pool.servers),
        (Some(5), Some(3), Some(11))
    );
    assert_eq!((pool.max_wait_us, pool.mode.as_deref()), (Some(2_500_000), Some("transaction")));
    assert_eq!(
        newer.pool_size("app"),
        Some(25),
        "with its reserve; the database's limit is another"
    );
    assert_eq!(newer.stats.keys().collect::<Vec<_>>(), ["app"]);
    assert_eq!(of(POOLS_1_24, STATS_1_18), newer);

    let older = of(POOLS_1_7, STATS_1_7);
    let pool = &older.pools[0];
    assert_eq!(
        (pool.servers, pool.max_wait_us, pool.mode.as_ref()),
        (Some(10), Some(2_000_000), None)
    );
    let stats = &older.stats["app"];
    assert_eq!((stats.transactions, stats.queries, stats.wait_us), (Some(1000), None, None));
}

#[test]
fn an_answer_of_something_else_says_nothing() {
    let strange = Table { columns: vec!["x".into()], rows: vec![vec![Some("1".into())], vec![]] };
    let [pools, stats, databases] = [POOLS_1_18, STATS_1_18, DATABASES].map(table);
    for (answers, told) in [
        ([&strange, &stats, &databases], "SHOW POOLS has no column database"),
        ([&pools, &strange, &databases], "SHOW STATS has no column database"),
        ([&pools, &stats, &strange], "SHOW DATABASES has no column name"),
        ([&Table::default(), &stats, &databases], "SHOW POOLS has no column database"),
    ] {
        let why = Reading::of(answers[0], answers[1], answers[2]).unwrap_err();
        assert!(why.ends_with(told), "{why}");
    }
    let words = table("database | user | cl_waiting\n app | alice | many");
    assert!(Reading::of(&words, &stats, &databases).is_err());
    // A pooler without clients is none that fails.
    let none = Table { rows: Vec::new(), ..pools };
    assert_eq!(Reading::of(&none, &stats, &databases).unwrap().pools, vec![]);
    assert!(clients(&strange).is_err() && servers(&strange).is_err());
}

/// Of answers that are some.
fn reading(pools: &Table, stats: &Table, databases: &Table) -> Reading {
    Reading::of(pools, stats, databases).unwrap()
}

#[test]
fn a_server_says_where_the_console_is() {
    let doubt = check_server(&options(&[("port", "6432")])).unwrap().unwrap();
    assert_eq!(doubt.problem, "the option \"host\" is missing: localhost will be asked");
    assert!(doubt.hint.contains("localhost"), "{}", doubt.hint);
    assert_eq!(check_server(&options(&[("host", "localhost")])), Ok(None));
    assert!(check_server(&options(&[("port", "0")])).is_err());
    let target = |server: &[(&str, &str)]| {
        Target::of("one", &options(server), &options(&[("user", "stats")])).unwrap()
    };
    let failure = |server: &[(&str, &str)]| target(server).failure("refused".to_owned());
    assert_eq!(failure(&[("host", "localhost")]), "refused");
    let assumed = "refused (the option \"host\" is missing, so localhost was asked)";
    assert_eq!(failure(&[("port", "6432")]), assumed);
}

#[test]
fn clients_and_their_servers_are_linked() {
    let clients = clients(&table(
        "type | user | database | state | addr | port | local_addr | local_port | connect_time | request_time | wait | wait_us | close_needed | ptr | link | remote_pid | tls | application_name
         C | alice | app | active | 10.0.0.7 | 40123 | 10.0.0.1 | 6432 | t | t | 1 | 250000 | 0 | 0x1 | 0x9 | 0 |  | web
         C | alice | app | waiting | 10.0.0.7 | 40124 | 10.0.0.1 | 6432 | t | t | 2 | 500000 | 0 | 0x3 |  | 0 |  | web
         C | stats | pgbouncer | active | unix | 1 | unix | 6432 | t | t | 0 | 0 | 0 | 0x2 |  | 0 |  | pg_perfmon",
    ))
    .unwrap();
    assert_eq!(clients.len(), 2);
    assert_eq!(clients[0].link.as_deref(), Some("0x9"));
    let waited: Vec<Option<u64>> = clients.iter().map(|client| client.wait_us).collect();
    assert_eq!(waited, [None, Some(2_500_000)], "since its request is no wait");
    assert_eq!((clients[0].address.as_deref(), clients[0].port), (Some("10.0.0.7"), Some(40_123)));
    assert_eq!(clients[0].application.as_deref(), Some("web"));
    let servers = servers(&table(
        "type | user | database | state | addr | port | local_addr | local_port | ptr | link | remote_pid | tls
         S | alice | app | active | 127.0.0.1 | 5432 | 127.0.0.1 | 50001 | 0x9 | 0x1 | 4242 | ",
    ))
    .unwrap();
    assert_eq!((servers[0].pid, servers[0].local_port), (Some(4242), Some(50_001)));
}

#[test]
fn a_pool_has_its_reserve_and_says_when_it_is_stopped() {
    let of = |databases: &str| reading(&table(POOLS_1_18), &table(STATS_1_18), &table(databases));
    let found = of("
name | port | database | force_user | pool_size | reserve_pool | max_connections | paused | disabled
app | 5432 | app | ~ | 2 | 3 | 0 | 0 | 0
wide | 5432 | wide | ~ | 20 | 5 | 22 | 1 | 0
off | 5432 | off | ~ | 20 | -1 | 0 | 0 | 1");
    let sizes = ["app", "wide", "off"].map(|name| found.pool_size(name));
    assert_eq!(sizes, [Some(5), Some(25), Some(20)]);
    assert_eq!(found.stopped().into_iter().collect::<Vec<_>>(), ["off", "wide"]);
    // Newer versions call it otherwise.
    let newer = of("
name | port | database | pool_size | reserve_pool_size | max_connections
app | 5432 | app | 2 | 4 | 0");
    assert_eq!((newer.pool_size("app"), newer.stopped().len()), (Some(6), 0));
    assert_eq!(newer.aliases(5432, &Places::new()).len(), 0);
}

#[test]
fn limits_that_pools_share_are_found_in_every_version() {
    const TWO: &str = "
name | port | database | pool_size | max_connections
app | 5432 | app | 20 | 11
free | 5432 | free | 20 | 0";
    const UNTOLD: &str = "
name | port | database | pool_size
app | 5432 | app | 20";
    const CONFIG: &str = "
key | value | default | changeable
max_db_connections | 7 | 0 | yes
max_user_connections | 40 | 0 | yes";
    let shared = |databases: &str, users: &str, config: &str| {
        let found = reading(&table(POOLS_1_18), &table(STATS_1_18), &table(databases));
        let Shared { databases, users } = found.with_shared(&table(users), &table(config)).shared;
        (databases.into_iter().collect::<Vec<_>>(), users.into_iter().collect::<Vec<_>>())
    };
    let of = |name: &str, most: u32| vec![(name.to_owned(), most)];
    let old = "name | pool_mode\n alice | ~";
    let newer = "name | pool_mode | max_user_connections\n alice | ~ | 3\n bob | ~ | 4";
    let unset = "name | pool_mode | max_user_connections\n alice | ~ | ~";
    let none = "key | value | default\n max_user_connections | 0 | 0";
    assert_eq!(shared(TWO, old, CONFIG), (of("app", 11), of("alice", 40)));
    assert_eq!(shared(TWO, newer, CONFIG), (of("app", 11), of("alice", 3)));
    assert_eq!(shared(UNTOLD, unset, CONFIG), (of("app", 7), of("alice", 40)));
    assert_eq!(shared(UNTOLD, old, none), (Vec::new(), Vec::new()));
    // What speaks like PgBouncer may not know these commands.
    assert_eq!(shared(TWO, "x", "x"), (of("app", 11), Vec::new()));
    // No limit of its own, though others have one.
    let off = "name | max_user_connections\n alice | 0";
    assert_eq!(shared(TWO, off, CONFIG).1, Vec::new());
    // A pooler that fails for a while has the same ones.
    let shared = Shared { users: [("alice".to_owned(), 3)].into(), ..Shared::default() };
    let known = Known { shared: shared.clone(), ..Known::default() };
    assert_eq!(Known::failed(Some(&known), [0, 0], "no".to_owned(), 5).shared, shared);
    let kept = Kept { at: 1, poolers: [("one".to_owned(), known)].into() };
    let named = |user: &str| kept.named(&["one", "app", user].map(str::to_owned));
    assert_eq!((named("alice").user_limit, named("bob").user_limit), (Some(3), None));
}

#[test]
fn who_waits_while_nothing_is_in_use_waits_for_no_place_in_the_pool() {
    let of = |waiting: u64, active: u64| {
        let mut values = vec![Some(0); POOLER.columns.len()];
        for (name, value) in
            [("samples", 1), ("clients_waiting", waiting), ("servers_active", active)]
        {
            values[POOLER.position(name).unwrap()] = Some(value);
        }
        let mut seen = Seen::default();
        seen.add(&values);
        seen
    };
    let waits = |seen: &Seen| seen.values_in_use()[POOLER.position("clients_waiting").unwrap()];
    assert_eq!([of(5, 0), of(5, 2), of(0, 0)].map(|seen| waits(&seen)), [0, 5, 0].map(Some));
}

fn seen(rows: &[Row], wanted: [&str; 3]) -> Option<Seen> {
    let ids: Vec<u32> = (1..).take(rows.len()).collect();
    let made = frame(rows, &ids);
    let at = rows.iter().position(|row| row.names == wanted)?;
    let values: Vec<Option<u64>> =
        made.columns.iter().map(|c| Some(c.as_ref().map_or(0, |c| c[at]))).collect();
    let mut seen = Seen::default();
    seen.add(&values);
    Some(seen)
}

#[test]
fn what_happened_is_the_difference() {
    let before = reading(&table(POOLS_1_18), &table(STATS_1_18), &table(DATABASES));
    let mut now = before.clone();
    let stats = now.stats.get_mut("app").unwrap();
    stats.transactions = Some(1600);
    stats.wait_us = Some(300_000 + 120_000_000);
    stats.transaction_us = Some(7_000_000 + 6_000_000);
    let known = Known { stats: before.stats.clone(), ..Known::default() };
    let made = rows("one", &Asked::Answered(now.clone()), Some(&known), 60_000_000);
    let database = seen(&made, ["one", "app", ""]).unwrap();
    assert_eq!((database.per_s("transactions"), database.waiting()), (Some(10.0), Some(2.0)));
    assert_eq!(database.mean_ms("transaction_us", "transactions"), Some(10.0));
    assert_eq!((database.is_pool(), database.average("clients_waiting")), (false, None));
    let pool = seen(&made, ["one", "app", "alice"]).unwrap();
    assert_eq!((pool.average("clients_waiting"), pool.pool_size()), (Some(3.0), Some(25.0)));
    assert_eq!((pool.peak("max_wait_us"), pool.waiting()), (Some(2_500_000), None));
    let own = seen(&made, ["one", "", ""]).unwrap();
    assert_eq!((own.of("asked"), own.of("answered"), own.of("skipped")), (1, 1, 0));

    // It was restarted: its counters are smaller.
    now.stats.get_mut("app").unwrap().transactions = Some(1);
    let made = rows("one", &Asked::Answered(now), Some(&known), 60_000_000);
    assert_eq!(seen(&made, ["one", "app", ""]), None);
    let failed = rows("one", &Asked::Failed("no".into()), Some(&known), 60_000_000);
    assert_eq!((failed.len(), seen(&failed, ["one", "", ""]).unwrap().of("answered")), (1, 0));
    let skipped = rows("one", &Asked::Skipped, None, 60_000_000);
    assert_eq!(seen(&skipped, ["one", "", ""]).unwrap().of("skipped"), 1);
    assert!(POOLER.columns.len() < 64);
}

#[test]
fn a_database_that_the_server_calls_otherwise_is_known_by_both_names() {
    const NAMED: &str = "
name | host | port | database | force_user | pool_size | max_connections
front_rw | /tmp | 5432 | shop | cart | 4 | 0
front_ro | /tmp | 5432 | shop | ~ | 4 | 0
old | 10.0.0.9 | 5999 | old | ~ | 4 | 0
app | /tmp | 5432 | app | ~ | 20 | 11";
    let reading = Reading::of(&table(POOLS_1_18), &table(STATS_1_7), &table(NAMED));
    let aliases = reading.unwrap().aliases(5432, &Places::new());
    assert_eq!(aliases.keys().collect::<Vec<_>>(), ["front_ro", "front_rw", "old"]);
    let elsewhere = aliases.iter().filter(|(_, alias)| alias.is_elsewhere);
    assert_eq!(elsewhere.map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["old"]);
    let of = |name: &str| Alias::resolve(aliases.get(name), name, "alice");
    let pair = |database: &str, user: &str| (database.to_owned(), user.to_owned());
    assert_eq!(of("front_rw"), pair("shop", "cart"));
    assert_eq!(of("front_ro"), pair("shop", "alice"));
    assert_eq!(of("app"), pair("app", "alice"));
    assert_eq!(of("gone"), pair("gone", "alice"));
    // A pooler that fails for a while has the same ones.
    let known = Known { aliases, ..Known::default() };
    let failed = Known::failed(Some(&known), [0, 0], "no".to_owned(), 5);
    assert_eq!(failed.aliases, known.aliases);
    let kept = Kept { at: 1, poolers: [("one".to_owned(), failed)].into() };
    assert_eq!(Kept::decode(&kept.encode()).unwrap(), kept);
}

#[test]
fn a_server_is_known_by_the_processes_that_connections_lead_to() {
    const TWO: &str = "
name | host | port | database | pool_size
app | 10.0.0.5 | 5432 | app | 20
far | 10.0.0.9 | 5432 | far | 20
mapped | 172.17.0.1 | 15432 | app | 20
unused | 10.0.0.7 | 5432 | x | 20
other | 10.0.0.7 | 5433 | x | 20";
    let at = |links: &str| {
        let found = reading(&table(POOLS_1_18), &table(STATS_1_18), &table(TWO));
        found.with_links(&table(&format!("database | user | ptr | link | remote_pid\n{links}")))
    };
    let ours = |pid: u64, database: &str| pid < 100 && database == "app";
    let elsewhere = |reading: &Reading, places: &Places| -> Vec<String> {
        let aliases = reading.aliases(5432, places);
        aliases.iter().filter(|(_, a)| a.is_elsewhere).map(|(name, _)| name.clone()).collect()
    };
    let first = at(
        "app | a | 1 | ~ | 11\n far | a | 2 | ~ | 12\n far | a | 3 | ~ | 900\n mapped | a | 4 | ~ | 14",
    );
    let places = first.places(&Places::new(), ours);
    // A process of that number is there, too, but not in such a database. Of two nothing is told but their ports.
    assert_eq!(elsewhere(&first, &places), ["far", "other"]);
    // Without connections it stays as it was, and one that ended meanwhile proves nothing.
    let later = at("app | a | 1 | ~ | 500");
    assert_eq!(later.places(&places, ours), places);
    assert_eq!(elsewhere(&later, &Places::new()), ["mapped", "other"]);
    // Now the address is another server's.
    let moved = at("app | a | 1 | ~ | 500\n app | a | 2 | ~ | 501");
    assert_eq!(elsewhere(&moved, &moved.places(&places, ours)), ["app", "far", "other"]);
    // One that does not tell its processes, or knows no such command.
    for links in ["app | a | 1 | ~ | 0", "app | a | 1 | ~ | ~"] {
        assert_eq!(at(links).places(&Places::new(), ours), Places::new());
    }
    assert_eq!(at("").with_links(&table("x")).links, Vec::new());
}

#[test]
fn an_older_version_does_not_know_the_wait() {
    let before = reading(&table(POOLS_1_7), &table(STATS_1_7), &table(DATABASES));
    let known = Known { stats: before.stats.clone(), ..Known::default() };
    let made = rows("one", &Asked::Answered(before), Some(&known), 60_000_000);
    let database = seen(&made, ["one", "app", ""]).unwrap();
    assert_eq!((database.per_s("transactions"), database.waiting()), (Some(0.0), None));
}

#[test]
fn one_that_fails_is_left_alone_for_longer_and_longer() {
    let pauses: Vec<i64> = (0..8).map(|n| pause_us(n) / 1_000_000).collect();
    assert_eq!(pauses, [0, 0, 60, 120, 240, 480, 600, 600]);
    assert_eq!(pause_us(u32::MAX), 600_000_000);
    let mut kept = Kept::default();
    kept.poolers.insert("one".into(), Known { retry_at: 100_000_000, ..Known::default() });
    assert!(!kept.is_due("one", [0, 0], 99_999_999) && kept.is_due("one", [0, 0], 100_000_000));
    assert!(kept.is_due("two", [0, 0], 0));
    assert!(kept.is_due("one", [0, 0], -600_000_000), "a clock that was set back");
    assert_eq!(Kept::decode(&kept.encode()).unwrap(), kept);
    // Rows of before this was kept.
    let old = br#"{"at":5,"poolers":{"one":{"failures":2,"retry_at":7,"stats":{}}}}"#;
    assert_eq!(Kept::decode(old).unwrap().poolers["one"].failures, 2);
    assert!(Kept::decode(b"x").is_err());
}

#[test]
fn why_it_failed_is_told_as_long_as_it_is_left_alone_and_new_options_are_tried() {
    let (first, second) = ([7, 8], [7, 9]);
    let why = || "login refused".to_owned();
    let once = Known::failed(None, first, why(), 1_000);
    let twice = Known::failed(Some(&once), first, why(), 2_000);
    assert_eq!((once.failures, once.retry_at, twice.failures), (1, 1_000, 2));
    assert!(twice.retry_at > 2_000);
    let told = twice.told("front").unwrap();
    assert_eq!(
        told,
        "PgBouncer front did not answer 2 times (login refused), and is left alone for a while"
    );
    assert_eq!(Known::default().told("front"), None);
    let kept = Kept { at: 2_000, poolers: [("front".to_owned(), twice.clone())].into() };
    assert!(!kept.is_due("front", first, 2_001));
    assert!(kept.is_due("front", second, 2_001), "somebody changed its options");
    assert_eq!(Known::failed(Some(&twice), second, why(), 3_000).failures, 1);
}
