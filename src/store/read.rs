//! Reads windows of history, through the extension's own tables alone, so that whoever may read those
//! needs no other right. Works on a standby and in read-only transactions: it must never write, and
//! never needs a transaction id.

use std::cell::RefCell;
use std::collections::HashSet;

use perfmon_core::family::{Family, Merge, STATEMENT};
use perfmon_core::frame::{Frame, Quality, Span};
use perfmon_core::pack::{self, Corrupt};
use perfmon_core::rollup::OTHER;
use perfmon_core::squares::{Asked, EXEC_SQ};
use pgrx::prelude::*;

use crate::pg::clock;
use crate::pg::toast::{Pointer, Reader};

use super::history::{column_name, parent_name};
use super::leaf;
use super::period::{Level, Period};
use super::place::Places;
use super::sql::{self, Raw};
use super::whole::Whole;

/// Columns before the totals.
const HEAD: [&str; 9] =
    ["source", "since", "until", "length_us", "quiet_us", "quality", "flags", "n", "known"];
/// Bytes beyond what should be needed of a column.
const SPARE: usize = 96;
/// A damaged disk must not flood the log.
const MOST_WARNINGS: usize = 5;

/// A stretch of time, and how fine the rows are that shall fill it: rows with `until` in (since, until].
pub(crate) type Segment = (Level, i64, i64);

/// What every row says about itself.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) source: i64,
    pub(crate) span: Span,
    /// Number of objects.
    pub(crate) n: usize,
    /// Bit c says that column c was measured.
    pub(crate) known: u64,
    /// In the order of `family.totals`.
    pub(crate) totals: Vec<Option<i64>>,
}

impl Head {
    /// Whether a column was measured.
    pub(crate) fn is_known(&self, column: usize) -> bool {
        column < 64 && self.known >> column & 1 == 1
    }
}

/// One row with the columns asked for, unpacked. Borrowed from buffers that the next row reuses.
pub(crate) struct Row<'a> {
    pub(crate) head: &'a Head,
    /// Dictionary ids, ascending; empty when no column was asked for.
    pub(crate) ids: &'a [u32],
    present: &'a [bool],
    values: &'a [Vec<u64>],
}

impl<'a> Row<'a> {
    /// Values of the `index`-th column asked for, one per id; `None` is all zero where the column is
    /// known, and unknown otherwise.
    pub(crate) fn column(&self, index: usize) -> Option<&'a [u64]> {
        let present = *self.present.get(index)?;
        present.then(|| self.values.get(index).map(Vec::as_slice)).flatten()
    }
}

/// What one object did in one row.
pub(crate) struct Point<'a> {
    pub(crate) head: &'a Head,
    /// Which of the asked objects.
    pub(crate) index: usize,
    /// One per column asked for; `None` is unknown. An object that is not in the row did nothing, or, in
    /// hours and days, so little that it went into "other".
    pub(crate) values: &'a [Option<u64>],
}

impl Point<'_> {
    /// Whether the column was measured in the row, and the object, which has no name there, may be in its rest. `index` is
    /// the column's place among those asked for, `column` in the family.
    pub(crate) fn may_be_in_rest(&self, index: usize, column: usize) -> bool {
        self.head.is_known(column) && self.values.get(index) == Some(&None)
    }
}

