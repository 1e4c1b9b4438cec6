//! Servers as the report may meet them.

use perfmon_core::finding::{Evidence, Finding, Severity};
use perfmon_core::report::{
    Change, Command, Head, Load, Missing, Point, Report, Statement, Trend, step_us,
};

use crate::shop::{orders, search, sick_shop, slow};

pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;
/// 2026-11-21 12:00 UTC.
pub(crate) const NOON: i64 = 1_795_262_400_000_000;

/// Shows a time in a zone two hours east of Greenwich, as the server would.
pub(crate) fn show(us: i64) -> String {
    let local = us + 2 * HOUR;
    let days = local.div_euclid(DAY) - NOON.div_euclid(DAY);
    // Days of October to December 2026 only.
    let (month, day) = match days {
        ..-20 => (10, 52 + days),
        -20..10 => (11, 21 + days),
        _ => (12, days - 9),
    };
    let seconds = local.rem_euclid(DAY) / SECOND;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = match local.rem_euclid(SECOND) {
        0 => String::new(),
        us => format!(".{us:06}"),
    };
    format!("2026-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction}+02")
}

pub(crate) fn head(database: &str, period: i64) -> Head {
    Head {
        now_us: NOON + 249_848,
        server: "port 5432".to_owned(),
        version: "PostgreSQL 15.20 (Debian 15.20-0+deb12u1)".to_owned(),
        cpus: Some(16),
        memory_bytes: Some(128 << 30),
        database: database.to_owned(),
        source: Some(-4_611_686_018_427_387_904),
        time_zone: "Europe/Helsinki".to_owned(),
        since_us: NOON - period,
        until_us: NOON,
        intervals: period / MINUTE,
        covered_us: period,
        quality: Some(0),
        completeness_ratio: Some(0.982),
        ..Head::default()
    }
}

/// A trend in which step `i` has the mean that `mean` gives it, in milliseconds; `None` is a gap.
pub(crate) fn trend(period: i64, calls: i64, mean: impl Fn(i64) -> Option<f64>) -> Trend {
    let step = step_us(period, MINUTE);
    let points = (0..period / step)
        .map(|i| {
            let total = mean(i).map(|ms| ms * calls as f64);
            Point {
                since_us: NOON - period + i * step,
                until_us: NOON - period + (i + 1) * step,
                covered_ratio: if total.is_some() { 1.0 } else { 0.0 },
                calls: total.map(|_| calls),
                total_exec_ms: total,
                active_ratio: total.map(|ms| ms / (step as f64 / 1000.0)),
            }
        })
        .collect();
    Trend { step_us: step, target_ms: Some(100.0), points }
}

pub(crate) fn statement(id: i64, share: f64, calls: i64, mean: f64, query: &str) -> Statement {
    Statement {
        statement_id: id,
        share_ratio: Some(share),
        total_exec_ms: Some(calls as f64 * mean),
        calls: Some(calls),
        mean_exec_ms: Some(mean),
        p95_ms: Some(mean * 2.5),
        rows_per_call: Some(1.0),
        user_name: Some("app".to_owned()),
        query: Some(query.to_owned()),
        ..Statement::default()
    }
}

pub(crate) fn command(tag: &str, calls: i64, ms: f64, slow: (i64, i64, f64)) -> Command {
    Command {
        command: Some(tag.to_owned()),
        calls,
        total_exec_ms: ms,
        slow_statements: slow.0,
        slow_calls: slow.1,
        slow_exec_ms: slow.2,
    }
}

pub(crate) fn note(kind: &str, object: &str, title: &str, remedy: &str) -> Finding {
    Finding::new(kind, Severity::Info, object, title, remedy, "PostgreSQL manual, 30.2")
}

