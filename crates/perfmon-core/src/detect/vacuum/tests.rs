//! For each kind a state that gives it, and near twins that do not.

use super::DETECTOR;
use super::ages::{MULTIXACT, WRAPAROUND};
use super::sequences::EXHAUSTION;
use super::statistics::STALE;
use super::tables::{BEHIND, DEAD, DISABLED};
use crate::capture::failure::Class;
use crate::detect::samples::{self, found, set, silent, the};
use crate::facts::failure::Failure;
use crate::facts::relation::Activity;
use crate::facts::{Facts, Holder, HolderKind, Sequence, Table};
use crate::finding::Severity;

const HOUR_US: i64 = 3_600_000_000;

fn with(table: Table) -> Facts {
    Facts { tables: Some(vec![table]), ..samples::healthy() }
}

/// A million rows, 900,000 of them dead, and for half an hour at least.
fn neglected() -> Table {
    let mut table = samples::table(7, "public.items", 1_000_000);
    table.dead_rows = Some(900_000);
    table.first_half =
        Some(Activity { dead_rows: Some(700_000), n_tup_upd: 20_000, ..Activity::default() });
    table.window = Some(Activity { n_tup_upd: 40_000, ..Activity::default() });
    table
}

#[test]
fn autovacuum_behind() {
    let finding = the(&DETECTOR, &with(neglected()), BEHIND);
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(
        finding.title,
        "public.items has 900,000 dead rows, 4.5 times what starts autovacuum, for 30 min or longer"
    );
    assert!(finding.statement.unwrap().starts_with("VACUUM (ANALYZE) public.items;\n"));
    assert_eq!(finding.evidence[0].threshold, Some(400_100.0));

    let mut locked = with(neglected());
    locked.failures.as_mut().unwrap().all.push(Failure {
        class: Class::AutovacuumCancelled,
        state: None,
        statement_id: None,
        table: Some("public.items".into()),
        count: 2,
        lost_ms: 0.0,
    });
    let finding = the(&DETECTOR, &locked, BEHIND);
    assert!(finding.cause.unwrap().contains("2 times it gave way"));
    let given_up = finding.evidence.iter().find(|e| e.metric == "autovacuum_cancelled");
    assert_eq!(given_up.map(|e| &e.value), Some(&2_u64.into()));

    let mut bulk = neglected();
    bulk.first_half = Some(Activity { dead_rows: Some(3_000), ..Activity::default() });
    silent(&DETECTOR, &with(bulk), BEHIND);
    let mut bounded = neglected();
    bounded.first_half = Some(Activity::default());
    the(&DETECTOR, &with(bounded.clone()), BEHIND);
    bounded.window = Some(Activity { n_tup_upd: 600_000, ..Activity::default() });
    silent(&DETECTOR, &with(bounded), BEHIND);

    let mut few = neglected();
    few.rows = Some(1_000.0);
    few.dead_rows = Some(9_000);
    silent(&DETECTOR, &with(few), BEHIND);
    let mut below = neglected();
    below.dead_rows = Some(390_000);
    silent(&DETECTOR, &with(below), BEHIND);
    let mut lazy = neglected();
    lazy.options.push(("autovacuum_vacuum_scale_factor".into(), "0.9".into()));
    silent(&DETECTOR, &with(lazy), BEHIND);
    let mut system = neglected();
    system.internal = true;
    silent(&DETECTOR, &with(system), BEHIND);
}

#[test]
fn a_queue_that_is_vacuumed_every_minute_is_not_behind() {
    let mut queue = neglected();
    queue.rows = Some(1_000.0);
    queue.dead_rows = Some(60_000);
    queue.window = Some(Activity { n_tup_del: 3_600_000, ..Activity::default() });
    queue.first_half =
        Some(Activity { n_tup_del: 1_800_000, dead_rows: Some(50_000), ..Activity::default() });
    silent(&DETECTOR, &with(queue), BEHIND);
}

#[test]
fn a_fresh_server_knows_nothing_of_what_lasts() {
    let mut facts = with(neglected());
    facts.window.covered_us = 180_000_000;
    facts.window.intervals = 3;
    let judgement = super::super::judge_with(&[&DETECTOR], &facts, &Default::default());
    assert_eq!(judgement.findings.len(), 0);
    assert!(judgement.unjudged.contains(&BEHIND) && judgement.unjudged.contains(&STALE));
}

