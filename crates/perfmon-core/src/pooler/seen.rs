//! What rows of history say of a pooler, a database or a pool, added up over some time.

use crate::family::POOLER;

/// Values of the family's columns, put together as they roll up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen(Vec<u64>);

impl Default for Seen {
    fn default() -> Self {
        Self(vec![0; POOLER.columns.len()])
    }
}

#[allow(clippy::cast_precision_loss)]
impl Seen {
    /// Adds a row: values in the order of the columns.
    pub fn add(&mut self, values: &[Option<u64>]) {
        for ((sum, value), column) in self.0.iter_mut().zip(values).zip(POOLER.columns) {
            column.merge.add(sum, value.unwrap_or(0));
        }
    }

    /// All columns, as they are added.
    pub fn values(&self) -> Vec<Option<u64>> {
        self.0.iter().copied().map(Some).collect()
    }

    /// What a column holds.
    pub fn of(&self, name: &str) -> u64 {
        POOLER.position(name).map_or(0, |place| self.0[place])
    }

    /// Whether pools were looked at.
    pub fn is_pool(&self) -> bool {
        self.of("samples") > 0
    }

    /// Whether clients waited while no server connection was in use: it was paused, or cannot reach its server. That says
    /// nothing of how many connections there may be.
    pub fn is_held_up(&self) -> bool {
        self.of("clients_waiting") > 0 && self.of("servers_active") == 0
    }

    /// All columns, without clients that waited for anything but a connection that others have.
    pub fn values_in_use(&self) -> Vec<Option<u64>> {
        let mut values = self.values();
        if let Some(place) = POOLER.position("clients_waiting").filter(|_| self.is_held_up()) {
            values[place] = Some(0);
        }
        values
    }

    /// A gauge on average; `None` where no pool was looked at.
    pub fn average(&self, name: &str) -> Option<f64> {
        let samples = self.of("samples");
        (samples > 0).then(|| self.of(name) as f64 / samples as f64)
    }

    /// A peak; `None` where no pool was looked at.
    pub fn peak(&self, name: &str) -> Option<u64> {
        self.is_pool().then(|| self.of(name))
    }

    /// Most server connections that the pool may have, as far as that was told.
    pub fn pool_size(&self) -> Option<f64> {
        self.average("pool_size").filter(|size| *size > 0.0)
    }

    /// A counter per second; `None` where it was not watched.
    pub fn per_s(&self, name: &str) -> Option<f64> {
        let watched = if name == "wait_us" { "wait_watched_us" } else { "watched_us" };
        let us = self.of(watched);
        (us > 0).then(|| self.of(name) as f64 * 1e6 / us as f64)
    }

    /// How many clients waited on average, from the time that they waited.
    pub fn waiting(&self) -> Option<f64> {
        self.per_s("wait_us").map(|us| us / 1e6)
    }

    /// Time of one out of so many, ms.
    pub fn mean_ms(&self, time: &str, count: &str) -> Option<f64> {
        let count = self.of(count);
        (self.of("watched_us") > 0 && count > 0)
            .then(|| self.of(time) as f64 / count as f64 / 1000.0)
    }
}
