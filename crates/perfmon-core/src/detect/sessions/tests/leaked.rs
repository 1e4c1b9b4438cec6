//! Transactions that programs leave open, and those that a client comes back to.

use super::*;

#[test]
fn a_leak_is_told_apart_from_a_slow_client() {
    let finding = the(&DETECTOR, &idles(left(3, 120)), LEAK);
    assert!(finding.title.contains("3 sessions of checkout"), "{}", finding.title);
    assert_eq!(finding.object, "statement 4");
    // Somebody's console; a pause; a client that comes back after as long.
    silent(&DETECTOR, &idles(left(1, 120)), LEAK);
    silent(&DETECTOR, &idles(left(3, 20)), LEAK);
    let back = Sum {
        returned_us: 10_000 * SECOND,
        resumed: 90,
        longest_returned_us: 115 * SECOND,
        ..left(3, 120)
    };
    silent(&DETECTOR, &idles(back), LEAK);
    // One left, and another one idles for a moment.
    let one_left = Sum { open: 1, open_us: 9 * SECOND, longest_open_us: 9 * SECOND, ..left(1, 61) };
    let one_left = Sum { gone: 1, gone_us: 61 * SECOND, ..one_left };
    silent(&DETECTOR, &idles(one_left.clone()), LEAK);
    let two = Sum { open_us: 70 * SECOND, longest_open_us: 70 * SECOND, ..one_left };
    let two = Sum { longest_us: 200 * SECOND, gone_us: 200 * SECOND, ..two };
    let title = the(&DETECTOR, &idles(two), LEAK).title;
    let told = "1 session of checkout (user shop) in database shop idles inside a transaction after statement 4";
    assert_eq!(title, format!("{told}, for up to 1.17 min"));
    // They are gone.
    let gone = Sum { open: 0, open_us: 0, gone: 3, gone_us: 360 * SECOND, ..left(3, 120) };
    silent(&DETECTOR, &idles(gone), LEAK);
}

#[test]
fn a_leak_after_several_statements_is_one_of_the_program() {
    let after = |id: i64, open: i64, seconds: i64| IdleTimes {
        who: Who { statement_id: Some(id), ..who(4) },
        sum: left(open, seconds),
        since_judged: None,
    };
    let facts = |idles: Vec<IdleTimes>| with(Sessions { idles, ..Sessions::default() });
    let six = facts((1..=6).map(|id| after(id, 1, 100 + id)).collect());
    let finding = the(&DETECTOR, &six, LEAK);
    let begin = "6 sessions of checkout (user shop) in database shop idle inside transactions after 6 statements";
    assert!(finding.title.starts_with(begin), "{}", finding.title);
    assert_eq!(finding.object, "database shop");
    let cause = finding.cause.unwrap();
    assert!(
        cause.contains("6 idle times go on, after statement 6, ") && cause.contains(" and 1 more"),
        "{cause}"
    );
    assert!(leaks::speaks_of_leaks(&six, &Thresholds::default()));
    // Somebody's console; pauses; those of another program.
    silent(&DETECTOR, &facts(vec![after(1, 1, 120)]), LEAK);
    silent(&DETECTOR, &facts(vec![after(1, 1, 120), after(2, 1, 20)]), LEAK);
    let mut other = after(2, 1, 120);
    other.who.application = "console".to_owned();
    silent(&DETECTOR, &facts(vec![after(1, 1, 120), other]), LEAK);
    // One statement that is enough by itself is told by itself.
    let finding = the(&DETECTOR, &facts(vec![after(1, 3, 120), after(2, 1, 110)]), LEAK);
    assert_eq!(finding.object, "statement 1");
}

