//! The machine: processors, memory, waiting for disks, room on disks, the cache of ZFS. A share must have been over its
//! threshold in every row of the last minutes; of room the last row counts.

use super::words::{counted, date, percent, size, span};
use super::{Detector, Judgement};
use crate::facts::Facts;
use crate::facts::host::{Host, HostDisk};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::host::HostSeen;
use crate::threshold::{Threshold, Thresholds};
use crate::trend;

#[cfg(test)]
mod tests;

/// The detector.
pub static DETECTOR: Detector = Detector {
    name: "host",
    kinds: &[CPU, MEMORY, IO_WAIT, DISK, DISK_TREND, ARC],
    thresholds: THRESHOLDS,
    detect,
};

const CPU: &str = "host_cpu";
const MEMORY: &str = "host_memory";
const IO_WAIT: &str = "host_io_wait";
const DISK: &str = "disk_space";
const DISK_TREND: &str = "disk_full_forecast";
const ARC: &str = "zfs_arc_hit_ratio";

const CPU_WARNING: Threshold = Threshold::ratio(
    "host_cpu_warning_ratio",
    0.7,
    "share of the processors' time at work: warning",
    "requirements",
);
const CPU_CRITICAL: Threshold = Threshold::ratio(
    "host_cpu_critical_ratio",
    0.9,
    "share of the processors' time at work: critical",
    "requirements",
);
const MEMORY_WARNING: Threshold = Threshold::ratio(
    "host_memory_warning_ratio",
    0.8,
    "share of the memory that is used: warning",
    "requirements",
);
const MEMORY_CRITICAL: Threshold = Threshold::ratio(
    "host_memory_critical_ratio",
    0.9,
    "share of the memory that is used: critical",
    "requirements",
);
const IO_WARNING: Threshold = Threshold::ratio(
    "host_io_wait_warning_ratio",
    0.05,
    "share of the processors' time idle while a disk was waited for: warning",
    "requirements",
);
const IO_CRITICAL: Threshold = Threshold::ratio(
    "host_io_wait_critical_ratio",
    0.2,
    "share of the processors' time idle while a disk was waited for: critical",
    "requirements",
);
const MINUTES: Threshold = Threshold::new(
    "host_minutes",
    5.0,
    "minutes that processors, memory or waiting for disks must have been over a threshold",
    "requirements",
);
const DISK_WARNING: Threshold = Threshold::ratio(
    "disk_used_warning_ratio",
    0.8,
    "share of a file system that is used: warning",
    "requirements",
);
const DISK_CRITICAL: Threshold = Threshold::ratio(
    "disk_used_critical_ratio",
    0.85,
    "share of a file system that is used: critical",
    "requirements",
);
const FULL_WARNING: Threshold = Threshold::new(
    "disk_full_warning_days",
    14.0,
    "days until a file system is full at its pace: warning",
    "pg_perfmon: time to order a disk",
);
const FULL_CRITICAL: Threshold = Threshold::new(
    "disk_full_critical_days",
    2.0,
    "days until a file system is full at its pace: critical",
    "pg_perfmon: a weekend",
);
const TREND_HOURS: Threshold = Threshold::new(
    "disk_trend_min_hours",
    12.0,
    "hours of history below which it is not said when a file system will be full",
    "pg_perfmon: half a day's load",
);
const TREND_TIMES: Threshold = Threshold::new(
    "disk_trend_times",
    4.0,
    "how many times as far as history goes back it is looked ahead",
    "pg_perfmon",
);
const ARC_INFO: Threshold = Threshold::ratio(
    "zfs_arc_info_ratio",
    0.95,
    "share of reads found in the cache of ZFS: information",
    "requirements",
);
const ARC_WARNING: Threshold = Threshold::ratio(
    "zfs_arc_warning_ratio",
    0.9,
    "share of reads found in the cache of ZFS: warning",
    "requirements",
);
const ARC_READS: Threshold = Threshold::new(
    "zfs_arc_min_reads",
    100_000.0,
    "reads below which the share found in the cache of ZFS says nothing",
    "pg_perfmon",
);

const STEAL: Threshold = Threshold::ratio(
    "host_steal_ratio",
    0.1,
    "share of the processors' time taken by other guests of the same host, from which that is named as the cause",
    "pg_perfmon",
);

