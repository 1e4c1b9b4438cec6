//! Prints bytes and nanoseconds per value of the codec on data shaped like a busy minute:
//! 5,000 statements with Zipf frequencies, ids handed out in about the order of their time.
//!
//! `cargo run --release -p perfmon-core --example pack_speed`
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use perfmon_core::pack;
use std::hint::black_box;
use std::time::Instant;

/// A small generator, so that the figures repeat.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between 0 and 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn columns(n: usize, shuffled: bool) -> Vec<(&'static str, Vec<u64>)> {
    let mut dice = Dice(42);
    let mut order: Vec<usize> = (0..n).collect();
    if shuffled {
        for i in (1..n).rev() {
            order.swap(i, dice.next() as usize % (i + 1));
        }
    }
    let calls: Vec<u64> = order
        .iter()
        .map(|&rank| (400_000.0 / (rank as f64 + 20.0) * (0.5 + dice.part())) as u64 + 1)
        .collect();
    let mut scaled = |scale: f64, share: f64| -> Vec<u64> {
        calls
            .iter()
            .map(|&c| {
                let each = scale * (dice.part() * 4.0 - 2.0).exp();
                if dice.part() < share { (c as f64 * each) as u64 } else { 0 }
            })
            .collect()
    };
    let rest = vec![
        ("exec_us", scaled(90.0, 1.0)),
        ("rows", scaled(4.0, 1.0)),
        ("blks_hit", scaled(9.0, 1.0)),
        ("blks_read", scaled(1.0, 0.9)),
        ("wal_bytes", scaled(120.0, 0.4)),
        ("temp_written", scaled(8.0, 0.01)),
    ];
    [("calls", calls)].into_iter().chain(rest).collect()
}

/// Best of several rounds, in nanoseconds per value.
fn time(n: usize, mut work: impl FnMut()) -> f64 {
    let rounds = 2_000_000 / n.max(1) + 1;
    (0..7)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..rounds {
                work();
            }
            start.elapsed().as_nanos() as f64 / (rounds * n) as f64
        })
        .fold(f64::MAX, f64::min)
}

fn main() {
    println!(
        "{:>6} {:>9} {:<14} {:>8} {:>8} {:>8}",
        "n", "ids", "column", "B/value", "enc ns", "dec ns"
    );
    for (n, shuffled) in [(5000, false), (5000, true), (200, false), (50, false)] {
        let (mut bytes, mut enc, mut dec) = (0.0, 0.0, 0.0);
        let columns = columns(n, shuffled);
        let order = if shuffled { "any" } else { "by time" };
        for (name, values) in &columns {
            let packed = pack::pack(values);
            let mut out = Vec::new();
            let e = time(n, || drop(black_box(pack::pack(black_box(values)))));
            let d = time(n, || pack::unpack(black_box(&packed), n, &mut out).unwrap());
            assert_eq!(&out, values);
            let size = packed.len() as f64 / n as f64;
            println!("{n:>6} {order:>9} {name:<14} {size:>8.2} {e:>8.2} {d:>8.2}");
            (bytes, enc, dec) = (bytes + size, enc + e, dec + d);
        }
        let count = columns.len() as f64;
        let (size, e, d) = (bytes / count, enc / count, dec / count);
        println!("{n:>6} {order:>9} {:<14} {size:>8.2} {e:>8.2} {d:>8.2}", "mean");
    }
    let ids: Vec<u32> = (0..5000u32).filter(|id| id % 6 != 3).collect();
    let packed = pack::pack_ids(&ids);
    let mut out = Vec::new();
    let e = time(ids.len(), || drop(black_box(pack::pack_ids(black_box(&ids)))));
    let d = time(ids.len(), || pack::unpack_ids(black_box(&packed), ids.len(), &mut out).unwrap());
    let size = packed.len() as f64 / ids.len() as f64;
    println!("{:>6} {:>9} {:<14} {size:>8.2} {e:>8.2} {d:>8.2}", ids.len(), "", "ids");
}
