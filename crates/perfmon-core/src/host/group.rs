//! What control groups, of version 1 or 2, allow this process: its own group's limits, and those of the groups around
//! it as far as this process sees them. The limit that leaves least decides.

use super::disk::{Mount, mounts};
use super::{Files, GroupCpu, Memory};

/// The controllers that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    Cpu,
    Usage,
    Memory,
}

/// Where the groups of this process lie.
pub(super) struct Groups {
    mounts: Vec<Mount>,
    /// Controllers and path of each hierarchy.
    own: Vec<(String, String)>,
}

/// The folders of a group and of those around it, innermost first.
struct Way {
    folders: Vec<String>,
    /// Version 2.
    unified: bool,
}

impl Groups {
    pub(super) fn read(files: &dyn Files) -> Self {
        let text = files.text("/proc/self/cgroup").unwrap_or_default();
        let own = text.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            Some((controllers.to_owned(), path.to_owned()))
        });
        let own = own.collect();
        Self { mounts: mounts(&files.text("/proc/self/mountinfo").unwrap_or_default()), own }
    }

    /// Where a controller's files are: in the hierarchy of version 1 that has it, and in that of version 2.
    fn ways(&self, controller: Controller) -> Vec<Way> {
        let name = match controller {
            Controller::Cpu => "cpu",
            Controller::Usage => "cpuacct",
            Controller::Memory => "memory",
        };
        let has = |list: &str| list.split(',').any(|part| part == name);
        let mut found = Vec::new();
        for (controllers, path) in &self.own {
            let unified = controllers.is_empty();
            if !unified && !has(controllers) {
                continue;
            }
            let is_it = |mount: &&Mount| match mount.kind.as_str() {
                "cgroup2" => unified,
                "cgroup" => !unified && has(&mount.options),
                _ => false,
            };
            // Where a container hides how its groups are mounted, they are where they always are.
            let usual = if unified {
                "/sys/fs/cgroup".to_owned()
            } else {
                format!("/sys/fs/cgroup/{name}")
            };
            let mount = self.mounts.iter().rev().find(is_it);
            let (base, root) = mount.map_or((usual.as_str(), "/"), |m| (&m.point, &m.root));
            found.push(Way { folders: folders(base, root, path), unified });
        }
        found
    }

    /// The group that allows the least time of processors, if it is less than they have.
    pub(super) fn cpu(&self, files: &dyn Files, processors: Option<u64>) -> Option<GroupCpu> {
        let mut least: Option<GroupCpu> = None;
        for way in self.ways(Controller::Cpu) {
            for (depth, folder) in way.folders.iter().enumerate() {
                let Some(cores) = cores(files, folder, way.unified) else { continue };
                if least.as_ref().is_some_and(|least| least.cores <= cores) {
                    continue;
                }
                let stat = files.text(&format!("{folder}/cpu.stat")).unwrap_or_default();
                let (used, throttled) = if way.unified {
                    (entry(&stat, "usage_usec"), entry(&stat, "throttled_usec"))
                } else {
                    let usage = self.ways(Controller::Usage);
                    let usage = usage.iter().find(|way| !way.unified);
                    let usage = usage.and_then(|way| way.folders.get(depth));
                    let used = usage.and_then(|at| number(files, &format!("{at}/cpuacct.usage")));
                    (used.map(|ns| ns / 1000), entry(&stat, "throttled_time").map(|ns| ns / 1000))
                };
                least = Some(GroupCpu { path: folder.clone(), cores, used, throttled });
            }
        }
        #[allow(clippy::cast_precision_loss)]
        least.filter(|least| processors.is_none_or(|all| least.cores < all as f64))
    }

    /// The limit of memory that leaves least, if it is less than the machine has.
    pub(super) fn memory(&self, files: &dyn Files, machine: Option<u64>) -> Option<Memory> {
        let ways = self.ways(Controller::Memory);
        let all = ways.iter().flat_map(|way| way.folders.iter().map(|f| (f, way.unified)));
        let found = all.filter_map(|(folder, unified)| memory(files, folder, unified));
        let found = found.filter(|found| machine.is_none_or(|all| found.total < all));
        found.min_by_key(|found| found.total.saturating_sub(found.used))
    }
}

/// A group's folder and those around it. A container may see its own group as the root, under the path that the host
/// knows.
fn folders(base: &str, root: &str, path: &str) -> Vec<String> {
    let inside = path.strip_prefix(root.trim_end_matches('/'));
    let path = inside.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path);
    // What lies outside of the part of the tree that this process sees is not there to be read.
    let path = if path.split('/').any(|part| part == "..") { "" } else { path };
    let mut path = path.trim_matches('/');
    let base = base.trim_end_matches('/');
    let mut found = Vec::new();
    while !path.is_empty() {
        found.push(format!("{base}/{path}"));
        path = path.rsplit_once('/').map_or("", |(outer, _)| outer);
    }
    found.push(base.to_owned());
    found
}

/// The time that a group may use, in processors.
#[allow(clippy::cast_precision_loss)]
fn cores(files: &dyn Files, folder: &str, unified: bool) -> Option<f64> {
    let (quota, period) = if unified {
        let text = files.text(&format!("{folder}/cpu.max"))?;
        let (quota, period) = text.trim().split_once(' ')?;
        (quota.parse::<u64>().ok()?, period.parse::<u64>().ok()?)
    } else {
        // Without a limit it is -1.
        let quota = number(files, &format!("{folder}/cpu.cfs_quota_us"))?;
        (quota, number(files, &format!("{folder}/cpu.cfs_period_us"))?)
    };
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// A limit of memory, and what is used of it: files that nobody looked at lately are given back when memory is wanted.
fn memory(files: &dyn Files, folder: &str, unified: bool) -> Option<Memory> {
    let (limit, usage, cache) = if unified {
        ("memory.max", "memory.current", "inactive_file")
    } else {
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    };
    // `max` is none.
    let total = number(files, &format!("{folder}/{limit}")).filter(|limit| *limit > 0)?;
    let used = number(files, &format!("{folder}/{usage}"))?;
    let stat = files.text(&format!("{folder}/memory.stat")).unwrap_or_default();
    let cached = entry(&stat, cache).unwrap_or(0);
    Some(Memory { total, used: used.saturating_sub(cached).min(total) })
}

fn number(files: &dyn Files, path: &str) -> Option<u64> {
    files.text(path)?.trim().parse().ok()
}

/// A line `name value`.
fn entry(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    rest.trim().parse().ok()
}
