//! Patterns that are parameters, told by what executions sought.

use super::{Evidence, Facts, Test};
use crate::capture::scan::{Condition, Pattern, Slot, Use};
use crate::facts::evidence::ENOUGH;
use crate::facts::expression::uncast;

/// The operator of LIKE. A btree finds no beginning in any case, which is what ILIKE asks for.
const LIKE: &str = "~~";

/// Has statements seek what begins with certain characters where all executions that were looked into did: a text
/// in which the pattern is a parameter does not tell. One execution that sought a wildcard, or of whose pattern
/// nothing is known, leaves it open.
pub fn heed(facts: &mut Facts) {
    let Facts { statements, tables, evidence, .. } = facts;
    let (Some(statements), Some(tables), Some(evidence)) = (statements, tables, evidence) else {
        return;
    };
    for s in statements {
        let own: Vec<&Evidence> = evidence
            .iter()
            .filter(|e| e.statement_id == s.statement_id && e.statement_samples >= ENOUGH)
            .collect();
        if own.is_empty() {
            continue;
        }
        for one in s.shape.iter_mut().flat_map(|shape| &mut shape.tables) {
            let Some(table) = tables.iter().find(|table| table.oid == one.oid) else { continue };
            let seen: Vec<&Evidence> =
                own.iter().copied().filter(|e| e.table == table.name).collect();
            for predicate in one.predicates.iter_mut().filter(|p| p.test == Test::Pattern) {
                if is_anchored(&seen, &predicate.expression) {
                    predicate.test = Test::Prefix;
                }
            }
        }
    }
}

fn is_anchored(seen: &[&Evidence], expression: &str) -> bool {
    // Plans do not show the silent casts of a column.
    let expression = uncast(expression);
    let of_it = |condition: &&Condition| {
        condition.usage == Use::Pattern.name()
            && condition.expression.as_deref().map(uncast).as_ref() == Some(&expression)
    };
    let mut executions = 0;
    for e in seen {
        let mut found = e.node.conditions.iter().filter(of_it).peekable();
        if found.peek().is_none() {
            continue;
        }
        let anchored = |c: &Condition| {
            c.operator.as_deref() == Some(LIKE)
                && c.pattern.as_deref() == Some(Pattern::Anchored.name())
        };
        if !found.all(anchored) {
            return false;
        }
        executions += e.counts.get(Slot::Executions);
    }
    executions >= ENOUGH
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::scan::Kind;
    use crate::facts::evidence::tests::evidence;
    use crate::facts::{Predicate, Shape, Statement, Table, TableUse};

    fn sought(operator: &str, begins: &[Option<Pattern>]) -> Test {
        let predicate = Predicate {
            expression: "note".to_owned(),
            attnum: 3,
            test: Test::Pattern,
            join: false,
            other: 0,
        };
        let one =
            TableUse { oid: 1, read: true, predicates: vec![predicate], ..TableUse::default() };
        let shape = Shape { tables: vec![one], ..Shape::default() };
        let seen = begins.iter().map(|begins| {
            let mut e = evidence(5, Kind::SeqScan, "public.t", "note", 4);
            e.node.conditions[0].usage = Use::Pattern.name().to_owned();
            e.node.conditions[0].operator = Some(operator.to_owned());
            e.node.conditions[0].pattern = begins.map(|begins| begins.name().to_owned());
            e
        });
        let mut facts = Facts {
            statements: Some(vec![Statement {
                statement_id: 5,
                shape: Some(shape),
                ..Statement::default()
            }]),
            tables: Some(vec![Table { oid: 1, name: "public.t".to_owned(), ..Table::default() }]),
            evidence: Some(seen.collect()),
            ..Facts::default()
        };
        heed(&mut facts);
        let statement = facts.statements.expect("one").remove(0);
        statement.shape.expect("a shape").tables[0].predicates[0].test
    }

    #[test]
    fn executions_tell_that_a_beginning_is_fixed() {
        let (fixed, wild) = (Some(Pattern::Anchored), Some(Pattern::Wildcard));
        assert_eq!(sought("~~", &[fixed]), Test::Prefix);
        assert_eq!(sought("~~", &[fixed, fixed]), Test::Prefix);
        assert_eq!(sought("~~", &[fixed, wild]), Test::Pattern, "one had none");
        assert_eq!(sought("~~", &[fixed, None]), Test::Pattern, "of one it is not known");
        assert_eq!(sought("~~*", &[fixed]), Test::Pattern, "in any case of letters");
        assert_eq!(sought("~~", &[]), Test::Pattern, "nobody looked");
    }

    #[test]
    fn a_silent_cast_within_an_expression_is_looked_through() {
        assert!(is_anchored(&[&of("lower(vc)")], "lower((vc)::text)"));
        assert!(!is_anchored(&[&of("upper(vc)")], "lower((vc)::text)"));
    }

    fn of(expression: &str) -> Evidence {
        let mut e = evidence(5, Kind::SeqScan, "public.t", expression, 4);
        e.node.conditions[0].usage = Use::Pattern.name().to_owned();
        e.node.conditions[0].operator = Some("~~".to_owned());
        e.node.conditions[0].pattern = Some(Pattern::Anchored.name().to_owned());
        e
    }
}
