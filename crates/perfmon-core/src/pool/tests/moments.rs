//! Poolers' limits, and moments at which somebody waited.

use super::super::pooled::{Pooled, Waiting};
use super::*;

/// A pool of shop and app of which so many connections are given, of so many that there are.
fn pooled(size: u32, given: f64, servers: u32) -> Pooled {
    Pooled {
        database: "shop".to_owned(),
        user: "app".to_owned(),
        size,
        given,
        given_p95: given,
        given_peak: given as u32,
        servers: f64::from(servers),
        servers_peak: servers,
        shared: Vec::new(),
    }
}

/// Clients that wait for the pool of shop and app.
fn waits(clients: f64) -> Vec<Waiting> {
    vec![Waiting {
        database: "shop".to_owned(),
        user: "app".to_owned(),
        clients,
        ..Waiting::default()
    }]
}

fn pooler_limits(groups: &mut [Group], pooler: Pooled) -> Vec<Option<(u32, f64)>> {
    Limits { pooler: vec![pooler], ..Limits::default() }.judge(groups);
    let of = |group: &Group| group.limits.iter().find(|l| l.kind == Kind::Pooler).copied();
    groups.iter().map(|group| of(group).map(|limit| (limit.most, limit.used))).collect()
}

#[test]
fn a_poolers_limit_is_of_its_own_connections_alone() {
    let from = |application: &str, address: &str, open: u32, active: u32| {
        let whose = Whose { address: Some(address.to_owned()), ..pool("app", application) };
        group(whose, open, active)
    };
    // Its clients' names come and go on the same connections: what the pooler says of these counts, not a sum of groups.
    let mut own = [from("web", "", 2, 2), from("api", "", 1, 1)];
    assert_eq!(pooler_limits(&mut own, pooled(4, 3.0, 3)), [Some((4, 3.0)), Some((4, 3.0))]);
    // Direct sessions of the same database and user, more than the pooler has or could have.
    let mut direct = [from("batch", "", 5, 5)];
    assert_eq!(pooler_limits(&mut direct, pooled(4, 0.0, 0)), [None]);
    assert_eq!(pooler_limits(&mut direct, pooled(4, 1.0, 4)), [None]);
    // They come from elsewhere.
    let mut both = [from("web", "10.0.0.7", 4, 2), from("batch", "10.0.0.9", 1, 1)];
    assert_eq!(pooler_limits(&mut both, pooled(4, 2.0, 4)), [Some((4, 2.0)), None]);
    // From the same place, and not to be told apart.
    let mut mixed = [from("web", "", 4, 2), from("batch", "", 3, 3)];
    assert_eq!(pooler_limits(&mut mixed, pooled(4, 2.0, 4)), [None, None]);
    // Whose sessions do not say what they do may idle or not.
    let idle = |group: Group| {
        let mut groups = [group];
        Limits { pooler: vec![pooled(4, 4.0, 4)], ..Limits::default() }.judge(&mut groups);
        groups[0].limits[0].idle
    };
    assert_eq!(idle(from("web", "", 4, 1)), Some(0.75));
    assert_eq!(idle(Group { busy: Figure::default(), ..from("web", "", 4, 1) }), None);
    let mut other = [group(pool("somebody", "web"), 2, 2)];
    assert_eq!(pooler_limits(&mut other, pooled(4, 2.0, 2)), [None]);
}

#[test]
fn connections_that_wait_for_clients_of_a_pooler_keep_nobody_out() {
    let limit = |idle: f64| {
        Some(Limit { kind: Kind::Pooler, most: 5, used: 5.0, peak: Some(5), idle: Some(idle) })
    };
    let pooled = Load { open: 5.0, idle: 4.0, active: 1.0, behind: queue(2.0), ..load() };
    // Given to clients for a fifth of the time, as in transaction mode: for the rest they were free.
    assert_eq!(cause(&Load { limit: limit(0.0), ..pooled.clone() }), Cause::PoolTooSmall);
    // Given to clients that idle, as in session mode.
    assert_eq!(cause(&Load { limit: limit(0.8), ..pooled.clone() }), Cause::PoolTooLarge);
    // Clients wait, and no limit is full: idle sessions are not in their way.
    assert_eq!(cause(&Load { limit: None, ..pooled }), Cause::PoolTooSmall);
}

