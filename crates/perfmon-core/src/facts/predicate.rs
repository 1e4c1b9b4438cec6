//! How statements look for rows: by which columns and expressions of which tables, compared how, and how many of the
//! rows that were read passed. By their plans where these were looked into, else by their texts.

use std::collections::BTreeMap;

use super::{Evidence, Facts, FormKind, Patterned, Statement, Table, TableUse, Test};
use crate::capture::scan::{Condition, Kind, Pattern, Slot, Use};
use crate::facts::expression::uncast;

/// One column or expression of a table, as one statement uses it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usage {
    /// The statement, by its id in this history.
    pub statement_id: i64,
    /// The table, as the server quotes it with its schema.
    pub table: String,
    /// The column or expression.
    pub expression: String,
    /// How it is used, by name: equality, range, pattern, containment, null, truth, join, sort or group.
    pub usage: String,
    /// By which operator, where that is known.
    pub operator: Option<String>,
    /// Of a pattern, by name, what it begins with, where that is known.
    pub pattern: Option<String>,
}

/// What plans showed of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Executions that were looked into and had a node with it.
    pub samples: u64,
    /// Rows that these nodes read, and that they kept.
    pub rows_read: u64,
    /// See `rows_read`; `None` of one side of an OR, since nobody counts what each of them keeps.
    pub rows_kept: Option<u64>,
    /// No other condition stood beside it: what was kept is its own doing.
    pub alone: bool,
}

/// All of them; without [`Seen`] what only the text says.
pub fn usages(facts: &Facts) -> Vec<(Usage, Option<Seen>)> {
    let mut all: BTreeMap<Usage, Option<Seen>> = BTreeMap::new();
    // No index finds what ON CONFLICT leaves alone: its rows are found by the key.
    let searched = facts.evidence.iter().flatten().filter(|e| e.kind() != Some(Kind::Conflict));
    for e in searched {
        let filters =
            e.node.conditions.iter().filter(|c| !["sort", "group"].contains(&c.stage.as_str()));
        let alone = filters.count() == 1 && !e.node.cut;
        for condition in e.node.conditions.iter().filter(|c| c.usage != Use::Other.name()) {
            let Some((table, expression)) = placed(e, condition, facts) else { continue };
            let usage = Usage {
                statement_id: e.statement_id,
                table,
                expression,
                usage: condition.usage.clone(),
                operator: condition.operator.clone(),
                pattern: condition.pattern.clone(),
            };
            let seen = all.entry(usage).or_default();
            let begun = Seen { rows_kept: Some(0), alone: true, ..Seen::default() };
            let known = seen.get_or_insert(begun);
            known.samples += e.counts.get(Slot::Executions);
            known.rows_read += e.counts.get(Slot::Read);
            known.rows_kept = known.rows_kept.map(|kept| kept + e.counts.get(Slot::Kept));
            known.alone &= alone;
        }
    }
    add_sides(facts, &mut all);
    for s in facts.statements.iter().flatten() {
        for usage in by_text(s, facts) {
            let same = |known: &Usage| {
                known.statement_id == usage.statement_id
                    && known.table == usage.table
                    && uncast(&known.expression) == uncast(&usage.expression)
                    && known.usage == usage.usage
            };
            if !all.keys().any(same) {
                all.insert(usage, None);
            }
        }
    }
    all.into_iter().collect()
}

/// What is compared within an OR, unless it is compared by itself as well: then that tells more.
fn add_sides(facts: &Facts, all: &mut BTreeMap<Usage, Option<Seen>>) {
    let scans = facts.evidence.iter().flatten().filter(|e| e.kind() != Some(Kind::Conflict));
    for e in scans.filter(|e| !e.table.is_empty()) {
        for side in e.node.conditions.iter().flat_map(|condition| &condition.sides) {
            let usage = Usage {
                statement_id: e.statement_id,
                table: e.table.clone(),
                expression: side.expression.clone(),
                usage: side.usage.clone(),
                operator: side.operator.clone(),
                pattern: side.pattern.clone(),
            };
            let known = all.entry(usage).or_default().get_or_insert_default();
            if known.rows_kept.is_none() {
                known.samples += e.counts.get(Slot::Executions);
                known.rows_read += e.counts.get(Slot::Read);
            }
        }
    }
}

/// The table and the column or expression that a condition is about. Sorts and groups are of no table themselves: their
/// columns are named with it.
fn placed(e: &Evidence, condition: &Condition, facts: &Facts) -> Option<(String, String)> {
    let expression = condition.expression.as_deref()?;
    if !e.table.is_empty() {
        return Some((e.table.clone(), expression.to_owned()));
    }
    let gathers = [Use::Sort, Use::Group].map(Use::name).contains(&condition.usage.as_str());
    let column_of = |table: &Table| {
        let column = expression.strip_prefix(table.name.as_str())?.strip_prefix('.')?;
        let known = table.columns.iter().any(|one| one.name == column);
        known.then(|| (table.name.clone(), column.to_owned()))
    };
    facts.tables.iter().flatten().filter(|_| gathers).find_map(column_of)
}

