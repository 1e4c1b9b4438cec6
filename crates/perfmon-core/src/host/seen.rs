//! What rows of history say of the machine, added up over some time.

use crate::family::{DISK, Family, HOST, Merge};

/// Columns that were added up once for each sample: an average is what they hold over the number of samples.
pub const SAMPLED: [&str; 11] = [
    "load_milli",
    "memory_bytes",
    "memory_used_bytes",
    "group_memory_bytes",
    "group_memory_used_bytes",
    "swap_bytes",
    "swap_used_bytes",
    "arc_bytes",
    "size_bytes",
    "used_bytes",
    "available_bytes",
];

/// Values of a family's columns, put together as they roll up.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sums {
    family: &'static Family,
    values: Vec<Option<u64>>,
}

impl Sums {
    fn new(family: &'static Family) -> Self {
        Self { family, values: vec![None; family.columns.len()] }
    }

    fn add(&mut self, values: &[Option<u64>]) {
        for ((sum, value), column) in self.values.iter_mut().zip(values).zip(self.family.columns) {
            let Some(value) = value else { continue };
            *sum = Some(match (column.merge, *sum) {
                (Merge::Sum, Some(sum)) => sum.saturating_add(*value),
                (Merge::Max, Some(sum)) => sum.max(*value),
                _ => *value,
            });
        }
    }

    fn of(&self, name: &str) -> Option<u64> {
        self.values[self.family.position(name)?]
    }

    #[allow(clippy::cast_precision_loss)]
    fn over(&self, part: &str, whole: &str) -> Option<f64> {
        let whole = self.of(whole).filter(|whole| *whole > 0)?;
        self.of(part).map(|part| part as f64 / whole as f64)
    }
}

/// The machine over some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host(Sums);

impl Default for Host {
    fn default() -> Self {
        Self(Sums::new(&HOST))
    }
}

const TIMES: [&str; 5] =
    ["cpu_user_us", "cpu_system_us", "cpu_steal_us", "cpu_iowait_us", "cpu_idle_us"];

#[allow(clippy::cast_precision_loss)]
impl Host {
    /// Adds a row: values in the order of the columns of [`HOST`].
    pub fn add(&mut self, values: &[Option<u64>]) {
        self.0.add(values);
    }

    fn share(&self, parts: &[&str]) -> Option<f64> {
        let sum = |names: &[&str]| names.iter().map(|name| self.0.of(name)).sum::<Option<u64>>();
        let all = sum(&TIMES).filter(|all| *all > 0)?;
        Some(sum(parts)? as f64 / all as f64)
    }

    fn average(&self, name: &str) -> Option<f64> {
        self.0.over(name, "samples")
    }

    /// Share of the machine's processors that was at work, or taken by other guests of its host.
    pub fn machine_cpu_ratio(&self) -> Option<f64> {
        self.share(&TIMES[..3])
    }

    /// Share of its time that the control group used.
    pub fn group_cpu_ratio(&self) -> Option<f64> {
        self.0.over("group_cpu_us", "group_capacity_us").map(|ratio| ratio.min(1.0))
    }

    /// Share of what the server may use: of its control group's time where that is limited, else the machine's.
    pub fn cpu_ratio(&self) -> Option<f64> {
        self.group_cpu_ratio().or_else(|| self.machine_cpu_ratio())
    }

    /// Highest of one interval.
    pub fn cpu_peak_ratio(&self) -> Option<f64> {
        self.0.of("cpu_peak_ppm").map(|ppm| ppm as f64 / 1e6)
    }

    /// Share of the machine's time in programs, in the kernel, waiting for disks, and taken by others.
    pub fn user_ratio(&self) -> Option<f64> {
        self.share(&TIMES[..1])
    }

    /// See above.
    pub fn system_ratio(&self) -> Option<f64> {
        self.share(&TIMES[1..2])
    }

    /// See above.
    pub fn steal_ratio(&self) -> Option<f64> {
        self.share(&TIMES[2..3])
    }

    /// See above.
    pub fn iowait_ratio(&self) -> Option<f64> {
        self.share(&TIMES[3..4])
    }

    /// Time in which the control group was held back, microseconds.
    pub fn throttled_us(&self) -> Option<u64> {
        self.0.of("group_throttled_us")
    }

    /// Load of a minute, on average.
    pub fn load(&self) -> Option<f64> {
        self.average("load_milli").map(|milli| milli / 1000.0)
    }

    /// Highest load.
    pub fn load_peak(&self) -> Option<f64> {
        self.0.of("load_peak_milli").map(|milli| milli as f64 / 1000.0)
    }