/// A look at one pool of `app` and the server, of so many samples.
fn moment(open: u32, active: u32, samples: u64, waiting: f64) -> Look {
    let mut groups =
        vec![group(Whose::server(), open, active), group(pool("app", "web"), open, active)];
    let roles = vec![role("app", Some(20))];
    groups.push(group(whose(Level::User, "", "app"), open, active));
    let pooler = vec![pooled(20, f64::from(active), open)];
    Limits { roles, pooler, ..Limits::default() }.judge(&mut groups);
    let waiting = waits(waiting);
    Look { samples, groups, waiting, ..Look::default() }
}

#[test]
fn only_moments_at_which_somebody_waited_are_judged() {
    // Fifty minutes of idle sessions and nobody waiting, ten of work in all of them.
    let calm = moment(20, 0, 3_000, 0.0);
    let calm = Look {
        groups: {
            let mut few = moment(10, 0, 3_000, 0.0).groups;
            few.truncate(2);
            few
        },
        ..calm
    };
    let mut window = moment(12, 3, 3_600, 0.5);
    window.moments = vec![calm.clone(), moment(20, 18, 600, 3.0)];
    let said = window.verdict(&window.groups[1], &thresholds()).unwrap();
    assert_eq!(said.cause, Cause::PoolTooSmall, "{}", said.detail);
    let evidence = |metric: &str| said.evidence.iter().find(|e| e.metric == metric).cloned();
    assert_eq!(
        evidence("active_avg").unwrap().value,
        crate::finding::Evidence::new("", 18.0, "").value
    );
    assert_eq!(
        evidence("clients_waiting").unwrap().value,
        crate::finding::Evidence::new("", 3.0, "").value
    );
    // Nobody waited at any moment: all of the window is judged.
    let mut never = moment(12, 3, 3_600, 0.0);
    never.moments = vec![calm];
    assert_eq!(never.verdict(&never.groups[1], &thresholds()).unwrap().cause, Cause::Nothing);
}

#[test]
fn what_is_full_is_told_of_the_time_in_which_it_was_there() {
    // Three idle sessions, seen by two of 24 samples.
    let rare = |there: u64, average: f64| {
        let mut role = group(whose(Level::User, "", "tiny"), 3, 0);
        (role.samples, role.there) = (24, there);
        for figure in [&mut role.open, &mut role.idle] {
            (figure.average, figure.peak, figure.p95) = (Some(average), Some(2), Some(0.0));
        }
        role
    };
    for (there, average) in [(2, 0.125), (0, 0.0)] {
        let mut groups = vec![group(Whose::server(), 20, 2), rare(there, average)];
        let roles = vec![role("tiny", Some(3))];
        Limits { roles, ..Limits::default() }.judge(&mut groups);
        let limit = *groups[1].binding().unwrap();
        assert_eq!((limit.used, limit.peak), (3.0, Some(3)), "as many as there are now");
        let look = Look { samples: 24, groups, ..Look::default() };
        let said = look.verdict(&look.groups[1], &thresholds()).unwrap();
        assert_eq!(said.cause, Cause::PoolTooLarge, "{}", said.detail);
        let open = if there == 0 { "3.0 of 3.0" } else { "1.5 of 1.5" };
        assert!(said.detail.contains(&format!("{open} open sessions idle")), "{}", said.detail);
    }
}

#[test]
fn who_does_not_come_by_way_of_the_pooler_does_not_wait_there() {
    let from = |application: &str, address: &str, open: u32, active: u32| {
        let whose = Whose { address: Some(address.to_owned()), ..pool("app", application) };
        group(whose, open, active)
    };
    let look = |mut groups: Vec<Group>, samples: u64, waiting: f64| {
        groups.push(group(Whose::server(), 6, 5));
        groups.push(group(whose(Level::User, "", "app"), 6, 5));
        Limits { pooler: vec![pooled(4, 4.0, 4)], ..Limits::default() }.judge(&mut groups);
        let waiting = waits(waiting);
        Look { samples, groups, waiting, ..Look::default() }
    };
    let (web, direct) = (from("web", "10.0.0.7", 4, 4), from("batch", "10.0.0.9", 2, 0));
    let late = from("late", "10.0.0.8", 1, 0);
    let mut window = look(vec![web.clone(), direct.clone(), late.clone()], 120, 3.0);
    window.moments = vec![look(vec![web.clone(), direct], 60, 6.0), look(vec![web, late], 60, 0.0)];
    let cause =
        |window: &Look, at: usize| window.verdict(&window.groups[at], &thresholds()).unwrap().cause;
    let causes: Vec<Cause> = (0..5).map(|at| cause(&window, at)).collect();
    let (small, nothing) = (Cause::PoolTooSmall, Cause::Nothing);
    assert_eq!(causes, [small, nothing, nothing, small, small]);
    // The same where nothing is known of single moments.
    window.moments.clear();
    let causes: Vec<Cause> = (0..5).map(|at| cause(&window, at)).collect();
    assert_eq!(causes, [small, nothing, nothing, small, small]);
}