fn by_text<'a>(s: &'a Statement, facts: &'a Facts) -> impl Iterator<Item = Usage> + 'a {
    let uses = s.shape.iter().flat_map(|shape| &shape.tables).filter(|one| one.read);
    uses.flat_map(|one| of_table(one).map(move |found| (one.oid, found))).filter_map(
        move |(oid, (expression, usage, anchored))| {
            let pattern = pattern(s, oid, &expression, anchored).filter(|_| usage == Use::Pattern);
            let table = facts.tables.iter().flatten().find(|table| table.oid == oid)?;
            Some(Usage {
                statement_id: s.statement_id,
                table: table.name.clone(),
                expression,
                usage: usage.name().to_owned(),
                operator: None,
                pattern: pattern.map(|pattern| pattern.name().to_owned()),
            })
        },
    )
}

/// What the text says of a pattern's beginning.
fn pattern(s: &Statement, table: u32, expression: &str, anchored: bool) -> Option<Pattern> {
    let wildcard = s.shape.iter().flat_map(|shape| &shape.forms).any(|form| {
        matches!(form.kind, FormKind::Wildcard { known: true, of } if of != Patterned::Caseless)
            && form.tables.contains(&table)
            && form.indexable.as_deref() == Some(expression)
    });
    match (wildcard, anchored) {
        (true, _) => Some(Pattern::Wildcard),
        (false, true) => Some(Pattern::Anchored),
        (false, false) => None,
    }
}