/// Hands over the rows of these segments, in the order of the segments and by time within each.
/// Only the columns named (positions in `family.columns`) are fetched. A row that cannot be unpacked is
/// left out with a warning that names it.
pub(crate) fn frames(
    sources: &[i64],
    family: &Family,
    segments: &[Segment],
    columns: &[usize],
    each: &mut dyn FnMut(Row<'_>),
) {
    let asked = Asked::of(family, columns);
    let columns = asked.columns();
    let mut ids: Vec<u32> = Vec::new();
    let mut values: Vec<Vec<u64>> = vec![Vec::new(); columns.len()];
    let mut present = vec![false; columns.len()];
    let (mut whole, mut last_ids) = (Whole::new(), None);
    rows(sources, family, segments, columns, &mut |raw, head, first| {
        if columns.is_empty() {
            each(Row { head, ids: &[], present: &[], values: &[] });
            return Ok(());
        }
        whole.ids(raw, head, first, (&mut last_ids, &mut ids))?;
        let mut coded = false;
        for (index, slot) in values.iter_mut().enumerate() {
            let done = whole.with_bytes(raw, first + 1 + index, |bytes| {
                let (packed, codes) = asked.packed(index, bytes);
                coded |= codes;
                pack::unpack(packed, head.n, slot)
            });
            present[index] = done.is_some();
            done.transpose().map_err(|e| in_column(family, columns[index], e))?;
        }
        if coded {
            asked.restore(&mut values, &present).map_err(|e| in_column(family, EXEC_SQ, e))?;
        }
        each(Row { head, ids: &ids, present: &present, values: &values });
        Ok(())
    });
}

/// Hands over what single objects did, given as (source, dictionary id), row by row. Fetches of each
/// column about as much as is needed, once for all objects, and unpacks only the blocks that hold them.
pub(crate) fn series_of(
    objects: &[(i64, u32)],
    family: &Family,
    segments: &[Segment],
    columns: &[usize],
    each: &mut dyn FnMut(Point<'_>),
) {
    let mut sources: Vec<i64> = objects.iter().map(|(source, _)| *source).collect();
    sources.sort_unstable();
    sources.dedup();
    // Who is too small for a name of its own in a large row is in its rest.
    let rests = sources.iter().filter(|_| family.name == STATEMENT.name).map(|s| (*s, OTHER));
    let all: Vec<(i64, u32)> = objects.iter().copied().chain(rests).collect();
    let wanted: Vec<Wanted> = sources.iter().map(|source| Wanted::of(&all, *source)).collect();
    let (asked, shown) = (Asked::of(family, columns), columns.len());
    let columns = asked.columns();
    let (mut reader, mut lookup) = (Reader::new(), Places::new());
    let mut places: Vec<usize> = Vec::new();
    let mut unpacked: Vec<Vec<u64>> = vec![Vec::new(); columns.len()];
    let mut stored = vec![false; columns.len()];
    let mut values: Vec<Option<u64>> = vec![None; columns.len()];
    let mut beginnings = Beginnings::new(columns.len());
    rows(&sources, family, segments, columns, &mut |raw, head, first| {
        let Ok(which) = sources.binary_search(&head.source) else { return Ok(()) };
        let Wanted { ids, indexes } = &wanted[which];
        let found = lookup.find(&mut reader, (raw, first, head.n), (which, ids));
        let found = found.map_err(|e| ("ids", e))?;
        places.clear();
        places.extend(found.iter().flatten());
        stored.fill(false);
        if !places.is_empty() {
            beginnings.read(&mut reader, raw, (first + 1, head.n), &places);
            let mut coded = false;
            for (offset, column) in columns.iter().enumerate() {
                let mut values = |bytes: &[u8]| {
                    let (packed, codes) = asked.packed(offset, bytes);
                    coded |= codes;
                    pack::unpack_some(packed, head.n, &places, &mut unpacked[offset])
                };
                stored[offset] = beginnings
                    .values_at(raw, first + 1, offset, &mut values)
                    .map_err(|e| in_column(family, *column, e))?;
            }
            if coded {
                let restored = asked.restore(&mut unpacked, &stored);
                restored.map_err(|e| in_column(family, EXEC_SQ, e))?;
            }
        }
        let mut nth = 0;
        let has_rest = ids.first() == Some(&OTHER) && found.first().is_some_and(Option::is_some);
        for (place, index) in found.iter().zip(indexes) {
            let present = place.is_some();
            for (offset, column) in columns.iter().enumerate() {
                let value = unpacked[offset].get(nth).copied();
                values[offset] = value.filter(|_| present && stored[offset]).or_else(|| {
                    absent_value(family, head, *column, present).filter(|_| present || !has_rest)
                });
            }
            if *index < objects.len() {
                each(Point { head, index: *index, values: &values[..shown] });
            }
            nth += usize::from(present);
        }
        Ok(())
    });
}

/// What is asked of one source: ids, ascending, and the place of each in the question.
pub(super) struct Wanted {
    pub(super) ids: Vec<u32>,
    pub(super) indexes: Vec<usize>,
}

impl Wanted {
    pub(super) fn of(objects: &[(i64, u32)], source: i64) -> Self {
        let mut pairs: Vec<(u32, usize)> = objects
            .iter()
            .enumerate()
            .filter(|(_, object)| object.0 == source)
            .map(|(index, object)| (object.1, index))
            .collect();
        pairs.sort_unstable();
        Self {
            ids: pairs.iter().map(|pair| pair.0).collect(),
            indexes: pairs.iter().map(|pair| pair.1).collect(),
        }
    }
}

/// As much of a row's columns as some objects need.
struct Beginnings {
    wanted: Vec<(Pointer, usize)>,
    /// By column: where in `wanted` and `bytes`, if it lies out of line and was read.
    slots: Vec<Option<usize>>,
    bytes: Vec<Vec<u8>>,
    /// By column: the part of it that was needed last, in 1/1,024; rows resemble the rows before them.
    parts: Vec<Option<usize>>,
}

impl Beginnings {
    fn new(columns: usize) -> Self {
        Self {
            wanted: Vec::new(),
            slots: vec![None; columns],
            bytes: vec![Vec::new(); columns],
            parts: vec![None; columns],
        }
    }

    /// Reads what lies out of line, all at once.
    fn read(
        &mut self,
        reader: &mut Reader,
        raw: &Raw<'_>,
        (first, n): (usize, usize),
        places: &[usize],
    ) {
        let last = places.last().copied().unwrap_or(0);
        self.wanted.clear();
        for (offset, (slot, part)) in self.slots.iter_mut().zip(&self.parts).enumerate() {
            *slot = raw.pointer(first + offset).map(|pointer| {
                let enough = part.map_or_else(
                    || pack::prefix_len(pointer.len, n, last),
                    |part| ((pointer.len * part) >> 10) + SPARE,
                );
                self.wanted.push((pointer, enough.min(pointer.len)));
                self.wanted.len() - 1
            });
        }
        let bytes = self.bytes.get_mut(..self.wanted.len()).unwrap_or_default();
        if !reader.beginnings(&self.wanted, bytes) {
            self.slots.fill(None);
        }
    }

    /// Has one column unpacked as far as is needed, by what tells how many bytes it needed; false where the column is
    /// not stored.
    fn values_at(
        &mut self,
        raw: &Raw<'_>,
        first: usize,
        offset: usize,
        unpack: &mut dyn FnMut(&[u8]) -> Result<usize, Corrupt>,
    ) -> Result<bool, Corrupt> {
        let beginning = self.slots.get(offset).copied().flatten();
        if let Some((bytes, (pointer, _))) =
            beginning.and_then(|at| self.bytes.get(at).zip(self.wanted.get(at)))
        {
            if let Ok(needed) = unpack(bytes) {
                self.parts[offset] = Some((needed << 10).div_ceil(pointer.len));
                return Ok(true);
            }
            self.parts[offset] = None;
        }
        // One that was cut too short, or is damaged, is read again as a whole.
        raw.with_bytes(first + offset, unpack).transpose().map(|done| done.is_some())
    }
}

/// The value of a column that is not stored: zero where it was measured (and nothing but the object can have done it). A gauge of an object that is
/// not in the row is unknown: gauges are not read every time.
fn absent_value(family: &Family, head: &Head, column: usize, present: bool) -> Option<u64> {
    let gauge = family.columns.get(column).is_some_and(|c| c.merge == Merge::Last);
    (head.is_known(column) && (present || !gauge)).then_some(0)
}

/// Whole frames of one source and level, for rolling up.
pub(super) fn whole(
    source: i64,
    family: &'static Family,
    segment: Segment,
    each: &mut dyn FnMut(Span, Frame),
) {
    let columns: Vec<usize> = (0..family.columns.len()).collect();
    frames(&[source], family, &[segment], &columns, &mut |row| {
        let frame = Frame {
            family,
            ids: row.ids.to_vec(),
            columns: columns.iter().map(|c| row.column(*c).map(<[u64]>::to_vec)).collect(),
            known: row.head.known,
            totals: row.head.totals.clone(),
        };
        each(row.head.span, frame);
    });
}

/// The ids of all objects that any kept row of a source and level names.
pub(super) fn ids_in_use(
    source: i64,
    family: &Family,
    level: Level,
    each: &mut dyn FnMut(&[u32]),
) -> bool {
    let mut ids: Vec<u32> = Vec::new();
    let mut complete = true;
    let all: Segment = (level, first_time(), i64::MAX / 2);
    rows(&[source], family, &[all], &[usize::MAX], &mut |raw, head, first| {
        unpack_ids(raw, head, first, &mut ids).inspect_err(|_| complete = false)?;
        each(&ids);
        Ok(())
    });
    complete
}

/// Before any row.
fn first_time() -> i64 {
    Period::of(Level::Day, i64::MIN).start()
}

pub(super) fn unpack_ids<'a>(
    raw: &Raw<'_>,
    head: &Head,
    first: usize,
    ids: &mut Vec<u32>,
) -> Result<(), (&'a str, Corrupt)> {
    ids.clear();
    ids_or_none(raw.with_bytes(first, |b| pack::unpack_ids(b, head.n, ids)), head)
}

pub(super) fn ids_or_none<'a>(
    done: Option<Result<(), Corrupt>>,
    head: &Head,
) -> Result<(), (&'a str, Corrupt)> {
    match done {
        Some(result) => result.map_err(|e| ("ids", e)),
        None if head.n == 0 => Ok(()),
        None => Err(("ids", Corrupt::new("ids are missing"))),
    }
}

