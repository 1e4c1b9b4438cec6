//! Sessions that wait inside the server for what is neither a lock nor a file, and moments of which no sample tells.

use super::super::elsewhere::Event;
use super::super::pooled::Waiting;
use super::super::queue::Verdict;
use super::*;

fn event(user: &str, wait: &str, sessions: f64) -> Event {
    Event { database: "shop".to_owned(), user: user.to_owned(), wait: wait.to_owned(), sessions }
}

/// Twelve active sessions of app, two of them at work, on eight processors, and what their statements waited for.
fn waiting(events: Vec<Event>) -> Look {
    let mut groups = all("app", 12, 12);
    groups.iter_mut().for_each(|group| group.on_cpu = Some(2.0));
    Look { samples: 60, groups, events, cpus: Some(8.0), ..Look::default() }
}

fn verdict_of(look: &Look, level: Level) -> Verdict {
    let group = look.groups.iter().find(|group| group.whose.level == level).unwrap();
    look.verdict(group, &thresholds()).unwrap()
}

#[test]
fn a_standby_that_is_missing_is_no_pool_that_is_too_small() {
    let look =
        waiting(vec![event("app", "IPC/SyncRep", 10.0), event("cron", "LWLock/WALWrite", 90.0)]);
    let found = verdict_of(&look, Level::Pool);
    assert_eq!(found.cause, Cause::Wait);
    assert_eq!(
        found.detail,
        "10.0 sessions wait inside the server, for IPC/SyncRep (a standby of synchronous_standby_names that does not \
         answer in time)"
    );
    let told =
        |metric: &str| found.evidence.iter().find(|e| e.metric == metric).unwrap().value.clone();
    assert_eq!(told("waiting_elsewhere_avg"), 10.0.into());
    assert_eq!(told("wait_event"), "IPC/SyncRep".into());
    // What most of them wait for, where it is several things.
    let both =
        waiting(vec![event("app", "IPC/SyncRep", 3.0), event("app", "LWLock/WALWrite", 7.0)]);
    assert_eq!(
        verdict_of(&both, Level::Server).detail,
        "10.0 sessions wait inside the server, 7.0 of them for LWLock/WALWrite"
    );
}

#[test]
fn who_sleeps_or_has_helpers_is_not_in_anybodys_way() {
    for wait in
        ["Timeout/PgSleep", "IPC/ExecuteGather", "IPC/BgWorkerShutdown", "IPC/BgworkerShutdown"]
    {
        let look = waiting(vec![event("app", wait, 10.0)]);
        assert_eq!(verdict_of(&look, Level::Pool).cause, Cause::Nothing, "{wait}");
    }
    // A part of them, by what the statements of their user waited for.
    let some =
        waiting(vec![event("app", "Timeout/PgSleep", 5.0), event("app", "IPC/SyncRep", 5.0)]);
    assert!(verdict_of(&some, Level::Pool).detail.starts_with("5.0 sessions wait inside"));
    assert_eq!(verdict_of(&waiting(Vec::new()), Level::Pool).cause, Cause::Nothing);
}

#[test]
fn a_pool_is_told_of_the_pause_that_closed_its_connections() {
    let held_up = vec![Waiting {
        pooler: "front".to_owned(),
        called: "shop".to_owned(),
        database: "shop".to_owned(),
        user: "app".to_owned(),
        held_up: 6.0,
        is_stopped: true,
        ..Waiting::default()
    }];
    let mut groups = all("app", 3, 3);
    let pooler = Limit { kind: Kind::Pooler, most: 3, used: 3.0, peak: Some(3), idle: Some(0.0) };
    groups
        .iter_mut()
        .filter(|g| g.whose.level == Level::Pool)
        .for_each(|g| g.limits = vec![pooler]);
    let busy = Look { samples: 20, groups: groups.clone(), ..Look::default() };
    // Nothing happens while it lasts: neither sessions nor samples.
    let paused = Look { waiting: held_up, span_us: (0, 40_000_000), ..Look::default() };
    let look = |moments| Look { samples: 20, groups: groups.clone(), moments, ..Look::default() };
    for level in [Level::Server, Level::Pool] {
        let found = verdict_of(&look(vec![busy.clone(), paused.clone()]), level);
        assert_eq!(found.cause, Cause::Pooler, "{level:?}: {}", found.detail);
        assert!(
            found.detail.starts_with(
                "6.0 clients wait at the pooler front, as its database shop is paused or disabled"
            ),
            "{}",
            found.detail
        );
        // Of sessions nothing is known meanwhile.
        assert!(!found.evidence.iter().any(|e| e.metric == "open_avg"));
    }
    // Those of another user do not wait for it.
    let mut other = look(vec![busy, paused]);
    other.groups = all("cron", 3, 3);
    assert_eq!(verdict_of(&other, Level::User).cause, Cause::Nothing);
}
