//! For each kind a state that gives it, and near twins that do not.

use super::DETECTOR;
use super::cache::{self, HIT_RATIO};
use super::data::{CHECKSUM_FAILURES, CHECKSUMS_OFF};
use super::horizon::{HELD, PREPARED, SLOT};
use super::start::COLD_CACHE;
use super::temp::TEMP_FILES;
use super::transactions::{DEADLOCKS, IDLE, ROLLBACKS};
use super::wal::{CHECKPOINTS, VOLUME};
use super::watching::{EVICTION, MISSING};
use crate::capture::failure::Class;
use crate::detect::samples::{self, found, set, silent, statement, the};
use crate::facts::failure::Failure;
use crate::facts::relation::Activity;
use crate::facts::{Checkpoints, Facts, Holder, HolderKind, Slot};
use crate::finding::Severity;
use crate::threshold::Thresholds;

/// A database of 40 GB on a machine of 16, of whose blocks `hit` of 10 million are found, by statements
/// that spend half of their time on reads.
fn reading(hit: u64) -> Facts {
    let mut facts = samples::healthy();
    facts.database.bytes = Some(40 << 30);
    facts.database.blks_hit = Some(hit);
    facts.database.blks_read = Some(10_000_000 - hit);
    facts.database.read_ms = Some(900_000.0);
    let mut reader = statement(17, 100_000, 9.0);
    reader.blks_read = 10_000_000 - hit;
    facts.statements = Some(vec![reader]);
    facts
}

#[test]
fn cache_hit_ratio() {
    let finding = the(&DETECTOR, &reading(9_300_000), HIT_RATIO);
    assert_eq!((finding.severity, finding.evidence[0].threshold), (Severity::Info, Some(0.95)));
    let finding = the(&DETECTOR, &reading(8_500_000), HIT_RATIO);
    assert_eq!((finding.severity, finding.evidence[0].threshold), (Severity::Warning, Some(0.9)));
    assert!(finding.remedy.starts_with("Make statement 17 read less"), "{}", finding.remedy);
    assert_eq!(finding.statement, None, "shared_buffers are a quarter of the memory");
    let finding = the(&DETECTOR, &reading(6_000_000), HIT_RATIO);
    assert_eq!((finding.severity, finding.evidence[0].threshold), (Severity::Critical, Some(0.7)));
    assert_eq!(finding.share_ratio, Some(0.5));
    let mut small = reading(6_000_000);
    set(&mut small, "shared_buffers", 16_384.0);
    let finding = the(&DETECTOR, &small, HIT_RATIO);
    assert_eq!(finding.statement.as_deref(), Some("ALTER SYSTEM SET shared_buffers = '4GB';"));
    silent(&DETECTOR, &reading(9_600_000), HIT_RATIO);
}

#[test]
fn critical_needs_time_lost_for_ten_minutes() {
    let mut facts = reading(6_000_000);
    facts.window.covered_us = 9 * 60_000_000;
    assert_eq!(the(&DETECTOR, &facts, HIT_RATIO).severity, Severity::Warning);
    let mut facts = reading(6_000_000);
    facts.database.read_ms = Some(10_000.0);
    let finding = the(&DETECTOR, &facts, HIT_RATIO);
    assert_eq!(finding.severity, Severity::Info, "the system's cache answers");
    facts.database.read_ms = None;
    facts.statements.as_mut().unwrap()[0].read_ms = None;
    assert_eq!(the(&DETECTOR, &facts, HIT_RATIO).severity, Severity::Warning, "nobody knows");
}