static THRESHOLDS: &[Threshold] = &[
    CPU_WARNING,
    CPU_CRITICAL,
    MEMORY_WARNING,
    MEMORY_CRITICAL,
    IO_WARNING,
    IO_CRITICAL,
    MINUTES,
    DISK_WARNING,
    DISK_CRITICAL,
    FULL_WARNING,
    FULL_CRITICAL,
    TREND_HOURS,
    TREND_TIMES,
    ARC_INFO,
    ARC_WARNING,
    ARC_READS,
    STEAL,
];

const MANUAL: &str = "pg_perfmon manual, the machine";
/// Of the minutes asked for, so many must be recorded.
const COVERED: f64 = 0.8;
/// An older row says nothing of the window's end.
const STALE_US: i64 = 900_000_000;
const DAY_US: f64 = 86_400e6;

fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let Some(host) = &facts.host else {
        DETECTOR.kinds.iter().for_each(|kind| judgement.unknown(kind));
        return;
    };
    let mut lasting = |share: &Share<'_>| match share.lasting(host, facts, thresholds) {
        Some(Some((severity, value, over))) => {
            judgement.add(share.finding(host, thresholds, (severity, value, over)));
        }
        Some(None) => {}
        None => judgement.unknown(share.kind),
    };
    lasting(&Share {
        kind: CPU,
        object: "machine",
        of: &HostSeen::machine_cpu_ratio,
        limits: (&CPU_WARNING, &CPU_CRITICAL),
    });
    let limits = (&MEMORY_WARNING, &MEMORY_CRITICAL);
    lasting(&Share {
        kind: MEMORY,
        object: "machine",
        of: &HostSeen::machine_memory_ratio,
        limits,
    });
    lasting(&Share {
        kind: IO_WAIT,
        object: "machine",
        of: &HostSeen::iowait_ratio,
        limits: (&IO_WARNING, &IO_CRITICAL),
    });
    // Elsewhere there is no container, which is not to be called unknown.
    if host.rows.iter().any(|row| row.seen.group_cpu_ratio().is_some()) {
        let limits = (&CPU_WARNING, &CPU_CRITICAL);
        lasting(&Share { kind: CPU, object: "container", of: &HostSeen::group_cpu_ratio, limits });
    }
    if host.rows.iter().any(|row| row.seen.is_limited()) {
        lasting(&Share {
            kind: MEMORY,
            object: "container",
            of: &HostSeen::group_memory_ratio,
            limits,
        });
    }
    disks(host, facts, thresholds, judgement);
    arc(host, thresholds, judgement);
}

/// A share that is judged by how long it is high.
struct Share<'a> {
    kind: &'static str,
    object: &'static str,
    of: &'a dyn Fn(&HostSeen) -> Option<f64>,
    limits: (&'a Threshold, &'a Threshold),
}

