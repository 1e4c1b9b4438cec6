//! Puts rows of history into the buckets of a time series. A bucket that no row covers is a gap, not a
//! zero; a database known to have been quiet is a zero, not a gap; rates divide by the time covered.

/// One series: buckets between neighbouring edges, each with sums of some columns.
#[derive(Debug)]
pub struct Series {
    edges: Vec<i64>,
    covered: Vec<i64>,
    sums: Vec<Vec<Option<u64>>>,
}

impl Series {
    /// Buckets between these ascending edges, for so many columns.
    pub fn new(edges: Vec<i64>, columns: usize) -> Self {
        let buckets = edges.len().saturating_sub(1);
        Self { covered: vec![0; buckets], sums: vec![vec![None; buckets]; columns], edges }
    }

    /// Number of buckets.
    pub fn len(&self) -> usize {
        self.covered.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.covered.is_empty()
    }

    /// The bucket of a row that ends at `until`: rows belong where they end.
    pub fn bucket_of(&self, until: i64) -> Option<usize> {
        let after = self.edges.partition_point(|edge| *edge < until);
        (1..self.edges.len()).contains(&after).then(|| after - 1)
    }

    /// Notes that a row covers time: `length_us` of it, of which the first `quiet_us` were quiet. The
    /// quiet part counts where it lies; what happened, and its time, counts where the row ends.
    pub fn cover(&mut self, since: i64, until: i64, length_us: i64, quiet_us: i64) {
        let quiet_us = quiet_us.clamp(0, length_us.max(0));
        let end = self.bucket_of(until);
        // Quiet time inside the bucket of the row's own end needs no spreading.
        let start_of_end = end.map_or(i64::MAX, |bucket| self.edges[bucket]);
        let quiet_end = since.saturating_add(quiet_us).min(until);
        let mut spread = 0_i64;
        let first = self.edges.partition_point(|edge| *edge <= since).saturating_sub(1);
        for bucket in first..self.covered.len() {
            let (from, to) = (self.edges[bucket], self.edges[bucket + 1]);
            if from >= quiet_end || from >= start_of_end {
                break;
            }
            let part = to.min(quiet_end) - from.max(since);
            if part > 0 {
                self.covered[bucket] += part;
                spread += part;
                for sums in &mut self.sums {
                    sums[bucket].get_or_insert(0);
                }
            }
        }
        if let Some(bucket) = end {
            // What was quiet before the first edge belongs to nobody.
            let before = self.edges[0].min(quiet_end).saturating_sub(since).max(0);
            self.covered[bucket] += (length_us - spread - before).max(0);
        }
    }

    /// The buckets over which a row is to be spread, with the part of it that belongs into each: time that was quiet lies
    /// where it lies, and all else, with what happened, where the row ends. What is outside of all buckets is left out.
    #[allow(clippy::cast_precision_loss)]
    pub fn shares(
        &self,
        since: i64,
        until: i64,
        length_us: i64,
        quiet_us: i64,
    ) -> Vec<(usize, f64)> {
        let end = self.bucket_of(until);
        let quiet_us = quiet_us.clamp(0, length_us.max(0));
        if quiet_us == 0 {
            return end.map(|bucket| (bucket, 1.0)).into_iter().collect();
        }
        let quiet_end = since.saturating_add(quiet_us).min(until);
        let share = |us: i64| us as f64 / length_us as f64;
        let mut shares = Vec::new();
        let mut spread = 0;
        let first = self.edges.partition_point(|edge| *edge <= since).saturating_sub(1);
        for bucket in first..self.covered.len() {
            let (from, to) = (self.edges[bucket], self.edges[bucket + 1]);
            if from >= quiet_end || Some(bucket) == end {
                break;
            }
            let part = to.min(quiet_end) - from.max(since);
            if part > 0 {
                shares.push((bucket, share(part)));
                spread += part;
            }
        }
        if let Some(bucket) = end {
            let before = self.edges[0].min(quiet_end).saturating_sub(since).max(0);
            shares.push((bucket, share((length_us - spread - before).max(0))));
        }
        shares
    }

    /// Adds the value of a column in a row that ends at `until`; `None` is unknown.
    pub fn add(&mut self, column: usize, until: i64, value: Option<u64>) {
        let (Some(bucket), Some(value)) = (self.bucket_of(until), value) else { return };
        if let Some(sums) = self.sums.get_mut(column) {
            let sum = sums[bucket].unwrap_or(0);
            sums[bucket] = Some(sum.saturating_add(value));
        }
    }

    /// Start of a bucket.
    pub fn time(&self, bucket: usize) -> i64 {
        self.edges[bucket]
    }

    /// End of a bucket.
    pub fn end(&self, bucket: usize) -> i64 {
        self.edges[bucket + 1]
    }

    /// Time covered in a bucket, microseconds; 0 is a gap.
    pub fn covered_us(&self, bucket: usize) -> i64 {
        self.covered[bucket]
    }

