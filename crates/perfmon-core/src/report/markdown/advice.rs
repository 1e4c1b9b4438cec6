//! What to do: the top bottlenecks in full, and all findings as a list in the order of work.

use super::super::facts::{Report, Statement};
use super::super::priority::Priority;
use super::super::text::{WIDTH, cut, plain, quoted, sql_block, width, wrapped};
use super::super::verdict::{Ranked, Verdict};
use super::super::words::{
    bytes, count, duration, frequency, milliseconds, number, percent, sentence, size, whole,
};
use super::Show;
use super::plans::{Printed, planned};
use crate::detect::leaves_to;
use crate::finding::{Evidence, Finding, Helped, Severity, Value};

/// How many bottlenecks are told in full.
const BOTTLENECKS: usize = 7;
/// How many findings of one priority are listed.
const LISTED: usize = 15;
/// How many statements are named that a remedy helps.
const NAMED: usize = 5;

/// What costs most. What only informs is here only if it costs time.
pub(super) fn bottlenecks(
    out: &mut String,
    report: &Report,
    verdict: &Verdict<'_>,
    printed: &mut Printed,
    show: Show<'_>,
) {
    out.push_str("## Top bottlenecks\n\n");
    let costs = |r: &&Ranked<'_>| {
        r.finding.severity > Severity::Info || r.saved_ratio.is_some_and(|share| share > 0.0)
    };
    let all: Vec<&Ranked<'_>> = verdict.ranked.iter().filter(costs).collect();
    let told = &all[..all.len().min(BOTTLENECKS)];
    if report.hidden {
        wrapped(out, "", "Statements to run are shown to members of pg_read_all_stats.");
        out.push('\n');
    }
    for (at, ranked) in told.iter().enumerate() {
        bottleneck(out, report, (at + 1, printed), ranked, &related(told, at), show);
    }
    match all.len() - told.len() {
        0 if all.is_empty() => out.push_str("None.\n\n"),
        0 => {}
        n => {
            wrapped(out, "", &format!("{n} more are in the list at the end."));
            out.push('\n');
        }
    }
}

