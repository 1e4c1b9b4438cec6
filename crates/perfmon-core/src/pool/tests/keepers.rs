//! Who keeps others out of a full limit.

use super::*;
use crate::capture::failure::Refusal;

/// A server of 137 places with four idle sessions, clients that have not said who they are, and refused connections.
fn look(starting: u32, samples_saw: bool) -> Look {
    let mut server = group(Whose::server(), 4, 0);
    if samples_saw {
        server.open = steady(4 + starting);
        server.starting = Some(f64::from(starting));
    } else {
        server.open.now = Some(4 + starting);
        server.starting = Some(0.0);
    }
    let mut groups = vec![server, group(pool("app", "web"), 4, 0)];
    let limits = Limits {
        server: Some(Server { most: 140, superusers: 3, reserved: 0 }),
        ..Limits::default()
    };
    limits.judge(&mut groups);
    let refused = Refused { why: Some(Refusal::TooManyClients), count: 11, ..Refused::default() };
    Look {
        samples: 3_600,
        groups,
        refused: Some(vec![refused]),
        cpus: Some(4.0),
        ..Look::default()
    }
}

#[test]
fn clients_that_do_not_finish_authentication_take_the_places() {
    for samples_saw in [true, false] {
        let look = look(138, samples_saw);
        for group in &look.groups {
            let said = look.verdict(group, &thresholds()).unwrap();
            assert_eq!(said.cause, Cause::Authentication, "{said:?}");
            let end =
                "138 of the places are taken by clients that have not finished authentication";
            assert!(said.detail.ends_with(end), "{}", said.detail);
            assert!(said.evidence.iter().any(|e| e.metric == "starting_most"));
        }
    }
}

#[test]
fn whoever_idles_on_few_of_many_places_keeps_nobody_out() {
    // Connections were refused, but no sample saw who had the places.
    let look = look(0, true);
    let said = look.verdict(&look.groups[0], &thresholds()).unwrap();
    assert_eq!(said.cause, Cause::PoolTooSmall, "{said:?}");
    assert!(said.detail.starts_with("11 connections were refused"), "{}", said.detail);
    assert!(!said.detail.contains("idle"), "{}", said.detail);
    // Twenty of them do.
    let mut groups = vec![group(Whose::server(), 20, 0)];
    let limits = Limits {
        server: Some(Server { most: 140, superusers: 3, reserved: 0 }),
        ..Limits::default()
    };
    limits.judge(&mut groups);
    let idle = Look { groups, ..look };
    let said = idle.verdict(&idle.groups[0], &thresholds()).unwrap();
    assert_eq!(said.cause, Cause::PoolTooLarge, "{said:?}");
}

#[test]
fn what_is_refused_for_one_cause_is_told_once() {
    let login = |state: &str, user: Option<&str>, count: u64| Refused {
        user: user.map(str::to_owned),
        states: vec![state.to_owned()],
        count,
        ..Refused::default()
    };
    let mut all = Vec::new();
    for (state, user, count) in
        [("28P01", None, 2), ("28000", None, 3), ("28P01", Some("app"), 1), ("28P01", None, 4)]
    {
        login(state, user, count).add_to(&mut all);
    }
    let told: Vec<(u64, String)> =
        all.iter().map(|one| (one.count, one.states.join(", "))).collect();
    assert_eq!(told, [(9, "28000, 28P01".to_owned()), (1, "28P01".to_owned())]);
}

/// A role that may have ten sessions: `resident` idles with two all the time, and for a third of it `burst` has eight, which work.
fn burst() -> Look {
    let rarely = |whose: Whose, always: u32, number: u32| {
        let mut found = group(whose, number, number - always);
        for figure in [&mut found.open, &mut found.busy, &mut found.active] {
            let more = f64::from(number - always) / 5.0;
            let least = if figure.peak == Some(number) { f64::from(always) } else { 0.0 };
            (figure.average, figure.now) = (Some(least + more), Some(least as u32));
        }
        found
    };
    let mut groups = vec![
        rarely(Whose::server(), 2, 10),
        rarely(whose(Level::User, "", "app"), 2, 10),
        group(pool("app", "resident"), 2, 0),
        rarely(pool("app", "burst"), 0, 8),
    ];
    Limits { roles: vec![role("app", Some(10))], ..Limits::default() }.judge(&mut groups);
    let why = Some(Refusal::RoleLimit);
    let refused = Refused { why, user: Some("app".to_owned()), count: 3, ..Refused::default() };
    Look { samples: 5, groups, refused: Some(vec![refused]), cpus: Some(16.0), ..Look::default() }
}

