//! The demo's shop, with its planted flaws found.

use perfmon_core::finding::{Effort, Evidence, Finding, Helped, Severity};
use perfmon_core::histogram::{Sparse, bucket};
use perfmon_core::objective::{DEFAULTS, History, Objective, Row, Scope, Target, judge};
use perfmon_core::report::{
    Change, Connections, DeadlocksOut, ErrorKind, Errors, Gap, GroupOut, Head, HeadOut, IdleOut,
    Latency, Load, Locks, Machine, MachineDisk, MemberOut, Promise, RefusedOut, Report, Statement,
    StatementTimes, Table, Times, WhoOut,
};

use crate::plans::{flip, grown, paged, plan, scanned, searched, sorted};
use crate::samples::{DAY, HOUR, MINUTE, NOON, command, head, note, statement, trend};

/// The time of a query on the shop's customers in an hour of traffic, milliseconds.
const SEARCH: f64 = 913.0 * 60.0 * 19.8;
/// All of the shop's time in that hour.
const ALL: f64 = 2_496_000.0;

pub(crate) fn search() -> Finding {
    let mut finding = Finding::new(
        "seq_scan",
        Severity::Critical,
        "public.customers",
        "public.customers is read whole 54,780 times an hour for one row: 43.5 % of all time",
        "Create an index on lower(email), the expression that it is searched by.",
        "PostgreSQL manual, 11.7",
    );
    finding.subject = "lower(email)".to_owned();
    finding.cause = Some(
        "The condition compares lower(email), and no index of public.customers has that expression"
            .to_owned(),
    );
    finding.evidence = vec![
        Evidence::new("rows_read_per_row", 40_000.0, "rows").over(1000.0).out_of(54_780),
        Evidence::new("table_rows", 40_000_i64, "rows").over(1000.0),
        Evidence::new("filter", "lower(email) = $1", ""),
    ];
    finding.share_ratio = Some(SEARCH / ALL);
    finding.impact.saved_ms_per_hour = Some(SEARCH * 0.99);
    finding.statement =
        Some("CREATE INDEX CONCURRENTLY ON public.customers (lower(email));".to_owned());
    finding.gain = Some("19.8 ms a call become less than 0.1 ms".to_owned());
    finding.risk = "The index takes about 2 MB and makes each insert a little slower".to_owned();
    finding.helped = vec![Helped { statement_id: 30, saved_ms_per_hour: SEARCH * 0.99 }];
    finding
}

pub(crate) fn orders() -> Finding {
    let mut finding = Finding::new(
        "foreign_key_without_index",
        Severity::Warning,
        "public.orders",
        "orders_customer_id_fkey has no index: public.orders is read whole 77,160 times an hour",
        "Create an index on customer_id.",
        "PostgreSQL manual, 5.4.5",
    );
    finding.cause = Some("A foreign key makes no index of its own.".to_owned());
    finding.share_ratio = Some(0.226);
    finding.impact.saved_ms_per_hour = Some(541_000.0);
    finding.statement =
        Some("CREATE INDEX CONCURRENTLY ON public.orders (customer_id);".to_owned());
    finding.gain = Some("7.29 ms a call become about 0.3 ms".to_owned());
    finding.risk = "The index takes about 3 MB".to_owned();
    finding.evidence = vec![
        Evidence::new("seq_tup_read", 8_460_000_000_i64, "rows"),
        Evidence::new("table_bytes", 7_654_321_i64, "bytes").over(1_048_576.0),
    ];
    finding.helped = vec![
        Helped { statement_id: 31, saved_ms_per_hour: 539_000.0 },
        Helped { statement_id: 99, saved_ms_per_hour: 2_000.0 },
    ];
    finding
}

pub(crate) fn slow() -> Finding {
    let mut finding = Finding::new(
        "slow_statement",
        Severity::Warning,
        "statement 47",
        "Statement 47 takes 230 ms on average, over 100 ms",
        "Look at how many rows it changes, and whether others hold them locked.",
        "requirements",
    );
    finding.cause = Some("It waits: blocks and CPU explain little of its time".to_owned());
    finding.share_ratio = Some(0.127);
    finding.effort = Effort::High;
    finding.evidence = vec![
        Evidence::new("mean_exec_ms", 230.0, "ms").over(100.0).out_of(1380),
        Evidence::new("shared_hit_ratio", 0.9999, "ratio"),
    ];
    finding
}