/// How its columns and expressions are used, and whether a pattern is known to have a fixed beginning.
fn of_table(one: &TableUse) -> impl Iterator<Item = (String, Use, bool)> + '_ {
    let compared = one.predicates.iter().map(|p| {
        let usage = match p.test {
            // No index finds what is computed of both tables.
            _ if p.join && p.test != Test::Other => Use::Join,
            Test::Equal | Test::In => Use::Equality,
            Test::Range | Test::Between => Use::Range,
            Test::Pattern | Test::Prefix => Use::Pattern,
            Test::Contain | Test::Overlap => Use::Containment,
            Test::Null => Use::Null,
            Test::Other => Use::Other,
        };
        (p.expression.clone(), usage, p.test == Test::Prefix)
    });
    let sorted = one.order_by.iter().map(|order| (order.expression.clone(), Use::Sort, false));
    let grouped = one.group_by.iter().map(|expression| (expression.clone(), Use::Group, false));
    compared.filter(|(_, usage, _)| *usage != Use::Other).chain(sorted).chain(grouped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::evidence::tests::evidence;
    use crate::facts::{Column, Form, Order, Predicate, Shape, Table};

    fn by_texts() -> Facts {
        let predicate = |expression: &str, test, join| Predicate {
            expression: expression.to_owned(),
            attnum: 1,
            test,
            join,
            other: 0,
        };
        let order =
            Order { expression: "made".to_owned(), attnum: 4, descending: true, nulls_first: true };
        let one = TableUse {
            oid: 10,
            read: true,
            predicates: vec![
                predicate("owner", Test::In, false),
                predicate("made", Test::Between, false),
                predicate("customer", Test::Equal, true),
                predicate("note", Test::Other, false),
                predicate("sum", Test::Other, true),
            ],
            order_by: vec![order],
            group_by: vec!["day".to_owned()],
            ..TableUse::default()
        };
        let shape = Shape { tables: vec![one], ..Shape::default() };
        let statement = Statement { statement_id: 5, shape: Some(shape), ..Statement::default() };
        let table = Table { oid: 10, name: "public.t".to_owned(), ..Table::default() };
        Facts { statements: Some(vec![statement]), tables: Some(vec![table]), ..Facts::default() }
    }

    fn short(facts: &Facts) -> Vec<(String, String, Option<u64>)> {
        let all = usages(facts).into_iter();
        all.map(|(one, seen)| (one.expression, one.usage, seen.and_then(|seen| seen.rows_kept)))
            .collect()
    }

    fn line(expression: &str, usage: &str, kept: Option<u64>) -> (String, String, Option<u64>) {
        (expression.to_owned(), usage.to_owned(), kept)
    }

    #[test]
    fn texts_say_what_plans_do_not() {
        let mut facts = by_texts();
        let own = [
            line("customer", "join", None),
            line("day", "group", None),
            line("made", "range", None),
            line("made", "sort", None),
            line("owner", "equality", None),
        ];
        assert_eq!(short(&facts), own);
        let mut seen = evidence(5, Kind::SeqScan, "public.t", "owner", 3);
        seen.counts.set(Slot::Read, 300);
        seen.counts.set(Slot::Kept, 6);
        facts.evidence = Some(vec![seen.clone(), seen.clone()]);
        let mut own = own;
        own[4] = line("owner", "equality", Some(12));
        assert_eq!(short(&facts), own);
        let alone =
            |facts: &Facts| usages(facts).iter().find_map(|(_, seen)| *seen).map(|s| s.alone);
        assert_eq!(alone(&facts), Some(true));
        seen.node.conditions.push(seen.node.conditions[0].clone());
        facts.evidence = Some(vec![seen]);
        assert_eq!(alone(&facts), Some(false), "another condition stood beside it");
    }

    #[test]
    fn patterns_are_told_apart_by_what_they_begin_with() {
        let mut facts = by_texts();
        let begins = |facts: &Facts| -> Vec<(String, Option<String>)> {
            let all = usages(facts).into_iter().filter(|(one, _)| one.usage == "pattern");
            all.map(|(one, _)| (one.expression, one.pattern)).collect()
        };
        let shape = facts.statements.as_mut().unwrap()[0].shape.as_mut().unwrap();
        let pattern = |expression: &str, test| Predicate {
            expression: expression.to_owned(),
            attnum: 1,
            test,
            join: false,
            other: 0,
        };
        shape.tables[0].predicates = vec![
            pattern("a", Test::Pattern),
            pattern("b", Test::Prefix),
            pattern("c", Test::Pattern),
        ];
        shape.forms = vec![Form {
            kind: FormKind::Wildcard { known: true, of: Patterned::Text },
            tables: vec![10],
            attnum: 1,
            expression: "c LIKE $1".to_owned(),
            better: None,
            indexable: Some("c".to_owned()),
            inside: false,
            guessed: false,
        }];
        let own = |expression: &str, pattern: Option<&str>| {
            (expression.to_owned(), pattern.map(str::to_owned))
        };
        let (wild, fixed) = (Some("leading_wildcard"), Some("fixed_beginning"));
        assert_eq!(begins(&facts), [own("a", None), own("b", fixed), own("c", wild)]);
        let mut seen = evidence(5, Kind::SeqScan, "public.t", "a", 3);
        seen.node.conditions[0].usage = "pattern".to_owned();
        seen.node.conditions[0].pattern = wild.map(str::to_owned);
        let mut other = seen.clone();
        other.node.conditions[0].pattern = fixed.map(str::to_owned);
        facts.evidence = Some(vec![seen, other]);
        let all = [own("a", fixed), own("a", wild), own("b", fixed), own("c", wild)];
        assert_eq!(begins(&facts), all, "both are seen");
    }

    #[test]
    fn what_is_sorted_or_grouped_above_the_tables_is_told_with_its_table() {
        let mut facts = by_texts();
        let column = Column { name: "day".to_owned(), attnum: 2, ..Column::default() };
        facts.tables.as_mut().unwrap()[0].columns.push(column);
        let mut sort = evidence(5, Kind::Aggregate, "", "public.t.day", 4);
        sort.node.conditions[0].usage = "group".to_owned();
        sort.counts.set(Slot::Kept, 7);
        let mut unknown = sort.clone();
        unknown.node.conditions[0].expression = Some("date_trunc(?, public.t.day)".to_owned());
        let mut compared = sort.clone();
        compared.node.conditions[0].usage = "equality".to_owned();
        facts.evidence = Some(vec![sort, unknown, compared]);
        let found = short(&facts);
        assert_eq!(found.iter().filter(|(_, _, seen)| seen.is_some()).count(), 1, "{found:?}");
        assert!(found.contains(&line("day", "group", Some(7))), "{found:?}");
    }

    #[test]
    fn sides_of_an_or_are_told_without_what_they_keep() {
        let mut facts = by_texts();
        let mut seen = evidence(5, Kind::SeqScan, "public.t", "owner", 3);
        seen.counts.set(Slot::Read, 300);
        seen.counts.set(Slot::Kept, 6);
        let side = |expression: &str| crate::capture::scan::Side {
            expression: expression.to_owned(),
            operator: Some("=".to_owned()),
            usage: "equality".to_owned(),
            pattern: None,
        };
        let sides = vec![side("owner"), side("state")];
        let text = "((owner = ?) OR (state = ?))".to_owned();
        let (stage, usage) = ("filter".to_owned(), "other".to_owned());
        let either = Condition { stage, text, usage, sides, ..Condition::default() };
        seen.node.conditions.push(either);
        assert_eq!(seen.node.filters(), ["owner", "state"]);
        facts.evidence = Some(vec![seen.clone(), seen]);
        let all = usages(&facts);
        let of = |expression: &str| {
            all.iter().find(|(one, _)| one.expression == expression).and_then(|(_, seen)| *seen)
        };
        let state = Seen { samples: 6, rows_read: 600, rows_kept: None, alone: false };
        assert_eq!(of("state"), Some(state));
        let owner = Seen { rows_kept: Some(12), ..state };
        assert_eq!(of("owner"), Some(owner), "it is compared by itself, too");
    }

    #[test]
    fn what_on_conflict_leaves_alone_is_not_searched_for() {
        let mut facts = by_texts();
        let before = short(&facts);
        facts.evidence = Some(vec![evidence(5, Kind::Conflict, "public.t", "seen", 3)]);
        assert_eq!(short(&facts), before);
        facts.evidence = Some(vec![evidence(5, Kind::SeqScan, "public.t", "seen", 3)]);
        assert!(short(&facts).contains(&line("seen", "equality", Some(0))));
    }
}
