//! Scans of system catalogs, all as of one moment, under the lock that every query takes on a catalog. It
//! must never open a relation of a user.

use std::marker::PhantomData;

use pgrx::pg_sys;

use super::compat;

/// What is committed at one moment.
pub(crate) struct Moment(pg_sys::Snapshot);

impl Moment {
    /// This one. Read committed transactions only: others must not see more than they did before.
    pub(crate) fn now() -> Self {
        // SAFETY: a transaction is open; registered, the snapshot stays until it is given back.
        Self(unsafe { pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot()) })
    }
}

impl Moment {
    /// What a query of this transaction would see now, its own changes included; `None` outside of queries.
    pub(crate) fn of_query() -> Option<Self> {
        // SAFETY: a transaction is open; a change of the command counter is what a query that follows a change makes,
        // too, and does not come up while processes work together. Registered, the snapshot stays until it is given back.
        unsafe {
            if !pg_sys::ActiveSnapshotSet() {
                return None;
            }
            let nothing_changed =
                pg_sys::GetCurrentTransactionIdIfAny() == pg_sys::InvalidTransactionId;
            let snapshot = if nothing_changed || pg_sys::IsInParallelMode() {
                pg_sys::GetActiveSnapshot()
            } else {
                pg_sys::CommandCounterIncrement();
                pg_sys::GetTransactionSnapshot()
            };
            Some(Self(pg_sys::RegisterSnapshot(snapshot)))
        }
    }

    pub(super) fn snapshot(&self) -> pg_sys::Snapshot {
        self.0
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        // While an error passes, the transaction's own clean-up gives it back.
        if !std::thread::panicking() {
            // SAFETY: registered by us, once, under the resource owner that is still the current one.
            unsafe { pg_sys::UnregisterSnapshot(self.0) };
        }
    }
}

/// Which rows of a catalog: those whose column, the first of an index, holds a certain oid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Only {
    pub(crate) index: u32,
    pub(crate) column: u32,
    pub(crate) value: pg_sys::Oid,
}

/// A row of a catalog, as long as the scan stands on it. Columns count from 1.
pub(crate) struct Row<'a> {
    tuple: pg_sys::HeapTuple,
    description: pg_sys::TupleDesc,
    scan: PhantomData<&'a ()>,
}

