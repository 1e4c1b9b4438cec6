use std::collections::BTreeMap;

use super::*;
use crate::family::{DISK, HOST};

/// A recorded machine: `== path` before a text, `-> path target` for a link, `%% path size used available` for a file
/// system. Whoever asks a file system that is not recorded would wait for ever.
struct Recorded {
    texts: BTreeMap<String, String>,
    links: BTreeMap<String, String>,
    spaces: BTreeMap<String, Space>,
}

impl Recorded {
    fn of(text: &str) -> Self {
        let mut made =
            Self { texts: BTreeMap::new(), links: BTreeMap::new(), spaces: BTreeMap::new() };
        let mut at = String::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(path) = line.strip_prefix("== ") {
                at = path.to_owned();
                made.texts.insert(at.clone(), String::new());
            } else if let Some(link) = line.strip_prefix("-> ") {
                // Paths may hold blanks, targets do not.
                let (path, target) = link.rsplit_once(' ').unwrap();
                made.links.insert(path.to_owned(), target.to_owned());
            } else if let Some(space) = line.strip_prefix("%% ") {
                let fields: Vec<&str> = space.rsplitn(4, ' ').collect();
                let number = |i: usize| fields[i].parse().unwrap();
                let space = Space { size: number(2), used: number(1), available: number(0) };
                made.spaces.insert(fields[3].to_owned(), space);
            } else {
                let text = made.texts.get_mut(&at).unwrap();
                text.push_str(line);
                text.push('\n');
            }
        }
        made
    }

    fn with(mut self, path: &str, text: &str) -> Self {
        self.texts.insert(path.to_owned(), text.to_owned());
        self
    }
}

impl Files for Recorded {
    fn text(&self, path: &str) -> Option<String> {
        self.texts.get(path).cloned()
    }
    fn link(&self, path: &str) -> Option<String> {
        assert!(!path.starts_with("/mnt/nfs"), "{path} is on another machine");
        self.links.get(path).cloned()
    }
    fn space(&self, path: &str) -> Option<Space> {
        Some(*self.spaces.get(path).unwrap_or_else(|| panic!("{path} was asked for its room")))
    }
}

fn vm() -> Recorded {
    Recorded::of(include_str!("../../tests/host/vm_6_18_v1.txt"))
}
fn container() -> Recorded {
    Recorded::of(include_str!("../../tests/host/container_5_10_v2.txt"))
}
fn old_container() -> Recorded {
    Recorded::of(include_str!("../../tests/host/container_4_19_v1.txt"))
}
fn zfs() -> Recorded {
    Recorded::of(include_str!("../../tests/host/zfs_3_10.txt"))
}

fn place(what: &str, path: &str) -> Place {
    Place { what: what.to_owned(), path: path.to_owned(), is_in_use: false }
}

const TICK_US: u64 = 10_000;
const KB: u64 = 1024;

#[test]
fn a_machine_without_limits_is_itself() {
    let files = vm();
    let machine = Machine::read(&files, TICK_US);
    let cpu = machine.cpu.clone().unwrap();
    assert_eq!(cpu.count, 2);
    // The kernel's own sum over all processors differs by the rounding of its parts.
    let first = files.texts["/proc/stat"].lines().next().unwrap().to_owned();
    let whole: u64 =
        first.split_whitespace().skip(1).take(8).map(|t| t.parse::<u64>().unwrap()).sum();
    let ours = (cpu.user + cpu.system + cpu.iowait + cpu.steal + cpu.idle) / TICK_US;
    assert!(whole.abs_diff(ours) < 20, "{whole} {ours}");
    assert_eq!(machine.group_cpu, None);
    assert_eq!(machine.group_memory, None, "a limit beyond the machine's memory is none");
    let memory = machine.memory.unwrap();
    assert_eq!(memory.total, 24_682_416 * KB);
    assert!(memory.used > 0 && memory.used < memory.total / 2);
    assert_eq!(machine.swap, Some(Memory { total: 0, used: 0 }));
    assert_eq!(machine.cores(), Some(2.0));
    let disks = disks(&files, &[place("data directory", "/")]);
    assert_eq!((disks[0].kind.as_str(), disks[0].device.as_deref()), ("ext4", Some("vda")));
    assert!(disks[0].io.unwrap().write_bytes > 0);
}

