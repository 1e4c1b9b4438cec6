//! What the sums were at some time, and what happened between two readings of them.

use std::collections::HashMap;

use super::count::{self, Counts, Doing, Waiting};
use super::group::{self, Grouping, Key, LOAD, PEAKS, SPREADS, SUMS, Tally};
use super::shared::Shared;
use super::{Kind, Session};
use crate::capture::kept::{self, Stamp};
use crate::pack::Corrupt;

/// Samples by which of [`SPREADS`], or [`LOAD`], and by place.
type Places = Vec<((u8, u8), u32)>;

/// One group as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSums {
    /// Whose sessions.
    pub key: Key,
    /// Tells it from one that had its place before.
    pub born: u64,
    sums: [u64; SUMS.len()],
    /// The largest numbers since what was stored last.
    peaks: [u32; PEAKS],
    places: Places,
}

/// One entry of a table as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count<K> {
    /// What is counted.
    pub key: K,
    /// Tells it from one of the same key before.
    pub born: u64,
    count: u64,
}

/// All sums at some time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The life of the sums.
    pub began: i64,
    /// Samples so far.
    pub samples: u64,
    sampled_us: u64,
    groups: Vec<GroupSums>,
    doings: Vec<Count<Doing>>,
    waitings: Vec<Count<Waiting>>,
}

impl Reading {
    /// Reads, to store what happened since the last reading that was stored: the peaks are those since then.
    pub fn to_be_stored(shared: &mut Shared) -> Self {
        shared.turn_peaks();
        let groups = shared.groups.iter().filter(|group| group.used).map(|group| GroupSums {
            key: group.key,
            born: group.born,
            sums: group.sums,
            peaks: group.peaks[1],
            places: places(&group.spread, 0).chain(places(&[group.load], LOAD)).collect(),
        });
        Self {
            began: shared.began,
            samples: shared.samples,
            sampled_us: shared.sampled_us,
            groups: groups.collect(),
            doings: counts(&shared.doings),
            waitings: counts(&shared.waitings),
        }
    }
}

fn places<const N: usize>(spread: &[[u32; N]], first: u8) -> impl Iterator<Item = ((u8, u8), u32)> {
    let all = (first..).zip(spread).flat_map(|(which, counts)| {
        (0_u8..=u8::MAX).zip(counts).map(move |(place, count)| ((which, place), *count))
    });
    all.filter(|(_, count)| *count != 0)
}

fn counts<K: count::Key, const N: usize>(table: &Counts<K, N>) -> Vec<Count<K>> {
    let all = table.entries().iter();
    all.map(|entry| Count { key: entry.key, born: entry.born, count: entry.count }).collect()
}

/// Sums, and samples by place.
type KeptGroup = ([u64; SUMS.len()], HashMap<(u8, u8), u32>);

/// What is kept of a reading until the next: keys are known by their fingerprints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    samples: u64,
    sampled_us: u64,
    groups: HashMap<(u64, u64), KeptGroup>,
    doings: HashMap<(u64, u64), u64>,
    waitings: HashMap<(u64, u64), u64>,
}

fn doing_fingerprint(key: &Doing) -> u64 {
    u64::from(key.wait) << 16 | u64::from(key.kind) << 8 | u64::from(key.state)
}

fn waiting_fingerprint(key: &Waiting) -> u64 {
    let parts = [
        key.queryid as u64,
        u64::from(key.database) << 32 | u64::from(key.user),
        u64::from(key.wait) << 8 | u64::from(key.state),
    ];
    // The finalizer of splitmix64, part by part.
    parts.into_iter().fold(0x9e37_79b9_7f4a_7c15, |hash: u64, part| {
        let mixed = (hash ^ part).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

impl Kept {
    /// Samples so far, then.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Bytes of a reading.
    pub fn encode(at: i64, reading: &Reading) -> Vec<u8> {
        let groups = &reading.groups;
        let each = |of: &dyn Fn(&GroupSums) -> Vec<u64>| groups.iter().flat_map(of).collect();
        let table = |fingerprint: &[u64], born: Vec<u64>, count: Vec<u64>| {
            [fingerprint.to_vec(), born, count]
        };
        let doings = &reading.doings;
        let waitings = &reading.waitings;
        let columns: Vec<Vec<u64>> = [
            vec![reading.samples, reading.sampled_us],
            each(&|group| vec![group.key.fingerprint()]),
            each(&|group| vec![group.born]),
            each(&|group| group.sums.to_vec()),
            each(&|group| vec![group.places.len() as u64]),
            each(&|group| group.places.iter().map(|((w, p), _)| packed(*w, *p)).collect()),
            each(&|group| group.places.iter().map(|(_, count)| u64::from(*count)).collect()),
        ]
        .into_iter()
        .chain(table(
            &doings.iter().map(|c| doing_fingerprint(&c.key)).collect::<Vec<u64>>(),
            doings.iter().map(|c| c.born).collect(),
            doings.iter().map(|c| c.count).collect(),
        ))
        .chain(table(
            &waitings.iter().map(|c| waiting_fingerprint(&c.key)).collect::<Vec<u64>>(),
            waitings.iter().map(|c| c.born).collect(),
            waitings.iter().map(|c| c.count).collect(),
        ))
        .collect();
        kept::to_bytes(Stamp { began: reading.began, at }, &columns)
    }

    /// Reads what [`Kept::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<(Stamp, Self), Corrupt> {
        let (stamp, columns) = kept::from_bytes(bytes)?;
        let found = Self::of_columns(&columns);
        Ok((stamp, found.ok_or_else(|| Corrupt::new("kept activity is something else"))?))
    }

    fn of_columns(columns: &[Vec<u64>]) -> Option<Self> {
        let [head, fingerprints, born, sums, lengths, places, counts, tables @ ..] = columns else {
            return None;
        };
        let [samples, sampled_us] = head.as_slice() else { return None };
        let mut pairs = places.iter().zip(counts);
        let mut groups = HashMap::new();
        let each = fingerprints.iter().zip(born).zip(sums.chunks_exact(SUMS.len())).zip(lengths);
        for (((fingerprint, born), sums), length) in each {
            let mut spread = HashMap::new();
            for _ in 0..*length {
                let (place, count) = pairs.next()?;
                spread.insert(((place >> 8) as u8, *place as u8), u32::try_from(*count).ok()?);
            }
            groups.insert((*fingerprint, *born), (sums.try_into().ok()?, spread));
        }
        let table = |columns: &[Vec<u64>]| {
            let [fingerprints, born, counts] = columns else { return None };
            let keys = fingerprints.iter().copied().zip(born.iter().copied());
            Some(keys.zip(counts.iter().copied()).collect::<HashMap<(u64, u64), u64>>())
        };
        let (doings, waitings) = tables.split_at_checked(3)?;
        Some(Self {
            samples: *samples,
            sampled_us: *sampled_us,
            groups,
            doings: table(doings)?,
            waitings: table(waitings)?,
        })
    }
}

fn packed(which: u8, place: u8) -> u64 {
    u64::from(which) << 8 | u64::from(place)
}

/// One group between two readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedGroup {
    /// Whose sessions.
    pub key: Key,
    /// Sums over samples, in the order of [`SUMS`].
    pub sums: [u64; SUMS.len()],
    /// The largest numbers, in the order of [`SPREADS`], then of those that wait for a lock.
    pub peaks: [u32; PEAKS],
    /// Samples by which of [`SPREADS`], or [`LOAD`], and by place.
    pub places: Vec<((u8, u8), u64)>,
}

/// What happened between two readings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Samples in between.
    pub samples: u64,
    /// Time for which they stand.
    pub sampled_us: u64,
    /// Groups in which there was anybody.
    pub groups: Vec<MovedGroup>,
    /// Sessions summed over samples.
    pub doings: Vec<(Doing, u64)>,
    /// The same of statements.
    pub waitings: Vec<(Waiting, u64)>,
}

