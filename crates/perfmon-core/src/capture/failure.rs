//! What is counted of errors: how often, by SQLSTATE and class, and how much time they cost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::table::{Key, Payload, Table};

/// What kind of failure it was. An error of the application, and what is not: its rate leaves the others out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// The statement failed.
    Error = 0,
    /// Cancelled on request.
    Cancelled = 1,
    /// Ended by statement_timeout.
    StatementTimeout = 2,
    /// Ended by lock_timeout.
    LockTimeout = 3,
    /// The session was ended by idle_in_transaction_session_timeout.
    IdleInTransactionTimeout = 4,
    /// The session was ended by idle_session_timeout.
    IdleSessionTimeout = 5,
    /// The session was ended by transaction_timeout.
    TransactionTimeout = 6,
    /// Ended to resolve a deadlock.
    Deadlock = 7,
    /// A connection was refused: too many, or the server takes none.
    Refused = 8,
    /// The session was ended by an administrator or a shutdown, or its client was gone or not understood after what it had
    /// sent was executed, or had failed.
    Terminated = 9,
    /// Autovacuum gave way to somebody who wanted the table's lock. No client saw it.
    AutovacuumCancelled = 10,
    /// A session never began: who it was, or to where, was not accepted. No statement failed.
    LoginFailed = 11,
    /// A statement failed or was cancelled, and the server kept the error from the hook, or the session had the hooks
    /// off: nothing else is known of it.
    Unseen = 12,
}

/// What an error ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// The statement.
    Statement,
    /// The session, with the statement at work.
    Session,
    /// The session, between statements.
    Pause,
    /// The session before it began.
    Login,
}

/// The untranslated message of an error that a function raised itself, with whatever SQLSTATE it liked.
const RAISED: &[u8] = b"%s";

/// What autovacuum says when it gives way.
pub const AUTOVACUUM_GIVES_WAY: &[u8] = b"canceling autovacuum task";

/// How the server begins what it says to a walsender that is one too many; releases quote the setting or do not.
pub const NO_WALSENDER: &[u8] = b"number of requested standby connections exceeds";

/// What the server says itself where the words tell more than the SQLSTATE.
const OWN_WORDS: [&[u8]; 6] = [
    b"canceling statement due to statement timeout",
    b"canceling statement due to lock timeout",
    b"canceling statement due to user request",
    b"canceling statement due to conflict with recovery",
    b"deadlock detected",
    AUTOVACUUM_GIVES_WAY,
];

/// What tells the class of an error: its untranslated message, or where a function raised it, that. An error that a
/// block caught and raised again is the server's own if its words are.
pub fn meant<'a>(untranslated: &'a [u8], message: &'a [u8]) -> &'a [u8] {
    match untranslated {
        b"" | b"%s" if OWN_WORDS.contains(&message) => message,
        b"" => RAISED,
        untranslated => untranslated,
    }
}

impl Class {
    /// All classes; `ALL[c as usize] == c`.
    pub const ALL: [Self; 13] = [
        Self::Error,
        Self::Cancelled,
        Self::StatementTimeout,
        Self::LockTimeout,
        Self::IdleInTransactionTimeout,
        Self::IdleSessionTimeout,
        Self::TransactionTimeout,
        Self::Deadlock,
        Self::Refused,
        Self::Terminated,
        Self::AutovacuumCancelled,
        Self::LoginFailed,
        Self::Unseen,
    ];

