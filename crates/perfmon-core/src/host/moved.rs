//! What the machine did between two readings, as rows of history. Gauges are added up with the number of samples, so
//! that longer rows keep averages; peaks are kept beside them.

use super::{Arc, Cpu, Disk, Io, Machine};
use crate::family::{DISK, Family, HOST};
use crate::frame::Frame;

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// Values of [`HOST`]'s columns; `None` is unknown.
    host: Vec<Option<u64>>,
    /// File systems that are there now.
    pub disks: Vec<DiskMoved>,
}

/// What happened to one file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskMoved {
    /// Where it is mounted, its device, and what of the server lies there.
    pub names: [String; 3],
    values: Vec<Option<u64>>,
}

/// Millionths.
const PPM: f64 = 1e6;

/// Values by the names of a family's columns.
struct Values {
    family: &'static Family,
    values: Vec<Option<u64>>,
}

impl Values {
    fn new(family: &'static Family) -> Self {
        Self { family, values: vec![None; family.columns.len()] }
    }

    fn put(&mut self, name: &str, value: Option<u64>) {
        if let Some(position) = self.family.position(name) {
            self.values[position] = value;
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn ppm(part: u64, whole: u64) -> Option<u64> {
    (whole > 0).then(|| (part as f64 / whole as f64 * PPM).round() as u64)
}

impl Moved {
    /// What happened in `length_us` between two readings; `None` when they are not of the same counters: another
    /// boot, other processors, or another control group.
    pub fn between(before: &Machine, now: &Machine, length_us: i64) -> Option<Self> {
        let same_boot = before.boot == now.boot;
        let group = |machine: &Machine| machine.group_cpu.as_ref().map(|g| g.path.clone());
        let counts = |machine: &Machine| machine.cpu.as_ref().map(|cpu| cpu.count);
        if !same_boot || group(before) != group(now) || counts(before) != counts(now) {
            return None;
        }
        let length = u64::try_from(length_us).ok().filter(|length| *length > 0)?;
        let mut host = Values::new(&HOST);
        host.put("samples", Some(1));
        let cpu = before.cpu.as_ref().zip(now.cpu.as_ref());
        let busy = cpu.and_then(|(before, now)| put_cpu(&mut host, before, now));
        let limited = put_group(&mut host, before, now, length)?;
        host.put("cpu_peak_ppm", limited.or(busy));
        put_gauges(&mut host, now);
        if let Some((arc, last)) = now.arc.zip(before.arc) {
            put_arc(&mut host, arc, last);
        }
        let disks = now.disks.iter().map(|disk| disk_moved(before, disk, length)).collect();
        Some(Self { host: host.values, disks })
    }

    /// The row of the machine; its only object has the id 0.
    pub fn host_frame(&self) -> Frame {
        frame(&HOST, vec![(0, self.host.clone())])
    }

    /// The row of the file systems, given their ids in the dictionary.
    pub fn disk_frame(&self, ids: &[u32]) -> Frame {
        let mut rows: Vec<(u32, Vec<Option<u64>>)> =
            ids.iter().copied().zip(self.disks.iter().map(|disk| disk.values.clone())).collect();
        rows.sort_by_key(|row| row.0);
        rows.dedup_by_key(|row| row.0);
        frame(&DISK, rows)
    }
}

/// Puts the times of processors; returns the share that was busy. Some of the kernel's own times step back a
/// little: such a time did not pass.
fn put_cpu(host: &mut Values, before: &Cpu, now: &Cpu) -> Option<u64> {
    let moved = |of: fn(&Cpu) -> u64| of(now).saturating_sub(of(before));
    let parts = [
        ("cpu_user_us", moved(|cpu| cpu.user)),
        ("cpu_system_us", moved(|cpu| cpu.system)),
        ("cpu_steal_us", moved(|cpu| cpu.steal)),
        ("cpu_iowait_us", moved(|cpu| cpu.iowait)),
        ("cpu_idle_us", moved(|cpu| cpu.idle)),
    ];
    let all: u64 = parts.iter().map(|part| part.1).sum();
    if all == 0 {
        return None;
    }
    parts.iter().for_each(|(name, us)| host.put(name, Some(*us)));
    ppm(parts[..3].iter().map(|part| part.1).sum(), all)
}

/// Puts what the control group used of its time; `None` when its counters began anew. Inside is the share that it
/// used, where there is one.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn put_group(
    host: &mut Values,
    before: &Machine,
    now: &Machine,
    length: u64,
) -> Option<Option<u64>> {
    let Some((before, now)) = before.group_cpu.as_ref().zip(now.group_cpu.as_ref()) else {
        return Some(None);
    };
    let Some((last, used)) = before.used.zip(now.used) else { return Some(None) };
    let used = used.checked_sub(last)?;
    let capacity = (now.cores * length as f64) as u64;
    host.put("group_cpu_us", Some(used));
    host.put("group_capacity_us", Some(capacity));
    let throttled = before.throttled.zip(now.throttled);
    host.put("group_throttled_us", throttled.and_then(|(last, now)| now.checked_sub(last)));
    Some(ppm(used.min(capacity), capacity))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn put_gauges(host: &mut Values, now: &Machine) {
    let load = now.load.map(|load| (load[0] * 1000.0).round() as u64);
    host.put("load_milli", load);
    host.put("load_peak_milli", load);
    for (memory, total, used) in [
        (now.memory, "memory_bytes", "memory_used_bytes"),
        (now.group_memory, "group_memory_bytes", "group_memory_used_bytes"),
        (now.swap, "swap_bytes", "swap_used_bytes"),
    ] {
        host.put(total, memory.map(|memory| memory.total));
        host.put(used, memory.map(|memory| memory.used));
    }
    host.put("memory_peak_ppm", now.memory_in_force().and_then(|m| ppm(m.used, m.total)));
}

fn put_arc(host: &mut Values, now: Arc, before: Arc) {
    let moved = now.hits.checked_sub(before.hits).zip(now.misses.checked_sub(before.misses));
    host.put("arc_hits", moved.map(|moved| moved.0));
    host.put("arc_misses", moved.map(|moved| moved.1));
    host.put("arc_bytes", Some(now.size));
}

fn disk_moved(before: &Machine, now: &Disk, length: u64) -> DiskMoved {
    let mut disk = Values::new(&DISK);
    disk.put("space_samples", Some(u64::from(now.space.is_some())));
    let space = now.space.unwrap_or_default();
    disk.put("size_bytes", Some(space.size));
    disk.put("used_bytes", Some(space.used));
    disk.put("available_bytes", Some(space.available));
    disk.put("used_peak_ppm", Some(ppm(space.used, space.used + space.available).unwrap_or(0)));
    let last = before.disks.iter().find(|disk| disk.device == now.device).and_then(|disk| disk.io);
    let moved = last.zip(now.io).and_then(|(before, now)| difference(&before, &now));
    // A device of which nothing is known has no time in which it was watched.
    disk.put("watched_us", Some(moved.map_or(0, |_| length)));
    let io = moved.unwrap_or_default();
    disk.put("reads", Some(io.reads));
    disk.put("writes", Some(io.writes));
    disk.put("read_bytes", Some(io.read_bytes));
    disk.put("write_bytes", Some(io.write_bytes));
    disk.put("read_us", Some(io.read_us));
    disk.put("write_us", Some(io.write_us));
    let busy = io.busy_us.min(length);
    disk.put("busy_us", Some(busy));
    disk.put("busy_peak_ppm", Some(ppm(busy, length).unwrap_or(0)));
    let device = now.device.clone().unwrap_or_default();
    DiskMoved { names: [now.mount.clone(), device, now.uses.join(", ")], values: disk.values }
}

/// `None` when the counters began anew, as those of a device that was taken out.
fn difference(before: &Io, now: &Io) -> Option<Io> {
    Some(Io {
        reads: now.reads.checked_sub(before.reads)?,
        writes: now.writes.checked_sub(before.writes)?,
        read_bytes: now.read_bytes.checked_sub(before.read_bytes)?,
        write_bytes: now.write_bytes.checked_sub(before.write_bytes)?,
        read_us: now.read_us.checked_sub(before.read_us)?,
        write_us: now.write_us.checked_sub(before.write_us)?,
        busy_us: now.busy_us.checked_sub(before.busy_us)?,
    })
}

fn frame(family: &'static Family, rows: Vec<(u32, Vec<Option<u64>>)>) -> Frame {
    let mut known = 1;
    let mut columns = vec![None; family.columns.len()];
    for (c, column) in columns.iter_mut().enumerate().skip(1) {
        let values: Option<Vec<u64>> = rows.iter().map(|row| row.1[c]).collect();
        let Some(values) = values else { continue };
        known |= 1 << c;
        *column = values.iter().any(|value| *value != 0).then_some(values);
    }
    Frame {
        family,
        ids: rows.iter().map(|row| row.0).collect(),
        columns,
        known,
        totals: Vec::new(),
    }
}
