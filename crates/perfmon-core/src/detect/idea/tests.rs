use proptest::prelude::*;

use super::*;
use crate::facts::expression::bare;
use crate::facts::{Column, KeyPart, Order};

const NAMES: [&str; 6] =
    ["id", "customer_id", "status", "created_at", "\"Odd \"\" name\"", "email"];

/// 100,000 rows: a key, 2,000 customers, 4 states, nearly a time each, an unknown one, and half NULL.
fn orders() -> Table {
    let distinct = [Some(-1.0), Some(2000.0), Some(4.0), Some(-0.9), None, Some(-0.5)];
    let columns = NAMES.iter().zip(distinct).zip(1..);
    Table {
        oid: 7,
        name: "public.orders".into(),
        rows: Some(100_000.0),
        columns: columns
            .map(|((name, distinct), attnum)| Column {
                attnum,
                name: (*name).into(),
                null_ratio: distinct.map(|_| if attnum == 6 { 0.5 } else { 0.0 }),
                distinct,
                ..Column::default()
            })
            .collect(),
        ..Table::default()
    }
}

fn on(attnum: i16, test: Test) -> Predicate {
    let expression = NAMES[attnum as usize - 1].to_owned();
    Predicate { expression, attnum, test, join: false, other: 0 }
}

fn joined(attnum: i16, other: u32) -> Predicate {
    Predicate { join: true, other, ..on(attnum, Test::Equal) }
}

fn by(attnum: i16, descending: bool) -> Order {
    let expression = NAMES[attnum as usize - 1].to_owned();
    Order { expression, attnum, descending, nulls_first: descending }
}

fn shape(predicates: Vec<Predicate>) -> Shape {
    let one = TableUse { oid: 7, read: true, predicates, ..TableUse::default() };
    Shape { tables: vec![one], ..Shape::default() }
}

fn first_of(predicates: Vec<Predicate>, order_by: Vec<Order>) -> Shape {
    let mut shape = shape(predicates);
    shape.tables[0].order_by = order_by;
    shape.tables[0].first_rows = true;
    shape
}

fn index(columns: &[(i16, bool)]) -> Index {
    let key = columns.iter().map(|&(attnum, descending)| KeyPart {
        attnum,
        expression: NAMES[attnum as usize - 1].into(),
        descending,
        nulls_first: descending,
        ..KeyPart::default()
    });
    Index {
        table: 7,
        method: "btree".into(),
        key: key.collect(),
        valid: true,
        ready: true,
        live: true,
        ..Index::default()
    }
}

fn ask(shape: &Shape, indexes: &[Index]) -> Option<IndexIdea> {
    let server = Server { available_extensions: vec!["pg_trgm".into()], ..Server::default() };
    shape.candidate_index(&orders(), indexes, &server, &Thresholds::default())
}

fn sql(shape: &Shape, indexes: &[Index]) -> Option<String> {
    ask(shape, indexes)?.statement(&orders())
}

#[test]
fn one_equality() {
    let idea = ask(&shape(vec![on(2, Test::Equal)]), &[]).unwrap();
    assert_eq!(idea.rows_ratio, Some(1.0 / 2000.0));
    assert_eq!(
        idea.statement(&orders()).unwrap(),
        "CREATE INDEX CONCURRENTLY ON public.orders (customer_id);"
    );
    assert_eq!(ask(&shape(vec![on(2, Test::Other)]), &[]), None);
    assert_eq!(ask(&shape(vec![on(3, Test::Equal)]), &[]), None, "a quarter of the table");
    assert_eq!(ask(&shape(vec![]), &[]), None);
}

