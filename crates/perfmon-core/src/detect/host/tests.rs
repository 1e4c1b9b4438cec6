use super::*;
use crate::detect::samples::{found, healthy, silent, the};
use crate::facts::host::HostRow;
use crate::family::{DISK as DISK_FAMILY, Family, HOST};
use crate::host::DiskSeen;

const MINUTE_US: i64 = 60_000_000;
const GB: u64 = 1 << 30;

fn values(family: &'static Family, set: &[(&str, u64)]) -> Vec<Option<u64>> {
    let mut values = vec![None; family.columns.len()];
    for (name, value) in set {
        values[family.position(name).unwrap()] = Some(*value);
    }
    values
}

/// A minute in which so many percent of the processors' time went into work and waiting, and of memory were used.
fn minute(work: u64, waiting: u64, memory: u64) -> Vec<Option<u64>> {
    values(
        &HOST,
        &[
            ("samples", 1),
            ("cpu_user_us", work),
            ("cpu_system_us", 0),
            ("cpu_steal_us", 0),
            ("cpu_iowait_us", waiting),
            ("cpu_idle_us", 100 - work - waiting),
            ("memory_bytes", 100 * GB),
            ("memory_used_bytes", memory * GB),
        ],
    )
}

fn facts_of(rows: &[Vec<Option<u64>>]) -> Facts {
    let mut facts = healthy();
    let mut host = Host::default();
    let first = facts.window.until_us - MINUTE_US * (rows.len() as i64 - 1);
    for (row, until_us) in rows.iter().zip((first..).step_by(MINUTE_US as usize)) {
        host.window.add(row);
        let mut seen = HostSeen::default();
        seen.add(row);
        host.rows.push(HostRow { until_us, length_us: MINUTE_US, seen });
    }
    facts.host = Some(host);
    facts
}

fn steady(work: u64, waiting: u64, memory: u64) -> Facts {
    facts_of(&vec![minute(work, waiting, memory); 10])
}

#[test]
fn a_quiet_machine_is_left_in_peace() {
    assert_eq!(found(&DETECTOR, &steady(40, 4, 79)), []);
}

#[test]
fn what_lasts_is_told_by_its_degree() {
    for (facts, kind, severity, least) in [
        (steady(71, 0, 10), CPU, Severity::Warning, 0.71),
        (steady(91, 0, 10), CPU, Severity::Critical, 0.91),
        (steady(10, 6, 10), IO_WAIT, Severity::Warning, 0.06),
        (steady(10, 21, 10), IO_WAIT, Severity::Critical, 0.21),
        (steady(10, 0, 81), MEMORY, Severity::Warning, 0.81),
        (steady(10, 0, 91), MEMORY, Severity::Critical, 0.91),
    ] {
        let finding = the(&DETECTOR, &facts, kind);
        assert_eq!((finding.severity, finding.object.as_str()), (severity, "machine"), "{kind}");
        assert_eq!(finding.evidence[0].value, crate::finding::Value::Number(least));
    }
}

#[test]
fn a_peak_does_not_last() {
    let mut rows = vec![minute(95, 0, 10); 10];
    rows[8] = minute(60, 0, 10);
    silent(&DETECTOR, &facts_of(&rows), CPU);
    // What was before the last minutes is over.
    let mut rows = vec![minute(95, 0, 10); 10];
    rows.extend(vec![minute(10, 0, 10); 5]);
    silent(&DETECTOR, &facts_of(&rows), CPU);
    let mut rows = vec![minute(10, 0, 10); 5];
    rows.extend(vec![minute(75, 0, 10); 5]);
    assert_eq!(the(&DETECTOR, &facts_of(&rows), CPU).severity, Severity::Warning);
}

#[test]
fn too_little_and_too_old_is_not_known() {
    let unknown = |facts: &Facts| {
        let mut judgement = Judgement::default();
        detect(facts, &Thresholds::default(), &mut judgement);
        judgement.unjudged
    };
    assert_eq!(unknown(&healthy_without_host()), DETECTOR.kinds);
    assert!(unknown(&facts_of(&vec![minute(99, 0, 10); 3])).contains(&CPU));
    let mut old = steady(99, 0, 10);
    old.window.until_us += STALE_US + 1;
    assert!(unknown(&old).contains(&CPU));
    let known = unknown(&steady(10, 0, 10));
    assert!(!known.contains(&CPU) && known.contains(&DISK), "{known:?}");
}