impl Share<'_> {
    /// How bad it is, the least of the last minutes, and the threshold that it is over; `None` when that is not known.
    #[allow(clippy::cast_precision_loss)]
    fn lasting(
        &self,
        host: &Host,
        facts: &Facts,
        thresholds: &Thresholds,
    ) -> Option<Option<(Severity, f64, f64)>> {
        let wanted_us = thresholds.of(&MINUTES) * 60e6;
        let newest = host.rows.last()?.until_us;
        if facts.window.until_us.saturating_sub(newest) > STALE_US {
            return None;
        }
        let (mut least, mut covered) = (f64::MAX, 0.0);
        for row in host.rows.iter().rev() {
            if covered >= wanted_us || newest.saturating_sub(row.until_us) as f64 >= wanted_us {
                break;
            }
            least = least.min((self.of)(&row.seen)?);
            covered += row.length_us as f64;
        }
        if covered < wanted_us * COVERED {
            return None;
        }
        let over = |limit: &Threshold| Some(thresholds.of(limit)).filter(|limit| least > *limit);
        let critical = over(self.limits.1).map(|limit| (Severity::Critical, least, limit));
        Some(
            critical.or_else(|| over(self.limits.0).map(|limit| (Severity::Warning, least, limit))),
        )
    }

    fn finding(
        &self,
        host: &Host,
        thresholds: &Thresholds,
        found: (Severity, f64, f64),
    ) -> Finding {
        let (severity, least, over) = found;
        let share = percent(least);
        let whose = if self.object == "container" {
            "that the container may use"
        } else {
            "of the machine"
        };
        let title = match self.kind {
            CPU => format!("The processors' time {whose} is used to {share} or more"),
            MEMORY => format!("The memory {whose} is used to {share} or more"),
            _ => format!("Processors wait for disks {share} of their time or more"),
        };
        let mut finding =
            Finding::new(self.kind, severity, self.object, title, self.remedy(), MANUAL);
        let window = &host.window;
        let metric = match self.kind {
            CPU => "cpu_ratio",
            MEMORY => "memory_ratio",
            _ => "iowait_ratio",
        };
        finding.evidence.push(
            Evidence::new(metric, least, "ratio")
                .over(over)
                .out_of(i64::try_from(host.rows.len()).unwrap_or(i64::MAX)),
        );
        let mut also = |metric: &str, value: Option<f64>, unit: &str| {
            finding.evidence.extend(value.map(|value| Evidence::new(metric, value, unit)));
        };
        match self.kind {
            CPU => {
                also("user_ratio", window.user_ratio(), "ratio");
                also("system_ratio", window.system_ratio(), "ratio");
                also("steal_ratio", window.steal_ratio(), "ratio");
                also("load", window.load(), "");
                #[allow(clippy::cast_precision_loss)]
                also("throttled_ms", window.throttled_us().map(|us| us as f64 / 1000.0), "ms");
            }
            MEMORY => {
                also("memory_bytes", window.memory_bytes().map(f64::round), "bytes");
                also("memory_used_bytes", window.memory_used_bytes().map(f64::round), "bytes");
                also("swap_used_bytes", window.swap_used_bytes().map(f64::round), "bytes");
            }
            _ => also("load", window.load(), ""),
        }
        finding.cause = self.cause(host, thresholds);
        finding.effort = Effort::High;
        finding
    }

    fn cause(&self, host: &Host, thresholds: &Thresholds) -> Option<String> {
        let window = &host.window;
        match self.kind {
            CPU if window.steal_ratio().is_some_and(|steal| steal > thresholds.of(&STEAL)) => {
                Some(format!(
                    "Other guests of the same host take {} of the time.",
                    percent(window.steal_ratio().unwrap_or(0.0))
                ))
            }
            CPU if self.object == "container" => {
                window.throttled_us().filter(|us| *us > 0).map(|us| {
                    #[allow(clippy::cast_precision_loss)]
                    let held = span(us as f64 / 1e6);
                    format!("The control group was held back for {held} in the window.")
                })
            }
            IO_WAIT => {
                let busiest = host.disks.iter().filter_map(|disk| {
                    let busy = disk.window.busy_ratio()?;
                    Some((busy, disk.device.as_deref()?))
                });
                let (busy, device) = busiest.max_by(|a, b| a.0.total_cmp(&b.0))?;
                Some(format!(
                    "Of the server's disks {device} was the busiest: {} of the time.",
                    percent(busy)
                ))
            }
            _ => None,
        }
    }

    fn remedy(&self) -> &'static str {
        match (self.kind, self.object) {
            (CPU, "container") => {
                "Look at perfmon.top_statements() for what takes the time; where that is needed, raise the container's \
                 limit of processors."
            }
            (CPU, _) => {
                "Look at perfmon.top_statements() for what takes the time, and at other programs of the machine; where \
                 both are needed, have more processors."
            }
            (MEMORY, "container") => {
                "Lower shared_buffers, work_mem or the number of connections, or raise the container's limit: beyond \
                 it a process of the server is killed, and the server restarts."
            }
            (MEMORY, _) => {
                "Lower shared_buffers, work_mem or the number of connections, or move other programs elsewhere: a \
                 machine out of memory swaps, or kills a process of the server."
            }
            _ => {
                "Look at perfmon.tables() and perfmon.top_statements() for what reads and writes most, and at \
                 perfmon.disk_series() for which device is busy; more memory saves reads, a quicker disk both."
            }
        }
    }
}

fn disks(host: &Host, facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let told: Vec<&HostDisk> = host
        .disks
        .iter()
        .filter(|disk| facts.window.until_us.saturating_sub(disk.last_us) <= STALE_US)
        .filter(|disk| disk.last.used_ratio().is_some())
        .collect();
    if told.is_empty() {
        judgement.unknown(DISK);
        judgement.unknown(DISK_TREND);
    }
    for disk in told {
        judgement.findings.extend(room(disk, thresholds));
        judgement.findings.extend(forecast(disk, thresholds));
    }
}

