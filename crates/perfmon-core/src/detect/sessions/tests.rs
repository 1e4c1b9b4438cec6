//! For each kind a state that gives it, and near twins that do not.

use std::collections::BTreeSet;

use super::{CHAIN, DETECTOR, LEAK, LONG, leaks};
use crate::detect::samples::{self, silent, the};
use crate::detect::{judge_with, server};
use crate::facts::session::{Deadlock, IdleTimes, Lasted, LockWait, Sessions, Who};
use crate::facts::{Facts, Holder, HolderKind};
use crate::finding::Severity;
use crate::lock::idle::Sum;
use crate::pool::{Group, Look, Pools, Whose};
use crate::threshold::Thresholds;

mod leaked;

const SECOND: i64 = 1_000_000;

fn who(statement_id: i64) -> Who {
    Who {
        database: samples::healthy().database.name,
        user: "shop".to_owned(),
        application: "checkout".to_owned(),
        statement_id: Some(statement_id),
        queryid: Some(100 + statement_id),
    }
}

/// Somebody of another database, whose statements are in that one's history.
fn elsewhere(queryid: i64) -> Who {
    Who { database: "billing".to_owned(), statement_id: None, queryid: Some(queryid), ..who(0) }
}

#[test]
fn statements_of_other_databases_are_told_by_their_number() {
    let wait_here = || wait(8, 30, 1);
    let wait = LockWait { head: elsewhere(77), ..wait(8, 30, 1) };
    let finding = the(&DETECTOR, &chain(vec![wait]), CHAIN);
    assert_eq!(finding.object, "database billing");
    let cause = finding.cause.as_deref().unwrap_or_default();
    assert!(cause.contains("after the statement of queryid 77"), "{cause}");
    assert!(finding.evidence.iter().any(|one| one.metric == "head_queryid"));
    let there = "In database billing, if pg_perfmon is installed there, blocking() names relations";
    assert!(finding.remedy.contains(there), "{}", finding.remedy);
    let here = the(&DETECTOR, &chain(vec![wait_here()]), CHAIN);
    assert!(!here.remedy.contains("In database"), "{}", here.remedy);
    let mut left = idles(left(3, 120));
    left.sessions.as_mut().unwrap().idles[0].who = elsewhere(77);
    let finding = the(&DETECTOR, &left, LEAK);
    assert!(finding.title.contains("after the statement of queryid 77"), "{}", finding.title);
    assert_eq!(finding.object, "database billing");
    assert!(finding.evidence.iter().any(|one| one.metric == "queryid"));
}

#[test]
fn one_session_waits() {
    let finding = the(&DETECTOR, &chain(vec![wait(8, 30, 1)]), CHAIN);
    assert!(finding.title.starts_with("1 session waits up to"), "{}", finding.title);
}

fn with(sessions: Sessions) -> Facts {
    Facts { sessions: Some(sessions), ..samples::healthy() }
}

fn wait(process_id: i64, seconds: i64, depth: i64) -> LockWait {
    let now = samples::healthy().now_us;
    LockWait {
        process_id,
        began_us: now - seconds * SECOND,
        seen_us: now,
        ended: false,
        head_process_id: 7,
        head_gid: None,
        head: who(4),
        head_state: "idle in transaction".to_owned(),
        head_transaction_s: Some(90.0),
        lock_type: "transactionid".to_owned(),
        relation: Some("public.orders".to_owned()),
        depth,
    }
}

fn chain(waits: Vec<LockWait>) -> Facts {
    with(Sessions { waits, ..Sessions::default() })
}

#[test]
fn chains_are_told_by_their_head() {
    let finding =
        the(&DETECTOR, &chain(vec![wait(8, 30, 1), wait(9, 20, 2), wait(9, 20, 2)]), CHAIN);
    assert_eq!(finding.severity, Severity::Warning);
    assert!(finding.title.starts_with("2 sessions wait"), "{}", finding.title);
    assert!(finding.title.contains("process 7 of checkout (user shop)"), "{}", finding.title);
    let cause = finding.cause.as_deref().unwrap_or_default();
    assert!(cause.contains("idles inside its transaction after statement 4"), "{cause}");
    // Short waits are what locks are for.
    silent(&DETECTOR, &chain(vec![wait(8, 5, 1), wait(9, 5, 2)]), CHAIN);
    silent(&DETECTOR, &chain(vec![]), CHAIN);
    let many = (10..16).map(|pid| wait(pid, 70, 1)).collect();
    assert_eq!(the(&DETECTOR, &chain(many), CHAIN).severity, Severity::Critical);
    let few = (10..13).map(|pid| wait(pid, 70, 1)).collect();
    assert_eq!(the(&DETECTOR, &chain(few), CHAIN).severity, Severity::Warning);
}

