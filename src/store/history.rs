//! The history tables: their names, making them as time goes on, and adding a row. Tables are made
//! with LIKE and then attached, which holds up no reader. It must never change or delete a row.

use std::ffi::CString;

use perfmon_core::family::Family;
use perfmon_core::frame::{Frame, Span};
use perfmon_core::{pack, squares};
use pgrx::prelude::*;

use super::period::{Level, Period, level_name};
use super::sql::{self, Arg};
use crate::pg::heap;

/// Columns before the totals, in order.
const HEAD: [&str; 9] =
    ["source", "since", "until", "length_us", "quiet_us", "quality", "flags", "n", "known"];

/// Packed columns are called as in the family, but for the per-object quality: the row has one too.
pub(super) fn column_name(name: &'static str) -> &'static str {
    if name == "quality" { "qualities" } else { name }
}

/// The extension's own parent of a family and level, without the schema.
pub(super) fn parent_name(family: &Family, level: Level) -> String {
    format!("{}_{}", family.name, level_name(level))
}

/// The table below it that holds one source.
pub(super) fn source_name(family: &Family, level: Level, source: i64) -> String {
    format!("{}_s{source:016x}", parent_name(family, level))
}

/// The table that holds one source's rows of one period.
pub(super) fn leaf_name(family: &Family, level: Level, source: i64, period: Period) -> String {
    format!("{}_{}", source_name(family, level, source), period.suffix())
}

/// A table of schema perfmon by its name; a look-up in the catalog cache, no lock.
pub(crate) fn table_oid(name: &str) -> Option<pg_sys::Oid> {
    let name = CString::new(name).ok()?;
    let schema = schema_oid()?;
    // SAFETY: a look-up by a valid C string, inside a transaction.
    let oid = unsafe { pg_sys::get_relname_relid(name.as_ptr(), schema) };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// The schema of all tables.
pub(super) fn schema_oid() -> Option<pg_sys::Oid> {
    // SAFETY: a look-up by a valid C string, inside a transaction.
    let schema = unsafe { pg_sys::get_namespace_oid(c"perfmon".as_ptr(), true) };
    (schema != pg_sys::InvalidOid).then_some(schema)
}

/// Whether a source ever had a row of this family and level.
pub(super) fn has_tables(family: &Family, level: Level, source: i64) -> bool {
    table_oid(&source_name(family, level, source)).is_some()
}

/// The extension's own parents of which the catalog says that nothing was ever attached to them.
fn untouched_parents() -> Vec<pg_sys::Oid> {
    let found = sql::read(
        "SELECT c.oid FROM pg_catalog.pg_class c
         WHERE c.relnamespace OPERATOR(pg_catalog.=) 'perfmon'::pg_catalog.regnamespace
             AND c.relkind OPERATOR(pg_catalog.=) 'p' AND NOT c.relispartition AND NOT c.relhassubclass
         ORDER BY c.oid",
        &[],
        |row| row.get(1),
    );
    found.into_iter().flatten().collect()
}

/// Whether a table can be attached to each of them without a change of the parent's row in the catalog.
pub(crate) fn are_tables_expected() -> bool {
    untouched_parents().is_empty()
}

/// Says so in the catalog ahead of time: the first table that is attached changes its parent's row, and would wait for
/// whoever changed that too, as GRANT does, until the end of his transaction.
pub(super) fn expect_tables() {
    for parent in untouched_parents() {
        // SAFETY: a table of ours, under the lock that attaching takes. The flag may be set where nothing is attached.
        unsafe {
            pg_sys::LockRelationOid(parent, pg_sys::ShareUpdateExclusiveLock as i32);
            pg_sys::SetRelationHasSubclass(parent, true);
        }
    }
}

/// Whether the table for the period that lies `ahead` periods after `at` is there.
pub(super) fn is_prepared(
    family: &Family,
    level: Level,
    source: i64,
    at: i64,
    ahead: usize,
) -> bool {
    let period = Period::of(level, at).later(level, ahead);
    table_oid(&leaf_name(family, level, source, period)).is_some()
}

/// Makes what is missing of the tables for `at` and `ahead` periods after it.
pub(super) fn prepare(family: &Family, level: Level, source: i64, at: i64, ahead: usize) {
    for steps in 0..=ahead {
        ensure_leaf(family, level, source, Period::of(level, at).later(level, steps));
    }
}

/// Adds one row to a level; its tables are made when they are missing. `span.until` must lie after that
/// of every earlier row of this source, family and level. Returns the bytes of its packed columns.
pub(crate) fn append(level: Level, source: i64, span: &Span, frame: &Frame) -> i64 {
    append_raw(level, source, span, frame, &[])
}

/// The same with the columns of the family that have a form of their own; those left out are NULL.
pub(super) fn append_raw(
    level: Level,
    source: i64,
    span: &Span,
    frame: &Frame,
    raw: &[Option<Vec<u8>>],
) -> i64 {
    let family = frame.family;
    // Straight into the table that takes it: routing through the parents would load the bounds of
    // all their children, which in a session as short as a collector's costs more than the row.
    let leaf = ensure_leaf(family, level, source, Period::of(level, span.until));
    let (mut row, mut bytes) = row_arguments(level, source, span, frame);
    for index in 0..family.raw.len() {
        let value = raw.get(index).and_then(Option::as_deref);
        bytes += i64::try_from(value.map_or(0, <[u8]>::len)).unwrap_or(i64::MAX);
        row.push(sql::bytes(value));
    }
    let columns = columns_of(family);
    let done = table_oid(&leaf).is_some_and(|table| heap::insert(table, &columns, &row));
    if !done {
        lock_parents(family, level, source);
        sql::write(&insert_statement(&leaf, &columns), &row);
    }
    bytes
}

/// The bound of a partition is looked up through its parents: their locks are taken before its own, in the order of
/// whoever changes them together.
fn lock_parents(family: &Family, level: Level, source: i64) {
    let names = [parent_name(family, level), source_name(family, level, source)];
    for table in names.iter().filter_map(|name| table_oid(name)) {
        heap::lock_to_read(table);
    }
}

/// All columns of a row, in order.
fn columns_of(family: &Family) -> Vec<&'static str> {
    let packed = family.columns.iter().map(|column| column_name(column.name));
    let head = HEAD.into_iter().chain(family.totals.iter().copied()).chain(["ids"]);
    head.chain(packed).chain(family.raw.iter().copied()).collect()
}

fn insert_statement(leaf: &str, columns: &[&str]) -> String {
    let values: Vec<String> = (1..=columns.len()).map(|i| format!("${i}")).collect();
    let (columns, values) = (columns.join(", "), values.join(", "));
    format!("INSERT INTO perfmon.{leaf} ({columns}) VALUES ({values})")
}

/// The parameters of a row's INSERT, and how many bytes its packed columns take.
fn row_arguments(
    level: Level,
    source: i64,
    span: &Span,
    frame: &Frame,
) -> (Vec<Arg<'static>>, i64) {
    let mut row: Vec<Arg<'static>> = vec![
        source.into(),
        sql::time(span.since),
        sql::time(span.until),
        span.length_us.into(),
        span.quiet_us.into(),
        (span.quality as i16).into(),
        span.flags.into(),
        i32::try_from(frame.ids.len()).unwrap_or(i32::MAX).into(),
        (frame.known as i64).into(),
    ];
    for index in 0..frame.family.totals.len() {
        row.push(frame.totals.get(index).copied().flatten().into());
    }
    let ids = (!frame.ids.is_empty()).then(|| pack::pack_ids(&frame.ids));
    let mut bytes = ids.as_ref().map_or(0, Vec::len);
    row.push(sql::bytes(ids.as_deref()));
    for index in 0..frame.family.columns.len() {
        let values = frame.columns.get(index).and_then(Option::as_deref);
        // A column of zeros takes no space.
        let values = values.filter(|v| v.iter().any(|x| *x != 0));
        // Sums of rows must come out exactly: only what happened in a minute is rounded.
        let rounded = || squares::pack(frame, index).filter(|_| level == Level::Minute);
        let packed = values.map(|values| rounded().unwrap_or_else(|| pack::pack(values)));
        bytes += packed.as_ref().map_or(0, Vec::len);
        row.push(sql::bytes(packed.as_deref()));
    }
    (row, i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// The name of the table for a period, made if need be.
fn ensure_leaf(family: &Family, level: Level, source: i64, period: Period) -> String {
    let leaf = leaf_name(family, level, source, period);
    if table_oid(&leaf).is_some() {
        return leaf;
    }
    let middle = ensure_source_table(family, level, source);
    let (from, to) = period.bounds();
    // Nobody needs statistics of packed bytes, and gathering them would cost more than the snapshots.
    sql::write(
        &format!(
            "CREATE TABLE perfmon.{leaf}
                 (LIKE perfmon.{middle} INCLUDING STORAGE INCLUDING DEFAULTS) USING heap
                 WITH (autovacuum_analyze_threshold = 2000000000)"
        ),
        &[],
    );
    sql::write(
        &format!(
            "ALTER TABLE perfmon.{middle}
                 ATTACH PARTITION perfmon.{leaf} FOR VALUES FROM ({from}) TO ({to})"
        ),
        &[],
    );
    leaf
}

/// The table that holds one source, made if need be. It, and not the extension's own parent, carries
/// the key: a dump could not restore a key of the parent.
fn ensure_source_table(family: &Family, level: Level, source: i64) -> String {
    let name = source_name(family, level, source);
    if table_oid(&name).is_some() {
        return name;
    }
    let parent = parent_name(family, level);
    sql::write(
        &format!(
            "CREATE TABLE perfmon.{name}
                 (LIKE perfmon.{parent} INCLUDING STORAGE INCLUDING DEFAULTS, PRIMARY KEY (until))
                 PARTITION BY RANGE (until)"
        ),
        &[],
    );
    sql::write(
        &format!(
            "ALTER TABLE perfmon.{parent} ATTACH PARTITION perfmon.{name} FOR VALUES IN ({source})"
        ),
        &[],
    );
    name
}

/// End of a source's last row; `None` when nothing was ever stored. For the owner only: asks the
/// source's own table, first for what lies around `now`, since with the past in view the planner would
/// have to look at every table there is.
pub(crate) fn last_until(family: &Family, level: Level, source: i64, now: i64) -> Option<i64> {
    let table = source_name(family, level, source);
    table_oid(&table)?;
    let query = format!(
        "SELECT t.until FROM perfmon.{table} t WHERE t.until OPERATOR(pg_catalog.>=) $1
         ORDER BY t.until DESC LIMIT 1"
    );
    let today = Period::of(level, now).start();
    sql::first(&query, &[sql::time(today)], |row| row.time(1)).or_else(|| {
        sql::first(&query, &[sql::time(Period::of(level, i64::MIN).start())], |row| row.time(1))
    })
}
