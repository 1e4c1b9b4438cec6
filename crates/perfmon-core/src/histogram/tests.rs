//! Buckets and percentiles against exact values of recorded samples; packing against the histograms packed.

use proptest::prelude::*;

use super::*;
use crate::pack as column;

/// SplitMix64: the samples are the same on every machine.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Above 0, up to 1.
    fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Nanoseconds about a median; `spread` is the standard deviation of the logarithm.
    fn lognormal(&mut self, median: f64, spread: f64) -> u64 {
        (median * (spread * self.normal()).exp()) as u64
    }

    /// The heavy tail: half of all are longer than `least`, one in 10^4 about 10^4 / shape times.
    fn pareto(&mut self, least: f64, shape: f64) -> u64 {
        (least / self.unit().powf(1.0 / shape)).min(1e16) as u64
    }
}

/// A histogram as the hooks fill it; the longest time is known.
fn recorded(cached: &[u64], read: &[u64]) -> Latency {
    let half = |times: &[u64]| {
        let mut counts = [0u64; BUCKETS];
        times.iter().for_each(|ns| counts[bucket(*ns)] += 1);
        Sparse::new((0..).zip(counts))
    };
    let longest = cached.iter().chain(read).max();
    Latency {
        cached: half(cached),
        read: half(read),
        peak: longest.map(|ns| place(bucket(*ns), *ns)),
    }
}

fn sum_of(parts: &[Latency]) -> Sum {
    let mut sum = Sum::default();
    parts.iter().for_each(|part| sum.add(part));
    sum
}

/// Every percentile is that of the same rank among the samples, within the stated error.
fn check_percentiles(times: &mut [u64], sum: &Sum) {
    times.sort_unstable();
    assert_eq!(sum.executions(), times.len() as u64);
    for q in [0.0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0] {
        let rank = ((q * times.len() as f64).ceil() as usize).clamp(1, times.len());
        let exact = times[rank - 1] as f64;
        let found = sum.quantile(q).unwrap();
        let inside = found.low <= exact && found.high.is_none_or(|high| exact <= high);
        assert!(inside, "q {q}: {exact} is not in {found:?}");
        if (1e3..3.6e12).contains(&exact) {
            let error = (found.ns - exact).abs() / exact;
            assert!(error < ERROR, "q {q}: {} for {exact} is {error} off", found.ns);
        } else if exact < 1e3 {
            assert!(found.ns <= 1e3);
        } else {
            assert!(found.ns >= 3.6e12);
        }
    }
    let (longest, found) = (times[times.len() - 1] as f64, sum.max().unwrap());
    assert!(found.low <= longest * (1.0 + 1e-12), "{found:?} for {longest}");
    assert!(
        found.high.is_none_or(|high| longest <= high * (1.0 + 1e-12)),
        "{found:?} for {longest}"
    );
    if sum.peak().is_some() && (1e3..3.6e12).contains(&longest) {
        assert!((found.ns - longest).abs() / longest < 0.001, "{found:?} for {longest}");
    }
}

#[test]
fn buckets_reach_from_a_microsecond_to_an_hour() {
    assert_eq!((bucket(0), bucket(999), bucket(1000)), (UNDER, UNDER, 1));
    assert_eq!((bucket(LAST_NS - 1), bucket(LAST_NS)), (223, OVER));
    assert_eq!(bucket(u64::MAX), OVER);
    assert_eq!(bounds(UNDER), (0, Some(1000)));
    assert_eq!(bounds(OVER), (LAST_NS, None));
}

#[test]
fn every_bucket_is_narrow_enough_and_nothing_lies_between() {
    let mut worst = 0f64;
    for b in 1..OVER {
        let (low, high) = bounds(b);
        let high = high.unwrap();
        assert!(low < high, "bucket {b} is empty");
        assert_eq!((bucket(low), bucket(high - 1), bucket(high)), (b, b, b + 1));
        let shown = middle(b);
        worst = worst.max(shown / low as f64 - 1.0).max(1.0 - shown / (high - 1) as f64);
    }
    assert!(worst < ERROR, "worst relative error {worst}");
    assert!(worst > 0.0499, "the documented bound is about 5 %, not {worst}");
}