#[test]
fn caches_that_do_what_they_can() {
    // A database in cache, of which each page is read once after the start.
    let mut facts = reading(0);
    facts.database.bytes = Some(3_000_000_000);
    (facts.database.blks_hit, facts.database.blks_read) = (Some(200_000), Some(360_000));
    silent(&DETECTOR, &facts, HIT_RATIO);
    // Two dozen reports that read 12 GB each.
    let mut facts = reading(1_000_000);
    facts.database.blks_read = Some(36_010_000);
    let mut scan = statement(9, 24, 60_000.0);
    scan.blks_read = 36_000_000;
    facts.statements = Some(vec![scan]);
    silent(&DETECTOR, &facts, HIT_RATIO);
    // Few blocks in all, or few read.
    let mut facts = reading(0);
    (facts.database.blks_hit, facts.database.blks_read) = (Some(10_000), Some(80_000));
    silent(&DETECTOR, &facts, HIT_RATIO);
    (facts.database.blks_hit, facts.database.blks_read) = (Some(80_000), Some(30_000));
    silent(&DETECTOR, &facts, HIT_RATIO);
    // What fills the cache after a restart is another finding's.
    let mut facts = reading(0);
    (facts.database.blks_hit, facts.database.blks_read) = (Some(4_000_000), Some(500_000));
    facts.database.after_restart = Some((480_000, 100_000));
    silent(&DETECTOR, &facts, HIT_RATIO);
    facts.database.after_restart = Some((1_000, 100_000));
    the(&DETECTOR, &facts, HIT_RATIO);
}

#[test]
fn a_cache_is_as_large_as_it_must_be() {
    const MB: i64 = 1_048_576;
    // Memory, database and shared_buffers in MB; shared_buffers counts blocks.
    for (memory, database, now, better) in [
        (8192, 6000, 128, Some(2048)),
        (8192, 500, 128, Some(736)),
        (8192, 60, 16, Some(80)),
        (8192, 120, 128, None),
        (8192, 128, 128, None),
        (256, 6000, 128, None),
        (40, 6000, 16, None),
    ] {
        let mut facts = samples::healthy();
        facts.server.memory_bytes = Some(memory * MB);
        facts.database.bytes = Some(database * MB);
        set(&mut facts, "shared_buffers", f64::from(now) * 128.0);
        let found = cache::better_size(&facts).map(|bytes| bytes as i64 / MB);
        assert_eq!(found, better, "{memory} {database} {now}");
    }
}

/// A statement that writes `megabytes` to temporary files each of `calls` times.
fn spilling(calls: u64, megabytes: u64) -> Facts {
    let mut facts = samples::healthy();
    let mut spills = statement(17, calls, 400.0);
    spills.temp_blks_written = calls * megabytes * 128;
    spills.temp_ms = Some(calls as f64 * 100.0);
    spills.share_ratio = Some(0.05);
    facts.statements = Some(vec![spills]);
    facts
}

#[test]
fn temp_files() {
    let finding = the(&DETECTOR, &spilling(1_000, 20), TEMP_FILES);
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(
        finding.title,
        "Statement 17 writes 20 MB to temporary files per execution, 19.5 GB per hour"
    );
    assert_eq!(
        finding.statement.as_deref(),
        Some("ALTER ROLE shop IN DATABASE shop SET work_mem = '64MB';")
    );
    assert_eq!(finding.impact.saved_ms_per_hour, Some(100_000.0));
    assert_eq!(finding.helped[0].statement_id, 17);
    assert_eq!(the(&DETECTOR, &spilling(100, 2), TEMP_FILES).severity, Severity::Info);

    silent(&DETECTOR, &spilling(5, 20_000), TEMP_FILES);
    silent(&DETECTOR, &spilling(10, 5), TEMP_FILES);
    // More than the memory has: nobody is told to take it.
    let finding = the(&DETECTOR, &spilling(20, 20_000), TEMP_FILES);
    assert_eq!((finding.severity, finding.statement), (Severity::Info, None));
    let mut index = spilling(1_000, 20);
    index.statements.as_mut().unwrap()[0].command = Some("CREATE INDEX".into());
    silent(&DETECTOR, &index, TEMP_FILES);
    let mut nested = spilling(1_000, 20);
    nested.statements.as_mut().unwrap()[0].toplevel = false;
    silent(&DETECTOR, &nested, TEMP_FILES);
}

#[test]
fn more_work_mem_is_for_sorts_and_hashes() {
    use crate::capture::scan::Kind;
    let mut facts = spilling(1_000, 20);
    let seen = |kind| crate::facts::evidence::tests::evidence(17, kind, "public.orders", "id", 10);
    facts.evidence = Some(vec![seen(Kind::SeqScan)]);
    let finding = the(&DETECTOR, &facts, TEMP_FILES);
    // What an aggregate sorts itself, or a plan keeps, more memory keeps from the disk, too.
    assert!(finding.statement.is_some(), "{finding:?}");
    assert!(finding.cause.is_some_and(|cause| cause.starts_with("An aggregate's own sort")));
}