impl Row<'_> {
    /// # Safety
    /// A tuple of that description, both valid while the scan stands here.
    pub(super) unsafe fn of(tuple: pg_sys::HeapTuple, description: pg_sys::TupleDesc) -> Self {
        Self { tuple, description, scan: PhantomData }
    }

    fn datum(&self, column: u32) -> Option<pg_sys::Datum> {
        let mut is_null = false;
        // SAFETY: a tuple of that description, both valid while the scan stands here.
        let datum = unsafe {
            pg_sys::heap_getattr(self.tuple, column as i32, self.description, &mut is_null)
        };
        (!is_null).then_some(datum)
    }

    /// The type of a column that the description has.
    pub(super) fn type_of(&self, column: u32) -> pg_sys::Oid {
        // SAFETY: a whole description, of which the caller knows the column.
        unsafe { (*compat::attribute(self.description, column as i32 - 1)).atttypid }
    }

    /// The fixed part of the row.
    ///
    /// # Safety
    /// `T` must be the struct of this catalog.
    pub(crate) unsafe fn form<T>(&self) -> &T {
        // SAFETY: as the caller promises.
        unsafe { &*pg_sys::GETSTRUCT(self.tuple).cast::<T>() }
    }

    /// An oid, or 0.
    pub(crate) fn oid(&self, column: u32) -> u32 {
        self.datum(column).map_or(0, |datum| datum.value() as u32)
    }

    /// A small number.
    pub(crate) fn int(&self, column: u32) -> Option<i16> {
        self.datum(column).map(|datum| datum.value() as i16)
    }

    /// One byte: a boolean, or a `"char"`.
    pub(crate) fn byte(&self, column: u32) -> u8 {
        self.datum(column).map_or(0, |datum| datum.value() as u8)
    }

    /// Lends the content of a value of variable length.
    ///
    /// # Safety
    /// The column must be of a type with a varlena header.
    pub(crate) unsafe fn bytes<T>(&self, column: u32, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let stored = self.datum(column)?.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: a varlena by the caller's word; a copy, if one was made, is ours to free.
        unsafe {
            let plain = pg_sys::pg_detoast_datum_packed(stored);
            let result = read(pgrx::varlena::varlena_to_byte_slice(plain));
            if !std::ptr::eq(plain, stored) {
                pg_sys::pfree(plain.cast());
            }
            Some(result)
        }
    }

    /// The values of a `text[]`, in the encoding of the database.
    ///
    /// # Safety
    /// The column must be of that type.
    pub(crate) unsafe fn texts(&self, column: u32) -> Vec<Vec<u8>> {
        let Some(datum) = self.datum(column) else { return Vec::new() };
        let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        // SAFETY: an array of text by the caller's word (variable length, by reference, int alignment);
        // the server allocates as many values and marks as it counts.
        unsafe {
            let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
            pg_sys::deconstruct_array(
                array.cast(),
                pg_sys::TEXTOID,
                -1,
                false,
                pg_sys::TYPALIGN_INT as std::ffi::c_char,
                &mut values,
                &mut nulls,
                &mut count,
            );
            (0..usize::try_from(count).unwrap_or(0))
                .filter(|i| !*nulls.add(*i))
                .map(|i| {
                    let text = pg_sys::pg_detoast_datum_packed((*values.add(i)).cast_mut_ptr());
                    pgrx::varlena::varlena_to_byte_slice(text).to_vec()
                })
                .collect()
        }
    }

    /// All values at once; what they refer to lasts as the row does.
    pub(super) fn all(&self, values: &mut Vec<pg_sys::Datum>, nulls: &mut Vec<bool>) {
        // SAFETY: a tuple of that description; both get one place per column of it.
        unsafe {
            let width = usize::try_from((*self.description).natts).unwrap_or(0);
            values.resize(width, pg_sys::Datum::null());
            nulls.resize(width, true);
            pg_sys::heap_deform_tuple(
                self.tuple,
                self.description,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
        }
    }

    /// A value as an argument of a function of the server's, to be used while the scan stands here.
    pub(crate) fn argument(&self, column: u32) -> Option<pg_sys::Datum> {
        self.datum(column)
    }
}

/// Hands the rows of a catalog to `each`, in no order.
pub(crate) fn rows(
    catalog: pg_sys::Oid,
    only: Option<Only>,
    at: &Moment,
    mut each: impl FnMut(&Row<'_>),
) {
    let share = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    let mut key = pg_sys::ScanKeyData::default();
    // SAFETY: a catalog scan in the caller's transaction; on an error the transaction gives lock and scan
    // back. The key outlives the scan; the index is one of the catalog's, on that column first.
    unsafe {
        if let Some(only) = only {
            pg_sys::ScanKeyInit(
                &mut key,
                only.column as i16,
                pg_sys::BTEqualStrategyNumber as u16,
                pg_sys::F_OIDEQ.into(),
                pg_sys::Datum::from(only.value),
            );
        }
        let relation = pg_sys::table_open(catalog, share);
        let scan = pg_sys::systable_beginscan(
            relation,
            only.map_or(pg_sys::Oid::INVALID, |only| pg_sys::Oid::from(only.index)),
            only.is_some(),
            at.0,
            i32::from(only.is_some()),
            &mut key,
        );
        let mut seen = 0_u32;
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            each(&Row { tuple, description: (*relation).rd_att, scan: PhantomData });
            seen = seen.wrapping_add(1);
            if seen.is_multiple_of(1024) {
                pgrx::check_for_interrupts!();
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, share);
    }
}
