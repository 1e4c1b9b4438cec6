//! What was promised and whether it was kept: the first that a report shows.

use super::super::facts::Promise;
use super::super::grid::Side::{Left, Right};
use super::super::grid::grid;
use super::super::text::{plain, wrapped};
use super::super::words::{percent, sentence};
use crate::objective::words::figures;
use crate::objective::{Scope, Status, Verdict};

/// The table of objectives. Burn rates are of the last hour, whatever window the rest is of.
pub(in super::super) fn objectives(out: &mut String, promises: &[Promise], with_burn: bool) {
    out.push_str("## Objectives\n\n");
    if promises.is_empty() {
        let text = "Nothing is promised. `SELECT perfmon.create_slo('name')` promises p95 200 ms, p99 500 ms \
                    and errors 0.5 % of this database.";
        wrapped(out, "", text);
        out.push('\n');
        return;
    }
    wrapped(out, "", &summary(promises));
    out.push('\n');
    let heads = [
        ("status", Left),
        ("name", Left),
        ("objective", Left),
        ("target", Left),
        ("actual", Right),
        ("budget", Right),
    ];
    if with_burn {
        let [status, name, objective, target, actual, left] = heads;
        let heads = [status, name, objective, target, actual, left, ("burn", Right)];
        let row = |promise: &Promise| {
            let [status, name, objective, target, actual, left] = cells(promise);
            let burn = promise.verdict.burn[1].map_or_else(|| "-".to_owned(), figures);
            [status, name, objective, target, actual, left, burn]
        };
        grid(out, heads, &promises.iter().map(row).collect::<Vec<_>>());
    } else {
        grid(out, heads, &promises.iter().map(cells).collect::<Vec<_>>());
    }
    scopes(out, promises);
    let doubtful = |p: &&Promise| {
        p.verdict.status != Status::Met || p.verdict.uncertain || p.verdict.without.is_some()
    };
    let mut any = false;
    for promise in promises.iter().filter(doubtful) {
        let said = sentence(&plain(&promise.verdict.detail()));
        let name = plain(&promise.name);
        wrapped(out, "- ", &format!("{name}, {}: {said}", promise.verdict.target.name()));
        any = true;
    }
    if any {
        out.push('\n');
    }
}

/// What stands in a row, but for the burn rate.
fn cells(promise: &Promise) -> [String; 6] {
    let Verdict { target, status, actual, budget_left_ratio, .. } = promise.verdict;
    [
        status.word().replace('_', " "),
        plain(&promise.name),
        target.name(),
        // Room for the name.
        target.promise().replace("at most", "max").replace("at least", "min"),
        actual.map_or_else(|| "unknown".to_owned(), |actual| target.show(actual)),
        budget_left_ratio.map_or_else(|| "-".to_owned(), left),
    ]
}

/// A budget that is overspent many times needs no decimals.
fn left(ratio: f64) -> String {
    if ratio < -1.0 { format!("{:.0} %", ratio * 100.0) } else { percent(Some(ratio)) }
}

/// Whose executions are meant, where they are not all of the database.
fn scopes(out: &mut String, promises: &[Promise]) {
    let mut said: Vec<String> = Vec::new();
    for promise in promises.iter().filter(|promise| promise.scope != Scope::Database) {
        let words = match &promise.scope {
            Scope::Cluster => "all databases of the server".to_owned(),
            other => other.words(),
        };
        let one = format!("{} ({})", plain(&promise.name), plain(&words));
        // The targets of one objective stand together.
        if said.last() != Some(&one) {
            said.push(one);
        }
    }
    if !said.is_empty() {
        wrapped(out, "", &format!("Not of this database as a whole: {}.", said.join(", ")));
        out.push('\n');
    }
}

fn summary(promises: &[Promise]) -> String {
    let of = |status: Status| promises.iter().filter(|p| p.verdict.status == status).count();
    let (met, missed) = (of(Status::Met), of(Status::Missed));
    let silent = of(Status::NoData) + of(Status::TooFew);
    let mut said = format!("**{met} of {} objectives were met**", promises.len());
    if missed > 0 {
        said.push_str(&format!(", {missed} missed"));
    }
    if silent > 0 {
        said.push_str(&format!(", {silent} could not be judged"));
    }
    said.push('.');
    said
}