impl Moved {
    /// Between two readings of the same life of the sums; before the first, all were zero.
    pub fn between(before: Option<&Kept>, now: &Reading) -> Self {
        let none = Kept::default();
        let before = before.unwrap_or(&none);
        let counts = |count: u64, before: Option<&u64>| count.wrapping_sub(*before.unwrap_or(&0));
        let groups = now.groups.iter().map(|group| {
            let earlier = before.groups.get(&(group.key.fingerprint(), group.born));
            let mut sums = group.sums;
            if let Some((earlier, _)) = earlier {
                sums.iter_mut().zip(earlier).for_each(|(sum, e)| *sum = sum.wrapping_sub(*e));
            }
            let earlier = |at| earlier.and_then(|(_, places)| places.get(at)).copied().unwrap_or(0);
            let places = group.places.iter().map(|(at, count)| {
                let samples = count.wrapping_sub(earlier(at));
                (*at, u64::from(samples))
            });
            let places: Vec<_> = places.filter(|(_, samples)| *samples > 0).collect();
            MovedGroup { key: group.key, sums, peaks: group.peaks, places }
        });
        let doings = now.doings.iter().map(|entry| {
            let earlier = before.doings.get(&(doing_fingerprint(&entry.key), entry.born));
            (entry.key, counts(entry.count, earlier))
        });
        let waitings = now.waitings.iter().map(|entry| {
            let earlier = before.waitings.get(&(waiting_fingerprint(&entry.key), entry.born));
            (entry.key, counts(entry.count, earlier))
        });
        Self {
            samples: now.samples.wrapping_sub(before.samples),
            sampled_us: now.sampled_us.wrapping_sub(before.sampled_us),
            groups: groups.filter(|group| group.sums.iter().any(|sum| *sum > 0)).collect(),
            doings: doings.filter(|(_, count)| *count > 0).collect(),
            waitings: waitings.filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// Of one sample, where nobody takes them regularly.
    pub fn of_one_sample(sessions: &[Session], grouping: Grouping) -> Self {
        let mut groups: HashMap<Key, Tally> = HashMap::new();
        let mut doings: HashMap<Doing, u64> = HashMap::new();
        let mut waitings: HashMap<Waiting, u64> = HashMap::new();
        for session in sessions {
            *doings.entry(Doing::of(session)).or_default() += 1;
            if session.kind == Kind::Client {
                for key in Key::of(session, grouping) {
                    group::tally(groups.entry(key).or_default(), session, false);
                }
            }
            if session.is_at_work() && session.kind.is_for_client() {
                *waitings.entry(Waiting::of(session)).or_default() += 1;
            }
        }
        let groups = groups.into_iter().map(|(key, tally)| {
            let numbers = group::numbers(&tally);
            let places = (0_u8..).zip(numbers).take(SPREADS.len()).filter(|(_, n)| *n > 0);
            let places = places.map(|(which, n)| ((which, super::spread::place(n) as u8), 1));
            MovedGroup { key, sums: tally.map(u64::from), peaks: numbers, places: places.collect() }
        });
        Self {
            samples: 1,
            sampled_us: 0,
            groups: groups.collect(),
            doings: doings.into_iter().collect(),
            waitings: waitings.into_iter().collect(),
        }
    }
}