#[test]
fn transactions_of_one_process_are_told_apart() {
    let now = samples::healthy().now_us;
    let over = |pid| LockWait {
        seen_us: now - 10 * SECOND,
        ended: true,
        head_transaction_s: Some(40.0),
        ..wait(pid, 40, 1)
    };
    // The next transaction of the same process, at work, kept somebody waiting for a moment.
    let short = LockWait {
        head_state: "active".to_owned(),
        head_transaction_s: Some(1.0),
        ..wait(8, 1, 1)
    };
    for short in [LockWait { ended: true, ..short.clone() }, short] {
        let finding = the(&DETECTOR, &chain(vec![over(8), over(9), short]), CHAIN);
        let title = "2 sessions waited up to 30 s for locks that checkout (user shop) in database";
        assert!(finding.title.starts_with(title), "{}", finding.title);
        let cause = finding.cause.as_deref().unwrap_or_default();
        assert!(cause.contains("idled inside its transaction after statement 4"), "{cause}");
        let age = finding.evidence.iter().find(|one| one.metric == "head_transaction_age_s");
        assert_eq!(age.map(|one| &one.value), Some(&40.0.into()));
    }
    // One transaction, in which it was at work at last.
    let later = LockWait { head_state: "active".to_owned(), ..wait(9, 5, 1) };
    let finding = the(&DETECTOR, &chain(vec![over(8), later]), CHAIN);
    assert!(finding.title.starts_with("2 sessions wait up to 30 s"), "{}", finding.title);
}

#[test]
fn what_goes_on_is_told_before_what_is_over() {
    // The same program: one of its transactions that is over kept somebody waiting for longer.
    let of = |head: i64, wait: LockWait| LockWait { head_process_id: head, ..wait };
    let over = LockWait { ended: true, ..of(17, wait(8, 600, 1)) };
    let mut all: Vec<LockWait> = (20..26).map(|pid| of(18, wait(pid, 70, 1))).collect();
    all.push(over);
    let finding = the(&DETECTOR, &chain(all.clone()), CHAIN);
    assert_eq!(finding.severity, Severity::Critical);
    let title = "6 sessions wait up to 1.17 min for locks that process 18 of checkout (user shop)";
    assert!(finding.title.starts_with(title), "{}", finding.title);
    assert!(finding.title.ends_with(" holds"), "{}", finding.title);
    assert!(finding.remedy.contains("end process 18"), "{}", finding.remedy);
    // One more of it, behind which fewer wait for longer.
    all.extend([of(19, wait(30, 90, 1)), of(19, wait(20, 90, 1))]);
    let finding = the(&DETECTOR, &chain(all), CHAIN);
    assert_eq!(finding.severity, Severity::Critical);
    assert!(finding.title.starts_with(title), "{}", finding.title);
    let rest = " holds, and 1 more for those of process 19";
    assert!(finding.title.ends_with(rest), "{}", finding.title);
    let others = finding.evidence.iter().find(|one| one.metric == "other_heads");
    let each = "process 19 (idle in transaction): 2 sessions, up to 1.5 min";
    assert_eq!(others.map(|one| &one.value), Some(&each.into()));
}

#[test]
fn prepared_transactions_of_one_owner_are_told_apart() {
    let of = |gid: &str, wait: LockWait| LockWait {
        head_process_id: 0,
        head_gid: Some(gid.to_owned()),
        ..wait
    };
    let waits = vec![of("a", wait(8, 40, 1)), of("b", wait(9, 20, 1)), of("b", wait(10, 20, 1))];
    let finding = the(&DETECTOR, &chain(waits.clone()), CHAIN);
    let title = finding.title;
    assert!(title.starts_with("1 session waits up to 40 s"), "{title}");
    assert!(title.ends_with(" holds, and 2 more for those of a prepared transaction"), "{title}");
    let others = finding.evidence.iter().find(|one| one.metric == "other_heads");
    let others = format!("{:?}", others.map(|one| &one.value));
    assert!(others.contains("the prepared transaction b of checkout"), "{others}");
    let mut waits = waits;
    waits[0].ended = true;
    let title = the(&DETECTOR, &chain(waits), CHAIN).title;
    assert!(title.starts_with("2 sessions wait up to 20 s"), "{title}");
    assert!(title.contains("prepared transaction b of") && title.ends_with(" holds"), "{title}");
}