#[test]
fn percentiles_of_known_samples() {
    let mut random = Random(5);
    let bimodal: Vec<u64> = (0..20_000)
        .map(|i| if i % 10 == 0 { random.lognormal(8e6, 0.4) } else { random.lognormal(4e4, 0.2) })
        .collect();
    let heavy: Vec<u64> = (0..20_000).map(|_| random.pareto(2e5, 0.9)).collect();
    let tiny: Vec<u64> = (0..5_000).map(|i| i % 1000).collect();
    let mixed: Vec<u64> =
        (0..5_000).map(|i| if i % 2 == 0 { 700 } else { 3_600_000_000_001 + i }).collect();
    for mut times in [bimodal, heavy, tiny, mixed, vec![137_000; 900], vec![1_000], vec![0]] {
        let sum = sum_of(&[recorded(&times, &[])]);
        check_percentiles(&mut times, &sum);
    }
    assert_eq!(Sum::default().quantile(0.5), None);
    assert_eq!(Sum::default().max(), None);
}

#[test]
fn a_constant_is_shown_as_it_is() {
    let sum = sum_of(&[recorded(&[100_000; 50], &[])]);
    for q in [0.5, 0.99] {
        let found = sum.quantile(q).unwrap().ns;
        assert!((found - 1e5).abs() / 1e5 < ERROR && found <= 1.001e5, "{found}");
    }
    let total = sum.total_ns() / 50.0;
    assert!((total - 1e5).abs() / 1e5 < ERROR);
}

#[test]
fn how_many_were_within_a_limit() {
    let sum = sum_of(&[recorded(&[500, 50_000, 70_000, 4_000_000], &[9_000_000])]);
    assert_eq!(sum.within(0), (0, 1));
    assert_eq!(sum.within(1_000_000), (3, 3));
    let (start, end) = bounds(bucket(9_000_000));
    assert_eq!(sum.within(start), (4, 5), "the limit lies in the bucket of the longest");
    assert_eq!(sum.within(end.unwrap() - 1), (5, 5));
    assert_eq!(sum.within(bounds(bucket(50_000)).1.unwrap() - 1), (2, 2));
    assert_eq!(sum.within(u64::MAX), (5, 5));
}

#[test]
fn a_longest_time_that_may_be_hidden_is_not_claimed() {
    let known = recorded(&[100_000], &[]);
    let unknown = Latency { peak: None, ..recorded(&[101_000], &[]) };
    assert_eq!(sum_of(&[known.clone(), unknown.clone()]).peak(), None);
    let longer = recorded(&[900_000], &[]);
    assert_eq!(sum_of(&[unknown, longer.clone()]).peak(), longer.peak);
    assert_eq!(sum_of(&[longer.clone(), known]).peak(), longer.peak);
}

