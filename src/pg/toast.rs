//! Reads the beginnings of many values that one row keeps out of line, in one walk along the index of
//! the TOAST table: the values of a row were written together, so their pieces are neighbours. The
//! server's own way opens table and index for each value. It must never be the only way: whatever is
//! out of the ordinary is refused, and the caller asks the server.

use pgrx::PgMemoryContexts;
use pgrx::pg_sys;

/// Bytes of a piece, with blocks of 8 kB; pieces of another size are refused.
const CHUNK: usize = 1996;
/// The walk passes over what lies between the wanted values: at most so many for each of them.
const SPREAD: usize = 16;
/// Conditions of a walk: two on the value, two on the piece.
const KEYS: i32 = 4;

/// Where a value lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pointer {
    value: u32,
    table: pg_sys::Oid,
    /// Its length.
    pub(crate) len: usize,
}

/// The pointer of a value that lies out of line and uncompressed.
///
/// # Safety
/// The datum must be of a type with a varlena header, and not null.
pub(crate) unsafe fn pointer(datum: pg_sys::Datum) -> Option<Pointer> {
    let stored = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: the header says how the value is kept; the pointer behind it may lie unaligned.
    let external = unsafe {
        if !pgrx::varlena::varatt_is_1b_e(stored) {
            return None;
        }
        let header = stored.cast::<pg_sys::varattrib_1b_e>();
        if u32::from((*header).va_tag) != pg_sys::vartag_external::VARTAG_ONDISK {
            return None;
        }
        (&raw const (*header).va_data).cast::<pg_sys::varatt_external>().read_unaligned()
    };
    let len = usize::try_from(external.va_rawsize).ok()?.checked_sub(pg_sys::VARHDRSZ)?;
    // The upper two bits name a compression; what is compressed is shorter than it says.
    let stored_len = external.va_extinfo & 0x3FFF_FFFF;
    (usize::try_from(stored_len) == Ok(len) && len > 0).then_some(Pointer {
        value: external.va_valueid.to_u32(),
        table: external.va_toastrelid,
        len,
    })
}

/// Keeps one TOAST table open as long as values come from it.
pub(crate) struct Reader {
    /// Outlives the queries whose rows are read.
    memory: pg_sys::MemoryContext,
    open: Option<Open>,
    /// By value id, counted from the lowest one of the row: place in the question + 1.
    places: Vec<u8>,
}

/// Some pieces of one value.
#[derive(Default)]
pub(crate) struct Parts {
    /// Which ones, ascending.
    numbers: Vec<usize>,
    /// All of them, end to end.
    bytes: Vec<u8>,
}

impl Parts {
    fn clear(&mut self) {
        self.numbers.clear();
        self.bytes.clear();
    }

    /// A part that was read.
    pub(crate) fn get(&self, part: &std::ops::Range<usize>) -> Option<&[u8]> {
        if part.is_empty() {
            return Some(&[]);
        }
        let nth = self.numbers.binary_search(&(part.start / CHUNK)).ok()?;
        let start = nth * CHUNK + part.start % CHUNK;
        self.bytes.get(start..start + part.len())
    }
}

struct Open {
    oid: pg_sys::Oid,
    table: pg_sys::Relation,
    index: pg_sys::Relation,
    /// Registered, so that it outlives the query whose rows led here.
    snapshot: pg_sys::Snapshot,
    scan: pg_sys::IndexScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
}

impl Reader {
    /// For use until the current memory context goes.
    pub(crate) fn new() -> Self {
        // SAFETY: a variable of this process.
        let memory = unsafe { pg_sys::CurrentMemoryContext };
        Self { memory, open: None, places: Vec::new() }
    }

    /// Reads the first `wanted[i].1` bytes or some more of each value into `out[i]`; false when that did
    /// not work out for all of them, in whatever way.
    pub(crate) fn beginnings(&mut self, wanted: &[(Pointer, usize)], out: &mut [Vec<u8>]) -> bool {
        out.iter_mut().for_each(Vec::clear);
        let Some((low, high)) = self.spread(wanted) else { return false };
        self.places.clear();
        self.places.resize((high - low) as usize + 1, 0);
        for (place, (pointer, _)) in wanted.iter().enumerate() {
            self.places[(pointer.value - low) as usize] = place as u8 + 1;
        }
        let memory = self.memory;
        // Scans keep what they allocate on the way.
        // SAFETY: the context outlives this reader by the promise of `new`.
        let whole = unsafe {
            PgMemoryContexts::For(memory).switch_to(|_| self.collect(wanted, out, low, high))
        };
        whole
            && wanted
                .iter()
                .zip(out)
                .all(|((pointer, enough), out)| out.len() >= pointer.len.min(*enough))
    }

