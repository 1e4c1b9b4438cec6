use super::*;
use crate::capture::scan::{Kind, Slot};
use crate::facts::Evidence as Shown;
use crate::facts::{Database, Predicate, Shape, TableUse, Test, Window};

mod keys;

/// An hour in which the statements given took all of the time.
fn facts(statements: Vec<Statement>) -> Facts {
    let all: f64 = statements.iter().map(|s| s.exec_ms).sum();
    let mut statements = statements;
    for s in &mut statements {
        s.share_ratio = Some(s.exec_ms / all);
    }
    Facts {
        window: Window {
            since_us: 0,
            until_us: 3_600_000_000,
            covered_us: 3_600_000_000,
            intervals: 60,
        },
        database: Database { exec_ms: Some(all), ..Database::default() },
        statements: Some(statements),
        ..Facts::default()
    }
}

fn statement(calls: u64, mean_ms: f64) -> Statement {
    #[allow(clippy::cast_precision_loss)]
    let exec_ms = calls as f64 * mean_ms;
    Statement {
        statement_id: 7,
        toplevel: true,
        command: Some("SELECT".to_owned()),
        calls,
        exec_ms,
        rows: calls,
        blks_hit: calls * 10,
        ..Statement::default()
    }
}

fn by_key() -> Shape {
    let predicate = Predicate {
        expression: "id".to_owned(),
        attnum: 1,
        test: Test::Equal,
        join: false,
        other: 0,
    };
    let table = TableUse { oid: 1, read: true, predicates: vec![predicate], ..TableUse::default() };
    Shape { tables: vec![table], ..Shape::default() }
}

fn found(facts: &Facts) -> Vec<Finding> {
    let mut judgement = Judgement::default();
    detect(facts, &Thresholds::default(), &mut judgement);
    judgement.findings
}

fn severity(s: Statement) -> Option<Severity> {
    // Beside it, a healthy load.
    let mut quick = statement(1_000_000, 0.2);
    quick.statement_id = 1;
    found(&facts(vec![s, quick])).first().map(|f| f.severity)
}

#[test]
fn over_the_threshold_and_its_near_twins() {
    assert_eq!(severity(statement(1000, 150.0)), Some(Severity::Warning));
    assert_eq!(severity(statement(1000, 99.0)), None, "quick enough");
    assert_eq!(severity(statement(4, 30_000.0)), None, "too few executions");
    assert_eq!(severity(statement(10, 110.0)), None, "a share that nobody feels");
    let mut nested = statement(1000, 150.0);
    nested.toplevel = false;
    assert_eq!(severity(nested), None, "counted in the statement that calls it");
    let mut vacuum = statement(100, 5_000.0);
    vacuum.command = Some("VACUUM".to_owned());
    assert_eq!(severity(vacuum), None, "maintenance is long by its nature");
}

#[test]
fn a_long_tail_is_slow_whatever_the_mean() {
    let tail = |timed_calls, p95_ms| Statement {
        timed_calls,
        p95_ms: Some(p95_ms),
        ..statement(10_000, 20.0)
    };
    assert_eq!(severity(tail(10_000, 150.0)), Some(Severity::Warning));
    assert_eq!(severity(tail(10_000, 99.0)), None, "quick enough");
    assert_eq!(severity(tail(99, 150.0)), None, "too few executions");
    assert_eq!(severity(Statement { p95_ms: None, ..tail(0, 0.0) }), None, "not known");
    let nested = Statement { toplevel: false, ..tail(10_000, 150.0) };
    assert_eq!(severity(nested), None, "counted in the statement that calls it");
    let judged = found(&facts(vec![tail(10_000, 150.0), statement(1_000_000, 0.2)]));
    let evidence = &judged[0].evidence[0];
    assert_eq!((evidence.metric.as_str(), evidence.threshold), ("p95_ms", Some(100.0)));
    assert!(judged[0].title.contains("in one of 20 executions"), "{}", judged[0].title);
    // By both: the mean is told first, and half a second in the tail makes it critical.
    let both = Statement { timed_calls: 50_000, p95_ms: Some(900.0), ..statement(50_000, 120.0) };
    assert_eq!(severity(both.clone()), Some(Severity::Critical));
    let judged = found(&facts(vec![both]));
    assert_eq!(judged[0].evidence[0].metric, "mean_exec_ms");
    assert!(judged[0].evidence.iter().any(|e| e.metric == "p95_ms" && e.threshold == Some(500.0)));
}

