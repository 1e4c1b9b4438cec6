//! Which statements changed their plan since the last visit.

use std::collections::{HashMap, HashSet};

use perfmon_core::change::Change;
use perfmon_core::plan::flip::{self, Flip, Standing, Stretch};

use super::Visit;
use crate::store;
use crate::store::plan::{Known, Seen};

/// The plans of a statement: when each was seen first of all, and its newest stretch.
type Plans = HashMap<i64, (i64, Stretch)>;

/// Those of the statements that were seen with a plan while they are known to have, or to have had, another: most have one.
fn with_several(seen: &[Seen], known: &HashMap<u32, Vec<Known>>) -> Vec<u32> {
    let mut statements: Vec<u32> = seen.iter().map(|seen| seen.statement_id).collect();
    statements.dedup();
    let others_known = |new: &Seen| {
        let old = known.get(&new.statement_id).into_iter().flatten();
        old.map(|old| old.stretch.plan).any(|plan| new.stretch.plan != plan)
    };
    let several = |statement: &u32| {
        let first = seen.partition_point(|new| new.statement_id < *statement);
        let of: Vec<&Seen> =
            seen[first..].iter().take_while(|new| new.statement_id == *statement).collect();
        of.len() > 1 || of.iter().any(|new| others_known(new))
    };
    statements.retain(several);
    statements
}

/// What is known of a statement's plans with what was seen now.
fn plans_of(statement: u32, seen: &[Seen], known: &HashMap<u32, Vec<Known>>) -> Plans {
    let mut plans = Plans::new();
    for old in known.get(&statement).into_iter().flatten() {
        plans.insert(old.stretch.plan, (old.first_seen, old.stretch));
    }
    for new in seen.iter().filter(|seen| seen.statement_id == statement) {
        let plan = plans.entry(new.stretch.plan).or_insert((new.stretch.since, new.stretch));
        plan.1 = new.stretch;
    }
    plans
}

/// The plan that a statement stands with: the one that it flipped to last, or else had first.
fn standing(plans: &Plans, flipped: Option<&Standing>) -> Option<Standing> {
    let first = plans.values().min_by_key(|(first, s)| (*first, s.since, s.plan));
    let flipped = flipped.filter(|standing| plans.contains_key(&standing.plan)).copied();
    flipped.or(first.map(|(_, stretch)| Standing { plan: stretch.plan, replaced: None }))
}

impl Visit {
    /// Returns the statements that flipped. Forms of those plans that are `unstored` are not known yet.
    pub(super) fn keep_flips(
        &self,
        seen: &[Seen],
        known: &HashMap<u32, Vec<Known>>,
        unstored: &HashSet<(u32, i64)>,
    ) -> Vec<u32> {
        let statements = with_several(seen, known);
        if statements.is_empty() {
            return Vec::new();
        }
        let currents = store::plan::flipped_to(self.source, &statements);
        // Those that another plan came after: few, but for what is looked at next.
        let mut changed: Vec<(u32, Standing, Vec<Stretch>)> = Vec::new();
        for statement in statements {
            let plans = plans_of(statement, seen, known);
            let Some(current) = standing(&plans, currents.get(&statement)) else { continue };
            let stretches: Vec<Stretch> = plans.into_values().map(|(_, stretch)| stretch).collect();
            if flip::flip(current, &stretches).is_some() {
                changed.push((statement, current, stretches));
            }
        }
        let plans = changed.iter().flat_map(|(statement, _, stretches)| {
            stretches.iter().map(|stretch| (*statement, stretch.plan))
        });
        let parts = store::plan::parts(self.source, &plans.collect::<Vec<_>>());
        let mut flips: Vec<(u32, Flip)> = Vec::new();
        for (statement, current, stretches) in changed {
            // A part of a table that was added is read as small tables are, whatever the others are read by. The form of a
            // plan of such a table is waited for, as it may be of such parts alone.
            let says_nothing = |flip: &Flip| {
                let of = |plan: i64| parts.get(&(statement, plan)).copied().unwrap_or_default();
                let waits = unstored.contains(&(statement, flip.after));
                of(flip.after).only_small || (waits && of(flip.before).any)
            };
            let found = flip::counting(current, stretches, says_nothing);
            flips.extend(found.map(|flip| (statement, flip)));
        }
        store::plan::record(self.source, &flips);
        let flipped = flips.iter().map(|(statement, _)| *statement).collect();
        for (statement, flip) in flips {
            self.note_flip(statement, &flip);
        }
        flipped
    }

    /// Enters a flip among the changes.
    fn note_flip(&self, statement: u32, flip: &Flip) {
        let words = |plan: i64| match store::plan::heaviest(self.source, statement, plan) {
            Some(node) => format!("plan {plan}: mostly {node}"),
            None => format!("plan {plan}"),
        };
        let change = Change {
            kind: "plan_flip".to_owned(),
            name: format!("statement {statement}"),
            old: Some(words(flip.before)),
            new: Some(words(flip.after)),
        };
        store::change::record(self.source, flip.at, &[change]);
    }
}
