//! Sessions that come and go are told from those that stay, and named.

use super::*;
use crate::pool::Sender;

/// A pool of four, so many sessions that came, as many as samples saw of them, and how long all sessions lasted.
fn churning(sessions: u64, seen: u64, each_ms: f64) -> Facts {
    let mut facts = facts(look(&[("app", "web", 4, 1, 0)], &limits()));
    let look = &mut pools(&mut facts).recent;
    look.sessions[0].sessions = sessions;
    look.sessions[0].mean_ms = Some(each_ms);
    look.groups[0].opened = seen;
    look.groups.last_mut().unwrap().opened = seen;
    facts
}

#[test]
fn sessions_that_come_and_go() {
    let finding = the(&DETECTOR, &churning(36_004, 20_000, 40.0), CHURN);
    assert_eq!(
        finding.title,
        "10 sessions a second come and go, each lasts 720 ms or less on average"
    );
    assert!(finding.cause.unwrap().starts_with("Most are of web (user app, database shop)"));
    silent(&DETECTOR, &churning(3_600, 2_000, 40.0), CHURN);
    // A pool of 600 of which each lasts a minute.
    let mut long = churning(36_004, 36_004, 60_000.0);
    pools(&mut long).recent.groups.last_mut().unwrap().open.average = Some(600.0);
    silent(&DETECTOR, &long, CHURN);
    // How long they last need not be known.
    let mut untimed = churning(36_004, 0, 40.0);
    let look = &mut pools(&mut untimed).recent;
    look.sessions[0].mean_ms = None;
    assert_eq!(
        the(&DETECTOR, &untimed, CHURN).title,
        "10 sessions a second come and go, each lasts 1 s or less on average"
    );
}

#[test]
fn sessions_that_stay_hide_none_that_come_and_go() {
    // The time of a hundred sessions that stay makes the short ones seem to last 33 s each.
    let mut facts = calm();
    let look = &mut pools(&mut facts).recent;
    look.span_us = (1_000_000_000, 1_030_000_000);
    (look.covered_us, look.samples) = (30_000_000, 30);
    look.sessions[0] = Sessions {
        sessions: 90,
        mean_ms: Some(33_333.0),
        covered_us: 30_000_000,
        ..look.sessions[0].clone()
    };
    look.sessions.push(Sessions {
        database: Some("shop".to_owned()),
        sessions: 88,
        ..look.sessions[0].clone()
    });
    let sender = |application: &str, user: &str, transactions| Sender {
        application: application.to_owned(),
        user: user.to_owned(),
        transactions,
    };
    look.senders = vec![
        sender("cgi", "app", 90),
        sender("psql", "admin", 3),
        // Its sessions stay.
        sender("web", "shop", 5_000),
    ];
    let finding = the(&DETECTOR, &facts, CHURN);
    assert_eq!(finding.title, "3 sessions a second come and go, each lasts 1 s or less on average");
    assert_eq!(
        finding.cause.unwrap(),
        "Most may be of cgi (user app): it ran 90 transactions, and samples found next to none of its sessions, as \
         they are shorter than the time between two samples. 88 of 90 sessions that began are of database shop."
    );
    // Nobody sent as many.
    let mut nobody = facts.clone();
    pools(&mut nobody).recent.senders.retain(|sender| sender.application != "cgi");
    let cause = the(&DETECTOR, &nobody, CHURN).cause.unwrap();
    assert!(cause.starts_with("They are too short to be seen by samples. 88 of 90"), "{cause}");
    // Samples saw each of them come: they are those that stay.
    let look = &mut pools(&mut facts).recent;
    look.groups[0].opened = 90;
    silent(&DETECTOR, &facts, CHURN);
}

#[test]
fn a_pool_that_fills_at_the_start_is_no_churn() {
    let mut facts = calm();
    let look = &mut pools(&mut facts).recent;
    let sessions = &mut look.sessions[0];
    (sessions.sessions, sessions.mean_ms, sessions.covered_us) = (100, Some(0.0), 10_000_000);
    // Each was seen to come, those of the first sample too.
    look.groups[0].opened = 100;
    silent(&DETECTOR, &facts, CHURN);
}