fn room(disk: &HostDisk, thresholds: &Thresholds) -> Option<Finding> {
    let used = disk.last.used_ratio()?;
    let over = |limit: &Threshold| Some(thresholds.of(limit)).filter(|limit| used > *limit);
    let (severity, limit) = over(&DISK_CRITICAL)
        .map(|limit| (Severity::Critical, limit))
        .or_else(|| over(&DISK_WARNING).map(|limit| (Severity::Warning, limit)))?;
    let available = disk.last.available_bytes()?;
    let title = format!("{} is {} full: {} are left", disk.mount, percent(used), size(available));
    let mut finding = Finding::new(
        DISK,
        severity,
        &disk.mount,
        title,
        "Make room, or have the file system enlarged, before it is full: then the server stops, or \
         refuses to write. perfmon.tables() shows the largest tables, perfmon.index_hygiene() indexes \
         that nobody needs, and replication slots keep WAL.",
        MANUAL,
    );
    finding.cause = Some(format!("On it: {}.", disk.uses));
    finding.evidence.push(Evidence::new("used_ratio", used, "ratio").over(limit));
    add_bytes(&mut finding, disk);
    finding.effort = Effort::Medium;
    Some(finding)
}

#[allow(clippy::cast_possible_truncation)]
fn add_bytes(finding: &mut Finding, disk: &HostDisk) {
    for (metric, bytes) in
        [("available_bytes", disk.last.available_bytes()), ("size_bytes", disk.last.size_bytes())]
    {
        finding.evidence.extend(bytes.map(|bytes| Evidence::new(metric, bytes as i64, "bytes")));
    }
}

/// When it will be full, as far as history allows to say.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn forecast(disk: &HostDisk, thresholds: &Thresholds) -> Option<Finding> {
    let points: Vec<(f64, f64)> =
        disk.history.iter().map(|(at, used)| (*at as f64, *used)).collect();
    let trend = trend::of(&points)?;
    if trend.span < thresholds.of(&TREND_HOURS) * 3600e6 {
        return None;
    }
    let (used, available) = (disk.last.used_bytes()?, disk.last.available_bytes()?);
    let (soonest, likely, latest) = trend.until(used + available, thresholds.of(&TREND_TIMES))?;
    let days = likely / DAY_US;
    let over = |limit: &Threshold| Some(thresholds.of(limit)).filter(|limit| days < *limit);
    let (severity, limit) = over(&FULL_CRITICAL)
        .map(|limit| (Severity::Critical, limit))
        .or_else(|| over(&FULL_WARNING).map(|limit| (Severity::Warning, limit)))?;
    let per_day = trend.slope * DAY_US;
    let title = format!(
        "{} will be full in {} at its pace of {} a day",
        disk.mount,
        span(likely / 1e6),
        size(per_day)
    );
    let mut finding = Finding::new(
        DISK_TREND,
        severity,
        &disk.mount,
        title,
        "Find what grows (perfmon.tables(), replication slots, logs), and make room or have the file system \
         enlarged before that.",
        MANUAL,
    );
    let at = |after: f64| date(disk.last_us.saturating_add(after as i64));
    finding.cause = Some(format!(
        "The median of the growth between all pairs of {} over {}; half of them say between {} and {}.",
        counted(trend.points as f64, "reading"),
        span(trend.span / 1e6),
        at(soonest),
        at(latest)
    ));
    finding.evidence.push(
        Evidence::new("full_in_days", days, "days")
            .over(limit)
            .out_of(i64::try_from(trend.points).unwrap_or(i64::MAX)),
    );
    finding.evidence.push(Evidence::new("growth_bytes_per_day", per_day as i64, "bytes"));
    add_bytes(&mut finding, disk);
    finding.effort = Effort::Medium;
    Some(finding)
}

fn arc(host: &Host, thresholds: &Thresholds, judgement: &mut Judgement) {
    // Where there is no ZFS, there is nothing to judge; where it was quiet, nothing is wrong.
    let Some((ratio, reads)) = host.window.arc_hit_ratio() else { return };
    #[allow(clippy::cast_precision_loss)]
    if (reads as f64) < thresholds.of(&ARC_READS) || ratio >= thresholds.of(&ARC_INFO) {
        return;
    }
    let warning = thresholds.of(&ARC_WARNING);
    let (severity, over) = if ratio < warning {
        (Severity::Warning, warning)
    } else {
        (Severity::Info, thresholds.of(&ARC_INFO))
    };
    let mut finding = Finding::new(
        ARC,
        severity,
        "machine",
        format!("{} of the reads are found in the cache of ZFS", percent(ratio)),
        "Give the cache more memory (zfs_arc_max), or the server larger shared_buffers instead; a record size near \
         the server's pages reads less for each of them.",
        MANUAL,
    );
    finding.evidence.push(
        Evidence::new("arc_hit_ratio", ratio, "ratio")
            .over(over)
            .out_of(i64::try_from(reads).unwrap_or(i64::MAX)),
    );
    finding.effort = Effort::Medium;
    judgement.add(finding);
}