#[test]
fn look_ups_by_key_have_a_lower_threshold() {
    let mut lookup = statement(1000, 60.0);
    assert_eq!(severity(lookup.clone()), None);
    lookup.shape = Some(by_key());
    assert_eq!(severity(lookup.clone()), Some(Severity::Warning));
    lookup.rows = 100 * lookup.calls;
    assert_eq!(severity(lookup), None, "a list is no look-up");
}

#[test]
fn critical_needs_a_real_loss() {
    assert_eq!(severity(statement(1000, 600.0)), Some(Severity::Critical));
    assert_eq!(severity(statement(100, 600.0)), Some(Severity::Warning), "a minute in the hour");
    let sums = || Some(Shape { aggregates: true, ..Shape::default() });
    let report = Statement { shape: sums(), ..statement(10, 15_000.0) };
    assert_eq!(severity(report), Some(Severity::Info), "an analysis that runs now and then");
    let most = Statement { shape: sums(), ..statement(100, 60_000.0) };
    assert_eq!(severity(most), Some(Severity::Critical), "nearly all of the time there is");
}

#[test]
fn analysis_is_never_critical() {
    let mut cube = statement(10_000, 700.0);
    cube.blks_hit = cube.calls * 5_000;
    assert_eq!(severity(cube.clone()), Some(Severity::Critical));
    cube.shape = Some(Shape { aggregates: true, ..Shape::default() });
    assert_eq!(severity(cube), Some(Severity::Warning));
}

#[test]
fn nothing_is_said_where_nothing_is_known() {
    let mut judgement = Judgement::default();
    detect(&Facts::default(), &Thresholds::default(), &mut judgement);
    assert_eq!((judgement.findings.len(), judgement.unjudged), (0, vec![SLOW, WAITS]));
}

#[test]
fn a_finding_states_its_threshold_and_its_evidence() {
    let all = found(&facts(vec![statement(1000, 150.0)]));
    let first = &all[0].evidence[0];
    assert_eq!(
        (first.metric.as_str(), first.threshold, first.samples),
        ("mean_exec_ms", Some(100.0), Some(1000))
    );
    let raised = Thresholds::with([("slow_statement_mean_ms".to_owned(), 200.0)]);
    let mut judgement = Judgement::default();
    detect(&facts(vec![statement(1000, 150.0)]), &raised, &mut judgement);
    assert!(judgement.findings.is_empty(), "the user's threshold holds");
}

#[test]
fn causes() {
    let base = statement(100, 200.0);
    let of = |change: &dyn Fn(&mut Statement)| {
        let mut s = base.clone();
        change(&mut s);
        reason(&s, &Thresholds::default()).cause
    };
    assert_eq!(of(&|s| s.plan_ms = Some(30_000.0)), Cause::Planning);
    assert_eq!(of(&|s| s.plan_ms = Some(100.0)), Cause::Compute);
    assert_eq!(of(&|s| s.jit_ms = Some(12_000.0)), Cause::Jit);
    assert_eq!(of(&|s| (s.temp_blks_written, s.temp_ms) = (100_000, Some(9_000.0))), Cause::Spill);
    assert_eq!(
        of(&|s| (s.temp_blks_written, s.temp_ms) = (100_000, Some(9.0))),
        Cause::Compute,
        "quick all the same"
    );
    assert_eq!(of(&|s| s.blks_hit = 500_000), Cause::Scan);
    for command in ["CREATE INDEX", "VACUUM", "COPY", "REFRESH MATERIALIZED VIEW"] {
        let builds = of(&|s| (s.blks_hit, s.command) = (500_000, Some(command.to_owned())));
        assert_eq!(builds, Cause::Command, "{command}: no index is missing");
    }
    let sums = || Some(Shape { aggregates: true, ..Shape::default() });
    assert_eq!(of(&|s| (s.blks_hit, s.shape) = (500_000, sums())), Cause::Aggregate);
    assert_eq!(of(&|s| (s.blks_hit, s.rows) = (500_000, 5_000_000)), Cause::Rows);
    assert_eq!(
        of(&|s| (s.blks_read, s.read_ms, s.rows) = (5_000, Some(15_000.0), 2_000)),
        Cause::Read
    );
    assert_eq!(of(&|s| s.command = Some("UPDATE".to_owned())), Cause::Lock);
    assert_eq!(of(&|s| s.command = Some("SELECT".to_owned())), Cause::Compute);
}

