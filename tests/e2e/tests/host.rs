//! The machine: what is recorded of it agrees with what the system says, limits of control groups are kept to, and
//! thresholds make findings that go away again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use perfmon_e2e::{Db, Server, secs, wait_until};

fn home() -> (Server, Db) {
    let server = Server::manual().start();
    let db = server.new_db("app");
    (server, db)
}

/// Processors at work until a second of the machine's time was counted.
fn busy_second() {
    let total = || -> u64 {
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let line = stat.lines().next().unwrap().to_owned();
        line.split_whitespace().skip(1).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    };
    let before = total();
    wait_until("a second of the processors' time", secs(60), || total() > before + 100);
}

/// A field of df for a directory, in bytes.
fn df(path: &Path, field: &str) -> f64 {
    let out =
        Command::new("df").arg("-B1").arg(format!("--output={field}")).arg(path).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().nth(1).unwrap().trim().parse().unwrap()
}

/// Whether the system says on which file system a path lies. It does not inside a root directory that is no mount
/// point: there only the room of the data directory is known.
fn knows_mounts() -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let known = mounts.lines().any(|line| line.split_whitespace().nth(4) == Some("/"));
    if !known {
        eprintln!("SKIPPED in part: the root directory is no mount point here");
    }
    known
}

#[test]
fn what_is_recorded_is_what_the_system_says() {
    let (server, mut db) = home();
    db.snapshot();
    busy_second();
    db.snapshot();
    let row = &db.rows(
        "SELECT cpu_user_ms + cpu_system_ms + cpu_steal_ms + cpu_iowait_ms + cpu_idle_ms, length_ms,
             memory_bytes::float8, memory_used_bytes::float8, load, samples
         FROM perfmon.host_history() ORDER BY length_ms DESC",
    )[0];
    let processors =
        f64::from(u16::try_from(std::thread::available_parallelism().unwrap().get()).unwrap());
    let (all, length): (f64, f64) = (row.get(0), row.get(1));
    assert!(
        (all / length / processors - 1.0).abs() < 0.25,
        "{all} ms in {length} ms of {processors}"
    );
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let total: f64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(row.get::<_, f64>(2), total * 1024.0);
    assert!(row.get::<_, f64>(3) < total * 1024.0 && row.get::<_, f64>(3) > 0.0);
    assert_eq!((row.get::<_, i64>(5), row.get::<_, Option<f64>>(4).is_some()), (1, true));

    if knows_mounts() {
        the_disk_is_what_df_says(&server, &mut db);
    } else {
        assert_eq!(
            db.val::<i64>("SELECT count(*) FROM perfmon.disk_series() WHERE used_ratio = 0"),
            0
        );
    }

    let ratio: f64 = db.val("SELECT max(cpu_ratio) FROM perfmon.host_series()");
    assert!((0.0..=1.0).contains(&ratio));
    let now: Vec<String> =
        db.list("SELECT what || ' ' || name FROM perfmon.host_status() ORDER BY 1");
    for what in ["cpu machine", "load machine", "memory machine", "swap machine"] {
        assert!(now.iter().any(|line| line == what), "{what} in {now:?}");
    }
    assert!(db.val::<bool>(
        "SELECT used > 0 AND used <= total FROM perfmon.host_status() WHERE what = 'cpu'"
    ));
}

fn the_disk_is_what_df_says(server: &Server, db: &mut Db) {
    let disk = &db.rows(
        "SELECT mount, uses, size_bytes::float8, used_bytes::float8, used_ratio, available_bytes::float8
         FROM perfmon.disk_series() WHERE used_ratio IS NOT NULL",
    )[0];
    let uses: String = disk.get(1);
    assert!(uses.contains("data directory") && uses.contains("WAL"), "{uses}");
    assert!(server.data().starts_with(disk.get::<_, String>(0)));
    assert_eq!(disk.get::<_, f64>(2), df(server.data(), "size"));
    let near = |a: f64, b: f64| (a - b).abs() < 0.02 * df(server.data(), "size");
    assert!(
        near(disk.get(3), df(server.data(), "used"))
            && near(disk.get(5), df(server.data(), "avail"))
    );
}

#[test]
fn other_databases_say_nothing_of_the_machine() {
    let (server, mut db) = home();
    db.snapshot();
    server.append_conf(&["pg_perfmon.database = 'app'"]);
    server.reload();
    let mut other = server.new_db("other");
    other.snapshot();
    other.snapshot();
    assert_eq!(other.val::<i64>("SELECT count(*) FROM perfmon.host_history()"), 0);
    assert_eq!(other.val::<i64>("SELECT count(*) FROM perfmon.disk_series()"), 0);
    assert!(other.val::<bool>("SELECT bool_and(cpu_ratio IS NULL) FROM perfmon.host_series()"));
    assert!(other.val::<bool>(
        "SELECT used IS NULL AND total > 0 FROM perfmon.host_status() WHERE what = 'cpu' AND name = 'machine'"
    ));
}

