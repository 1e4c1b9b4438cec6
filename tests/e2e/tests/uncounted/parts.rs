//! Times of a small part are not those of all.

use super::*;

/// Calls, timed calls, and whether there is a p95, of the only step of a series in which something was executed.
fn timed(db: &mut Db, function: &str, of: &str, window: &str) -> (i64, i64, bool) {
    let sql = format!(
        "SELECT calls, timed_calls, p95_ms FROM (VALUES ({window})) AS last (since, until),
             perfmon.{function}({of} since, until, until - since) WHERE calls > 0"
    );
    let row = &db.rows(&sql)[0];
    (row.get(0), row.get(1), row.get::<_, Option<f64>>(2).is_some())
}

fn all_in_heatmap(db: &mut Db, window: &str) -> Option<i64> {
    db.val(&format!(
        "SELECT sum(calls)::bigint FROM (VALUES ({window})) AS last (since, until),
             perfmon.latency_heatmap(since, until, until - since)"
    ))
}

/// Asks all that shows times of what clients sent, and what each is told.
fn told(db: &mut Db, said: &mut dyn FnMut() -> String, window: &str) -> Vec<(String, String)> {
    let asked = [
        format!("load_series({window})"),
        format!("latency_heatmap({window})"),
        format!("latency_histogram(NULL, {window})"),
    ];
    let ask = |asked: String| {
        said();
        db.rows(&format!("SELECT * FROM perfmon.{asked}"));
        (asked, said())
    };
    asked.into_iter().map(ask).collect()
}

#[test]
fn times_of_a_small_part_of_all_are_not_shown_as_those_of_all() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    db.run("ALTER ROLE bob SET pg_perfmon.capture = 'off'");
    let (mut alice, mut bob) = (server.connect("alice", "app"), server.connect("bob", "app"));
    db.snapshot();
    (0..500).for_each(|_| bob.run("SELECT 1 AS a"));
    (0..2).for_each(|_| alice.run("SELECT 1 AS a, 2"));
    db.snapshot();
    let window: String = db
        .val::<String>(&format!(
            "SELECT format('%L, %L', since, until) FROM (VALUES ({LAST})) AS last (since, until)"
        ))
        .replace("', '", "'::timestamptz, '")
        + "::timestamptz";
    let (calls, counted, is_told) = timed(&mut db, "load_series", "", &window);
    assert!(calls >= 502 && counted >= 2 && !is_told, "{calls} {counted} {is_told}");
    assert_eq!(all_in_heatmap(&mut db, &window), None);
    for (asked, told) in told(&mut db, &mut said, &window) {
        assert!(told.contains("ALTER ROLE bob RESET pg_perfmon.capture;"), "{asked}: {told}");
    }
    // It was so then, and no longer is.
    db.run("ALTER ROLE bob RESET pg_perfmon.capture; RESET pg_perfmon.capture");
    assert!(!timed(&mut db, "load_series", "", &window).2);
    assert_eq!(all_in_heatmap(&mut db, &window), None);
    for (asked, told) in told(&mut db, &mut said, &window) {
        assert!(told.contains("not all that bob"), "{asked}: {told}");
    }
    // Of most of it they tell enough.
    let mut again = server.connect("bob", "app");
    db.snapshot();
    (0..500).for_each(|_| again.run("SELECT 1 AS a"));
    (0..20).for_each(|_| bob.run("SELECT 1 AS a"));
    db.snapshot();
    let (calls, counted, is_told) = timed(&mut db, "load_series", "", LAST);
    assert!(calls >= 520 && counted >= 500 && is_told, "{calls} {counted} {is_told}");
    assert!(all_in_heatmap(&mut db, LAST) >= Some(500));
}

#[test]
fn times_of_a_small_part_of_a_statement_are_not_shown_as_those_of_all() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, mut said) = watcher(&server);
    let (mut alice, mut bob) = (server.connect("alice", "app"), server.connect("bob", "app"));
    db.run("ALTER ROLE bob SET pg_perfmon.capture = 'off'");
    let mut untimed = server.connect("bob", "app");
    db.snapshot();
    let work = |db: &mut Db, sessions: [(&mut Db, usize); 3]| {
        db.snapshot();
        for (session, times) in sessions {
            (0..times).for_each(|_| session.run("SELECT 'of bob'::text"));
        }
        db.snapshot();
    };
    work(&mut db, [(&mut bob, 20), (&mut untimed, 400), (&mut alice, 30)]);
    let of = |db: &mut Db, user: &str| {
        let sql = format!(
            "SELECT statement_id::text, calls, timed_calls, p95_ms FROM perfmon.top_statements({LAST})
             WHERE query LIKE 'SELECT $1::text%' AND user_name = '{user}'"
        );
        let row = &db.rows(&sql)[0];
        let numbers: (i64, i64) = (row.get(1), row.get(2));
        (row.get::<_, String>(0), numbers, row.get::<_, Option<f64>>(3).is_some())
    };
    said();
    let (id, numbers, is_told) = of(&mut db, "bob");
    assert_eq!((numbers, is_told), ((420, 20), false));
    assert!(said().contains("ALTER ROLE bob RESET pg_perfmon.capture;"));
    assert_eq!(timed(&mut db, "statement_series", &format!("{id},"), LAST), (420, 20, false));
    assert!(said().contains("ALTER ROLE bob RESET pg_perfmon.capture;"));
    assert_eq!(heatmap(&mut db, &id), []);
    assert!(said().contains("ALTER ROLE bob RESET pg_perfmon.capture;"));
    // All of hers was timed.
    let (hers, numbers, is_told) = of(&mut db, "alice");
    assert_eq!((numbers, is_told), ((30, 30), true));
    said();
    assert_eq!(timed(&mut db, "statement_series", &format!("{hers},"), LAST), (30, 30, true));
    assert_eq!(said(), "");
    // Most of it is enough.
    work(&mut db, [(&mut bob, 400), (&mut untimed, 20), (&mut alice, 0)]);
    let (_, numbers, is_told) = of(&mut db, "bob");
    assert_eq!((numbers, is_told), ((420, 400), true));
    assert_eq!(timed(&mut db, "statement_series", &format!("{id},"), LAST), (420, 400, true));
    assert!(!heatmap(&mut db, &id).is_empty());
}