    /// The class's name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::StatementTimeout => "statement_timeout",
            Self::LockTimeout => "lock_timeout",
            Self::IdleInTransactionTimeout => "idle_in_transaction_timeout",
            Self::IdleSessionTimeout => "idle_session_timeout",
            Self::TransactionTimeout => "transaction_timeout",
            Self::Deadlock => "deadlock",
            Self::Refused => "refused",
            Self::Terminated => "terminated",
            Self::AutovacuumCancelled => "autovacuum_cancelled",
            Self::LoginFailed => "login_failed",
            Self::Unseen => "unseen",
        }
    }

    /// The class of an error. Some share a SQLSTATE and differ in their message only: `message` is the
    /// untranslated one. A SQLSTATE alone proves nothing, since any function may raise it: what ends sessions for
    /// certain reasons is told by that it does, a deadlock and a cancellation by that no function raised it.
    pub fn of(state: State, message: &[u8], ends: Ends) -> Self {
        let fatal = ends != Ends::Statement;
        match &state.text() {
            b"53300" | b"57P03" if fatal => Self::Refused,
            b"57P01" | b"57P02" | b"57P04" if fatal => Self::Terminated,
            _ if ends == Ends::Login => Self::LoginFailed,
            // The client is gone, and did not get the answer to what was executed to its end; or it is not understood, as
            // after an error amid what it was sending, which was that of the statement.
            b"08006" | b"08P01" if ends == Ends::Pause => Self::Terminated,
            b"25P03" if fatal => Self::IdleInTransactionTimeout,
            b"57P05" if fatal => Self::IdleSessionTimeout,
            b"25P04" if fatal => Self::TransactionTimeout,
            b"57014" if message == b"canceling statement due to statement timeout" => {
                Self::StatementTimeout
            }
            b"57014" if message == AUTOVACUUM_GIVES_WAY => Self::AutovacuumCancelled,
            b"57014" if message != RAISED => Self::Cancelled,
            b"55P03" if message == b"canceling statement due to lock timeout" => Self::LockTimeout,
            b"40P01" if message != RAISED => Self::Deadlock,
            _ => Self::Error,
        }
    }

    /// From the name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Whether it counts in the rate of errors: a client's statement failed, and nobody asked for that.
    pub fn is_error(self) -> bool {
        matches!(
            self,
            Self::Error
                | Self::StatementTimeout
                | Self::LockTimeout
                | Self::TransactionTimeout
                | Self::Deadlock
        )
    }

    /// Whether a client's statement ended by it, so that it was executed though never to its end.
    pub fn ends_statement(self) -> bool {
        self.is_error() || self == Self::Cancelled
    }

    /// Whether it ends a session that may be idle: the statement before is not to blame.
    pub fn hits_sessions(self) -> bool {
        matches!(self, Self::IdleInTransactionTimeout | Self::IdleSessionTimeout | Self::Terminated)
    }
}

/// A SQLSTATE as the server keeps it: five characters of six bits, the first lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State(pub u32);

impl State {
    /// The five characters.
    pub fn text(self) -> [u8; 5] {
        std::array::from_fn(|i| (self.0 >> (6 * i) & 0x3f) as u8 + b'0')
    }
}

impl State {
    /// From the five characters; `None` if these are others than the server uses.
    pub fn of(text: &str) -> Option<Self> {
        let bytes: [u8; 5] = text.as_bytes().try_into().ok()?;
        let six = |byte: u8| byte.checked_sub(b'0').filter(|six| *six < 64).map(u32::from);
        bytes.iter().rev().try_fold(0, |packed, byte| Some(packed << 6 | six(*byte)?)).map(Self)
    }
}

/// Why a connection was refused, where the SQLSTATE does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// Anything else.
    Other = 0,
    /// No connection at all is left.
    TooManyClients = 1,
    /// Those left are reserved for others.
    Reserved = 2,
    /// The role has as many as it may.
    RoleLimit = 3,
    /// The database has as many as it may.
    DatabaseLimit = 4,
    /// The server takes none: it starts, ends or recovers.
    StartingUp = 5,
    /// As many walsenders as there may be: no client's session, which they do not keep out.
    WalSenders = 6,
}

impl Refusal {
    /// All of them; `ALL[r as usize] == r`.
    pub const ALL: [Self; 7] = [
        Self::Other,
        Self::TooManyClients,
        Self::Reserved,
        Self::RoleLimit,
        Self::DatabaseLimit,
        Self::StartingUp,
        Self::WalSenders,
    ];

    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::TooManyClients => "too_many_clients",
            Self::Reserved => "reserved",
            Self::RoleLimit => "role_limit",
            Self::DatabaseLimit => "database_limit",
            Self::StartingUp => "starting_up",
            Self::WalSenders => "wal_senders",
        }
    }

    /// From the name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.name() == name)
    }

    /// Of a refused connection: five limits share a SQLSTATE and differ in their untranslated message.
    pub fn of(state: State, message: &[u8]) -> Self {
        if &state.text() == b"57P03" {
            return Self::StartingUp;
        }
        let begins: [(&[u8], Self); 5] = [
            (b"sorry, too many clients already", Self::TooManyClients),
            (b"remaining connection slots are reserved", Self::Reserved),
            (b"too many connections for role", Self::RoleLimit),
            (b"too many connections for database", Self::DatabaseLimit),
            (NO_WALSENDER, Self::WalSenders),
        ];
        let found = begins.into_iter().find(|(begin, _)| message.starts_with(begin));
        found.map_or(Self::Other, |(_, refusal)| refusal)
    }
}

