//! Whether a promise was kept: shares of executions.

use super::availability::{Time, availability};
use super::burn::burns;
use super::least::{Least, share};
use super::throughput::{Spent, throughput};
use super::{Errors, History, KNOWN, Objective, Row, Scope, Status, Target, Verdict, sum};
use crate::histogram::{Sum, bounds, bucket, middle};

const NS_PER_MS: f64 = 1e6;

/// Judges one promise of an objective over the window (since, until].
pub fn judge(
    objective: &Objective,
    target: Target,
    history: &History,
    since: i64,
    until: i64,
) -> Verdict {
    let rows = history.within(since, until);
    let mut verdict = begun(objective, target, history, rows, since, until);
    match target {
        Target::Latency { quantile, limit_ms } => latency(&mut verdict, rows, quantile, limit_ms),
        Target::Errors { ratio } => errors(&mut verdict, history, rows, ratio),
        Target::Throughput { per_second } => {
            let spent = Spent::of(history, rows, since, until);
            throughput(&mut verdict, &spent, per_second);
        }
        Target::Availability { ratio } => {
            let time = Time::of(objective, history, since, until);
            availability(&mut verdict, &time, ratio);
        }
    }
    verdict.burn = burns(objective, target, history, i64::MIN, until);
    if verdict.status == Status::NoData {
        // No time is known to be bad where most of it is not known to be good.
        let is_good = verdict.bad_us == Some(0) && is_most_known(rows, |row| tells(row, target));
        verdict.bad_us = verdict.bad_us.filter(|bad_us| *bad_us > 0 || is_good);
        verdict.missing = verdict.missing.or_else(|| uncounted(rows, target));
        let place = || match target {
            Target::Errors { .. } | Target::Availability { .. } => {
                without_place(objective, history, rows)
            }
            _ => None,
        };
        verdict.missing =
            verdict.missing.or_else(place).or_else(|| left_out(objective, history, rows));
    } else if verdict.known_us > 0 && !verdict.is_by_least_errors() {
        verdict.missing = None;
    }
    verdict
}

fn begun(
    objective: &Objective,
    target: Target,
    history: &History,
    rows: &[Row],
    since: i64,
    until: i64,
) -> Verdict {
    let missing = match target {
        Target::Errors { .. } => &history.no_errors,
        Target::Availability { .. } if history.no_latency.is_none() => &history.no_errors,
        Target::Latency { .. } | Target::Availability { .. } | Target::Throughput { .. } => {
            &history.no_latency
        }
    };
    let is_known = |row: &&Row| is_known(row, target);
    let bad = |row: &&Row| is_bad(row, target, 1.0) == Some(true);
    let known_us = rows.iter().filter(is_known).map(|row| row.length_us).sum();
    let bad_us = rows.iter().filter(bad).map(Row::active_us).sum();
    Verdict {
        target,
        status: Status::NoData,
        actual: None,
        low: None,
        high: None,
        executions: None,
        min_executions: objective.min_executions,
        budget_left_ratio: None,
        burn: [None; 4],
        bad_us: rows.iter().any(|row| tells(row, target)).then_some(bad_us),
        known_us,
        looked_at_us: until.saturating_sub(since),
        refused: (0, 0),
        locked_us: 0,
        uncertain: false,
        missing: missing.clone(),
        without: history.without.clone(),
    }
}

/// Whether an interval says anything about a promise.
fn is_known(row: &Row, target: Target) -> bool {
    match target {
        Target::Latency { .. } => row.latency.is_some(),
        Target::Availability { .. } => row.latency.is_some() && row.errors.is_some(),
        Target::Errors { .. } => row.errors.is_some(),
        Target::Throughput { .. } => row.executions().is_some(),
    }
}

/// Whether an interval is known to have kept a promise or to have broken it.
fn tells(row: &Row, target: Target) -> bool {
    row.most() == Some(0) || is_bad(row, target, 1.0).is_some()
}