#[test]
fn who_keeps_rows_is_named() {
    let mut facts = with(neglected());
    let session = Holder {
        kind: HolderKind::Idle,
        name: "4711".into(),
        age_s: Some(7_200.0),
        xid_age: Some(3_000_000),
    };
    facts.server.holders = Some(vec![session.clone()]);
    let finding = the(&DETECTOR, &facts, BEHIND);
    assert_eq!(finding.statement, None, "a VACUUM would be in vain");
    assert!(finding.remedy.contains("process 4711"), "{}", finding.remedy);
    facts.server.holders = Some(vec![Holder { age_s: Some(60.0), ..session }]);
    assert!(the(&DETECTOR, &facts, BEHIND).statement.is_some());
}

#[test]
fn autovacuum_disabled() {
    let mut table = samples::table(7, "public.sessions", 10_000);
    table.options = vec![("autovacuum_enabled".into(), "off".into())];
    table.dead_rows = Some(30_000);
    let finding = the(&DETECTOR, &with(table.clone()), DISABLED);
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(
        finding.statement.as_deref(),
        Some(
            "ALTER TABLE public.sessions RESET (autovacuum_enabled);\nVACUUM (ANALYZE) public.sessions;"
        )
    );
    silent(&DETECTOR, &with(table.clone()), BEHIND);
    table.options.push(("toast.autovacuum_enabled".into(), "false".into()));
    let finding = the(&DETECTOR, &with(table.clone()), DISABLED);
    assert!(finding.statement.unwrap().contains("(autovacuum_enabled, toast.autovacuum_enabled)"));

    table.dead_rows = Some(1_500);
    assert_eq!(the(&DETECTOR, &with(table.clone()), DISABLED).severity, Severity::Info);
    table.dead_rows = Some(900);
    silent(&DETECTOR, &with(table.clone()), DISABLED);
    table.dead_rows = Some(30_000);
    table.options = vec![("autovacuum_enabled".into(), "true".into())];
    silent(&DETECTOR, &with(table), DISABLED);
}

#[test]
fn dead_rows_without_autovacuum_or_before_it_starts() {
    let mut facts = with(neglected());
    set(&mut facts, "autovacuum", "off");
    let finding = the(&DETECTOR, &facts, DEAD);
    assert_eq!(finding.severity, Severity::Warning);
    silent(&DETECTOR, &facts, BEHIND);
    facts.tables = Some(vec![samples::table(1, "t", 1_000_000)]);
    silent(&DETECTOR, &facts, DEAD);

    let mut large = samples::table(7, "public.log", 100_000_000);
    large.dead_rows = Some(15_000_000);
    let finding = the(&DETECTOR, &with(large.clone()), DEAD);
    assert_eq!(finding.severity, Severity::Info);
    assert_eq!(
        finding.statement.as_deref(),
        Some("ALTER TABLE public.log SET (autovacuum_vacuum_scale_factor = 0.013);")
    );
    large.dead_rows = Some(9_000_000);
    silent(&DETECTOR, &with(large.clone()), DEAD);
    large.dead_rows = Some(15_000_000);
    large.table_bytes = Some(500_000_000);
    silent(&DETECTOR, &with(large), DEAD);
}

#[test]
fn stale_statistics() {
    let mut table = samples::table(7, "public.orders", 1_000_000);
    table.mod_since_analyze = Some(1_200_000);
    table.first_half = Some(Activity { mod_since_analyze: Some(1_000_000), ..Activity::default() });
    let finding = the(&DETECTOR, &with(table.clone()), STALE);
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(finding.statement.as_deref(), Some("ANALYZE public.orders;"));
    table.mod_since_analyze = Some(500_000);
    assert_eq!(the(&DETECTOR, &with(table.clone()), STALE).severity, Severity::Info);

    let mut loaded = table.clone();
    loaded.first_half = Some(Activity { mod_since_analyze: Some(10_000), ..Activity::default() });
    silent(&DETECTOR, &with(loaded), STALE);
    let mut unread = table.clone();
    unread.window = Some(Activity { n_tup_upd: 500_000, ..Activity::default() });
    silent(&DETECTOR, &with(unread), STALE);
    table.mod_since_analyze = Some(290_000);
    silent(&DETECTOR, &with(table), STALE);
}

