//! The machine over the period: a list of shares, and one of file systems.

use super::grid::Side::{Left, Right};
use super::grid::grid;
use super::text::{plain, wrapped};
use super::words::{bytes, number, percent};
use crate::host::{DiskSeen, HostSeen};

/// The machine; shares from 0 to 1.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Machine {
    /// Of the processors' time that the server may use: at work on average, and at most in one interval.
    pub cpu_ratio: Option<f64>,
    /// See above.
    pub cpu_peak_ratio: Option<f64>,
    /// Of the machine's time: idle while a disk was waited for.
    pub iowait_ratio: Option<f64>,
    /// Taken by other guests of the same host.
    pub steal_ratio: Option<f64>,
    /// Load of a minute, on average.
    pub load: Option<f64>,
    /// Of the memory that the server may have: used on average, and at most.
    pub memory_ratio: Option<f64>,
    /// See above.
    pub memory_peak_ratio: Option<f64>,
    /// That memory, bytes.
    pub memory_bytes: Option<f64>,
    /// It is that of a control group.
    pub limited: bool,
    /// Of reads: found in the cache of ZFS; `None` where there is none.
    pub arc_hit_ratio: Option<f64>,
    /// File systems that the server writes to.
    pub disks: Vec<MachineDisk>,
}

/// A file system.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct MachineDisk {
    /// Where it is mounted.
    pub mount: String,
    /// Its device.
    pub device: Option<String>,
    /// What of the server lies there.
    pub uses: String,
    /// Share of its room that was used at the end of the period.
    pub used_ratio: Option<f64>,
    /// Left at that time, bytes.
    pub available_bytes: Option<f64>,
    /// Share of the time in which the device was at work.
    pub busy_ratio: Option<f64>,
    /// Reads per second.
    pub reads_per_s: Option<f64>,
    /// Writes per second.
    pub writes_per_s: Option<f64>,
}

impl Machine {
    /// From what history says.
    pub fn of(seen: &HostSeen, disks: Vec<MachineDisk>) -> Self {
        Self {
            cpu_ratio: seen.cpu_ratio(),
            cpu_peak_ratio: seen.cpu_peak_ratio(),
            iowait_ratio: seen.iowait_ratio(),
            steal_ratio: seen.steal_ratio(),
            load: seen.load(),
            memory_ratio: seen.memory_ratio(),
            memory_peak_ratio: seen.memory_peak_ratio(),
            memory_bytes: seen.memory_bytes(),
            limited: seen.is_limited(),
            arc_hit_ratio: seen.arc_hit_ratio().map(|(ratio, _)| ratio),
            disks,
        }
    }
}

impl MachineDisk {
    /// From what history says of the period, and of its end.
    pub fn of(names: [Option<String>; 3], period: &DiskSeen, last: &DiskSeen) -> Self {
        let [mount, device, uses] = names;
        Self {
            mount: mount.unwrap_or_default(),
            device: device.filter(|name| !name.is_empty()),
            uses: uses.unwrap_or_default(),
            used_ratio: last.used_ratio(),
            available_bytes: last.available_bytes(),
            busy_ratio: period.busy_ratio(),
            reads_per_s: period.reads_per_s(),
            writes_per_s: period.writes_per_s(),
        }
    }
}

/// The section; nothing where the machine was not recorded.
pub(super) fn machine(out: &mut String, machine: Option<&Machine>) {
    let Some(machine) = machine else { return };
    out.push_str("## Machine\n\n");
    let mut item = |name: &str, value: String| wrapped(out, &format!("- {name}: "), &value);
    let peak = |ratio: Option<f64>| match ratio {
        Some(ratio) => format!(", at most {}", percent(Some(ratio))),
        None => String::new(),
    };
    item(
        "Processors",
        format!("{} at work{}", percent(machine.cpu_ratio), peak(machine.cpu_peak_ratio)),
    );
    item("Waiting for disks", format!("{} of the processors' time", percent(machine.iowait_ratio)));
    if let Some(steal) = machine.steal_ratio.filter(|steal| *steal > 0.0) {
        item("Taken by other guests", format!("{} of the processors' time", percent(Some(steal))));
    }
    item("Load", number(machine.load));
    let of = match machine.memory_bytes {
        Some(all) if machine.limited => format!(" of {} (the limit of the container)", bytes(all)),
        Some(all) => format!(" of {}", bytes(all)),
        None => String::new(),
    };
    item(
        "Memory",
        format!("{} used{of}{}", percent(machine.memory_ratio), peak(machine.memory_peak_ratio)),
    );
    if let Some(ratio) = machine.arc_hit_ratio {
        item("Cache of ZFS", format!("{} of the reads found in it", percent(Some(ratio))));
    }
    out.push('\n');
    if machine.disks.is_empty() {
        return;
    }
    let row = |disk: &MachineDisk| {
        [
            percent(disk.used_ratio),
            disk.available_bytes.map_or_else(|| percent(None), bytes),
            percent(disk.busy_ratio),
            number(disk.reads_per_s),
            number(disk.writes_per_s),
            disk.device.as_deref().map_or_else(String::new, plain),
            plain(&disk.mount),
            plain(&disk.uses),
        ]
    };
    let heads = [
        ("used", Right),
        ("left", Right),
        ("busy", Right),
        ("reads/s", Right),
        ("writes/s", Right),
        ("device", Left),
        ("mounted at", Left),
        ("holds", Left),
    ];
    grid(out, heads, &machine.disks.iter().map(row).collect::<Vec<_>>());
    let note = "Devices are whole ones, whatever else uses them. More: `SELECT * FROM perfmon.host_series(...)`, \
                `perfmon.disk_series(...)`.";
    wrapped(out, "", note);
    out.push('\n');
}
