//! A healthy server for tests of detectors: an hour of a small web shop's load, in cache, on a machine
//! of 16 GB, tuned as a careful administrator would. Tests change what they are about.

use crate::facts::relation::Activity;
use crate::facts::{
    Checkpoints, Database, Facts, Failures, Horizon, Sequence, Server, Setting, Statement, Table,
    Window,
};
use crate::finding::{Finding, Severity};
use crate::threshold::Thresholds;

use super::{Detector, judge_with};

pub(crate) const GB: f64 = 1_073_741_824.0;
const HOUR_US: i64 = 3_600_000_000;

/// An hour of it.
pub(crate) fn healthy() -> Facts {
    let now = 1_795_262_400_000_000;
    let hour =
        Window { since_us: now - HOUR_US, until_us: now, covered_us: HOUR_US, intervals: 60 };
    let week = Window {
        since_us: now - 168 * HOUR_US,
        covered_us: 160 * HOUR_US,
        intervals: 9_600,
        ..hour
    };
    Facts {
        now_us: now,
        judged_us: None,
        lasted: Vec::new(),
        window: hour,
        history: week,
        database: Database {
            name: "shop".to_owned(),
            commits: Some(360_000),
            rollbacks: Some(120),
            blks_hit: Some(40_000_000),
            blks_read: Some(20_000),
            temp_files: Some(2),
            temp_bytes: Some(20_000_000),
            deadlocks: Some(0),
            checksum_failures: Some(0),
            active_ms: Some(1_900_000.0),
            idle_in_transaction_ms: Some(300_000.0),
            sessions_abandoned: Some(0),
            bytes: Some(3_000_000_000),
            exec_ms: Some(1_800_000.0),
            ..Database::default()
        },
        server: server(now - 30 * 24 * HOUR_US),
        statements: Some(vec![statement(1, 360_000, 3.0), statement(2, 360_000, 2.0)]),
        tables: Some(vec![table(1, "public.orders", 1_000_000), table(2, "public.branches", 100)]),
        indexes: Some(Vec::new()),
        foreign_keys: Some(Vec::new()),
        failures: Some(Failures::default()),
        pools: None,
        plan_flips: Some(Vec::new()),
        evidence: None,
        sequences: Some(vec![Sequence {
            name: "public.orders_id_seq".to_owned(),
            last_value: Some(1_000_000),
            start: 1,
            min: 1,
            max: i64::MAX,
            increment: 1,
            owned_by: Some("public.orders.id".to_owned()),
            column_max: Some(i64::MAX),
            before: Some((982_000, now - 2 * 86_400_000_000)),
            ..Sequence::default()
        }]),
        objectives: Some(Vec::new()),
        host: None,
        poolers: None,
        sessions: Some(crate::facts::Sessions::default()),
    }
}

fn server(started_us: i64) -> Server {
    Server {
        version: "15.20".to_owned(),
        major: 15,
        started_us,
        block_bytes: 8192,
        memory_bytes: Some(16 << 30),
        cpus: Some(8),
        checksums: Some(true),
        standbys: Some(0),
        extensions: vec![("pg_stat_statements".to_owned(), "1.10".to_owned())],
        available_extensions: vec!["pg_prewarm".to_owned()],
        wal_bytes: Some(2 << 30),
        wal_fpi: Some(40_000),
        wal_records: Some(4_000_000),
        wal_buffers_full: Some(0),
        checkpoints: Some(Checkpoints { timed: 12, requested: 0, ..Checkpoints::default() }),
        statement_deallocs: Some(0),
        statement_entries: Some(900),
        statement_capacity: Some(5_000),
        horizon: Some(Horizon {
            database: "shop".to_owned(),
            mxid_database: "shop".to_owned(),
            xid_age: 150_000_000,
            mxid_age: 2_000_000,
            xids_per_s: Some(100.0),
        }),
        holders: Some(Vec::new()),
        slots: Some(Vec::new()),
        settings: settings(),
        ..Server::default()
    }
}