#[test]
fn few_that_idle_are_not_blamed_for_a_burst_that_works() {
    for window in [burst(), Look { moments: vec![burst()], ..burst() }] {
        for at in [1, 3] {
            let said = window.verdict(&window.groups[at], &thresholds()).unwrap();
            assert_eq!(said.cause, Cause::PoolTooSmall, "{}", said.detail);
            assert!(said.detail.starts_with("3 connections were refused"), "{}", said.detail);
        }
    }
    // Where these idle too, they keep others out, however short they are there.
    let mut idle = burst();
    for at in [1, 3] {
        let group = &mut idle.groups[at];
        (group.idle, group.busy, group.active) = (group.open, steady(0), steady(0));
        group.on_cpu = Some(0.0);
    }
    let said = idle.verdict(&idle.groups[1], &thresholds()).unwrap();
    assert_eq!(said.cause, Cause::PoolTooLarge, "{}", said.detail);
}

#[test]
fn who_was_not_there_when_it_was_full_keeps_nobody_out() {
    // `worker` is crowded out by `hog`; later, without it, `keeper` fills the limit alone.
    let at = |holder: &str, idle: u32, worker: u32| {
        let mut groups = vec![
            group(Whose::server(), idle + worker, worker),
            group(whose(Level::User, "", "app"), idle + worker, worker),
            group(pool("app", holder), idle, 0),
        ];
        groups.extend((worker > 0).then(|| group(pool("app", "worker"), worker, worker)));
        Limits { roles: vec![role("app", Some(8))], ..Limits::default() }.judge(&mut groups);
        Look { samples: 60, groups, ..Look::default() }
    };
    let mut window = at("hog", 7, 1);
    window.groups.push(group(pool("app", "keeper"), 8, 0));
    window.moments = vec![at("hog", 7, 1), at("keeper", 8, 0)];
    let said = window.verdict(&window.groups[3], &thresholds()).unwrap();
    assert_eq!(said.cause, Cause::PoolTooLarge, "{}", said.detail);
    assert!(
        said.detail.ends_with("most of them of hog (user app, database shop)"),
        "{}",
        said.detail
    );
}

#[test]
fn a_declared_pool_that_works_in_bursts_is_kept_from_nothing_by_those_of_its_own_that_idle() {
    let mut web = group(pool("app", "web"), 10, 10);
    // Busy together for two seconds in five.
    for figure in [&mut web.busy, &mut web.active, &mut web.idle] {
        (figure.average, figure.now, figure.p95, figure.peak) =
            (Some(5.0), Some(10), Some(10.0), Some(10));
    }
    (web.active.average, web.busy.average, web.idle.average) = (Some(4.0), Some(4.0), Some(6.0));
    web.on_cpu = Some(0.0);
    let limits = |most: Option<u32>| Limits {
        roles: vec![role("app", most)],
        declared: vec![Declared { name: "web".to_owned(), size: 10, ..Declared::default() }],
        ..Limits::default()
    };
    let look = |most: Option<u32>, count: u64| {
        let mut groups = vec![
            group(Whose::server(), 10, 10),
            group(whose(Level::User, "", "app"), 10, 10),
            web.clone(),
        ];
        (groups[1].idle, groups[1].busy) = (web.idle, web.busy);
        limits(most).judge(&mut groups);
        let why = Some(Refusal::RoleLimit);
        let refused = Refused { why, user: Some("app".to_owned()), count, ..Refused::default() };
        let refused = Some(vec![refused]);
        Look { samples: 20, groups, refused, cpus: Some(16.0), ..Look::default() }
    };
    let window = look(None, 0);
    assert_eq!(window.groups[2].binding().unwrap().kind, Kind::Declared);
    for window in [window.clone(), Look { moments: vec![window.clone()], ..window }] {
        let said = window.verdict(&window.groups[2], &thresholds()).unwrap();
        assert_eq!(said.cause, Cause::PoolTooSmall, "{}", said.detail);
        let begin = "10 of 10 connections are in use, while the server has room: 4.0 sessions";
        assert!(said.detail.starts_with(begin), "{}", said.detail);
    }
    // A limit of open sessions beside it, by which others were refused, they do fill.
    let window = look(Some(10), 3);
    let said = window.verdict(&window.groups[2], &thresholds()).unwrap();
    assert_eq!(said.cause, Cause::PoolTooLarge, "{}", said.detail);
    // Unless it would be as full without them.
    let window = look(Some(200), 3);
    let said = window.verdict(&window.groups[2], &thresholds()).unwrap();
    assert_eq!(said.cause, Cause::PoolTooSmall, "{}", said.detail);
}
