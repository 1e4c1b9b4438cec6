//! The report as JSON: the same facts and the same judgement as in Markdown, in full length. The schema is
//! docs/report.schema.json; a field is never renamed or dropped without a new number in its name.

use serde::Serialize;

mod statement;

use super::better::Rewrite;
use super::connections::Connections;
use super::facts::{
    Change, Command, Errors, Gap, Latency, Load, Missing, Point, Promise, Report, Table, Trend,
};
use super::locks::Locks;
use super::machine::Machine;
use super::priority::Priority;
use super::rating::Rating;
use super::verdict::{Ranked, Verdict};
use crate::finding::{Effort, Evidence, Helped, Severity};
use crate::objective::words::minutes;

/// Name and number of the schema.
pub const SCHEMA: &str = "pg_perfmon.report/1";

/// The report as JSON.
pub fn json(report: &Report) -> Result<String, serde_json::Error> {
    let verdict = Verdict::of(report);
    serde_json::to_string_pretty(&Document {
        schema: SCHEMA,
        head: HeadOut::of(report),
        objectives: report.objectives.as_deref().map(promises),
        verdict: VerdictOut::of(report, &verdict),
        findings: report.findings.as_ref().map(|_| {
            verdict.ranked.iter().map(|ranked| FindingOut::of(report.head.source, ranked)).collect()
        }),
        unjudged: &report.unjudged,
        load: &report.load,
        trend: report.trend.as_ref().map(TrendOut::of),
        commands: commands(&report.commands),
        statements: report.statements.as_deref().map(statement::all),
        rewrites: report.rewrites.as_deref(),
        missing: report.missing.as_ref().or(report.lacking.as_ref()),
        latency: report.latency.as_ref(),
        uncounted: report.uncounted.as_ref(),
        errors: report.errors.as_ref(),
        unheard: report.unheard.as_ref(),
        unrecorded: report.unrecorded.as_ref(),
        machine: report.machine.as_ref(),
        connections: report.connections.as_ref(),
        locks: report.locks.as_ref(),
        tables: &report.tables,
        changes: report.changes.iter().map(ChangeOut::of).collect(),
        gaps: report.gaps.iter().map(GapOut::of).collect(),
    })
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    head: HeadOut<'a>,
    objectives: Option<Vec<PromiseOut<'a>>>,
    verdict: VerdictOut<'a>,
    findings: Option<Vec<FindingOut<'a>>>,
    unjudged: &'a [String],
    load: &'a Load,
    trend: Option<TrendOut>,
    commands: Vec<CommandOut<'a>>,
    statements: Option<Vec<statement::StatementOut<'a>>>,
    rewrites: Option<&'a [Rewrite]>,
    missing: Option<&'a Missing>,
    latency: Option<&'a Latency>,
    uncounted: Option<&'a Missing>,
    errors: Option<&'a Errors>,
    unheard: Option<&'a Missing>,
    unrecorded: Option<&'a Missing>,
    machine: Option<&'a Machine>,
    connections: Option<&'a Connections>,
    locks: Option<&'a Locks>,
    tables: &'a [Table],
    changes: Vec<ChangeOut<'a>>,
    gaps: Vec<GapOut<'a>>,
}

#[derive(Serialize)]
struct HeadOut<'a> {
    made_at: String,
    server: &'a str,
    version: &'a str,
    cpus: Option<i64>,
    memory_bytes: Option<i64>,
    database: &'a str,
    /// As text: JavaScript rounds so large a number.
    source: Option<String>,
    time_zone: &'a str,
    since: String,
    until: String,
    period_ms: f64,
    intervals: i64,
    covered_ms: f64,
    gaps: i64,
    quality: Option<&'static str>,
    completeness_ratio: Option<f64>,
    history_begins: Option<String>,
}

impl<'a> HeadOut<'a> {
    fn of(report: &'a Report) -> Self {
        let head = &report.head;
        Self {
            made_at: iso(head.now_us),
            server: &head.server,
            version: &head.version,
            cpus: head.cpus,
            memory_bytes: head.memory_bytes,
            database: &head.database,
            source: head.source.map(|source| source.to_string()),
            time_zone: &head.time_zone,
            since: iso(head.since_us),
            until: iso(head.until_us),
            period_ms: ms(head.period_us()),
            intervals: head.intervals,
            covered_ms: ms(head.covered_us),
            gaps: head.gaps,
            quality: head.quality.map(|quality| match quality {
                0 => "exact",
                1 => "lower bound",
                _ => "doubtful",
            }),
            completeness_ratio: report.completeness_ratio(),
            history_begins: head.history_begins_us.map(iso),
        }
    }
}