#[test]
fn a_work_mem_that_is_not_known_is_not_told() {
    // The evaluating role has one of its own: what others have is not known.
    let mut facts = spilling(1_000, 20);
    facts.server.settings.retain(|s| s.name != "work_mem");
    let finding = the(&DETECTOR, &facts, TEMP_FILES);
    assert_eq!(finding.cause.as_deref(), Some("A sort or hash needs more than work_mem."));
    assert!(!finding.evidence.iter().any(|e| e.metric == "work_mem"));
}

#[test]
fn one_value_does_for_all_statements_of_a_role() {
    let mut facts = spilling(1_000, 20);
    let mut small = facts.statements.as_ref().unwrap()[0].clone();
    (small.statement_id, small.temp_blks_written) = (18, small.temp_blks_written / 4);
    let mut other = small.clone();
    (other.statement_id, other.user_name) = (19, Some("clerk".into()));
    facts.statements.as_mut().unwrap().extend([small, other]);
    let found = found(&DETECTOR, &facts);
    let set: Vec<&str> = found.iter().filter_map(|f| f.statement.as_deref()).collect();
    let of_shop = "ALTER ROLE shop IN DATABASE shop SET work_mem = '64MB';";
    let of_clerk = "ALTER ROLE clerk IN DATABASE shop SET work_mem = '16MB';";
    assert_eq!(set.iter().filter(|s| **s == of_shop).count(), 2, "{set:?}");
    assert_eq!(set.iter().filter(|s| **s == of_clerk).count(), 1, "{set:?}");
}

#[test]
fn temp_files_of_nobody_knows_whom() {
    let mut facts = samples::healthy();
    facts.statements = None;
    silent(&DETECTOR, &facts, TEMP_FILES);
    facts.database.temp_bytes = Some(5 << 30);
    let finding = the(&DETECTOR, &facts, TEMP_FILES);
    assert_eq!(finding.object, "database shop");
    assert!(finding.statement.unwrap().starts_with("ALTER SYSTEM SET log_temp_files = '10MB';"));
}

#[test]
fn checkpoints_too_frequent() {
    let mut facts = samples::healthy();
    set(&mut facts, "max_wal_size", 1_024.0);
    facts.server.wal_bytes = Some(36 << 30);
    facts.server.checkpoints =
        Some(Checkpoints { timed: 2, requested: 40, ..Checkpoints::default() });
    let finding = the(&DETECTOR, &facts, CHECKPOINTS);
    assert_eq!(
        finding.title,
        "A checkpoint every 1.43 min: about 40 of 42 came because WAL reached max_wal_size (1 GB)"
    );
    assert_eq!(
        finding.statement.as_deref(),
        Some("ALTER SYSTEM SET max_wal_size = '8GB';\nSELECT pg_catalog.pg_reload_conf();")
    );
    // By hand: there was no such volume.
    facts.server.wal_bytes = Some(1 << 30);
    silent(&DETECTOR, &facts, CHECKPOINTS);
    facts.server.wal_bytes = Some(36 << 30);
    facts.server.checkpoints =
        Some(Checkpoints { timed: 10, requested: 4, ..Checkpoints::default() });
    silent(&DETECTOR, &facts, CHECKPOINTS);
    facts.server.checkpoints =
        Some(Checkpoints { timed: 0, requested: 2, ..Checkpoints::default() });
    silent(&DETECTOR, &facts, CHECKPOINTS);
    facts.server.checkpoints =
        Some(Checkpoints { timed: 0, requested: 9, ..Checkpoints::default() });
    facts.window.covered_us = 300_000_000;
    silent(&DETECTOR, &facts, CHECKPOINTS);
}

