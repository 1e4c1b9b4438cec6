//! When samples are due: each at a random moment of an interval of its own.
//!
//! Samples at a fixed distance march in step with whoever does the same thing over and over in a whole part of that distance:
//! they see a client always at the same point of its cycle. A moment drawn from the whole interval is in step with nobody,
//! and as each interval has one, they are as evenly spread as they can be (stratified sampling).

/// From now to the moment when the next sample is due: within the interval after that of now. Intervals lie side by side from the
/// epoch on, so that an interval of a second is one of the clock's. `drawn` is any random number.
pub fn after(now: i64, interval: i64, drawn: u64) -> i64 {
    let interval = interval.max(1);
    let into = now.rem_euclid(interval);
    let within = i64::try_from(drawn % interval.unsigned_abs()).unwrap_or(0);
    interval - into + within
}

#[cfg(test)]
mod tests {
    use super::after;
    use proptest::prelude::*;

    /// Moments of samples that are taken when they are due, from numbers that look drawn.
    fn moments(interval: i64, count: usize, seed: u64) -> Vec<i64> {
        let mut drawn = seed;
        let mut now = 1_700_000_000_000_000;
        let next = || {
            drawn = drawn
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            now += after(now, interval, drawn >> 33);
            now
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    proptest! {
        #[test]
        fn each_interval_has_one(interval in 100_000_i64..60_000_000, seed: u64) {
            let moments = moments(interval, 100, seed);
            for pair in moments.windows(2) {
                prop_assert_eq!(pair[1] / interval, pair[0] / interval + 1);
            }
        }

        #[test]
        fn it_is_in_the_next_interval(now: i32, interval in 1_i64..1_000_000, drawn: u64) {
            let now = i64::from(now);
            let due = now + after(now, interval, drawn);
            prop_assert_eq!(due.div_euclid(interval), now.div_euclid(interval) + 1);
        }
    }

    /// Clients that are busy for a sixth of their cycle, which is a whole part of the interval: at a fixed distance each of them is
    /// seen always or never.
    #[test]
    fn no_cycle_is_in_step_with_them() {
        let interval = 100_000;
        let moments = moments(interval, 6_000, 7);
        for parts in [1, 2, 3, 10] {
            let cycle = interval / parts;
            for phase in 0..6 {
                let busy = |at: &&i64| (**at + phase * cycle / 6) % cycle < cycle / 6;
                let share = moments.iter().filter(busy).count() as f64 / moments.len() as f64;
                assert!(
                    (share - 1.0 / 6.0).abs() < 0.02,
                    "{share} of the time, {parts} cycles, phase {phase}"
                );
            }
        }
    }
}
