//! Plans: under the bottlenecks that are about a statement, and those of the statements that take most time, with what
//! in them cost the time, and since when.

use std::collections::BTreeMap;

use super::super::facts::{Report, Statement};
use super::super::planned::{Flip, Plan, Side};
use super::super::text::{literal, plain, quoted, text_block, wrapped};
use super::super::words::{milliseconds, percent, sentence};
use super::{Show, absent};

/// Lines of a plan that are shown; more are a call away.
const PLAN_LINES: usize = 25;
/// How many statements are shown with their plan.
const STATEMENTS: usize = 5;

/// Plans that were printed, by statement, with the number of the bottleneck.
#[derive(Debug, Default)]
pub(super) struct Printed(BTreeMap<i64, usize>);

/// The plan of a statement that a bottleneck is about.
pub(super) fn planned(
    out: &mut String,
    report: &Report,
    statement: &Statement,
    (number, printed): (usize, &mut Printed),
    show: Show<'_>,
) {
    let Some(plan) = &statement.plan else {
        if let Some(missing) = &report.unplanned {
            let why = format!("not recorded, as {}: {}", missing.problem, missing.fix);
            wrapped(out, "- Plan: ", &plain(&why));
        }
        return;
    };
    let id = statement.statement_id;
    if let Some(earlier) = printed.0.get(&id) {
        wrapped(out, "- Plan: ", &format!("that of {earlier}"));
        return;
    }
    let words = format!("{}; perfmon.plans({id}) shows all of this statement", what(plan, show));
    wrapped(out, "- Plan: ", &words);
    if text(out, plan) {
        printed.0.insert(id, number);
    }
}

/// What most of a plan's cost is, and since when it is executed.
fn what(plan: &Plan, show: Show<'_>) -> String {
    let mostly = plan.heaviest_node.as_deref().map(|node| match plan.heaviest_cost_ratio {
        Some(ratio) => {
            format!("mostly {} ({} of its estimated cost), ", plain(node), percent(Some(ratio)))
        }
        None => format!("mostly {}, ", plain(node)),
    });
    let beside = match plan.beside {
        0 => String::new(),
        1 => ", beside 1 other plan".to_owned(),
        n => format!(", beside {n} other plans"),
    };
    format!("{}since {}{beside}", mostly.unwrap_or_default(), plain(&show(plan.since_us)))
}

/// Prints a plan, unless it is hidden from this reader.
fn text(out: &mut String, plan: &Plan) -> bool {
    let Some(text) = plan.text.as_deref().filter(|text| !text.starts_with('<')) else {
        return false;
    };
    let lines: Vec<String> = text.lines().take(PLAN_LINES).map(literal).collect();
    let more = if text.lines().count() > PLAN_LINES { "\n..." } else { "" };
    out.push('\n');
    text_block(out, &format!("{}{more}", lines.join("\n")));
    true
}

/// Those of the statements that take most time.
pub(super) fn slowest(out: &mut String, report: &Report, printed: &Printed, show: Show<'_>) {
    let all = report.statements.iter().flatten().filter(|s| s.plan.is_some());
    let told: Vec<&Statement> = all.take(STATEMENTS).collect();
    if told.is_empty() && report.unplanned.is_none() {
        return;
    }
    out.push_str("## Plans of the statements that take most time\n\n");
    if let Some(missing) = &report.unplanned {
        absent(out, "Plans are not recorded: ", missing);
    }
    for statement in told {
        one(out, statement, printed, show);
    }
}

fn one(out: &mut String, statement: &Statement, printed: &Printed, show: Show<'_>) {
    let (id, Some(plan)) = (statement.statement_id, &statement.plan) else { return };
    let share = percent(statement.share_ratio);
    let mean = milliseconds(statement.mean_exec_ms);
    out.push_str(&format!("### Statement {id}: {share} of the time, {mean} a call\n\n"));
    if let Some(text) = statement.text() {
        quoted(out, "- Text: ", text);
    }
    let mut item = |name: &str, text: &str| wrapped(out, &format!("- {name}: "), text);
    let elsewhere = match printed.0.get(&id) {
        Some(number) => format!("; printed under {number} of the bottlenecks"),
        None => String::new(),
    };
    item("Plan", &format!("{}{elsewhere}", what(plan, show)));
    for seen in &statement.seen {
        item("Seen", &sentence(&plain(seen)));
    }
    if let Some(flip) = &statement.flip {
        item("Changed", &flipped(flip, show));
    }
    if !elsewhere.is_empty() || !text(out, plan) {
        out.push('\n');
    }
}

fn flipped(flip: &Flip, show: Show<'_>) -> String {
    let side = |side: &Side| {
        let node = side.heaviest_node.as_deref().map_or("a plan".to_owned(), plain);
        match side.mean_ms {
            Some(mean) => format!("{node} ({} a call)", milliseconds(Some(mean))),
            None => node,
        }
    };
    let (before, after) = (side(&flip.before), side(&flip.after));
    format!("at {} from {before} to {after}", plain(&show(flip.at_us)))
}
