//! For each kind a state that gives it, and near twins that do not.

use super::DETECTOR;
use super::autovacuum::AUTOVACUUM;
use super::autovacuum::COST;
use super::log::{MAX_WAL_SIZE, WAL_BUFFERS};
use super::memory::{CACHE_SIZE, MAINTENANCE, SHARED_BUFFERS, WORK_MEM};
use super::planner::{IO_CONCURRENCY, JIT, RANDOM_PAGE_COST};
use super::switches::{PENDING_RESTART, PLANNER_METHODS};
use crate::detect::samples::{self, found, set, silent, statement, the};
use crate::facts::relation::Activity;
use crate::facts::{Checkpoints, Facts, Holder, HolderKind, Index};
use crate::finding::Severity;
use crate::threshold::Thresholds;

#[test]
fn switches() {
    for (name, wrong, severity) in [
        ("fsync", "off", Severity::Critical),
        ("full_page_writes", "off", Severity::Critical),
        ("zero_damaged_pages", "on", Severity::Critical),
        ("ignore_checksum_failure", "on", Severity::Critical),
        ("autovacuum", "off", Severity::Warning),
        ("track_counts", "off", Severity::Warning),
        ("track_activities", "off", Severity::Warning),
        ("track_io_timing", "off", Severity::Info),
    ] {
        let mut facts = samples::healthy();
        set(&mut facts, name, wrong);
        let finding = the(&DETECTOR, &facts, &format!("setting_{name}"));
        assert_eq!((finding.severity, found(&DETECTOR, &facts).len()), (severity, 1), "{name}");
        let right = if wrong == "on" { "off" } else { "on" };
        assert_eq!(
            finding.statement.unwrap(),
            format!("ALTER SYSTEM SET {name} = {right};\nSELECT pg_catalog.pg_reload_conf();")
        );
    }
    let mut facts = samples::healthy();
    facts.server.settings.retain(|s| s.name != "autovacuum");
    let judgement = super::super::judge_with(&[&DETECTOR], &facts, &Thresholds::default());
    assert_eq!(judgement.unjudged, [AUTOVACUUM]);
}

#[test]
fn autovacuum_that_is_off_is_critical_where_it_hurts() {
    let off = |change: &dyn Fn(&mut Facts)| {
        let mut facts = samples::healthy();
        set(&mut facts, "autovacuum", "off");
        change(&mut facts);
        the(&DETECTOR, &facts, AUTOVACUUM)
    };
    let crossed = |f: &crate::finding::Finding| -> Vec<(String, f64)> {
        let over = |e: &crate::finding::Evidence| Some((e.metric.clone(), e.threshold?));
        f.evidence.iter().filter_map(over).collect()
    };
    let calm = off(&|_| {});
    assert_eq!((calm.severity, crossed(&calm)), (Severity::Warning, Vec::new()));
    assert!(calm.evidence.iter().any(|e| e.metric == "xids_used_ratio"));
    let old = off(&|f| f.server.horizon.as_mut().unwrap().xid_age = 700_000_000);
    assert_eq!(old.severity, Severity::Critical);
    assert_eq!(old.title, "autovacuum is off, and 32.6 % of all transaction ids are used");
    assert_eq!(crossed(&old), [("xids_used_ratio".to_owned(), 0.25)]);
    let dead = |dead: u64, live: u64| {
        off(&|f| {
            let table = &mut f.tables.as_mut().unwrap()[0];
            (table.dead_rows, table.live_rows) = (Some(dead), Some(live));
        })
    };
    let full = dead(2_000_000, 4_000_000);
    assert_eq!(full.severity, Severity::Critical);
    assert!(full.title.ends_with("33.3 % of all rows are dead"), "{}", full.title);
    let names: Vec<String> = crossed(&full).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["dead_ratio", "dead_rows"]);
    assert_eq!(dead(2_000_000, 90_000_000).severity, Severity::Warning, "a small share");
    assert_eq!(dead(2_000, 1_000).severity, Severity::Warning, "few rows");
}

#[test]
fn planner_methods() {
    let mut facts = samples::healthy();
    set(&mut facts, "enable_seqscan", "off");
    set(&mut facts, "enable_partitionwise_join", "off");
    let finding = the(&DETECTOR, &facts, PLANNER_METHODS);
    assert_eq!(
        finding.title,
        "1 method of the planner switched off for the server: enable_seqscan"
    );
    set(&mut facts, "enable_seqscan", "on");
    silent(&DETECTOR, &facts, PLANNER_METHODS);
}