#[test]
fn never_analysed() {
    let mut table = samples::table(7, "public.fresh", 5_000);
    table.rows = None;
    table.last_analyze_us = None;
    let finding = the(&DETECTOR, &with(table.clone()), STALE);
    assert_eq!(finding.title, "public.fresh has 5,000 rows and was never analysed");
    let mut small = table.clone();
    small.live_rows = Some(900);
    silent(&DETECTOR, &with(small), STALE);
    let mut new = table.clone();
    new.window = Some(Activity { n_tup_ins: 4_900, idx_scan: 10, ..Activity::default() });
    new.first_half = None;
    silent(&DETECTOR, &with(new), STALE);
    let mut reset = table.clone();
    reset.last_analyze_us = Some(1);
    silent(&DETECTOR, &with(reset), STALE);

    let mut parent = samples::table(8, "public.measure", 0);
    parent.rows = None;
    parent.partitioned = true;
    parent.last_analyze_us = None;
    let mut part = samples::table(9, "public.measure_1", 50_000);
    part.parent = Some(8);
    let mut facts = with(parent);
    facts.tables.as_mut().unwrap().push(part);
    let finding = the(&DETECTOR, &facts, STALE);
    assert_eq!((finding.severity, finding.object.as_str()), (Severity::Info, "public.measure"));
    facts.tables.as_mut().unwrap()[0].rows = Some(50_000.0);
    silent(&DETECTOR, &facts, STALE);
}

fn aged(xids: i64, mxids: i64, rate: Option<f64>) -> Facts {
    let mut facts = samples::healthy();
    let horizon = facts.server.horizon.as_mut().unwrap();
    (horizon.xid_age, horizon.mxid_age, horizon.xids_per_s) = (xids, mxids, rate);
    facts.tables.as_mut().unwrap()[0].xid_age = Some(xids);
    facts
}

#[test]
fn wraparound() {
    let finding = the(&DETECTOR, &aged(450_000_000, 1, Some(100.0)), WRAPAROUND);
    assert_eq!(finding.severity, Severity::Warning, "twice the age of the forced freeze");
    assert_eq!(finding.statement.as_deref(), Some("VACUUM (FREEZE, VERBOSE) public.orders;"));
    let finding = the(&DETECTOR, &aged(1_100_000_000, 1, Some(100.0)), WRAPAROUND);
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(
        finding.title,
        "Database shop has used 51.3 % of all transaction ids since it was last frozen, the server \
         refuses to write in 121 days (2027-03-22)"
    );
    assert!(finding.impact.outage_at_us.is_some());
    let finding = the(&DETECTOR, &aged(1_100_000_000, 1, Some(5_000.0)), WRAPAROUND);
    assert_eq!(finding.severity, Severity::Critical, "two days and a half");
    let finding = the(&DETECTOR, &aged(1_800_000_000, 1, None), WRAPAROUND);
    assert_eq!((finding.severity, finding.impact.outage_at_us), (Severity::Critical, None));

    silent(&DETECTOR, &aged(390_000_000, 1, Some(50_000.0)), WRAPAROUND);
    let mut patient = aged(1_200_000_000, 1, Some(100.0));
    set(&mut patient, "autovacuum_freeze_max_age", 1_150_000_000.0);
    silent(&DETECTOR, &patient, WRAPAROUND);
    set(&mut patient, "autovacuum_freeze_max_age", 1_000_000_000.0);
    the(&DETECTOR, &patient, WRAPAROUND);
    let mut elsewhere = aged(1_100_000_000, 1, None);
    elsewhere.server.horizon.as_mut().unwrap().database = "\"Other one\"".into();
    let finding = the(&DETECTOR, &elsewhere, WRAPAROUND);
    assert_eq!(finding.statement, None);
    assert_eq!(finding.object, "database \"Other one\"");
    assert!(finding.remedy.ends_with("Connect to database \"Other one\"."));
}

