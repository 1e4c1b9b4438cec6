//! For each kind a state that must give it, and near twins that must not.

use super::*;
use crate::facts::{
    Activity, Column, Constraint, ForeignKey, KeyPart, Server, Stored, Table, Window,
};
use crate::finding::Finding;

mod alike;
mod bloat;
mod invalid;
mod keys;
mod unused;
mod writes;

const DAY_US: i64 = 86_400_000_000;
const NOW: i64 = 1_000 * DAY_US;
const TABLE: u32 = 100;
const MB: i64 = 1_048_576;

/// A table with columns a to e that is read and written.
fn table() -> Table {
    let column = |attnum: i16, name: &str| Column {
        attnum,
        name: name.to_owned(),
        width: Some(8),
        null_ratio: Some(0.0),
        distinct: Some(-1.0),
        align: 8,
        not_null: true,
    };
    let activity = Activity {
        seq_scan: 50,
        idx_scan: 40_000,
        n_tup_ins: 2_000,
        n_tup_upd: 1_000,
        n_tup_hot_upd: 400,
        n_tup_del: 100,
        ..Activity::default()
    };
    Table {
        oid: TABLE,
        name: "public.orders".to_owned(),
        rows: Some(200_000.0),
        table_bytes: Some(100 * MB),
        columns: ["a", "b", "c", "d", "e"].iter().zip(1..).map(|(n, i)| column(i, n)).collect(),
        window: Some(activity),
        history: Some(activity),
        ..Table::default()
    }
}

/// A btree on those columns, used, of 10 MB; its oid stands at the end of its name.
fn index(oid: u32, columns: &[i16]) -> Index {
    let names = ["a", "b", "c", "d", "e"];
    let part = |attnum: &i16| KeyPart {
        attnum: *attnum,
        expression: names[*attnum as usize - 1].to_owned(),
        distinct: Some(-1.0),
        opclass: 1978,
        ..KeyPart::default()
    };
    let key: Vec<KeyPart> = columns.iter().map(part).collect();
    let stored = Stored { align: 8, length: 8, width: Some(8), null_ratio: Some(0.0) };
    Index {
        oid,
        name: format!("public.orders_{oid}"),
        table: TABLE,
        method: "btree".to_owned(),
        stored: vec![stored; key.len()],
        definition: format!("CREATE INDEX orders_{oid} ON public.orders USING btree (...)"),
        key,
        deduplicates: true,
        immediate: true,
        valid: true,
        ready: true,
        live: true,
        bytes: Some(10 * MB),
        pages: Some(1280),
        rows: Some(200_000.0),
        first_seen_us: Some(NOW - 30 * DAY_US),
        window_scans: Some(500),
        history_scans: Some(40_000),
        history_covered_us: 30 * DAY_US,
        total_scans: Some(50_000),
        ..Index::default()
    }
}

fn constraint(kind: char) -> Constraint {
    Constraint { kind, name: "rule".to_owned() }
}

fn facts(tables: Vec<Table>, indexes: Vec<Index>) -> Facts {
    let window = |length: i64| Window {
        since_us: NOW - length,
        until_us: NOW,
        covered_us: length,
        intervals: length / 60_000_000,
    };
    Facts {
        now_us: NOW,
        window: window(DAY_US / 24),
        history: window(30 * DAY_US),
        server: Server { block_bytes: 8192, standbys: Some(0), ..Server::default() },
        tables: Some(tables),
        indexes: Some(indexes),
        foreign_keys: Some(Vec::new()),
        statements: Some(Vec::new()),
        ..Facts::default()
    }
}

fn judge(facts: &Facts) -> Judgement {
    let mut judgement = Judgement::default();
    detect(facts, &Thresholds::default(), &mut judgement);
    for finding in &judgement.findings {
        assert!(DETECTOR.kinds.contains(&finding.kind.as_str()), "{finding:?}");
        let title = finding.title.replace(char::REPLACEMENT_CHARACTER, "?");
        assert!(title.is_ascii() && !title.contains('\n'), "{title}");
        assert!(!finding.remedy.is_empty() && !finding.evidence.is_empty(), "{finding:?}");
        for threshold in finding.evidence.iter().filter_map(|e| e.threshold) {
            assert!(THRESHOLDS.iter().any(|t| t.default == threshold), "{finding:?}");
        }
    }
    judgement
}

/// Findings of a kind.
fn of(kind: &str, facts: &Facts) -> Vec<Finding> {
    judge(facts).findings.into_iter().filter(|f| f.kind == kind).collect()
}

fn only(kind: &str, facts: &Facts) -> Finding {
    let mut all = of(kind, facts);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

#[test]
fn a_sound_table_gives_nothing() {
    let mut key = index(1, &[1]);
    (key.unique, key.primary, key.constraints) = (true, true, vec![constraint('p')]);
    let judgement = judge(&facts(vec![table()], vec![key, index(2, &[2]), index(3, &[3, 2])]));
    assert_eq!(judgement, Judgement::default());
}

#[test]
fn without_a_catalog_nothing_is_said_of_any_kind() {
    for change in [(|f: &mut Facts| f.indexes = None) as fn(&mut Facts), |f| f.tables = None] {
        let mut facts = facts(vec![table()], vec![index(1, &[1])]);
        change(&mut facts);
        let judgement = judge(&facts);
        assert!(judgement.findings.is_empty());
        assert_eq!(judgement.unjudged, DETECTOR.kinds);
    }
}

#[test]
fn without_history_nothing_is_said_of_use() {
    let mut facts = facts(vec![table()], vec![index(1, &[1])]);
    facts.history = Window::default();
    facts.foreign_keys = None;
    let judgement = judge(&facts);
    assert_eq!(judgement.unjudged, [UNUSED, WRITE_HEAVY, KEY_WITHOUT]);
}

#[test]
fn names_of_thresholds_are_their_own() {
    let mut names: Vec<&str> = THRESHOLDS.iter().map(|t| t.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), THRESHOLDS.len());
}