#[test]
fn settings_pending_restart() {
    let mut facts = samples::healthy();
    facts.server.settings[0].pending_restart = true;
    let finding = the(&DETECTOR, &facts, PENDING_RESTART);
    assert_eq!(finding.title, "1 changed setting waits for a restart: shared_buffers");
    facts.server.settings[2].pending_restart = true;
    let finding = the(&DETECTOR, &facts, PENDING_RESTART);
    assert_eq!(finding.title, "2 changed settings wait for a restart: shared_buffers and work_mem");
}

/// A database that reads `read` of 10 million blocks from outside 128 MB of shared buffers.
fn reading(read: u64) -> Facts {
    let mut facts = samples::healthy();
    set(&mut facts, "shared_buffers", 16_384.0);
    facts.database.bytes = Some(40 << 30);
    (facts.database.blks_hit, facts.database.blks_read) = (Some(10_000_000 - read), Some(read));
    facts.database.read_ms = Some(900_000.0);
    facts
}

#[test]
fn shared_buffers() {
    let finding = the(&DETECTOR, &reading(2_000_000), SHARED_BUFFERS);
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(
        finding.title,
        "shared_buffers are 128 MB of 16 GB memory, and 20 % of the blocks asked for were not in them"
    );
    assert_eq!(finding.statement.as_deref(), Some("ALTER SYSTEM SET shared_buffers = '4GB';"));
    assert!(finding.remedy.contains("restart"));
    let mut small = reading(2_000_000);
    small.database.bytes = Some(1 << 30);
    let finding = the(&DETECTOR, &small, SHARED_BUFFERS);
    assert_eq!(finding.statement.as_deref(), Some("ALTER SYSTEM SET shared_buffers = '1536MB';"));

    silent(&DETECTOR, &reading(200_000), SHARED_BUFFERS);
    let mut quarter = reading(2_000_000);
    set(&mut quarter, "shared_buffers", 524_288.0);
    silent(&DETECTOR, &quarter, SHARED_BUFFERS);
    let mut unknown = reading(2_000_000);
    unknown.server.memory_bytes = None;
    silent(&DETECTOR, &unknown, SHARED_BUFFERS);
    set(&mut quarter, "shared_buffers", 1_400_000.0);
    let finding = the(&DETECTOR, &quarter, SHARED_BUFFERS);
    assert_eq!(
        (finding.severity, finding.effort),
        (Severity::Info, crate::finding::Effort::Medium)
    );
    set(&mut quarter, "shared_buffers", 1_000_000.0);
    silent(&DETECTOR, &quarter, SHARED_BUFFERS);
}

#[test]
fn effective_cache_size() {
    let mut facts = samples::healthy();
    facts.server.memory_bytes = Some(64 << 30);
    facts.database.bytes = Some(200 << 30);
    let finding = the(&DETECTOR, &facts, CACHE_SIZE);
    assert_eq!(
        finding.statement.as_deref(),
        Some(
            "ALTER SYSTEM SET effective_cache_size = '44GB';\nSELECT pg_catalog.pg_reload_conf();"
        )
    );
    facts.database.bytes = Some(2 << 30);
    silent(&DETECTOR, &facts, CACHE_SIZE);
    facts.database.bytes = Some(200 << 30);
    facts.server.memory_bytes = Some(32 << 30);
    silent(&DETECTOR, &facts, CACHE_SIZE);
    facts.server.memory_bytes = Some(2 << 30);
    let finding = the(&DETECTOR, &facts, CACHE_SIZE);
    assert!(finding.statement.unwrap().contains("'1408MB'"));
    facts.database.bytes = Some(1 << 30);
    silent(&DETECTOR, &facts, CACHE_SIZE);
}