#[test]
fn a_container_is_judged_by_its_own_limits() {
    let machine = Machine::read(&container(), TICK_US);
    let group = machine.group_cpu.clone().unwrap();
    assert_eq!((group.cores, group.used, group.throttled), (1.5, Some(5_000_000), Some(250_000)));
    assert_eq!(machine.cores(), Some(1.5));
    let memory = machine.memory_in_force().unwrap();
    assert_eq!(memory, Memory { total: 536_870_912, used: 300_000_000 });
    assert_eq!(machine.memory.unwrap().used, 7_000_000 * KB);
    assert_eq!(machine.swap, Some(Memory { total: 2_000_000 * KB, used: 500_000 * KB }));
    assert_eq!(machine.load, Some([0.52, 1.04, 2.08]));
    let cpu = machine.cpu.unwrap();
    assert_eq!((cpu.count, cpu.user), (4, 1020 * TICK_US), "time of guests is counted once");
    assert_eq!((cpu.system, cpu.steal), (550 * TICK_US, 50 * TICK_US));
}

#[test]
fn version_1_knows_the_group_by_the_path_of_the_host() {
    let machine = Machine::read(&old_container(), TICK_US);
    let cpu = machine.cpu.clone().unwrap();
    assert_eq!((cpu.count, cpu.user), (2, 2000 * TICK_US), "of the processors it may use");
    let group = machine.group_cpu.clone().unwrap();
    assert_eq!((group.cores, group.used, group.throttled), (0.5, Some(7_000_000), Some(4_000_000)));
    assert_eq!(machine.group_memory, Some(Memory { total: 1 << 30, used: 500_000_000 }));
}

#[test]
fn the_least_of_nested_limits_decides() {
    let nested = container()
        .with("/proc/self/cgroup", "0::/pod/main\n")
        .with("/sys/fs/cgroup/cpu.max", "max 100000\n")
        .with("/sys/fs/cgroup/memory.max", "max\n")
        .with("/sys/fs/cgroup/pod/cpu.max", "50000 100000\n")
        .with("/sys/fs/cgroup/pod/main/cpu.max", "300000 100000\n")
        .with("/sys/fs/cgroup/pod/memory.max", "2000000000\n")
        .with("/sys/fs/cgroup/pod/memory.current", "1950000000\n")
        .with("/sys/fs/cgroup/pod/main/memory.max", "1000000000\n")
        .with("/sys/fs/cgroup/pod/main/memory.current", "100000000\n");
    let machine = Machine::read(&nested, TICK_US);
    let group = machine.group_cpu.unwrap();
    assert_eq!((group.path.as_str(), group.cores, group.used), ("/sys/fs/cgroup/pod", 0.5, None));
    // The pod has 50 MB left, the container in it thinks that it has 900.
    assert_eq!(machine.group_memory, Some(Memory { total: 2_000_000_000, used: 1_950_000_000 }));
}

#[test]
fn a_quota_of_all_processors_is_no_limit() {
    let wide = container().with("/sys/fs/cgroup/cpu.max", "400000 100000\n");
    assert_eq!(Machine::read(&wide, TICK_US).group_cpu, None);
    let wild = container().with("/sys/fs/cgroup/memory.max", "99999999999999\n");
    assert_eq!(Machine::read(&wild, TICK_US).group_memory, None);
}

#[test]
fn the_cache_of_zfs_is_not_used_memory() {
    let files = zfs();
    let machine = Machine::read(&files, TICK_US);
    let arc = machine.arc.unwrap();
    assert_eq!((arc.hits, arc.misses, arc.size, arc.least), (900, 100, 6_544_000_000, 400_000_000));
    // 1.4 GB free or in the page cache, without shared memory, and what ZFS would give back.
    let available = 1_400_000 * KB + 6_144_000_000;
    assert_eq!(machine.memory.unwrap().used, 10_000_000 * KB - available);
    assert_eq!(machine.swap, None, "not told");
    assert_eq!(machine.boot, None);
    let disks = disks(&files, &[place("data directory", "/data")]);
    assert_eq!((disks[0].device.as_ref(), disks[0].io), (None, None), "ZFS has no one device");
    assert_eq!(disks[0].space.unwrap().used, 100);
}

