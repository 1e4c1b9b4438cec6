//! The load as the report shows it.

use perfmon_core::ask;
use perfmon_core::family::STATEMENT;
use perfmon_core::report::{self, Point, Trend};
use perfmon_core::series::{self, Series};
use perfmon_core::window::{self, Level};

use super::{calendar_edges, is_unseen, load};
use crate::api::args::Scope;
use crate::api::commands::SLOW_US;
use crate::api::latency::Timed;
use crate::error::Error;
use crate::recall::latency::Whose;
use crate::recall::plan::Kept;
use crate::recall::statements::{ms, per_s};
use crate::settings;

/// In steps that suit the window; `begins` says when history does, if
/// that is in the window.
pub(in crate::api) fn trend(scope: &Scope, begins: Option<i64>) -> Result<Trend, Error> {
    let scope = &scope.quietly(begins.unwrap_or(scope.since), scope.until);
    let kept = Kept::of(&STATEMENT, scope);
    let finest = match kept.finest(scope) {
        // Snapshots are a little early or late: a step of one interval would have none, and then two.
        Level::Minute => 2 * settings::snapshot_interval_us(),
        coarser => coarser.step_us(),
    };
    let step_us = report::step_us(scope.until.saturating_sub(scope.since), finest);
    let edges = if step_us % window::DAY_US == 0 {
        let days = i32::try_from(step_us / window::DAY_US).unwrap_or(1);
        calendar_edges(scope, ask::Step { months: 0, days, micros: 0 })?
    } else {
        series::edges(scope.since, scope.until, step_us)
    };
    let timed = Timed::of(Whose::Database, scope, &edges)?;
    let (series, _) = load(scope, edges, &kept)?;
    let first = (0..series.len()).find(|bucket| series.covered_us(*bucket) > 0).unwrap_or(0);
    // Before history begins there is no gap.
    let first = if begins.is_some() { first } else { 0 };
    let points =
        (first..series.len()).map(|bucket| trend_point(scope, &series, &timed, bucket)).collect();
    Ok(Trend { step_us, target_ms: Some(SLOW_US / 1000.0), points })
}

#[allow(clippy::cast_precision_loss)]
fn trend_point(scope: &Scope, series: &Series, timed: &Timed, bucket: usize) -> Point {
    // The first and the last step may lie partly outside.
    let (since_us, until_us) =
        (series.time(bucket).max(scope.since), series.end(bucket).min(scope.until));
    let covered = series.covered_us(bucket);
    let unseen = is_unseen(series.sum(0, bucket), timed.times(bucket));
    let [calls, exec_us] = [0, 1].map(|column| series.sum(column, bucket).filter(|_| !unseen));
    Point {
        since_us: series.time(bucket),
        until_us,
        covered_ratio: (covered as f64 / (until_us - since_us).max(1) as f64).min(1.0),
        calls: calls.and_then(|calls| i64::try_from(calls).ok()),
        total_exec_ms: ms(exec_us),
        active_ratio: per_s(exec_us, covered).map(|us| us / 1e6),
    }
}
