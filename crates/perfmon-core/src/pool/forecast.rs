//! When connections run out: a robust trend (the median of the slopes between all pairs of points: Theil 1950, Sen 1968)
//! on top of what the same hours of other days had. Where the data do not support a forecast there is none.

use crate::threshold::{Threshold, Thresholds};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// Pairs are as many as the square of the points.
const MOST_POINTS: usize = 200;

/// Evidence.
pub const MIN_POINTS: Threshold = Threshold::new(
    "pool_forecast_points",
    15.0,
    "steps of the window with samples below which connections are not forecast",
    "pg_perfmon",
);
/// How surely it rises.
pub const MIN_TAU: Threshold = Threshold::ratio(
    "pool_forecast_tau",
    0.6,
    "Kendall's tau of connections over time below which they are not said to grow",
    "pg_perfmon: a walk at random seldom reaches it",
);
/// How much it rises.
pub const MIN_RISE: Threshold = Threshold::ratio(
    "pool_forecast_rise_ratio",
    0.05,
    "growth over the window, as a share of the limit, below which connections are not said to grow",
    "pg_perfmon",
);
/// The same hour of so many other days.
pub const MIN_DAYS: Threshold = Threshold::new(
    "pool_forecast_days",
    3.0,
    "other days of which the same hour must be known before it counts",
    "pg_perfmon: two may be a weekend",
);

/// Connections at a time, microseconds since the Unix epoch.
pub type Point = (i64, f64);

/// Which way connections go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Connections more per hour.
    pub per_hour: f64,
    /// At the last point, by the line.
    pub level: f64,
    /// Share of pairs that rise less that of those that fall.
    pub tau: f64,
}

/// The trend through points in order of time; `None` of fewer than three.
pub fn trend(points: &[Point]) -> Option<Trend> {
    let step = points.len().div_ceil(MOST_POINTS).max(1);
    // The last is kept whatever is left out.
    let mut points: Vec<Point> = points.iter().rev().step_by(step).copied().collect();
    points.reverse();
    let last = points.last().filter(|_| points.len() >= 3)?.0;
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    let mut order = 0_i64;
    for (i, a) in points.iter().enumerate() {
        for b in points.get(i + 1..).unwrap_or_default() {
            let hours = (b.0 - a.0) as f64 / HOUR_US as f64;
            if hours > 0.0 {
                slopes.push((b.1 - a.1) / hours);
                order += if b.1 > a.1 { 1 } else { -i64::from(b.1 < a.1) };
            }
        }
    }
    let tau = order as f64 / slopes.len().max(1) as f64;
    let per_hour = median(&mut slopes)?;
    let at_last = |p: &Point| p.1 + per_hour * (last - p.0) as f64 / HOUR_US as f64;
    let mut levels: Vec<f64> = points.iter().map(at_last).collect();
    Some(Trend { per_hour, level: median(&mut levels)?, tau })
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[middle - 1], upper) })
}

/// What each hour of the day had on other days: the median of them, where enough are known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Season {
    hours: [Option<f64>; 24],
}

impl Season {
    /// From points of other days, each at the start of an hour that it stands for.
    pub fn of(points: &[Point], thresholds: &Thresholds) -> Self {
        let mut season = Self::default();
        let days = thresholds.of(&MIN_DAYS).max(1.0) as usize;
        for (hour, value) in season.hours.iter_mut().enumerate() {
            let mut found: Vec<f64> =
                points.iter().filter(|p| hour_of(p.0) == hour).map(|p| p.1).collect();
            *value = if found.len() >= days { median(&mut found) } else { None };
        }
        season
    }

    /// Whether every hour is known.
    fn is_known(&self) -> bool {
        self.hours.iter().all(Option::is_some)
    }

    /// What is usual at a time, between the middles of hours.
    fn at(&self, time: i64) -> f64 {
        let shifted = time - HOUR_US / 2;
        let hour = hour_of(shifted);
        let of = |hour: usize| self.hours[hour % 24].unwrap_or(0.0);
        let part = shifted.rem_euclid(HOUR_US) as f64 / HOUR_US as f64;
        of(hour) + (of(hour + 1) - of(hour)) * part
    }
}

fn hour_of(time: i64) -> usize {
    (time.rem_euclid(DAY_US) / HOUR_US) as usize
}

/// When a limit will be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exhaustion {
    /// Hours from the last point; 0 where it is reached.
    pub hours: f64,
    /// When, microseconds since the Unix epoch.
    pub at: i64,
    /// Growth that no other day explains, connections per hour.
    pub per_hour: f64,
    /// The same hours of other days were known.
    pub seasonal: bool,
}

/// When a limit will be reached, by points of the window and the same hours of other days. A trend is not followed
/// further than twice the time in which it was seen, other days no further than a day.
pub fn exhaustion(
    points: &[Point],
    season: &Season,
    limit: f64,
    thresholds: &Thresholds,
) -> Option<Exhaustion> {
    let (first, last) = (points.first()?, points.last()?);
    if (points.len() as f64) < thresholds.of(&MIN_POINTS) {
        return None;
    }
    let seasonal = season.is_known();
    let usual = |time: i64| if seasonal { season.at(time) } else { 0.0 };
    let rest: Vec<Point> = points.iter().map(|p| (p.0, p.1 - usual(p.0))).collect();
    let trend = trend(&rest)?;
    let hours = (last.0 - first.0) as f64 / HOUR_US as f64;
    let rise = trend.per_hour * hours;
    let grows = trend.tau >= thresholds.of(&MIN_TAU)
        && rise >= (thresholds.of(&MIN_RISE) * limit).max(1.0)
        && still_grows(&rest, trend.per_hour);
    let per_hour = if grows { trend.per_hour } else { 0.0 };
    if !grows && !seasonal {
        return None;
    }
    let reached = |at: i64| {
        let hours = (at - last.0) as f64 / HOUR_US as f64;
        usual(at) + trend.level + per_hour * hours >= limit
    };
    let horizon = if grows { (2.0 * hours * HOUR_US as f64) as i64 } else { 0 };
    let horizon = if seasonal { horizon.max(DAY_US) } else { horizon };
    // Small steps: what is usual rises and falls within the time.
    let steps = 1_440;
    let at = (0..=steps).map(|i| last.0 + horizon / steps * i).find(|at| reached(*at))?;
    Some(Exhaustion { hours: (at - last.0) as f64 / HOUR_US as f64, at, per_hour, seasonal })
}

/// Whether growth has not ended: the last third rises too, and not by much less than the whole.
fn still_grows(points: &[Point], per_hour: f64) -> bool {
    /// One session more after the end of a ramp is a slope as well.
    const STILL: f64 = 0.25;
    let tail = &points[points.len() - points.len() / 3..];
    trend(tail).is_none_or(|trend| trend.per_hour > STILL * per_hour)
}