#[test]
fn wal_volume() {
    let mut facts = samples::healthy();
    facts.server.wal_bytes = Some(40 << 30);
    facts.server.wal_fpi = Some(4 << 20);
    facts.statements.as_mut().unwrap()[1].wal_bytes = 9 << 30;
    let finding = the(&DETECTOR, &facts, VOLUME);
    assert_eq!(finding.severity, Severity::Warning);
    assert!(
        finding.statement.as_ref().unwrap().starts_with("ALTER SYSTEM SET wal_compression = on;")
    );
    assert!(finding.cause.unwrap().contains("Statement 2 write"));
    let hour = facts.window.covered_us;
    (facts.window.covered_us, facts.server.wal_bytes) = (hour / 3600, Some(1 << 30));
    silent(&DETECTOR, &facts, VOLUME);
    facts.window.covered_us = hour;
    facts.server.wal_bytes = Some(6 << 30);
    facts.server.wal_fpi = Some(500_000);
    assert_eq!(the(&DETECTOR, &facts, VOLUME).severity, Severity::Info);
    facts.server.wal_fpi = Some(100_000);
    silent(&DETECTOR, &facts, VOLUME);
    set(&mut facts, "wal_compression", "pglz");
    facts.server.wal_fpi = Some(700_000);
    silent(&DETECTOR, &facts, VOLUME);
}

#[test]
fn cold_cache() {
    let mut facts = samples::healthy();
    facts.database.after_restart = Some((400_000, 600_000));
    facts.database.warmed_up = Some((20_000, 2_000_000));
    facts.server.started_us = facts.now_us - 3_000_000_000;
    let finding = the(&DETECTOR, &facts, COLD_CACHE);
    assert_eq!(finding.severity, Severity::Info);
    assert_eq!(
        finding.statement.as_deref(),
        Some(
            "ALTER SYSTEM SET shared_preload_libraries = \
             'pg_stat_statements', 'pg_perfmon', 'pg_prewarm';"
        )
    );
    let title = finding.title;
    assert!(
        title.starts_with("After the start of 2026-11-2") && title.contains(" UTC only 60 % of"),
        "{title}"
    );
    // What was found before the restart says nothing about the time after it.
    for early in [None, Some((0, 0)), Some((10, 2_000))] {
        let mut early = Facts {
            database: crate::facts::Database { warmed_up: early, ..facts.database.clone() },
            ..facts.clone()
        };
        (early.database.blks_hit, early.database.blks_read) = (Some(90_000_000), Some(420_000));
        let judged = super::super::judge_with(&[&DETECTOR], &early, &Thresholds::default());
        assert!(judged.findings.iter().all(|f| f.kind != COLD_CACHE));
        assert!(judged.unjudged.contains(&COLD_CACHE));
    }
    let mut warmed = facts.clone();
    set(&mut warmed, "shared_preload_libraries", "pg_stat_statements, pg_prewarm");
    silent(&DETECTOR, &warmed, COLD_CACHE);
    let mut few = facts.clone();
    few.database.after_restart = Some((4_000, 6_000));
    silent(&DETECTOR, &few, COLD_CACHE);
    let mut always = facts.clone();
    always.database.warmed_up = Some((3_000_000, 10_000_000));
    silent(&DETECTOR, &always, COLD_CACHE);
    facts.database.after_restart = Some((40_000, 960_000));
    silent(&DETECTOR, &facts, COLD_CACHE);
}

#[test]
fn statement_eviction() {
    let mut facts = samples::healthy();
    facts.server.statement_deallocs = Some(30);
    let finding = the(&DETECTOR, &facts, EVICTION);
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(
        finding.statement.as_deref(),
        Some("ALTER SYSTEM SET pg_stat_statements.max = 13000;")
    );
    facts.server.statement_capacity = Some(20_000);
    assert_eq!(the(&DETECTOR, &facts, EVICTION).statement, None, "more is no remedy");
    facts.server.statement_deallocs = Some(2);
    assert_eq!(the(&DETECTOR, &facts, EVICTION).severity, Severity::Info);
    facts.server.statement_deallocs = Some(1);
    silent(&DETECTOR, &facts, EVICTION);
    // A load of data in a history of five minutes is no rate.
    facts.server.statement_deallocs = Some(30);
    facts.window.covered_us /= 12;
    silent(&DETECTOR, &facts, EVICTION);
    let kinds = super::super::judge_with(&[&DETECTOR], &facts, &Thresholds::default()).unjudged;
    assert!(kinds.contains(&EVICTION) && kinds.contains(&VOLUME), "{kinds:?}");
    let sooner = Thresholds::with([("rate_min_minutes".to_owned(), 4.0)]);
    let judged = super::super::judge_with(&[&DETECTOR], &facts, &sooner);
    assert!(judged.findings.iter().any(|f| f.kind == EVICTION));
}