#[test]
fn work_mem() {
    let mut facts = samples::healthy();
    let spill = |id, blocks: u64| {
        let mut s = statement(id, 500, 80.0);
        s.temp_blks_written = 500 * blocks;
        s
    };
    facts.statements = Some(vec![spill(1, 800), spill(2, 900), spill(3, 1_000)]);
    let finding = the(&DETECTOR, &facts, WORK_MEM);
    assert_eq!(
        finding.statement.as_deref(),
        Some("ALTER SYSTEM SET work_mem = '16MB';\nSELECT pg_catalog.pg_reload_conf();")
    );
    facts.statements.as_mut().unwrap().pop();
    silent(&DETECTOR, &facts, WORK_MEM);
    // One statement that needs far more makes most of it.
    facts.statements = Some(vec![spill(1, 800), spill(2, 900), spill(3, 1_000), spill(4, 90_000)]);
    silent(&DETECTOR, &facts, WORK_MEM);
    facts.statements.as_mut().unwrap().pop();
    set(&mut facts, "max_connections", 5_000.0);
    silent(&DETECTOR, &facts, WORK_MEM);
}

#[test]
fn maintenance_work_mem() {
    let mut facts = samples::healthy();
    facts.tables.as_mut().unwrap()[0].dead_rows = Some(50_000_000);
    let finding = the(&DETECTOR, &facts, MAINTENANCE);
    assert!(
        finding.statement.unwrap().starts_with("ALTER SYSTEM SET maintenance_work_mem = '512MB';")
    );
    let mut newer = facts.clone();
    newer.server.major = 17;
    silent(&DETECTOR, &newer, MAINTENANCE);
    set(&mut facts, "autovacuum_work_mem", 1_048_576.0);
    silent(&DETECTOR, &facts, MAINTENANCE);
    set(&mut facts, "autovacuum_work_mem", 65_536.0);
    let finding = the(&DETECTOR, &facts, MAINTENANCE);
    assert_eq!(finding.object, "setting autovacuum_work_mem");
    facts.tables.as_mut().unwrap()[0].dead_rows = Some(1_000_000);
    silent(&DETECTOR, &facts, MAINTENANCE);
}

fn scanned() -> Facts {
    let mut facts = samples::healthy();
    set(&mut facts, "random_page_cost", 4.0);
    let table = &mut facts.tables.as_mut().unwrap()[0];
    let read = 500 * table.rows.unwrap() as u64;
    let activity = table.window.as_mut().unwrap();
    (activity.seq_scan, activity.seq_tup_read) = (500, read);
    facts.indexes = Some(vec![Index { table: table.oid, ..Index::default() }]);
    facts
}

#[test]
fn random_page_cost() {
    let finding = the(&DETECTOR, &scanned(), RANDOM_PAGE_COST);
    assert_eq!(finding.severity, Severity::Info);
    assert_eq!(
        finding.title,
        "random_page_cost is 4, for disks with moving parts, though 99.9 % of blocks come from cache"
    );
    let cause = finding.cause.unwrap();
    let said = "; public.orders, which has indexes and many rows, is read whole again and again.";
    assert!(cause.ends_with(said), "{cause}");
    assert!(finding.statement.unwrap().starts_with("ALTER SYSTEM SET random_page_cost = 1.1;"));

    let mut reads = scanned();
    (reads.database.blks_hit, reads.database.blks_read) = (Some(8_000_000), Some(2_000_000));
    reads.database.read_ms = Some(400_000.0);
    let finding = the(&DETECTOR, &reads, RANDOM_PAGE_COST);
    assert!(finding.title.ends_with("a block is read in 200 us"), "{}", finding.title);
    reads.database.read_ms = Some(10_000_000.0);
    silent(&DETECTOR, &reads, RANDOM_PAGE_COST);
    reads.database.read_ms = None;
    reads.statements = None;
    silent(&DETECTOR, &reads, RANDOM_PAGE_COST);

    let mut nothing_scanned = scanned();
    let table = &mut nothing_scanned.tables.as_mut().unwrap()[0];
    let rows = table.rows.unwrap() as u64;
    let activity = table.window.as_mut().unwrap();
    (activity.seq_scan, activity.seq_tup_read) = (0, 0);
    silent(&DETECTOR, &nothing_scanned, RANDOM_PAGE_COST);
    // Two indexes were built.
    let mut built = nothing_scanned.clone();
    let activity = built.tables.as_mut().unwrap()[0].window.as_mut().unwrap();
    (activity.seq_scan, activity.seq_tup_read) = (2, 2 * rows);
    silent(&DETECTOR, &built, RANDOM_PAGE_COST);
    // Its first rows are read often.
    let mut early = nothing_scanned.clone();
    let activity = early.tables.as_mut().unwrap()[0].window.as_mut().unwrap();
    (activity.seq_scan, activity.seq_tup_read) = (500, rows);
    silent(&DETECTOR, &early, RANDOM_PAGE_COST);
    let mut no_index = scanned();
    no_index.indexes = Some(Vec::new());
    silent(&DETECTOR, &no_index, RANDOM_PAGE_COST);
    let mut low = scanned();
    set(&mut low, "random_page_cost", 1.5);
    silent(&DETECTOR, &low, RANDOM_PAGE_COST);
}