pub(super) fn in_column(family: &Family, column: usize, error: Corrupt) -> (&'static str, Corrupt) {
    (family.stored(column).map_or("?", column_name), error)
}

/// What a visitor of a row may complain about: a column, and what is wrong with it.
pub(super) type Visit<'v> =
    &'v mut dyn FnMut(&Raw<'_>, &Head, usize) -> Result<(), (&'static str, Corrupt)>;

/// Runs one query per segment, for columns by their place among the stored ones. The visitor gets the position of `ids`, after which the columns come.
/// Columns past the end of the family ask for ids alone.
pub(super) fn rows(
    sources: &[i64],
    family: &Family,
    segments: &[Segment],
    columns: &[usize],
    visit: Visit<'_>,
) {
    let mut warnings: Vec<String> = Vec::new();
    let mut unread = 0_usize;
    for (level, since, until) in segments.iter().filter(|(_, since, until)| since < until) {
        let parent = parent_name(family, *level);
        let mut take = |raw: &Raw<'_>| {
            let Some(head) = head_of(raw, family) else {
                return;
            };
            if let Err((column, error)) = visit(raw, &head, HEAD.len() + family.totals.len()) {
                unread += 1;
                if warnings.len() < MOST_WARNINGS {
                    warnings.push(format!(
                        "perfmon.{parent}: the row of source {} ending at {} is left out: column \
                         \"{column}\": {error}",
                        head.source,
                        iso(head.span.until)
                    ));
                }
            }
        };
        let wanted = wanted_columns(family, columns);
        if !leaf::rows(sources, family, (*level, *since, *until), &wanted, &mut take) {
            let query = select_statement(&parent, &wanted);
            let arguments = [sources.to_vec().into(), sql::time(*since), sql::time(*until)];
            sql::scan(&query, &arguments, take);
        }
    }
    // Only now, with nothing borrowed from the server: a warning may end in a cancellation.
    let rest = unread - warnings.len();
    if rest > 0 {
        warnings.push(format!("{rest} more rows of family {} could not be unpacked", family.name));
    }
    for warning in warnings.into_iter().filter(|warning| is_new(warning)) {
        ereport!(WARNING, PgSqlErrorCode::ERRCODE_DATA_CORRUPTED, warning);
    }
}

