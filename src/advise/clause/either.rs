//! Conditions joined by OR.

use perfmon_core::facts::Test;

use super::Condition;

/// What is said if one of several arms is true: something only when all of them ask for values or patterns
/// of the same columns.
pub(super) fn either(arms: Vec<Vec<Condition>>) -> Vec<Condition> {
    let wanted = |c: &&Condition| {
        let test = c.predicate.test;
        test.is_equality() || matches!(test, Test::Pattern | Test::Prefix)
    };
    let alike = |a: &Condition, b: &Condition| {
        a.place == b.place
            && a.predicate.attnum == b.predicate.attnum
            && a.predicate.expression == b.predicate.expression
    };
    let mut arms = arms.into_iter();
    let Some(first) = arms.next() else { return Vec::new() };
    let mut result: Vec<Condition> = first.iter().filter(wanted).cloned().collect();
    let several = arms.len() > 0;
    for arm in arms {
        let arm: Vec<_> = arm.iter().filter(wanted).collect();
        let covers = arm.iter().all(|c| result.iter().any(|r| alike(r, c)));
        if !covers {
            return Vec::new();
        }
        for old in &mut result {
            let Some(new) = arm.iter().find(|c| alike(old, c)) else { return Vec::new() };
            old.predicate.test = match (old.predicate.test, new.predicate.test) {
                (a, b) if a.is_equality() && b.is_equality() => Test::In,
                (Test::Prefix, Test::Prefix) => Test::Prefix,
                _ => Test::Pattern,
            };
            old.predicate.join |= new.predicate.join;
            if old.predicate.other != new.predicate.other {
                old.predicate.other = 0;
            }
        }
    }
    if several { result } else { Vec::new() }
}