#[test]
fn statement_counters_missing() {
    let mut facts = samples::healthy();
    set(&mut facts, "pg_stat_statements.track", "none");
    let finding = the(&DETECTOR, &facts, MISSING);
    assert!(finding.title.ends_with("pg_stat_statements.track is none"));
    set(&mut facts, "compute_query_id", "off");
    assert!(the(&DETECTOR, &facts, MISSING).title.ends_with("compute_query_id is off"));
    facts.server.extensions.clear();
    let finding = the(&DETECTOR, &facts, MISSING);
    assert_eq!(finding.statement.as_deref(), Some("CREATE EXTENSION pg_stat_statements;"));
    facts.server.settings.retain(|s| s.name != "pg_stat_statements.max");
    set(&mut facts, "shared_preload_libraries", "pg_perfmon");
    let finding = the(&DETECTOR, &facts, MISSING);
    assert_eq!(
        finding.statement.as_deref(),
        Some("ALTER SYSTEM SET shared_preload_libraries = 'pg_perfmon', 'pg_stat_statements';")
    );
    facts.server.settings.retain(|s| s.name != "shared_preload_libraries");
    assert_eq!(the(&DETECTOR, &facts, MISSING).statement, None, "not seen by everybody");
}

#[test]
fn checksums() {
    let mut facts = samples::healthy();
    facts.database.checksum_failures = Some(2);
    assert_eq!(the(&DETECTOR, &facts, CHECKSUM_FAILURES).severity, Severity::Critical);
    facts.database.checksum_failures = Some(0);
    silent(&DETECTOR, &facts, CHECKSUM_FAILURES);
    silent(&DETECTOR, &facts, CHECKSUMS_OFF);
    facts.server.checksums = Some(false);
    assert_eq!(the(&DETECTOR, &facts, CHECKSUMS_OFF).severity, Severity::Info);
}

#[test]
fn deadlocks_and_rollbacks() {
    let mut facts = samples::healthy();
    facts.database.deadlocks = Some(500);
    assert_eq!(the(&DETECTOR, &facts, DEADLOCKS).severity, Severity::Warning);
    let victim = |statement_id, count| Failure {
        class: Class::Deadlock,
        state: Some("40P01".into()),
        statement_id,
        table: None,
        count,
        lost_ms: 1_000.0,
    };
    facts.failures.as_mut().unwrap().all =
        vec![victim(Some(9), 490), victim(None, 8), victim(Some(3), 2)];
    let evidence = the(&DETECTOR, &facts, DEADLOCKS).evidence;
    let victims = evidence.iter().find(|e| e.metric == "victims").unwrap();
    assert_eq!(victims.value, "statement 9 (490 times) and statement 3 (2 times)".into());
    facts.database.deadlocks = Some(300);
    silent(&DETECTOR, &facts, DEADLOCKS);
    (facts.database.deadlocks, facts.database.commits) = (Some(2), Some(50));
    silent(&DETECTOR, &facts, DEADLOCKS);

    let mut facts = samples::healthy();
    facts.database.rollbacks = Some(90_000);
    assert_eq!(the(&DETECTOR, &facts, ROLLBACKS).severity, Severity::Info);
    facts.database.rollbacks = Some(30_000);
    silent(&DETECTOR, &facts, ROLLBACKS);
    (facts.database.rollbacks, facts.database.commits) = (Some(300), Some(300));
    silent(&DETECTOR, &facts, ROLLBACKS);
}

fn holder(kind: HolderKind, name: &str, age_s: f64, xid_age: i64) -> Holder {
    Holder { kind, name: name.into(), age_s: Some(age_s), xid_age: Some(xid_age) }
}