    /// Reads parts of one value, which ascend, in one walk, and of its pieces only those that hold them; false when that
    /// did not work out, in whatever way.
    pub(crate) fn parts(
        &mut self,
        of: &Pointer,
        parts: &[std::ops::Range<usize>],
        into: &mut Parts,
    ) -> bool {
        into.clear();
        for part in parts.iter().filter(|part| !part.is_empty()) {
            if part.end > of.len {
                return false;
            }
            let next = into.numbers.last().map_or(0, |last| last + 1);
            into.numbers.extend((part.start / CHUNK).max(next)..=(part.end - 1) / CHUNK);
        }
        let Some((first, last)) = into.numbers.first().copied().zip(into.numbers.last().copied())
        else {
            return true;
        };
        // SAFETY: asks whether there is a snapshot.
        if !unsafe { pg_sys::ActiveSnapshotSet() } {
            return false;
        }
        let memory = self.memory;
        // SAFETY: the context outlives this reader by the promise of `new`.
        unsafe {
            PgMemoryContexts::For(memory).switch_to(|_| {
                let Some(open) = self.open(of.table) else { return false };
                let (numbers, bytes, mut next) = (&into.numbers, &mut into.bytes, 0);
                let complete = open.walk([of.value; 2], [first, last], |_, number, fetch| {
                    if numbers.get(next) != Some(&number) {
                        return true;
                    }
                    next += 1;
                    let end = bytes.len() + (of.len - number * CHUNK).min(CHUNK);
                    fetch(bytes) && bytes.len() == end
                });
                complete && next == numbers.len()
            })
        }
    }

    fn open(&mut self, table: pg_sys::Oid) -> Option<&Open> {
        if self.open.as_ref().is_none_or(|open| open.oid != table) {
            self.open = None;
            self.open = Open::of(table);
        }
        self.open.as_ref()
    }

    fn collect(
        &mut self,
        wanted: &[(Pointer, usize)],
        out: &mut [Vec<u8>],
        low: u32,
        high: u32,
    ) -> bool {
        if self.open(wanted[0].0.table).is_none() {
            return false;
        }
        let Some(open) = &self.open else { return false };
        let places = &self.places;
        // Pieces behind the last one that is needed of any value are passed over within the index.
        let last = wanted.iter().map(|(pointer, enough)| pointer.len.min(*enough).div_ceil(CHUNK));
        let pieces = [0, last.max().unwrap_or(0).saturating_sub(1)];
        open.walk([low, high], pieces, |value, piece, fetch| {
            let place = usize::from(places[(value - low) as usize]);
            let Some((pointer, enough)) = place.checked_sub(1).map(|i| wanted[i]) else {
                return true;
            };
            let at = piece * CHUNK;
            if at >= enough {
                return true;
            }
            let target = &mut out[place - 1];
            target.len() == at && fetch(target) && target.len() == pointer.len.min(at + CHUNK)
        })
    }

    /// The lowest and the highest value, if they lie close together in one table.
    fn spread(&self, wanted: &[(Pointer, usize)]) -> Option<(u32, u32)> {
        let table = wanted.first()?.0.table;
        let low = wanted.iter().map(|w| w.0.value).min()?;
        let high = wanted.iter().map(|w| w.0.value).max()?;
        let near = (high - low) as usize <= wanted.len() * SPREAD && wanted.len() < 255;
        // SAFETY: asks whether there is a snapshot.
        let snapshot = unsafe { pg_sys::ActiveSnapshotSet() };
        (near && snapshot && wanted.iter().all(|w| w.0.table == table)).then_some((low, high))
    }
}

impl Open {
    fn of(oid: pg_sys::Oid) -> Option<Self> {
        let lock = pg_sys::AccessShareLock as i32;
        // SAFETY: a TOAST table of a row that this transaction has read, so it cannot be dropped; locks
        // are kept to the transaction's end. The list is a palloc'd copy. There is an active snapshot, as
        // the caller saw; registered, it stays valid until this reader, or the transaction, gives it back.
        unsafe {
            let table = pg_sys::table_open(oid, lock);
            let indexes = pg_sys::RelationGetIndexList(table);
            if indexes.is_null() || (*indexes).length != 1 {
                pg_sys::table_close(table, 0);
                return None;
            }
            let index = pg_sys::index_open((*(*indexes).elements).oid_value, lock);
            let snapshot = pg_sys::RegisterSnapshot(pg_sys::GetActiveSnapshot());
            let scan = begin(table, index, snapshot);
            // The index tells value and piece, so that only what is wanted is fetched.
            (*scan).xs_want_itup = true;
            let slot = pg_sys::table_slot_create(table, std::ptr::null_mut());
            Some(Self { oid, table, index, snapshot, scan, slot })
        }
    }