/// Whether something is known of most of the recorded time in which anything could happen.
fn is_most_known(rows: &[Row], is_known: impl Fn(&Row) -> bool) -> bool {
    let (known, unknown): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| is_known(row));
    let time_us =
        |rows: &[&Row]| rows.iter().map(|row| row.active_us()).fold(0, i64::saturating_add);
    let (known_us, unknown_us) = (time_us(&known), time_us(&unknown));
    known_us as f64 >= KNOWN * known_us.saturating_add(unknown_us) as f64
}

/// Whether it is known of most of the recorded time how long executions took, or at least how many there were. Without
/// either, an interval may hold any number of late ones.
pub(super) fn are_times_known(rows: &[Row]) -> bool {
    is_most_known(rows, |row| row.latency.is_some() || row.most().is_some())
}

/// Why what was executed in an interval says nothing about a promise, where no setting of now tells it.
fn uncounted(rows: &[Row], target: Target) -> Option<String> {
    let unknown: Vec<&Row> = rows.iter().filter(|row| !is_known(row, target)).collect();
    let is_of_errors = matches!(target, Target::Errors { .. } | Target::Availability { .. });
    // Settings were as they should be.
    let is_full = |row: &&Row| row.unplaced > 0 && row.uncounted.max(row.perhaps) == 0;
    let why = match unknown.first() {
        None => return None,
        Some(_) if is_of_errors && unknown.iter().any(|row| row.latency.is_some()) => {
            "errors were not counted, as log_min_messages kept them from the hooks then, \
             pg_perfmon.capture was off, or what was executed found no place (pg_perfmon.max_routes)"
        }
        Some(_) if unknown.iter().all(is_full) => {
            "what was executed found no place of its own in memory: raise pg_perfmon.max_statements"
        }
        Some(_) if unknown.iter().any(is_full) => {
            "some of what was executed found no place of its own in memory: raise pg_perfmon.max_statements; nothing \
             was counted at other times, as pg_perfmon.capture was off, pg_perfmon not preloaded, or a snapshot missed"
        }
        Some(_) => {
            "nothing was counted then, as pg_perfmon.capture was off, or pg_perfmon not preloaded"
        }
    };
    Some(why.to_owned())
}

