//! What is counted of a statement's plan: executions that are known to have had it. Not every execution is looked
//! at: those that took long are, and a few of each statement that the collector asks about.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use super::by_key::ByKey;
use super::table::{Key, Payload, Table};
use crate::plan::flip::APART_US;

/// The counters of one plan of one statement. They wrap.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Sightings {
    /// The statement; 0 until it is written.
    statement: AtomicU64,
    /// Identity of the plan, 0 until it was printed once.
    plan: AtomicI64,
    calls: AtomicU64,
    total_us: AtomicU64,
    max_us: AtomicU64,
    /// Those that were looked at whatever they took.
    sampled: AtomicU64,
    sampled_us: AtomicU64,
    /// The stretch of sightings at hand.
    since: AtomicI64,
    until: AtomicI64,
    /// The letter with the plan was sent.
    sent: AtomicU32,
}

impl Sightings {
    /// Counts an execution that ended at a time, microseconds on any epoch, and took so long.
    pub fn record(&self, statement: u64, at: i64, us: u64, sampled: bool) {
        self.statement.store(statement, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(us, Ordering::Relaxed);
        self.max_us.fetch_max(us, Ordering::Relaxed);
        if sampled {
            self.sampled.fetch_add(1, Ordering::Relaxed);
            self.sampled_us.fetch_add(us, Ordering::Relaxed);
        }
        let last = self.until.fetch_max(at, Ordering::Relaxed);
        if last == 0 || at.saturating_sub(last) > APART_US {
            self.since.store(at, Ordering::Relaxed);
        }
    }

    /// Whether the plan still has to be sent.
    pub fn is_new(&self) -> bool {
        self.sent.load(Ordering::Relaxed) == 0
    }

    /// The plan was sent, and this is its identity.
    pub fn sent(&self, plan: i64) {
        self.plan.store(plan, Ordering::Relaxed);
        self.sent.store(1, Ordering::Release);
    }

    /// What was sent is lost: the next execution sends it again.
    pub fn lost(&self) {
        self.sent.store(0, Ordering::Relaxed);
    }

    fn counters(&self) -> [&AtomicU64; 4] {
        [&self.calls, &self.total_us, &self.sampled, &self.sampled_us]
    }
}

impl Payload for Sightings {
    const ROOTS: u32 = 1;

    fn root(_kind: u64) -> u32 {
        0
    }

    fn activity(&self) -> u32 {
        self.calls.load(Ordering::Relaxed) as u32
    }