#[test]
fn thresholds_make_findings_that_go_away() {
    let (_server, mut db) = home();
    db.snapshot();
    busy_second();
    db.snapshot();
    db.set_thresholds(&[
        ("host_minutes", 0.001),
        ("host_memory_warning_ratio", 0.0),
        ("host_memory_critical_ratio", 1.0),
        ("disk_used_warning_ratio", 0.0),
        ("disk_used_critical_ratio", 1.0),
    ]);
    let open = |db: &mut Db| -> Vec<String> {
        let found = db.evaluate();
        let ours =
            found.iter().filter(|f| ["host_memory", "disk_space"].contains(&f.kind.as_str()));
        ours.map(|f| format!("{} {}", f.kind, f.severity)).collect()
    };
    assert_eq!(open(&mut db), ["disk_space warning", "host_memory warning"]);
    let report: String = db.val("SELECT perfmon.report()");
    assert!(report.contains("## Machine") && report.contains("- Memory: "), "{report}");
    db.set_thresholds(&[("host_memory_warning_ratio", 1.0), ("disk_used_warning_ratio", 1.0)]);
    assert_eq!(open(&mut db), Vec::<String>::new());
}

/// A control group of this test, which allows 512 MB and, where it can, half a processor.
struct Group(Vec<PathBuf>);

impl Group {
    fn make() -> Option<Self> {
        let name = format!("perfmon-{}", std::process::id());
        let first = Path::new("/sys/fs/cgroup/memory");
        let made = if first.is_dir() {
            let (memory, cpu) = (first.join(&name), Path::new("/sys/fs/cgroup/cpu").join(&name));
            fs::create_dir(&memory).ok()?;
            let mut made = Self(vec![memory.clone()]);
            fs::write(memory.join("memory.limit_in_bytes"), "536870912").ok()?;
            fs::create_dir(&cpu).ok()?;
            made.0.push(cpu.clone());
            fs::write(cpu.join("cpu.cfs_quota_us"), "50000").ok()?;
            made
        } else {
            let folder = Path::new("/sys/fs/cgroup").join(&name);
            fs::create_dir(&folder).ok()?;
            let made = Self(vec![folder.clone()]);
            fs::write(folder.join("memory.max"), "536870912").ok()?;
            fs::write(folder.join("cpu.max"), "50000 100000").ok()?;
            made
        };
        Some(made)
    }

    fn take(&self, pid: i32) {
        for folder in &self.0 {
            fs::write(folder.join("cgroup.procs"), pid.to_string()).unwrap();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in &self.0 {
            // The kernel takes a moment to let go of processes that ended.
            for _ in 0..100 {
                if fs::remove_dir(folder).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
    }
}

#[test]
fn a_container_of_512_mb_is_judged_by_its_limit() {
    let Some(group) = Group::make() else {
        eprintln!("SKIPPED: control groups cannot be made here");
        return;
    };
    let (server, db) = home();
    drop(db);
    group.take(server.postmaster().unwrap());
    let mut db = server.db("app");
    let limits = "SELECT total FROM perfmon.host_status() WHERE name = 'container' ORDER BY what";
    assert_eq!(db.list::<f64>(limits), [0.5, 536_870_912.0]);
    db.snapshot();
    wait_until("the container is recorded", secs(60), || {
        busy_second();
        db.snapshot();
        db.val("SELECT count(*) FILTER (WHERE memory_bytes > 0) > 0 FROM perfmon.host_series()")
    });
    let (total, used): (i64, i64) = {
        let rows = db.rows("SELECT memory_bytes, memory_used_bytes FROM perfmon.host_series() WHERE memory_bytes > 0");
        (rows[0].get(0), rows[0].get(1))
    };
    assert_eq!(total, 536_870_912);
    assert!(used > 0 && used < total);
    assert!(
        db.val::<String>("SELECT perfmon.report()").contains("512 MB (the limit of the container)")
    );
    let capacity: f64 = db.val("SELECT sum(group_capacity_ms) / sum(length_ms) FROM perfmon.host_history() WHERE group_capacity_ms > 0");
    assert!((capacity - 0.5).abs() < 0.01, "{capacity}");
    drop(db);
    server.stop(perfmon_e2e::Stop::Fast);
}
