//! What was counted in a part of a window stands for all of it only where that is most of it.

use std::time::Instant;

use perfmon_e2e::code_of;

use super::absent::section;
use super::then::{in_json, reports, set_for_all, window_of};
use super::*;

/// Status, and whether anything is said of how much was kept, over the time of a run.
fn promise(db: &mut Db, run: &str, name: &str, objective: &str) -> (String, bool, String) {
    let window = window_of(db, run);
    let sql = format!(
        "SELECT status, num_nonnulls(actual, budget_left_ratio, burn_rate_short, burn_rate_long, bad_minutes) > 0, detail
         FROM perfmon.slo_status({window}) WHERE slo_name = '{name}' AND objective = '{objective}'"
    );
    let row = db.query_one(sql.as_str(), &[]).unwrap();
    (row.get(0), row.get(1), row.get(2))
}

/// A run of which the settings were off in the second, longer part; they are on again afterwards.
fn run(server: &Server, db: &mut Db, name: &str, settings: &[(&str, &str, &str)]) {
    let mut bob = server.connect("bob", "app");
    db.run(&format!("SELECT perfmon.begin_run('{name}')"));
    let began = Instant::now();
    (0..150).for_each(|_| bob.run("SELECT 'of bob'::text"));
    db.snapshot();
    for (setting, off, _) in settings {
        set_for_all(server, db, setting, off);
    }
    db.snapshot();
    let known = began.elapsed().as_secs_f64();
    bob.run(&format!("SELECT pg_sleep({})", known + 0.5));
    (0..20).for_each(|_| drop(bob.fails("SELECT 1 / 0")));
    db.run(&format!("SELECT perfmon.end_run('{name}')"));
    for (setting, _, on) in settings {
        set_for_all(server, db, setting, on);
    }
    db.snapshot();
}

#[test]
fn most_of_a_window_that_was_not_counted_is_not_like_the_rest() {
    let server = Server::manual().start();
    app(&server);
    let (mut db, _) = watcher(&server);
    db.run("RESET pg_perfmon.capture");
    db.run(
        "SELECT perfmon.create_slo('cluster', p95_ms => 60000, error_ratio => 0.01, cluster => true);
         SELECT perfmon.create_slo('all', p95_ms => 60000, error_ratio => 0.01, availability_ratio => 0.5);
         SELECT perfmon.create_slo('bobs', p95_ms => 60000, username => 'bob')",
    );
    db.snapshot();
    run(&server, &mut db, "whole", &[]);
    for name in ["cluster", "all", "bobs"] {
        assert_eq!(promise(&mut db, "whole", name, "p95").0, "met", "{name}");
    }
    let capture = ("pg_perfmon.capture", "off", "top");
    run(&server, &mut db, "part", &[capture]);
    let unknown =
        [("cluster", "p95"), ("cluster", "errors"), ("all", "errors"), ("all", "availability")];
    for (name, objective) in unknown {
        let (status, is_told, detail) = promise(&mut db, "part", name, objective);
        assert_eq!((status.as_str(), is_told), ("no_data", false), "{name} {objective}: {detail}");
        assert!(detail.contains("pg_perfmon.capture was off"), "{name} {objective}: {detail}");
    }
    let window = window_of(&mut db, "part");
    let e = db.fails(&format!("SELECT * FROM perfmon.assert_slo('cluster', {window})"));
    assert_eq!(code_of(&e), "P0004");
    for report in reports(&mut db, "part") {
        let told = section(&report, "Errors");
        assert!(told.contains("noted then: pg_perfmon.capture is off"), "{told}");
        assert!(told.contains("statements failed at least") && !told.contains("0.0 %"), "{told}");
    }
    for why in in_json(&mut db, "part", "unheard,problem") {
        assert!(why.is_some_and(|why| why.contains("pg_perfmon.capture is off")));
    }
    for share in ["errors,error_ratio", "errors,executions"] {
        assert_eq!(in_json(&mut db, "part", share), [None, None], "{share}");
    }
    // Nor is it bounded by what was counted elsewhere where nothing was counted there either.
    let track = ("pg_stat_statements.track", "none", "top");
    run(&server, &mut db, "nothing", &[track, capture]);
    for name in ["cluster", "all", "bobs"] {
        let (status, is_told, detail) = promise(&mut db, "nothing", name, "p95");
        assert_eq!((status.as_str(), is_told), ("no_data", false), "{name}: {detail}");
    }
}