/// Why not all that was executed says something.
fn left_out(objective: &Objective, history: &History, rows: &[Row]) -> Option<String> {
    /// What keeps more than their number from being known, where no setting of now does.
    const THEN: &str = "as pg_perfmon.capture was off for some sessions, or compute_query_id";
    let off_by = history.untimed.as_deref().unwrap_or(THEN);
    let uncounted = rows.iter().map(|row| row.uncounted).fold(0, u64::saturating_add);
    let perhaps = rows.iter().map(|row| row.perhaps).fold(0, u64::saturating_add);
    let off = (uncounted > 0)
        .then(|| format!("of {uncounted} executions only the number is known, {off_by}"));
    let rest = (perhaps > 0).then(|| match objective.scope {
        Scope::Statement(_) => format!(
            "{perhaps} executions of its user, of which only the number is known, may be among these, {off_by}"
        ),
        _ => format!(
            "{perhaps} executions that found no route of their own may be among these: raise \
             pg_perfmon.max_routes"
        ),
    });
    let said: Vec<String> = off.into_iter().chain(rest).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// Why it is not known whose all the errors were.
fn without_place(objective: &Objective, history: &History, rows: &[Row]) -> Option<String> {
    /// Why an error has no statement, where no setting of now tells it.
    const THEN: &str =
        "as they came before it had an id, or track_activities or compute_query_id was off then";
    let why = history.nameless.as_deref().unwrap_or(THEN);
    let Errors { errors, of } = perhaps(rows);
    let nameless = rows.iter().map(|row| row.nameless_errors).fold(0, u64::saturating_add);
    if nameless > 0 {
        return Some(format!(
            "{nameless} errors of its user, which may be among these, were counted without their statement, {why}"
        ));
    }
    let is_application = matches!(objective.scope, Scope::Application(_));
    match (of > 0 && is_application, errors > 0) {
        (true, _) => Some(format!(
            "{of} statements that found no route of their own, of which {errors} failed, may be among \
             these: raise pg_perfmon.max_routes"
        )),
        (false, true) => Some(format!(
            "{errors} errors that found no place of their own, as there were too many kinds of them, may \
             be among these"
        )),
        (false, false) => None,
    }
}

/// Whether a promise was broken in one interval, its limit taken so many times; `None` when nothing was executed or
/// nothing is known. One bad execution among others does not break it: in a quiet minute it would be a large share.
/// What was not timed is taken for good.
pub(super) fn is_bad(row: &Row, target: Target, factor: f64) -> Option<bool> {
    match target {
        Target::Latency { quantile, limit_ms } => {
            let sum = sum(row.latency.as_ref()?);
            let over = Over::of(&sum, limit_ms * factor);
            let all = sum.executions();
            let is_bad = broken(over.guess, all.saturating_add(row.untimed()), 1.0 - quantile);
            is_bad.filter(|is_bad| *is_bad || !may_be_late(row, quantile, limit_ms * factor))
        }
        Target::Errors { ratio } => {
            let is_broken = |Errors { errors, of }: Errors| broken(errors, of, ratio * factor);
            let Some(known) = row.errors else {
                return row.least_errors().and_then(is_broken).filter(|is_bad| *is_bad);
            };
            let perhaps = row.failed_perhaps;
            let at_worst = is_broken(known.at_worst(perhaps));
            is_broken(known.at_best(perhaps))
                .filter(|is_bad| *is_bad || perhaps.errors == 0 || at_worst != Some(true))
        }
        Target::Throughput { per_second } => {
            let seconds = row.length_us as f64 / 1e6;
            let is_less = |n: u64| (n as f64) < per_second / factor * seconds;
            // As many as there may have been could have been enough.
            let may_be_enough = !row.most().is_some_and(is_less);
            let is_known = !may_be_enough || row.executions().is_some_and(|n| !is_less(n));
            (seconds > 0.0 && is_known).then_some(!may_be_enough)
        }
        Target::Availability { .. } => None,
    }
}

pub(super) fn broken(bad: u64, of: u64, allowed: f64) -> Option<bool> {
    (of > 0).then_some(bad as f64 > allowed * of as f64 && (bad > 1 || of == 1))
}

/// Whether too many executions of an interval were late if all that were not timed were.
fn may_be_late(row: &Row, quantile: f64, limit_ms: f64) -> bool {
    row.untimed() > 0
        && row.latency.as_ref().map(sum).is_some_and(|sum| {
            let late = Over::of(&sum, limit_ms).guess.saturating_add(row.untimed());
            let all = sum.executions().saturating_add(row.untimed());
            broken(late, all, 1.0 - quantile) == Some(true)
        })
}

/// How many executions took longer than a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Over {
    /// At least.
    low: u64,
    /// By what their bucket is shown as, as percentiles are.
    pub(super) guess: u64,
    /// At most.
    high: u64,
}

impl Over {
    pub(super) fn of(sum: &Sum, limit_ms: f64) -> Self {
        // A limit beyond all times saturates.
        let limit_ns = (limit_ms * NS_PER_MS).round().max(0.0) as u64;
        let all = sum.executions();
        let (least, most) = sum.within(limit_ns);
        let longest = sum.max();
        if longest.is_some_and(|longest| longest.high.is_some_and(|high| high <= limit_ns as f64)) {
            return Self { low: 0, guess: 0, high: 0 };
        }
        let at = bucket(limit_ns);
        // Nothing is longer than the longest.
        let is_last = longest
            .is_some_and(|longest| longest.ns < bounds(at).1.map_or(f64::MAX, |end| end as f64));
        let shown = match longest {
            Some(longest) if is_last => middle(at).min(longest.ns),
            _ => middle(at),
        };
        let within = if shown <= limit_ns as f64 { most } else { least };
        Self { low: all - most, guess: all - within, high: all - least }
    }
}

pub(super) fn total<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Option<Sum> {
    let mut all: Option<Sum> = None;
    for latency in rows.into_iter().filter_map(|row| row.latency.as_ref()) {
        all.get_or_insert_default().add(latency);
    }
    all
}

