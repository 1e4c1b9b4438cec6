//! A straight line through points of time that a few wild ones do not bend: the median of the slopes between all pairs
//! of points (Theil 1950, Sen 1968), and how far these slopes agree.

/// A line, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Amount per unit of time.
    pub slope: f64,
    /// A quarter of the pairs rise less than this.
    pub low: f64,
    /// A quarter of the pairs rise more than this.
    pub high: f64,
    /// Value of the line at the last point.
    pub now: f64,
    /// Time from the first point to the last.
    pub span: f64,
    /// Number of points.
    pub points: usize,
}

/// More points are thinned: pairs grow with their square.
const MOST: usize = 300;

/// The line through (time, value), ascending by time; `None` of fewer than three points, or of no time at all.
#[allow(clippy::cast_precision_loss)]
pub fn of(points: &[(f64, f64)]) -> Option<Trend> {
    let every = points.len().div_ceil(MOST).max(1);
    // From the last backwards, which must be among them.
    let kept: Vec<(f64, f64)> = points.iter().rev().step_by(every).copied().collect();
    let (last, first) = (*kept.first()?, *kept.last()?);
    if kept.len() < 3 || last.0 <= first.0 {
        return None;
    }
    let mut slopes = Vec::with_capacity(kept.len() * kept.len() / 2);
    for (i, late) in kept.iter().enumerate() {
        let early = kept[i + 1..].iter().filter(|early| early.0 < late.0);
        slopes.extend(early.map(|early| (late.1 - early.1) / (late.0 - early.0)));
    }
    slopes.sort_by(f64::total_cmp);
    let at = |share: f64| slopes.get(((slopes.len() - 1) as f64 * share).round() as usize).copied();
    let slope = at(0.5)?;
    let mut ends: Vec<f64> =
        kept.iter().map(|(time, value)| value + slope * (last.0 - time)).collect();
    ends.sort_by(f64::total_cmp);
    Some(Trend {
        slope,
        low: at(0.25)?,
        high: at(0.75)?,
        now: ends[ends.len() / 2],
        span: last.0 - first.0,
        points: points.len(),
    })
}

impl Trend {
    /// Time from the last point until the line gets to `limit`: soonest, likely and latest. `None` unless nearly all
    /// pairs of points rise, or when that would be further ahead than `times` the time looked back on.
    pub fn until(&self, limit: f64, times: f64) -> Option<(f64, f64, f64)> {
        let after = |slope: f64| ((limit - self.now) / slope).max(0.0);
        if self.low <= 0.0 {
            return None;
        }
        let likely = after(self.slope);
        (likely <= self.span * times).then(|| (after(self.high), likely, after(self.low)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn too_little_has_no_trend() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(1.0, 1.0), (2.0, 2.0)]), None);
        assert_eq!(of(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }

    #[test]
    fn wild_points_do_not_bend_it() {
        let mut points: Vec<(f64, f64)> =
            (0..100).map(|t| (f64::from(t), 10.0 + 2.0 * f64::from(t))).collect();
        for t in [3, 40, 77] {
            points[t].1 = 1e6;
        }
        let trend = of(&points).unwrap();
        assert!((trend.slope - 2.0).abs() < 1e-9 && (trend.now - 208.0).abs() < 1e-9, "{trend:?}");
        let (soonest, likely, latest) = trend.until(308.0, 4.0).unwrap();
        assert!((likely - 50.0).abs() < 1e-6 && soonest <= likely && likely <= latest);
        assert_eq!(trend.until(2000.0, 4.0), None, "further ahead than the data support");
    }

    #[test]
    fn what_goes_up_and_down_gets_nowhere() {
        let saw: Vec<(f64, f64)> = (0..100).map(|t| (f64::from(t), f64::from(t % 10))).collect();
        assert_eq!(of(&saw).unwrap().until(1000.0, 1e9), None);
        let flat: Vec<(f64, f64)> = (0..100).map(|t| (f64::from(t), 5.0)).collect();
        assert_eq!(of(&flat).unwrap().until(6.0, 1e9), None);
    }

    proptest! {
        #[test]
        fn a_straight_line_is_found(slope in -1e6_f64..1e6, start in -1e6_f64..1e6, n in 3_usize..1000) {
            #[allow(clippy::cast_precision_loss)]
            let points: Vec<(f64, f64)> = (0..n).map(|t| (t as f64, start + slope * t as f64)).collect();
            let found = of(&points).unwrap();
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-6 * (1.0 + a.abs().max(b.abs()));
            prop_assert!(close(found.slope, slope) && close(found.now, points[n - 1].1));
            prop_assert!(found.low <= found.slope && found.slope <= found.high);
        }
    }
}