/// Somebody runs pgbench for an hour, and all is well.
pub(crate) fn healthy() -> Report {
    let mut track = note(
        "setting_track_io_timing",
        "setting track_io_timing",
        "track_io_timing is off, so that time spent reading cannot be told from other time",
        "Measure the cost of the clock with pg_test_timing, and switch it on if that is small.",
    );
    track.statement = Some(
        "ALTER SYSTEM SET track_io_timing = on;\nSELECT pg_catalog.pg_reload_conf();".to_owned(),
    );
    Report {
        head: head("bench", HOUR),
        load: Load {
            transactions_per_s: Some(2350.0),
            rollback_ratio: Some(0.0),
            deadlocks: Some(0),
            statements_per_s: Some(16_450.0),
            total_exec_ms: Some(3.2e6),
            active_ratio: Some(3.2e6 / 3.6e6),
            cache_hit_ratio: Some(0.9992),
            read_bytes: Some(1 << 30),
            wal_bytes: Some(9 << 30),
            temp_bytes: Some(0),
            database_bytes: Some(1600 << 20),
        },
        findings: Some(vec![track]),
        objectives: Some(Vec::new()),
        trend: Some(trend(HOUR, 1_974_000, |i| Some(0.05 + 0.01 * (i % 4) as f64))),
        commands: vec![
            command("UPDATE", 25_380_000, 2.5e6, (0, 0, 0.0)),
            command("SELECT", 8_460_000, 3e5, (0, 0, 0.0)),
            command("INSERT", 8_460_000, 2.5e5, (0, 0, 0.0)),
            command("BEGIN", 8_460_000, 1e5, (0, 0, 0.0)),
            command("COMMIT", 8_460_000, 5e4, (0, 0, 0.0)),
        ],
        statements: Some(vec![
            statement(
                1,
                0.53,
                8_460_000,
                0.2,
                "UPDATE pgbench_branches SET bbalance = bbalance + $1 WHERE bid = $2",
            ),
            statement(
                2,
                0.20,
                8_460_000,
                0.075,
                "UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2",
            ),
        ]),
        ..Report::default()
    }
}

/// Nobody uses it.
pub(crate) fn idle() -> Report {
    Report {
        head: Head { completeness_ratio: None, ..head("idle", HOUR) },
        load: Load {
            transactions_per_s: Some(0.0),
            deadlocks: Some(0),
            statements_per_s: Some(0.0),
            total_exec_ms: Some(0.0),
            active_ratio: Some(0.0),
            database_bytes: Some(8 << 20),
            ..Load::default()
        },
        findings: Some(vec![]),
        trend: Some(trend(HOUR, 0, |_| Some(0.0))),
        statements: Some(vec![]),
        uncounted: Some(Missing {
            problem: "Execution times are not counted: pg_perfmon.capture is off".to_owned(),
            fix: "ALTER SYSTEM SET pg_perfmon.capture = 'top'; SELECT pg_reload_conf()".to_owned(),
        }),
        ..Report::default()
    }
}

/// The first minute after CREATE EXTENSION.
pub(crate) fn no_history() -> Report {
    Report {
        head: Head {
            intervals: 0,
            covered_us: 0,
            quality: None,
            completeness_ratio: None,
            cpus: None,
            memory_bytes: None,
            ..head("fresh", HOUR)
        },
        findings: Some(vec![]),
        ..Report::default()
    }
}

/// Some intervals, but no pg_stat_statements; and nobody judged.
pub(crate) fn no_statements() -> Report {
    Report {
        head: Head {
            intervals: 2,
            covered_us: 2 * MINUTE,
            quality: Some(1),
            history_begins_us: Some(NOON - 2 * MINUTE),
            completeness_ratio: None,
            ..head("app", HOUR)
        },
        load: Load { transactions_per_s: Some(12.3), ..Load::default() },
        missing: Some(Missing {
            problem: "not preloaded: statements are not counted".to_owned(),
            fix: "In postgresql.conf: add pg_stat_statements to shared_preload_libraries, then \
                  restart the server."
                .to_owned(),
        }),
        ..Report::default()
    }
}

/// A day with a deployment that made it slower, and an hour without the server.
pub(crate) fn one_day() -> Report {
    let mut report = sick_shop();
    report.head = Head { gaps: 1, intervals: 1380, covered_us: 23 * HOUR, ..head("shop", DAY) };
    report.load.total_exec_ms =
        report.load.active_ratio.map(|running| running * report.head.covered_us as f64 / 1000.0);
    report.trend = Some(trend(DAY, 3_600_000, |i| match i {
        3 => None,
        i if i < 15 => Some(0.2 + 0.03 * (i % 6) as f64),
        i => Some(0.9 + 0.05 * (i % 3) as f64),
    }));
    report.changes = vec![
        Change {
            at_us: NOON - 10 * HOUR + 1,
            kind: "mark".to_owned(),
            name: "release 12".to_owned(),
            ..Change::default()
        },
        Change {
            at_us: NOON - 9 * HOUR,
            kind: "setting".to_owned(),
            name: "jit".to_owned(),
            old_value: Some("on".to_owned()),
            new_value: None,
        },
    ];
    report.findings = Some(vec![orders(), slow()]);
    report
}