#[test]
fn the_most_selective_first_and_no_more_than_needed() {
    let three = vec![on(3, Test::Equal), on(2, Test::Equal), on(4, Test::Range)];
    assert_eq!(ask(&shape(three), &[]).unwrap().columns(), "customer_id, status, created_at");
    // A customer has 50 orders, 12 of them in one state: still worth a column; one row is not.
    let unique = vec![on(3, Test::Equal), on(1, Test::Equal), on(4, Test::Range)];
    assert_eq!(ask(&shape(unique), &[]).unwrap().columns(), "id");
    let nulls = vec![on(6, Test::Null), on(2, Test::Equal)];
    assert_eq!(ask(&shape(nulls), &[]).unwrap().columns(), "customer_id, email");
}

#[test]
fn one_range_only_the_narrowest() {
    let ranges = vec![on(4, Test::Range), on(6, Test::Between), on(2, Test::In)];
    let idea = ask(&shape(ranges), &[]).unwrap();
    assert_eq!(idea.columns(), "customer_id, email");
    assert_eq!(idea.rows_ratio, None, "of a range between parameters nothing is known");
    let open = shape(vec![on(4, Test::Range)]);
    assert_eq!(ask(&open, &[]), None, "a third of the table, for all that is known");
    assert!(ask(&shape(vec![on(4, Test::Between)]), &[]).is_some());
}

#[test]
fn the_order_of_the_first_rows() {
    let latest = first_of(vec![on(2, Test::Equal)], vec![by(4, true)]);
    let idea = ask(&latest, &[]).unwrap();
    assert_eq!((idea.columns().as_str(), idea.ordered), ("customer_id, created_at", true));
    assert_eq!(ask(&latest, &[index(&[(2, false), (4, true)])]), None, "read backwards");
    // Without anything to compare with, and with a range that the order would pass by.
    assert_eq!(
        sql(&first_of(vec![], vec![by(4, true), by(1, true)]), &[]).unwrap(),
        "CREATE INDEX CONCURRENTLY ON public.orders (created_at, id);"
    );
    let mixed = first_of(vec![], vec![by(4, true), by(1, false)]);
    assert_eq!(
        sql(&mixed, &[]).unwrap(),
        "CREATE INDEX CONCURRENTLY ON public.orders (created_at DESC, id);"
    );
    assert!(ask(&mixed, &[index(&[(4, false), (1, false)])]).is_some());
    assert_eq!(ask(&mixed, &[index(&[(4, false), (1, true)])]), None);
    let last = Order { nulls_first: false, ..by(4, true) };
    assert_eq!(
        sql(&first_of(vec![], vec![last]), &[]).unwrap(),
        "CREATE INDEX CONCURRENTLY ON public.orders (created_at DESC NULLS LAST);"
    );
    // A list has no order: several customers' newest are not neighbours.
    let list = first_of(vec![on(2, Test::In)], vec![by(4, true)]);
    assert!(!ask(&list, &[]).unwrap().ordered);
    let mut all = first_of(vec![], vec![by(4, true)]);
    all.tables[0].first_rows = false;
    assert_eq!(ask(&all, &[]), None, "the whole table in order is a sort");
}

#[test]
fn a_value_stands_before_the_order_of_the_first_rows() {
    // All rows have one value by the statistics, as in a queue before its first new entry: the order
    // alone would be searched for those that have another.
    let mut queue = orders();
    queue.columns[2].distinct = Some(1.0);
    let next = first_of(vec![on(3, Test::Equal)], vec![by(4, false)]);
    let idea = next.candidate_index(&queue, &[], &Server::default(), &Thresholds::default());
    assert_eq!(idea.unwrap().columns(), "status, created_at");
}