#[test]
fn pools_of_a_grouping_before_are_left_out() {
    let coarse = Whose { application: None, address: None, ..pool("app", "web") };
    let others = Whose { other: true, application: None, address: None, ..pool("app", "web") };
    let groups: Vec<Group> = [Whose::server(), pool("app", "web"), coarse.clone(), others]
        .into_iter()
        .map(|whose| group(whose, 3, 1))
        .collect();
    let mut window = Look { groups: groups.clone(), ..Look::default() };
    assert_eq!(window.grouping(), None, "both");
    let mut last = Look { groups, ..Look::default() };
    last.groups.remove(1);
    assert_eq!(last.grouping(), Some((false, false)));
    window.keep_grouping((false, false));
    assert_eq!(window.groups, last.groups);
    assert_eq!(Look::default().grouping(), None);
}

#[test]
fn moments_of_different_trouble_are_not_averaged() {
    let server = |open: u32, active: u32, samples: u64, waiting: f64| {
        let mut groups = vec![group(Whose::server(), open, active)];
        let server = Some(Server { most: 100, superusers: 3, reserved: 0 });
        Limits { server, ..Limits::default() }.judge(&mut groups);
        let waiting = waits(waiting);
        Look { samples, groups, waiting, ..Look::default() }
    };
    // All connections are held idle for a minute; later clients wait at a pooler for two, while the server is nearly empty.
    let flood = server(97, 1, 60, 0.0);
    let short = server(6, 4, 120, 6.0);
    let mut window = server(30, 2, 600, 1.2);
    window.head = Some(head(77, 3));
    window.refused = Some(vec![Refused {
        why: Some(crate::capture::failure::Refusal::TooManyClients),
        count: 37,
        ..Refused::default()
    }]);
    window.moments = vec![flood, short.clone(), server(5, 0, 420, 0.0)];
    let said = window.verdict(&window.groups[0], &thresholds()).unwrap();
    assert_eq!(said.cause, Cause::PoolTooSmall);
    assert_eq!(
        said.detail,
        "6.0 clients wait for a connection, while the server has room: 4.0 sessions execute; at other moments: 37 \
         connections were refused: 96.0 of 97.0 open sessions idle outside of a transaction and keep others out"
    );
    let told = |metric: &str| said.evidence.iter().any(|e| e.metric == metric);
    assert!(told("clients_waiting") && !told("refused"));
    assert!(!told("lock_head_pid"), "a head of waits for locks shows nothing of this");
    // Where the flood was too short to fill a moment, what was refused is told all the same.
    window.moments = vec![short];
    let said = window.verdict(&window.groups[0], &thresholds()).unwrap();
    assert_eq!(said.cause, Cause::PoolTooSmall);
    assert!(
        said.detail.ends_with("; at other moments: connections were refused (37)"),
        "{}",
        said.detail
    );
}

/// A role that may have eight sessions: one program holds seven and does nothing, another works with one.
fn crowded(samples: u64) -> Look {
    let mut groups = vec![
        group(Whose::server(), 8, 1),
        group(whose(Level::User, "", "app"), 8, 1),
        group(pool("app", "hog"), 7, 0),
        group(pool("app", "worker"), 1, 1),
    ];
    Limits { roles: vec![role("app", Some(8))], ..Limits::default() }.judge(&mut groups);
    Look { samples, groups, ..Look::default() }
}

fn refused(count: u64) -> Option<Vec<Refused>> {
    let why = Some(crate::capture::failure::Refusal::RoleLimit);
    Some(vec![Refused { why, user: Some("app".to_owned()), count, ..Refused::default() }])
}

#[test]
fn who_is_crowded_out_is_told_by_whom() {
    for moments in [vec![crowded(60)], vec![]] {
        let window = Look { moments, refused: refused(3), ..crowded(60) };
        let said = |at: usize| window.verdict(&window.groups[at], &thresholds()).unwrap();
        assert_eq!(said(3).cause, Cause::PoolTooLarge);
        assert_eq!(
            said(3).detail,
            "3 connections were refused: 7.0 of 8.0 open sessions under the same limit idle outside of a transaction and \
             keep others out, most of them of hog (user app, database shop)"
        );
        assert_eq!(said(2).cause, Cause::PoolTooLarge);
        assert!(said(2).detail.contains(": 7.0 of 7.0 open sessions idle"), "{}", said(2).detail);
    }
}

