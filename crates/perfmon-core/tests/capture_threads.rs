//! The table in the hands of many at once: no execution is lost or counted twice, though entries are claimed
//! by several at a time, folded and claimed anew. Threads stand for backends.
#![allow(clippy::unwrap_used)]

use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use perfmon_core::capture::cache::Cache;
use perfmon_core::capture::reading::{self, Reading};
use perfmon_core::capture::statement::{TOPLEVEL, Times};
use perfmon_core::capture::table::{Entry, Header, Key, Shape, Table};
use perfmon_core::capture::tend::Tender;
use perfmon_core::histogram::Latency;

struct Memory {
    header: Header,
    index: Vec<AtomicU64>,
    entries: Vec<Entry<Times>>,
}

impl Memory {
    fn new(keys: usize) -> Self {
        let shape = Shape::of::<Times>(keys);
        Self {
            header: Header::default(),
            index: std::iter::repeat_with(AtomicU64::default).take(shape.index).collect(),
            entries: std::iter::repeat_with(Entry::default).take(shape.entries).collect(),
        }
    }

    fn table(&self) -> Table<'_, Times> {
        Table::new(&self.header, &self.index, &self.entries)
    }
}

const BACKENDS: u64 = 4;
const EXECUTIONS: u64 = 60_000;

/// Statement `what` always takes what * 10 microseconds, so that its bucket tells whose execution it was.
fn backend(memory: &Memory, number: u64, statements: u64) {
    let (table, mut cache) = (memory.table(), Cache::new());
    let mut random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for _ in 0..EXECUTIONS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let what = 1 + random % statements;
        let entry = cache.entry(&table, Key::new(what, 5, 1, TOPLEVEL)).unwrap();
        entry.payload.record(what * 10_000, what.is_multiple_of(2));
    }
}

fn sum(memory: &Memory) -> u64 {
    let all = reading::difference(&Reading::default(), &reading::read(&memory.table(), None));
    all.values().map(|l| l.cached.executions() + l.read.executions()).sum()
}

#[test]
fn many_claim_the_same_keys() {
    for _ in 0..20 {
        let memory = Memory::new(1000);
        std::thread::scope(|scope| {
            for number in 1..=BACKENDS {
                let memory = &memory;
                scope.spawn(move || backend(memory, number, 400));
            }
        });
        assert_eq!(sum(&memory), BACKENDS * EXECUTIONS);
        let state = memory.table().occupancy();
        assert_eq!((state.refused, state.folded), (0, 0), "{state:?}");
        // Two who claim at the same time may both succeed; that must stay rare.
        assert!((401..=420).contains(&state.used), "{state:?}");
        let read = reading::read(&memory.table(), Some(5));
        for entry in read.entries() {
            let ns = entry.key.what * 10_000;
            let own = perfmon_core::histogram::bucket(ns) as u8;
            let mut counted = read.cached(entry).buckets.iter().chain(read.read(entry).buckets);
            assert!(entry.key.what == 0 || counted.all(|bucket| *bucket == own));
        }
    }
}

/// Runs backends until enough was folded under them; gives what they executed.
fn load(memory: &Memory) -> u64 {
    let rounds = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 1..=BACKENDS {
            let (memory, rounds) = (memory, &rounds);
            scope.spawn(move || {
                while memory.table().occupancy().folded < 60 {
                    backend(memory, number, 1000);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    rounds.into_inner() * EXECUTIONS
}

#[test]
fn entries_are_folded_under_load() {
    let memory = Memory::new(200);
    let (done, lock) = (AtomicBool::new(false), RwLock::new(()));
    let (memory, done, lock) = (&memory, &done, &lock);
    let (executed, found) = std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut tender = Tender::default();
            while !done.load(Ordering::Relaxed) {
                {
                    let _alone = lock.write().unwrap();
                    tender.pass(&memory.table());
                }
                // Far longer than anybody takes between finding an entry and counting in it.
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        });
        let reader = scope.spawn(move || {
            let (mut before, mut found) = (Reading::default(), 0);
            loop {
                let last = done.load(Ordering::Relaxed);
                let now = {
                    let _shared = lock.read().unwrap();
                    reading::read(&memory.table(), Some(5))
                };
                let moved = reading::difference(&before, &now);
                let executions = |l: &Latency| l.cached.executions() + l.read.executions();
                found += moved.values().map(executions).sum::<u64>();
                before = now;
                if last {
                    return found;
                }
                std::thread::sleep(std::time::Duration::from_millis(7));
            }
        });
        let executed = load(memory);
        done.store(true, Ordering::Relaxed);
        (executed, reader.join().unwrap())
    });
    // A backend that stood still for a whole pass right before it counted is the one case in which an
    // execution may be missing.
    assert!(executed - sum(memory) <= 2, "{} of {executed}", sum(memory));
    assert!(executed.abs_diff(found) <= 2, "{found} of {executed}, whatever was folded in between");
}
