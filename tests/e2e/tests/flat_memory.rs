//! A backend that executes for long with everything on, each execution looked into and under its plan, takes no more
//! memory at the end than soon after its beginning.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use perfmon_e2e::{Db, Server, secs, wait_until};

const TABLES: &str = "
CREATE TABLE t (a int, b int, c int, d int, e int, f int);
INSERT INTO t SELECT g, g % 3, g % 5, g, g, g FROM generate_series(1, 20) g;
CREATE TABLE u (a int PRIMARY KEY, b text);
INSERT INTO u SELECT g, repeat('x', 40) FROM generate_series(1, 50) g;
ANALYZE t, u;
";
/// Distinct statements.
const STATEMENTS: usize = 256;
/// Executions of each in a round: as clients send texts, and as they bind what they prepared.
const AS_TEXT: usize = 8;
const PREPARED: usize = 2;
const ROUND: usize = STATEMENTS * (AS_TEXT + PREPARED);

/// How many executions, in all.
fn executions() -> usize {
    std::env::var("PERFMON_EXECUTIONS").map_or(60_000, |n| n.parse().expect("a number"))
}

/// Scans that filter, sorts, joins and groups, each over some choice of columns.
fn text(i: usize) -> String {
    let columns = |name: &str| -> String {
        let column =
            |(bit, c)| if i >> (bit + 2) & 1 == 1 { format!("{name}.{c}") } else { "1".into() };
        "abcdef".chars().enumerate().map(column).collect::<Vec<_>>().join(", ")
    };
    match i % 4 {
        0 => format!("SELECT {} FROM t WHERE b = 1 AND c > 1", columns("t")),
        1 => format!("SELECT {} FROM t ORDER BY d DESC LIMIT 3", columns("t")),
        2 => format!("SELECT {} FROM t JOIN u USING (a) WHERE t.c = 2", columns("t")),
        _ => format!("SELECT {}, count(*) FROM t GROUP BY a, b, c, d, e, f", columns("t")),
    }
}

/// Memory that nobody else has, of the process and of PostgreSQL's contexts in it, kB.
fn memory(app: &mut Db, pid: i32) -> (i64, i64) {
    let contexts =
        app.val("SELECT (sum(total_bytes) / 1024)::bigint FROM pg_backend_memory_contexts");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    (line.split_whitespace().nth(1).unwrap().parse().unwrap(), contexts)
}

#[test]
fn many_executions_leave_nothing_behind() {
    let server = Server::manual()
        .conf("pg_perfmon.scan_sample_rate = 1")
        .conf("pg_perfmon.plan_min_duration = 0")
        .conf("pg_perfmon.capture = all")
        .start();
    let mut watcher = server.new_db("app");
    watcher.run(TABLES);
    let mut app = server.db("app");
    let pid = app.pid();
    let texts: Vec<String> = (0..STATEMENTS).map(text).collect();
    let prepared: Vec<_> = texts.iter().map(|text| app.prepare(text).unwrap()).collect();
    let all = texts.join(";");
    let mut round = || {
        for _ in 0..AS_TEXT {
            app.run(&all);
        }
        for statement in std::iter::repeat_n(&prepared, PREPARED).flatten() {
            app.query(statement, &[]).unwrap();
        }
        app.fails("SELECT 1 / (d - 7) FROM t");
        app.run("BEGIN; DECLARE k CURSOR FOR SELECT d FROM t WHERE c = 1; FETCH 2 FROM k; COMMIT");
        app.run("DO 'BEGIN FOR i IN 1..9 LOOP BEGIN PERFORM 1 / (d - i) FROM t; EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END'");
        memory(&mut app, pid)
    };
    let rounds = (executions() / ROUND).max(8);
    // Caches fill, and prepared statements get the plans that they keep.
    let begun = (0..4).map(|_| round()).last().unwrap();
    watcher.snapshot();
    let mut most = begun;
    for _ in 4..rounds {
        let now = round();
        most = (most.0.max(now.0), most.1.max(now.1));
    }
    println!(
        "{} executions: {} kB became {} kB at most, of PostgreSQL's contexts {} kB became {} kB",
        rounds * ROUND,
        begun.0,
        most.0,
        begun.1,
        most.1
    );
    assert!(most.0 <= begun.0 + 512, "{begun:?} kB became {most:?} kB");
    assert!(most.1 <= begun.1 + 64, "{begun:?} kB became {most:?} kB");
    // All of that was counted, looked into, and under a plan.
    let counted: i64 = watcher
        .val("SELECT sum(executions)::bigint FROM perfmon.latency_since_start() WHERE toplevel");
    let wanted = (rounds * ROUND) as i64;
    assert!(counted >= wanted, "{counted} of {wanted}");
    let rounds = rounds as i64;
    let of_scans: i64 = watcher.val(
        "SELECT sum(samples)::bigint FROM perfmon.scans_since_start()
         WHERE table_name = 'public.t' AND node = 'seq_scan' AND conditions LIKE '%(b = ?)%'",
    );
    assert_eq!(of_scans, rounds * (ROUND / 4) as i64);
    // What plans look like is stored for some at a time, how often they ran for all; texts are read apart.
    wait_until("all of them have plans", secs(30), || {
        watcher.snapshot();
        let row = &watcher.rows(
            "SELECT count(DISTINCT p.plan_id), coalesce(sum(p.calls), 0)::bigint,
                 count(*) FILTER (WHERE p.plan_text LIKE '% on t%')
             FROM perfmon.plans() p JOIN perfmon.statement s USING (statement_id)
             WHERE s.query LIKE '%FROM t %'",
        )[0];
        let [plans, calls, printed] = [0, 1, 2].map(|column| row.get::<_, i64>(column));
        plans >= 4 && calls >= wanted && printed >= 4
    });
}