#[test]
fn multixact_wraparound() {
    let finding = the(&DETECTOR, &aged(1, 1_100_000_000, None), MULTIXACT);
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(finding.statement.as_deref(), Some("VACUUM (FREEZE, VERBOSE);"));
    silent(&DETECTOR, &aged(1, 700_000_000, None), MULTIXACT);
}

fn sequence(last: i64, column_max: Option<i64>, per_day: Option<f64>) -> Facts {
    let mut facts = samples::healthy();
    let now = facts.now_us;
    facts.sequences = Some(vec![Sequence {
        name: "public.orders_id_seq".into(),
        last_value: Some(last),
        start: 1,
        min: 1,
        max: i64::MAX,
        increment: 1,
        owned_by: Some("public.orders.id".into()),
        column_max,
        before: per_day.map(|pace| (last - (2.0 * pace) as i64, now - 48 * HOUR_US)),
        ..Sequence::default()
    }]);
    facts
}

#[test]
fn sequence_exhaustion() {
    let int = Some(2_147_483_647);
    let finding = the(&DETECTOR, &sequence(1_900_000_000, int, None), EXHAUSTION);
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(
        finding.statement.as_deref(),
        Some(
            "ALTER TABLE public.orders ALTER COLUMN id TYPE bigint;\n\
             ALTER SEQUENCE public.orders_id_seq AS bigint;"
        )
    );
    let nearly = |per_day| the(&DETECTOR, &sequence(2_100_000_000, int, per_day), EXHAUSTION);
    assert_eq!(nearly(None).severity, Severity::Warning, "no pace, no date");
    assert_eq!(nearly(Some(600_000.0)).severity, Severity::Critical, "79 days");
    let used = &nearly(Some(600_000.0)).evidence[0];
    assert_eq!((used.metric.as_str(), used.threshold), ("used_ratio", Some(0.95)));
    assert_eq!(nearly(Some(500_000.0)).severity, Severity::Warning, "95 days");
    let finding = the(&DETECTOR, &sequence(1_500_000_000, int, Some(30_000_000.0)), EXHAUSTION);
    assert_eq!(finding.severity, Severity::Critical, "three weeks");
    assert_eq!(
        finding.title,
        "Sequence public.orders_id_seq has used 69.8 % of its values, it ends in 21.6 days (2026-12-13)"
    );
    let finding = the(&DETECTOR, &sequence(1_500_000_000, int, Some(5_000_000.0)), EXHAUSTION);
    assert_eq!(finding.severity, Severity::Warning, "four months");
    let finding = the(&DETECTOR, &sequence(2_147_483_647, int, Some(0.0)), EXHAUSTION);
    assert_eq!(finding.severity, Severity::Critical, "no value is left");
    let finding = the(&DETECTOR, &sequence(2_000_000_000, int, Some(10_000.0)), EXHAUSTION);
    assert_eq!(finding.severity, Severity::Info, "forty years");

    silent(&DETECTOR, &sequence(1_500_000_000, int, Some(100_000.0)), EXHAUSTION);
    silent(&DETECTOR, &sequence(1_900_000_000, Some(i64::MAX), Some(1e6)), EXHAUSTION);
    let mut short = sequence(100_000_000, int, Some(144_000_000.0));
    the(&DETECTOR, &short, EXHAUSTION);
    // Six million in an hour are as many in a day, but an hour is no day.
    short.sequences.as_mut().unwrap()[0].before = Some((94_000_000, short.now_us - HOUR_US));
    silent(&DETECTOR, &short, EXHAUSTION);
    let mut unused = sequence(0, int, None);
    unused.sequences.as_mut().unwrap()[0].last_value = None;
    silent(&DETECTOR, &unused, EXHAUSTION);
}

/// Rows of the table that the sequence feeds, by day over a history of ten.
fn inserted(facts: &mut Facts, per_day: u64) {
    facts.history.covered_us = 240 * HOUR_US;
    let history = Activity { n_tup_ins: per_day * 10, ..Activity::default() };
    facts.tables.as_mut().unwrap()[0].history = Some(history);
}