fn sequence() -> Finding {
    let mut finding = Finding::new(
        "sequence_exhaustion",
        Severity::Warning,
        "public.events_id_seq",
        "public.events_id_seq ends on 2026-12-09: 93.1 % of the values of its integer column are used",
        "Make the column a bigint, in a maintenance window: the table is rewritten.",
        "PostgreSQL manual, 8.1.4",
    );
    finding.impact.outage_at_us = Some(NOON + 18 * DAY + 6 * HOUR);
    finding.effort = Effort::Medium;
    finding.statement =
        Some("ALTER TABLE public.events ALTER COLUMN id TYPE pg_catalog.int8;".to_owned());
    finding.risk = "It locks the table while it is rewritten".to_owned();
    finding.evidence = vec![Evidence::new("used_ratio", 0.931, "ratio").over(0.9)];
    finding
}

fn unused() -> Finding {
    let mut finding = Finding::new(
        "unused_index",
        Severity::Warning,
        "public.orders_note_idx",
        "public.orders_note_idx was not used in 31 d, and takes 12.0 MB",
        "Drop it, if no replica uses it.",
        "PostgreSQL manual, 11.12",
    );
    finding.impact.saved_bytes = Some(12 << 20);
    finding.statement = Some("DROP INDEX CONCURRENTLY public.orders_note_idx;".to_owned());
    finding.risk = "A report that runs once a quarter may need it".to_owned();
    finding
}

/// What is promised of it: kept, missed, and not to be judged.
fn promises() -> Vec<Promise> {
    let (p95, p99, errors) = (DEFAULTS[0], DEFAULTS[1], DEFAULTS[2]);
    let fast: &[(u64, f64)] = &[(96, 20.0), (3, 300.0), (1, 900.0)];
    let minute = |n: i64, of: &[(u64, f64)]| Row {
        since_us: NOON - (n + 1) * MINUTE,
        until_us: NOON - n * MINUTE,
        length_us: MINUTE,
        latency: Some(perfmon_core::histogram::Latency {
            cached: Sparse::new(of.iter().map(|(n, ms)| (bucket((ms * 1e6) as u64) as u8, *n))),
            ..Default::default()
        }),
        ..Row::default()
    };
    let history = History {
        rows: (0..60).rev().map(|n| minute(n, fast)).collect(),
        no_errors: Some("not counted: log_min_messages hides them".to_owned()),
        ..History::default()
    };
    let judged = |name: &str, scope: &Scope, target: Target, min_executions: u64| Promise {
        name: name.to_owned(),
        scope: scope.clone(),
        since_us: NOON - HOUR,
        until_us: NOON,
        verdict: judge(
            &Objective { min_executions, ..Objective::default() },
            target,
            &history,
            NOON - HOUR,
            NOON,
        ),
    };
    vec![
        judged("checkout", &Scope::Database, p95, 100),
        judged(
            "checkout",
            &Scope::Database,
            Target::Latency { quantile: 0.98, limit_ms: 250.0 },
            100,
        ),
        judged("checkout", &Scope::Database, errors, 100),
        judged("back office", &Scope::User("clerk".to_owned()), p99, 10_000),
    ]
}