/// Whether a warning was not given yet in the statement that the client sent: a report reads some rows a dozen times.
fn is_new(warning: &str) -> bool {
    thread_local! {
        static GIVEN: RefCell<(i64, HashSet<String>)> = RefCell::default();
    }
    let now = clock::statement_us();
    GIVEN.with_borrow_mut(|(statement, given)| {
        if *statement != now {
            *statement = now;
            given.clear();
        }
        given.insert(warning.to_owned())
    })
}

/// Names of the columns of a row that are asked for.
fn wanted_columns(family: &Family, columns: &[usize]) -> Vec<&'static str> {
    let mut list: Vec<&str> = HEAD.to_vec();
    list.extend(family.totals);
    if !columns.is_empty() {
        list.push("ids");
    }
    list.extend(columns.iter().filter_map(|c| family.stored(*c)).map(column_name));
    list
}

fn select_statement(parent: &str, columns: &[&str]) -> String {
    let list: Vec<String> = columns.iter().map(|column| format!("r.{column}")).collect();
    format!(
        "SELECT {} FROM perfmon.{parent} r
         WHERE r.source OPERATOR(pg_catalog.=) ANY ($1)
             AND r.until OPERATOR(pg_catalog.>) $2 AND r.until OPERATOR(pg_catalog.<=) $3
         ORDER BY r.until",
        list.join(", ")
    )
}

fn head_of(raw: &Raw<'_>, family: &Family) -> Option<Head> {
    let quality = match raw.int2(5)? {
        0 => Quality::Exact,
        1 => Quality::LowerBound,
        _ => Quality::Doubtful,
    };
    let span = Span {
        since: raw.time(1)?,
        until: raw.time(2)?,
        length_us: raw.int8(3)?,
        quiet_us: raw.int8(4)?,
        quality,
        flags: raw.int2(6)?,
    };
    Some(Head {
        source: raw.int8(0)?,
        span,
        n: usize::try_from(raw.int4(7)?).unwrap_or(0),
        known: raw.int8(8)? as u64,
        totals: (0..family.totals.len()).map(|i| raw.int8(HEAD.len() + i)).collect(),
    })
}

/// A time for people, in UTC.
fn iso(us: i64) -> String {
    let seconds = us.rem_euclid(super::period::DAY_US) / 1_000_000;
    let date = Period::of(Level::Minute, us).suffix();
    let (year, rest) = date.split_at(4);
    let (month, day) = rest.split_at(2);
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month}-{day} {h:02}:{m:02}:{s:02}.{:06} UTC", us.rem_euclid(1_000_000))
}