#[test]
fn idle_in_transaction() {
    let mut facts = samples::healthy();
    facts.database.commits = Some(36_000);
    facts.database.idle_in_transaction_ms = Some(9_000_000.0);
    let finding = the(&DETECTOR, &facts, IDLE);
    assert_eq!(
        finding.title,
        "On average 2.5 sessions idle within a transaction, 82.6 % of the time that transactions last"
    );
    assert!(finding.statement.unwrap().contains("idle_in_transaction_session_timeout = '10min'"));
    set(&mut facts, "idle_in_transaction_session_timeout", 3_600_000.0);
    assert_eq!(the(&DETECTOR, &facts, IDLE).statement, None);
    // Many short waits of a quick workload.
    facts.database.commits = Some(3_600_000);
    silent(&DETECTOR, &facts, IDLE);
    // Little of it.
    facts.database.commits = Some(36_000);
    facts.database.active_ms = Some(20_000_000.0);
    silent(&DETECTOR, &facts, IDLE);

    let mut facts = samples::healthy();
    facts.server.holders = Some(vec![holder(HolderKind::Idle, "812", 5_000.0, 10)]);
    let finding = the(&DETECTOR, &facts, IDLE);
    assert_eq!(finding.title, "Process 812 has been idle in a transaction that began 1.39 h ago");
    facts.server.holders = Some(vec![holder(HolderKind::Idle, "812", 500.0, 10)]);
    silent(&DETECTOR, &facts, IDLE);
}

#[test]
fn what_holds_rows_back() {
    let mut facts = samples::healthy();
    let mut table = samples::table(7, "public.items", 1_000_000);
    table.dead_rows = Some(900_000);
    table.first_half = Some(Activity { dead_rows: Some(700_000), ..Activity::default() });
    let healthy = facts.tables.replace(vec![table]);
    facts.server.holders = Some(vec![holder(HolderKind::Active, "99", 5_000.0, 10_000)]);
    let finding = the(&DETECTOR, &facts, HELD);
    assert_eq!(
        finding.title,
        "The transaction of process 99 (1.39 h old) keeps 900,000 dead rows of 1 table from being \
         removed"
    );
    facts.server.holders = Some(vec![holder(HolderKind::Active, "99", 60.0, 10_000)]);
    silent(&DETECTOR, &facts, HELD);
    facts.server.holders = Some(vec![holder(HolderKind::Slot, "old", 0.0, 2_000_000)]);
    the(&DETECTOR, &facts, HELD);
    facts.tables = healthy;
    silent(&DETECTOR, &facts, HELD);
}

#[test]
fn prepared_transactions_and_slots() {
    let mut facts = samples::healthy();
    facts.server.holders = Some(vec![holder(HolderKind::Prepared, "it's", 90_000.0, 10)]);
    let finding = the(&DETECTOR, &facts, PREPARED);
    assert_eq!(finding.statement.as_deref(), Some("ROLLBACK PREPARED 'it''s';"));
    facts.server.holders = Some(vec![holder(HolderKind::Prepared, "it's", 30.0, 10)]);
    silent(&DETECTOR, &facts, PREPARED);
    facts.server.holders = None;
    facts.server.oldest_prepared_s = Some(7_000.0);
    assert_eq!(the(&DETECTOR, &facts, PREPARED).statement, None);

    let slot = Slot { name: "gone".into(), active: false, retained_bytes: Some(20 << 30) };
    facts.server.slots = Some(vec![slot.clone()]);
    let finding = the(&DETECTOR, &facts, SLOT);
    assert_eq!(
        finding.statement.as_deref(),
        Some("SELECT pg_catalog.pg_drop_replication_slot('gone');")
    );
    facts.server.slots = Some(vec![Slot { active: true, ..slot.clone() }]);
    silent(&DETECTOR, &facts, SLOT);
    facts.server.slots = Some(vec![Slot { retained_bytes: Some(7 << 30), ..slot }]);
    silent(&DETECTOR, &facts, SLOT);
}

#[test]
fn an_idle_server_and_one_of_which_nothing_is_known() {
    let mut facts = samples::healthy();
    let database = &mut facts.database;
    (database.commits, database.rollbacks) = (Some(60), Some(0));
    (database.blks_hit, database.blks_read) = (Some(3_000), Some(200));
    (database.active_ms, database.exec_ms) = (Some(10.0), Some(10.0));
    database.idle_in_transaction_ms = Some(0.0);
    facts.statements = Some(Vec::new());
    assert_eq!(found(&DETECTOR, &facts), []);
    let nothing = Facts::default();
    let judgement = super::super::judge_with(&[&DETECTOR], &nothing, &Thresholds::default());
    assert_eq!(judgement.findings, []);
    for kind in DETECTOR.kinds {
        assert!(judgement.unjudged.contains(kind), "{kind}");
    }
}