/// The demo's shop after an hour of traffic.
pub(crate) fn sick_shop() -> Report {
    let mut changes = vec![
        Change {
            at_us: NOON - 20 * MINUTE,
            kind: "index".to_owned(),
            name: "public.orders_note_idx".to_owned(),
            old_value: None,
            new_value: Some(
                "CREATE INDEX orders_note_idx ON public.orders USING btree (note)".into(),
            ),
        },
        Change {
            at_us: NOON - 31 * MINUTE,
            kind: "setting".to_owned(),
            name: "work_mem".to_owned(),
            old_value: Some("4MB".to_owned()),
            new_value: Some("64MB".to_owned()),
        },
        Change {
            at_us: NOON - 45 * MINUTE,
            kind: "mark".to_owned(),
            name: "release 12".to_owned(),
            old_value: None,
            new_value: Some("new search page".to_owned()),
        },
    ];
    changes.sort_by_key(|change| -change.at_us);
    let email = "SELECT id, name FROM customers WHERE lower(email) = lower($1)";
    let list = "SELECT id, status, placed_at\n  FROM orders\n WHERE customer_id = $1\n ORDER BY placed_at DESC";
    Report {
        objectives: Some(promises()),
        head: Head {
            intervals: 59,
            covered_us: 59 * MINUTE,
            gaps: 1,
            completeness_ratio: Some(0.78),
            ..head("shop", HOUR)
        },
        load: Load {
            transactions_per_s: Some(740.4),
            rollback_ratio: Some(0.0003),
            deadlocks: Some(2),
            statements_per_s: Some(1011.0),
            total_exec_ms: Some(ALL * 59.0 / 60.0),
            active_ratio: Some(ALL / 3.6e6),
            cache_hit_ratio: Some(0.9996),
            read_bytes: Some(361_758_720),
            wal_bytes: Some(425_721_856),
            temp_bytes: Some(4_440_000_000),
            database_bytes: Some(95_315_558),
        },
        findings: Some(vec![search(), orders(), slow(), sequence(), unused(), prewarm()]),
        unjudged: vec!["wal_volume".to_owned(), "checkpoints_too_frequent".to_owned()],
        trend: Some(trend(HOUR, 121_320, |i| match i {
            7 => None,
            i if i < 8 => Some(0.31),
            i => Some(0.6 + 0.02 * (i % 5) as f64),
        })),
        commands: vec![
            command("SELECT", 1_900_000, 1_998_000.0, (2, 60, 9_000.0)),
            command("UPDATE", 1_000_000, 440_000.0, (1, 1380, 317_400.0)),
            command("INSERT", 700_000, 54_000.0, (0, 0, 0.0)),
            command("BEGIN", 30_000, 500.0, (0, 0, 0.0)),
        ],
        statements: Some(vec![
            Statement {
                plan: Some(plan()),
                seen: vec![scanned("public.customers", "40,000", 1)],
                flip: Some(flip()),
                ..statement(30, SEARCH / ALL, 53_867, 19.8, email)
            },
            Statement {
                plan: Some(sorted()),
                seen: vec![
                    scanned("public.orders", "120,000", 8),
                    "The sort by placed_at did not fit into memory, and went to disk.".to_owned(),
                ],
                ..statement(31, 0.226, 75_874, 7.29, list)
            },
            statement(
                47,
                0.127,
                1_357,
                230.0,
                "UPDATE products SET description = $1 WHERE id = $2",
            ),
            Statement { query: None, ..statement(34, 0.054, 42_126, 3.12, "") },
        ]),
        rewrites: Some(vec![searched(email), grown(list), paged(list)]),
        latency: Some(Latency {
            overall: times(3_600_000, 0.4),
            is_part: false,
            percentile_error_ratio: 0.05,
            statements: vec![
                timed(
                    47,
                    times(1_357, 230.0),
                    Some("UPDATE products SET description = $1 WHERE id = $2"),
                ),
                timed(30, times(53_867, 19.8), Some(email)),
                timed(34, Times { calls: 42_126, ..Times::default() }, None),
            ],
        }),
        machine: Some(Machine {
            cpu_ratio: Some(0.612),
            cpu_peak_ratio: Some(0.97),
            iowait_ratio: Some(0.034),
            steal_ratio: Some(0.0),
            load: Some(3.4),
            memory_ratio: Some(0.71),
            memory_peak_ratio: Some(0.74),
            memory_bytes: Some(17_179_869_184.0),
            limited: true,
            arc_hit_ratio: None,
            disks: vec![MachineDisk {
                mount: "/var/lib/postgresql".to_owned(),
                device: Some("nvme0n1".to_owned()),
                uses: "data directory, WAL".to_owned(),
                used_ratio: Some(0.43),
                available_bytes: Some(314_572_800_000.0),
                busy_ratio: Some(0.21),
                reads_per_s: Some(812.4),
                writes_per_s: Some(96.0),
            }],
        }),
        connections: Some(connections()),
        locks: Some(locks()),
        errors: Some(Errors {
            is_part: false,
            executions: Some(3_570_000),
            errors: 5_310,
            cancelled: 3,
            error_ratio: Some(0.001_485),
            kinds: vec![
                failed("error", "23505", Some("unique_violation"), (5_200, 1_900.0), Some(31)),
                failed(
                    "statement_timeout",
                    "57014",
                    Some("query_canceled"),
                    (108, 108_000.0),
                    Some(47),
                ),
                ErrorKind {
                    table: Some("public.orders".to_owned()),
                    user_name: None,
                    ..failed(
                        "autovacuum_cancelled",
                        "57014",
                        Some("query_canceled"),
                        (4, 0.0),
                        None,
                    )
                },
                failed("error", "AB123", None, (2, 0.4), None),
            ],
        }),
        tables: vec![
            table("public.orders", 68_617, 8_319_000_000, 337_480),
            table("public.customers", 53_867, 2_154_680_000, 106_790),
        ],
        gaps: vec![Gap {
            since_us: NOON - 46 * MINUTE,
            length_us: MINUTE,
            subject: "all".to_owned(),
            kind: "missed".to_owned(),
            detail: Some("The collector was late\nby a minute.".to_owned()),
        }],
        changes,
        ..Report::default()
    }
}

