//! `tables` and `databases`: what was read and written where, and how large it is.

use std::collections::HashMap;

use perfmon_core::family::{DATABASE, Family, Merge, RELATION};
use perfmon_core::tally::{Tally, Who};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::args::{Scope, Stamp};
use super::names;
use super::plan::Kept;
use super::rows::{Cell, Sink};
use super::statements::{ms, part, per_s, quality, ratio};
use crate::error::Error;
use crate::store::read;
use perfmon_core::window::Level;

/// A family added up over the window, object by object, by name.
pub(super) struct Objects {
    family: &'static Family,
    tally: Tally,
    named: Vec<(usize, [Cell; 3])>,
    /// Sizes as they were before the window: they are looked at less often than the rest.
    earlier: Tally,
    earlier_columns: Vec<usize>,
    earlier_places: HashMap<Who, usize>,
    pub(super) covered_us: i64,
}

/// Sizes are looked at once an hour at least.
const LOOK_BACK_US: i64 = 65 * 60_000_000;

impl Objects {
    pub(super) fn of(family: &'static Family, scope: &Scope) -> Result<Self, Error> {
        let kept = Kept::of(family, scope);
        let segments = kept.segments(scope, Level::Day);
        let columns: Vec<usize> = (0..family.columns.len()).collect();
        let mut tally = Tally::new(family, &columns);
        let mut covered_us = 0_i64;
        read::frames(&scope.sources, family, &segments, &columns, &mut |row| {
            covered_us = covered_us.saturating_add(row.head.span.length_us);
            tally.add(row.head.source, row.ids, row.head.known, &|i| row.column(i));
        });
        let named = merge_by_name(family, scope, &mut tally)?;
        let earlier_columns = sizes(family);
        let earlier = sizes_before(family, &earlier_columns, scope, &kept);
        let earlier_places = earlier.who().iter().enumerate().map(|(at, who)| (*who, at)).collect();
        Ok(Self { family, tally, named, earlier, earlier_columns, earlier_places, covered_us })
    }

    /// Objects in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = Object<'_>> {
        self.named.iter().map(|(place, names)| Object { all: self, place: *place, names })
    }
}

fn sizes(family: &Family) -> Vec<usize> {
    let is_size = |c: &usize| {
        let column = family.columns[*c];
        column.merge == Merge::Last && column.name.ends_with("_bytes")
    };
    (0..family.columns.len()).filter(is_size).collect()
}

fn sizes_before(family: &'static Family, columns: &[usize], scope: &Scope, kept: &Kept) -> Tally {
    let mut tally = Tally::new(family, columns);
    for segment in kept.before(scope, LOOK_BACK_US) {
        read::frames(&scope.sources, family, &[segment], columns, &mut |row| {
            tally.add(row.head.source, row.ids, row.head.known, &|i| row.column(i));
        });
    }
    tally
}

/// Two sources may hold the same object: the newer takes the older in. Rows come by source and time, so
/// the place seen last is the newer one.
fn merge_by_name(
    family: &Family,
    scope: &Scope,
    tally: &mut Tally,
) -> Result<Vec<(usize, [Cell; 3])>, Error> {
    let dictionary = names::objects(family.name, &scope.sources)?;
    let age = |source: i64| scope.sources.iter().position(|s| *s == source);
    let mut places: Vec<(usize, [Cell; 3], Option<usize>)> = tally
        .who()
        .iter()
        .enumerate()
        .map(|(place, who)| {
            let names = dictionary.get(who).cloned();
            (place, names.unwrap_or([Cell::Null, Cell::Null, Cell::Null]), age(who.0))
        })
        .collect();
    places.sort_by(|a, b| key(&a.1).cmp(&key(&b.1)).then(a.2.cmp(&b.2)));
    let mut named: Vec<(usize, [Cell; 3])> = Vec::with_capacity(places.len());
    for (place, names, _) in places {
        match named.last() {
            Some((newer, same)) if *same == names && names[1] != Cell::Null => {
                tally.merge(place, *newer);
            }
            _ => named.push((place, names)),
        }
    }
    Ok(named)
}

fn key(names: &[Cell; 3]) -> [Vec<u8>; 3] {
    names.each_ref().map(|name| match name {
        Cell::Text(raw) => raw.0.clone(),
        _ => Vec::new(),
    })
}

/// One object of them.
pub(super) struct Object<'a> {
    all: &'a Objects,
    place: usize,
    pub(super) names: &'a [Cell; 3],
}

impl Object<'_> {
    /// Sum or last value of a column.
    pub(super) fn v(&self, name: &str) -> Option<u64> {
        let tally = &self.all.tally;
        let index = self.all.family.position(name)?;
        tally.get(self.place, index).or_else(|| {
            let who = tally.who().get(self.place)?;
            let column = self.all.earlier_columns.iter().position(|c| *c == index)?;
            self.all.earlier.get(*self.all.earlier_places.get(who)?, column)
        })
    }

    /// Sum of several columns, unknown when none is known.
    pub(super) fn all_of(&self, names: &[&str]) -> Option<u64> {
        names.iter().filter_map(|name| self.v(name)).reduce(u64::saturating_add)
    }

    /// How much a gauge grew between its first and last value; one value says nothing.
    fn growth(&self, names: &[&str]) -> Option<i64> {
        let mut sum: Option<i64> = None;
        for name in names {
            let index = self.all.family.position(name)?;
            let Some(first) = self.all.tally.first(self.place, index) else { continue };
            let last = self.v(name)?;
            let grown = i64::try_from(last).ok()? - i64::try_from(first).ok()?;
            sum = Some(sum.unwrap_or(0).saturating_add(grown));
        }
        sum
    }
}