#[derive(Serialize)]
struct VerdictOut<'a> {
    rating: Option<&'a Rating>,
    provisional: bool,
    saved_ms_per_hour: Option<f64>,
    saved_ratio: Option<f64>,
    saved_statements: Option<usize>,
}

impl<'a> VerdictOut<'a> {
    fn of(report: &Report, verdict: &'a Verdict<'_>) -> Self {
        Self {
            rating: verdict.rating.as_ref(),
            provisional: verdict.provisional,
            saved_ms_per_hour: verdict.potential.saved_ms_per_hour,
            saved_ratio: verdict.potential.saved_ratio,
            saved_statements: report.findings.as_ref().map(|_| verdict.potential.statements),
        }
    }
}

#[derive(Serialize)]
pub(super) struct PromiseOut<'a> {
    name: &'a str,
    objective: String,
    scope: String,
    since: String,
    until: String,
    target: f64,
    actual: Option<f64>,
    actual_low: Option<f64>,
    actual_high: Option<f64>,
    unit: &'static str,
    status: &'static str,
    uncertain: bool,
    executions: Option<u64>,
    budget_left_ratio: Option<f64>,
    burn_rate_short: Option<f64>,
    burn_rate_long: Option<f64>,
    bad_minutes: Option<f64>,
    detail: String,
}

pub(super) fn promises(all: &[Promise]) -> Vec<PromiseOut<'_>> {
    let out = |promise| PromiseOut::of(promise);
    all.iter().map(out).collect()
}

impl<'a> PromiseOut<'a> {
    fn of(promise: &'a Promise) -> Self {
        let verdict = &promise.verdict;
        Self {
            name: &promise.name,
            objective: verdict.target.name(),
            scope: promise.scope.words(),
            since: iso(promise.since_us),
            until: iso(promise.until_us),
            target: verdict.target.value(),
            actual: verdict.actual,
            actual_low: verdict.low,
            actual_high: verdict.high,
            unit: verdict.target.unit(),
            status: verdict.status.word(),
            uncertain: verdict.uncertain,
            executions: verdict.executions,
            budget_left_ratio: verdict.budget_left_ratio,
            burn_rate_short: verdict.burn[0],
            burn_rate_long: verdict.burn[1],
            bad_minutes: verdict.bad_us.map(minutes),
            detail: verdict.detail(),
        }
    }
}

#[derive(Serialize)]
struct FindingOut<'a> {
    id: Option<String>,
    kind: &'a str,
    severity: Severity,
    priority: Priority,
    object: &'a str,
    subject: &'a str,
    title: &'a str,
    cause: Option<&'a str>,
    evidence: Vec<EvidenceOut<'a>>,
    share_ratio: Option<f64>,
    saved_ms_per_hour: Option<f64>,
    saved_ratio: Option<f64>,
    saved_bytes: Option<i64>,
    outage_at: Option<String>,
    remedy: &'a str,
    statement: Option<&'a str>,
    gain: Option<&'a str>,
    effort: Effort,
    risk: &'a str,
    reference: &'a str,
    helped: &'a [Helped],
}

impl<'a> FindingOut<'a> {
    fn of(source: Option<i64>, ranked: &Ranked<'a>) -> Self {
        let finding = ranked.finding;
        Self {
            id: source.map(|source| finding.identity(source).to_string()),
            kind: &finding.kind,
            severity: finding.severity,
            priority: ranked.priority,
            object: &finding.object,
            subject: &finding.subject,
            title: &finding.title,
            cause: finding.cause.as_deref(),
            evidence: finding.evidence.iter().map(EvidenceOut::of).collect(),
            share_ratio: finding.share_ratio,
            saved_ms_per_hour: finding.impact.saved_ms_per_hour,
            saved_ratio: ranked.saved_ratio,
            saved_bytes: finding.impact.saved_bytes,
            outage_at: finding.impact.outage_at_us.map(iso),
            remedy: &finding.remedy,
            statement: finding.statement.as_deref(),
            gain: finding.gain.as_deref(),
            effort: finding.effort,
            risk: &finding.risk,
            reference: &finding.reference,
            helped: &finding.helped,
        }
    }
}

/// As it stands in `perfmon.findings`, but that what is not known is there as null.
#[derive(Serialize)]
struct EvidenceOut<'a> {
    metric: &'a str,
    value: &'a crate::finding::Value,
    unit: &'a str,
    threshold: Option<f64>,
    samples: Option<i64>,
}