#[test]
fn who_idles_with_few_is_crowded_out_by_those_that_idle_with_many() {
    // The server lets in 117: one program holds 108 and does nothing, nor does another with its eight.
    let mut groups = vec![
        group(Whose::server(), 117, 1),
        group(whose(Level::User, "", "app"), 8, 0),
        group(pool("app", "other"), 8, 0),
        group(pool("web", "calm"), 108, 0),
    ];
    let server = Some(Server { most: 120, superusers: 3, reserved: 0 });
    Limits { server, ..Limits::default() }.judge(&mut groups);
    let look = Look { samples: 60, groups, ..Look::default() };
    // In a long window whoever was there for a twentieth of it, or less, has none at most times.
    let mut long = Look { moments: vec![look.clone()], ..look.clone() };
    long.groups[3].idle.p95 = Some(0.0);
    long.groups.push(group(pool("postgres", "mon"), 1, 0));
    for window in [Look { moments: vec![look.clone()], ..look.clone() }, look, long] {
        for group in &window.groups[1..3] {
            let said = window.verdict(group, &thresholds()).unwrap();
            assert_eq!(said.cause, Cause::PoolTooLarge, "{}", said.detail);
            let told = "117 of 117 connections are in use: 116.0 of 117.0 open sessions under the same limit idle outside of \
                 a transaction and keep others out, most of them of calm (user web, database shop)";
            assert_eq!(said.detail, told);
        }
    }
}

#[test]
fn nobody_is_short_of_what_was_full_while_he_was_not_there() {
    let mut window = Look { refused: refused(3), ..crowded(120) };
    let mut late = group(pool("app", "late"), 1, 1);
    (late.open.now, late.limits) = (Some(0), window.groups[3].limits.clone());
    window.groups.push(late.clone());
    late.limits.clear();
    let mut calm = crowded(60);
    calm.groups.truncate(1);
    calm.groups.push(late);
    window.moments = vec![crowded(60), calm];
    let said = window.verdict(&window.groups[4], &thresholds()).unwrap();
    assert_eq!((said.cause, said.detail.as_str()), (Cause::Nothing, "nothing queues"));
    assert!(said.evidence.iter().all(|e| e.metric != "refused" && e.metric != "saturation_ratio"));
}

#[test]
fn a_user_who_was_there_while_nothing_was_full_is_short_of_nothing() {
    let at = |open: u32, idle_user: bool| {
        let mut groups = vec![group(Whose::server(), open, 1), group(pool("web", "calm"), open, 0)];
        groups.extend(idle_user.then(|| group(whose(Level::User, "", "reader"), 1, 0)));
        let server = Some(Server { most: 120, superusers: 3, reserved: 0 });
        Limits { server, ..Limits::default() }.judge(&mut groups);
        Look { samples: 60, groups, ..Look::default() }
    };
    let said = |now: u32, all_now: u32| {
        let mut window = at(117, true);
        window.groups[0].open.now = Some(all_now);
        window.groups[2].open.now = Some(now);
        window.moments = vec![at(117, false), at(22, true)];
        window.verdict(&window.groups[2], &thresholds()).unwrap().cause
    };
    assert_eq!([said(0, 117), said(1, 22)], [Cause::Nothing; 2]);
    assert_eq!(said(1, 117), Cause::PoolTooLarge);
}

#[test]
fn whatever_keeps_sessions_clients_that_wait_are_told() {
    let busy = Load { idle: 2.0, active: 18.0, behind: queue(3.0), ..load() };
    let said = |load: Load| verdict(&load, &thresholds()).detail;
    assert_eq!(
        said(Load { lock: 12.0, ..busy.clone() }),
        "12.0 sessions wait for locks; 3.0 clients wait for a connection"
    );
    let files = said(Load { io: 12.0, ..busy.clone() });
    assert_eq!(files, "12.0 sessions wait for files; 3.0 clients wait for a connection");
    let client = said(Load { client: 14.0, active: 4.0, ..busy.clone() });
    assert!(client.ends_with("4.0 execute; 3.0 clients wait for a connection"), "{client}");
    // Replication, or a lock of the server's own.
    assert_eq!(
        said(busy),
        "3.0 clients wait for a connection, while the server has room: 18.0 sessions execute, 16.0 of them wait for \
         something else inside the server: top_waits() names it"
    );
}