#[test]
fn a_crowd_of_which_a_part_is_looked_at_is_told_as_such() {
    let crowd = |looked_at: i64, peak: u32| {
        let mut facts = chain((10..10 + looked_at).map(|pid| wait(pid, 30, 1)).collect());
        let server = Group { lock_peak: Some(peak), ..Group::of(Whose::server()) };
        let last = Look { groups: vec![server], ..Look::default() };
        facts.pools = Some(Pools { last, ..Pools::default() });
        the(&DETECTOR, &facts, CHAIN)
    };
    let finding = crowd(63, 90);
    assert!(finding.title.starts_with("At least 63 sessions wait up to"), "{}", finding.title);
    let peak = "sessions_waiting_on_server_peak";
    assert!(finding.evidence.iter().any(|one| one.metric == peak));
    for (looked_at, peak) in [(63, 63), (20, 30)] {
        let title = crowd(looked_at, peak).title;
        assert!(title.starts_with(&format!("{looked_at} sessions wait up to")), "{title}");
    }
}

#[test]
fn a_chain_that_is_over_is_forgotten() {
    let over = |ago: i64| {
        let mut wait = wait(8, 30, 1);
        (wait.ended, wait.seen_us, wait.began_us) =
            (true, wait.seen_us - ago * SECOND, wait.began_us - ago * SECOND);
        chain(vec![wait])
    };
    let finding = the(&DETECTOR, &over(100), CHAIN);
    assert!(finding.title.contains("waited"));
    let said = format!("{} {} {:?}", finding.title, finding.remedy, finding.cause);
    assert!(!said.contains("pg_terminate_backend") && !said.contains("process 7"), "{said}");
    assert!(said.contains("idled inside its transaction after statement 4"), "{said}");
    silent(&DETECTOR, &over(400), CHAIN);
}

#[test]
fn the_head_at_work_and_the_prepared_one_have_other_remedies() {
    let mut busy = wait(8, 30, 1);
    busy.head_state = "active".to_owned();
    let finding = the(&DETECTOR, &chain(vec![busy]), CHAIN);
    assert!(finding.cause.as_deref().unwrap_or_default().contains("at work with statement 4"));
    let mut prepared = wait(8, 30, 1);
    (prepared.head_process_id, prepared.head) = (0, Who::default());
    let finding = the(&DETECTOR, &chain(vec![prepared]), CHAIN);
    assert!(finding.remedy.contains("pg_prepared_xacts"), "{}", finding.remedy);
    assert_eq!(finding.object, "server");
    // One that is known is named.
    let mut named = wait(8, 30, 1);
    (named.head_process_id, named.head_gid) = (0, Some("order-17".to_owned()));
    named.head = Who { application: String::new(), statement_id: None, queryid: None, ..who(4) };
    let database = named.head.database.clone();
    let finding = the(&DETECTOR, &chain(vec![named]), CHAIN);
    let title =
        format!("the prepared transaction order-17 of user shop in database {database} holds");
    assert!(finding.title.ends_with(&title), "{}", finding.title);
    assert!(finding.remedy.contains(&format!("in database {database} (COMMIT PREPARED")));
}

#[test]
fn an_autovacuum_at_the_head_is_told_as_one() {
    let head = Who {
        user: String::new(),
        application: "autovacuum worker".to_owned(),
        statement_id: None,
        queryid: None,
        ..who(4)
    };
    let behind = |ended: bool| {
        let one = LockWait {
            head: head.clone(),
            head_state: "active".to_owned(),
            ended,
            ..wait(8, 30, 1)
        };
        the(&DETECTOR, &chain(vec![one]), CHAIN)
    };
    let finding = behind(false);
    let told = "for locks that process 7, an autovacuum worker in database shop, holds";
    assert!(finding.title.ends_with(told), "{}", finding.title);
    let cause = finding.cause.unwrap();
    assert!(cause.contains("one that prevents wraparound gives way to nobody"), "{cause}");
    assert!(finding.remedy.starts_with("Let it end") && !finding.remedy.contains("pg_terminate"));
    let finding = behind(true);
    let told = "for locks that an autovacuum worker in database shop held";
    assert!(finding.title.ends_with(told), "{}", finding.title);
    assert!(finding.cause.unwrap().starts_with("Autovacuum was at work"));
}

