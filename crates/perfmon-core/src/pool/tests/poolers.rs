//! Limits that pools of a pooler share, and clients that wait for the pooler itself.

use super::super::pooled::{Named, Pooled, Told, Waiting};
use super::*;
use crate::family::POOLER;
use crate::finding::{Evidence, Value};
use crate::pooler::Seen;

/// What a visit found: clients that waited, connections given to clients, and the size of the pool.
fn visit(waiting: u64, given: u64, size: u64) -> Seen {
    let mut values = vec![Some(0); POOLER.columns.len()];
    for (name, value) in [
        ("samples", 1),
        ("clients_waiting", waiting),
        ("servers_active", given),
        ("servers", given.max(1)),
        ("servers_peak", given.max(1)),
        ("pool_size", size),
    ] {
        values[POOLER.position(name).unwrap()] = Some(value);
    }
    let mut seen = Seen::default();
    seen.add(&values);
    seen
}

fn named(database: &str, user: &str) -> Named {
    Named {
        names: ["front", database, user].map(str::to_owned),
        here: Some((database.to_owned(), user.to_owned())),
        ..Named::default()
    }
}

/// Visits a minute apart, of each pool.
fn told(pools: Vec<Named>, visits: &[Vec<Seen>]) -> Told {
    let all = visits.iter().enumerate().flat_map(|(pool, visits)| {
        let at = |n: usize| NOON + (n as i64 + 1) * MINUTE_US;
        visits.iter().enumerate().map(move |(n, seen)| (at(n), pool, seen.clone()))
    });
    Told { visits: all.collect(), pools }
}

const ALL: (i64, i64) = (NOON, NOON + HOUR_US);

fn limits_of(pool: &Pooled, groups: &mut [Group]) -> Vec<(Kind, u32, f64)> {
    Limits { pooler: vec![pool.clone()], ..Limits::default() }.judge(groups);
    groups[0].limits.iter().map(|limit| (limit.kind, limit.most, limit.used)).collect()
}

#[test]
fn pools_share_limits_of_their_database_and_their_user() {
    let of_shop = |user: &str| Named { database_limit: Some(6), ..named("shop", user) };
    let app = Named { user_limit: Some(9), ..of_shop("app") };
    // The same user in a database of another server: the pooler counts its connections all the same.
    let far = Named { here: None, user_limit: Some(9), ..named("far", "app") };
    let visits = [vec![visit(2, 3, 20)], vec![visit(0, 3, 20)], vec![visit(0, 5, 20)]];
    let (pools, waiting) = told(vec![app, of_shop("cron"), far], &visits).over(ALL);
    assert_eq!(pools.iter().map(|pool| pool.user.as_str()).collect::<Vec<_>>(), ["app", "cron"]);
    let mut groups = [group(pool("app", "web"), 3, 3)];
    assert_eq!(
        limits_of(&pools[0], &mut groups),
        [(Kind::PoolerDatabase, 6, 6.0), (Kind::PoolerUser, 9, 8.0), (Kind::Pooler, 20, 3.0),]
    );
    assert_eq!(groups[0].binding().unwrap().kind.word(), "pooler, max_db_connections");
    let advice = advice::advise(&groups[0], None, None, None, &thresholds()).unwrap();
    assert_eq!((advice.current, advice.current_from), (6, "pooler"));
    let mut groups = [group(pool("cron", "web"), 3, 3)];
    assert_eq!(
        limits_of(&pools[1], &mut groups),
        [(Kind::PoolerDatabase, 6, 6.0), (Kind::Pooler, 20, 3.0)]
    );
    assert_eq!(waiting[0].limit.unwrap().kind, Kind::PoolerDatabase);
    // A pool that is full before the limit that it shares is what binds.
    let alone = Named { database_limit: Some(6), ..named("shop", "app") };
    let (pools, _) = told(vec![alone], &[vec![visit(2, 6, 6)]]).over(ALL);
    let mut groups = [group(pool("app", "web"), 6, 6)];
    assert_eq!(limits_of(&pools[0], &mut groups)[0].0, Kind::Pooler);
}

