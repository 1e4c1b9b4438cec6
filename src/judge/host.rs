//! What history says about the machine, for the detectors.

use std::collections::HashMap;

use perfmon_core::facts::{Host, HostDisk, HostRow};
use perfmon_core::host::{DiskSeen, HostSeen};
use perfmon_core::tally::Who;
use perfmon_core::window::Level;

use crate::error::Error;
use crate::recall::host;
use crate::recall::scope::Scope;

/// So much of the window's end is looked at row by row.
const END_US: i64 = 3_600_000_000;
/// Growth is looked at over so long at most.
const GROWTH_US: i64 = 14 * 86_400_000_000;

/// The machine over the window; `None` in all databases but the home database.
pub(super) fn machine(scope: &Scope) -> Result<Option<Host>, Error> {
    let Some(window) = host::over(scope) else { return Ok(None) };
    let end = scope.quietly(scope.since.max(scope.until.saturating_sub(END_US)), scope.until);
    let segments = host::kept(&end).segments(&end, Level::Minute);
    let mut rows = Vec::new();
    host::machine(&end, &segments, &mut |span, values| {
        let mut seen = HostSeen::default();
        seen.add(values);
        rows.push(HostRow { until_us: span.until, length_us: span.length_us, seen });
    });
    Ok(Some(Host { window, rows, disks: disks(scope)? }))
}

fn disks(scope: &Scope) -> Result<Vec<HostDisk>, Error> {
    let mut past = growth(&scope.quietly(scope.until.saturating_sub(GROWTH_US), scope.until))?;
    let disk = |one: host::DiskOver| {
        let [mount, device, uses] = one.names;
        let mount = mount?;
        Some(HostDisk {
            history: past.remove(&mount).unwrap_or_default(),
            mount,
            device: device.filter(|device| !device.is_empty()),
            uses: uses.unwrap_or_default(),
            window: one.seen,
            last: one.last,
            last_us: one.last_until,
        })
    };
    Ok(host::disks_over(scope)?.into_iter().filter_map(disk).collect())
}

/// What was used, by where it is mounted: a file system stays itself when more is put on it.
fn growth(scope: &Scope) -> Result<HashMap<String, Vec<(i64, f64)>>, Error> {
    let segments = host::kept_of_disks(scope).segments(scope, Level::Hour);
    let mut points: HashMap<Who, Vec<(i64, f64)>> = HashMap::new();
    let named = host::disks(scope, &segments, &mut |span, who, values| {
        let mut seen = DiskSeen::default();
        seen.add(values);
        // An average stands for the middle of its time.
        let middle = span.since.midpoint(span.until);
        points.entry(who).or_default().extend(seen.used_bytes().map(|used| (middle, used)));
    })?;
    let mut found: HashMap<String, Vec<(i64, f64)>> = HashMap::new();
    for (who, points) in points {
        let Some(mount) = named.get(&who).and_then(|names| names[0].text()) else { continue };
        found.entry(mount).or_default().extend(points);
    }
    found.values_mut().for_each(|points| points.sort_by_key(|point| point.0));
    Ok(found)
}