/// The workload of a server with many statements: few of them make most executions, as usual; times
/// spread as executor times do; a part reads from disk.
fn minute_of(statements: usize, executions: f64, random: &mut Random) -> Vec<Latency> {
    let harmonic: f64 = (1..=statements).map(|rank| 1.0 / rank as f64).sum();
    (1..=statements)
        .map(|rank| {
            let n = (executions / harmonic / rank as f64).max(1.0) as usize;
            let median = 1e4 * (random.unit() * 8.0).exp();
            let spread = 0.15 + random.unit() * 0.7;
            let cold = if random.unit() < 0.4 { random.unit() * 0.2 } else { 0.0 };
            let (mut cached, mut read) = (Vec::new(), Vec::new());
            for _ in 0..n {
                if random.unit() < cold {
                    read.push(random.lognormal(median * 8.0, 0.5));
                } else {
                    cached.push(random.lognormal(median, spread));
                }
            }
            let mut latency = recorded(&cached, &read);
            // The longest time is known where it is the longest so far: once in a while.
            if random.unit() < 0.8 {
                latency.peak = None;
            }
            latency
        })
        .collect()
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are meant to be read")]
fn a_statement_takes_less_than_16_bytes_an_interval() {
    let mut random = Random(7);
    // The more executions, the more buckets each statement fills: the last two, 300 and 5,000 a statement
    // and minute, are printed to be known.
    for (statements, executions, limit) in [
        (200, 3e4, 16.0),
        (1000, 2e5, 16.0),
        (5000, 5e5, 16.0),
        (2000, 6e5, 20.0),
        (200, 1e6, 40.0),
    ] {
        let minute = minute_of(statements, executions, &mut random);
        let packed = pack::pack(&minute);
        let bytes = column::pack(&packed.lengths).len() + packed.bytes.len();
        let each = bytes as f64 / statements as f64;
        println!("{statements} statements, {executions} executions: {each:.1} bytes each");
        assert!(each < limit, "{each} bytes a statement");
        assert_eq!(pack::unpack(minute.len(), &packed.lengths, &packed.bytes).unwrap(), minute);
    }
}

#[test]
fn quiet_statements_take_next_to_nothing() {
    let packed = pack::pack(&vec![Latency::default(); 1000]);
    assert!(packed.bytes.len() < 400, "{}", packed.bytes.len());
    assert!(column::pack(&packed.lengths).len() < 80);
    let one = pack::pack(&[recorded(&[80_000], &[])]);
    assert!(one.bytes.len() <= 5, "{}", one.bytes.len());
}

#[test]
fn damage_is_told() {
    let packed = pack::pack(&[recorded(&[80_000, 90_000, 900_000], &[7])]);
    let told = |n: usize, lengths: &[u64], bytes: &[u8]| {
        pack::unpack(n, lengths, bytes).unwrap_err().to_string()
    };
    assert!(told(0, &[], &[]).contains("too early"));
    assert!(told(1, &[1], &[9, 0]).contains("codec 9"));
    assert!(told(1, &[u64::MAX], &packed.bytes).contains("too early"));
    assert!(told(0, &[], &packed.bytes).contains("longer"));
    assert!(told(17, &packed.lengths, &packed.bytes).contains("lengths"));
    assert!(told(2, &packed.lengths, &packed.bytes).contains("too early"));
    let cut = packed.bytes.len() - 1;
    assert!(pack::unpack(1, &[packed.lengths[0] - 1], &packed.bytes[..cut]).is_err());
    let mut longer = packed.bytes.clone();
    longer.push(0);
    assert!(told(1, &[packed.lengths[0] + 1], &longer).contains("something else"));
    // Bucket 225; bucket 224 and one more; a number of more than 64 bits; no end.
    let wrong: [(&[u8], &str); 4] = [
        (&[0b0000_1001, 0b0000_1111, 0], "does not exist"),
        (&[0b0000_0001, 0b0000_1111, 0xff], "does not exist"),
        (&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "64 bits"),
        (&[1, 0b1111_1000, 0xff, 0xff], "too early"),
    ];
    for (bytes, why) in wrong {
        for codec in [pack::CODEC, pack::GROUPED] {
            let said = pack::unpack_one(codec, bytes).unwrap_err().to_string();
            assert!(said.contains(why), "{bytes:?}: {said}");
        }
    }
}

/// As releases up to 0.5.0 wrote it.
#[test]
fn statements_apart_are_still_read() {
    let statements = [
        recorded(&[80_000, 90_000, 900_000], &[7]),
        Latency::default(),
        Latency { peak: None, ..recorded(&[137_000; 900], &[]) },
    ];
    let bytes = [1, 79, 109, 233, 208, 6, 48, 145, 1, 0, 1, 7, 0];
    let lengths = [6, 0, 6];
    assert_eq!(pack::pack_apart(&statements).bytes, bytes);
    assert_eq!(pack::unpack(3, &lengths, &bytes).unwrap(), statements);
    for (i, statement) in statements.iter().enumerate() {
        assert_eq!(&one_of(&lengths, &bytes, i).unwrap(), statement);
    }
}

fn one_of(lengths: &[u64], bytes: &[u8], index: usize) -> Result<Latency, column::Corrupt> {
    Ok(some_of(lengths, bytes, &[index])?.remove(0))
}

/// Some statements, which ascend, read into room that holds something else.
fn some_of(
    lengths: &[u64],
    bytes: &[u8],
    wanted: &[usize],
) -> Result<Vec<Latency>, column::Corrupt> {
    let mut room = vec![recorded(&[5_000, 70_000], &[9]); wanted.len()];
    for piece in pack::find(bytes[0], lengths, wanted.iter().copied())? {
        let places = wanted[piece.wanted.clone()].iter().map(|place| place - piece.first);
        let into = places.zip(&mut room[piece.wanted.clone()]);
        pack::unpack_some(bytes[0], &bytes[piece.range], into)?;
    }
    Ok(room)
}

fn half() -> impl Strategy<Value = Sparse> {
    let count =
        (0..=64u32, any::<u64>()).prop_map(|(bits, v)| v.checked_shr(64 - bits).unwrap_or(0));
    prop::collection::btree_map(0u8..BUCKETS as u8, count, 0..60).prop_map(Sparse::new)
}

fn latency() -> impl Strategy<Value = Latency> {
    (half(), half(), any::<Option<u8>>()).prop_map(|(cached, read, peak)| {
        let nothing = cached.is_empty() && read.is_empty();
        Latency { cached, read, peak: if nothing { None } else { peak } }
    })
}

proptest! {
    #[test]
    fn what_was_packed_comes_back(statements in prop::collection::vec(latency(), 0..36), chosen: u64) {
        for packed in [pack::pack(&statements), pack::pack_apart(&statements)] {
            let (n, lengths, bytes) = (statements.len(), &packed.lengths, &packed.bytes);
            prop_assert_eq!(pack::pieces(bytes[0], n).unwrap(), lengths.len());
            prop_assert_eq!(&pack::unpack(n, lengths, bytes).unwrap(), &statements);
            for (i, statement) in statements.iter().enumerate() {
                prop_assert_eq!(&one_of(lengths, bytes, i).unwrap(), statement);
            }
            let some: Vec<usize> = (0..n).filter(|i| chosen >> i & 1 == 1).collect();
            let expected: Vec<Latency> = some.iter().map(|i| statements[*i].clone()).collect();
            prop_assert_eq!(some_of(lengths, bytes, &some).unwrap(), expected);
            let behind = lengths.len() * pack::GROUP;
            prop_assert!(pack::find(bytes[0], lengths, [behind]).is_err());
        }
    }

    #[test]
    fn a_total_is_the_same_as_adding_one_to_the_other(all in prop::collection::vec(latency(), 0..20)) {
        let (mut total, mut added) = (Total::default(), Latency::default());
        for latency in &all {
            total.add(latency);
            added.add(latency);
        }
        prop_assert_eq!(total.latency(), added);
    }

    #[test]
    fn sums_are_exact_however_intervals_are_cut(
        times in prop::collection::vec((0u64..4_000_000_000_000, any::<bool>()), 1..200),
        cuts in prop::collection::vec(0usize..200, 0..5)
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|c| *c < times.len()).chain([0, times.len()]).collect();
        cuts.sort_unstable();
        let part = |from: usize, to: usize| {
            let of = |which: bool| -> Vec<u64> {
                times[from..to].iter().filter(|t| t.1 == which).map(|t| t.0).collect()
            };
            recorded(&of(false), &of(true))
        };
        let parts: Vec<Latency> = cuts.windows(2).map(|w| part(w[0], w[1])).collect();
        let packed = pack::pack(&parts);
        let back = sum_of(&pack::unpack(parts.len(), &packed.lengths, &packed.bytes).unwrap());
        let whole = sum_of(&[part(0, times.len())]);
        prop_assert_eq!(back.counts(), whole.counts());
        prop_assert_eq!(back.peak(), whole.peak());
        let mut merged = Sum::default();
        parts.iter().for_each(|p| merged.merge(&sum_of(std::slice::from_ref(p))));
        prop_assert_eq!(&merged, &back);
        let mut all: Vec<u64> = times.iter().map(|t| t.0).collect();
        check_percentiles(&mut all, &back);
    }

    #[test]
    fn halves_add_up_to_the_whole(latency in latency()) {
        let (mut whole, mut halves) = (Sum::default(), Sum::default());
        whole.add(&latency);
        halves.add_half(&latency.cached);
        halves.add_half(&latency.read);
        prop_assert_eq!(whole.counts(), halves.counts());
        prop_assert_eq!(whole.sparse(), halves.sparse());
    }

    #[test]
    fn adding_is_the_same_sparse_or_dense(parts in prop::collection::vec(latency(), 0..6)) {
        let mut sparse = Latency::default();
        parts.iter().for_each(|part| sparse.add(part));
        let (dense, once) = (sum_of(&parts), sum_of(std::slice::from_ref(&sparse)));
        prop_assert_eq!(dense, once);
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80), cut in 0u64..80) {
        if let Ok(latency) = pack::unpack_one(pack::GROUPED, &bytes) {
            prop_assert!(latency.cached.pairs().windows(2).all(|w| w[0].0 < w[1].0));
            prop_assert!(latency.cached.pairs().iter().all(|p| usize::from(p.0) < BUCKETS && p.1 > 0));
            // Bytes that were read are bytes that would be written.
            if !latency.is_empty() {
                prop_assert_eq!(&pack::pack(&[latency]).bytes[1..], &bytes[..]);
            }
        }
        for codec in [pack::CODEC, pack::GROUPED] {
            let bytes: Vec<u8> = [codec].into_iter().chain(bytes.iter().copied()).collect();
            for n in [1, 2, 17, 32] {
                let _ = pack::unpack(n, &[cut, 80 - cut], &bytes);
            }
            let mut room = [Latency::default(), Latency::default()];
            let wanted = [cut as usize % 4, cut as usize % pack::GROUP];
            let _ = pack::unpack_some(codec, &bytes[1..], wanted.into_iter().zip(&mut room));
        }
    }

    #[test]
    fn a_cut_or_changed_statement_never_panics(latency in latency(), at in 0usize..4000, with in 1u8..) {
        let packed = pack::pack(&[latency]);
        let own = &packed.bytes[1..];
        let cut = at % own.len();
        prop_assert!(pack::unpack_one(pack::GROUPED, &own[..cut]).is_err());
        let mut changed = own.to_vec();
        changed[cut] ^= with;
        let _ = pack::unpack_one(pack::GROUPED, &changed);
    }
}
