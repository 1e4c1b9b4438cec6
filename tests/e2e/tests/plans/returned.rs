//! Flips that are none, as a part of a table was added, and the way back to an older plan.

use super::{TABLES, clock, everything, flips, some, watcher};

const EVER: (&str, &str) = ("2000-01-01", "3000-01-01");

#[test]
fn parts_that_nobody_analysed_are_no_flip() {
    let server = everything();
    let mut db = server.new_db("app");
    db.run(
        "CREATE TABLE m (at int, device int, v float8) PARTITION BY RANGE (at);
            CREATE TABLE m0 PARTITION OF m FOR VALUES FROM (0) TO (1000) WITH (autovacuum_enabled = off);
            CREATE INDEX m0_device ON m0 (device);
            INSERT INTO m SELECT g % 1000, g % 5000, g FROM generate_series(1, 200000) g",
    );
    let mut watcher = watcher(&server);
    // New ones have no index yet.
    let statement = "SELECT v FROM m WHERE device = 77";
    some(&mut db, &mut watcher, statement);
    for n in 1..8 {
        db.run(&format!(
            "CREATE TABLE m{n} PARTITION OF m FOR VALUES FROM ({n}000) TO ({}000)
             WITH (autovacuum_enabled = off)",
            n + 1
        ));
        some(&mut db, &mut watcher, statement);
    }
    let explained = db.list::<String>(&format!("EXPLAIN {statement}")).join("\n");
    for words in ["Index Scan on m0_device", "Seq Scan on m7"] {
        assert!(explained.contains(words), "{explained}");
    }
    assert_eq!(flips(&mut watcher, EVER.0, EVER.1), []);
}

#[test]
fn a_new_part_that_is_read_alone_is_no_flip() {
    let server = everything();
    let mut db = server.new_db("app");
    db.run(
        "CREATE TABLE m (at int, device int, v float8) PARTITION BY RANGE (at);
            CREATE INDEX m_device ON m (device);
            CREATE TABLE m0 PARTITION OF m FOR VALUES FROM (0) TO (1000);
            INSERT INTO m SELECT g % 1000, g % 5000, g FROM generate_series(1, 50000) g; ANALYZE m;
            SET plan_cache_mode = force_generic_plan;
            PREPARE prepared(int) AS SELECT max(v) FROM m WHERE device = 77 AND at = $1",
    );
    let mut watcher = watcher(&server);
    let old = "SELECT v FROM m WHERE device = 77 AND at >= 0 AND at < 1000; EXECUTE prepared(5)";
    let new =
        "SELECT v FROM m WHERE device = 77 AND at >= 1000 AND at < 2000; EXECUTE prepared(1005)";
    let rows = |from: i32, n: i32| {
        format!(
            "INSERT INTO m SELECT {from} + g % 1000, g % 5000, g FROM generate_series(1, {n}) g; ANALYZE m"
        )
    };
    some(&mut db, &mut watcher, old);
    db.run("CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (1000) TO (2000)");
    some(&mut db, &mut watcher, new);
    // Small, and known to be so.
    db.run(&rows(1000, 300));
    some(&mut db, &mut watcher, new);
    let explained = db.list::<String>("EXPLAIN SELECT v FROM m WHERE device = 77 AND at >= 1000");
    assert!(explained.iter().any(|line| line.contains("Seq Scan on m1")), "{explained:?}");
    assert_eq!(flips(&mut watcher, EVER.0, EVER.1), []);
    // As large as the one before.
    db.run(&rows(1000, 50_000));
    some(&mut db, &mut watcher, new);
    assert_eq!(flips(&mut watcher, EVER.0, EVER.1), []);
    db.run("CREATE INDEX m_both ON m (device, at)");
    some(&mut db, &mut watcher, new);
    let found = flips(&mut watcher, EVER.0, EVER.1);
    assert!(!found.is_empty(), "the new index serves the prepared one better");
}

#[test]
fn the_way_back_is_a_flip_too() {
    let server = everything();
    let mut db = server.new_db("app");
    db.run(TABLES);
    let mut watcher = watcher(&server);
    let statement = "SELECT note FROM orders WHERE customer = 7";
    some(&mut db, &mut watcher, statement);
    db.run("DROP INDEX orders_customer");
    some(&mut db, &mut watcher, statement);
    db.run("CREATE INDEX orders_customer ON orders (customer)");
    some(&mut db, &mut watcher, statement);
    assert_eq!(flips(&mut watcher, EVER.0, EVER.1).len(), 1, "the two may take turns");
    // As if the plan between the two had been seen a while ago.
    watcher.run(
        "UPDATE perfmon.plan SET first_seen = first_seen - interval '12 min',
             stretch_since = stretch_since - interval '12 min', last_seen = last_seen - interval '11 min'
         WHERE plan_id = (SELECT after_plan_id FROM perfmon.plan_flip);
         UPDATE perfmon.plan_flip SET at = at - interval '12 min', last_before = last_before - interval '13 min'",
    );
    let until = clock(&mut watcher);
    for _ in 0..2 {
        some(&mut db, &mut watcher, statement);
    }
    let found = flips(&mut watcher, EVER.0, &until);
    let (by_index, whole) =
        ("Bitmap Heap Scan on orders".to_owned(), "Seq Scan on orders".to_owned());
    assert_eq!(found, [(by_index.clone(), whole.clone(), true), (whole, by_index, true)]);
    let changes: i64 =
        watcher.val("SELECT count(*) FROM perfmon.changes() WHERE kind = 'plan_flip'");
    assert_eq!(changes, 2);
}
