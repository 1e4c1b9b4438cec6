//! Schemas made at random: every flaw that was planted is named with its remedy, nothing else is, and the remedies do
//! what they promise. `PERFMON_SEED` repeats a run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use perfmon_e2e::schemas::promise::{self, Before, GONE_AT_ONCE};
use perfmon_e2e::schemas::{assert_found, chance, limits};
use perfmon_e2e::{Found, Server, secs, seed};

/// Makes a database from a seed, and holds the judge against the record of its flaws.
fn judge(server: &Server, name: &str, seed: u64) {
    println!("seed {seed}");
    let planted = chance::load(server, name, seed);
    let mut db = server.db(name);
    db.run("CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon");
    db.set_thresholds(limits::SHORT_HISTORY);
    db.set_thresholds(limits::SMALL_TABLES);
    db.set_thresholds(limits::BUSY_MACHINE);
    db.snapshot();
    planted.run(&mut db, 0);
    db.snapshot_with_texts(secs(20));
    let found = db.evaluate();
    assert_found(&planted.flaws, &found, &format!("PERFMON_SEED={seed}"));

    // Whatever the names are, the report is whole and tells all of it.
    let untold: Vec<String> = db.list(
        "WITH told AS MATERIALIZED (
           SELECT jsonb_path_query(perfmon.report(format => 'json')::jsonb, '$.**.object') #>> '{}' AS object)
         SELECT f.object FROM perfmon.findings f WHERE f.object NOT IN (SELECT t.object FROM told t)",
    );
    assert!(untold.is_empty(), "not in the report: {untold:?}");
    let report: String = db.val("SELECT perfmon.report()");
    let fences = report.lines().filter(|line| line.starts_with("```")).count();
    assert!(fences > 0 && fences % 2 == 0, "{report}");
    let guards = promise::guards(&mut db);
    let runnable: Vec<&Found> = found.iter().filter(|f| f.statement.is_some()).collect();
    for one in &runnable {
        let before = Before::of(&mut db, one);
        promise::mend(server, name, one);
        promise::check(server, &mut db, name, one, &before);
    }
    assert_eq!(promise::guards(&mut db), guards, "a remedy took a constraint away");
    for flaw in &planted.flaws {
        if let Some(one) = runnable.iter().find(|f| flaw.is(f)) {
            promise::no_longer_read(&mut db, flaw, one, &planted.work);
        }
    }
    db.snapshot();
    let open = db.evaluate();
    for one in runnable.iter().filter(|f| GONE_AT_ONCE.contains(&f.kind.as_str())) {
        assert!(open.iter().all(|f| f.id != one.id), "mended and still open: {}", one.head());
    }
}

#[test]
fn every_flaw_is_named_and_mended() {
    let server = Server::manual()
        .conf("autovacuum_naptime = '10min'")
        .conf("shared_buffers = '128MB'")
        .conf("fsync = on")
        .conf("synchronous_commit = off")
        .start();
    let seed = seed();
    for i in 0..2 {
        judge(&server, &format!("chance{i}"), seed.wrapping_add(i));
        // Each is judged alone: the next must not be its neighbour in the server's counters.
        server.db("postgres").run(&format!("DROP DATABASE chance{i} WITH (FORCE)"));
    }
}