#[test]
fn parts_add_up_to_the_execution_time() {
    let mut s = statement(10, 100.0);
    (s.read_ms, s.temp_ms, s.jit_ms) = (Some(200.0), Some(300.0), None);
    let parts = parts(&s);
    assert!((parts.other_ms - 500.0).abs() < 1e-9);
    assert_eq!(parts.jit_ms, None, "not measured is not zero");
}

#[test]
fn a_hot_row_is_found_and_its_near_twins_are_not() {
    let kind = |change: &dyn Fn(&mut Statement)| {
        let mut s = statement(600, 8.0);
        s.command = Some("UPDATE".to_owned());
        change(&mut s);
        let mut rest = statement(100_000, 0.2);
        rest.statement_id = 1;
        found(&facts(vec![s, rest])).first().map(|f| f.kind.clone())
    };
    assert_eq!(kind(&|_| {}).as_deref(), Some(WAITS));
    assert_eq!(kind(&|s| (s.calls, s.exec_ms) = (10, 900.0)), None, "one slow moment");
    assert_eq!(kind(&|s| s.blks_hit = s.calls * 5_000), None, "it works");
    assert_eq!(kind(&|s| s.rows = s.calls * 500), None, "it changes many rows");
    assert_eq!(kind(&|s| s.exec_ms = 600.0 * 0.5), None, "quick");
    assert_eq!(
        kind(&|s| (s.blks_read, s.read_ms) = (600, Some(4_000.0))),
        None,
        "it reads from disk"
    );
    assert_eq!(kind(&|s| s.command = Some("SELECT".to_owned())), None, "a function may compute");
    assert_eq!(kind(&|s| s.exec_ms *= 20.0).as_deref(), Some(SLOW), "told once");
}

/// A statement for each cause, in an hour in which it is slow.
fn by_cause() -> Vec<(Cause, Statement)> {
    let of = |change: &dyn Fn(&mut Statement)| {
        let mut s = statement(1000, 200.0);
        change(&mut s);
        s
    };
    let sums = || Some(Shape { aggregates: true, ..Shape::default() });
    let update = || Some("UPDATE".to_owned());
    vec![
        (Cause::Planning, of(&|s| s.plan_ms = Some(300_000.0))),
        (Cause::Jit, of(&|s| s.jit_ms = Some(120_000.0))),
        (Cause::Spill, of(&|s| (s.temp_blks_written, s.temp_ms) = (1_000_000, Some(90_000.0)))),
        (Cause::Scan, of(&|s| s.blks_hit = 5_000_000)),
        (Cause::Aggregate, of(&|s| (s.blks_hit, s.shape) = (5_000_000, sums()))),
        (Cause::Rows, of(&|s| (s.blks_hit, s.rows) = (5_000_000, 50_000_000))),
        (Cause::Write, of(&|s| (s.wal_bytes, s.command) = (20_000 << 20, update()))),
        (Cause::Read, of(&|s| (s.blks_read, s.read_ms, s.rows) = (5000, Some(150_000.0), 9000))),
        (Cause::Lock, of(&|s| s.command = update())),
    ]
}

