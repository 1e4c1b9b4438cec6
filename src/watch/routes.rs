//! Statements and transactions by application and route, in the hooks. Most statements name no route, and are
//! counted where this process counted its last one.

use std::sync::atomic::{AtomicU32, Ordering};

use perfmon_core::capture::comment::{self, LONGEST, Route};
use perfmon_core::capture::route::{self, Last, MAX_APPLICATION, Work};
use perfmon_core::capture::table::{Entry, Table};
use perfmon_core::histogram::bucket;

use crate::pg::{execution, transaction};

/// What is known of the transaction at hand.
#[derive(Clone, Copy)]
enum Phase {
    /// Nothing was counted in it.
    Clean,
    /// One statement so far that only read: if nothing follows, its time is that of its execution, and it is counted
    /// here.
    Alone(&'static AtomicU32),
    /// To be counted, with its time, when it ends.
    Open,
}

/// This process's part.
struct State {
    /// Where the application's name lies, and what it was there.
    place: *const std::ffi::c_char,
    phase: Phase,
    /// What is being executed is no client's statement.
    foreign: bool,
    /// Where statements without a route were counted last.
    plain: Last,
    /// Where the transaction is to be counted.
    open: Last,
    name: [u8; MAX_APPLICATION],
    length: usize,
    /// The comment seen last, its route, and where that was counted.
    commented: Last,
    comment: [u8; LONGEST],
    comment_length: usize,
    route: Route,
}

static mut STATE: State = State {
    place: std::ptr::null(),
    phase: Phase::Clean,
    foreign: false,
    plain: Last::NONE,
    open: Last::NONE,
    name: [0; MAX_APPLICATION],
    length: 0,
    commented: Last::NONE,
    comment: [0; LONGEST],
    comment_length: 0,
    route: Route::NONE,
};

#[inline]
fn state() -> &'static mut State {
    let state = &raw mut STATE;
    // SAFETY: this process has one thread, and no function of this file calls another that takes it too.
    unsafe { &mut *state }
}

/// The application's name may be another one from now on.
pub(super) fn forget_application() {
    state().place = std::ptr::null();
}

/// What is started now is no client's statement, though no other statement runs: a deferred trigger's. The next that
/// is counted looks twice.
#[cold]
pub(super) fn starts_on_its_own() {
    let state = state();
    state.place = std::ptr::null();
    state.foreign = true;
}

/// Counts a statement that was executed, by the bucket of its time. `text` is given only if it may hold a comment.
/// `alone` says that it may be a transaction of its own that only read: its time is that of its execution, which saves
/// looks at the clock.
#[inline]
pub(super) fn executed(
    table: &Table<'static, Work>,
    whose: u64,
    text: Option<&[u8]>,
    bucket: usize,
    alone: impl FnOnce() -> bool,
) {
    let state = state();
    let known = text.is_none() && execution::application() == state.place;
    let (entry, plain) = match state.plain.entry(table, whose) {
        Some(entry) if known => (entry, true),
        _ => match state.find_own(table, whose, text) {
            Some(found) => found,
            None => return,
        },
    };
    entry.payload.statement(bucket);
    if matches!(state.phase, Phase::Clean) && alone() {
        state.phase = Phase::Alone(entry.payload.transactions(bucket));
    } else {
        state.open(plain);
    }
}

/// Counts a statement that failed.
pub(super) fn failed(table: &Table<'_, Work>, whose: u64, text: &[u8], cancelled: bool) {
    let state = state();
    state.foreign = false;
    let Some((entry, plain)) = state.find(table, whose, Some(text)) else { return };
    entry.payload.failure(cancelled);
    state.open(plain);
}

/// Begins anew with the next transaction; says whether this one is to be counted. Cannot panic.
#[inline]
pub(super) fn transaction_ends() -> Ended {
    let state = state();
    state.foreign = false;
    match std::mem::replace(&mut state.phase, Phase::Clean) {
        Phase::Alone(counter) => {
            counter.fetch_add(1, Ordering::Relaxed);
            Ended::Counted
        }
        Phase::Open => Ended::Uncounted,
        Phase::Clean => Ended::Empty,
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nothing was executed to its end in it.
    Empty,
    Counted,
    Uncounted,
}

/// Counts the transaction that just ended, where its last statement was.
pub(super) fn transaction_ended(table: &Table<'_, Work>) {
    if let Some(entry) = state().open.anywhere(table) {
        entry.payload.transaction(bucket(transaction::length_ns()));
    }
}

/// Counts one that just ended within a statement with this text, which goes on.
pub(super) fn part_ended(table: &Table<'_, Work>, whose: u64, text: &[u8]) {
    if let Some((entry, _)) = state().find(table, whose, Some(text)) {
        entry.payload.transaction(bucket(transaction::length_ns()));
    }
}

impl State {
    /// The transaction is counted where its last statement was.
    #[inline]
    fn open(&mut self, plain: bool) {
        self.phase = Phase::Open;
        self.open = if plain { self.plain } else { self.commented };
    }

    /// Where a client's statement with this text is counted.
    #[inline(never)]
    fn find_own<'a>(
        &mut self,
        table: &Table<'a, Work>,
        whose: u64,
        text: Option<&[u8]>,
    ) -> Option<(&'a Entry<Work>, bool)> {
        if std::mem::take(&mut self.foreign) { None } else { self.find(table, whose, text) }
    }

    /// Where a statement with this text is counted, and whether that is without a route.
    #[inline(never)]
    fn find<'a>(
        &mut self,
        table: &Table<'a, Work>,
        whose: u64,
        text: Option<&[u8]>,
    ) -> Option<(&'a Entry<Work>, bool)> {
        if execution::application() != self.place {
            self.learn_application();
        }
        if let Some(comment) = text.and_then(comment::find) {
            self.learn_comment(comment);
            if !self.route.bytes().is_empty() {
                if self.commented.entry(table, whose).is_none() {
                    self.commented = self.look(table, whose, &self.route);
                }
                return self.commented.entry(table, whose).map(|entry| (entry, false));
            }
        }
        if self.plain.entry(table, whose).is_none() {
            self.plain = self.look(table, whose, &Route::NONE);
        }
        self.plain.entry(table, whose).map(|entry| (entry, true))
    }

    #[cold]
    fn learn_application(&mut self) {
        let place = execution::application();
        // SAFETY: the place was just given.
        let name = unsafe { execution::application_at(place) };
        if name != &self.name[..self.length] {
            self.length = name.len().min(MAX_APPLICATION);
            self.name[..self.length].copy_from_slice(&name[..self.length]);
            self.plain = Last::NONE;
            self.commented = Last::NONE;
        }
        self.place = place;
    }

    fn learn_comment(&mut self, comment: &[u8]) {
        if comment == &self.comment[..self.comment_length] {
            return;
        }
        self.comment_length = comment.len().min(LONGEST);
        self.comment[..self.comment_length].copy_from_slice(&comment[..self.comment_length]);
        let route = comment::route(comment);
        // What differs is the request's own number more often than the route.
        if route != self.route {
            self.route = route;
            self.commented = Last::NONE;
        }
    }

    #[cold]
    fn look(&self, table: &Table<'_, Work>, whose: u64, route: &Route) -> Last {
        let name = &self.name[..self.length];
        Last::find(table, route::key(whose, name, route), name, route)
    }
}