#[test]
fn elsewhere_nothing_is_known() {
    let nowhere = Recorded::of("");
    assert_eq!(Machine::read(&nowhere, TICK_US), Machine::default());
    assert_eq!(disks(&nowhere, &[place("data directory", "/data")]), []);
    let broken = Recorded::of("== /proc/stat\ncpu0 1 x\n== /proc/meminfo\nMemTotal: many kB\n");
    assert_eq!(Machine::read(&broken, TICK_US), Machine::default());
}

#[test]
fn file_systems_are_those_that_links_lead_to() {
    let files = container();
    let found = disks(
        &files,
        &[
            place("data directory", "/var/lib/my data/pgdata"),
            place("WAL", "/var/lib/my data/pgdata/pg_wal"),
        ],
    );
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].mount.as_str(), found[0].kind.as_str()), ("/var/lib/my data", "ext4"));
    assert_eq!(found[0].device.as_deref(), Some("nvme0n1"), "the whole device, not its partition");
    let io = found[0].io.unwrap();
    assert_eq!((io.reads, io.read_bytes, io.busy_us), (1000, 80_000 * 512, 1_800_000));
    assert_eq!((found[1].mount.as_str(), found[1].device.as_ref()), ("/", None));
    let one = disks(
        &files,
        &[place("data directory", "/a"), place("WAL", "/b")].map(|mut p| {
            p.path = "/var/lib/my data/pgdata".to_owned();
            p
        }),
    );
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].uses, ["data directory", "WAL"]);
}

#[test]
fn a_root_that_is_no_mount_point_has_room_of_its_own() {
    let files = Recorded::of(
        "== /proc/self/mountinfo\n\
         25 1 0:22 / /proc rw shared:5 - proc proc rw\n\
         26 1 8:1 / /mnt/near rw - ext4 /dev/sda1 rw\n\
         %% /var/pg/data 1000 600 400\n\
         %% /mnt/near/wal 500 100 400\n\
         -> /var/pg/data/pg_wal /mnt/near/wal\n",
    );
    let data = Place { is_in_use: true, ..place("data directory", "/var/pg/data") };
    let found = disks(
        &files,
        &[
            data,
            place("WAL", "/var/pg/data/pg_wal"),
            place("tablespace near", "/var/pg/data/pg_tblspc/1"),
        ],
    );
    let told: Vec<(&str, &str, u64)> =
        found.iter().map(|d| (d.mount.as_str(), d.kind.as_str(), d.space.unwrap().size)).collect();
    assert_eq!(told, [("/", "", 1000), ("/mnt/near", "ext4", 500)]);
    assert_eq!(found[0].uses, ["data directory", "tablespace near"]);
    assert_eq!((&found[0].device, found[0].io), (&None, None));
    // Of what is not told it is not known whether another machine would have to answer.
    let other = disks(&files, &[place("tablespace", "/srv/space")]);
    assert_eq!(other[0].space, None);
}

#[test]
fn another_machine_s_file_system_is_never_asked() {
    let files = old_container();
    let found = disks(
        &files,
        &[
            place("data directory", "/data"),
            place("tablespace far", "/data/pg_tblspc/1"),
            place("tablespace near", "/data/pg_tblspc/2"),
            place("tablespace in a circle", "/data/pg_tblspc/3"),
        ],
    );
    assert_eq!(
        found.iter().map(|d| d.mount.as_str()).collect::<Vec<_>>(),
        ["/data", "/mnt/nfs", "/mnt/btrfs"]
    );
    assert_eq!(found[0].device.as_deref(), Some("dm-1"));
    assert_eq!((found[1].space, found[1].io), (None, None));
    assert_eq!(found[2].device.as_deref(), Some("sdb"), "by the name that it was mounted from");
    let in_use = Place { is_in_use: true, ..place("data directory", "/mnt/nfs/data") };
    let asked = std::panic::catch_unwind(|| disks(&old_container(), &[in_use]));
    assert!(asked.is_err(), "that of the server's own data is");
}

fn later(machine: &Machine, by: u64) -> Machine {
    let mut now = machine.clone();
    let cpu = now.cpu.as_mut().unwrap();
    cpu.user += 3 * by;
    cpu.system += by;
    cpu.iowait += 2 * by;
    cpu.idle += 4 * by;
    now
}

fn host_of(moved: &Moved) -> HostSeen {
    let mut seen = HostSeen::default();
    seen.add(&values(&moved.host_frame(), 0));
    seen
}

