//! Puts rows of history into the buckets of a time series. A bucket that no row covers is a gap, not a
//! zero; a database known to have been quiet is a zero, not a gap; rates divide by the time covered.

/// One series: buckets between neighbouring edges, each with sums of some columns.
#[derive(Debug)]
pub struct Series {
    edges: Vec<i64>,
    covered: Vec<i64>,
    sums: Vec<Vec<Option<u64>>>,
}

/// What of a row lies in a bucket: where that begins and ends in the row, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// Which bucket.
    pub bucket: usize,
    /// Of all of the row.
    pub all: (f64, f64),
    /// Of the time in which something happened, which is all but its quiet beginning.
    pub at_work: (f64, f64),
}

/// Where in a row its peak was, as far as a part knows: it is of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peak {
    /// In the part, which has half of what happened or more.
    Here,
    /// Not in it: nothing happened then.
    Quiet,
    /// Nobody knows.
    Elsewhere,
}

impl Part {
    /// The share of the row.
    pub fn share(&self) -> f64 {
        self.all.1 - self.all.0
    }

    /// Part of a number of a row's whole time, `unit` to each: what the parts get adds up to the number.
    pub fn of(&self, number: u64, unit: u64) -> u64 {
        part(number.saturating_mul(unit), self.all)
    }

    /// Part of a number of what happened.
    pub fn of_work(&self, number: u64, unit: u64) -> u64 {
        part(number.saturating_mul(unit), self.at_work)
    }

    /// Whether a peak of the row is taken for its own.
    pub fn peak(&self, parts: &[Self]) -> Peak {
        let work = self.at_work.1 - self.at_work.0;
        if work <= 0.0 {
            Peak::Quiet
        } else if work >= 0.5 && self.is_most(parts) {
            Peak::Here
        } else {
            Peak::Elsewhere
        }
    }

    /// Whether most of what happened lies in it.
    fn is_most(&self, parts: &[Self]) -> bool {
        let work = |part: &Self| part.at_work.1 - part.at_work.0;
        // Of several, the last.
        parts
            .iter()
            .rev()
            .max_by(|a, b| work(a).total_cmp(&work(b)))
            .is_some_and(|most| most == self)
    }
}