    /// Whether a control group limits memory.
    pub fn is_limited(&self) -> bool {
        self.0.of("group_memory_bytes").is_some_and(|bytes| bytes > 0)
    }

    /// Memory that the server may have, bytes, on average.
    pub fn memory_bytes(&self) -> Option<f64> {
        self.average(if self.is_limited() { "group_memory_bytes" } else { "memory_bytes" })
    }

    /// What is used of it.
    pub fn memory_used_bytes(&self) -> Option<f64> {
        self.average(if self.is_limited() {
            "group_memory_used_bytes"
        } else {
            "memory_used_bytes"
        })
    }

    /// Share of it that is used.
    pub fn memory_ratio(&self) -> Option<f64> {
        if self.is_limited() { self.group_memory_ratio() } else { self.machine_memory_ratio() }
    }

    /// Share of the machine's memory that is used.
    pub fn machine_memory_ratio(&self) -> Option<f64> {
        self.0.over("memory_used_bytes", "memory_bytes")
    }

    /// Share of the control group's memory that is used.
    pub fn group_memory_ratio(&self) -> Option<f64> {
        self.0.over("group_memory_used_bytes", "group_memory_bytes")
    }

    /// Highest share of what the server may have.
    pub fn memory_peak_ratio(&self) -> Option<f64> {
        self.0.of("memory_peak_ppm").map(|ppm| ppm as f64 / 1e6)
    }

    /// Swap space that is used, bytes, on average.
    pub fn swap_used_bytes(&self) -> Option<f64> {
        self.average("swap_used_bytes")
    }

    /// Share found in the cache of ZFS, and how many were looked for.
    pub fn arc_hit_ratio(&self) -> Option<(f64, u64)> {
        let (hits, misses) = self.0.of("arc_hits").zip(self.0.of("arc_misses"))?;
        let all = hits.saturating_add(misses);
        (all > 0).then(|| (hits as f64 / all as f64, all))
    }
}

/// A file system over some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk(Sums);

impl Default for Disk {
    fn default() -> Self {
        Self(Sums::new(&DISK))
    }
}

#[allow(clippy::cast_precision_loss)]
impl Disk {
    /// Adds a row: values in the order of the columns of [`DISK`].
    pub fn add(&mut self, values: &[Option<u64>]) {
        self.0.add(values);
    }

    fn average(&self, name: &str) -> Option<f64> {
        self.0.over(name, "space_samples")
    }

    /// Size, bytes.
    pub fn size_bytes(&self) -> Option<f64> {
        self.average("size_bytes")
    }

    /// Used, bytes, on average.
    pub fn used_bytes(&self) -> Option<f64> {
        self.average("used_bytes")
    }

    /// Left for the server, bytes, on average.
    pub fn available_bytes(&self) -> Option<f64> {
        self.average("available_bytes")
    }

    /// Share of what the server may use that is used.
    pub fn used_ratio(&self) -> Option<f64> {
        let (used, available) = self.used_bytes().zip(self.available_bytes())?;
        (used + available > 0.0).then(|| used / (used + available))
    }

    /// Of the device: an amount per second; `None` where it was not watched.
    fn rate(&self, name: &str) -> Option<f64> {
        self.0.over(name, "watched_us").map(|per_us| per_us * 1e6)
    }

    /// Reads per second.
    pub fn reads_per_s(&self) -> Option<f64> {
        self.rate("reads")
    }

    /// Writes per second.
    pub fn writes_per_s(&self) -> Option<f64> {
        self.rate("writes")
    }

    /// Bytes read per second.
    pub fn read_bytes_per_s(&self) -> Option<f64> {
        self.rate("read_bytes")
    }

    /// Bytes written per second.
    pub fn write_bytes_per_s(&self) -> Option<f64> {
        self.rate("write_bytes")
    }

    /// Share of the time in which the device was at work.
    pub fn busy_ratio(&self) -> Option<f64> {
        self.0.over("busy_us", "watched_us")
    }

    /// Highest of one interval.
    pub fn busy_peak_ratio(&self) -> Option<f64> {
        self.0.of("watched_us").filter(|us| *us > 0)?;
        self.0.of("busy_peak_ppm").map(|ppm| ppm as f64 / 1e6)
    }

    /// Mean time of a read, ms.
    pub fn read_ms(&self) -> Option<f64> {
        self.0.over("read_us", "reads").map(|us| us / 1000.0)
    }

    /// Mean time of a write, ms.
    pub fn write_ms(&self) -> Option<f64> {
        self.0.over("write_us", "writes").map(|us| us / 1000.0)
    }
}