fn values(frame: &crate::frame::Frame, at: usize) -> Vec<Option<u64>> {
    (0..frame.columns.len())
        .map(|c| {
            let known = frame.known >> c & 1 == 1;
            frame.columns[c].as_ref().map_or(known.then_some(0), |v| Some(v[at]))
        })
        .collect()
}

#[test]
fn shares_of_time_are_those_of_the_interval() {
    let before = Machine::read(&container(), TICK_US);
    let mut now = later(&before, 6_000_000);
    now.group_cpu.as_mut().unwrap().used = Some(5_000_000 + 45_000_000);
    now.group_cpu.as_mut().unwrap().throttled = Some(1_250_000);
    let moved = Moved::between(&before, &now, 60_000_000).unwrap();
    let seen = host_of(&moved);
    assert_eq!(seen.machine_cpu_ratio(), Some(0.4));
    assert_eq!((seen.iowait_ratio(), seen.steal_ratio()), (Some(0.2), Some(0.0)));
    assert_eq!((seen.group_cpu_ratio(), seen.cpu_ratio()), (Some(0.5), Some(0.5)));
    assert_eq!((seen.cpu_peak_ratio(), seen.throttled_us()), (Some(0.5), Some(1_000_000)));
    assert_eq!((seen.load(), seen.memory_bytes()), (Some(0.52), Some(536_870_912.0)));
    assert!((seen.memory_ratio().unwrap() - 300_000_000.0 / 536_870_912.0).abs() < 1e-9);
    assert_eq!(seen.arc_hit_ratio(), None);
}

#[test]
fn what_stepped_back_did_not_happen() {
    let before = Machine::read(&vm(), TICK_US);
    let mut now = later(&before, 1_000_000);
    now.cpu.as_mut().unwrap().iowait -= 5_000_000;
    let seen = host_of(&Moved::between(&before, &now, 10_000_000).unwrap());
    assert_eq!((seen.iowait_ratio(), seen.machine_cpu_ratio()), (Some(0.0), Some(0.5)));
    assert_eq!(seen.group_cpu_ratio(), None);
}

#[test]
fn counters_of_another_life_are_not_subtracted() {
    let before = Machine::read(&container(), TICK_US);
    let is_none = |change: &dyn Fn(&mut Machine)| {
        let mut now = before.clone();
        change(&mut now);
        Moved::between(&before, &now, 60_000_000).is_none()
    };
    assert!(!is_none(&|_| {}));
    assert!(is_none(&|now| now.boot = Some("another".into())));
    assert!(is_none(&|now| now.cpu.as_mut().unwrap().count = 3));
    assert!(is_none(&|now| now.group_cpu = None));
    assert!(is_none(&|now| now.group_cpu.as_mut().unwrap().used = Some(1)));
    assert!(Moved::between(&before, &before, 0).is_none());
}

#[test]
fn longer_rows_keep_averages_and_peaks() {
    let first = Machine::read(&zfs(), TICK_US);
    let mut second = later(&first, 1_000_000);
    second.load = Some([4.0, 0.0, 0.0]);
    second.arc.as_mut().unwrap().hits += 30;
    second.arc.as_mut().unwrap().misses += 10;
    let third = later(&second, 3_000_000);
    let frames = [
        Moved::between(&first, &second, 60_000_000).unwrap().host_frame(),
        Moved::between(&second, &third, 60_000_000).unwrap().host_frame(),
    ];
    let span = |until| crate::frame::Span {
        since: until - 60,
        until,
        length_us: 60,
        quiet_us: 0,
        quality: crate::frame::Quality::Exact,
        flags: 0,
    };
    let parts: Vec<_> = (1..).map(|n| span(n * 60)).zip(frames.iter().cloned()).collect();
    let (_, hour) = crate::rollup::merge(&HOST, &parts, 120, None).unwrap();
    let mut from_hour = HostSeen::default();
    from_hour.add(&values(&hour, 0));
    let mut from_minutes = HostSeen::default();
    frames.iter().for_each(|frame| from_minutes.add(&values(frame, 0)));
    assert_eq!(from_hour, from_minutes);
    assert_eq!((from_hour.load(), from_hour.load_peak()), (Some(4.0), Some(4.0)));
    assert_eq!(from_hour.arc_hit_ratio(), Some((0.75, 40)));
    assert_eq!(from_hour.machine_cpu_ratio(), Some(0.4));
}

