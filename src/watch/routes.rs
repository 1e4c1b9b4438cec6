//! Statements and transactions by application and route, in the hooks. Most statements name no route, and are
//! counted where this process counted its last one.

use perfmon_core::capture::comment::{self, LONGEST, Route};
use perfmon_core::capture::route::{self, Last, MAX_APPLICATION, Took, Work};
use perfmon_core::capture::table::{Entry, Table};
use perfmon_core::histogram::bucket;

use crate::pg::{execution, portals, transaction};

/// What is known of the transaction at hand.
#[derive(Clone, Copy)]
enum Phase {
    /// Nothing was counted in it.
    Clean,
    /// One statement so far that only read, and is not counted yet: if nothing follows, its time is that of the
    /// transaction, and both are counted here, without a route or with one.
    Alone { took: &'static Took, plain: bool },
    /// To be counted, with its time, when it ends.
    Open,
}

/// This process's part of what every statement looks at: one line.
#[repr(C, align(64))]
struct State {
    /// Where the application's name lies.
    place: *const std::ffi::c_char,
    phase: Phase,
    /// Where statements without a route were counted last.
    plain: Last<'static>,
    /// The depth of the subtransaction in which a statement is at work that another message prepared, 0 if none is: its route is that
    /// of the message which executes it.
    prepared: i32,
    /// A block is open, or was when the place was looked at.
    in_block: bool,
}

const _: () = assert!(size_of::<State>() == 64);

#[cfg_attr(target_os = "linux", unsafe(link_section = ".data.perfmon"))]
static mut STATE: State = State {
    place: std::ptr::null(),
    phase: Phase::Clean,
    plain: Last::NONE,
    prepared: 0,
    in_block: false,
};

/// The rest.
struct More {
    /// Where the transaction is to be counted.
    open: Last<'static>,
    /// Start of the message with which a client asked last that its transaction end.
    ends: i64,
    /// What the application's name was at its place.
    name: [u8; MAX_APPLICATION],
    length: usize,
    /// The comment seen last that names a route, that route, and where it was counted.
    commented: Last<'static>,
    comment: [u8; LONGEST],
    comment_length: usize,
    route: Route,
}

static mut MORE: More = More {
    open: Last::NONE,
    ends: 0,
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

#[inline]
fn more() -> &'static mut More {
    let more = &raw mut MORE;
    // SAFETY: as above.
    unsafe { &mut *more }
}

/// A transaction may have begun or ended, or the application's name may be another one from now on. With `ends` it is the
/// client's transaction that is to end.
pub(super) fn controlled(ends: bool) {
    let state = state();
    state.place = std::ptr::null();
    if ends {
        more().ends = execution::message_at();
    }
    // What is alone in its message may not be in its transaction.
    if let Phase::Alone { plain, .. } = state.phase {
        state.open(plain);
    }
}

/// What was executed in a subtransaction of this depth is undone, and does not end any more.
#[cold]
pub(super) fn undone(depth: i32) {
    let state = state();
    if state.prepared >= depth {
        state.prepared = 0;
    }
}

/// A client executes what another message prepared, or has. What is counted next looks twice.
#[cold]
pub(super) fn executes(begins: bool) {
    let state = state();
    state.place = std::ptr::null();
    state.prepared = if begins { execution::depth() } else { 0 };
}

/// Whether an EXECUTE is at work of which the statement did not end yet.
#[inline]
pub(super) fn is_executing() -> bool {
    state().prepared != 0
}

/// Counts a statement without a comment that was executed, by the bucket of its time, if that takes no more than to
/// count it where the last one was; says whether it did. Cannot panic.
#[inline]
pub(super) fn counts(whose: u64, bucket: usize, select: bool) -> bool {
    let state = state();
    if execution::application() != state.place {
        return false;
    }
    let Some(entry) = state.plain.entry(whose) else { return false };
    let took = entry.payload.took(bucket);
    match state.phase {
        Phase::Clean if select && !state.in_block => {
            state.phase = Phase::Alone { took, plain: true }
        }
        Phase::Alone { .. } => return false,
        Phase::Clean | Phase::Open => {
            took.statement();
            state.phase = Phase::Open;
            more().open = state.plain;
        }
    }
    true
}

/// Counts a statement that was executed, by the bucket of its time. `text` is given only if it may hold a comment. A
/// SELECT may be a transaction of its own that only read: its time is that of its execution, which saves looks at the
/// clock.
pub(super) fn executed(
    table: &Table<'static, Work>,
    whose: u64,
    text: Option<&[u8]>,
    bucket: usize,
    select: bool,
) {
    let state = state();
    let text = match std::mem::take(&mut state.prepared) {
        0 => text,
        _ => Some(execution::message_text()),
    };
    let known = text.is_none() && execution::application() == state.place;
    let usual = if known { state.plain.entry(whose).map(|entry| (entry, true)) } else { None };
    let Some((entry, plain)) = usual.or_else(|| state.find(table, whose, text)) else { return };
    let took = entry.payload.took(bucket);
    if select && !state.in_block && matches!(state.phase, Phase::Clean) {
        state.phase = Phase::Alone { took, plain };
        return;
    }
    state.open(plain);
    took.statement();
}

/// Counts the number of a statement that was executed with the hooks off, or without an id.
#[cold]
pub(super) fn left_out(table: &Table<'static, Work>, whose: u64, nameless: bool) {
    let state = state();
    state.prepared = 0;
    if let Some((entry, _)) = state.find(table, whose, None) {
        entry.payload.leave_out(nameless);
    }
}

/// Counts a statement that failed, of a message with this text that came at a time, or `at_sync`.
pub(super) fn failed(
    table: &Table<'static, Work>,
    whose: u64,
    (text, message): (&[u8], i64),
    (cancelled, at_sync): (bool, bool),
) {
    let state = state();
    state.prepared = 0;
    // What fails as the transaction ends is what was executed in it: few comment their COMMIT, and a Sync has no text. A
    // SELECT that came last may not have ended yet.
    let unended = if at_sync { portals::text_of_unended() } else { None };
    let text = unended.unwrap_or(text);
    let ends = match at_sync {
        true => unended.is_none(),
        false => {
            let asked = !text.is_empty() && more().ends == message;
            asked && comment::all(text).all(|one| comment::route(one).is_none())
        }
    };
    if let Some(entry) = state.opened().filter(|_| ends) {
        entry.payload.failure(cancelled);
        return;
    }
    let Some((entry, plain)) = state.find(table, whose, Some(text)) else { return };
    entry.payload.failure(cancelled);
    // What is refused after an error, or fails before anything begins, is in no transaction that is still to end.
    if execution::is_in_transaction() {
        state.open(plain);
    }
}

/// Begins anew with the next transaction; says whether this one is to be counted. Cannot panic.
#[inline]
pub(super) fn transaction_ends() -> Ended {
    let state = state();
    state.prepared = 0;
    match std::mem::replace(&mut state.phase, Phase::Clean) {
        Phase::Alone { took, .. } if !transaction::wrote() => {
            took.lone();
            Ended::Counted
        }
        Phase::Alone { took, plain } => {
            state.wrote(took, plain);
            Ended::Uncounted
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
pub(super) fn transaction_ended() {
    if let Some(entry) = more().open.anywhere() {
        entry.payload.transaction(bucket(transaction::length_ns()));
    }
}

/// Counts one that just ended within a statement with this text, which goes on.
pub(super) fn part_ended(table: &Table<'static, Work>, whose: u64, text: &[u8]) {
    if let Some((entry, _)) = state().find(table, whose, Some(text)) {
        entry.payload.transaction(bucket(transaction::length_ns()));
    }
}

impl State {
    /// Where the transaction is to be counted, if something was executed in it.
    fn opened(&mut self) -> Option<&'static Entry<Work>> {
        match self.phase {
            Phase::Clean => return None,
            Phase::Alone { plain, .. } => self.open(plain),
            Phase::Open => {}
        }
        more().open.anywhere()
    }

    /// A SELECT that was alone in its transaction did not only read: how long the commit took is not known yet.
    #[cold]
    fn wrote(&self, took: &Took, plain: bool) {
        took.statement();
        let more = more();
        more.open = if plain { self.plain } else { more.commented };
    }

    /// The transaction is counted where its last statement was. One that seemed to be all of it is counted now.
    fn open(&mut self, plain: bool) {
        if let Phase::Alone { took, .. } = std::mem::replace(&mut self.phase, Phase::Open) {
            took.statement();
        }
        let more = more();
        more.open = if plain { self.plain } else { more.commented };
    }

    /// Where a statement with this text is counted, and whether that is without a route.
    #[inline(never)]
    fn find(
        &mut self,
        table: &Table<'static, Work>,
        whose: u64,
        text: Option<&[u8]>,
    ) -> Option<(&'static Entry<Work>, bool)> {
        let more = more();
        self.in_block = execution::is_in_block();
        if execution::application() != self.place && more.learn_application() {
            self.plain = Last::NONE;
        }
        self.place = execution::application();
        if let Some(text) = text
            && comment::all(text).any(|comment| more.learn_comment(comment))
        {
            if more.commented.entry(whose).is_none() {
                more.commented = more.look(table, whose, &more.route);
            }
            return more.commented.entry(whose).map(|entry| (entry, false));
        }
        if self.plain.entry(whose).is_none() {
            self.plain = more.look(table, whose, &Route::NONE);
        }
        self.plain.entry(whose).map(|entry| (entry, true))
    }
}

impl More {
    /// Says whether the application's name is another one.
    #[cold]
    fn learn_application(&mut self) -> bool {
        let place = execution::application();
        // SAFETY: the place was just given.
        let name = unsafe { execution::application_at(place) };
        if name == &self.name[..self.length] {
            return false;
        }
        self.length = name.len().min(MAX_APPLICATION);
        self.name[..self.length].copy_from_slice(&name[..self.length]);
        self.commented = Last::NONE;
        true
    }

    /// Says whether the comment names a route, and remembers it if so.
    fn learn_comment(&mut self, comment: &[u8]) -> bool {
        if comment == &self.comment[..self.comment_length] {
            return !self.route.is_none();
        }
        let route = comment::route(comment);
        if route.is_none() {
            return false;
        }
        self.comment_length = comment.len().min(LONGEST);
        self.comment[..self.comment_length].copy_from_slice(&comment[..self.comment_length]);
        // What differs is the request's own number more often than the route.
        if route != self.route {
            self.route = route;
            self.commented = Last::NONE;
        }
        true
    }

    #[cold]
    fn look(&self, table: &Table<'static, Work>, whose: u64, route: &Route) -> Last<'static> {
        let name = &self.name[..self.length];
        Last::find(table, route::key(whose, name, route), name, route)
    }
}