#[test]
fn a_finding_states_the_threshold_that_chose_its_cause() {
    let chosen: Vec<(Cause, &Threshold)> = vec![
        (Cause::Planning, &cause::PLANNING),
        (Cause::Jit, &cause::JIT),
        (Cause::Spill, &cause::SPILL_BLOCKS),
        (Cause::Scan, &cause::SCAN_PER_ROW),
        (Cause::Aggregate, &cause::SCAN_PER_ROW),
        (Cause::Rows, &cause::MANY_ROWS),
        (Cause::Write, &cause::MUCH_WAL),
        (Cause::Read, &cause::READ),
        (Cause::Lock, &cause::LOCK_BLOCKS_PER_MS),
    ];
    for ((why, s), (_, threshold)) in by_cause().into_iter().zip(&chosen) {
        assert_eq!(reason(&s, &Thresholds::default()).cause, why);
        let all = found(&facts(vec![s.clone()]));
        let crossed =
            |f: &Finding| f.evidence[1..].iter().filter_map(|e| e.threshold).collect::<Vec<f64>>();
        assert!(crossed(&all[0]).contains(&threshold.default), "{why:?}: {:?}", all[0].evidence);
        // The value is the user's: another one takes the cause away.
        let out = if why == Cause::Lock { 0.0 } else { threshold.default * 1e4 };
        let out = out.clamp(threshold.range.0, threshold.range.1.min(1e12));
        let set = Thresholds::with([(threshold.name.to_owned(), out)]);
        assert_ne!(reason(&s, &set).cause, why, "{}", threshold.name);
        assert!(crate::detect::thresholds().any(|t| t == *threshold), "{}", threshold.name);
    }
}

#[test]
fn a_measure_is_told_once() {
    for (why, mut s) in by_cause() {
        s.exec_ms *= 10.0;
        for f in found(&facts(vec![s])) {
            let mut names: Vec<&str> = f.evidence.iter().map(|e| e.metric.as_str()).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all, "{why:?}: {:?}", f.evidence);
        }
    }
}

#[test]
fn executions_show_the_cause() {
    let node = |kind: Kind, set: &[(Slot, u64)]| {
        let mut one =
            crate::facts::evidence::tests::evidence(7, kind, "public.orders", "customer_id", 10);
        set.iter().for_each(|(slot, n)| one.counts.set(*slot, *n));
        one
    };
    let told = |evidence: Vec<Shown>, change: &dyn Fn(&mut Statement)| {
        let mut s = statement(100, 500.0);
        change(&mut s);
        let mut facts = facts(vec![s]);
        facts.evidence = Some(evidence);
        let found = found(&facts);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].cause.clone().unwrap_or_default()
    };
    let none = told(Vec::new(), &|_| {});
    assert!(none.starts_with("Nothing that is measured"), "{none}");
    let wasted = node(Kind::SeqScan, &[(Slot::Read, 2_000_000), (Slot::Kept, 20)]);
    let scan = told(vec![wasted.clone()], &|_| {});
    assert_eq!(
        scan,
        "A seq scan of public.orders reads 200,000 rows per execution and keeps 2, by customer_id."
    );
    // Twins: most is kept, little is read, too few executions were seen, another statement's.
    let whole = node(Kind::SeqScan, &[(Slot::Read, 2_000_000), (Slot::Kept, 1_900_000)]);
    let small = node(Kind::SeqScan, &[(Slot::Read, 2_000), (Slot::Kept, 20)]);
    let once = Shown { statement_samples: 1, ..wasted.clone() };
    let other = Shown { statement_id: 8, ..wasted.clone() };
    for twin in [whole, small, once, other] {
        assert_eq!(told(vec![twin], &|_| {}), none);
    }
    let wrong = [(Slot::Outer, 500_000), (Slot::OuterEstimated, 100), (Slot::Misestimates, 10)];
    let misjudged = told(vec![node(Kind::NestedLoop, &wrong)], &|_| {});
    assert!(misjudged.contains("50,000 rows per execution, 5,000 times as many"), "{misjudged}");
    let right = [(Slot::Outer, 500_000), (Slot::OuterEstimated, 400_000)];
    assert_eq!(told(vec![node(Kind::NestedLoop, &right)], &|_| {}), none);
    // Time that is measured stays the cause; what spilled is told with it.
    let hash = node(Kind::Hash, &[(Slot::Spills, 10)]);
    let spill = told(vec![wasted, hash], &|s| s.temp_blks_written = 100_000);
    assert!(spill.ends_with("It was the hash table of a join that did not fit."), "{spill}");
}