#[test]
fn a_leak_under_several_names_is_one_of_the_program() {
    let of = |application: &str, id: i64| IdleTimes {
        who: Who { application: application.to_owned(), statement_id: Some(id), ..who(4) },
        sum: left(1, 100),
        since_judged: None,
    };
    let facts = |idles: Vec<IdleTimes>| with(Sessions { idles, ..Sessions::default() });
    // Each session has a name of its own; whatever the statement is, and whatever the name.
    let numbered = (0..6).map(|n| of(&format!("worker {n}"), 1 + n % 2)).collect();
    let finding = the(&DETECTOR, &facts(numbered), LEAK);
    let begin = "6 sessions of user shop in database shop under 6 names idle inside transactions after 2 statements";
    assert!(finding.title.starts_with(begin), "{}", finding.title);
    assert_eq!(finding.subject, "shop shop worker # after several");
    let cause = finding.cause.unwrap();
    let of_all = "6 idle times go on, after statement 1 and statement 2, of worker 0, ";
    assert!(cause.contains(of_all) && cause.contains("and 1 more"), "{cause}");
    let hosts = facts(vec![of("jobs@alpha", 4), of("jobs@beta", 4), of("console", 9)]);
    let finding = the(&DETECTOR, &hosts, LEAK);
    let begin = "2 sessions of user shop in database shop under 2 names idle inside transactions after statement 4, for up to";
    assert!(finding.title.starts_with(begin), "{}", finding.title);
    assert!(leaks::speaks_of_leaks(&hosts, &Thresholds::default()));
    // Two programs, and one session of each.
    silent(&DETECTOR, &facts(vec![of("jobs@alpha", 4), of("console", 9)]), LEAK);
    let mut other = of("worker 1", 4);
    other.who.user = "other".to_owned();
    silent(&DETECTOR, &facts(vec![of("worker 0", 4), other]), LEAK);
    for (name, kin) in [
        ("web-7f9c4-x2k8p:12", "web-#-#:#"),
        ("psql", "psql"),
        ("caf\u{e9} 3", "caf\u{e9} #"),
        ("celery@host17", "celery@host#"),
        ("", ""),
    ] {
        assert_eq!(leaks::without_numbers(name), kin);
    }
}

/// Others of the same program come back from short pauses after the same statement.
#[test]
fn a_leak_among_short_pauses_is_found() {
    // A thousand that came back from up to 1.5 s, and ten that are in such a pause now.
    let among = |open: i64, gone: i64, seconds: i64| Sum {
        sessions: (0..10).collect(),
        longest_us: seconds * SECOND,
        finished: 1_000,
        returned_us: 1_200 * SECOND,
        longest_returned_us: 3 * SECOND / 2,
        gone,
        gone_us: gone * seconds * SECOND,
        open: open + 10,
        open_us: (open * seconds + 12) * SECOND,
        longest_open_us: if open > 0 { seconds } else { 1 } * SECOND,
        ..Sum::default()
    };
    let facts = idles(among(2, 0, 120));
    let finding = the(&DETECTOR, &facts, LEAK);
    let begin =
        "At least 2 sessions of checkout (user shop) in database shop idle inside a transaction";
    assert!(finding.title.starts_with(begin), "{}", finding.title);
    let cause = finding.cause.unwrap();
    assert!(cause.contains("(up to 1.5 s)") && cause.contains("at least 2 idle times"), "{cause}");
    // Of one nobody knows whether it is a leak, however many pause for a moment; those that are gone go on no more.
    silent(&DETECTOR, &idles(among(1, 0, 120)), LEAK);
    silent(&DETECTOR, &idles(among(0, 2, 120)), LEAK);
    silent(&DETECTOR, &idles(among(2, 0, 50)), LEAK);
    let mut over = idles(among(0, 2, 120));
    over.sessions.as_mut().unwrap().idles[0].since_judged = Some(among(0, 2, 120));
    let title = the(&DETECTOR, &over, LEAK).title;
    assert!(title.starts_with("At least 2 ") && title.contains(" idled inside"), "{title}");
    // Once a client came back from a long one, long ones are no sign alone.
    let slow = Sum { longest_returned_us: 60 * SECOND, ..among(2, 0, 120) };
    silent(&DETECTOR, &idles(slow), LEAK);
}

#[test]
fn a_leak_is_not_told_twice() {
    let mut facts = idles(left(3, 5_000));
    let idle = |name: &str| Holder {
        kind: HolderKind::Idle,
        name: name.to_owned(),
        age_s: Some(5_000.0),
        xid_age: Some(10),
    };
    facts.server.holders = Some(vec![idle("812")]);
    silent(&server::DETECTOR, &facts, "idle_in_transaction");
    facts.sessions = Some(Sessions::default());
    the(&server::DETECTOR, &facts, "idle_in_transaction");
}