#[test]
fn a_rare_value_that_the_number_of_values_hides() {
    let few = |shape: &Shape, indexes: &[Index], seen: f64| {
        let (server, thresholds) = (Server::default(), Thresholds::default());
        shape.index_for_few(&orders(), indexes, &server, &thresholds, seen).map(|i| i.columns())
    };
    let open = shape(vec![on(3, Test::Equal)]);
    assert_eq!(ask(&open, &[]), None, "a quarter of the table");
    assert_eq!(few(&open, &[], 0.001).as_deref(), Some("status"));
    assert_eq!(few(&open, &[], 0.3), None, "not few");
    assert_eq!(few(&open, &[index(&[(3, false)])], 0.001), None, "there already");
    let newest = shape(vec![on(4, Test::Range)]);
    assert_eq!(few(&newest, &[], 0.001).as_deref(), Some("created_at"));
    // Something else may be why few are kept.
    let like = shape(vec![on(3, Test::Equal), on(6, Test::Pattern)]);
    assert_eq!(few(&like, &[], 0.001), None);
    let differs = shape(vec![on(3, Test::Equal), on(6, Test::Other)]);
    assert_eq!(few(&differs, &[], 0.001), None);
    assert_eq!(few(&Shape { bounded: true, ..open.clone() }, &[], 0.001), None);
    assert_eq!(few(&Shape { aggregates: true, ..open }, &[], 0.001), None);
}

#[test]
fn indexes_that_serve() {
    let two = shape(vec![on(3, Test::Equal), on(2, Test::Equal)]);
    assert!(ask(&two, &[index(&[(2, false)])]).is_some());
    for there in [&[(2, false), (3, false)][..], &[(3, true), (2, false), (4, false)]] {
        let mut index = index(there);
        assert_eq!(ask(&two, std::slice::from_ref(&index)), None);
        index.valid = false;
        assert!(ask(&two, std::slice::from_ref(&index)).is_some());
        index.valid = true;
        index.predicate = Some("status = 1".into());
        assert!(ask(&two, &[index]).is_some());
    }
    // One row by the primary key: nothing else is needed.
    let mut key = index(&[(1, false)]);
    key.unique = true;
    let keyed = shape(vec![on(1, Test::Equal), on(5, Test::Equal), on(4, Test::Between)]);
    assert_eq!(ask(&keyed, &[key]), None);
    let mut hash = index(&[(2, false)]);
    hash.method = "hash".into();
    assert_eq!(ask(&shape(vec![on(2, Test::Equal)]), &[hash]), None);
}

#[test]
fn joins_come_after_what_narrows_the_statement() {
    let mut both = shape(vec![joined(2, 9), on(5, Test::Equal)]);
    assert_eq!(ask(&both, &[]).unwrap().columns(), NAMES[4]);
    // Nothing picks the customers, so the tables are read whole.
    both.tables[0].predicates.truncate(1);
    both.tables.push(TableUse { oid: 9, read: true, ..TableUse::default() });
    assert_eq!(ask(&both, &[]), None);
    both.tables[1].predicates.push(on(1, Test::Equal));
    assert_eq!(ask(&both, &[]).unwrap().columns(), "customer_id");
    assert_eq!(ask(&both, &[index(&[(2, false)])]), None);
    both.tables[1].predicates.clear();
    both.tables[0].repeated = true;
    assert_eq!(ask(&both, &[]).unwrap().columns(), "customer_id");
}

#[test]
fn columns_joined_to_one_table_stand_together() {
    let mut wide = shape(vec![joined(3, 9), joined(2, 9), joined(5, 8)]);
    wide.tables[0].repeated = true;
    assert_eq!(ask(&wide, &[]).unwrap().columns(), NAMES[4]);
    let first = index(&[(5, false)]);
    assert_eq!(ask(&wide, &[first]).unwrap().columns(), "customer_id, status");
}

#[test]
fn a_range_of_few_values_is_no_part() {
    // 2,000 customers, and 4 states: two columns would be no better than one.
    let states = shape(vec![on(2, Test::Equal), on(3, Test::Range)]);
    assert_eq!(ask(&states, &[]).unwrap().columns(), "customer_id");
    let times = shape(vec![on(2, Test::Equal), on(4, Test::Range)]);
    assert_eq!(ask(&times, &[]).unwrap().columns(), "customer_id, created_at");
    let unknown = shape(vec![on(2, Test::Equal), on(5, Test::Range)]);
    assert_eq!(ask(&unknown, &[]).unwrap().key.len(), 2);
}

