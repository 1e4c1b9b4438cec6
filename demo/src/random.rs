//! A small generator of random numbers, so that a run can be repeated with its seed. Not for anything secret.

/// xorshift64*: one word of state.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// From 0 up to, but without, 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + (self.fraction() * (high - low + 1) as f64) as u64
    }

    /// An id from 1 to `count`; a few of them come most of the time, as in a real shop.
    pub(crate) fn skewed(&mut self, count: i64) -> i64 {
        1 + (count as f64 * self.fraction().powi(3)) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn stays_in_range_and_is_skewed() {
        let mut random = Random::new(7);
        let mut small = 0;
        for _ in 0..10_000 {
            assert!((3..=5).contains(&random.between(3, 5)));
            let id = random.skewed(1000);
            assert!((1..=1000).contains(&id));
            small += u32::from(id <= 100);
        }
        assert!(small > 4000, "the first tenth must get most draws, got {small}");
    }

    #[test]
    fn a_seed_repeats() {
        let (mut a, mut b) = (Random::new(3), Random::new(3));
        assert!((0..100).all(|_| a.between(0, 1 << 40) == b.between(0, 1 << 40)));
    }
}
