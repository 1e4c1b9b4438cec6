//! The clinic: every planted flaw is named with its remedy, nothing else is, and the remedies do what they promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use perfmon_e2e::schemas::promise::{self, Before, GONE_AT_ONCE};
use perfmon_e2e::schemas::{Flaw, Work, assert_found, clinic, limits};
use perfmon_e2e::{Db, Found, Server, secs};

/// A clinic after its first day, judged.
struct Judged {
    server: Server,
    db: Db,
    work: Vec<Work>,
    flaws: Vec<Flaw>,
    found: Vec<Found>,
}

fn judged() -> Judged {
    let server =
        clinic::SETTINGS.iter().fold(Server::manual(), |builder, line| builder.conf(line)).start();
    clinic::load(&server, "clinic");
    // Only now, so that the loading is not part of what is judged.
    let mut db = server.db("clinic");
    db.run("CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon");
    db.set_thresholds(limits::SHORT_HISTORY);
    db.set_thresholds(limits::SMALL_TABLES);
    db.set_thresholds(limits::BUSY_MACHINE);
    db.snapshot();
    let work = clinic::workload();
    clinic::run(&work, &mut db, 0);
    db.snapshot_with_texts(secs(20));
    shows(&mut db);
    let found = db.evaluate();
    for one in &found {
        println!("{}\n        {}", one.head(), one.statement.as_deref().unwrap_or("-"));
    }
    Judged { server, db, work, flaws: clinic::flaws(), found }
}

/// What the counters must say for the flaws to be there: a fixture in which nothing shows would make every judge look
/// right.
fn shows(db: &mut Db) {
    let holds = [
        (
            "invoices are read for each patient",
            "(SELECT seq_scan > 150 FROM pg_stat_user_tables WHERE relname = 'rechnung')",
        ),
        (
            "patients are read for each mail",
            "(SELECT seq_tup_read > 2000000 FROM pg_stat_user_tables WHERE relname = 'Patient')",
        ),
        (
            "values are read for each device",
            "(SELECT seq_tup_read > 5000000 FROM pg_stat_user_tables WHERE relname = 'Messwert')",
        ),
        (
            "appointments are read for each doctor",
            "(SELECT sum(seq_tup_read) > 5000000 FROM pg_stat_user_tables WHERE relname LIKE 'Termin%')",
        ),
        (
            "nothing reads two indexes",
            "(SELECT bool_and(idx_scan = 0) FROM pg_stat_user_indexes WHERE indexrelname ~ 'notiz|gemessen')",
        ),
        (
            "sound indexes are used",
            "(SELECT bool_and(idx_scan > 0) FROM pg_stat_user_indexes WHERE indexrelname IN ('by_group', 'by_group_c', 'by_user', 'by_limit', 'by_all', 'by_from_order', 'Messwert_zeit', 'Patient_kartei_idx', 'Patient_Nachname_idx', 'rechnung_faellig_idx', 'Termin 2026/10_patient_idx'))",
        ),
        (
            "dead rows",
            "(SELECT n_dead_tup > 8000 FROM pg_stat_user_tables WHERE relname = 'warteschlange')",
        ),
        (
            "not analysed",
            "(SELECT n_mod_since_analyze >= 20000 FROM pg_stat_user_tables WHERE relname = 'eingang')",
        ),
        (
            "hot updates",
            "(SELECT n_tup_hot_upd > n_tup_upd * 0.9 FROM pg_stat_user_tables WHERE relname = 'bett')",
        ),
        (
            "spills",
            "(SELECT temp_files > 20 FROM pg_stat_database WHERE datname = current_database())",
        ),
        (
            "an invalid index",
            "(SELECT NOT indisvalid FROM pg_index WHERE indexrelid = '\"Klinik Süd\".\"nur einer\"'::regclass)",
        ),
    ];
    for (what, sql) in holds {
        assert!(db.val::<bool>(&format!("SELECT {sql}")), "the workload does not show: {what}");
    }
}

#[test]
fn every_flaw_is_named_and_mended_and_nothing_else() {
    let mut judged = judged();
    everything_is_named(&mut judged);
    remedies_do_what_they_promise(judged);
}

fn everything_is_named(j: &mut Judged) {
    assert_found(&j.flaws, &j.found, "clinic");
    // The functions that show a part of it say the same.
    let scanned: Vec<String> = j.db.list("SELECT DISTINCT table_name FROM perfmon.seq_scans()");
    for flaw in j.flaws.iter().filter(|f| f.kind == "seq_scan" && f.must) {
        assert!(scanned.iter().any(|name| flaw.names().contains(name)), "{flaw:?}: {scanned:?}");
    }
    let slow: Vec<String> = j.db.list("SELECT query FROM perfmon.slow_statements()");
    assert!(slow.iter().any(|q| q.contains("md5(repeat(")), "{slow:?}");
    let report: String = j.db.val("SELECT perfmon.report()");
    for one in j.found.iter().filter(|f| f.severity == "critical") {
        assert!(report.contains(&one.title), "{} is not in the report\n{report}", one.head());
    }
}

fn remedies_do_what_they_promise(judged: Judged) {
    let Judged { server, mut db, work, flaws, found } = judged;
    let guards = promise::guards(&mut db);
    let runnable: Vec<&Found> =
        found.iter().filter(|f| f.statement.is_some() && f.kind != "slow_statement").collect();
    assert!(runnable.len() >= 10, "{runnable:?}");
    for one in &runnable {
        let before = Before::of(&mut db, one);
        promise::mend(&server, "clinic", one);
        promise::check(&server, &mut db, "clinic", one, &before);
    }
    assert_eq!(promise::guards(&mut db), guards, "a remedy took a constraint away");
    for flaw in &flaws {
        if let Some(one) = runnable.iter().find(|f| flaw.is(f)) {
            if one.kind == "temp_files" {
                promise::no_longer_spilt(&server, "clinic", flaw, &work);
            } else {
                promise::no_longer_read(&mut db, flaw, one, &work);
            }
        }
    }
    db.snapshot();
    let open = db.evaluate();
    for one in runnable.iter().filter(|f| GONE_AT_ONCE.contains(&f.kind.as_str())) {
        assert!(open.iter().all(|f| f.id != one.id), "mended and still open: {}", one.head());
        let history = db.finding_history();
        let row = history.iter().find(|f| f.id == one.id);
        assert!(row.is_some_and(|f| f.resolved_at.is_some()), "{row:?}");
    }
}
