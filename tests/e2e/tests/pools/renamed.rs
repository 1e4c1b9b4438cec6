//! Pools go by the names that databases had, and what the server counted by those that they have.

use perfmon_e2e::{secs, wait_until};

use crate::{WINDOW, sampled, saturation};

#[test]
fn two_databases_of_one_name_are_not_added_up() {
    let server = sampled().start();
    let mut db = server.new_db("app");
    wait_until("all databases are read", secs(20), || {
        db.snapshot();
        db.val("SELECT value LIKE 'here:%' FROM perfmon.status() WHERE item = 'home database'")
    });
    let alter = |what: &str| {
        wait_until("nobody is connected", secs(20), || {
            server.db("postgres").batch_execute(what).is_ok()
        });
    };
    alter("CREATE DATABASE gone");
    alter("CREATE DATABASE shop");
    let counted = format!(
        "SELECT count(*) FROM perfmon.pool_activity({WINDOW}, interval '1 day')
         WHERE level = 'database' AND database_name = 'gone' AND counted_sessions > 0"
    );
    let whose = "level = 'database' AND database_name = 'gone'";
    let held = server.db("gone");
    db.sampled_intervals(2, 3);
    drop(held);
    db.snapshot();
    assert!(db.val::<i64>(&counted) > 0);
    assert!(saturation::<Option<f64>>(&mut db, "session_ms", whose).is_some());

    alter("DROP DATABASE gone");
    alter("ALTER DATABASE shop RENAME TO gone");
    let held = server.db("gone");
    db.sampled_intervals(2, 3);
    drop(held);
    db.snapshot();
    let rows = "SELECT count(*) FROM perfmon.databases() WHERE database_name = 'gone'";
    assert_eq!(db.val::<i64>(rows), 2);
    assert_eq!(db.val::<i64>(&counted), 0, "nobody knows of which of them");
    assert_eq!(saturation::<Option<f64>>(&mut db, "session_ms", whose), None);
}
