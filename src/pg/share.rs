//! The lock that every reader takes, on a user's relation, only if nobody is in the way: for the few
//! things that the server tells only to those who hold it. It must never wait, and never keep a lock
//! longer than the look takes.

use pgrx::pg_sys;

const SHARE: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;

/// Locks those relations that can be locked at once, and returns them, for `release`. An error ends the
/// (sub)transaction, and with it the locks.
pub(crate) fn try_lock(relations: &[u32]) -> Vec<u32> {
    let mut locked = Vec::with_capacity(relations.len());
    for &relation in relations {
        // SAFETY: takes or refuses a lock on a relation by its oid, which need not exist.
        if unsafe { pg_sys::ConditionalLockRelationOid(relation.into(), SHARE) } {
            locked.push(relation);
        }
    }
    locked
}

/// Gives back what `try_lock` took.
pub(crate) fn release(locked: &[u32]) {
    for &relation in locked {
        // SAFETY: this session holds the lock by `try_lock`.
        unsafe { pg_sys::UnlockRelationOid(relation.into(), SHARE) };
    }
}

/// Where a sequence stands: its last value, and whether that was given out already. `None` when somebody
/// holds it, or it is gone. The server's own function would wait, and keep a stronger lock until the
/// transaction ends. The caller answers for the privilege.
pub(crate) fn sequence_position(sequence: u32) -> Option<(i64, bool)> {
    let locked = try_lock(&[sequence]);
    if locked.is_empty() {
        return None;
    }
    // SAFETY: the relation is locked; a catalog snapshot sees the one row that a sequence has, whose
    // transaction is the frozen one. On an error the transaction gives everything back.
    let found = unsafe {
        let relation =
            pg_sys::try_relation_open(sequence.into(), pg_sys::NoLock as pg_sys::LOCKMODE);
        if relation.is_null() {
            None
        } else {
            let found = position_in(relation);
            pg_sys::relation_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
            found
        }
    };
    release(&locked);
    found
}

/// # Safety
/// The relation must be open and locked.
unsafe fn position_in(relation: pg_sys::Relation) -> Option<(i64, bool)> {
    const LAST_VALUE: i32 = 1;
    const IS_CALLED: i32 = 3;
    // SAFETY: a scan of an open relation; both columns are there in every sequence and by value.
    unsafe {
        if (*(*relation).rd_rel).relkind as u8 != pg_sys::RELKIND_SEQUENCE {
            return None;
        }
        let none = pg_sys::Oid::INVALID;
        let scan = pg_sys::systable_beginscan(
            relation,
            none,
            false,
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
        );
        let tuple = pg_sys::systable_getnext(scan);
        let found = (!tuple.is_null()).then(|| {
            let mut null = false;
            let described = (*relation).rd_att;
            let last = pg_sys::heap_getattr(tuple, LAST_VALUE, described, &mut null);
            let called = pg_sys::heap_getattr(tuple, IS_CALLED, described, &mut null);
            (last.value() as i64, called.value() & 0xFF != 0)
        });
        pg_sys::systable_endscan(scan);
        found
    }
}
