//! What a window's reads of blocks come to: how many a cache should have answered, and what they cost.
//! Several detectors look at them; it must never judge them itself.

use crate::facts::Facts;

/// Reads of one database over one window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Reads {
    /// Blocks found in shared buffers.
    pub(super) hit: f64,
    /// Blocks read from outside.
    pub(super) read: f64,
    /// Of these, by statements that read so much at once that no cache is meant to hold it: the
    /// server itself passes scans of tables over a quarter of shared_buffers through a small ring.
    pub(in crate::detect) by_scans: f64,
    /// Time of reading, ms; unknown while track_io_timing is off.
    pub(super) read_ms: Option<f64>,
    /// Time of execution, ms.
    pub(super) exec_ms: Option<f64>,
}

impl Reads {
    /// Adds them up, without those that filled an empty cache after a restart. `scan_bytes` is the least
    /// that an execution must read to pass for a scan of much.
    pub(super) fn of(facts: &Facts, scan_bytes: f64) -> Option<Self> {
        let database = &facts.database;
        let block = (facts.server.block_bytes as f64).max(1.0);
        let cache = facts.server.bytes("shared_buffers").unwrap_or(0.0);
        let cold = database.after_restart.map_or(0.0, |(read, _)| read as f64);
        let hit = database.blks_hit? as f64;
        let read = database.blks_read? as f64;
        let read = (read - cold.min(cache / block)).max(0.0);
        let large = (cache / 4.0).max(scan_bytes) / block;
        let top = || facts.statements.iter().flatten().filter(|s| s.toplevel);
        let by_scans = top()
            .filter(|s| s.per_call(s.blks_read).is_some_and(|blocks| blocks >= large))
            .fold(0.0, |sum, s| sum + s.blks_read as f64)
            .min(read);
        let of_statements = || {
            let timed: Vec<f64> = top().filter_map(|s| s.read_ms).collect();
            (!timed.is_empty()).then(|| timed.iter().sum())
        };
        let read_ms = database.read_ms.or_else(of_statements);
        Some(Self {
            hit,
            read,
            by_scans,
            read_ms,
            exec_ms: database.exec_ms.or(database.active_ms),
        })
    }

    /// Blocks asked for.
    pub(super) fn asked(&self) -> f64 {
        self.hit + self.read
    }

    /// Share of blocks that were found, scans of much left out.
    pub(super) fn hit_ratio(&self) -> Option<f64> {
        let asked = self.asked() - self.by_scans;
        (asked > 0.0).then(|| self.hit / asked)
    }

    /// Share of execution time that went into reading.
    pub(super) fn time_ratio(&self) -> Option<f64> {
        let (read, exec) = (self.read_ms?, self.exec_ms?);
        (exec > 0.0).then(|| (read / exec).clamp(0.0, 1.0))
    }

    /// Mean time of reading one block, ms.
    pub(super) fn latency_ms(&self) -> Option<f64> {
        (self.read > 0.0).then_some(self.read_ms? / self.read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::samples;

    #[test]
    fn what_is_left_out() {
        let mut facts = samples::healthy();
        samples::set(&mut facts, "shared_buffers", 1_024.0);
        facts.database.blks_hit = Some(10_000);
        facts.database.blks_read = Some(11_000);
        facts.database.after_restart = Some((1_000, 100));
        let mut scan = samples::statement(7, 2, 4_000.0);
        scan.blks_read = 9_000;
        scan.read_ms = Some(900.0);
        facts.statements = Some(vec![scan.clone()]);
        facts.database.exec_ms = Some(3_600.0);
        let reads = Reads::of(&facts, 1e6).unwrap();
        assert_eq!((reads.hit, reads.read, reads.by_scans), (10_000.0, 10_000.0, 9_000.0));
        assert_eq!(reads.hit_ratio(), Some(10_000.0 / 11_000.0));
        assert_eq!(reads.time_ratio(), Some(0.25));
        assert_eq!(reads.latency_ms(), Some(0.09));
        facts.database.after_restart = Some((9_000, 100));
        assert_eq!(Reads::of(&facts, 1e6).unwrap().read, 9_976.0, "a cache is filled once");
        samples::set(&mut facts, "shared_buffers", 18_004.0);
        let reads = Reads::of(&facts, 1e6).unwrap();
        assert_eq!(reads.by_scans, 0.0, "4,500 blocks are no quarter of the cache");
        samples::set(&mut facts, "shared_buffers", 1_024.0);
        scan.toplevel = false;
        facts.statements = Some(vec![scan]);
        let reads = Reads::of(&facts, 1e6).unwrap();
        assert_eq!((reads.by_scans, reads.read_ms), (0.0, None), "counted with its caller");
        facts.database.blks_hit = None;
        assert_eq!(Reads::of(&facts, 1e6), None);
    }
}
