//! The trend as a chart made of text: one bar for each step, gaps shown as gaps, changes where they
//! happened. Made of ASCII, so that every encoding can hold it.

use std::fmt::Write as _;

use super::facts::{Change, Point, Trend};
use super::text::{WIDTH, bare, cut, width};
use super::words::{duration, milliseconds, number};

/// Columns of the longest bar.
const BAR: usize = 32;
/// Columns left for the name of a change.
const NOTE: usize = 23;
/// Most bars of one chart that are easy to take in.
const MOST_BARS: i64 = 32;
/// A step of which less than this is recorded says how much is.
const PARTLY: f64 = 0.8;

/// So many steps in a row of which nothing is known, or in which nothing ran, are shown as one.
const MANY_ALIKE: usize = 3;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Steps that people think in.
const STEPS: [i64; 22] = [
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    28 * DAY,
    56 * DAY,
    364 * DAY,
];

/// Periods of so many days are shown by day.
const DAYS: i64 = 3;

/// Length of the steps in which a period is shown, no finer than its rows are.
pub fn step_us(period_us: i64, finest_us: i64) -> i64 {
    let least = if period_us >= DAYS * DAY { DAY } else { STEPS[0] };
    let fits = |step: &&i64| **step >= least.max(finest_us) && period_us / **step < MOST_BARS;
    STEPS.iter().find(fits).copied().unwrap_or(STEPS[STEPS.len() - 1])
}

/// What a step is called: `day`, `5 min`.
pub(super) fn step_name(step_us: i64) -> String {
    match step_us {
        MINUTE => "minute".to_owned(),
        HOUR => "hour".to_owned(),
        DAY => "day".to_owned(),
        us => duration(us),
    }
}

/// What the bars show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bars {
    /// Mean time of a statement.
    Mean,
    /// Statements running on average.
    Load,
}

impl Bars {
    fn of(self, point: &Point) -> Option<f64> {
        match self {
            Self::Mean => point.mean_exec_ms(),
            Self::Load => point.active_ratio,
        }
    }
}

/// Writes the chart; `false` when there is nothing to show.
pub(super) fn chart(
    out: &mut String,
    trend: &Trend,
    changes: &[Change],
    show: &dyn Fn(i64) -> String,
) -> bool {
    let known = |bars: Bars| trend.points.iter().filter(|p| bars.of(p).is_some()).count();
    let bars = if known(Bars::Mean) > 0 { Bars::Mean } else { Bars::Load };
    if known(bars) == 0 {
        return false;
    }
    let most = trend.points.iter().filter_map(|p| bars.of(p)).fold(0.0, f64::max);
    if most <= 0.0 {
        out.push_str("There was no load at any time that is known.\n\n");
        return true;
    }
    let target = trend.target_ms.filter(|target| bars == Bars::Mean && *target > 0.0);
    // A target far above all bars would leave nothing of them.
    let drawn = target.filter(|target| *target <= 2.0 * most);
    let scale = drawn.map_or(most, |target| most.max(target));
    let labels: Vec<String> =
        trend.points.iter().map(|p| label(&show(p.since_us), trend.step_us)).collect();
    let column = labels.iter().map(|label| width(label)).max().unwrap_or(0);
    caption(out, trend, bars, target, drawn);
    out.push_str("```text\n");
    let _ = writeln!(out, "{:column$}  {:BAR$}  {:>8}  {:>7}", "since", "", "mean", "running");
    let mut at = 0;
    while at < trend.points.len() {
        let (point, label) = (&trend.points[at], &labels[at]);
        let steps = alike(&trend.points[at..], changes);
        let long = duration(trend.step_us.saturating_mul(i64::try_from(steps).unwrap_or(1)));
        let line = match (State::of(point), steps) {
            (State::Unknown, 1) => format!("{label:column$}  (nothing recorded)"),
            (State::Unknown, _) => format!("{label:column$}  (nothing recorded for {long})"),
            (State::Idle, 2..) => format!("{label:column$}  (no load for {long})"),
            _ => {
                let bar = bar(bars.of(point), scale, drawn);
                let mean = point.mean_exec_ms().map_or("-".to_owned(), |ms| milliseconds(Some(ms)));
                let running = point.active_ratio.map_or("-".to_owned(), |load| number(Some(load)));
                format!("{label:column$}  {bar:BAR$}  {mean:>8}  {running:>7}")
            }
        };
        let note = note(point, target, changes).unwrap_or_default();
        let before = column + BAR + 23;
        let line = if note.is_empty() { line } else { format!("{line:before$}{note}") };
        out.push_str(cut(&line, WIDTH).trim_end());
        out.push('\n');
        at += steps;
    }
    out.push_str("```\n\n");
    true
}