/// The others that belong to one, by number: those that concern a statement that this one concerns, and
/// those whose remedy is the same.
fn related(told: &[&Ranked<'_>], at: usize) -> Vec<String> {
    let ids = |finding: &Finding| -> Vec<i64> {
        let helped = finding.helped.iter().map(|helped| helped.statement_id);
        helped.chain(named(finding)).collect()
    };
    let own = told[at].finding;
    let own_ids = ids(own);
    let concerns = |other: &Finding| ids(other).iter().any(|id| own_ids.contains(id));
    let remedies = |other: &Finding| leaves_to(own, other) || leaves_to(other, own);
    let numbers = |belongs: &dyn Fn(&Finding) -> bool| -> Vec<String> {
        let others = told.iter().enumerate().filter(|(other, _)| *other != at);
        others.filter(|(_, r)| belongs(r.finding)).map(|(n, _)| (n + 1).to_string()).collect()
    };
    let parts = [
        (numbers(&remedies), "with the same remedy"),
        (numbers(&|other| concerns(other) && !remedies(other)), "on the same statement"),
    ];
    let said = parts.iter().filter(|(numbers, _)| !numbers.is_empty());
    said.map(|(numbers, why)| format!("{}, {why}", numbers.join(", "))).collect()
}

/// The statement that a finding is about by its name.
fn named(finding: &Finding) -> Option<i64> {
    finding.object.strip_prefix("statement ").and_then(|id| id.parse().ok())
}

fn bottleneck(
    out: &mut String,
    report: &Report,
    (number, printed): (usize, &mut Printed),
    ranked: &Ranked<'_>,
    related: &[String],
    show: Show<'_>,
) {
    let finding = ranked.finding;
    let title = plain(&finding.title).replace('#', "\\#");
    let heading = format!("### {number}. {title}");
    out.push_str(&cut(&heading, WIDTH));
    out.push_str("\n\n");
    if width(&heading) > WIDTH {
        wrapped(out, "", &sentence(&plain(&finding.title)));
        out.push('\n');
    }
    let mut item = |name: &str, text: &str| wrapped(out, &format!("- {name}: "), text);
    let what = format!("{}, {}", plain(&finding.kind), plain(&finding.object));
    item("What", &format!("{}; priority: {}", what, ranked.priority.word()));
    item("Impact", &impact(report, ranked, show));
    if let Some(often) = often(report, finding) {
        item("Frequency", &often);
    }
    if let Some((id, text)) =
        worst_statement(report, finding).and_then(|s| Some((s.statement_id, s.text()?)))
    {
        quoted(out, &format!("- Statement {id}: "), text);
    }
    if let Some(statement) = worst_statement(report, finding) {
        planned(out, report, statement, (number, printed), show);
    }
    let mut item = |name: &str, text: &str| wrapped(out, &format!("- {name}: "), text);
    if let Some(cause) = &finding.cause {
        item("Cause", &sentence(&plain(cause)));
    }
    if !finding.evidence.is_empty() {
        let all: Vec<String> = finding.evidence.iter().map(evidence).collect();
        item("Evidence", &all.join("; "));
    }
    item("Remedy", &sentence(&plain(&finding.remedy)));
    if let Some(statement) = &finding.statement {
        out.push('\n');
        sql_block(out, statement);
    }
    let mut item = |name: &str, text: &str| wrapped(out, &format!("- {name}: "), text);
    if let Some(gain) = &finding.gain {
        item("Gain", &sentence(&plain(gain)));
    }
    let risk = if finding.risk.is_empty() { "none known" } else { &finding.risk };
    item("Effort", &format!("{}. Risk: {}", finding.effort.word(), sentence(&plain(risk))));
    item("Source", &plain(&finding.reference));
    if !related.is_empty() {
        item("See also", &related.join("; "));
    }
    out.push('\n');
}

fn impact(report: &Report, ranked: &Ranked<'_>, show: Show<'_>) -> String {
    let finding = ranked.finding;
    let mut parts = Vec::new();
    if let Some(share) = finding.share_ratio {
        parts.push(format!("{} of the database's time", percent(Some(share))));
    }
    if let Some(mean) = statement_of(report, finding).and_then(|s| s.mean_exec_ms) {
        parts.push(format!("{} a call", milliseconds(Some(mean))));
    }
    if let Some(saved) = finding.impact.saved_ms_per_hour.filter(|saved| *saved > 0.0) {
        let share = match ranked.saved_ratio {
            Some(share) => format!(" ({} of the time)", percent(Some(share))),
            None => String::new(),
        };
        parts.push(format!("{} could be saved in an hour{share}", milliseconds(Some(saved))));
    }
    if let Some(bytes) = finding.impact.saved_bytes.filter(|bytes| *bytes > 0) {
        parts.push(format!("{} could be freed", size(Some(bytes))));
    }
    if let Some(at) = finding.impact.outage_at_us {
        let left = at.saturating_sub(report.head.now_us);
        parts.push(if left > 0 {
            format!("an outage at {}, in {}", show(at), duration(left))
        } else {
            format!("an outage since {}", show(at))
        });
    }
    if parts.is_empty() { "not measured in time or space".to_owned() } else { parts.join("; ") }
}

/// The statement that a finding is about: the one it names, or the only one it helps.
fn statement_of<'a>(report: &'a Report, finding: &Finding) -> Option<&'a Statement> {
    let only = match finding.helped.as_slice() {
        [one] => Some(one.statement_id),
        _ => None,
    };
    let id = named(finding).or(only)?;
    report.statements.as_deref()?.iter().find(|s| s.statement_id == id)
}

/// The same, or of several that it helps the one that it helps most.
fn worst_statement<'a>(report: &'a Report, finding: &Finding) -> Option<&'a Statement> {
    statement_of(report, finding).or_else(|| {
        let saved = |helped: &&Helped| helped.saved_ms_per_hour;
        let best = finding.helped.iter().max_by(|a, b| saved(a).total_cmp(&saved(b)))?;
        report.statements.as_deref()?.iter().find(|s| s.statement_id == best.statement_id)
    })
}

