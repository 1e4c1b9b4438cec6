//! WAL that outgrows max_wal_size: checkpoints that it asks for are found, with the value that ends them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use perfmon_e2e::{Db, Found, Server, secs, wait_until};

/// Checkpoints that were asked for since the start of the server. The last one is counted before the checkpointer
/// waits again, but after who asked for it goes on.
fn requested(db: &mut Db) -> i64 {
    let waits = "SELECT wait_event IS NOT DISTINCT FROM 'CheckpointerMain' FROM pg_stat_activity
        WHERE backend_type = 'checkpointer'";
    wait_until("the checkpointer waits", secs(60), || db.val(waits));
    let counter = if db.version() >= 170_000 {
        "SELECT num_requested FROM pg_stat_checkpointer"
    } else {
        "SELECT checkpoints_req FROM pg_stat_bgwriter"
    };
    db.val(counter)
}

/// Writes so many megabytes of WAL that belong to no table.
fn write(db: &mut Db, megabytes: i32) {
    db.run(&format!(
        "SELECT pg_logical_emit_message(false, 'load', repeat('x', 1048576))
         FROM generate_series(1, {megabytes})"
    ));
}

fn of<'a>(found: &'a [Found], kind: &str) -> Option<&'a Found> {
    found.iter().find(|f| f.kind == kind)
}

#[test]
fn checkpoints_by_volume_are_found_with_the_value_that_ends_them() {
    let server = Server::manual()
        .conf("max_wal_size = '32MB'")
        .conf("min_wal_size = '32MB'")
        .conf("checkpoint_timeout = '30s'")
        .conf("wal_compression = off")
        .start();
    let mut db = server.new_db("app");
    db.set_thresholds(&[("rate_min_minutes", 1.0), ("wal_warning_bytes_per_hour", 1e9)]);
    db.snapshot();
    db.run("CREATE TABLE begun AS SELECT clock_timestamp() AS at");
    for _ in 0..5 {
        let before = requested(&mut db);
        write(&mut db, 20);
        wait_until("a checkpoint that WAL asked for", secs(60), || requested(&mut db) > before);
    }
    // Nothing is said of less than two rounds of checkpoint_timeout.
    db.snapshot();
    assert!(of(&db.evaluate(), "checkpoints_too_frequent").is_none());
    wait_until("two rounds of checkpoint_timeout", secs(90), || {
        db.val("SELECT clock_timestamp() > at + interval '61 s' FROM begun")
    });
    db.snapshot();

    let found = db.evaluate();
    let often = of(&found, "checkpoints_too_frequent").unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(often.severity, "warning");
    assert!(often.title.ends_with("came because WAL reached max_wal_size (32 MB)"), "{often:?}");
    let set = "ALTER SYSTEM SET max_wal_size = '1GB';\nSELECT pg_catalog.pg_reload_conf();";
    assert_eq!(often.statement.as_deref(), Some(set));
    assert!(of(&found, "setting_max_wal_size").is_none(), "told once");
    let volume = of(&found, "wal_volume").unwrap_or_else(|| panic!("{found:#?}"));
    assert!(volume.title.contains("GB of WAL per hour"), "{volume:?}");

    // Among many that somebody asked for by hand, they only say that max_wal_size is nearly outgrown.
    for _ in 0..20 {
        db.run("CHECKPOINT");
    }
    let seen = requested(&mut db);
    wait_until("the checkpoints are counted", secs(60), || requested(&mut db) >= seen.max(25));
    db.snapshot();
    let found = db.evaluate();
    let nearly = of(&found, "setting_max_wal_size").unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!((nearly.severity.as_str(), nearly.statement.as_deref()), ("info", Some(set)));
    assert!(of(&found, "checkpoints_too_frequent").is_none(), "{found:#?}");

    // What it says to run does what it says: the same WAL asks for no checkpoint.
    for line in set.lines() {
        db.run(line);
    }
    wait_until("the setting is in force", secs(20), || {
        db.val::<String>("SHOW max_wal_size") == "1GB"
    });
    db.run("CHECKPOINT");
    let before = requested(&mut db);
    write(&mut db, 100);
    db.run("CHECKPOINT");
    wait_until("the last checkpoint is counted", secs(60), || requested(&mut db) > before);
    assert_eq!(requested(&mut db), before + 1, "only the one by hand");
}