/// The kind of a key in the table of failures.
pub fn kind(class: Class, state: State) -> u64 {
    u64::from(class as u8) << 32 | u64::from(state.0)
}

/// The kind of a refused connection.
pub fn refused(state: State, why: Refusal) -> u64 {
    u64::from(why as u8) << 40 | kind(Class::Refused, state)
}

/// Class and SQLSTATE of a kind.
pub fn of_kind(kind: u64) -> (Class, State) {
    let class = Class::ALL.get((kind >> 32 & 0xff) as usize);
    (class.copied().unwrap_or(Class::Error), State(kind as u32))
}

/// Why a connection was refused; `None` of other kinds, and of what found no entry.
pub fn refusal_of(kind: u64) -> Option<Refusal> {
    let (class, state) = of_kind(kind);
    let known = class == Class::Refused && state.0 != 0;
    Refusal::ALL.get((kind >> 40) as usize).copied().filter(|_| known)
}

/// The counters of one kind of failure of one statement. They wrap.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Failures {
    count: AtomicU64,
    lost_us: AtomicU64,
    last_at: AtomicI64,
}

impl Failures {
    /// Counts a failure at a time (microseconds, any epoch) that cost so much time.
    pub fn record(&self, at: i64, lost_us: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.lost_us.fetch_add(lost_us, Ordering::Relaxed);
        self.last_at.fetch_max(at, Ordering::Relaxed);
    }

    /// How often it happened.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Time of the failed statements, from the arrival of their message on, microseconds.
    pub fn lost_us(&self) -> u64 {
        self.lost_us.load(Ordering::Relaxed)
    }

    /// When it happened last; 0 is never.
    pub fn last_at(&self) -> i64 {
        self.last_at.load(Ordering::Relaxed)
    }
}

const CLASSES: u32 = Class::ALL.len() as u32;

/// Stands for databases that are gone, of which all is summed up by class.
const GONE: u32 = u32::MAX;

impl Payload for Failures {
    const ROOTS: u32 = 2 * CLASSES;

    fn root(kind: u64) -> u32 {
        (kind >> 32 & 0xff) as u32
    }

    fn activity(&self) -> u32 {
        self.count() as u32
    }