#[test]
fn a_sequence_may_run_faster_than_its_table_grows() {
    let int = Some(2_147_483_647);
    // Most values are burnt: by rows alone it would end in centuries.
    let mut facts = sequence(1_900_000_000, int, None);
    inserted(&mut facts, 1_000);
    let finding = the(&DETECTOR, &facts, EXHAUSTION);
    assert_eq!(finding.severity, Severity::Warning, "rows are no reason to be calm");
    let mut burnt = sequence(1_900_000_000, int, Some(10_000_000.0));
    inserted(&mut burnt, 1_000);
    let finding = the(&DETECTOR, &burnt, EXHAUSTION);
    assert_eq!(finding.severity, Severity::Critical);
    assert!(finding.title.contains("it ends in 24.7 days"), "{}", finding.title);
    // Until two readings lie a day apart, the faster of both counts.
    let mut young = sequence(1_900_000_000, int, None);
    inserted(&mut young, 10_000_000);
    assert_eq!(the(&DETECTOR, &young, EXHAUSTION).severity, Severity::Critical);
    young.sequences.as_mut().unwrap()[0].before = Some((1_899_999_990, young.now_us - 2 * HOUR_US));
    assert_eq!(the(&DETECTOR, &young, EXHAUSTION).severity, Severity::Critical);
    // Rows that came with values of their own do not speed it up.
    let mut copied = sequence(1_500_000_000, int, Some(10.0));
    inserted(&mut copied, 100_000_000);
    silent(&DETECTOR, &copied, EXHAUSTION);
}

#[test]
fn a_sequence_that_feeds_no_column_has_a_date_too() {
    let mut facts = sequence(1_500_000_000, None, Some(30_000_000.0));
    let sequence = &mut facts.sequences.as_mut().unwrap()[0];
    (sequence.max, sequence.owned_by) = (2_147_483_647, None);
    let finding = the(&DETECTOR, &facts, EXHAUSTION);
    assert_eq!(finding.severity, Severity::Critical);
    assert!(finding.impact.outage_at_us.is_some());
    // Set back in between: how fast it goes is not known.
    let sequence = &mut facts.sequences.as_mut().unwrap()[0];
    sequence.before = sequence.before.map(|(_, at)| (1_900_000_000, at));
    silent(&DETECTOR, &facts, EXHAUSTION);
}

#[test]
fn sequences_that_go_down_or_round() {
    let mut facts = sequence(-2_000_000_000, Some(2_147_483_647), None);
    let sequence = &mut facts.sequences.as_mut().unwrap()[0];
    (sequence.increment, sequence.min, sequence.max) = (-1, i64::MIN, -1);
    let finding = the(&DETECTOR, &facts, EXHAUSTION);
    assert!(finding.title.contains("93.1 %"), "{}", finding.title);

    let sequence = &mut facts.sequences.as_mut().unwrap()[0];
    (sequence.increment, sequence.min, sequence.max) = (1, 1, 1_000);
    (sequence.last_value, sequence.cycle) = (Some(999), true);
    silent(&DETECTOR, &facts, EXHAUSTION);
    let sequence = &mut facts.sequences.as_mut().unwrap()[0];
    sequence.cycle = false;
    sequence.column_max = Some(i64::MAX);
    let finding = the(&DETECTOR, &facts, EXHAUSTION);
    assert_eq!(
        finding.statement.as_deref(),
        Some("ALTER SEQUENCE public.orders_id_seq AS bigint NO MAXVALUE;")
    );
    let sequence = &mut facts.sequences.as_mut().unwrap()[0];
    (sequence.max, sequence.last_value) = (2_147_483_647, Some(2_147_000_000));
    let finding = the(&DETECTOR, &facts, EXHAUSTION);
    assert_eq!(
        finding.statement.as_deref(),
        Some("ALTER SEQUENCE public.orders_id_seq AS bigint;")
    );
}

#[test]
fn what_is_not_known_is_not_judged() {
    let mut facts = samples::healthy();
    (facts.tables, facts.sequences, facts.server.horizon) = (None, None, None);
    facts.failures = None;
    let judgement = super::super::judge_with(&[&DETECTOR], &facts, &Default::default());
    assert_eq!(judgement.findings.len(), 0);
    for kind in DETECTOR.kinds {
        assert!(judgement.unjudged.contains(kind), "{kind}");
    }
    assert_eq!(found(&DETECTOR, &Facts::default()).len(), 0);
}