/// The share of an allowed share that is left.
pub(super) fn left(bad: f64, of: f64, allowed: f64) -> Option<f64> {
    match (of > 0.0, allowed > 0.0) {
        (false, _) => None,
        (true, true) => Some(1.0 - bad / of / allowed),
        // Nothing may be bad: the budget is whole, or there is none.
        (true, false) => (bad == 0.0).then_some(1.0),
    }
}

fn latency(verdict: &mut Verdict, rows: &[Row], quantile: f64, limit_ms: f64) {
    let Some(all) = total(rows) else { return };
    let executions = all.executions();
    let untimed = rows.iter().map(Row::untimed).fold(0, u64::saturating_add);
    // None that was timed is none only where all were.
    verdict.executions = Some(executions).filter(|timed| *timed > 0 || untimed == 0);
    let Some(found) = all.quantile(quantile) else { return };
    verdict.actual = Some(ms(found.ns));
    (verdict.low, verdict.high) = between(&all, quantile, untimed);
    let over = Over::of(&all, limit_ms);
    let allowed = (1.0 - quantile) * executions as f64;
    verdict.budget_left_ratio = left(over.guess as f64, executions as f64, 1.0 - quantile);
    // Those that were not timed are late if that breaks the promise, and in time if that keeps it.
    let perhaps = rows.iter().map(|row| row.perhaps).fold(0, u64::saturating_add);
    let is_known = are_times_known(rows);
    if executions.saturating_add(untimed) < verdict.min_executions && is_known {
        verdict.status = Status::TooFew;
        return;
    }
    let allowed = allowed + (1.0 - quantile) * untimed as f64;
    let keeps = |over: u64| over as f64 <= allowed + 1e-6;
    verdict.status = match keeps(over.guess) {
        true if executions < verdict.min_executions || !is_known => Status::NoData,
        true if keeps(over.guess.saturating_add(untimed)) => Status::Met,
        true => Status::NoData,
        // If they are others', there were too few.
        false if executions + untimed.saturating_sub(perhaps) < verdict.min_executions => {
            Status::NoData
        }
        false => Status::Missed,
    };
    verdict.uncertain = keeps(over.low) != keeps(over.high);
    // Those that were seen stand for all only where they are most, or decide.
    let is_told = is_most(executions, untimed) && (is_known || verdict.status != Status::NoData);
    if verdict.status != Status::Met && !is_told {
        (verdict.actual, verdict.budget_left_ratio) = (None, None);
    }
}

fn ms(ns: f64) -> f64 {
    ns / NS_PER_MS
}

/// Whether so many of all were seen that these stand for the rest.
pub(super) fn is_most(seen: u64, unseen: u64) -> bool {
    seen as f64 >= KNOWN * seen.saturating_add(unseen) as f64
}

/// Between what a percentile surely lies, whether those that were not timed were the shortest or the longest of all; `None`
/// without a bound.
fn between(timed: &Sum, quantile: f64, untimed: u64) -> (Option<f64>, Option<f64>) {
    let seen = timed.executions();
    let rank = (quantile * seen.saturating_add(untimed) as f64).ceil() as u64;
    let at = |rank: u64| timed.at_rank(rank);
    let low = rank.checked_sub(untimed).filter(|rank| *rank > 0 || untimed == 0).and_then(at);
    let high = Some(rank).filter(|rank| *rank <= seen).and_then(at);
    (low.map(|found| ms(found.low)), high.and_then(|found| found.high).map(ms))
}

pub(super) fn failed<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Option<Errors> {
    let known = rows.into_iter().filter_map(|row| row.errors);
    known.reduce(Errors::with)
}

/// What else may have been tried and failed where errors are known.
pub(super) fn perhaps(rows: &[Row]) -> Errors {
    let known = rows.iter().filter(|row| row.errors.is_some());
    known.map(|row| row.failed_perhaps).fold(Errors::default(), Errors::with)
}