/// What is known of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    Idle,
    Busy,
}

impl State {
    fn of(point: &Point) -> Self {
        match point {
            p if p.covered_ratio <= 0.0 => Self::Unknown,
            p if p.calls == Some(0) && p.total_exec_ms.is_none_or(|ms| ms <= 0.0) => Self::Idle,
            _ => Self::Busy,
        }
    }
}

/// How many of the steps, from the first, can be told in one line: many of which there is nothing to say,
/// up to the next of which there is.
fn alike(points: &[Point], changes: &[Change]) -> usize {
    let Some(state) = points.first().map(State::of).filter(|state| *state != State::Busy) else {
        return 1;
    };
    let same = |p: &&Point| State::of(p) == state && note(p, None, changes).is_none();
    match points.iter().take_while(same).count() {
        n if n >= MANY_ALIKE => n,
        _ => 1,
    }
}

fn caption(out: &mut String, trend: &Trend, bars: Bars, target: Option<f64>, drawn: Option<f64>) {
    let what = match bars {
        Bars::Mean => "Mean time of a statement",
        Bars::Load => "Statements running on average",
    };
    let _ = write!(out, "{what}, by {}.", step_name(trend.step_us));
    if let Some(target) = target {
        let shown = milliseconds(Some(target));
        let _ = if drawn.is_some() {
            write!(out, " The target of {shown} is marked with |.")
        } else {
            write!(out, " The target of {shown} is far above all of it.")
        };
    }
    out.push_str("\n\n");
}

/// When a step begins, as short as can be.
fn label(shown: &str, step_us: i64) -> String {
    let end = match step_us {
        us if us % DAY == 0 => 10,
        us if us % MINUTE == 0 => 16,
        _ => 19,
    };
    // Times are shown as 2026-11-21 08:34:00+00; years of five figures are longer.
    let end = end + shown.find('-').map_or(0, |dash| dash.saturating_sub(4));
    shown.get(..end).unwrap_or(shown).to_owned()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn columns(value: f64, scale: f64) -> usize {
    if scale > 0.0 { (value / scale * BAR as f64).round() as usize } else { 0 }
}

fn bar(value: Option<f64>, scale: f64, target: Option<f64>) -> String {
    let value = value.unwrap_or(0.0);
    let long = columns(value, scale).max(usize::from(value > 0.0)).min(BAR);
    let mut cells = vec![b' '; BAR];
    cells[..long].fill(b'#');
    if let Some(target) = target {
        cells[columns(target, scale).clamp(1, BAR) - 1] = b'|';
    }
    String::from_utf8_lossy(&cells).into_owned()
}

/// What else is to be said about a step: how little of it is known, and what changed in it.
fn note(point: &Point, target: Option<f64>, changes: &[Change]) -> Option<String> {
    let mut notes = Vec::new();
    let over = |target: &f64| point.mean_exec_ms().is_some_and(|mean| mean > *target);
    if target.as_ref().is_some_and(over) {
        notes.push("over".to_owned());
    }
    if point.covered_ratio > 0.0 && point.covered_ratio < PARTLY {
        notes.push(match point.covered_ratio {
            ratio if ratio < 0.01 => "under 1 % known".to_owned(),
            ratio => format!("{:.0} % known", ratio * 100.0),
        });
    }
    let inside = |c: &&Change| c.at_us > point.since_us && c.at_us <= point.until_us;
    let mut here: Vec<&Change> = changes.iter().filter(inside).collect();
    here.sort_by_key(|change| (change.at_us, &change.kind, &change.name));
    if let Some(first) = here.first() {
        let more = match here.len() {
            1 => String::new(),
            n => format!(" +{}", n - 1),
        };
        let name = cut(&bare(&format!("{} {}", first.kind, first.name)), NOTE - more.len());
        notes.push(format!("<- {name}{more}"));
    }
    (!notes.is_empty()).then(|| notes.join(", "))
}

#[cfg(test)]
#[path = "chart_tests.rs"]
mod tests;
