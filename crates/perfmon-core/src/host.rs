//! The machine under the server: processors, memory, file systems and their devices, as Linux tells them in texts,
//! and as far as control groups let this server have them. Texts come through [`Files`], so that nothing here knows
//! where they lie; what a text does not say is `None`, never zero.

mod disk;
mod group;
mod kept;
mod moved;
mod parse;
mod seen;

pub use disk::{Place, disks};
pub use kept::Kept;
pub use moved::{DiskMoved, Moved};
pub use seen::{Disk as DiskSeen, Host as HostSeen, SAMPLED};

use serde::{Deserialize, Serialize};

/// Where the texts come from.
pub trait Files {
    /// All of a small file.
    fn text(&self, path: &str) -> Option<String>;
    /// Where a symbolic link points; `None` of what is none.
    fn link(&self, path: &str) -> Option<String>;
    /// Room in the file system of a path.
    fn space(&self, path: &str) -> Option<Space>;
}

/// Room in a file system, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// All of it.
    pub size: u64,
    /// Taken.
    pub used: u64,
    /// Left for others than the administrator.
    pub available: u64,
}

/// Time of processors so far, microseconds, added up over those that this process may run on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// How many these are.
    pub count: u64,
    /// At work for programs.
    pub user: u64,
    /// At work for the kernel, interrupts included.
    pub system: u64,
    /// Idle while something waited for a disk.
    pub iowait: u64,
    /// At work for other guests of the same host.
    pub steal: u64,
    /// Idle.
    pub idle: u64,
}

/// A control group that allows less time than the processors have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupCpu {
    /// Which group.
    pub path: String,
    /// Processors' worth of time that it may use.
    pub cores: f64,
    /// Time that it used so far, microseconds.
    pub used: Option<u64>,
    /// Time in which it was held back, microseconds.
    pub throttled: Option<u64>,
}

/// Memory, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What could not be had without taking it from somebody.
    pub used: u64,
}

impl Memory {
    /// Share that is used.
    #[allow(clippy::cast_precision_loss)]
    pub fn used_ratio(&self) -> Option<f64> {
        (self.total > 0).then(|| self.used as f64 / self.total as f64)
    }
}

/// The cache of ZFS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arc {
    /// Found in it so far.
    pub hits: u64,
    /// Not found.
    pub misses: u64,
    /// Its size, bytes.
    pub size: u64,
    /// To which it shrinks when memory is wanted.
    pub least: u64,
}

/// What a block device did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Io {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Time of reads, microseconds, added up.
    pub read_us: u64,
    /// Time of writes, microseconds, added up.
    pub write_us: u64,
    /// Time in which at least one was on its way, microseconds.
    pub busy_us: u64,
}

/// A file system that the server writes to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Where it is mounted.
    pub mount: String,
    /// Its type.
    pub kind: String,
    /// The whole device that it lies on, where there is one.
    pub device: Option<String>,
    /// What of the server lies there.
    pub uses: Vec<String>,
    /// Room; `None` where asking might wait for another machine.
    pub space: Option<Space>,
    /// What the device did.
    pub io: Option<Io>,
}

/// All that is known of the machine at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Which boot: counters of another are not subtracted.
    pub boot: Option<String>,
    /// Processors.
    pub cpu: Option<Cpu>,
    /// Load over one, five and fifteen minutes.
    pub load: Option<[f64; 3]>,
    /// Memory of the machine.
    pub memory: Option<Memory>,
    /// Swap space; a total of 0 where there is none.
    pub swap: Option<Memory>,
    /// A control group that allows less time.
    pub group_cpu: Option<GroupCpu>,
    /// Memory that a control group allows, and what it uses, where that is less than the machine has.
    pub group_memory: Option<Memory>,
    /// The cache of ZFS.
    pub arc: Option<Arc>,
    /// File systems.
    pub disks: Vec<Disk>,
}

impl Machine {
    /// Reads all but the file systems. `tick_us` is the unit of the kernel's times of processors.
    pub fn read(files: &dyn Files, tick_us: u64) -> Self {
        let text = |path: &str| files.text(path);
        let arc = text("/proc/spl/kstat/zfs/arcstats").and_then(|text| parse::arc(&text));
        let meminfo = text("/proc/meminfo").unwrap_or_default();
        let memory = parse::memory(&meminfo, arc);
        let allowed = text("/proc/self/status").and_then(|text| parse::allowed(&text));
        let cpu =
            text("/proc/stat").and_then(|text| parse::cpu(&text, allowed.as_deref(), tick_us));
        let groups = group::Groups::read(files);
        Self {
            boot: text("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()),
            load: text("/proc/loadavg").and_then(|text| parse::load(&text)),
            group_cpu: groups.cpu(files, cpu.as_ref().map(|cpu| cpu.count)),
            group_memory: groups.memory(files, memory.map(|memory| memory.total)),
            swap: parse::swap(&meminfo),
            cpu,
            memory,
            arc,
            disks: Vec::new(),
        }
    }

    /// Memory that the server may have: that of its control group, or of the machine.
    pub fn memory_in_force(&self) -> Option<Memory> {
        self.group_memory.or(self.memory)
    }

    /// Processors that the server may keep busy.
    pub fn cores(&self) -> Option<f64> {
        let all = self.cpu.as_ref().map(|cpu| cpu.count as f64);
        self.group_cpu.as_ref().map(|group| group.cores).or(all)
    }
}

#[cfg(test)]
mod tests;
