//! Histograms of execution times: which bucket a time falls into, sums of buckets, and percentiles of
//! sums with the error that a bucket allows.
//!
//! The buckets are fixed for good, since histories are kept in them: a bucket of their own for times below
//! a microsecond, 223 from there to an hour, and one for an hour and more. A time is shown as the harmonic mean of
//! its bucket's ends, from which it is less than 5 % off (a test checks every bucket).
//! Percentiles of several intervals, users or statements come from summed buckets only.

pub mod pack;
#[cfg(test)]
mod tests;

/// Number of buckets, those below a microsecond and from an hour on included.
pub const BUCKETS: usize = 225;
/// The bucket of times below a microsecond.
pub const UNDER: usize = 0;
/// The bucket of times of an hour and more.
pub const OVER: usize = BUCKETS - 1;
/// Largest relative difference between a time from a microsecond to an hour and what it is shown as.
pub const ERROR: f64 = 0.05;

/// Start of the first ordinary bucket and end of the last, nanoseconds.
const FIRST_NS: u64 = 1_000;
const LAST_NS: u64 = 3_600_000_000_000;

/// Coefficients of log2(1 + f) ≈ f (10/7 − f (3/5 − f 6/35)), exact at both ends of an octave; 31 bits
/// after the point.
const C1: u64 = (10 << 31) / 7;
const C2: u64 = (3 << 31) / 5;
const C3: u64 = (6 << 31) / 35;
/// The logarithm at which the first bucket begins (9.963), 31 bits after the point.
const OFFSET: u64 = 21_395_379_585;
/// Buckets in an octave (6.995), 20 bits after the point.
const SCALE: u64 = 7_334_789;

/// The bucket of a time in nanoseconds. It runs at the end of every execution: integers only, no table.
#[inline]
pub const fn bucket(ns: u64) -> usize {
    if ns < FIRST_NS {
        return UNDER;
    }
    if ns >= LAST_NS {
        return OVER;
    }
    let zeros = ns.leading_zeros();
    // What follows the leading bit.
    let f = (ns << zeros << 1) >> 33;
    let curve = f * (C1 - ((f * (C2 - ((f * C3) >> 31))) >> 31));
    let log = ((63 - zeros as u64) << 31) + (curve >> 31);
    1 + (((log - OFFSET) * SCALE) >> 51) as usize
}

/// `EDGES[b]` is the least time in bucket `b`, nanoseconds.
const EDGES: [u64; BUCKETS] = {
    let mut edges = [0; BUCKETS];
    let mut b = 1;
    while b < BUCKETS {
        let (mut below, mut within) = (edges[b - 1], LAST_NS);
        while below + 1 < within {
            let middle = below + (within - below) / 2;
            if bucket(middle) >= b { within = middle } else { below = middle }
        }
        edges[b] = within;
        b += 1;
    }
    edges
};

/// From when (included) to when (excluded) a bucket reaches, nanoseconds; the last has no end.
pub fn bounds(bucket: usize) -> (u64, Option<u64>) {
    let bucket = bucket.min(OVER);
    (EDGES[bucket], EDGES.get(bucket + 1).copied())
}

/// What a bucket's times are shown as, nanoseconds: the value whose largest relative error is smallest. Times
/// below a microsecond are shown as half of one, times from an hour on as an hour.
pub fn middle(bucket: usize) -> f64 {
    MIDDLES[bucket.min(OVER)]
}

/// By bucket; sums over all statements look at many.
static MIDDLES: [f64; BUCKETS] = {
    let mut middles = [0.0; BUCKETS];
    middles[UNDER] = EDGES[UNDER + 1] as f64 / 2.0;
    middles[OVER] = EDGES[OVER] as f64;
    let mut b = UNDER + 1;
    while b < OVER {
        let (low, last) = (EDGES[b] as f64, (EDGES[b + 1] - 1) as f64);
        middles[b] = 2.0 * low * last / (low + last);
        b += 1;
    }
    middles
};

/// The buckets that something fell into, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sparse(Vec<(u8, u64)>);

impl Sparse {
    /// From pairs of bucket and count in ascending order of buckets; empty buckets are left out.
    pub fn new(pairs: impl IntoIterator<Item = (u8, u64)>) -> Self {
        let pairs: Vec<(u8, u64)> = pairs.into_iter().filter(|(_, count)| *count > 0).collect();
        debug_assert!(pairs.windows(2).all(|w| w[0].0 < w[1].0), "buckets must ascend");
        Self(pairs)
    }

    /// The same of pairs none of which is empty.
    pub fn of(pairs: &[(u8, u64)]) -> Self {
        debug_assert!(pairs.windows(2).all(|w| w[0].0 < w[1].0), "buckets must ascend");
        debug_assert!(pairs.iter().all(|pair| pair.1 > 0), "empty buckets are left out");
        Self(pairs.to_vec())
    }