fn healthy_without_host() -> Facts {
    Facts { host: None, ..healthy() }
}

#[test]
fn a_container_has_limits_of_its_own() {
    let mut row = minute(20, 0, 10);
    for (name, value) in [
        ("group_cpu_us", 95),
        ("group_capacity_us", 100),
        ("group_throttled_us", 3_000_000),
        ("group_memory_bytes", 512),
        ("group_memory_used_bytes", 480),
    ] {
        row[HOST.position(name).unwrap()] = Some(value);
    }
    let facts = facts_of(&vec![row; 6]);
    let all = found(&DETECTOR, &facts);
    let objects: Vec<_> = all.iter().map(|f| (f.kind.as_str(), f.object.as_str())).collect();
    assert_eq!(objects, [(CPU, "container"), (MEMORY, "container")]);
    assert!(all[0].cause.as_ref().unwrap().contains("held back for 18"), "{:?}", all[0].cause);
}

/// A disk of 1,000 GB of which so many are used, growing by so many GB a day over some days.
fn disk(used: u64, growth: f64, days: f64) -> Facts {
    let mut facts = steady(10, 0, 10);
    let row = values(
        &DISK_FAMILY,
        &[
            ("space_samples", 1),
            ("size_bytes", 1000 * GB),
            ("used_bytes", used * GB),
            ("available_bytes", (1000 - used) * GB),
        ],
    );
    let mut seen = DiskSeen::default();
    seen.add(&row);
    let until = facts.window.until_us;
    let history = (0..=100).map(|i| {
        let ago = days * f64::from(100 - i) / 100.0;
        (until - (ago * DAY_US) as i64, (used as f64 - growth * ago) * GB as f64)
    });
    facts.host.as_mut().unwrap().disks.push(HostDisk {
        mount: "/data".into(),
        device: Some("sda".into()),
        uses: "data directory, WAL".into(),
        window: seen.clone(),
        last: seen,
        last_us: until,
        history: history.collect(),
    });
    facts
}

#[test]
fn room_is_judged_as_it_is_now() {
    silent(&DETECTOR, &disk(80, 0.0, 1.0), DISK);
    assert_eq!(the(&DETECTOR, &disk(801, 0.0, 1.0), DISK).severity, Severity::Warning);
    let full = the(&DETECTOR, &disk(860, 0.0, 1.0), DISK);
    assert_eq!((full.severity, full.object.as_str()), (Severity::Critical, "/data"));
    assert!(
        full.title.contains("86.0%") || full.title.contains("86%") || full.title.contains("86 %"),
        "{}",
        full.title
    );
    assert_eq!(full.cause.as_deref(), Some("On it: data directory, WAL."));
}

#[test]
fn a_disk_that_grows_has_a_date() {
    let finding = the(&DETECTOR, &disk(500, 50.0, 7.0), DISK_TREND);
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(finding.evidence[0].metric, "full_in_days");
    assert!(finding.title.contains("10 days"), "{}", finding.title);
    assert_eq!(the(&DETECTOR, &disk(900, 60.0, 7.0), DISK_TREND).severity, Severity::Critical);
    silent(&DETECTOR, &disk(500, 10.0, 7.0), DISK_TREND);
    // A day of history does not reach that far, and an hour says nothing at all.
    silent(&DETECTOR, &disk(500, 50.0, 1.0), DISK_TREND);
    silent(&DETECTOR, &disk(980, 50.0, 0.04), DISK_TREND);
    silent(&DETECTOR, &disk(500, -50.0, 7.0), DISK_TREND);
    silent(&DETECTOR, &disk(980, 0.0, 7.0), DISK_TREND);
}

#[test]
fn the_cache_of_zfs_is_judged_where_there_is_one() {
    let zfs = |hits: u64, misses: u64| {
        let mut facts = steady(10, 0, 10);
        let row = values(&HOST, &[("samples", 1), ("arc_hits", hits), ("arc_misses", misses)]);
        facts.host.as_mut().unwrap().window.add(&row);
        facts
    };
    silent(&DETECTOR, &zfs(960_000, 40_000), ARC);
    silent(&DETECTOR, &zfs(10, 90), ARC);
    assert_eq!(the(&DETECTOR, &zfs(940_000, 60_000), ARC).severity, Severity::Info);
    assert_eq!(the(&DETECTOR, &zfs(890_000, 110_000), ARC).severity, Severity::Warning);
}