impl<'a> EvidenceOut<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        Self {
            metric: &evidence.metric,
            value: &evidence.value,
            unit: &evidence.unit,
            threshold: evidence.threshold,
            samples: evidence.samples,
        }
    }
}

#[derive(Serialize)]
struct TrendOut {
    step_ms: f64,
    target_ms: Option<f64>,
    points: Vec<PointOut>,
}

impl TrendOut {
    fn of(trend: &Trend) -> Self {
        Self {
            step_ms: ms(trend.step_us),
            target_ms: trend.target_ms,
            points: trend.points.iter().map(PointOut::of).collect(),
        }
    }
}

#[derive(Serialize)]
struct PointOut {
    since: String,
    until: String,
    covered_ratio: f64,
    calls: Option<i64>,
    total_exec_ms: Option<f64>,
    mean_exec_ms: Option<f64>,
    active_ratio: Option<f64>,
}

impl PointOut {
    fn of(point: &Point) -> Self {
        Self {
            since: iso(point.since_us),
            until: iso(point.until_us),
            covered_ratio: point.covered_ratio,
            calls: point.calls,
            total_exec_ms: point.total_exec_ms,
            mean_exec_ms: point.mean_exec_ms(),
            active_ratio: point.active_ratio,
        }
    }
}

#[derive(Serialize)]
pub(super) struct CommandOut<'a> {
    #[serde(flatten)]
    command: &'a Command,
    mean_exec_ms: Option<f64>,
    share_ratio: Option<f64>,
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn commands(commands: &[Command]) -> Vec<CommandOut<'_>> {
    let total: f64 = commands.iter().map(|c| c.total_exec_ms).sum();
    let out = |command| CommandOut::of(command, total);
    commands.iter().map(out).collect()
}

impl<'a> CommandOut<'a> {
    #[allow(clippy::cast_precision_loss)]
    fn of(command: &'a Command, total: f64) -> Self {
        let calls = command.calls;
        Self {
            mean_exec_ms: (calls > 0).then(|| command.total_exec_ms / calls as f64),
            share_ratio: (total > 0.0).then(|| command.total_exec_ms / total),
            command,
        }
    }
}

#[derive(Serialize)]
pub(super) struct ChangeOut<'a> {
    at: String,
    kind: &'a str,
    name: &'a str,
    old_value: Option<&'a str>,
    new_value: Option<&'a str>,
}

impl<'a> ChangeOut<'a> {
    pub(super) fn of(change: &'a Change) -> Self {
        Self {
            at: iso(change.at_us),
            kind: &change.kind,
            name: &change.name,
            old_value: change.old_value.as_deref(),
            new_value: change.new_value.as_deref(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct GapOut<'a> {
    since: String,
    length_ms: f64,
    subject: &'a str,
    kind: &'a str,
    detail: Option<&'a str>,
}

impl<'a> GapOut<'a> {
    pub(super) fn of(gap: &'a Gap) -> Self {
        Self {
            since: iso(gap.since_us),
            length_ms: ms(gap.length_us),
            subject: &gap.subject,
            kind: &gap.kind,
            detail: gap.detail.as_deref(),
        }
    }
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn ms(us: i64) -> f64 {
    us as f64 / 1000.0
}

/// A time in UTC as RFC 3339 has it, to the microsecond.
pub(super) fn iso(us: i64) -> String {
    const DAY_US: i64 = 86_400_000_000;
    let (days, rest) = (us.div_euclid(DAY_US), us.rem_euclid(DAY_US));
    let (year, month, day) = civil(days);
    let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Year, month and day of a day since the Unix epoch, in the Gregorian calendar. Years are counted from
/// March, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    // The era of 400 years begins on 0000-03-01, 719,468 days before the epoch.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc() {
        assert_eq!(iso(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(iso(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(iso(1_795_262_400_000_000), "2026-11-21T12:00:00.000000Z");
        assert_eq!(iso(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(iso(4_107_542_400_000_000), "2100-03-01T00:00:00.000000Z");
        assert_eq!(iso(1_735_689_599_999_999), "2024-12-31T23:59:59.999999Z");
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let lengths = |y: i64| {
            let leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
            [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        };
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..146_097 {
            assert_eq!(civil(days), (year, month, day));
            day += 1;
            if day > lengths(year)[usize::try_from(month - 1).unwrap()] {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }
}