#[test]
fn effective_io_concurrency() {
    let mut facts = reading(2_000_000);
    set(&mut facts, "effective_io_concurrency", 1.0);
    let finding = the(&DETECTOR, &facts, IO_CONCURRENCY);
    assert!(
        finding.statement.unwrap().starts_with("ALTER SYSTEM SET effective_io_concurrency = 200;")
    );
    let mut slow = facts.clone();
    slow.database.read_ms = Some(9_000_000.0);
    silent(&DETECTOR, &slow, IO_CONCURRENCY);
    let mut cheap = facts.clone();
    cheap.database.exec_ms = Some(90_000_000.0);
    silent(&DETECTOR, &cheap, IO_CONCURRENCY);
    let mut cached = facts.clone();
    (cached.database.read_ms, cached.database.exec_ms) = (Some(20_000.0), Some(100_000.0));
    silent(&DETECTOR, &cached, IO_CONCURRENCY);
    let mut unknown = facts.clone();
    (unknown.database.read_ms, unknown.statements) = (None, Some(Vec::new()));
    silent(&DETECTOR, &unknown, IO_CONCURRENCY);
    set(&mut facts, "effective_io_concurrency", 16.0);
    silent(&DETECTOR, &facts, IO_CONCURRENCY);
}

#[test]
fn jit() {
    let mut facts = samples::healthy();
    let mut short = statement(5, 2_000, 300.0);
    short.jit_ms = Some(400_000.0);
    facts.statements.as_mut().unwrap().push(short.clone());
    let finding = the(&DETECTOR, &facts, JIT);
    assert!(finding.statement.as_ref().unwrap().starts_with("ALTER SYSTEM SET jit = off;"));
    assert_eq!(finding.impact.saved_ms_per_hour, Some(400_000.0));
    assert_eq!(finding.helped.len(), 1);
    let mut long = statement(6, 12, 60_000.0);
    long.jit_ms = Some(6_000.0);
    facts.statements.as_mut().unwrap().push(long.clone());
    let finding = the(&DETECTOR, &facts, JIT);
    assert_eq!(finding.object, "setting jit_above_cost");
    facts.statements = Some(vec![long]);
    silent(&DETECTOR, &facts, JIT);
    short.jit_ms = Some(100_000.0);
    facts.statements = Some(vec![short.clone()]);
    silent(&DETECTOR, &facts, JIT);
    (short.calls, short.exec_ms, short.jit_ms) = (20, 6_000.0, Some(4_000.0));
    facts.statements = Some(vec![short]);
    silent(&DETECTOR, &facts, JIT);
}

#[test]
fn autovacuum_cost() {
    let mut facts = samples::healthy();
    let table = &mut facts.tables.as_mut().unwrap()[0];
    table.dead_rows = Some(900_000);
    table.first_half = Some(Activity { dead_rows: Some(700_000), ..Activity::default() });
    let finding = the(&DETECTOR, &facts, COST);
    assert!(
        finding
            .statement
            .unwrap()
            .starts_with("ALTER SYSTEM SET autovacuum_vacuum_cost_limit = 2000;")
    );
    let mut held = facts.clone();
    held.server.holders = Some(vec![Holder {
        kind: HolderKind::Active,
        name: "1".into(),
        age_s: Some(4_000.0),
        xid_age: Some(9),
    }]);
    silent(&DETECTOR, &held, COST);
    set(&mut facts, "autovacuum_vacuum_cost_limit", 5_000.0);
    silent(&DETECTOR, &facts, COST);
    set(&mut facts, "autovacuum_vacuum_cost_limit", -1.0);
    set(&mut facts, "autovacuum_vacuum_cost_delay", 0.0);
    silent(&DETECTOR, &facts, COST);
}