    /// Goes through the pieces of the values from `low` to `high` that have a number in a range, in order, until `each`
    /// says false. Both run within one boundary for errors: neither may hold anything to drop while it calls the other, nor
    /// panic.
    /// The function that it gets appends the piece to a buffer, or says that it cannot be seen.
    #[expect(ffi_unwind_calls, reason = "the calls are inside pgrx's error boundary")]
    fn walk(
        &self,
        [low, high]: [u32; 2],
        [first, last]: [usize; 2],
        mut each: impl FnMut(u32, usize, &dyn Fn(&mut Vec<u8>) -> bool) -> bool,
    ) -> bool {
        let mut keys = [pg_sys::ScanKeyData::default(); KEYS as usize];
        let mut complete = true;
        // SAFETY: the index is on (chunk_id oid, chunk_seq int4), neither ever null, so that the two lie
        // behind the header of an index tuple, which stays valid until the scan goes on.
        unsafe {
            // Of one value, the index leads straight to the first of its pieces.
            let (from, to) = if low == high {
                let equal = (pg_sys::BTEqualStrategyNumber, pg_sys::F_OIDEQ);
                (equal, equal)
            } else {
                (
                    (pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_OIDGE),
                    (pg_sys::BTLessEqualStrategyNumber, pg_sys::F_OIDLE),
                )
            };
            let bounds = [
                (1, from, pg_sys::Datum::from(pg_sys::Oid::from_u32(low))),
                (1, to, pg_sys::Datum::from(pg_sys::Oid::from_u32(high))),
                (
                    2,
                    (pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_INT4GE),
                    (first as i32).into(),
                ),
                (2, (pg_sys::BTLessEqualStrategyNumber, pg_sys::F_INT4LE), (last as i32).into()),
            ];
            for (key, (column, (strategy, function), value)) in keys.iter_mut().zip(bounds) {
                pg_sys::ScanKeyInit(key, column, strategy as u16, function.into(), value);
            }
            pg_sys::index_rescan(self.scan, keys.as_mut_ptr(), KEYS, std::ptr::null_mut(), 0);
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            // One boundary for all pieces: a boundary for each call would take longer than the index does. What runs in it
            // holds nothing to drop when the server is called.
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                while complete && !index_getnext_tid(self.scan, forward).is_null() {
                    let tuple = (*self.scan).xs_itup;
                    if tuple.is_null() {
                        complete = false;
                        break;
                    }
                    let data = tuple.cast::<u8>().add(size_of::<pg_sys::IndexTupleData>());
                    let value = data.cast::<u32>().read_unaligned();
                    let piece = data.add(4).cast::<i32>().read_unaligned();
                    complete = (low..=high).contains(&value)
                        && usize::try_from(piece)
                            .is_ok_and(|piece| each(value, piece, &|out| self.fetch(out)));
                }
            });
            pg_sys::ExecClearTuple(self.slot);
        }
        complete
    }

    /// Appends the piece at which the scan stands. To be called within a boundary for errors.
    #[expect(ffi_unwind_calls, reason = "the calls are inside the boundary of the walk")]
    fn fetch(&self, out: &mut Vec<u8>) -> bool {
        // SAFETY: the third column of a TOAST table is the piece, a bytea in line and uncompressed; it
        // lies in a page that the slot keeps pinned.
        unsafe {
            if !index_fetch_heap(self.scan, self.slot) {
                return false;
            }
            if (*self.slot).tts_nvalid < 3 {
                slot_getsomeattrs_int(self.slot, 3);
            }
            let piece = (*(*self.slot).tts_values.add(2)).cast_mut_ptr::<pg_sys::varlena>();
            if pgrx::varlena::varatt_is_1b_e(piece) || pgrx::varlena::varatt_is_4b_c(piece) {
                return false;
            }
            out.extend_from_slice(pgrx::varlena::varlena_to_byte_slice(piece));
            true
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // While an error passes, the transaction's own clean-up does all this.
        if std::thread::panicking() {
            return;
        }
        // SAFETY: all were opened by us, under the same resource owner; the locks stay. The scan that
        // uses the snapshot ends first.
        unsafe {
            pg_sys::index_endscan(self.scan);
            pg_sys::UnregisterSnapshot(self.snapshot);
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::index_close(self.index, 0);
            pg_sys::table_close(self.table, 0);
        }
    }
}

/// Begins a scan that sees what the snapshot sees.
///
/// # Safety
/// Table and index are open and belong together; the snapshot is registered and outlives the scan.
unsafe fn begin(
    table: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
) -> pg_sys::IndexScanDesc {
    // SAFETY: as the caller promises.
    unsafe {
        #[cfg(feature = "pg18")]
        let scan = pg_sys::index_beginscan(table, index, snapshot, std::ptr::null_mut(), KEYS, 0);
        #[cfg(not(feature = "pg18"))]
        let scan = pg_sys::index_beginscan(table, index, snapshot, KEYS, 0);
        scan
    }
}

unsafe extern "C-unwind" {
    // The server's own, past the bindings' wrappers: called for every piece inside one boundary.
    fn index_getnext_tid(
        scan: pg_sys::IndexScanDesc,
        direction: pg_sys::ScanDirection::Type,
    ) -> pg_sys::ItemPointer;
    fn index_fetch_heap(scan: pg_sys::IndexScanDesc, slot: *mut pg_sys::TupleTableSlot) -> bool;
    fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, attnum: std::ffi::c_int);
}