#[test]
fn devices_count_while_they_are_watched() {
    let files = old_container();
    let places = [place("data directory", "/data"), place("tablespace far", "/data/pg_tblspc/1")];
    let before = Machine { disks: disks(&files, &places), ..Machine::read(&files, TICK_US) };
    let mut now = before.clone();
    let io = now.disks[0].io.as_mut().unwrap();
    io.reads += 600;
    io.write_bytes += 6_000_000;
    io.read_us += 1_200_000;
    io.busy_us += 15_000_000;
    let moved = Moved::between(&before, &now, 60_000_000).unwrap();
    assert_eq!(moved.disks[0].names, ["/data", "dm-1", "data directory"].map(String::from));
    let frame = moved.disk_frame(&[9, 4]);
    assert_eq!((frame.ids.as_slice(), frame.family.name), ([4, 9].as_slice(), DISK.name));
    let seen = |at| {
        let mut seen = DiskSeen::default();
        seen.add(&values(&frame, at));
        seen
    };
    let (far, data) = (seen(0), seen(1));
    assert_eq!((data.reads_per_s(), data.write_bytes_per_s()), (Some(10.0), Some(100_000.0)));
    assert_eq!((data.busy_ratio(), data.read_ms(), data.write_ms()), (Some(0.25), Some(2.0), None));
    assert_eq!((data.used_ratio(), data.size_bytes()), (Some(0.8), Some(1000.0)));
    assert_eq!((far.reads_per_s(), far.busy_ratio(), far.used_ratio()), (None, None, None));
}

#[test]
fn a_reading_comes_back_from_its_bytes() {
    let files = container();
    let disks = disks(&files, &[place("data directory", "/var/lib/my data/pgdata")]);
    let kept = Kept { at: 5, machine: Machine { disks, ..Machine::read(&files, TICK_US) } };
    assert_eq!(Kept::decode(&kept.encode()).unwrap(), kept);
    assert!(Kept::decode(b"{}").is_err());
}

/// The memory in force on a machine of 16 GB with these files.
fn memory_with(files: &[(&str, &str)]) -> Option<u64> {
    let mut machine =
        Recorded::of("").with("/proc/meminfo", "MemTotal: 16000000 kB\nMemAvailable: 9 kB\n");
    for (path, text) in files {
        machine = machine.with(path, text);
    }
    Machine::read(&machine, TICK_US).memory_in_force().map(|memory| memory.total)
}

#[test]
fn memory_is_what_a_container_may_use() {
    const OWN: &str = "/proc/self/cgroup";
    let whole = Some(16_000_000 * KB);
    assert_eq!(memory_with(&[]), whole);
    let service = (OWN, "0::/system.slice/db.service\n");
    let limit = |folder: &str, bytes: &str| {
        let folder = format!("/sys/fs/cgroup{folder}");
        memory_with(&[
            service,
            ("/sys/fs/cgroup/system.slice/db.service/memory.max", "max\n"),
            (&format!("{folder}/memory.max"), bytes),
            (&format!("{folder}/memory.current"), "1000\n"),
        ])
    };
    assert_eq!(limit("/system.slice/db.service", "max\n"), whole);
    assert_eq!(limit("/system.slice/db.service", "2147483648\n"), Some(2 << 30));
    assert_eq!(limit("/system.slice", "1073741824\n"), Some(1 << 30));
    assert_eq!(limit("", "536870912\n"), Some(512 << 20), "a namespace whose root it is");
    let first = (OWN, "12:cpu,cpuacct:/a\n5:memory:/docker/0123\n1:name=x:/\n");
    let outer = "/sys/fs/cgroup/memory";
    let own = "/sys/fs/cgroup/memory/docker/0123";
    let files = [
        first,
        (&format!("{own}/memory.limit_in_bytes"), "9223372036854771712\n"),
        (&format!("{own}/memory.usage_in_bytes"), "1\n"),
        (&format!("{outer}/memory.limit_in_bytes"), "4294967296\n"),
        (&format!("{outer}/memory.usage_in_bytes"), "1\n"),
    ];
    assert_eq!(memory_with(&files), Some(4 << 30));
    let outside = [
        (OWN, "0::/../../other\n"),
        ("/sys/fs/cgroup/memory.max", "536870912\n"),
        ("/sys/fs/cgroup/memory.current", "1\n"),
    ];
    assert_eq!(memory_with(&outside), Some(512 << 20));
}
