//! Clients' sessions by whose they are: pools, and for their limits databases, users and the whole server.

use std::ops::Range;

use super::spread::PLACES;
use super::{Application, Session, State, wait};

/// Where a client is: a tag, and an address of which only as many bytes are used as the tag needs.
pub type Address = [u8; 17];

/// Not looked at.
pub const NO_ADDRESS: Address = [0; 17];
/// A socket of this machine.
pub const LOCAL: Address = {
    let mut local = NO_ADDRESS;
    local[0] = 1;
    local
};

/// An address of four or sixteen bytes; one of version 4 in the dress of version 6 is of version 4.
pub fn address(bytes: &[u8]) -> Address {
    let mut address = LOCAL;
    let bytes = match bytes {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, four @ ..] => four,
        other => other,
    };
    if bytes.len() == 4 || bytes.len() == 16 {
        address[0] = bytes.len() as u8;
        address[1..=bytes.len()].copy_from_slice(bytes);
    }
    address
}

/// As text; empty is a socket of this machine, `None` one that was not looked at.
pub fn address_text(address: &Address) -> Option<String> {
    let [tag, bytes @ ..] = address;
    Some(match tag {
        0 => return None,
        4 => core::net::Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).to_string(),
        16 => core::net::Ipv6Addr::from(*bytes).to_string(),
        _ => String::new(),
    })
}

/// What makes a pool, besides database and user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grouping {
    /// The application's name.
    pub application: bool,
    /// The client's address.
    pub address: bool,
}

/// What a group is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// All clients.
    Server = 0,
    /// Those of a database.
    Database = 1,
    /// Those of a user.
    User = 2,
    /// Those of a database and user, and as is set those of an application at an address.
    Pool = 3,
}

impl Level {
    /// All of them, by their number.
    pub const ALL: [Self; 4] = [Self::Server, Self::Database, Self::User, Self::Pool];

    /// As it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Database => "database",
            Self::User => "user",
            Self::Pool => "pool",
        }
    }

    /// By its name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Places of its groups. The first is of all that find no other.
    pub const fn places(self) -> Range<usize> {
        match self {
            Self::Server => 0..1,
            Self::Database => 1..65,
            Self::User => 65..129,
            Self::Pool => 129..GROUPS,
        }
    }
}

/// Groups of all levels.
pub const GROUPS: usize = 129 + 257;

/// Whose sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Key {
    /// A [`Level`].
    pub level: u8,
    /// Of all that found no place of their own.
    pub other: bool,
    /// The application is part of the key.
    pub named: bool,
    /// Where the client is.
    pub address: Address,
    /// Oids; 0 where all are meant.
    pub database: u32,
    /// The user's.
    pub user: u32,
    /// What the client calls itself.
    pub application: Application,
}

impl Key {
    const fn empty(level: Level) -> Self {
        Self {
            level: level as u8,
            other: false,
            named: false,
            address: NO_ADDRESS,
            database: 0,
            user: 0,
            application: [0; 64],
        }
    }

    /// Of those of a level that found no place.
    pub const fn other(level: Level) -> Self {
        Self { other: !matches!(level, Level::Server), ..Self::empty(level) }
    }

    /// The groups to which a client's session belongs, that of the server first. While it is not known whose it is, that is all.
    pub fn of(session: &Session, grouping: Grouping) -> impl Iterator<Item = Self> {
        let pool = Self {
            named: grouping.application,
            address: if grouping.address { session.address } else { NO_ADDRESS },
            database: session.database,
            user: session.user,
            application: if grouping.application { session.application } else { [0; 64] },
            ..Self::empty(Level::Pool)
        };
        let all = [
            Self::empty(Level::Server),
            Self { database: session.database, ..Self::empty(Level::Database) },
            Self { user: session.user, ..Self::empty(Level::User) },
            pool,
        ];
        all.into_iter().take(if session.is_starting() { 1 } else { 4 })
    }

    /// What it is of.
    pub fn level(&self) -> Level {
        Level::ALL.get(usize::from(self.level)).copied().unwrap_or(Level::Pool)
    }