#[test]
fn an_insert_looks_for_nothing() {
    let mut insert = shape(vec![on(2, Test::Equal)]);
    insert.tables[0].read = false;
    assert_eq!(ask(&insert, &[]), None);
}

#[test]
fn expressions_and_other_methods() {
    let mut lower = on(6, Test::Equal);
    (lower.expression, lower.attnum) = ("lower(email)".into(), 0);
    let lower = shape(vec![lower]);
    assert_eq!(
        sql(&lower, &[]).unwrap(),
        "CREATE INDEX CONCURRENTLY ON public.orders ((lower(email)));"
    );
    let mut there = index(&[(6, false)]);
    (there.key[0].attnum, there.key[0].expression) = (0, "(lower(email))".into());
    assert_eq!(ask(&lower, &[there]), None);
    let tags = shape(vec![on(5, Test::Contain)]);
    assert_eq!(
        sql(&tags, &[]).unwrap(),
        "CREATE INDEX CONCURRENTLY ON public.orders USING gin (\"Odd \"\" name\");"
    );
    let mut gin = index(&[(5, false)]);
    gin.method = "gin".into();
    assert_eq!(ask(&tags, &[gin]), None);
    let during = shape(vec![on(5, Test::Overlap), on(3, Test::Equal)]);
    assert!(sql(&during, &[]).unwrap().ends_with("USING gist (\"Odd \"\" name\");"));
    let prefix = shape(vec![on(6, Test::Prefix)]);
    assert!(sql(&prefix, &[]).unwrap().ends_with("(email text_pattern_ops);"));
    assert!(ask(&prefix, &[index(&[(6, false)])]).is_some(), "of another collation");
    let mut bytewise = index(&[(6, false)]);
    bytewise.key[0].collation = 950;
    assert_eq!(ask(&prefix, &[bytewise]), None);
}

#[test]
fn patterns_need_an_extension() {
    let like = shape(vec![on(6, Test::Pattern), on(3, Test::Equal)]);
    let thresholds = Thresholds::default();
    let mut server = Server::default();
    let idea = like.candidate_index(&orders(), &[], &server, &thresholds).unwrap();
    let need = Need { extension: "pg_trgm", installed: false, available: false };
    assert_eq!((&idea.needs, idea.statement(&orders())), (&Some(need), None));
    server.available_extensions.push("pg_trgm".into());
    let idea = like.candidate_index(&orders(), &[], &server, &thresholds).unwrap();
    assert_eq!(
        idea.statement(&orders()).unwrap(),
        "CREATE EXTENSION IF NOT EXISTS pg_trgm;\nCREATE INDEX CONCURRENTLY ON public.orders USING gin (email gin_trgm_ops);"
    );
    server.extensions.push(("pg_trgm".into(), "1.6".into()));
    server.trigram_opclass = Some("\"Odd\".gin_trgm_ops".into());
    let idea = like.candidate_index(&orders(), &[], &server, &thresholds).unwrap();
    let statement = idea.statement(&orders()).unwrap();
    assert!(statement.starts_with("CREATE INDEX") && statement.contains("(email \"Odd\".gin_trgm"));
    // Where equality leaves few rows, the pattern may look at all of them.
    let narrow = shape(vec![on(6, Test::Pattern), on(2, Test::Equal)]);
    assert_eq!(ask(&narrow, &[]).unwrap().columns(), "customer_id");
}

#[test]
fn an_index_of_a_partitioned_table_is_not_made_beside_writers() {
    let table = Table { partitioned: true, ..orders() };
    let idea = ask(&shape(vec![on(2, Test::Equal)]), &[]).unwrap();
    assert!(idea.locks_writers(&table));
    assert_eq!(idea.statement(&table).unwrap(), "CREATE INDEX ON public.orders (customer_id);");
}