fn settings() -> Vec<Setting> {
    #[rustfmt::skip]
    let numbers: &[(&str, f64, &str)] = &[
        ("shared_buffers", 524_288.0, "8kB"), ("effective_cache_size", 1_572_864.0, "8kB"),
        ("work_mem", 4_096.0, "kB"), ("maintenance_work_mem", 65_536.0, "kB"),
        ("autovacuum_work_mem", -1.0, "kB"), ("max_wal_size", 8_192.0, "MB"),
        ("wal_buffers", 2_048.0, "8kB"), ("checkpoint_timeout", 300.0, "s"),
        ("checkpoint_completion_target", 0.9, ""), ("max_connections", 100.0, ""),
        ("effective_io_concurrency", 200.0, ""), ("random_page_cost", 1.1, ""),
        ("seq_page_cost", 1.0, ""), ("jit_above_cost", 100_000.0, ""),
        ("vacuum_cost_limit", 200.0, ""), ("autovacuum_vacuum_cost_limit", -1.0, ""),
        ("autovacuum_vacuum_cost_delay", 2.0, "ms"), ("autovacuum_max_workers", 3.0, ""),
        ("autovacuum_naptime", 60.0, "s"), ("autovacuum_vacuum_threshold", 50.0, ""),
        ("autovacuum_vacuum_scale_factor", 0.2, ""), ("autovacuum_analyze_threshold", 50.0, ""),
        ("autovacuum_analyze_scale_factor", 0.1, ""),
        ("autovacuum_freeze_max_age", 200_000_000.0, ""),
        ("autovacuum_multixact_freeze_max_age", 400_000_000.0, ""),
        ("idle_in_transaction_session_timeout", 0.0, "ms"), ("pg_stat_statements.max", 5_000.0, ""),
    ];
    #[rustfmt::skip]
    let words: &[(&str, &str)] = &[
        ("autovacuum", "on"), ("track_counts", "on"), ("track_activities", "on"),
        ("track_io_timing", "on"), ("fsync", "on"), ("full_page_writes", "on"),
        ("zero_damaged_pages", "off"), ("ignore_checksum_failure", "off"), ("jit", "on"),
        ("wal_compression", "off"), ("enable_seqscan", "on"), ("compute_query_id", "auto"),
        ("pg_stat_statements.track", "top"), ("restart_after_crash", "on"),
        ("shared_preload_libraries", "pg_stat_statements, pg_perfmon"),
    ];
    let restart = ["shared_buffers", "wal_buffers", "max_connections", "autovacuum_max_workers"];
    let numeric = numbers.iter().map(|(name, number, unit)| Setting {
        name: (*name).to_owned(),
        number: Some(*number),
        shown: number.to_string(),
        unit: (!unit.is_empty()).then(|| (*unit).to_owned()),
        needs_restart: restart.contains(name) || name.starts_with("pg_stat"),
        ..Setting::default()
    });
    let verbal = words.iter().map(|(name, word)| Setting {
        name: (*name).to_owned(),
        shown: (*word).to_owned(),
        needs_restart: *name == "shared_preload_libraries",
        ..Setting::default()
    });
    numeric.chain(verbal).collect()
}

/// A statement at top level, all from cache.
pub(crate) fn statement(id: i64, calls: u64, mean_ms: f64) -> Statement {
    Statement {
        statement_id: id,
        toplevel: true,
        command: Some("SELECT".to_owned()),
        user_name: Some("shop".to_owned()),
        calls,
        exec_ms: calls as f64 * mean_ms,
        rows: calls,
        blks_hit: calls * 20,
        read_ms: Some(0.0),
        jit_ms: Some(0.0),
        ..Statement::default()
    }
}

/// A table that is written to and kept in order.
pub(crate) fn table(oid: u32, name: &str, rows: u64) -> Table {
    let half = Activity {
        idx_scan: 180_000,
        idx_tup_fetch: 180_000,
        n_tup_upd: rows / 50,
        n_tup_hot_upd: rows / 50,
        n_tup_ins: rows / 100,
        autovacuum_count: 1,
        dead_rows: Some(rows / 20),
        mod_since_analyze: Some(rows / 20),
        ..Activity::default()
    };
    let whole = Activity {
        idx_scan: 360_000,
        idx_tup_fetch: 360_000,
        n_tup_upd: rows / 25,
        n_tup_hot_upd: rows / 25,
        n_tup_ins: rows / 50,
        autovacuum_count: 2,
        ..half
    };
    Table {
        oid,
        name: name.to_owned(),
        rows: Some(rows as f64),
        table_bytes: Some(rows as i64 * 200),
        replica_identity: 'd',
        xid_age: Some(100_000_000),
        mxid_age: Some(1_000_000),
        window: Some(whole),
        first_half: Some(half),
        live_rows: Some(rows),
        dead_rows: Some(rows / 20),
        mod_since_analyze: Some(rows / 20),
        last_vacuum_us: Some(1_795_262_400_000_000 - HOUR_US / 4),
        last_analyze_us: Some(1_795_262_400_000_000 - HOUR_US / 4),
        ..Table::default()
    }
}