/// Whether so much of the work is known, by its time and by how much was executed, that the rest may be taken for like
/// it, but for what is known to have failed; and whether that is all of it. Quiet time says nothing about a share of
/// executions, nor does the time before all intervals.
pub(super) fn are_errors_known(
    history: &History,
    rows: &[Row],
    Errors { errors, of }: Errors,
    ratio: f64,
) -> (bool, bool) {
    let (mut known_us, mut unknown_us, mut unseen, mut failed) = (0_i64, 0_i64, 0_u64, errors);
    for row in rows {
        if row.errors.is_some() {
            known_us = known_us.saturating_add(row.active_us());
        } else {
            unknown_us = unknown_us.saturating_add(row.active_us());
            let tried = row.most().or(row.at_most).unwrap_or(0).saturating_add(row.unseen);
            unseen = unseen.saturating_add(tried).saturating_add(row.heard.of);
            failed = failed.saturating_add(row.unseen).saturating_add(row.heard.errors);
        }
    }
    let is_kept = failed as f64 <= ratio * of.saturating_add(unseen) as f64;
    for (row, next) in rows.iter().zip(rows.iter().skip(1)) {
        let hole_us = next.since_us.saturating_sub(row.until_us);
        let hole_us = hole_us.saturating_sub(history.down_us(row.until_us, next.since_us));
        unknown_us = unknown_us.saturating_add(hole_us.max(0));
    }
    let is_most = |part: f64, rest: f64| part >= KNOWN * (part + rest);
    let is_known = is_most(known_us as f64, unknown_us as f64) && is_most(of as f64, unseen as f64);
    (is_known && is_kept, unknown_us > 0 || unseen > 0)
}

fn errors(verdict: &mut Verdict, history: &History, rows: &[Row], ratio: f64) {
    known_errors(verdict, history, rows, ratio);
    let Some(least) = Least::of(rows).filter(|least| share(least.errors) > ratio) else { return };
    // What is missed by what is known is, whatever the rest was.
    if verdict.status == Status::Missed || least.tried < verdict.min_executions {
        return;
    }
    verdict.status = Status::Missed;
    verdict.executions = Some(least.tried);
    verdict.low = Some(share(least.errors)).filter(|_| !least.is_part);
    (verdict.actual, verdict.high, verdict.budget_left_ratio) = (None, None, None);
    verdict.uncertain = false;
}

/// By the intervals of which all errors are known.
fn known_errors(verdict: &mut Verdict, history: &History, rows: &[Row], ratio: f64) {
    let Some(known) = failed(rows) else { return };
    let Errors { errors, of } = known;
    let perhaps = perhaps(rows);
    verdict.executions = Some(of).filter(|of| *of > 0 || perhaps.of == 0);
    if of == 0 {
        return;
    }
    let actual = errors as f64 / of as f64;
    verdict.actual = Some(actual);
    verdict.budget_left_ratio = left(errors as f64, of as f64, ratio);
    let (is_known, is_part) = are_errors_known(history, rows, known, ratio);
    let ratio_of = |Errors { errors, of }: Errors| errors as f64 / of as f64;
    let keeps = |errors: Errors| ratio_of(errors) <= ratio;
    if perhaps.of > 0 && !is_part {
        verdict.low = Some(ratio_of(known.at_best(perhaps)));
        verdict.high = Some(ratio_of(known.at_worst(perhaps)));
    }
    verdict.status = match (keeps(known.at_best(perhaps)), keeps(known.at_worst(perhaps))) {
        // Few of those that are known are not few of all.
        (true, _) if !is_known => Status::NoData,
        _ if of.saturating_add(perhaps.of) < verdict.min_executions => Status::TooFew,
        _ if of < verdict.min_executions => Status::NoData,
        (true, true) => Status::Met,
        (true, false) => Status::NoData,
        (false, _) => Status::Missed,
    };
    verdict.uncertain = verdict.status == Status::Met && is_part;
    // Those of a part, or those that may be of others, are not those of all.
    if verdict.status == Status::NoData {
        (verdict.actual, verdict.budget_left_ratio) = (None, None);
    }
}