    fn move_to(&self, other: &Self) {
        for (mine, theirs) in self.counters().into_iter().zip(other.counters()) {
            theirs.fetch_add(mine.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
        self.statement.store(0, Ordering::Relaxed);
        self.plan.store(0, Ordering::Relaxed);
        self.max_us.store(0, Ordering::Relaxed);
        self.since.store(0, Ordering::Relaxed);
        self.until.store(0, Ordering::Relaxed);
        self.sent.store(0, Ordering::Relaxed);
    }
}

/// The key of a statement's plan, which the process that has it tells by a fingerprint.
pub fn key(statement: Key, fingerprint: u64) -> Key {
    let mixed = (statement.what ^ fingerprint.rotate_left(31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // 0 is the rest.
    Key { what: (mixed ^ mixed >> 32).max(1), ..statement }
}

/// One plan of one statement as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Tells one use of an entry from the next.
    pub born: u32,
    /// The statement.
    pub statement: Key,
    /// The plan.
    pub plan: i64,
    /// Executions known to have had it, their time, and the longest.
    pub calls: u64,
    /// See above.
    pub total_us: u64,
    /// See above.
    pub max_us: u64,
    /// Those that were looked at whatever they took, and their time.
    pub sampled: u64,
    /// See above.
    pub sampled_us: u64,
    /// The stretch of sightings at hand, on the clock of [`Sightings::record`].
    pub since: i64,
    /// See above.
    pub until: i64,
}

/// Reads the plans of one database that were sent, in the order of the entries' births.
pub fn read(table: &Table<'_, Sightings>, database: u32) -> Vec<Counted> {
    let ours = |key: &Key| key.database() == database && key.what != 0;
    let mut all: Vec<Counted> = table
        .all()
        .filter(|found| found.born >= Sightings::ROOTS && ours(&found.key))
        .map(|found| {
            let seen = found.payload;
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            Counted {
                born: found.born,
                statement: Key { what: count(&seen.statement), ..found.key },
                plan: seen.plan.load(Ordering::Relaxed),
                calls: count(&seen.calls),
                total_us: count(&seen.total_us),
                max_us: count(&seen.max_us),
                sampled: count(&seen.sampled),
                sampled_us: count(&seen.sampled_us),
                since: seen.since.load(Ordering::Relaxed),
                until: seen.until.load(Ordering::Relaxed),
            }
        })
        .filter(|counted| counted.plan != 0 && counted.statement.what != 0 && counted.calls > 0)
        .collect();
    all.sort_unstable_by_key(|counted| counted.born);
    all
}

/// What is known of a plan since it was written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Tells one use of an entry from the next.
    pub born: u32,
    /// Executions and their time, all and sampled ones, as they stood then.
    counts: [u64; 4],
    /// When that was, microseconds since the Unix epoch.
    at: i64,
    /// The last sighting that was written.
    until: i64,
}

impl Written {
    fn of(counted: &Counted, at: i64) -> Self {
        let counts = [counted.calls, counted.total_us, counted.sampled, counted.sampled_us];
        Self { born: counted.born, counts, at, until: counted.until }
    }
}

fn written(before: &[Written], born: u32) -> Option<&Written> {
    before.binary_search_by_key(&born, |written| written.born).ok().map(|at| &before[at])
}

/// What is to be written now of what happened since `before`, and what stands as written then.
///
/// A plan with executions that took less than `slow_us` together may wait for `patience_us` since it was written last:
/// that of a quick statement is confirmed again and again. Not so one that is new, that was seen again after a while,
/// or that is one of several of its statement, of which all plans are written together, so that their times can be
/// compared.
pub fn due(
    before: &[Written],
    now: &[Counted],
    at: i64,
    (patience_us, slow_us): (i64, u64),
) -> (Vec<Counted>, Vec<Written>) {
    let mut plans: ByKey<usize> = ByKey::default();
    now.iter().for_each(|counted| *plans.entry(counted.statement).or_default() += 1);
    let may_wait = |moved: &Counted| {
        written(before, moved.born).is_some_and(|prior| {
            moved.total_us < slow_us
                && moved.since <= prior.until
                && (prior.at..prior.at.saturating_add(patience_us)).contains(&at)
                && plans.get(&moved.statement) == Some(&1)
        })
    };
    let mut moved = difference(before, now);
    moved.retain(|moved| !may_wait(moved));
    let writes = |born: u32| moved.binary_search_by_key(&born, |moved| moved.born).is_ok();
    let stands = now.iter().map(|counted| match written(before, counted.born) {
        Some(prior) if !writes(counted.born) => *prior,
        _ => Written::of(counted, at),
    });
    let stands = stands.collect();
    (moved, stands)
}

/// What happened since an earlier reading: those that moved, with the counts in between.
pub fn difference(before: &[Written], now: &[Counted]) -> Vec<Counted> {
    let moved = now.iter().filter_map(|counted| {
        let prior = written(before, counted.born);
        let [calls, total, sampled, sampled_us] = prior.map_or([0; 4], |prior| prior.counts);
        // Another life of the same counters: all of it is new.
        let anew = counted.calls < calls;
        let since = |now: u64, then: u64| if anew { now } else { now.saturating_sub(then) };
        let moved = Counted {
            calls: since(counted.calls, calls),
            total_us: since(counted.total_us, total),
            sampled: since(counted.sampled, sampled),
            sampled_us: since(counted.sampled_us, sampled_us),
            ..*counted
        };
        (moved.calls > 0).then_some(moved)
    });
    moved.collect()
}

/// Packs what was written, to be kept until the next reading.
pub fn to_columns(written: &[Written]) -> Vec<Vec<u64>> {
    let all = |of: &dyn Fn(&Written) -> u64| written.iter().map(of).collect::<Vec<u64>>();
    let mut columns =
        vec![all(&|w| u64::from(w.born)), all(&|w| w.at as u64), all(&|w| w.until as u64)];
    columns.extend((0..4).map(|slot| all(&|w| w.counts[slot])));
    columns
}

/// Of which these are the columns; `None` if they are those of something else.
pub fn from_columns(columns: &[Vec<u64>]) -> Option<Vec<Written>> {
    let [born, at, until, counts @ ..] = columns else { return None };
    if counts.len() != 4 || columns.iter().any(|column| column.len() != born.len()) {
        return None;
    }
    let one = |i: usize| {
        Some(Written {
            born: u32::try_from(born[i]).ok()?,
            counts: std::array::from_fn(|slot| counts[slot][i]),
            at: at[i] as i64,
            until: until[i] as i64,
        })
    };
    (0..born.len()).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::table::{Entry, Header, Shape};

    fn with_table(test: impl FnOnce(Table<'_, Sightings>)) {
        let shape = Shape::of::<Sightings>(64);
        let header = Header::default();
        let index: Vec<AtomicU64> = (0..shape.index).map(|_| AtomicU64::new(0)).collect();
        let entries: Vec<Entry<Sightings>> = (0..shape.entries).map(|_| Entry::default()).collect();
        test(Table::new(&header, &index, &entries));
    }

    fn record(table: &Table<'_, Sightings>, key: Key, statement: Key, at: i64, us: u64) -> bool {
        let entry = table.entry(table.place(key).entry).unwrap();
        entry.payload.record(statement.what, at, us, us < 10);
        let new = entry.payload.is_new();
        entry.payload.sent(77);
        new
    }

    #[test]
    fn executions_are_counted_by_statement_and_plan() {
        with_table(|table| {
            let statement = Key::new(5, 1, 2, 1);
            let (one, two) = (key(statement, 100), key(statement, 200));
            assert_ne!(one, two);
            assert!(record(&table, one, statement, 1000, 5));
            assert!(!record(&table, one, statement, 2000, 500));
            let before = read(&table, 1);
            assert_eq!(before.len(), 1);
            assert_eq!((before[0].statement, before[0].plan), (statement, 77));
            assert_eq!((before[0].calls, before[0].total_us, before[0].max_us), (2, 505, 500));
            assert_eq!((before[0].sampled, before[0].sampled_us), (1, 5));
            assert_eq!((before[0].since, before[0].until), (1000, 2000));
            record(&table, two, statement, 3000, 7);
            record(&table, one, statement, 2000 + APART_US + 1, 9);
            let (moved, stands) = due(&[], &before, 9000, (0, 0));
            assert_eq!(moved, before);
            let kept = from_columns(&to_columns(&stands)).unwrap();
            assert_eq!(kept, stands);
            let moved = difference(&kept, &read(&table, 1));
            assert_eq!(
                moved.iter().map(|c| (c.calls, c.total_us)).collect::<Vec<_>>(),
                [(1, 9), (1, 7)]
            );
            assert_eq!(moved[0].since, 2000 + APART_US + 1, "another stretch");
            assert!(read(&table, 2).is_empty());
            assert_eq!(difference(&[], &before), before);
        });
    }

    #[test]
    fn samples_of_a_plan_that_is_known_may_wait() {
        with_table(|table| {
            let statement = Key::new(5, 1, 2, 1);
            let one = key(statement, 100);
            let look = |before: &[Written], at| due(before, &read(&table, 1), at, (1000, 500));
            record(&table, one, statement, 10, 5);
            let (moved, stands) = look(&[], 0);
            assert_eq!(moved.len(), 1, "it is new");
            record(&table, one, statement, 20, 5);
            let (moved, held) = look(&stands, 999);
            assert_eq!((moved.len(), &held), (0, &stands));
            record(&table, one, statement, 30, 6);
            let (moved, stands) = look(&held, 1000);
            assert_eq!((moved[0].calls, moved[0].total_us), (2, 11), "all since it was written");
            assert_eq!(look(&stands, 1001).0, []);
            record(&table, one, statement, 40, 5);
            assert_eq!(look(&stands, 500).0.len(), 1, "the clock stepped back");
            record(&table, one, statement, 50, 5000);
            let (moved, stands) = look(&stands, 1002);
            assert_eq!(moved[0].calls, 2, "one was slow");
            record(&table, one, statement, 50 + APART_US + 1, 5);
            let (moved, stands) = look(&stands, 1003);
            assert_eq!(moved.len(), 1, "seen again after a while");
            record(&table, one, statement, 60 + APART_US + 1, 5);
            assert_eq!(look(&stands, 1004).0.len(), 0);
            record(&table, key(statement, 200), statement, 70 + APART_US, 5);
            let (moved, stands) = look(&stands, 1004);
            assert_eq!(moved.len(), 2, "another plan of the same statement");
            record(&table, one, statement, 80 + APART_US, 5);
            assert_eq!(look(&stands, 1005).0.len(), 1, "one of several");
        });
    }

    #[test]
    fn what_was_not_sent_is_not_read() {
        with_table(|table| {
            let statement = Key::new(5, 1, 2, 1);
            let entry = table.entry(table.place(key(statement, 1)).entry).unwrap();
            entry.payload.record(5, 1, 1, false);
            assert!(read(&table, 1).is_empty());
            entry.payload.sent(3);
            entry.payload.lost();
            assert!(entry.payload.is_new());
            assert_eq!(read(&table, 1)[0].calls, 1);
        });
    }
}