    /// Share of the bucket that is covered.
    #[allow(clippy::cast_precision_loss)]
    pub fn covered_ratio(&self, bucket: usize) -> f64 {
        let length = self.edges[bucket + 1] - self.edges[bucket];
        (self.covered[bucket] as f64 / length.max(1) as f64).min(1.0)
    }

    /// What happened in a bucket; `None` in a gap or where it was not measured.
    pub fn sum(&self, column: usize, bucket: usize) -> Option<u64> {
        (self.covered[bucket] > 0).then(|| self.sums.get(column)?[bucket]).flatten()
    }
}

/// Edges `step_us` apart, aligned to the Unix epoch, that take in the window.
pub fn edges(since: i64, until: i64, step_us: i64) -> Vec<i64> {
    let step = step_us.max(1);
    let mut edges = vec![since.div_euclid(step).saturating_mul(step)];
    let mut last = edges[0];
    while last < until {
        last = last.saturating_add(step);
        edges.push(last);
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_take_in_the_window_and_align_to_the_epoch() {
        assert_eq!(edges(25, 41, 10), [20, 30, 40, 50]);
        assert_eq!(edges(20, 40, 10), [20, 30, 40]);
        assert_eq!(edges(-5, 5, 10), [-10, 0, 10]);
    }

    #[test]
    fn a_row_belongs_where_it_ends() {
        let series = Series::new(vec![0, 10, 20], 1);
        assert_eq!(series.bucket_of(0), None);
        assert_eq!(series.bucket_of(1), Some(0));
        assert_eq!(series.bucket_of(10), Some(0));
        assert_eq!(series.bucket_of(11), Some(1));
        assert_eq!(series.bucket_of(20), Some(1));
        assert_eq!(series.bucket_of(21), None);
    }

    #[test]
    fn gaps_are_unknown_and_covered_time_without_calls_is_zero() {
        let mut series = Series::new(edges(0, 40, 10), 2);
        series.cover(0, 10, 10, 0);
        series.add(0, 10, Some(0));
        series.cover(30, 40, 8, 0);
        series.add(0, 40, Some(7));
        series.add(0, 40, Some(1));
        series.add(1, 40, None);
        assert_eq!(series.sum(0, 0), Some(0));
        assert_eq!(series.sum(0, 1), None);
        assert_eq!(series.sum(0, 3), Some(8));
        assert_eq!(series.sum(1, 3), None);
        assert_eq!(series.covered_us(3), 8);
        assert!((series.covered_ratio(3) - 0.8).abs() < 1e-9);
    }

    #[test]
    fn quiet_time_is_covered_where_it_lies() {
        let mut series = Series::new(edges(0, 50, 10), 1);
        // Quiet from 5 to 38, then two units of work until 40.
        series.cover(5, 40, 35, 33);
        series.add(0, 40, Some(9));
        let covered: Vec<i64> = (0..5).map(|b| series.covered_us(b)).collect();
        assert_eq!(covered, [5, 10, 10, 10, 0]);
        let sums: Vec<Option<u64>> = (0..5).map(|b| series.sum(0, b)).collect();
        assert_eq!(sums, [Some(0), Some(0), Some(0), Some(9), None]);
    }

    #[test]
    fn a_row_is_spread_over_its_quiet_time() {
        let series = Series::new(edges(0, 50, 10), 0);
        assert_eq!(series.shares(5, 15, 10, 0), [(1, 1.0)]);
        let shares = series.shares(5, 40, 35, 33);
        let places: Vec<usize> = shares.iter().map(|share| share.0).collect();
        assert_eq!(places, [0, 1, 2, 3]);
        assert!((shares.iter().map(|share| share.1).sum::<f64>() - 1.0).abs() < 1e-9);
        assert!((shares[0].1 - 5.0 / 35.0).abs() < 1e-9);
        // What lies outside is left out.
        let series = Series::new(edges(20, 40, 10), 0);
        let within: f64 = series.shares(0, 40, 40, 38).iter().map(|share| share.1).sum();
        assert!((within - 0.5).abs() < 1e-9);
        assert_eq!(series.shares(0, 100, 100, 90), [(0, 0.1), (1, 0.1)]);
        assert!(series.shares(0, 10, 10, 0).is_empty());
    }

    #[test]
    fn quiet_time_outside_the_window_is_not_counted() {
        let mut series = Series::new(edges(20, 40, 10), 1);
        series.cover(0, 40, 40, 38);
        assert_eq!((series.covered_us(0), series.covered_us(1)), (10, 10));
        // A row that ends after the window still tells that its start was quiet.
        let mut series = Series::new(edges(0, 20, 10), 1);
        series.cover(5, 100, 95, 90);
        assert_eq!((series.sum(0, 0), series.sum(0, 1)), (Some(0), Some(0)));
        assert_eq!((series.covered_us(0), series.covered_us(1)), (5, 10));
    }
}
