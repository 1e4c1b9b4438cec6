//! What history says of the machine: row by row, or added up over a window. Kept in the home database only.

use std::collections::HashMap;

use perfmon_core::family::{DISK, Family, HOST};
use perfmon_core::frame::Span;
use perfmon_core::host::{DiskSeen, HostSeen};
use perfmon_core::tally::Who;
use perfmon_core::window::Level;

use super::cell::Cell;
use super::names;
use super::plan::Kept;
use super::scope::Scope;
use crate::error::Error;
use crate::store::read::{self, Segment};

/// What is kept of the machine.
pub(crate) fn kept(scope: &Scope) -> Kept {
    Kept::of(&HOST, scope)
}

/// What is kept of file systems.
pub(crate) fn kept_of_disks(scope: &Scope) -> Kept {
    Kept::of(&DISK, scope)
}

/// Takes the time of a row, an object, and its values.
type Take<'a> = &'a mut dyn FnMut(Span, Who, &[Option<u64>]);

/// Hands over the values of every object of every row, in the order of the family's columns.
fn each(family: &'static Family, scope: &Scope, segments: &[Segment], take: Take<'_>) {
    let columns: Vec<usize> = (0..family.columns.len()).collect();
    let mut values = vec![None; columns.len()];
    read::frames(&scope.sources, family, segments, &columns, &mut |row| {
        for (place, id) in row.ids.iter().enumerate() {
            for (c, value) in values.iter_mut().enumerate() {
                let zero = row.head.is_known(c).then_some(0);
                *value = row.column(c).map_or(zero, |all| all.get(place).copied());
            }
            take(row.head.span, (row.head.source, *id), &values);
        }
    });
}

/// Rows of the machine.
pub(crate) fn machine(
    scope: &Scope,
    segments: &[Segment],
    take: &mut dyn FnMut(Span, &[Option<u64>]),
) {
    each(&HOST, scope, segments, &mut |span, _, values| take(span, values));
}

/// A file system's names: where it is mounted, its device, and what lies there.
pub(crate) type DiskNames = [Cell; 3];

/// Rows of file systems, and their names.
pub(crate) fn disks(
    scope: &Scope,
    segments: &[Segment],
    take: Take<'_>,
) -> Result<HashMap<Who, DiskNames>, Error> {
    each(&DISK, scope, segments, take);
    names::objects(DISK.name, &scope.sources)
}

/// The machine over the window; `None` when nothing is kept of it.
pub(crate) fn over(scope: &Scope) -> Option<HostSeen> {
    let segments = kept(scope).segments(scope, Level::Day);
    let mut seen: Option<HostSeen> = None;
    machine(scope, &segments, &mut |_, values| seen.get_or_insert_default().add(values));
    seen
}

/// A file system over the window.
#[derive(Debug, Clone)]
pub(crate) struct DiskOver {
    pub(crate) names: [Option<String>; 3],
    pub(crate) seen: DiskSeen,
    /// The last row alone.
    pub(crate) last: DiskSeen,
    pub(crate) last_until: i64,
}

/// File systems over the window, by where they are mounted.
pub(crate) fn disks_over(scope: &Scope) -> Result<Vec<DiskOver>, Error> {
    let segments = kept_of_disks(scope).segments(scope, Level::Day);
    let mut found: HashMap<Who, (DiskSeen, DiskSeen, i64)> = HashMap::new();
    let named = disks(scope, &segments, &mut |span, who, values| {
        let (seen, last, until) = found.entry(who).or_default();
        seen.add(values);
        if span.until >= *until {
            *last = DiskSeen::default();
            last.add(values);
            *until = span.until;
        }
    })?;
    let mut found: Vec<DiskOver> = found
        .into_iter()
        .map(|(who, (seen, last, last_until))| {
            let text = |i: usize| named.get(&who).and_then(|names| names[i].text());
            DiskOver { names: [text(0), text(1), text(2)], seen, last, last_until }
        })
        .collect();
    found.sort_by(|a, b| a.names.cmp(&b.names));
    Ok(found)
}