#[test]
fn max_wal_size_and_wal_buffers() {
    let mut facts = samples::healthy();
    facts.server.wal_bytes = Some(60 << 30);
    facts.server.checkpoints =
        Some(Checkpoints { timed: 10, requested: 4, ..Checkpoints::default() });
    let finding = the(&DETECTOR, &facts, MAX_WAL_SIZE);
    assert!(finding.statement.unwrap().starts_with("ALTER SYSTEM SET max_wal_size = '16GB';"));
    facts.server.checkpoints =
        Some(Checkpoints { timed: 11, requested: 1, ..Checkpoints::default() });
    silent(&DETECTOR, &facts, MAX_WAL_SIZE);
    facts.server.checkpoints =
        Some(Checkpoints { timed: 1, requested: 9, ..Checkpoints::default() });
    silent(&DETECTOR, &facts, MAX_WAL_SIZE);

    facts.server.wal_buffers_full = Some(40_000);
    let finding = the(&DETECTOR, &facts, WAL_BUFFERS);
    assert_eq!(finding.statement.as_deref(), Some("ALTER SYSTEM SET wal_buffers = '64MB';"));
    let mut load = facts.clone();
    load.window.covered_us = 300_000_000;
    silent(&DETECTOR, &load, WAL_BUFFERS);
    facts.server.wal_buffers_full = Some(30_000);
    silent(&DETECTOR, &facts, WAL_BUFFERS);
    facts.server.wal_buffers_full = Some(40_000);
    set(&mut facts, "wal_buffers", 8_192.0);
    silent(&DETECTOR, &facts, WAL_BUFFERS);
}

#[test]
fn a_laptop_with_default_settings_and_one_of_which_nothing_is_known() {
    let mut facts = samples::healthy();
    for (name, value) in [
        ("shared_buffers", 16_384.0),
        ("effective_cache_size", 524_288.0),
        ("max_wal_size", 1_024.0),
        ("wal_buffers", 512.0),
        ("random_page_cost", 4.0),
        ("effective_io_concurrency", 1.0),
    ] {
        set(&mut facts, name, value);
    }
    set(&mut facts, "track_io_timing", "off");
    facts.database.bytes = Some(200_000_000);
    (facts.database.blks_hit, facts.database.blks_read) = (Some(900_000), Some(30_000));
    facts.server.wal_bytes = Some(200_000_000);
    let found: Vec<_> = found(&DETECTOR, &facts).into_iter().map(|f| f.kind).collect();
    assert_eq!(found, ["setting_track_io_timing"]);
    let nothing = Facts::default();
    let judgement = super::super::judge_with(&[&DETECTOR], &nothing, &Thresholds::default());
    assert_eq!((judgement.findings.len(), judgement.unjudged.len()), (0, DETECTOR.kinds.len()));
}

#[test]
fn what_is_set_for_the_database_is_altered_there() {
    let mut facts = samples::healthy();
    let keep = |facts: &mut Facts, name: &str, wrong: &'static str| {
        set(facts, name, wrong);
        let one = facts.server.settings.iter_mut().find(|s| s.name == name).unwrap();
        (one.kept_by, one.is_set) = (Some("ALTER DATABASE app".to_owned()), true);
    };
    keep(&mut facts, "track_activities", "off");
    let finding = the(&DETECTOR, &facts, "setting_track_activities");
    let line = "ALTER DATABASE app SET track_activities = on;";
    assert_eq!(finding.statement.as_deref(), Some(line), "ALTER SYSTEM would change nothing");
    assert!(finding.remedy.ends_with("Sessions that begin then have it."), "{}", finding.remedy);
    keep(&mut facts, "enable_seqscan", "off");
    let both = |facts: &Facts| the(&DETECTOR, facts, PLANNER_METHODS).statement.unwrap();
    assert_eq!(both(&facts), "ALTER DATABASE app SET enable_seqscan = on;");
    facts.server.settings.push(crate::facts::Setting {
        name: "enable_hashjoin".to_owned(),
        shown: "off".to_owned(),
        is_set: true,
        ..Default::default()
    });
    let lines = "ALTER SYSTEM SET enable_hashjoin = on;\nALTER DATABASE app SET enable_seqscan = on;\n\
         SELECT pg_catalog.pg_reload_conf();";
    assert_eq!(both(&facts), lines);
}
