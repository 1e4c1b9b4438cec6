//! Tests of pools over days: what the same hour of other days says of when a limit will be reached.

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use perfmon_core::activity::spread;
    use perfmon_core::family::{POOL, POOL_SUMS};
    use perfmon_core::frame::{Frame, Quality, Span};
    use perfmon_core::pool::Whose;
    use perfmon_core::pool::forecast::Exhaustion;
    use perfmon_core::threshold::Thresholds;
    use perfmon_core::window::{DAY_US, HOUR_US, Level};

    use crate::recall::saturation;
    use crate::recall::scope::Scope;
    use crate::store::{dictionary, history, source};

    /// 2026-11-21 12:00 UTC.
    const NOON: i64 = 1_795_262_400_000_000;
    /// Samples of an hour.
    const SAMPLES: u64 = 3_600;

    /// A row of an hour all through which the server had so many idle sessions.
    fn row(source: i64, id: u32, until: i64, open: u32) {
        let place = u32::try_from(spread::place(open)).unwrap();
        let of = |name: &str| POOL.position(name).unwrap();
        let mut columns = vec![None; POOL.columns.len()];
        columns[of("open_samples")] = Some(vec![SAMPLES, 0]);
        columns[of("idle_samples")] = Some(vec![SAMPLES, 0]);
        columns[of("idle")] = Some(vec![0, SAMPLES * u64::from(open)]);
        columns[of("open_peak")] = Some(vec![0, u64::from(open)]);
        let frame = Frame {
            family: &POOL,
            ids: vec![id << 8 | place, id << 8 | POOL_SUMS],
            columns,
            known: (1 << POOL.columns.len()) - 1,
            totals: vec![Some(SAMPLES as i64), Some(HOUR_US)],
        };
        let span = Span {
            since: until - HOUR_US,
            until,
            length_us: HOUR_US,
            quiet_us: 0,
            quality: Quality::Exact,
            flags: 0,
        };
        history::append(Level::Minute, source, &span, &frame);
    }

    /// Ten sessions at all times, but 120 from two to four in the afternoon, over so many days before the last 24 hours,
    /// and until noon of the last; when connections run out.
    fn forecast(days: i64) -> Vec<(Whose, Exhaustion)> {
        let source = source::ensure_own(NOON, "here", 42);
        let names = [["", "", "server one"].map(str::to_owned)];
        let id = dictionary::resolve(&POOL, source, &names, NOON)[0];
        let first = NOON - (days + 1) * DAY_US;
        for until in (1..=(days + 1) * 24).map(|hour| first + hour * HOUR_US) {
            let hour = (until - HOUR_US).rem_euclid(DAY_US) / HOUR_US;
            let busy = (14..16).contains(&hour) && until <= NOON - DAY_US;
            row(source, id, until, if busy { 120 } else { 10 });
        }
        let scope = Scope::of(NOON - 2 * HOUR_US, NOON, None);
        let pools = saturation::pools(&scope, None, None).unwrap().unwrap();
        let course = pools.courses.iter().find(|course| course.whose == Whose::server()).unwrap();
        assert_eq!(course.other_days.len() as i64, days * 24);
        let high: Vec<i64> =
            course.other_days.iter().filter(|(_, open)| *open > 100.0).map(|(at, _)| *at).collect();
        assert_eq!(high.len() as i64, days * 2);
        let hour = |at: &i64| at.rem_euclid(DAY_US) / HOUR_US;
        assert!(high.iter().all(|at| (14..16).contains(&hour(at))), "{high:?}");
        let found = pools.foreseen(&Thresholds::default()).exhaustion;
        found.into_iter().map(|(whose, _, _, exhaustion)| (whose, exhaustion)).collect()
    }

    #[pg_test]
    fn other_days_say_when_connections_run_out() {
        let found = forecast(3);
        let [(whose, exhaustion)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(whose, &Whose::server());
        assert!(exhaustion.seasonal && exhaustion.per_hour == 0.0, "{exhaustion:?}");
        // Between the middle of the hour before the rush, and that of its first.
        assert!(exhaustion.hours > 1.5 && exhaustion.hours < 2.6, "{exhaustion:?}");
    }

    #[pg_test]
    fn two_other_days_may_be_a_weekend() {
        assert_eq!(forecast(2), []);
    }
}