fn times(calls: i64, mean: f64) -> Times {
    let at = |factor: f64| Some(mean * factor);
    Times { calls, p50_ms: at(0.8), p95_ms: at(2.5), p99_ms: at(6.0), max_ms: at(50.0) }
}

fn timed(statement_id: i64, times: Times, query: Option<&str>) -> StatementTimes {
    let query = query.map(str::to_owned);
    StatementTimes { statement_id, times, user_name: Some("app".to_owned()), query }
}

fn prewarm() -> Finding {
    note(
        "cold_cache",
        "server",
        "After the restart of 03:00, 1.2 GB were read again in ten minutes",
        "Load pg_prewarm, so that shared buffers are filled again after a restart.",
    )
}

fn failed(
    class: &str,
    state: &str,
    condition: Option<&str>,
    (errors, lost_ms): (i64, f64),
    statement_id: Option<i64>,
) -> ErrorKind {
    ErrorKind {
        class: class.to_owned(),
        sqlstate: Some(state.to_owned()),
        condition: condition.map(str::to_owned),
        user_name: Some("shop_web".to_owned()),
        statement_id,
        table: None,
        errors,
        lost_ms,
    }
}

fn table(name: &str, scans: i64, rows: i64, idx_scans: i64) -> Table {
    Table {
        name: name.to_owned(),
        seq_scans: Some(scans),
        rows_read: Some(rows),
        rows_per_scan: Some(rows as f64 / scans as f64),
        idx_scans: Some(idx_scans),
        table_bytes: Some(7_654_321),
    }
}

/// A role at its limit, and a pool that idles.
fn connections() -> Connections {
    let group = |level: &'static str, name: &str, open: u32, limit: Option<(&'static str, u32)>| {
        let ratio = limit.map(|(_, most)| f64::from(open) / f64::from(most));
        GroupOut {
            level,
            name: name.to_owned(),
            open_avg: Some(f64::from(open)),
            open_peak: Some(open),
            busy_p99: Some(3.0),
            idle_ratio: Some(0.9),
            in_transaction_ratio: Some(0.05),
            limited_by: limit.map(|limit| limit.0),
            connections_limit: limit.map(|limit| limit.1),
            saturation_ratio: ratio,
            saturation: ratio.map(|ratio| if ratio > 0.9 { "critical" } else { "ok" }),
            ..GroupOut::default()
        }
    };
    Connections {
        samples: 3_600,
        groups: vec![
            group("server", "server", 42, Some(("server", 97))),
            GroupOut {
                hours_to_exhaustion: Some(0.0),
                queue_cause: Some("pool_too_large"),
                queue_detail: Some("12 of 12 connections are in use: 11.0 idle".to_owned()),
                ..group("user", "role export", 12, Some(("role", 12)))
            },
            GroupOut {
                advised_size: Some(4),
                advice: Some("Set the pool to 4: 30 open at most.".to_owned()),
                ..group("pool", "pool web|1 (user shop, database shop)", 30, None)
            },
        ],
        refused: Some(vec![RefusedOut {
            cause: "role_limit",
            user_name: Some("export".to_owned()),
            database_name: None,
            sqlstates: vec!["53300".to_owned()],
            connections: 7,
        }]),
    }
}

/// An importer that others wait for, a deadlock that came twice, and a program that leaves transactions open.
fn locks() -> Locks {
    let who = |user: &str, application: &str, statement_id| WhoOut {
        database_name: "shop".to_owned(),
        user_name: user.to_owned(),
        application: application.to_owned(),
        statement_id,
    };
    let member = |statement_id| MemberOut {
        who: who("shop", "web|1", Some(statement_id)),
        relation: Some("public.orders".to_owned()),
    };
    Locks {
        heads: vec![HeadOut {
            process_id: Some(4_711),
            gid: None,
            who: who("batch", "importer", Some(12)),
            state: "idle in transaction".to_owned(),
            sessions: 7,
            waited_ms: 412_000.0,
            longest_ms: 93_500.0,
            chain_depth: 3,
            relations: vec!["public.orders".to_owned()],
            goes_on: true,
        }],
        deadlocks: vec![DeadlocksOut { deadlocks: 2, members: vec![member(12), member(14)] }],
        idles: vec![IdleOut {
            who: who("batch", "importer", Some(12)),
            meaning: "leak",
            times: 9,
            sessions: 4,
            idle_ms: 1_800_000.0,
            longest_ms: 900_000.0,
            open: 2,
        }],
    }
}
