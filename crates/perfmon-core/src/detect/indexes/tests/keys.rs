use super::*;
use crate::facts::{Predicate, Shape, Statement, TableUse, Test};

const REFERENCED: u32 = 300;

fn key(columns: &[i16]) -> ForeignKey {
    let names = ["a", "b", "c", "d", "e"];
    ForeignKey {
        name: "to_customer".into(),
        table: TABLE,
        columns: columns.to_vec(),
        column_names: columns.iter().map(|n| names[*n as usize - 1].to_owned()).collect(),
        referenced: REFERENCED,
        referenced_columns: (1..).take(columns.len()).collect(),
        on_delete: 'a',
        on_update: 'a',
    }
}

fn build(columns: &[i16], change: impl Fn(&mut Facts)) -> Facts {
    let mut referenced = Table { oid: REFERENCED, name: "public.customers".into(), ..table() };
    referenced.window.as_mut().unwrap().n_tup_del = 25;
    let mut facts = facts(vec![table(), referenced], vec![index(1, &[1])]);
    facts.foreign_keys = Some(vec![key(columns)]);
    change(&mut facts);
    facts
}

fn add(facts: &mut Facts, index: Index) {
    facts.indexes.as_mut().unwrap().push(index);
}

#[test]
fn a_key_without_an_index_gets_one() {
    let found = only(KEY_WITHOUT, &build(&[2], |_| {}));
    assert_eq!((found.object.as_str(), found.subject.as_str()), ("public.orders", "b"));
    assert_eq!(found.severity, Severity::Warning);
    let ddl = "CREATE INDEX CONCURRENTLY ON public.orders (b);";
    assert_eq!(found.statement.as_deref(), Some(ddl));
    let cause = found.cause.unwrap();
    assert!(cause.contains("public.customers") && cause.contains("25 rows"), "{cause}");
    let two = only(KEY_WITHOUT, &build(&[3, 2], |_| {}));
    let ddl = "CREATE INDEX CONCURRENTLY ON public.orders (c, b);";
    assert_eq!(two.statement.as_deref(), Some(ddl));
}

#[test]
fn how_bad_it_is_depends_on_its_use() {
    let quiet = |f: &mut Facts| f.tables.as_mut().unwrap()[1].window = None;
    assert_eq!(only(KEY_WITHOUT, &build(&[2], quiet)).severity, Severity::Info);
    let few = |f: &mut Facts| f.tables.as_mut().unwrap()[0].rows = Some(5_000.0);
    assert_eq!(only(KEY_WITHOUT, &build(&[2], few)).severity, Severity::Info);
    let looked_up = |f: &mut Facts, join: bool, command: &str| {
        quiet(f);
        let predicate = Predicate {
            expression: "b".into(),
            attnum: 2,
            test: Test::Equal,
            join,
            other: if join { REFERENCED } else { 0 },
        };
        let table =
            TableUse { oid: TABLE, read: true, predicates: vec![predicate], ..Default::default() };
        let shape = Shape { tables: vec![table], ..Default::default() };
        let statement = Statement { calls: 400, shape: Some(shape), ..Default::default() };
        f.statements =
            Some(vec![Statement { command: Some(command.to_owned()), ..statement.clone() }]);
    };
    for (join, command) in [(true, "SELECT"), (false, "EXPLAIN")] {
        let found = only(KEY_WITHOUT, &build(&[2], |f| looked_up(f, join, command)));
        assert_eq!(found.severity, Severity::Info, "{command}");
        assert!(!found.cause.unwrap().contains("executions"), "{command}");
    }
    let found = only(KEY_WITHOUT, &build(&[2], |f| looked_up(f, false, "SELECT")));
    assert_eq!(found.severity, Severity::Warning);
    assert!(found.cause.unwrap().contains("400 executions"));
}

