//! The last samples as they were: one record for each session that was at work, the oldest of which are overwritten.

/// Records that are kept: ten minutes of fifty sessions at work, at a sample a second.
pub const RECORDS: usize = 32_768;

/// No group.
pub const NO_GROUP: u16 = u16::MAX;

/// One session in one sample. Zeroes are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Record {
    /// When the sample was taken, microseconds since the Unix epoch.
    pub at: i64,
    /// Its statement; 0 is unknown.
    pub queryid: i64,
    /// When its transaction began, and since when it is in its state; 0 is unknown.
    pub transaction: i64,
    /// Since when it is in its state; 0 is unknown.
    pub since: i64,
    /// Number of the sample for which the place of its pool was taken.
    pub born: u64,
    /// Its process.
    pub pid: i32,
    /// Oids; 0 is none.
    pub database: u32,
    /// The user's.
    pub user: u32,
    /// What it waits for.
    pub wait: u32,
    /// Place of its pool, or [`NO_GROUP`].
    pub group: u16,
    /// A [`super::Kind`].
    pub kind: u8,
    /// A [`super::State`].
    pub state: u8,
}

/// The records in shared memory. Zeroes are valid, and stand for an empty ring.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Ring {
    /// Records ever written.
    written: u64,
    records: [Record; RECORDS],
}

impl Ring {
    /// An empty ring, for tests; the memory of a server begins as zeroes. The record says nothing.
    #[cfg(test)]
    pub(super) const fn empty(record: Record) -> Self {
        Self { written: 0, records: [record; RECORDS] }
    }

    /// Adds a record.
    pub fn push(&mut self, record: Record) {
        self.records[(self.written % RECORDS as u64) as usize] = record;
        self.written += 1;
    }

    /// The records of samples from `since` on, oldest first.
    pub fn since(&self, since: i64) -> Vec<Record> {
        let kept = self.written.min(RECORDS as u64);
        let newest_first = (1..=kept).map(|back| {
            let at = (self.written - back) % RECORDS as u64;
            self.records[at as usize]
        });
        let mut found: Vec<Record> = newest_first.take_while(|record| record.at >= since).collect();
        found.reverse();
        found
    }
}