#[allow(clippy::cast_precision_loss)]
fn part(number: u64, (from, to): (f64, f64)) -> u64 {
    let upto = |at: f64| {
        if at >= 1.0 { number } else { (number as f64 * at).round() as u64 }
    };
    upto(to).saturating_sub(upto(from))
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

    /// The buckets over which a row is spread that belongs where it ends, but for its quiet time ([`Self::shares`]). Notes
    /// what it covers.
    pub fn whole(&mut self, since: i64, until: i64, length_us: i64, quiet_us: i64) -> Vec<Part> {
        self.cover(since, until, length_us, quiet_us);
        let end = self.bucket_of(until);
        let mut passed = 0.0;
        let part = |(bucket, share): (usize, f64)| {
            let all = (passed, passed + share);
            passed += share;
            let at_work = if Some(bucket) == end { (0.0, 1.0) } else { (0.0, 0.0) };
            Part { bucket, all, at_work }
        };
        self.shares(since, until, length_us, quiet_us).into_iter().map(part).collect()
    }

    /// The buckets that a row of averages lies in, each with its part: an average over a time belongs to all of that time,
    /// wherever it ends. Notes what it covers. What is outside of all buckets, or after `last`, is left
    /// out.
    #[allow(clippy::cast_precision_loss)]
    pub fn spread(
        &mut self,
        (since, until): (i64, i64),
        (length_us, quiet_us): (i64, i64),
        last: i64,
    ) -> Vec<Part> {
        let whole = until.saturating_sub(since);
        if whole <= 0 || length_us <= 0 {
            return Vec::new();
        }
        // At work only in the end; a row that is quiet as a whole changed at its very end.
        let quiet_end = since.saturating_add(quiet_us.clamp(0, length_us)).min(until - 1);
        let within = |from: i64, to: i64, at: i64| {
            (at.clamp(from, to) - from) as f64 / (to - from).max(1) as f64
        };
        let first = self.edges.partition_point(|edge| *edge <= since).saturating_sub(1);
        let mut parts = Vec::new();
        for bucket in first..self.covered.len() {
            let (from, to) = (self.edges[bucket], self.edges[bucket + 1].min(last));
            if from >= until.min(last) {
                break;
            }
            let part = Part {
                bucket,
                all: (within(since, until, from), within(since, until, to)),
                at_work: (within(quiet_end, until, from), within(quiet_end, until, to)),
            };
            if part.share() > 0.0 {
                self.covered[bucket] += (part.share() * length_us as f64).round() as i64;
                parts.push(part);
            }
        }
        parts
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
        // What was counted did happen, though a clock that was set hides when.
        self.sums.get(column)?[bucket].filter(|sum| self.covered[bucket] > 0 || *sum > 0)
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
    fn a_clock_that_was_set_forward_hides_nothing_that_was_counted() {
        let hour = 3600;
        let mut series = Series::new(vec![0, hour, 2 * hour], 2);
        // A second that seemed quiet, an hour longer by the clock.
        series.cover(100, 100 + 1 + hour, 1, 1);
        series.add(0, 101 + hour, Some(12));
        series.add(1, 101 + hour, Some(0));
        assert_eq!((series.sum(0, 0), series.sum(0, 1)), (Some(0), Some(12)));
        assert_eq!((series.covered_us(1), series.sum(1, 1)), (0, None), "no claim about the rest");
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
    fn averages_belong_to_the_time_that_they_are_of() {
        // A snapshot a moment after each full ten: no step is empty, and none has another's.
        let mut series = Series::new(edges(0, 40, 10), 0);
        let steps: Vec<(usize, f64)> = [(0, 11), (11, 21), (21, 31)]
            .into_iter()
            .flat_map(|(since, until)| series.spread((since, until), (until - since, 0), i64::MAX))
            .map(|part| (part.bucket, part.share()))
            .collect();
        let expected = [(0, 10.0 / 11.0), (1, 1.0 / 11.0), (1, 0.9), (2, 0.1), (2, 0.9), (3, 0.1)];
        assert_eq!(steps.len(), expected.len());
        for (step, expected) in steps.iter().zip(expected) {
            assert!(step.0 == expected.0 && (step.1 - expected.1).abs() < 1e-9, "{steps:?}");
        }
        let covered: Vec<i64> = (0..4).map(|bucket| series.covered_us(bucket)).collect();
        assert_eq!(covered, [10, 10, 10, 1]);
        // An interval of five steps is in all of them, and a count is shared out to the last one.
        let mut series = Series::new(edges(0, 50, 10), 0);
        let parts = series.spread((0, 50), (50, 0), i64::MAX);
        let shared: Vec<u64> = parts.iter().map(|part| part.of(7, 1)).collect();
        assert_eq!((shared.len(), shared.iter().sum::<u64>()), (5, 7));
        assert!(parts.iter().all(|part| part.of(7, 1000) == 1400));
        // Of none of five it is known that it has the peak; of two thirds it is.
        assert!(parts.iter().all(|part| part.peak(&parts) == Peak::Elsewhere));
        let parts = series.spread((5, 20), (15, 0), i64::MAX);
        let peaks: Vec<Peak> = parts.iter().map(|part| part.peak(&parts)).collect();
        assert_eq!(peaks, [Peak::Elsewhere, Peak::Here]);
    }

    #[test]
    fn what_happened_after_quiet_time_is_not_spread_over_it() {
        let mut series = Series::new(edges(0, 40, 10), 0);
        let parts = series.spread((0, 40), (40, 28), i64::MAX);
        let came: Vec<u64> = parts.iter().map(|part| part.of_work(12, 1)).collect();
        assert_eq!(came, [0, 0, 2, 10]);
        let peaks: Vec<Peak> = parts.iter().map(|part| part.peak(&parts)).collect();
        assert_eq!(peaks, [Peak::Quiet, Peak::Quiet, Peak::Elsewhere, Peak::Here]);
        let there: Vec<u64> = parts.iter().map(|part| part.of(40, 1)).collect();
        assert_eq!(there, [10, 10, 10, 10]);
        // Quiet to its end: whatever changed did so there.
        let parts = series.spread((0, 40), (40, 40), i64::MAX);
        let came: Vec<u64> = parts.iter().map(|part| part.of_work(3, 1)).collect();
        assert_eq!(came, [0, 0, 0, 3]);
        // Where rows stay whole, all that happened is where they end.
        let parts = Series::new(edges(0, 40, 10), 0).whole(0, 35, 35, 28);
        let came: Vec<u64> = parts.iter().map(|part| part.of_work(12, 1)).collect();
        assert_eq!(came, [0, 0, 0, 12]);
        assert_eq!(parts[3].peak(&parts), Peak::Here);
        // Only what lies in the steps; a row without a length is none.
        let mut series = Series::new(edges(20, 40, 10), 0);
        let within: Vec<u64> =
            series.spread((0, 100), (50, 0), i64::MAX).iter().map(|part| part.of(100, 1)).collect();
        assert_eq!((within, series.covered_us(0), series.covered_us(1)), (vec![10, 10], 5, 5));
        assert_eq!(series.spread((30, 30), (0, 0), i64::MAX), []);
        // The end of the window may lie in the last step.
        let mut series = Series::new(edges(0, 40, 40), 0);
        let within = series.spread((20, 40), (20, 0), 25);
        assert_eq!((within[0].of(100, 1), series.covered_us(0)), (25, 5));
        assert_eq!(series.spread((30, 40), (10, 0), 25), []);
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