#[test]
fn keys_that_an_index_serves_are_let_be() {
    type Make = fn() -> Index;
    let twins: [(&str, &[i16], Make); 10] = [
        ("just it", &[2], || index(2, &[2])),
        ("its beginning", &[2], || index(2, &[2, 3])),
        ("another order of its columns", &[2, 3], || index(2, &[3, 2, 4])),
        ("unique", &[2], || Index { unique: true, ..index(2, &[2]) }),
        ("hash", &[2], || Index { method: "hash".into(), ..index(2, &[2]) }),
        ("all but NULL", &[2], || Index {
            predicate: Some("(b IS NOT NULL)".into()),
            ..index(2, &[2])
        }),
        ("descending", &[2], || {
            let mut i = index(2, &[2]);
            i.key[0].descending = true;
            i
        }),
        ("one column that tells rows apart", &[2, 3], || index(2, &[3])),
        ("the same by a number", &[2, 3], || {
            let mut i = index(2, &[3]);
            i.key[0].distinct = Some(50_000.0);
            i
        }),
        ("a condition that is not known", &[2], || Index {
            predicate: Some(String::new()),
            unread: true,
            ..index(2, &[2])
        }),
    ];
    for (what, columns, make) in twins {
        assert_eq!(of(KEY_WITHOUT, &build(columns, |f| add(f, make()))), [], "{what}");
    }
}

#[test]
fn indexes_that_do_not_serve_do_not_count() {
    type Make = fn() -> Index;
    let wrong: [(&str, &[i16], Make); 9] = [
        ("not at the beginning", &[2], || index(2, &[3, 2])),
        ("included only", &[2], || Index { include: vec!["b".into()], ..index(2, &[3]) }),
        ("a condition", &[2], || Index { predicate: Some("(a > 0)".into()), ..index(2, &[2]) }),
        ("invalid", &[2], || Index { valid: false, being_built: true, ..index(2, &[2]) }),
        ("brin", &[2], || Index { method: "brin".into(), ..index(2, &[2]) }),
        ("another table's", &[2], || Index { table: REFERENCED, ..index(2, &[2]) }),
        ("an expression", &[2], || {
            let mut i = index(2, &[2]);
            (i.key[0].attnum, i.key[0].expression) = (0, "abs(b)".into());
            i
        }),
        ("one column in which many rows are alike", &[2, 3], || {
            let mut i = index(2, &[3]);
            i.key[0].distinct = Some(20.0);
            i
        }),
        ("one column, distinct values not known", &[2, 3], || {
            let mut i = index(2, &[3]);
            i.key[0].distinct = None;
            i
        }),
    ];
    for (what, columns, make) in wrong {
        assert_eq!(of(KEY_WITHOUT, &build(columns, |f| add(f, make()))).len(), 1, "{what}");
    }
}

#[test]
fn small_and_foreign_tables_are_let_be() {
    type Change = fn(&mut Facts);
    let twins: [(&str, Change); 3] = [
        ("small", |f| f.tables.as_mut().unwrap()[0].rows = Some(300.0)),
        ("an extension's", |f| f.tables.as_mut().unwrap()[0].internal = true),
        ("rows not known", |f| f.tables.as_mut().unwrap()[0].rows = None),
    ];
    for (what, change) in twins {
        assert_eq!(of(KEY_WITHOUT, &build(&[2], change)), [], "{what}");
    }
}

#[test]
fn two_keys_of_the_same_columns_want_one_index() {
    let found = only(
        KEY_WITHOUT,
        &build(&[2, 3], |f| {
            let mut second = key(&[3, 2]);
            (second.referenced, second.name) = (TABLE, "to_itself".into());
            f.foreign_keys.as_mut().unwrap().push(second);
        }),
    );
    let cause = found.cause.unwrap();
    assert!(cause.contains("public.customers and public.orders"), "{cause}");
    assert!(cause.contains("125 rows"), "{cause}");
}

#[test]
fn a_partitioned_table_is_served_by_its_partitions() {
    let parts = |second: bool, numbers: [i16; 2]| {
        build(&[2], |f| {
            let tables = f.tables.as_mut().unwrap();
            (tables[0].partitioned, tables[0].rows) = (true, None);
            for (oid, number) in [(200, numbers[0]), (201, numbers[1])] {
                let mut child = Table { oid, parent: Some(TABLE), ..table() };
                child.columns =
                    vec![Column { attnum: number, name: "b".into(), ..Column::default() }];
                tables.push(child);
            }
            add(f, Index { table: 200, ..index(11, &[numbers[0]]) });
            if second {
                add(f, Index { table: 201, ..index(12, &[numbers[1]]) });
            }
        })
    };
    assert_eq!(of(KEY_WITHOUT, &parts(true, [2, 2])), []);
    assert_eq!(of(KEY_WITHOUT, &parts(true, [2, 4])), [], "columns in another order");
    let found = only(KEY_WITHOUT, &parts(false, [2, 2]));
    assert_eq!((found.object.as_str(), &found.statement), ("public.orders", &None));
    assert!(found.remedy.starts_with("CREATE INDEX ON ONLY public.orders (b)"), "{}", found.remedy);
    assert!(found.title.contains("400,000 rows"), "{}", found.title);
}