#[test]
fn a_lock_that_a_session_keeps_outside_of_transactions_is_no_statement_s_fault() {
    let waits = |state: &str, ended: bool| {
        let one = |pid: i64| {
            let mut wait = wait(pid, 90, 1);
            (wait.head_state, wait.ended) = (state.to_owned(), ended);
            wait.lock_type = "advisory".to_owned();
            wait
        };
        chain((10..16).map(one).collect())
    };
    for (ended, words) in [(false, "keeps an advisory lock"), (true, "kept an advisory lock")] {
        let finding = the(&DETECTOR, &waits("idle", ended), CHAIN);
        assert_eq!(finding.severity, Severity::Warning);
        let cause = finding.cause.as_deref().unwrap_or_default();
        assert!(cause.contains(words) && !cause.contains("statement"), "{cause}");
        assert!(finding.remedy.contains("elect a leader"), "{}", finding.remedy);
        assert_eq!(finding.remedy.contains("process 7"), !ended, "{}", finding.remedy);
    }
    let finding = the(&DETECTOR, &waits("active", false), CHAIN);
    assert_eq!(finding.severity, Severity::Critical);
    assert!(finding.remedy.starts_with("Make the statement faster"), "{}", finding.remedy);
}

#[test]
fn what_began_and_ended_since_the_last_judgement_is_told_once() {
    let over = |ago: i64, judged: i64| {
        let mut wait = wait(8, 30, 1);
        (wait.ended, wait.seen_us, wait.began_us) =
            (true, wait.seen_us - ago * SECOND, wait.began_us - ago * SECOND);
        let mut facts = chain(vec![wait]);
        facts.judged_us = Some(facts.now_us - judged * SECOND);
        facts
    };
    let finding = the(&DETECTOR, &over(1_700, 1_800), CHAIN);
    assert!(finding.title.contains("waited"), "{}", finding.title);
    silent(&DETECTOR, &over(1_700, 1_600), CHAIN);
    let gone = |seconds: i64| Sum {
        open: 0,
        open_us: 0,
        gone: 3,
        gone_us: 3 * seconds * SECOND,
        ..left(3, seconds)
    };
    let leak = |since_judged: Option<Sum>| {
        let mut facts = idles(gone(120));
        facts.sessions.as_mut().unwrap().idles[0].since_judged = since_judged;
        facts
    };
    let finding = the(&DETECTOR, &leak(Some(gone(120))), LEAK);
    assert!(finding.title.contains("3 sessions of checkout (user shop)"), "{}", finding.title);
    assert!(finding.title.contains(" idled inside a transaction"), "{}", finding.title);
    silent(&DETECTOR, &leak(None), LEAK);
    silent(&DETECTOR, &leak(Some(gone(10))), LEAK);
    let mut dead = samples::healthy();
    let at_us = dead.now_us - 1_700 * SECOND;
    let deadlock = Deadlock { at_us, members: vec![(who(4), None), (who(9), None)] };
    dead.sessions = Some(Sessions { deadlocks: vec![deadlock], ..Sessions::default() });
    silent(&server::DETECTOR, &dead, "deadlocks");
    dead.judged_us = Some(at_us - SECOND);
    the(&server::DETECTOR, &dead, "deadlocks");
}

fn idles(sum: Sum) -> Facts {
    let idle = IdleTimes { who: who(4), sum, since_judged: None };
    with(Sessions { idles: vec![idle], ..Sessions::default() })
}

fn left(open: i64, seconds: i64) -> Sum {
    Sum {
        sessions: (0..u32::try_from(open).unwrap_or(0)).collect::<BTreeSet<u32>>(),
        idle_us: open * seconds * SECOND,
        longest_us: seconds * SECOND,
        open,
        open_us: open * seconds * SECOND,
        longest_open_us: if open > 0 { seconds * SECOND } else { 0 },
        ..Sum::default()
    }
}