fn often(report: &Report, finding: &Finding) -> Option<String> {
    if let Some(statement) = statement_of(report, finding) {
        let often = frequency(statement.calls?, report.head.covered_us);
        let calls = plural_calls(statement.calls?);
        return Some(format!("{calls} of statement {}, {often}", statement.statement_id));
    }
    let mut best: Vec<_> = finding.helped.iter().collect();
    best.sort_by(|a, b| b.saved_ms_per_hour.total_cmp(&a.saved_ms_per_hour));
    let mut ids: Vec<i64> = Vec::new();
    for helped in best {
        if !ids.contains(&helped.statement_id) {
            ids.push(helped.statement_id);
        }
    }
    if ids.is_empty() {
        return None;
    }
    let known = report.statements.as_deref().unwrap_or_default();
    let calls: Vec<i64> =
        known.iter().filter(|s| ids.contains(&s.statement_id)).filter_map(|s| s.calls).collect();
    if calls.is_empty() {
        return None;
    }
    let sum = calls.iter().fold(0_i64, |sum, calls| sum.saturating_add(*calls));
    let least = if calls.len() < ids.len() { "at least " } else { "" };
    let often = frequency(sum, report.head.covered_us);
    // Those that gain most, in the order of their numbers.
    let mut named: Vec<i64> = ids.iter().copied().take(NAMED).collect();
    named.sort_unstable();
    let names: Vec<String> = named.iter().map(i64::to_string).collect();
    let more = match ids.len().saturating_sub(NAMED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let (calls, of) = (plural_calls(sum), if ids.len() == 1 { "statement" } else { "statements" });
    let names = names.join(", ");
    Some(format!("{least}{calls} of {of} {names}{more}, {often}"))
}

fn plural_calls(calls: i64) -> String {
    let many = if calls == 1 { "" } else { "s" };
    format!("{} call{many}", count(Some(calls)))
}

fn evidence(evidence: &Evidence) -> String {
    let shown = match &evidence.value {
        #[allow(clippy::cast_precision_loss)]
        Value::Count(n) => measured(*n as f64, &evidence.unit, Some(*n)),
        Value::Number(value) => measured(*value, &evidence.unit, None),
        Value::Text(text) => plain(text),
    };
    let mut notes = Vec::new();
    if let Some(threshold) = evidence.threshold {
        notes.push(format!("threshold {}", measured(threshold, &evidence.unit, None)));
    }
    if let Some(samples) = evidence.samples {
        let noun = if samples == 1 { "observation" } else { "observations" };
        notes.push(format!("from {} {noun}", whole(samples)));
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
    // The value is shown in whatever unit fits.
    let name = match evidence.unit.as_str() {
        "ms" => evidence.metric.strip_suffix("_ms").unwrap_or(&evidence.metric),
        _ => &evidence.metric,
    };
    format!("{} {shown}{notes}", plain(name))
}

fn measured(value: f64, unit: &str, exact: Option<i64>) -> String {
    match unit {
        "ms" => milliseconds(Some(value)),
        "ratio" => percent(Some(value)),
        "bytes" => bytes(value),
        unit => {
            // Limits and values are not rounded, nor is what is easily read.
            #[allow(clippy::cast_possible_truncation)]
            let exact =
                exact.or((value.fract() == 0.0 && value.abs() < 1e15).then_some(value as i64));
            let exact = exact.filter(|n| unit.is_empty() || n.unsigned_abs() < 1_000_000);
            let shown = exact.map_or_else(|| number(Some(value)), whole);
            match unit {
                "" => shown,
                unit if shown == "1" => {
                    format!("1 {}", plain(unit.strip_suffix('s').unwrap_or(unit)))
                }
                unit => format!("{shown} {}", plain(unit)),
            }
        }
    }
}

/// All findings by priority.
pub(super) fn priorities(out: &mut String, verdict: &Verdict<'_>) {
    out.push_str("## What to do, in this order\n\n");
    if verdict.ranked.is_empty() {
        out.push_str("Nothing: no finding is open.\n\n");
        return;
    }
    let mut number = 0;
    for priority in Priority::ALL {
        let of: Vec<_> = verdict.ranked.iter().filter(|r| r.priority == priority).collect();
        if of.is_empty() {
            continue;
        }
        out.push_str(&format!("**{}** ({})\n\n", capital(priority.word()), of.len()));
        for ranked in of.iter().take(LISTED) {
            number += 1;
            let title = sentence(&plain(&ranked.finding.title));
            let effort = ranked.finding.effort.word();
            wrapped(out, &format!("{number}. "), &format!("{title} Effort: {effort}."));
        }
        out.push('\n');
        if of.len() > LISTED {
            number += of.len() - LISTED;
            let rest = of.len() - LISTED;
            let all = "`SELECT * FROM perfmon.findings`";
            wrapped(out, "", &format!("And {rest} more of this priority: {all}."));
            out.push('\n');
        }
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |c| c.to_ascii_uppercase().to_string() + chars.as_str())
}