/// A month in which the mean grew past its target.
pub(crate) fn thirty_days() -> Report {
    let mut report = one_day();
    report.head = Head { intervals: 43_000, covered_us: 29 * DAY, ..head("shop", 30 * DAY) };
    report.load.total_exec_ms =
        report.load.active_ratio.map(|running| running * report.head.covered_us as f64 / 1000.0);
    let mut trend = trend(30 * DAY, 3_600_000, |i| match i {
        11..=15 => None,
        i => Some(30.0 + 3.0 * i as f64),
    });
    trend.points[29].covered_ratio = 0.5;
    report.trend = Some(trend);
    report.changes = vec![Change {
        at_us: NOON - 8 * DAY,
        kind: "extension".to_owned(),
        name: "postgis".to_owned(),
        old_value: Some("3.3.2".to_owned()),
        new_value: Some("3.4.0".to_owned()),
    }];
    report
}

/// A name that would break a heading, a table, a list and a block of code.
pub(crate) const HOSTILE: &str =
    "\"a|b`c\n# d\u{202E}*_e_* <img src=x>[f](g) \\ \"\"日本語 & &lt; ~~h~~\"";

/// Every name is hostile, and everything is long.
pub(crate) fn hostile() -> Report {
    let mut report = sick_shop();
    report.head.database = HOSTILE.to_owned();
    report.head.server = HOSTILE.to_owned();
    let mut finding = search();
    finding.object = format!("public.{HOSTILE}");
    finding.title =
        format!("public.{HOSTILE} is read whole; and so is public.{HOSTILE}, a second time");
    finding.cause = Some(format!("- {HOSTILE}\n\n# no heading\n1. no list"));
    finding.remedy = format!("Index {HOSTILE}");
    finding.evidence = vec![Evidence::new("filter", HOSTILE, "")];
    finding.statement = Some(format!("CREATE INDEX ON public.{HOSTILE} (\"\n```\n````\n\");"));
    finding.gain = Some("gain ".repeat(40));
    finding.risk = "\"".repeat(260);
    report.findings = Some(vec![finding]);
    report.unjudged = vec![HOSTILE.to_owned()];
    for promise in report.objectives.iter_mut().flatten() {
        promise.name = HOSTILE.to_owned();
        promise.scope = perfmon_core::objective::Scope::Application(HOSTILE.to_owned());
        promise.verdict.missing = Some(HOSTILE.to_owned());
    }
    report.commands[0].command = Some(HOSTILE.to_owned());
    if let Some(statements) = &mut report.statements {
        statements[0].query = Some("`|\\".repeat(1_000));
        statements[1].query = Some(HOSTILE.to_owned());
    }
    for statement in report.statements.iter_mut().flatten() {
        statement.seen.iter_mut().for_each(|seen| *seen = format!("- {HOSTILE}"));
        if let Some(plan) = &mut statement.plan {
            plan.heaviest_node = Some(HOSTILE.to_owned());
            plan.text = Some(format!("```\n{HOSTILE}\n````"));
        }
        if let Some(flip) = &mut statement.flip {
            flip.before.heaviest_node = Some(HOSTILE.to_owned());
        }
    }
    for one in report.rewrites.iter_mut().flatten() {
        one.title = format!("Statement {} # {HOSTILE}", one.statement_id);
        one.query = Some(HOSTILE.to_owned());
        one.expression = Some(format!("`{HOSTILE}"));
        one.better_form = Some(format!("```\n{HOSTILE}"));
        (one.reason, one.effect) = (HOSTILE.to_owned(), HOSTILE.repeat(9));
    }
    for table in &mut report.tables {
        table.name = HOSTILE.to_owned();
    }
    report.tables[0].name = "日".repeat(63);
    for change in &mut report.changes {
        change.name = HOSTILE.to_owned();
        change.new_value = Some(HOSTILE.repeat(20));
    }
    report.gaps[0].detail = Some(HOSTILE.repeat(9));
    report.gaps[0].subject = HOSTILE.to_owned();
    report
}

/// All of them, by the name of the file that holds the expected text.
pub(crate) fn all() -> Vec<(&'static str, Report)> {
    vec![
        ("healthy", healthy()),
        ("idle", idle()),
        ("sick_shop", sick_shop()),
        ("no_history", no_history()),
        ("no_statements", no_statements()),
        ("one_day", one_day()),
        ("thirty_days", thirty_days()),
        ("hostile", hostile()),
    ]
}