#[test]
fn long_transactions() {
    let active = |age: f64| Holder {
        kind: HolderKind::Active,
        name: "99".to_owned(),
        age_s: Some(age),
        xid_age: Some(10),
    };
    let with = |holders: Vec<Holder>| {
        let mut facts = samples::healthy();
        facts.server.holders = Some(holders);
        facts
    };
    let finding = the(&DETECTOR, &with(vec![active(4_000.0), active(9_000.0)]), LONG);
    assert!(finding.title.contains("and 1 more"), "{}", finding.title);
    silent(&DETECTOR, &with(vec![active(600.0)]), LONG);
    let idle = Holder { kind: HolderKind::Idle, ..active(9_000.0) };
    silent(&DETECTOR, &with(vec![idle]), LONG);
}

#[test]
fn a_transaction_that_ended_since_the_last_judgement_is_told_once() {
    let lasted = |age_s: f64| Lasted { who: who(4), age_s, idled: false };
    let with = |lasted: Vec<Lasted>, holders: Vec<Holder>| {
        let mut facts = Facts { lasted, ..samples::healthy() };
        facts.server.holders = Some(holders);
        facts
    };
    let finding = the(&DETECTOR, &with(vec![lasted(4_000.0), lasted(9_000.0)], vec![]), LONG);
    let title = &finding.title;
    assert!(title.starts_with("A transaction of checkout (user shop)"), "{title}");
    assert!(title.contains("was at work for 2.5 h, at last with statement 4"), "{title}");
    assert!(title.ends_with(", and 1 more did; it is over"), "{title}");
    assert!(!finding.remedy.contains("end it"), "{}", finding.remedy);
    silent(&DETECTOR, &with(vec![lasted(600.0)], vec![]), LONG);
    // Who idles is told as a leak.
    silent(&DETECTOR, &with(vec![Lasted { idled: true, ..lasted(9_000.0) }], vec![]), LONG);
    // One that goes on is told first.
    let active = Holder {
        kind: HolderKind::Active,
        name: "99".to_owned(),
        age_s: Some(5_000.0),
        xid_age: Some(10),
    };
    let finding = the(&DETECTOR, &with(vec![lasted(9_000.0)], vec![active]), LONG);
    assert!(finding.title.starts_with("Process 99 is at work"), "{}", finding.title);
}

#[test]
fn a_deadlock_just_now_names_who_took_part() {
    let at = |ago: i64| {
        let mut facts = samples::healthy();
        let relation = Some("public.orders".to_owned());
        let members = vec![(who(4), relation), (who(9), None)];
        let deadlock = Deadlock { at_us: facts.now_us - ago * SECOND, members };
        facts.sessions = Some(Sessions { deadlocks: vec![deadlock], ..Sessions::default() });
        facts
    };
    let finding = the(&server::DETECTOR, &at(60), "deadlocks");
    assert_eq!(finding.severity, Severity::Info);
    let between = finding.evidence.iter().find(|one| one.metric == "between");
    let between = format!("{:?}", between.map(|one| &one.value));
    assert!(
        between.contains("statement 4 of checkout and statement 9 of checkout (1 time)"),
        "{between}"
    );
    silent(&server::DETECTOR, &at(4_000), "deadlocks");
    // Only the home database knows of those elsewhere: it tells them, each database apart.
    let mut both = at(60);
    let there = both.sessions.as_ref().unwrap().deadlocks[0].clone();
    let members = vec![(elsewhere(77), None), (elsewhere(78), None)];
    let there = Deadlock { members, ..there };
    both.sessions.as_mut().unwrap().deadlocks.push(there);
    let judgement = judge_with(&[&server::DETECTOR], &both, &Thresholds::default());
    let mut found: Vec<_> =
        judgement.findings.iter().filter(|one| one.kind == "deadlocks").collect();
    found.sort_by_key(|one| one.object.clone());
    let objects: Vec<&str> = found.iter().map(|one| one.object.as_str()).collect();
    assert_eq!(objects, ["database billing", &format!("database {}", both.database.name)]);
    let between = found[0].evidence.iter().find(|one| one.metric == "between");
    let between = format!("{:?}", between.map(|one| &one.value));
    assert!(between.contains("the statement of queryid 77 of checkout"), "{between}");
}
