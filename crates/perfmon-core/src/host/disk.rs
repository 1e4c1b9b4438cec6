//! File systems that the server writes to, and their devices. Asking a file system of another machine for its room
//! may wait for ever, and so may looking at a name in it: such a one is told by where it is mounted, before anything
//! of it is touched.

use super::{Disk, Files, Io, parse};

/// A line of /proc/self/mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// Number of its device, as `8:1`.
    number: String,
    /// What of the file system is mounted.
    pub(super) root: String,
    pub(super) point: String,
    pub(super) kind: String,
    source: String,
    /// Options of the file system itself.
    pub(super) options: String,
}

/// The lines of /proc/self/mountinfo, in their order: a later one covers an earlier one.
pub(super) fn mounts(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(2);
        let mut after = after.split(' ');
        Some(Mount {
            number: before.next()?.to_owned(),
            root: unescaped(before.next()?),
            point: unescaped(before.next()?),
            kind: after.next()?.to_owned(),
            source: unescaped(after.next()?),
            options: after.next().unwrap_or_default().to_owned(),
        })
    };
    text.lines().filter_map(mount).collect()
}

/// Blanks and the like are written as `\040`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'\\').then(|| after.get(..3)).flatten();
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Types whose answers come from another machine or program, and those that would be mounted by a look.
fn is_remote(kind: &str) -> bool {
    const REMOTE: [&str; 14] = [
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "beegfs", "gpfs", "9p",
        "ncpfs", "coda", "autofs",
    ];
    REMOTE.contains(&kind) || kind == "fuse" || kind.starts_with("fuse.")
}

/// The mount that a path lies in, by its name alone.
fn mount_of<'a>(mounts: &'a [Mount], path: &str) -> Option<&'a Mount> {
    let holds = |mount: &&Mount| {
        let rest = path.strip_prefix(mount.point.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    // The last of those that are equally deep.
    mounts.iter().filter(holds).max_by_key(|mount| mount.point.len())
}

/// In a root directory of a process's own that is no mount point, the kernel tells nothing of the file system in which
/// it lies: neither its type nor its device.
fn unnamed_root() -> Mount {
    Mount {
        number: String::new(),
        root: "/".to_owned(),
        point: "/".to_owned(),
        kind: String::new(),
        source: String::new(),
        options: String::new(),
    }
}

/// Links followed until it must be a circle.
const MOST_LINKS: usize = 40;

/// Follows the links of an absolute path, one by one, as far as that touches no remote file system; returns where it
/// leads, and the mount in which that lies.
fn resolve<'a>(files: &dyn Files, mounts: &'a [Mount], path: &str) -> Option<(String, &'a Mount)> {
    let mut done = String::new();
    let mut parts: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut links = 0;
    while let Some(part) = parts.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                done.truncate(done.rfind('/').unwrap_or(0));
                continue;
            }
            _ => {}
        }
        let next = format!("{done}/{part}");
        let mount = mount_of(mounts, &next)?;
        if is_remote(&mount.kind) {
            return Some((next, mount));
        }
        let Some(target) = files.link(&next) else {
            done = next;
            continue;
        };
        links += 1;
        if links > MOST_LINKS {
            return None;
        }
        if target.starts_with('/') {
            done.clear();
        }
        parts.extend(target.split('/').rev().map(str::to_owned));
    }
    if done.is_empty() {
        done.push('/');
    }
    let mount = mount_of(mounts, &done)?;
    Some((done, mount))
}

/// A directory of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What lies there, in words.
    pub what: String,
    /// Its absolute path.
    pub path: String,
    /// The server itself waits whenever it does not answer: asking it costs nothing more.
    pub is_in_use: bool,
}

/// The file systems of these directories, each once.
pub fn disks(files: &dyn Files, places: &[Place]) -> Vec<Disk> {
    let told = files.text("/proc/self/mountinfo");
    let mut mounts = mounts(told.as_deref().unwrap_or_default());
    if told.is_some() && mount_of(&mounts, "/").is_none() {
        mounts.push(unnamed_root());
    }
    let stats = files.text("/proc/diskstats").unwrap_or_default();
    let mut found: Vec<Disk> = Vec::new();
    for place in places {
        let Some((path, mount)) = resolve(files, &mounts, &place.path) else { continue };
        let asks = place.is_in_use || !(is_remote(&mount.kind) || mount.kind.is_empty());
        let space = || if asks { files.space(&path) } else { None };
        if let Some(known) = found.iter_mut().find(|disk| disk.mount == mount.point) {
            known.uses.push(place.what.clone());
            known.space = known.space.or_else(space);
            continue;
        }
        let (device, io) = device(files, mount, &stats).unzip();
        found.push(Disk {
            mount: mount.point.clone(),
            kind: mount.kind.clone(),
            device,
            uses: vec![place.what.clone()],
            space: space(),
            io,
        });
    }
    found
}

/// The device under a file system. What a partition can do is what the whole device has left for it, so that is what
/// is told.
fn device(files: &dyn Files, mount: &Mount, stats: &str) -> Option<(String, Io)> {
    let by_name = |name: &str| parse::devices(stats).find(|device| device.name == name);
    let by_number = parse::devices(stats).find(|device| device.number == mount.number);
    // Some file systems have a number of their own, and name the device that they were mounted from.
    let device = by_number.or_else(|| {
        let name = mount.source.strip_prefix("/dev/")?;
        let target = files.link(&mount.source);
        by_name(target.as_deref().map_or(name, |target| last(target)))
    })?;
    let folder = format!("/sys/dev/block/{}", device.number);
    let whole = files.text(&format!("{folder}/partition")).and_then(|_| {
        let link = files.link(&folder)?;
        let (outer, _) = link.rsplit_once('/')?;
        by_name(last(outer))
    });
    let device = whole.unwrap_or(device);
    Some((device.name.to_owned(), device.io))
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