    /// Bucket and count, ascending.
    pub fn pairs(&self) -> &[(u8, u64)] {
        &self.0
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many times were counted.
    pub fn executions(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Self) {
        if self.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        // Both ascend, and mostly in the same buckets.
        let mut at = 0;
        for &(bucket, count) in &other.0 {
            while self.0.get(at).is_some_and(|pair| pair.0 < bucket) {
                at += 1;
            }
            match self.0.get_mut(at) {
                Some(pair) if pair.0 == bucket => pair.1 = pair.1.saturating_add(count),
                _ => self.0.insert(at, (bucket, count)),
            }
        }
    }

    /// The bucket of the longest time.
    pub fn top(&self) -> Option<usize> {
        self.0.last().map(|(bucket, _)| usize::from(*bucket))
    }
}

/// The execution times of one statement (or of whatever was summed) in one interval.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    /// Executions that found every block in the server's cache.
    pub cached: Sparse,
    /// Executions that had to read blocks.
    pub read: Sparse,
    /// Where in its bucket the longest time lies, in 256ths, where that is known.
    pub peak: Option<u8>,
}

impl Latency {
    /// Whether nothing was executed.
    pub fn is_empty(&self) -> bool {
        self.cached.is_empty() && self.read.is_empty()
    }

    /// How many executions there were.
    pub fn executions(&self) -> u64 {
        self.cached.executions().saturating_add(self.read.executions())
    }

    /// About how much time all executions took, nanoseconds; it is as good as the buckets are.
    pub fn total_ns(&self) -> f64 {
        let pairs = self.cached.pairs().iter().chain(self.read.pairs());
        pairs.map(|(bucket, count)| middle(usize::from(*bucket)) * *count as f64).sum()
    }

    /// The bucket of the longest time, and where in it that lies, if known.
    fn top(&self) -> Option<(usize, Option<u8>)> {
        let top = self.cached.top().max(self.read.top());
        top.map(|bucket| (bucket, self.peak))
    }

    /// Adds another interval, or another statement.
    pub fn add(&mut self, other: &Self) {
        self.peak = longer(self.top(), other.top()).and_then(|(_, place)| place);
        self.cached.add(&other.cached);
        self.read.add(&other.read);
    }
}

/// The longer of two longest times. Of two in the same bucket, one may be unknown: it may be the longer.
fn longer(
    a: Option<(usize, Option<u8>)>,
    b: Option<(usize, Option<u8>)>,
) -> Option<(usize, Option<u8>)> {
    let (Some(x), Some(y)) = (a, b) else { return a.or(b) };
    Some(match x.0.cmp(&y.0) {
        std::cmp::Ordering::Greater => x,
        std::cmp::Ordering::Less => y,
        std::cmp::Ordering::Equal => (x.0, x.1.zip(y.1).map(|(x, y)| x.max(y))),
    })
}

/// Where in bucket `b` a time lies, in 256ths of the bucket, so that the longest time is known better than
/// by its bucket: less than 0.1 % off between a microsecond and an hour. Times from an hour on have 16 to an
/// octave.
pub fn place(b: usize, ns: u64) -> u8 {
    let part = match bounds(b) {
        (low, None) => (ns as f64 / low as f64).log2() / 16.0,
        (0, Some(high)) => ns as f64 / high as f64,
        (low, Some(high)) => (ns as f64 / low as f64).ln() / (high as f64 / low as f64).ln(),
    };
    (part.max(0.0) * 256.0).min(255.0) as u8
}

/// The time at a share of a bucket, nanoseconds: the inverse of `place`.
fn at(b: usize, part: f64) -> f64 {
    match bounds(b) {
        (low, None) => low as f64 * (part * 16.0).exp2(),
        (0, Some(high)) => part * high as f64,
        (low, Some(high)) => low as f64 * (high as f64 / low as f64).powf(part),
    }
}

/// Sums of both halves of many intervals or statements, for when there are thousands.
#[derive(Debug, Clone)]
pub struct Total {
    cached: [u64; BUCKETS],
    read: [u64; BUCKETS],
    top: Option<(usize, Option<u8>)>,
}

impl Default for Total {
    fn default() -> Self {
        Self { cached: [0; BUCKETS], read: [0; BUCKETS], top: None }
    }
}

impl Total {
    /// Adds an interval, or a statement.
    pub fn add(&mut self, latency: &Latency) {
        self.top = longer(self.top, latency.top());
        for (sums, half) in [(&mut self.cached, &latency.cached), (&mut self.read, &latency.read)] {
            for (bucket, count) in half.pairs() {
                let slot = &mut sums[usize::from(*bucket).min(OVER)];
                *slot = slot.saturating_add(*count);
            }
        }
    }

    /// All of it: the same as adding one to the other.
    pub fn latency(&self) -> Latency {
        let half = |sums: &[u64; BUCKETS]| Sparse::new((0..).zip(sums.iter().copied()));
        let peak = self.top.and_then(|(_, place)| place);
        Latency { cached: half(&self.cached), read: half(&self.read), peak }
    }
}