#[test]
fn what_pools_share_is_added_up_visit_by_visit() {
    let of = |user: &str| Named { database_limit: Some(10), ..named("shop", user) };
    // Never at the same time.
    let visits = [vec![visit(0, 8, 20), visit(0, 0, 20)], vec![visit(0, 0, 20), visit(0, 8, 20)]];
    let told = told(vec![of("app"), of("cron")], &visits);
    let (pools, _) = told.over(ALL);
    assert_eq!(pools[0].shared.len(), 1);
    assert_eq!((pools[0].shared[0].used, pools[0].shared[0].peak), (8.0, Some(8)));
    // Of a part of the time.
    let (pools, _) = told.over((NOON, NOON + MINUTE_US));
    assert_eq!((pools[0].given, pools[1].given, pools[1].shared[0].used), (8.0, 0.0, 8.0));
    assert_eq!(told.over((0, 1)), (Vec::new(), Vec::new()));
}

fn evidence(all: &[Evidence], metric: &str) -> Option<Value> {
    all.iter().find(|evidence| evidence.metric == metric).map(|evidence| evidence.value.clone())
}

/// All levels of one pool over a minute in which a pooler told this.
fn look(named: Named, seen: Seen, open: u32, active: u32) -> Look {
    let (pooler, waiting) = told(vec![named], &[vec![seen]]).over(ALL);
    let mut groups = all("app", open, active);
    Limits { pooler, ..Limits::default() }.judge(&mut groups);
    Look { samples: 60, groups, waiting, ..Look::default() }
}

fn judged(look: Look) -> Vec<(Cause, String, Vec<Evidence>)> {
    let window = Look { moments: vec![look.clone()], ..look };
    let verdict = |group: &Group| window.verdict(group, &thresholds()).unwrap();
    let all = window.groups.iter().map(verdict);
    all.map(|verdict| (verdict.cause, verdict.detail, verdict.evidence)).collect()
}

#[test]
fn clients_wait_for_the_pooler_itself_when_a_limit_of_its_own_is_reached() {
    let limited = Named { database_limit: Some(3), ..named("shop", "app") };
    for (cause, detail, evidence_of) in judged(look(limited, visit(5, 3, 20), 3, 3)) {
        assert_eq!(cause, Cause::Pooler, "{detail}");
        assert_eq!(
            detail,
            "5.0 clients wait for a connection at the pooler front, as the pooler's max_db_connections allows 3, \
             while the server has room: 3.0 sessions execute"
        );
        let told = evidence(&evidence_of, "pooler_limit");
        assert_eq!(told, Some("max_db_connections".into()));
        assert_eq!(evidence(&evidence_of, "pooler_limit_connections"), Some(3_i64.into()));
        assert_eq!(evidence(&evidence_of, "pooler"), Some("front".into()));
    }
    // The pool itself is full, or nothing of the pooler is: the pool is too small.
    let both = Named { database_limit: Some(3), ..named("shop", "app") };
    for (seen, open) in [(visit(5, 3, 3), 3), (visit(5, 1, 20), 1)] {
        for (cause, detail, evidence_of) in judged(look(both.clone(), seen.clone(), open, open)) {
            assert_eq!(cause, Cause::PoolTooSmall, "{detail}");
            assert_eq!(evidence(&evidence_of, "pooler_limit"), None);
        }
    }
    // Sessions that wait for a lock are why it is reached.
    let limited = Named { database_limit: Some(3), ..named("shop", "app") };
    let mut locked = look(limited, visit(5, 3, 20), 3, 3);
    for group in &mut locked.groups {
        (group.on_lock, group.on_cpu) = (Some(3.0), Some(0.0));
    }
    assert!(judged(locked).iter().all(|(cause, ..)| *cause == Cause::Lock));
}

