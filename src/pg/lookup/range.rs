//! Rows between two times, in order, as a query of the caller would see them. A question about history reads a handful of
//! tables, each of which is one period, and planning that took longer than finding the rows.

use pgrx::pg_sys;

use super::{Found, KEEP, Lookup, SHARE};
use crate::pg::scan::Moment;

/// Whether the caller may read a table in full, as far as that is told by the table alone: where not, a query says what is
/// missing.
pub(crate) fn may_read(table: pg_sys::Oid) -> bool {
    // SAFETY: look-ups of the catalog; a table that is opened, looked at and closed, its lock kept.
    unsafe {
        let allowed = pg_sys::pg_class_aclcheck(
            table,
            pg_sys::GetUserId(),
            pg_sys::ACL_SELECT as pg_sys::AclMode,
        );
        if allowed != pg_sys::AclResult::ACLCHECK_OK {
            return false;
        }
        // It may be gone since its name was looked up, with all of the extension: a query says so in its own words.
        let relation = pg_sys::try_relation_open(table, SHARE);
        if relation.is_null() {
            return false;
        }
        let plain = !(*(*relation).rd_rel).relrowsecurity;
        pg_sys::relation_close(relation, KEEP);
        plain
    }
}

/// Whether a table is part of another: what was taken out of its parent is not what a query of the parent sees.
pub(crate) fn is_part(table: pg_sys::Oid) -> bool {
    // SAFETY: a look-up of the catalog; false where there is no such table any more.
    unsafe { pg_sys::get_rel_relispartition(table) }
}

/// The columns that are wanted of one row after the other.
#[derive(Default)]
pub(crate) struct Columns {
    all: (Vec<pg_sys::Datum>, Vec<bool>),
    pub(crate) values: Vec<pg_sys::Datum>,
    pub(crate) nulls: Vec<bool>,
}

impl Columns {
    /// Those of a row; what they refer to lasts as long as the row is lent.
    pub(crate) fn take(&mut self, row: &Found<'_>) {
        row.row.all(&mut self.all.0, &mut self.all.1);
        self.values.clear();
        self.nulls.clear();
        for number in row.wanted {
            // Columns of a table count from 1.
            let place = *number as usize - 1;
            self.nulls.push(self.all.1.get(place).copied().unwrap_or(true));
            self.values.push(self.all.0.get(place).copied().unwrap_or_else(pg_sys::Datum::null));
        }
    }
}

/// In which order rows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Ascending,
    Descending,
}

impl Lookup {
    /// A table to be looked into by a time, the only column of one of its indexes, as a query sees it now. `None` where only
    /// a query can tell. Whether the caller may read it is to be asked of the table that a query would name.
    pub(crate) fn by_time(table: pg_sys::Oid, time: &str, wanted: &[&str]) -> Option<Self> {
        let opened = Self::open_at(table, &[time], wanted, Moment::of_query()?)?;
        let by_time = opened.keys.first().is_some_and(|key| key.type_oid == pg_sys::TIMESTAMPTZOID);
        // SAFETY: an open table. One that was taken out of its parent is not what a query would see.
        let is_part = unsafe { (*(*opened.relation).rd_rel).relispartition };
        (by_time && is_part).then_some(opened)
    }

    /// Hands over the rows whose time lies in (after, to], as the server counts, until `each` says false.
    pub(crate) fn between(
        &self,
        (after, to): (i64, i64),
        order: Order,
        each: &mut dyn FnMut(&Found<'_>) -> bool,
    ) {
        let Some(column) = self.keys.first().map(|key| key.number) else { return };
        let mut keys = [pg_sys::ScanKeyData::default(); 2];
        let bounds = [
            (pg_sys::BTGreaterStrategyNumber, pg_sys::F_TIMESTAMPTZ_GT, after),
            (pg_sys::BTLessEqualStrategyNumber, pg_sys::F_TIMESTAMPTZ_LE, to),
        ];
        let direction = match order {
            Order::Ascending => pg_sys::ScanDirection::ForwardScanDirection,
            Order::Descending => pg_sys::ScanDirection::BackwardScanDirection,
        };
        // SAFETY: an open table, and an index of its that begins with a time; the keys outlive the scan, and each tuple is
        // used while the scan stands on it. The index is kept locked until the transaction ends.
        unsafe {
            for (key, (strategy, function, bound)) in keys.iter_mut().zip(bounds) {
                let bound = pg_sys::Datum::from(bound);
                pg_sys::ScanKeyInit(key, column, strategy as u16, function.into(), bound);
            }
            let index = pg_sys::index_open(self.index, SHARE);
            let scan = pg_sys::systable_beginscan_ordered(
                self.relation,
                index,
                self.at.snapshot(),
                2,
                keys.as_mut_ptr(),
            );
            loop {
                let tuple = pg_sys::systable_getnext_ordered(scan, direction);
                if tuple.is_null() || !each(&self.found(tuple)) {
                    break;
                }
            }
            pg_sys::systable_endscan_ordered(scan);
            pg_sys::index_close(index, KEEP);
        }
    }
}
