//! Tests of what is learned from texts: many forms of statements, and all that must not happen.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write;

use perfmon_core::facts::{Shape, Test};
use pgrx::prelude::*;

use super::Text;

mod conditions;
mod counts;
mod dates;
mod forms;
mod guesses;
mod ideas;
mod names;
mod nulls;
mod queries;
mod random;
mod results;
mod rewrites;
mod safety;
mod widened;
mod words;

fn run(sql: &str) {
    Spi::run(sql).unwrap();
}

fn one<T: FromDatum + IntoDatum>(sql: &str) -> Option<T> {
    Spi::connect(|c| c.select(sql, None, &[]).unwrap().first().get_one::<T>().unwrap())
}

fn shape_for(user_name: Option<&str>, query: &str) -> Option<Shape> {
    super::shapes(&[Text { query: query.as_bytes(), user_name, seen: &[] }]).remove(0).shape
}

fn shape(query: &str) -> Option<Shape> {
    shape_for(None, query)
}

fn name(oid: u32) -> String {
    one::<String>(&format!("SELECT {oid}::regclass::text")).unwrap()
}

fn sign(test: Test) -> &'static str {
    match test {
        Test::Equal => "=",
        Test::In => "in",
        Test::Range => "<>",
        Test::Between => "between",
        Test::Pattern => "like",
        Test::Prefix => "begins",
        Test::Contain => "contains",
        Test::Overlap => "overlaps",
        Test::Null => "null",
        Test::Other => "?",
    }
}

/// In one line: `table(column test, …) by order first`, then what is said of the whole.
fn said(shape: Option<Shape>) -> String {
    let Some(shape) = shape else { return "nothing".into() };
    let mut tables: Vec<String> = Vec::new();
    for table in shape.tables {
        let mut text = name(table.oid);
        let mut predicates = Vec::new();
        for predicate in table.predicates {
            let mut text = format!("{} {}", predicate.expression, sign(predicate.test));
            match (predicate.join, predicate.other) {
                (false, _) => {}
                (true, 0) => text.push_str(" join"),
                (true, other) => write!(text, " {}", name(other)).unwrap(),
            }
            predicates.push(text);
        }
        if !predicates.is_empty() {
            write!(text, "({})", predicates.join(", ")).unwrap();
        }
        let order: Vec<_> = table
            .order_by
            .iter()
            .map(|o| {
                let direction = if o.descending { " down" } else { "" };
                let nulls = match o.nulls_first == o.descending {
                    true => "",
                    false => " nulls",
                };
                format!("{}{direction}{nulls}", o.expression)
            })
            .collect();
        if !order.is_empty() {
            write!(text, " by {}", order.join(", ")).unwrap();
        }
        for (flag, word) in [
            (table.first_rows, " first"),
            (table.repeated, " repeated"),
            (table.written, " written"),
            (!table.read, " unread"),
        ] {
            if flag {
                text.push_str(word);
            }
        }
        tables.push(text);
    }
    let mut text = tables.join("; ");
    if shape.bounded {
        text.push_str(" | bounded");
    }
    if shape.aggregates {
        text.push_str(" | aggregates");
    }
    text
}

fn shop() {
    run("CREATE TABLE public.customers (id bigint PRIMARY KEY, email text, name varchar(80), region int,
            active boolean, born date)");
    run("CREATE TABLE public.orders (id bigint PRIMARY KEY, customer_id bigint, status text, created_at timestamptz,
            placed_on timestamp, total numeric, tags text[], data jsonb, words tsvector, during tsrange, parent bigint)");
    run(
        "CREATE TABLE public.items (order_id bigint, position int, sku text, price numeric, PRIMARY KEY (order_id, position))",
    );
}

fn all_say(cases: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (query, expected) in cases {
        let found = said(shape(query));
        if found != *expected {
            write!(wrong, "\n{query}\n  found: {found}\n  expected: {expected}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
