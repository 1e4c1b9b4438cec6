//! The server's table of heavyweight locks, as far as somebody waits: without SQL and outside of transactions.

use std::collections::HashSet;

use perfmon_core::lock::graph::{Blocked, Edge, Instance, MOST_PROCESSES, MOST_WAITERS};
use perfmon_core::lock::{TRANSACTION_KIND, TUPLE_KIND, Tag};
use pgrx::pg_sys;

use super::clock;

/// Who is in the way of these processes, of the first of them where they are many, and of those that are in the way and wait themselves. Each process costs one
/// copy of what has to do with its lock, for which the server keeps everybody from changing locks.
pub(crate) fn edges(pids: &[i32]) -> Vec<Edge> {
    let mut asked: Vec<i32> = Vec::with_capacity(MOST_PROCESSES);
    let mut to_ask: Vec<i32> = pids.iter().take(MOST_WAITERS).rev().copied().collect();
    let mut found: Vec<Edge> = Vec::new();
    // Workers of one group may wait for the same.
    let mut known: HashSet<Edge> = HashSet::new();
    while let Some(pid) = to_ask.pop() {
        if pid == 0 || asked.len() >= MOST_PROCESSES || asked.contains(&pid) {
            continue;
        }
        asked.push(pid);
        for blocked in blocked(pid) {
            let mut edges = blocked.edges();
            if blocked.tag.kind == TRANSACTION_KIND {
                let row = awaited_row(blocked.pid);
                edges.iter_mut().for_each(|edge| {
                    edge.tag = row.map_or(edge.tag, |row| Tag { kind: edge.tag.kind, ..row });
                });
            }
            for edge in edges {
                to_ask.push(edge.blocker);
                if known.insert(edge) {
                    found.push(edge);
                }
            }
        }
    }
    found
}

/// What the processes of a group wait for, and all that have to do with it.
fn blocked(pid: i32) -> Vec<Blocked> {
    // SAFETY: makes a copy in the current memory context, empty if there is no such process any more; its parts are
    // as long as it says, and are freed here. It raises only where memory runs out.
    unsafe {
        let data = pg_sys::GetBlockerStatusData(pid);
        let whole = &*data;
        let range = |first: i32, count: i32| {
            usize::try_from(first).unwrap_or(0)..usize::try_from(first + count).unwrap_or(0)
        };
        let processes = slice(whole.procs, whole.nprocs);
        let locks = slice(whole.locks, whole.nlocks);
        let waiters = slice(whole.waiter_pids, whole.npids);
        let of_one = |process: &pg_sys::BlockedProcData| {
            let locks = locks.get(range(process.first_lock, process.num_locks)).unwrap_or(&[]);
            let ahead = waiters.get(range(process.first_waiter, process.num_waiters));
            Blocked {
                pid: process.pid,
                tag: locks.first().map_or_else(Tag::default, |lock| tag(&lock.locktag)),
                instances: locks.iter().map(|lock| instance(lock, process.pid)).collect(),
                ahead: ahead.unwrap_or(&[]).to_vec(),
            }
        };
        let found = processes.iter().map(of_one).collect();
        for part in [whole.procs.cast(), whole.locks.cast(), whole.waiter_pids.cast()] {
            pg_sys::pfree(part);
        }
        pg_sys::pfree(data.cast());
        found
    }
}

/// # Safety
/// As many values as are said.
unsafe fn slice<'a, T>(from: *const T, count: i32) -> &'a [T] {
    let count = usize::try_from(count).unwrap_or(0);
    if from.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: by the caller's word.
    unsafe { std::slice::from_raw_parts(from, count) }
}

fn tag(of: &pg_sys::LOCKTAG) -> Tag {
    Tag::of(of.locktag_type, [of.locktag_field1, of.locktag_field2])
}

/// The server's copy does not say since when who waits, so that is read for the one of whom it is asked.
fn instance(of: &pg_sys::LockInstanceData, asked: i32) -> Instance {
    Instance {
        pid: of.pid,
        leader: of.leaderPid,
        held: of.holdMask.unsigned_abs(),
        wanted: u8::try_from(of.waitLockMode).unwrap_or(0),
        since: if of.pid == asked { waits_since(asked) } else { 0 },
    }
}

/// Since when a process waits; 0 where it is not known, or not yet.
fn waits_since(pid: i32) -> i64 {
    // SAFETY: gives an entry that stays where it is as long as the server runs; the time is one word, read once.
    let at = unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        if process.is_null() { 0 } else { (&raw const (*process).waitStart.value).read_volatile() }
    };
    i64::try_from(at).ok().filter(|at| *at != 0).map_or(0, clock::unix_us)
}

/// The links of the server's lists: of one kind on 15, of another after it, which look the same.
#[repr(C)]
struct Link {
    previous: *mut Link,
    next: *mut Link,
}

/// Where the row is for which a process waits until another's transaction ends. The first in line holds the row's own
/// lock meanwhile, which the lock that it waits for does not tell.
fn awaited_row(pid: i32) -> Option<Tag> {
    /// More locks than this are not looked through.
    const MOST: usize = 1000;
    // SAFETY: entries of processes stay where they are as long as the server runs. A process's list of locks in a
    // partition, and the locks in it, change only under that partition's lock, which is held meanwhile; nothing in
    // between can raise.
    unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        if process.is_null() {
            return None;
        }
        let mut row = None;
        for partition in 0..pg_sys::NUM_LOCK_PARTITIONS as usize {
            let number = pg_sys::LOCK_MANAGER_LWLOCK_OFFSET as usize + partition;
            let lock = &raw mut (*pg_sys::MainLWLockArray.add(number)).lock;
            pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_SHARED);
            let head = (&raw mut (*process).myProcLocks[partition]).cast::<Link>();
            let mut link = (*head).next;
            let mut left = MOST;
            while !link.is_null() && link != head && left > 0 {
                let offset = std::mem::offset_of!(pg_sys::PROCLOCK, procLink);
                let held = link.byte_sub(offset).cast::<pg_sys::PROCLOCK>();
                let one = &(*(*held).tag.myLock).tag;
                if one.locktag_type == TUPLE_KIND {
                    row = Some(tag(one));
                }
                link = (*link).next;
                left -= 1;
            }
            pg_sys::LWLockRelease(lock);
            if row.is_some() {
                break;
            }
        }
        row
    }
}