#[test]
fn parentheses_around() {
    assert_eq!(bare("((a + b))"), "a + b");
    assert_eq!(bare("(a) + (b)"), "(a) + (b)");
    assert_eq!(bare("(\")\" || '(')"), "\")\" || '('");
    assert_eq!(bare("()"), "");
}

fn tests() -> impl Strategy<Value = Test> {
    use Test::*;
    prop::sample::select(vec![
        Equal, In, Range, Between, Pattern, Prefix, Contain, Overlap, Null, Other,
    ])
}

fn predicates() -> impl Strategy<Value = Vec<Predicate>> {
    let one = (1..=6_i16, tests(), prop::sample::select(vec![0_u32, 0, 8, 9]), any::<bool>());
    let one = one.prop_map(|(attnum, test, other, plain)| Predicate {
        join: other != 0,
        other,
        attnum: if plain { attnum } else { 0 },
        expression: match plain {
            true => NAMES[attnum as usize - 1].to_owned(),
            false => format!("f({})", NAMES[attnum as usize - 1]),
        },
        test,
    });
    prop::collection::vec(one, 0..7)
}

fn orderings() -> impl Strategy<Value = Vec<Order>> {
    let one = (1..=6_i16, any::<bool>(), any::<bool>());
    let one = one.prop_map(|(a, down, first)| Order { nulls_first: first, ..by(a, down) });
    prop::collection::vec(one, 0..4)
}

/// The index that an idea makes.
fn made(idea: &IndexIdea) -> Index {
    let parts = idea.key.iter().map(|part| KeyPart {
        attnum: part.attnum,
        expression: part.expression.clone(),
        opclass: if part.opclass.is_some() { 4217 } else { 1 },
        collation: 100,
        descending: part.descending,
        nulls_first: part.nulls_first,
        ..KeyPart::default()
    });
    Index { method: idea.method.word().into(), key: parts.collect(), ..index(&[]) }
}

#[test]
fn a_pattern_is_not_served_by_the_order_alone() {
    let server = Server { available_extensions: vec!["pg_trgm".into()], ..Server::default() };
    let search = first_of(vec![on(6, Test::Pattern)], vec![by(6, false)]);
    let idea = search.candidate_index(&orders(), &[], &server, &Thresholds::default()).unwrap();
    assert_eq!(idea.method, Method::Gin);
    let list = first_of(Vec::new(), vec![by(4, true)]);
    let idea = list.candidate_index(&orders(), &[], &server, &Thresholds::default()).unwrap();
    assert_eq!((idea.method, idea.columns().as_str()), (Method::Btree, "created_at"));
}

proptest! {
    #[test]
    fn what_is_proposed_is_asked_for_and_proposed_once(
        predicates in predicates(),
        order in orderings(),
        first in any::<bool>(),
        repeated in any::<bool>(),
    ) {
        let mut shape = first_of(predicates, order);
        shape.tables[0].first_rows = first;
        shape.tables[0].repeated = repeated;
        let mut indexes = Vec::new();
        while let Some(idea) = ask(&shape, &indexes) {
            prop_assert!(!idea.key.is_empty() && idea.key.len() <= 3);
            let one = &shape.tables[0];
            for (i, part) in idea.key.iter().enumerate() {
                let wanted = one.predicates.iter().any(|p| {
                    p.test != Test::Other && part.is(p.attnum, &p.expression)
                });
                let ordered = one.order_by.iter().any(|o| part.is(o.attnum, &o.expression));
                prop_assert!(wanted || (idea.ordered && ordered));
                let others = &idea.key[..i];
                prop_assert!(!others.iter().any(|p| p.is(part.attnum, &part.expression)));
            }
            prop_assert!(idea.statement(&orders()).is_some_and(|sql| sql.ends_with(");")));
            indexes.push(made(&idea));
            // Once for the conditions, once for each table that it is joined to.
            prop_assert!(indexes.len() <= 4, "{:?}", indexes);
        }
    }
}
