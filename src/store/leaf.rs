//! The tables that hold one source's rows of one period, read by their index on time, past the planner: it would look at
//! every table of a family and level for each question. It must never see more than a query of the caller would.

use perfmon_core::family::Family;

use super::history::{leaf_name, parent_name, source_name, table_oid};
use super::period::{Level, Period};
use super::read::Segment;
use super::sql::{Raw, to_server};
use crate::pg::heap;
use crate::pg::lookup::{Columns, Found, Lookup, Order, is_part, may_read};

/// Of more periods than this in one stretch, a query is asked.
const MOST: usize = 128;
/// The first or last row is looked for in so many periods.
const FEW: usize = 16;

/// The rows of a family, a level and some sources.
pub(super) struct Leaves<'q> {
    family: &'q Family,
    level: Level,
    sources: Vec<i64>,
}

impl<'q> Leaves<'q> {
    /// `None` where the caller may not read them, or only a query can tell.
    pub(super) fn of(family: &'q Family, level: Level, sources: &[i64]) -> Option<Self> {
        // Locked from above, as a query does: then no table below goes away. Names are looked up after that.
        let parent = table_oid(&parent_name(family, level))?;
        heap::lock_to_read(parent);
        if !may_read(parent) {
            return None;
        }
        let held = |source: &i64| {
            let table = table_oid(&source_name(family, level, *source));
            table.inspect(|table| heap::lock_to_read(*table)).is_some_and(is_part)
        };
        let mut sources: Vec<i64> = sources.iter().copied().filter(held).collect();
        sources.sort_unstable();
        sources.dedup();
        Some(Self { family, level, sources })
    }

    /// The table for a period: nothing where there is none, an error where only a query can tell.
    fn open(&self, period: Period, wanted: &[&str]) -> Result<Option<Lookup>, ()> {
        let mut found = None;
        for source in &self.sources {
            let name = leaf_name(self.family, self.level, *source, period);
            let Some(table) = table_oid(&name) else { continue };
            // Rows of several sources would have to be put in order.
            if found.is_some() {
                return Err(());
            }
            found = Some(Lookup::by_time(table, "until", wanted).ok_or(())?);
        }
        Ok(found)
    }

    /// Hands over the rows of a stretch of time in order; false, and nothing done, where only a query can tell.
    pub(super) fn rows(
        &self,
        (since, until): (i64, i64),
        wanted: &[&str],
        each: &mut dyn FnMut(&Raw<'_>),
    ) -> bool {
        let mut tables: Vec<Lookup> = Vec::new();
        let mut period = Period::of(self.level, since.saturating_add(1));
        for _ in 0..MOST {
            let Ok(table) = self.open(period, wanted) else { return false };
            tables.extend(table);
            if until < period.end() || self.sources.is_empty() {
                let mut columns = Columns::default();
                for table in &tables {
                    let bounds = (to_server(since), to_server(until));
                    table.between(bounds, Order::Ascending, &mut |row| {
                        pgrx::check_for_interrupts!();
                        columns.take(row);
                        each(&Raw::of(&columns.values, &columns.nulls));
                        true
                    });
                }
                return true;
            }
            period = period.later(self.level, 1);
        }
        false
    }

    /// Hands over the first or last rows from one period to another, until `each` says false; an error where only a query
    /// can tell whether there are more of them.
    pub(super) fn rows_at_edge(
        &self,
        (first, last): (Period, Period),
        order: Order,
        wanted: &[&str],
        each: &mut dyn FnMut(&Found<'_>) -> bool,
    ) -> Result<(), ()> {
        let (mut period, end) =
            if order == Order::Ascending { (first, last) } else { (last, first) };
        for _ in 0..FEW {
            let mut goes_on = true;
            if let Some(table) = self.open(period, wanted)? {
                table.between((i64::MIN, i64::MAX), order, &mut |row| {
                    goes_on = each(row);
                    goes_on
                });
            }
            if !goes_on || period == end {
                return Ok(());
            }
            period = match order {
                Order::Ascending => period.later(self.level, 1),
                Order::Descending => Period::of(self.level, period.start() - 1),
            };
        }
        Err(())
    }
}

/// Hands over the rows of a segment in order; false, and nothing done, where only a query can tell.
pub(super) fn rows(
    sources: &[i64],
    family: &Family,
    (level, since, until): Segment,
    wanted: &[&str],
    each: &mut dyn FnMut(&Raw<'_>),
) -> bool {
    Leaves::of(family, level, sources)
        .is_some_and(|leaves| leaves.rows((since, until), wanted, each))
}