/// Beside a healthy load, a statement that reads a table of 2,000 blocks whole: by a pattern, or because a
/// key that refers to what it deletes has no index.
fn reading_whole(command: &str, blocks: u64) -> Facts {
    use crate::facts::{Activity, ForeignKey, Server, Table};
    let mut s = statement(1_000, 150.0);
    (s.command, s.blks_hit) = (Some(command.to_owned()), 1_000 * blocks);
    let mut shape = by_key();
    let one = &mut shape.tables[0];
    if command == "DELETE" {
        one.written = true;
    } else {
        (one.oid, one.predicates[0].test, s.rows) = (10, Test::Pattern, 20);
    }
    s.shape = Some(shape);
    let mut quick = statement(1_000_000, 0.02);
    quick.statement_id = 1;
    let activity = Activity { seq_scan: 1_000, seq_tup_read: 200_000_000, ..Activity::default() };
    let table = |oid: u32, name: &str| Table {
        oid,
        name: name.to_owned(),
        rows: Some(200_000.0),
        table_bytes: Some(2_000 * 8192),
        window: Some(activity),
        history: Some(activity),
        ..Table::default()
    };
    let key = ForeignKey {
        name: "k".to_owned(),
        table: 10,
        columns: vec![2],
        column_names: vec!["parent".to_owned()],
        referenced: 1,
        referenced_columns: vec![1],
        ..ForeignKey::default()
    };
    Facts {
        server: Server { block_bytes: 8192, ..Server::default() },
        tables: Some(vec![table(10, "public.child"), table(1, "public.parent")]),
        indexes: Some(Vec::new()),
        foreign_keys: Some(vec![key]),
        ..facts(vec![s, quick])
    }
}

#[test]
fn what_another_finding_explains_is_its_cause() {
    use crate::detect::{indexes, judge_with, scans};
    let t = Thresholds::default();
    let detectors = [&DETECTOR, &scans::DETECTOR, &indexes::DETECTOR];
    for (command, kind) in [("SELECT", scans::SCAN), ("DELETE", indexes::KEY_WITHOUT)] {
        let facts = reading_whole(command, 2_100);
        let all = judge_with(&detectors, &facts, &t).findings;
        let slow = all.iter().find(|f| f.kind == SLOW).unwrap();
        let other = all.iter().find(|f| f.kind == kind).unwrap_or_else(|| panic!("{all:#?}"));
        assert_eq!(other.object, "public.child");
        let pointer = format!("the finding {kind} on public.child");
        assert!(slow.remedy.contains(&pointer), "{slow:?}");
        assert!(slow.cause.as_ref().unwrap().contains(&pointer), "{slow:?}");
        let told = Cures::of(&facts, &t).tell(&facts.statements.as_ref().unwrap()[0], &facts, &t);
        assert_eq!(told.map(|(cause, _)| cause), slow.cause);
    }
    // Another part of what it reads is the larger one.
    let facts = reading_whole("DELETE", 9_000);
    let all = judge_with(&detectors, &facts, &t).findings;
    let slow = all.iter().find(|f| f.kind == SLOW).unwrap();
    assert!(!slow.remedy.contains("public.child"), "{slow:?}");
    // Compilation is measured, and comes first.
    let mut facts = reading_whole("SELECT", 2_100);
    let s = &mut facts.statements.as_mut().unwrap()[0];
    s.jit_ms = Some(s.exec_ms * 0.4);
    let all = judge_with(&detectors, &facts, &t).findings;
    let slow = all.iter().find(|f| f.kind == SLOW).unwrap();
    assert!(slow.remedy.contains("jit_above_cost"), "{slow:?}");
}