    fn move_to(&self, other: &Self) {
        other.count.fetch_add(self.count.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        other.lost_us.fetch_add(self.lost_us.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        other.last_at.fetch_max(self.last_at.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// One kind of failure as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Tells one use of an entry from the next.
    pub born: u32,
    /// Whose failures these are; the kind holds class and SQLSTATE, of the roots the class alone.
    pub key: Key,
    /// How often it happened since the server started.
    pub count: u64,
    /// Time of the failed statements, microseconds.
    pub lost_us: u64,
    /// When it happened last.
    pub last_at: i64,
}

/// Reads the failures of one database, or of all, in the order of the entries' births. What has no database
/// (refused connections, the roots) is in the second only.
pub fn read(table: &Table<'_, Failures>, database: Option<u32>) -> Vec<Counted> {
    let ours = |key: &Key| database.is_none_or(|database| key.database() == database);
    let mut all: Vec<Counted> = table
        .all()
        .filter(|found| ours(&found.key))
        .map(|found| Counted {
            born: found.born,
            key: match found.born {
                root if root < CLASSES => Key { kind: u64::from(root) << 32, ..Key::default() },
                root if root < Failures::ROOTS => {
                    Key::new(0, GONE, 0, u64::from(root - CLASSES) << 32)
                }
                _ => found.key,
            },
            count: found.payload.count(),
            lost_us: found.payload.lost_us(),
            last_at: found.payload.last_at(),
        })
        .filter(|counted| counted.count > 0)
        .collect();
    all.sort_unstable_by_key(|counted| counted.born);
    all
}

/// Packs a reading, to be kept until the next.
pub fn to_columns(counted: &[Counted]) -> Vec<Vec<u64>> {
    let all = |of: fn(&Counted) -> u64| counted.iter().map(of).collect::<Vec<u64>>();
    vec![
        all(|c| u64::from(c.born)),
        all(|c| c.key.what),
        all(|c| c.key.whose),
        all(|c| c.key.kind),
        all(|c| c.count),
        all(|c| c.lost_us),
        all(|c| c.last_at as u64),
    ]
}

/// The reading of which these are the columns; `None` if they are those of something else.
pub fn from_columns(columns: &[Vec<u64>]) -> Option<Vec<Counted>> {
    let [born, what, whose, kind, count, lost, last] = columns else { return None };
    let n = born.len();
    if columns.iter().any(|column| column.len() != n) {
        return None;
    }
    let one = |i: usize| {
        Some(Counted {
            born: u32::try_from(born[i]).ok()?,
            key: Key { what: what[i], whose: whose[i], kind: kind[i] },
            count: count[i],
            lost_us: lost[i],
            last_at: last[i] as i64,
        })
    };
    (0..n).map(one).collect()
}

/// How often each kind happened, and for how many microseconds.
pub type Moved = BTreeMap<Key, (u64, u64)>;

/// What moved between two readings of the same life of the server; what was folded in between counts with the rest of its
/// database, once.
pub fn difference(before: &[Counted], now: &[Counted]) -> Moved {
    let mut moved = Moved::new();
    let mut change = |key: Key, counted: &Counted, how: fn(u64, u64) -> u64| {
        let sum = moved.entry(key).or_default();
        *sum = (how(sum.0, counted.count), how(sum.1, counted.lost_us));
    };
    now.iter().for_each(|counted| change(counted.key, counted, u64::wrapping_add));
    for prior in before {
        let at = now.binary_search_by_key(&prior.born, |counted| counted.born);
        let lives = at.is_ok_and(|at| now[at].key == prior.key);
        let key = if lives { prior.key } else { prior.key.coarse() };
        change(key, prior, u64::wrapping_sub);
    }
    // What went back is a mistake, no movement.
    moved.retain(|_, sum| sum.0 > 0 && sum.0 <= u64::MAX / 2 && sum.1 <= u64::MAX / 2);
    moved
}

/// The key of what found no entry, by its class alone; such failures may be of any database.
fn root(class: Class) -> Key {
    Key { kind: kind(class, State(0)), ..Key::default() }
}

/// Takes out failed statements that found no entry, and puts in those of this database, of which the routes tell how many
/// failed and were cancelled in all. Gives the keys under which it is not known how, and how long it took.
pub fn settle(moved: &mut Moved, database: u32, [errors, cancelled]: [u64; 2]) -> Vec<Key> {
    let ends = || Class::ALL.into_iter().filter(|class| class.ends_statement());
    let of_all: Vec<(Class, (u64, u64))> =
        ends().filter_map(|class| Some((class, moved.remove(&root(class))?))).collect();
    if of_all.is_empty() {
        return Vec::new();
    }
    let placed = |is_meant: fn(Class) -> bool| {
        let of = |key: &Key| key.database() == database && is_meant(of_kind(key.kind).0);
        moved.iter().filter(|(key, _)| of(key)).map(|(_, (count, _))| *count).sum::<u64>()
    };
    let is_cancelled = |class| class == Class::Cancelled;
    let rest = [
        (Class::Error, errors.saturating_sub(placed(Class::is_error))),
        (Class::Cancelled, cancelled.saturating_sub(placed(is_cancelled))),
    ];
    let own = |class| Key::new(0, database, 0, kind(class, State(0)));
    let mut unknown = Vec::new();
    for (class, count) in rest {
        let alike = |of: Class| is_cancelled(of) == is_cancelled(class);
        let parts = || of_all.iter().filter(|(of, _)| alike(*of));
        // Where no other database had any, all is known of them.
        if parts().map(|(_, (count, _))| count).sum::<u64>() == count {
            parts().for_each(|(of, part)| add(moved, own(*of), *part));
        } else if count > 0 {
            add(moved, own(class), (count, 0));
            unknown.push(own(class));
        }
    }
    unknown
}

fn add(moved: &mut Moved, key: Key, (count, lost_us): (u64, u64)) {
    let sum = moved.entry(key).or_default();
    *sum = (sum.0.saturating_add(count), sum.1.saturating_add(lost_us));
}