/// A time with the bounds between which it surely lies, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The best guess.
    pub ns: f64,
    /// It is not shorter than this.
    pub low: f64,
    /// It is shorter than this, or not longer; unknown from an hour on.
    pub high: Option<f64>,
}

/// The 256th of a bucket in which the longest time lies.
fn cell(bucket: usize, place: u8) -> Estimate {
    let start = f64::from(place);
    Estimate {
        ns: at(bucket, (start + 0.5) / 256.0),
        low: at(bucket, start / 256.0),
        high: Some(at(bucket, (start + 1.0) / 256.0)),
    }
}

/// Sums of buckets, from which percentiles are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    counts: [u64; BUCKETS],
    peak: Option<(usize, Option<u8>)>,
}

impl Default for Sum {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], peak: None }
    }
}

impl Sum {
    /// Adds a whole interval.
    pub fn add(&mut self, latency: &Latency) {
        self.add_sparse(&latency.cached);
        self.add_sparse(&latency.read);
        self.peak = longer(self.peak, latency.top());
    }

    /// Adds one half of an interval: only executions that read blocks, say. Of a half the longest time
    /// is known by its bucket only.
    pub fn add_half(&mut self, half: &Sparse) {
        self.add_sparse(half);
        self.peak = longer(self.peak, half.top().map(|bucket| (bucket, None)));
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
        self.peak = longer(self.peak, other.peak);
    }

    fn add_sparse(&mut self, sparse: &Sparse) {
        for (bucket, count) in sparse.pairs() {
            let slot = &mut self.counts[usize::from(*bucket).min(OVER)];
            *slot = slot.saturating_add(*count);
        }
    }

    /// How often each bucket was hit.
    pub fn counts(&self) -> &[u64; BUCKETS] {
        &self.counts
    }

    /// How many executions are in the sum: percentiles are shown with it.
    pub fn executions(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The sum without the difference between cached and read executions, as one interval.
    pub fn sparse(&self) -> Sparse {
        Sparse::new((0..).zip(self.counts))
    }

    /// Where the longest time lies in its bucket, if that is known.
    pub fn peak(&self) -> Option<u8> {
        self.peak.and_then(|(_, place)| place)
    }

    /// The time within which the share `q` (0 to 1) of all executions ended: that of the execution of rank
    /// ceil(q n). `None` without executions.
    pub fn quantile(&self, q: f64) -> Option<Estimate> {
        let executions = self.executions();
        if executions == 0 {
            return None;
        }
        self.at_rank((q.clamp(0.0, 1.0) * executions as f64).ceil() as u64)
    }

    /// The time of the execution that has so many before it, itself among them, in order of time.
    pub fn at_rank(&self, rank: u64) -> Option<Estimate> {
        let rank = rank.max(1);
        let mut seen = 0u64;
        let bucket = self.counts.iter().position(|count| {
            seen = seen.saturating_add(*count);
            seen >= rank
        })?;
        Some(self.estimate(bucket))
    }

    /// The longest time.
    pub fn max(&self) -> Option<Estimate> {
        let (bucket, place) = self.peak?;
        Some(place.map_or_else(|| self.estimate(bucket), |place| cell(bucket, place)))
    }

    /// About how much time all executions took, nanoseconds; it is as good as the buckets are.
    pub fn total_ns(&self) -> f64 {
        self.counts.iter().enumerate().map(|(b, count)| middle(b) * *count as f64).sum()
    }

    /// Standard deviation of the times, nanoseconds, as good as the buckets are; `None` without executions.
    pub fn deviation_ns(&self) -> Option<f64> {
        let executions = self.executions() as f64;
        if executions == 0.0 {
            return None;
        }
        let mean = self.total_ns() / executions;
        let spread = self.counts.iter().enumerate().map(|(b, count)| {
            let off = middle(b) - mean;
            off * off * *count as f64
        });
        Some((spread.sum::<f64>() / executions).sqrt())
    }

    /// How many executions took at most this long: between these two numbers.
    pub fn within(&self, ns: u64) -> (u64, u64) {
        let limit = bucket(ns);
        let below: u64 = self.counts[..limit].iter().sum();
        // All of a bucket is within its own end.
        let whole = bounds(limit).1.is_some_and(|end| end - 1 <= ns);
        let all = below.saturating_add(self.counts[limit]);
        (if whole { all } else { below }, all)
    }

    fn estimate(&self, bucket: usize) -> Estimate {
        let (low, high) = bounds(bucket);
        let mut found =
            Estimate { ns: middle(bucket), low: low as f64, high: high.map(|high| high as f64) };
        // Nothing is longer than the longest.
        if let Some((top, Some(place))) = self.peak
            && top == bucket
        {
            let longest = cell(bucket, place);
            found.ns = found.ns.min(longest.ns);
            found.high = longest.high;
        }
        found
    }
}
