//! The machine, or the part of it that this server may use: a container counts as a machine.

use std::fs;
use std::path::{Path, PathBuf};

/// Where control groups of version 1 keep the limit of memory, and those of version 2.
const LIMITS: [(&str, &str); 2] =
    [("sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("sys/fs/cgroup", "memory.max")];

/// Memory in bytes: the least of what the machine has and what the control groups of this process, and
/// those around them, allow. `root` is where the system's files lie.
pub(super) fn memory(root: &Path) -> Option<i64> {
    let all = kilobytes(&fs::read_to_string(root.join("proc/meminfo")).ok()?, "MemTotal:")?;
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    limits(root, &groups).chain([all.saturating_mul(1024)]).min()
}

/// Processors, as far as affinity and control groups let this process have them.
pub(super) fn processors() -> Option<i64> {
    i64::try_from(std::thread::available_parallelism().ok()?.get()).ok()
}

/// A line such as `MemTotal:  16384000 kB`.
fn kilobytes(text: &str, name: &str) -> Option<i64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().strip_suffix("kB")?.trim_end().parse().ok()
}

/// Limits in force, from the lines `number:controllers:path` of the process's groups.
fn limits<'a>(root: &'a Path, groups: &'a str) -> impl Iterator<Item = i64> + 'a {
    groups.lines().flat_map(move |line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next().unwrap_or_default();
        let path = fields.next().unwrap_or("/");
        let of_memory = controllers.split(',').any(|controller| controller == "memory");
        let place = match controllers {
            "" => Some(LIMITS[1]),
            _ if of_memory => Some(LIMITS[0]),
            _ => None,
        };
        place.into_iter().flat_map(move |(base, file)| {
            let base = root.join(base);
            // A container may see its own group as the root, under the path that the host knows.
            around(path).filter_map(move |group| limit(&base.join(group).join(file)))
        })
    })
}

/// A group and those around it, up to the root: `a/b`, `a`, ``.
fn around(path: &str) -> impl Iterator<Item = PathBuf> {
    let path = Path::new(path.trim_start_matches('/')).to_owned();
    // What lies outside of the part of the tree that this process sees is not there to be read.
    let inside = !path.components().any(|part| part == std::path::Component::ParentDir);
    let path = if inside { path } else { PathBuf::new() };
    std::iter::successors(Some(path), |path| path.parent().map(Path::to_owned))
}

/// A limit that is one: `max`, or a number that no machine has, is none.
fn limit(file: &Path) -> Option<i64> {
    let bytes: i64 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (bytes > 0).then_some(bytes)
}