/// A statement on a table of so many pages that touches so many blocks in each of a thousand executions,
/// for one row each, in 2 s of an hour.
fn user(command: &str, oid: u32, predicates: Vec<Predicate>, blocks: u64) -> Statement {
    let table = TableUse {
        oid,
        read: true,
        written: command != "SELECT",
        predicates,
        ..Default::default()
    };
    Statement {
        statement_id: 5,
        toplevel: true,
        command: Some(command.to_owned()),
        calls: 1_000,
        rows: 1_000,
        exec_ms: 2_000.0,
        blks_hit: blocks * 1_000,
        shape: Some(Shape { tables: vec![table], ..Default::default() }),
        ..Default::default()
    }
}

/// What the key costs where this statement runs.
fn cost(statement: Statement, change: impl Fn(&mut Facts)) -> Option<f64> {
    let found = only(
        KEY_WITHOUT,
        &build(&[2], |f| {
            f.statements = Some(vec![statement.clone()]);
            let table = &mut f.tables.as_mut().unwrap()[0];
            table.table_bytes = Some(500 * 8192);
            table.window.as_mut().unwrap().seq_scan = 1_000;
            change(f);
        }),
    );
    let helped: f64 = found.helped.iter().map(|h| h.saved_ms_per_hour).sum();
    assert_eq!(found.impact.saved_ms_per_hour.unwrap_or(0.0), helped);
    found.impact.saved_ms_per_hour
}

fn by_key() -> Vec<Predicate> {
    let test = Test::Equal;
    vec![Predicate { expression: "b".into(), attnum: 2, test, join: false, other: 0 }]
}

#[test]
fn deletes_that_read_the_table_whole_have_a_cost() {
    let delete = |blocks| user("DELETE", REFERENCED, Vec::new(), blocks);
    // Of 625 blocks, 500 are the referring table's.
    assert_eq!(cost(delete(625), |_| {}), Some(1_600.0));
    let update = |set: &[i16]| {
        let mut update = user("UPDATE", REFERENCED, Vec::new(), 625);
        update.shape.as_mut().unwrap().tables[0].set = set.to_vec();
        update
    };
    assert_eq!(cost(update(&[4, 1]), |_| {}), Some(1_600.0), "it sets the key");
    assert_eq!(cost(update(&[2, 3]), |_| {}), None, "it leaves the key alone");
    assert_eq!(cost(update(&[]), |_| {}), None, "what it sets is not known");
    assert_eq!(cost(delete(20), |_| {}), None, "it touches too few blocks");
    let not_scanned = |f: &mut Facts| {
        f.tables.as_mut().unwrap()[0].window.as_mut().unwrap().seq_scan = 3;
    };
    assert_eq!(cost(delete(625), not_scanned), None, "the table was not scanned so often");
    assert_eq!(cost(user("DELETE", 77, Vec::new(), 625), |_| {}), None, "another table's");
    assert_eq!(cost(user("SELECT", REFERENCED, Vec::new(), 625), |_| {}), None, "it deletes none");
}

#[test]
fn look_ups_by_the_key_have_a_cost() {
    assert_eq!(cost(user("SELECT", TABLE, by_key(), 500), |_| {}), Some(2_000.0));
    assert_eq!(cost(user("SELECT", TABLE, Vec::new(), 500), |_| {}), None, "not by the key");
    assert_eq!(cost(user("SELECT", TABLE, by_key(), 9), |_| {}), None, "by something else too");
    let mut join = by_key();
    (join[0].join, join[0].other) = (true, REFERENCED);
    assert_eq!(cost(user("SELECT", TABLE, join, 500), |_| {}), None, "by whatever rows it joins");
    assert_eq!(cost(user("EXPLAIN", TABLE, by_key(), 500), |_| {}), None, "somebody looks at it");
    let unknown = |f: &mut Facts| f.tables.as_mut().unwrap()[0].table_bytes = None;
    assert_eq!(cost(user("SELECT", TABLE, by_key(), 500), unknown), None, "size not known");
    let nested = Statement { toplevel: false, ..user("SELECT", TABLE, by_key(), 500) };
    assert_eq!(cost(nested, |_| {}), None, "counted in the statement that calls it");
}