    /// The same key gives the same number; different ones practically never do.
    pub fn fingerprint(&self) -> u64 {
        let head = [self.level, u8::from(self.other), u8::from(self.named)];
        let oids = [self.database.to_le_bytes(), self.user.to_le_bytes()];
        let bytes = head.iter().chain(&self.address).chain(oids.iter().flatten());
        bytes.chain(&self.application).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// What is summed over samples, in the order of the columns of `family::POOL`.
pub const SUMS: [&str; 12] = [
    "active",
    "idle",
    "in_transaction",
    "aborted",
    "fastpath",
    "disabled",
    "starting",
    "on_cpu",
    "on_lock",
    "on_client",
    "on_io",
    "opened",
];
/// Of which the numbers are spread, in the order of the columns of `family::POOL`.
pub const SPREADS: [&str; 5] = ["open", "busy", "active", "idle", "in_transaction"];
/// Place of the load among the spreads of a reading, behind these: busy sessions that do not wait for locks, on average over
/// [`BLOCK_US`].
pub const LOAD: u8 = SPREADS.len() as u8;
/// What is shorter makes clients wait a little, and is no load: microseconds over which it is averaged.
pub const BLOCK_US: u64 = 10_000_000;
/// Of which the peak is kept: the same, and those that wait for a lock.
pub const PEAKS: usize = SPREADS.len() + 1;

/// Whether one of [`SUMS`] is of clients at work, or of some that came: in quiet time there are none of these.
pub const fn is_sum_of_work(at: usize) -> bool {
    !matches!(at, IDLE | DISABLED | STARTING)
}

/// The same of the numbers that are spread, and of those that wait for a lock.
pub const fn is_number_of_work(at: usize) -> bool {
    !matches!(at, OPEN | IDLE_SPREAD)
}

/// Sessions of a group in one sample, in the order of [`SUMS`].
pub type Tally = [u32; SUMS.len()];

/// Places: among [`SPREADS`], then among [`SUMS`].
const OPEN: usize = 0;
const BUSY: usize = 1;
const IDLE_SPREAD: usize = 3;
const IDLE: usize = 1;
const DISABLED: usize = 5;
const STARTING: usize = 6;
const LOCK: usize = 8;
const OPENED: usize = 11;

/// Adds a session to the tally of its group; `opened` says that no sample before saw it.
pub fn tally(into: &mut Tally, session: &Session, opened: bool) {
    let state = match session.state {
        State::Active => 0,
        State::Idle => 1,
        State::InTransaction => 2,
        State::Aborted => 3,
        State::FastPath => 4,
        State::Disabled => 5,
        State::Unknown => 6,
    };
    into[state] += 1;
    // An idle session waits for its client because it has nothing to do.
    if session.state.is_busy() {
        let waits = match wait::class(session.wait) {
            None => (!session.state.is_in_transaction()).then_some(7),
            Some(wait::Class::Lock) => Some(LOCK),
            Some(wait::Class::Client) => Some(9),
            Some(wait::Class::Io) => Some(10),
            Some(_) => None,
        };
        if let Some(waits) = waits {
            into[waits] += 1;
        }
    }
    into[OPENED] += u32::from(opened);
}

/// The numbers that are spread, of one sample, in the order of [`SPREADS`], then those that wait for a lock.
pub fn numbers(tally: &Tally) -> [u32; PEAKS] {
    let [active, idle, in_transaction, aborted, fastpath, disabled, starting, ..] = *tally;
    let in_transaction = in_transaction + aborted;
    let active = active + fastpath;
    let busy = active + in_transaction;
    [busy + idle + disabled + starting, busy, active, idle, in_transaction, tally[LOCK]]
}

/// The same, where they are known: of sessions most of which do not say what they do, only how many there are.
pub fn told(tally: &Tally) -> [Option<u32>; PEAKS] {
    let numbers = numbers(tally);
    let hides = tally[DISABLED] * 2 > numbers[0];
    let mut place = 0..;
    numbers.map(|number| (place.next() == Some(0) || !hides).then_some(number))
}

/// One group in shared memory. Zeroes are valid, and stand for a place that is free.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Group {
    /// Whose sessions.
    pub key: Key,
    /// The place is taken.
    pub used: bool,
    /// Number of the sample for which the place was taken.
    pub born: u64,
    /// Number of the last sample that found a session.
    pub last: u64,
    /// Sums over samples.
    pub sums: [u64; SUMS.len()],
    /// The largest numbers since the last reading, and before it since the last that was stored.
    pub peaks: [[u32; PEAKS]; 2],
    /// Samples by number; they wrap.
    pub spread: [[u32; PLACES]; SPREADS.len()],
    /// The same by the number of sessions at work on average over the block of samples that each is of: busy, and not waiting
    /// for a lock.
    pub load: [u32; PLACES],
    /// These sessions, summed over samples of the block that is not over.
    pub block: u64,
}

impl Group {
    /// A group that begins with this sample.
    pub fn begin(&mut self, key: Key, sample: u64) {
        self.key = key;
        self.used = true;
        self.born = sample;
        self.last = sample;
        self.sums = [0; SUMS.len()];
        self.peaks = [[0; PEAKS]; 2];
        self.spread = [[0; PLACES]; SPREADS.len()];
        self.load = [0; PLACES];
        self.block = 0;
    }

    /// Adds one sample.
    pub fn add(&mut self, tally: &Tally, sample: u64) {
        self.last = sample;
        for (sum, count) in self.sums.iter_mut().zip(tally) {
            *sum = sum.wrapping_add(u64::from(*count));
        }
        let numbers = numbers(tally);
        for (peak, number) in self.peaks[0].iter_mut().zip(numbers) {
            *peak = number.max(*peak);
        }
        for (spread, number) in self.spread.iter_mut().zip(numbers).filter(|(_, n)| *n > 0) {
            let place = &mut spread[super::spread::place(number)];
            *place = place.wrapping_add(1);
        }
        self.block += u64::from(numbers[BUSY].saturating_sub(tally[LOCK]));
    }

    /// Ends a block of so many samples.
    pub fn end_block(&mut self, samples: u32) {
        let sum = std::mem::take(&mut self.block);
        let average = (sum + u64::from(samples) / 2).checked_div(u64::from(samples)).unwrap_or(0);
        if average > 0 {
            let number = u32::try_from(average).unwrap_or(u32::MAX);
            let place = &mut self.load[super::spread::place(number)];
            *place = place.wrapping_add(samples);
        }
    }
}