/// Gives a setting another value.
pub(crate) fn set(facts: &mut Facts, name: &str, value: impl Into<SetTo>) {
    let at = facts.server.settings.iter().position(|s| s.name == name);
    let at = at.unwrap_or_else(|| {
        facts.server.settings.push(Setting { name: name.to_owned(), ..Setting::default() });
        facts.server.settings.len() - 1
    });
    let setting = &mut facts.server.settings[at];
    setting.is_set = true;
    match value.into() {
        SetTo::Number(number) => {
            setting.number = Some(number);
            setting.shown = number.to_string();
        }
        SetTo::Word(word) => word.clone_into(&mut setting.shown),
    }
}

/// What to set.
pub(crate) enum SetTo {
    Number(f64),
    Word(&'static str),
}

impl From<f64> for SetTo {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<&'static str> for SetTo {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

/// What a detector finds.
pub(crate) fn found(detector: &'static Detector, facts: &Facts) -> Vec<Finding> {
    judge_with(&[detector], facts, &Thresholds::default()).findings
}

/// The only finding of a kind, checked for what every finding must hold.
#[track_caller]
pub(crate) fn the(detector: &'static Detector, facts: &Facts, kind: &str) -> Finding {
    let found = found(detector, facts);
    for finding in &found {
        check(detector, finding);
    }
    let mut of_kind = found.iter().filter(|f| f.kind == kind);
    match (of_kind.next(), of_kind.next()) {
        (Some(finding), None) => finding.clone(),
        (None, _) => panic!("no {kind} among {:?}", titles(&found)),
        (Some(_), Some(_)) => panic!("more than one {kind}: {:?}", titles(&found)),
    }
}

/// That a kind is not found.
#[track_caller]
pub(crate) fn silent(detector: &'static Detector, facts: &Facts, kind: &str) {
    let found = found(detector, facts);
    assert!(found.iter().all(|f| f.kind != kind), "{:?}", titles(&found));
}

fn titles(found: &[Finding]) -> Vec<String> {
    found.iter().map(|f| format!("{}: {}", f.kind, f.title)).collect()
}

#[track_caller]
fn check(detector: &Detector, finding: &Finding) {
    let kind = finding.kind.as_str();
    assert!(detector.kinds.contains(&kind), "{kind} is not announced");
    assert!(!finding.title.contains('\n') && finding.title.is_ascii(), "{}", finding.title);
    assert!(finding.title.len() < 200 && !finding.title.ends_with('.'), "{}", finding.title);
    assert!(finding.remedy.ends_with('.') || finding.remedy.ends_with(':'), "{}", finding.remedy);
    assert!(!finding.evidence.is_empty() && !finding.reference.is_empty(), "{kind}");
    let numbers = |e: &crate::finding::Evidence| match e.value {
        crate::finding::Value::Number(n) => n.is_finite(),
        _ => true,
    };
    assert!(finding.evidence.iter().all(numbers), "{:?}", finding.evidence);
    if let Some(statement) = &finding.statement {
        assert!(statement.lines().all(|line| line.ends_with(';')), "{statement}");
    }
}

/// Those whose facts `healthy` has whole.
fn detectors() -> [&'static Detector; 3] {
    [&super::vacuum::DETECTOR, &super::server::DETECTOR, &super::settings::DETECTOR]
}

#[test]
fn what_is_said_of_a_name_with_line_breaks_stays_on_its_line() {
    fn look(_: &Facts, _: &Thresholds, judgement: &mut super::Judgement) {
        let name = "\"two\nlines\"";
        let mut finding = Finding::new("x", Severity::Info, name, name, name, "");
        (finding.cause, finding.statement) = (Some(name.into()), Some(format!("DROP {name};\n")));
        judgement.add(finding);
    }
    static ODD: Detector = Detector { name: "odd", kinds: &["x"], thresholds: &[], detect: look };
    let found = judge_with(&[&ODD], &healthy(), &Thresholds::default()).findings.remove(0);
    assert_eq!((found.title.as_str(), found.remedy.as_str()), ("\"two lines\"", "\"two lines\""));
    assert_eq!(found.cause.as_deref(), Some("\"two lines\""));
    assert_eq!(found.object, "\"two\nlines\"", "names are as they are");
    assert_eq!(found.statement.as_deref(), Some("DROP \"two\nlines\";\n"));
}

#[test]
fn a_healthy_server_is_left_in_peace() {
    let facts = healthy();
    let detectors =
        [&super::vacuum::DETECTOR, &super::server::DETECTOR, &super::settings::DETECTOR];
    let judgement = judge_with(&detectors, &facts, &Thresholds::default());
    assert_eq!(titles(&judgement.findings), Vec::<String>::new());
    assert_eq!(judgement.unjudged, ["cold_cache"], "no restart, and everything else is known");
}

proptest::proptest! {
    /// Whatever the numbers are: no detector fails, and what is found can be shown.
    #[test]
    fn no_number_breaks_a_detector(
        picks in proptest::collection::vec((0_usize..64, 0_usize..9), 1..24),
    ) {
        let mut facts = healthy();
        for (field, value) in picks {
            disturb(&mut facts, field, value);
        }
        for detector in detectors() {
            for finding in found(detector, &facts) {
                check(detector, &finding);
            }
        }
    }
}

/// Replaces one number by an extreme one.
fn disturb(facts: &mut Facts, field: usize, value: usize) {
    let whole = [0, 1, 1_000, 10_000_000, 1 << 31, 1 << 40, 1 << 50, 1 << 58, 3][value];
    let count = Some(whole as u64);
    let number = [0.0, 1.0, 1e3, 1e7, 1e9, 1e15, 0.01, 0.5, 3.0][value];
    let settings = facts.server.settings.len();
    let database = &mut facts.database;
    let table = &mut facts.tables.as_mut().expect("there are tables")[0];
    let server = &mut facts.server;
    match field {
        0 => database.commits = count,
        1 => database.rollbacks = count,
        2 => database.blks_hit = count,
        3 => database.blks_read = count,
        4 => database.deadlocks = count,
        5 => database.active_ms = Some(number),
        6 => database.exec_ms = Some(number),
        7 => database.read_ms = Some(number),
        8 => database.idle_in_transaction_ms = Some(number),
        9 => database.bytes = Some(whole),
        10 => database.after_restart = Some((whole as u64, 7)),
        11 => database.checksum_failures = count,
        12 => server.wal_bytes = count,
        13 => server.wal_fpi = count,
        14 => server.wal_buffers_full = count,
        15 => server.statement_deallocs = count,
        16 => server.statement_capacity = count,
        17 => server.memory_bytes = Some(whole),
        18 => server.block_bytes = whole,
        19 => {
            server.checkpoints = Some(Checkpoints { requested: whole as u64, ..Default::default() })
        }
        20 => table.dead_rows = count,
        21 => table.rows = Some(number),
        22 => table.live_rows = count,
        23 => table.mod_since_analyze = count,
        24 => table.table_bytes = Some(whole),
        25 => table.first_half = None,
        26 => facts.window.covered_us = whole,
        27 => {
            server.horizon =
                Some(Horizon { xid_age: whole, xids_per_s: Some(number), ..Default::default() })
        }
        28 => facts.sequences.as_mut().expect("there is one")[0].last_value = Some(-whole),
        29 => facts.sequences.as_mut().expect("there is one")[0].before = Some((whole, -whole)),
        30 => facts.sequences.as_mut().expect("there is one")[0].column_max = Some(whole),
        31 => facts.sequences.as_mut().expect("there is one")[0].increment = -whole,
        32 => {
            facts.statements.as_mut().expect("there are some")[0].temp_blks_written = whole as u64
        }
        33 => facts.statements.as_mut().expect("there are some")[0].jit_ms = Some(number),
        34 => facts.statements.as_mut().expect("there are some")[0].calls = whole as u64,
        other => server.settings[other % settings].number = Some(number),
    }
}