const SIZES: [&str; 3] = ["table_bytes", "toast_bytes", "index_bytes"];
const HIT: [&str; 4] = ["heap_blks_hit", "idx_blks_hit", "toast_blks_hit", "tidx_blks_hit"];
const READ: [&str; 4] = ["heap_blks_read", "idx_blks_read", "toast_blks_read", "tidx_blks_read"];

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.tables(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    schema_name text,
    table_name text,
    kind text,
    seq_scan bigint,
    seq_tup_read bigint,
    rows_per_seq_scan float8,
    idx_scan bigint,
    idx_tup_fetch bigint,
    n_tup_ins bigint,
    n_tup_upd bigint,
    n_tup_del bigint,
    n_tup_hot_upd bigint,
    hot_update_ratio float8,
    n_live_tup bigint,
    n_dead_tup bigint,
    dead_ratio float8,
    n_mod_since_analyze bigint,
    vacuum_count bigint,
    autovacuum_count bigint,
    analyze_count bigint,
    autoanalyze_count bigint,
    blks_read bigint,
    blks_hit bigint,
    cache_hit_ratio float8,
    table_bytes bigint,
    toast_bytes bigint,
    index_bytes bigint,
    total_bytes bigint,
    growth_bytes bigint,
    quality text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 200 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn tables(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    for table in Objects::of(&RELATION, &scope)?.iter() {
        sink.put(table_cells(&table))?;
    }
    Ok(())
}

fn table_cells(t: &Object<'_>) -> [Cell; 30] {
    let v = |name: &str| t.v(name);
    let (read, hit) = (t.all_of(&READ), t.all_of(&HIT));
    [
        t.names[0].clone(),
        t.names[1].clone(),
        t.names[2].clone(),
        v("seq_scan").into(),
        v("seq_tup_read").into(),
        ratio(v("seq_tup_read"), v("seq_scan")).into(),
        v("idx_scan").into(),
        v("idx_tup_fetch").into(),
        v("n_tup_ins").into(),
        v("n_tup_upd").into(),
        v("n_tup_del").into(),
        v("n_tup_hot_upd").into(),
        ratio(v("n_tup_hot_upd"), v("n_tup_upd")).into(),
        v("n_live_tup").into(),
        v("n_dead_tup").into(),
        part(v("n_dead_tup"), v("n_live_tup")).into(),
        v("n_mod_since_analyze").into(),
        v("vacuum_count").into(),
        v("autovacuum_count").into(),
        v("analyze_count").into(),
        v("autoanalyze_count").into(),
        read.into(),
        hit.into(),
        part(hit, read).into(),
        v("table_bytes").into(),
        v("toast_bytes").into(),
        v("index_bytes").into(),
        t.all_of(&SIZES).into(),
        t.growth(&SIZES).into(),
        quality(v("quality")),
    ]
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.databases(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    database_name text,
    database_bytes bigint,
    growth_bytes bigint,
    tps float8,
    xact_commit bigint,
    xact_rollback bigint,
    rollback_ratio float8,
    deadlocks bigint,
    deadlock_ratio float8,
    tup_returned bigint,
    tup_fetched bigint,
    tup_inserted bigint,
    tup_updated bigint,
    tup_deleted bigint,
    blks_read bigint,
    blks_hit bigint,
    cache_hit_ratio float8,
    blk_read_ms float8,
    blk_write_ms float8,
    temp_files bigint,
    temp_bytes bigint,
    conflicts bigint,
    checksum_failures bigint,
    session_ms float8,
    active_ms float8,
    active_ratio float8,
    idle_in_transaction_ms float8,
    sessions bigint,
    sessions_abandoned bigint,
    sessions_fatal bigint,
    sessions_killed bigint,
    backends bigint,
    quality text
) LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 20 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn databases(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    let databases = Objects::of(&DATABASE, &scope)?;
    for database in databases.iter() {
        sink.put(database_cells(&database, databases.covered_us))?;
    }
    Ok(())
}

fn database_cells(d: &Object<'_>, covered_us: i64) -> [Cell; 33] {
    let v = |name: &str| d.v(name);
    let transactions = d.all_of(&["xact_commit", "xact_rollback"]);
    [
        d.names[1].clone(),
        v("database_bytes").into(),
        d.growth(&["database_bytes"]).into(),
        per_s(transactions, covered_us).into(),
        v("xact_commit").into(),
        v("xact_rollback").into(),
        ratio(v("xact_rollback"), transactions).into(),
        v("deadlocks").into(),
        ratio(v("deadlocks"), transactions).into(),
        v("tup_returned").into(),
        v("tup_fetched").into(),
        v("tup_inserted").into(),
        v("tup_updated").into(),
        v("tup_deleted").into(),
        v("blks_read").into(),
        v("blks_hit").into(),
        part(v("blks_hit"), v("blks_read")).into(),
        ms(v("blk_read_us")).into(),
        ms(v("blk_write_us")).into(),
        v("temp_files").into(),
        v("temp_bytes").into(),
        v("conflicts").into(),
        v("checksum_failures").into(),
        ms(v("session_us")).into(),
        ms(v("active_us")).into(),
        per_s(v("active_us"), covered_us).map(|us| us / 1e6).into(),
        ms(v("idle_in_transaction_us")).into(),
        v("sessions").into(),
        v("sessions_abandoned").into(),
        v("sessions_fatal").into(),
        v("sessions_killed").into(),
        v("numbackends").into(),
        quality(v("quality")),
    ]
}
