//! The texts of /proc. Lines and fields that are not known are passed over: kernels add some, and substitutes for
//! a kernel leave some out.

use super::{Arc, Cpu, Io, Memory};

/// A line such as `MemTotal:  16384000 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

/// Memory. What the cache of ZFS would give back is not used, though the kernel does not know that.
pub(super) fn memory(meminfo: &str, arc: Option<Arc>) -> Option<Memory> {
    let of = |name| kilobytes(meminfo, name);
    let total = of("MemTotal")?;
    // Kernels before 3.14 do not tell what is available.
    let available = of("MemAvailable").or_else(|| {
        Some(of("MemFree")? + of("Buffers")? + of("Cached")?.saturating_sub(of("Shmem")?))
    })?;
    let shrinks = arc.map_or(0, |arc| arc.size.saturating_sub(arc.least));
    let available = available.saturating_add(shrinks).min(total);
    Some(Memory { total, used: total - available })
}

/// Swap space.
pub(super) fn swap(meminfo: &str) -> Option<Memory> {
    let total = kilobytes(meminfo, "SwapTotal")?;
    Some(Memory { total, used: total.saturating_sub(kilobytes(meminfo, "SwapFree")?) })
}

/// Load over one, five and fifteen minutes.
pub(super) fn load(text: &str) -> Option<[f64; 3]> {
    let mut fields = text.split_ascii_whitespace().map(str::parse::<f64>);
    let mut next = || fields.next()?.ok();
    Some([next()?, next()?, next()?])
}

/// The processors that this process may run on, from /proc/self/status.
pub(super) fn allowed(status: &str) -> Option<Vec<u32>> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut found = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        // More than any kernel knows is no list of processors.
        found.extend((last < 65_536 && first <= last).then_some(first..=last)?);
    }
    Some(found)
}

/// Times of the processors that are allowed, from /proc/stat; of all, where that is not known.
pub(super) fn cpu(stat: &str, allowed: Option<&[u32]>, tick_us: u64) -> Option<Cpu> {
    let mut sum = Cpu::default();
    for line in stat.lines() {
        let Some((number, times)) = line.strip_prefix("cpu").and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        // The first line, which has no number, is the sum of all.
        let Ok(number) = number.parse::<u32>() else { continue };
        if allowed.is_some_and(|allowed| !allowed.contains(&number)) {
            continue;
        }
        let ticks: Vec<u64> =
            times.split_ascii_whitespace().map_while(|t| t.parse().ok()).collect();
        let of = |at: usize| ticks.get(at).map_or(0, |ticks| ticks.saturating_mul(tick_us));
        if ticks.len() < 4 {
            return None;
        }
        sum.count += 1;
        // Time of guests is in that of programs already.
        sum.user += of(0) + of(1);
        sum.system += of(2) + of(5) + of(6);
        sum.idle += of(3);
        sum.iowait += of(4);
        sum.steal += of(7);
    }
    (sum.count > 0).then_some(sum)
}

/// The cache of ZFS.
pub(super) fn arc(text: &str) -> Option<Arc> {
    let of = |name: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            (fields.next()? == name).then(|| fields.nth(1)?.parse::<u64>().ok())?
        })
    };
    let arc =
        Arc { hits: of("hits")?, misses: of("misses")?, size: of("size")?, least: of("c_min")? };
    Some(arc)
}

/// A line of /proc/diskstats.
pub(super) struct Device<'a> {
    /// As `8:1`.
    pub(super) number: String,
    pub(super) name: &'a str,
    pub(super) io: Io,
}

/// The lines of /proc/diskstats that tell all.
pub(super) fn devices(text: &str) -> impl Iterator<Item = Device<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (major, minor, name) = (fields.next()?, fields.next()?, fields.next()?);
        let counts: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
        let of = |at: usize| counts.get(at).copied();
        let ms = |at: usize| of(at).map(|ms| ms.saturating_mul(1000));
        // A sector is of 512 bytes whatever the device's are.
        let bytes = |at: usize| of(at).map(|sectors| sectors.saturating_mul(512));
        let io = Io {
            reads: of(0)?,
            read_bytes: bytes(2)?,
            read_us: ms(3)?,
            writes: of(4)?,
            write_bytes: bytes(6)?,
            write_us: ms(7)?,
            busy_us: ms(9)?,
        };
        Some(Device { number: format!("{major}:{minor}"), name, io })
    })
}