/// A statement that writes temporary files, with a NOT IN of a large table or without, and what executions showed.
fn writing(not_in: bool, nodes: &[(Kind, &[(Slot, u64)])]) -> Facts {
    use crate::facts::{Form, FormKind, Table};
    let mut s = statement(100, 500.0);
    (s.temp_blks_written, s.blks_hit) = (100_000, 100_000);
    let (inner_nullable, outer_nullable) = (true, false);
    let kind = FormKind::NotIn { inner_nullable, outer_nullable, rows: false, hashable: true };
    let form = Form {
        kind,
        tables: vec![1],
        attnum: 0,
        expression: "NOT IN".to_owned(),
        better: None,
        guessed: false,
        indexable: None,
        inside: false,
    };
    let forms = Some(form).filter(|_| not_in).into_iter().collect();
    s.shape = Some(Shape { aggregates: true, forms, ..Shape::default() });
    let name = "public.orders";
    let mut facts = facts(vec![s]);
    facts.tables =
        Some(vec![Table { oid: 1, name: name.to_owned(), rows: Some(1e6), ..Table::default() }]);
    facts.indexes = Some(Vec::new());
    let seen = nodes.iter().map(|(kind, set)| {
        let mut one = crate::facts::evidence::tests::evidence(7, *kind, name, "customer_id", 10);
        set.iter().for_each(|(slot, n)| one.counts.set(*slot, *n));
        one
    });
    facts.evidence = Some(seen.collect());
    facts
}

#[test]
fn work_mem_is_named_where_a_sort_or_hash_went_to_disk() {
    let scan: (Kind, &[(Slot, u64)]) = (Kind::SeqScan, &[(Slot::Read, 2_000), (Slot::Kept, 2_000)]);
    let sort: (Kind, &[(Slot, u64)]) = (Kind::Sort, &[(Slot::Spills, 10)]);
    let told = |facts: &Facts| {
        let one = found(facts).remove(0);
        (one.cause.expect("a cause"), one.remedy, one.severity)
    };
    let (cause, remedy, _) = told(&writing(false, &[scan, sort]));
    assert!(cause.contains("work_mem") && remedy.contains("work_mem"), "{cause} {remedy}");
    // Nobody looked: most likely it is one of them.
    let (cause, remedy, _) = told(&writing(false, &[]));
    assert!(cause.contains("work_mem") && remedy.contains("work_mem"), "{cause} {remedy}");
    // It was none of them.
    let (cause, remedy, _) = told(&writing(false, &[scan]));
    assert!(!cause.contains("work_mem") && !remedy.contains("work_mem"), "{cause} {remedy}");
    assert!(remedy.contains("Materialize"), "{remedy}");
    for seen in [&[scan][..], &[]] {
        let (cause, remedy, severity) = told(&writing(true, seen));
        assert!(cause.contains("NOT IN") && !cause.contains("work_mem"), "{cause}");
        assert!(remedy.contains("rewrite_not_in") && !remedy.contains("work_mem"), "{remedy}");
        assert_ne!(severity, Severity::Info, "no analysis, however seldom it runs");
    }
    // A NOT IN beside a sort that went to disk.
    let (cause, ..) = told(&writing(true, &[scan, sort]));
    assert!(cause.contains("work_mem"), "{cause}");
    // Of a small table, for which no other form is told.
    let mut small = writing(true, &[scan]);
    small.tables.as_mut().expect("tables")[0].rows = Some(100.0);
    let (_, remedy, _) = told(&small);
    assert!(remedy.contains("Materialize"), "{remedy}");
}
