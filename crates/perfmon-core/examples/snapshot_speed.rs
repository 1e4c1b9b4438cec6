//! Prints what the pure part of one snapshot of 5,000 active statements costs, and of one rolled-up hour.
//!
//! `cargo run --release -p perfmon-core --example snapshot_speed`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use perfmon_core::delta::{self, Prior};
use perfmon_core::family::STATEMENT;
use perfmon_core::frame::{Epoch, Frame, Key, Quality, Reading, Span};
use perfmon_core::{pack, rollup};
use std::hint::black_box;
use std::time::Instant;

const STATEMENTS: usize = 5000;
/// Counters that move in a mixed workload; the other columns are measured and zero.
const MOVING: [usize; 12] = [1, 2, 3, 4, 7, 8, 9, 10, 17, 23, 24, 25];

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Cumulative counters after so many minutes, in an order of their own.
fn reading(minute: u64) -> Reading {
    let value = |i: usize, c: usize| {
        let seed = (i * 64 + c) as u64 + 1;
        let rate = 400_000 / (i as u64 + 20) * (c as u64 * 3 + 1);
        minute * (rate / 2 + mix(seed) % (rate + 1)) + mix(seed + minute) % 3
    };
    let mut columns = vec![vec![0; STATEMENTS]; STATEMENT.columns.len()];
    columns[0].clear();
    for c in MOVING {
        columns[c] = (0..STATEMENTS).map(|i| value(i, c)).collect();
    }
    Reading {
        family: &STATEMENT,
        epoch: Epoch { identity: "1/1/0/1.10".into(), began: Some(0) },
        at: minute as i64 * 60_000_000,
        keys: (0..STATEMENTS as u64).map(|i| Key(mix(i + 1), 21)).collect(),
        labels: (0..STATEMENTS as u64).map(|i| mix(i + 7)).collect(),
        columns,
        born: None,
        hides: false,
        floors: vec![vec![3; STATEMENTS]],
        ceilings: vec![(0..STATEMENTS as u64).map(|i| 1 << 40 | mix(i) >> 40).collect()],
        marks: vec![],
        wholes: vec![],
        parts: None,
        executed: vec![],
        evictions: Some(4),
        whole: false,
    }
}

fn ms(name: &str, rounds: u32, mut work: impl FnMut()) {
    let best = (0..5)
        .map(|_| {
            let start = Instant::now();
            (0..rounds).for_each(|_| work());
            start.elapsed().as_secs_f64() * 1000.0 / f64::from(rounds)
        })
        .fold(f64::MAX, f64::min);
    println!("{name:<40} {best:>8.3} ms");
}

fn packed(frame: &Frame) -> usize {
    pack::pack_ids(&frame.ids).len()
        + frame.columns.iter().flatten().map(|c| pack::pack(c).len()).sum::<usize>()
}

fn main() {
    let first = reading(1);
    let asked = delta::difference(None, None, &first);
    assert!(asked.baseline);
    let ids: Vec<(usize, u32)> = (0..STATEMENTS).map(|i| (i, i as u32 + 1)).collect();
    let prior = delta::advance(first, None, &ids);
    let stored = prior.encode();
    let unordered = reading(2);
    let mut now = unordered.clone();
    now.put_in_order();
    // One of them in an order of its own, as the hooks count.
    now.executed = (0..STATEMENTS).map(|i| (unordered.keys[i], 1 + i as u64 % 7)).collect();
    let made = delta::difference(Some(&prior), Some(prior.at), &now);
    let frame = made.frame(&now, &|i| made.id(i).unwrap_or(0));
    assert_eq!((frame.ids.len(), made.quality), (STATEMENTS, Quality::Exact));
    let size = packed(&frame);
    println!(
        "prior at rest {} B, row {} B, {:.2} B a statement",
        stored.len(),
        size,
        size as f64 / 5000.0
    );
    ms("decode the prior", 20, || drop(black_box(Prior::decode(&STATEMENT, &stored).unwrap())));
    ms("put in order (with copies for the test)", 20, || {
        _ = black_box(unordered.clone().put_in_order());
    });
    ms("difference", 20, || {
        drop(black_box(delta::difference(Some(&prior), Some(prior.at), &now)));
    });
    ms("frame", 20, || drop(black_box(made.frame(&now, &|i| made.id(i).unwrap_or(0)))));
    ms("pack", 20, || _ = black_box(packed(&frame)));
    ms("advance (with copies for the test)", 20, || {
        drop(black_box(delta::advance(now.clone(), Some(prior.clone()), &[])));
    });
    ms("encode the prior", 20, || drop(black_box(prior.encode())));
    let span =
        Span { since: 0, until: 60, length_us: 60, quiet_us: 0, quality: Quality::Exact, flags: 0 };
    let hour: Vec<(Span, Frame)> = (0..60).map(|_| (span, frame.clone())).collect();
    ms("roll an hour up", 2, || {
        drop(black_box(rollup::merge(&STATEMENT, &hour, 3600, Some(0.999))))
    });
}