#[test]
fn clients_of_a_database_that_is_paused_wait_for_the_pooler() {
    let paused = Named { is_stopped: true, ..named("shop", "app") };
    let found = judged(look(paused.clone(), visit(4, 0, 20), 1, 0));
    for (cause, detail, evidence_of) in &found {
        assert_eq!(*cause, Cause::Pooler, "{detail}");
        assert_eq!(
            detail,
            "4.0 clients wait at the pooler front, as its database shop is paused or disabled"
        );
        assert_eq!(evidence(evidence_of, "clients_held_up"), Some(4.0.into()));
        assert_eq!(evidence(evidence_of, "pooler_database"), Some("shop".into()));
    }
    assert_eq!(found.len(), 4);
    let unknown = judged(look(named("shop", "app"), visit(4, 0, 20), 1, 0));
    assert!(
        unknown[0].1.ends_with("it was paused or suspended, or could not log in"),
        "{unknown:?}"
    );
    // Nobody waits.
    let calm = judged(look(paused.clone(), visit(0, 0, 20), 1, 0));
    assert!(calm.iter().all(|(cause, ..)| *cause == Cause::Nothing), "{calm:?}");
    // The server refuses its logins, as all that the role may have are at work: not the pooler is in the way.
    let mut refused = look(named("shop", "app"), visit(4, 0, 20), 20, 20);
    Limits { roles: vec![role("app", Some(20))], ..Limits::default() }.judge(&mut refused.groups);
    assert_eq!(judged(refused)[2].0, Cause::PoolTooSmall);
    // More sessions wait for something else than clients for the pooler.
    let mut locked = look(paused, visit(4, 0, 20), 12, 12);
    for group in &mut locked.groups {
        (group.on_lock, group.on_cpu) = (Some(12.0), Some(0.0));
    }
    assert_eq!(judged(locked)[0].0, Cause::Lock);
}

#[test]
fn who_is_held_up_and_who_waits_are_told_apart_in_one_pool() {
    let visits = vec![visit(6, 0, 4), visit(2, 4, 4)];
    let (_, waiting) = told(vec![named("shop", "app")], &[visits]).over(ALL);
    let Waiting { clients, held_up, .. } = waiting[0];
    assert_eq!((clients, held_up), (1.0, 3.0));
}

#[test]
fn rows_above_a_pool_name_the_limit_that_keeps_it_from_more() {
    // In session mode, clients that idle have all connections of the pool.
    let found = judged(look(named("shop", "app"), visit(3, 4, 4), 4, 0));
    let idle =
        "3.0 clients wait for a connection: 100 % of the connections that clients were given idle";
    for (cause, detail, _) in &found[..3] {
        assert_eq!(*cause, Cause::PoolTooLarge, "{detail}");
        let of = "pool web (user app, database shop), 4 of 4 in use";
        assert_eq!(*detail, format!("{idle} ({of})"));
    }
    assert_eq!((found[3].0, found[3].1.as_str()), (Cause::PoolTooLarge, idle));
    // Others of the role idle with nearly all that it may have.
    let limited = |active: u32, role_limit: u32| {
        let mut look = look(named("shop", "app"), visit(5, 1, 8), 5, active);
        let roles = vec![role("app", Some(role_limit))];
        Limits { roles, ..Limits::default() }.judge(&mut look.groups);
        judged(look)
    };
    let found = limited(1, 5);
    let idle = "5.0 clients wait for a connection: 4.0 of 5.0 open sessions idle outside of a transaction and keep \
                others out";
    for (cause, detail, _) in &found[..2] {
        assert_eq!(*cause, Cause::PoolTooLarge, "{detail}");
        assert_eq!(*detail, format!("{idle} (role app, 5 of 5 in use)"));
    }
    assert_eq!((found[2].0, found[2].1.as_str()), (Cause::PoolTooLarge, idle));
    // They work.
    let found = limited(5, 5);
    assert_eq!(found[0].0, Cause::PoolTooSmall);
    assert!(found[0].1.ends_with("(role app, 5 of 5 in use)"), "{}", found[0].1);
    // It has room.
    assert!(!limited(1, 9)[0].1.contains("role app"));
}
