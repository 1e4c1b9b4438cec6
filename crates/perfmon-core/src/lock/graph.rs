//! Who stands in whose way: as pg_blocking_pids() tells it, with what is waited for; and the head of each chain.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Tag;

/// Of more processes that wait, those that have waited longest are looked at.
pub const MOST_WAITERS: usize = 64;
/// Processes at which one look is: those that wait, and those in front of them.
pub const MOST_PROCESSES: usize = 128;
/// Processes that are told to be in the way of one: of more that hold the lock, these stand for all.
pub const MOST_BLOCKERS: usize = 4;
/// Pairs of both that one look comes to.
pub const MOST_WAITS: usize = MOST_PROCESSES * MOST_BLOCKERS;

/// What one process has to do with a lock that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance {
    /// The process, and the leader of its group, which is itself where there is none.
    pub pid: i32,
    /// See above.
    pub leader: i32,
    /// Modes that it holds, a bit each.
    pub held: u32,
    /// The mode that it waits for; 0 is none.
    pub wanted: u8,
    /// Since when it waits, microseconds since the Unix epoch; 0 is not known yet.
    pub since: i64,
}

/// A process that waits for a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The process.
    pub pid: i32,
    /// What the lock is on.
    pub tag: Tag,
    /// All that have to do with this lock, itself included.
    pub instances: Vec<Instance>,
    /// Those that wait in front of it.
    pub ahead: Vec<i32>,
}

/// One process in the way of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Edge {
    /// Who waits, and since when.
    pub waiter: i32,
    /// See above.
    pub since: i64,
    /// Who is in the way; 0 is a prepared transaction.
    pub blocker: i32,
    /// What the lock is on.
    pub tag: Tag,
    /// The mode that is waited for.
    pub wanted: u8,
    /// The strongest mode of the blocker that conflicts; 0 where it only waits in front.
    pub held: u8,
}

/// Modes that conflict with each, by its number, a bit each.
const CONFLICTS: [u32; 9] = [
    0,
    1 << 8,
    1 << 7 | 1 << 8,
    1 << 5 | 1 << 6 | 1 << 7 | 1 << 8,
    1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8,
    1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 8,
    1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8,
    1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8,
    0b1_1111_1110,
];

impl Blocked {
    /// Who is in its way: those that hold the lock, some of them where they are many; where nobody holds it, the first
    /// in front of it. Each who waits in a line is in the way of all behind it, which would be as many pairs as the
    /// square of the line's length, and tell no more.
    pub fn edges(&self) -> Vec<Edge> {
        let Some(own) = self.instances.iter().find(|i| i.pid == self.pid && i.wanted != 0) else {
            return Vec::new();
        };
        let conflicts = CONFLICTS.get(usize::from(own.wanted)).copied().unwrap_or(0);
        let mut holders: BTreeMap<i32, Edge> = BTreeMap::new();
        // By their places in the line.
        let mut in_front: BTreeMap<usize, Edge> = BTreeMap::new();
        let others = self.instances.iter().filter(|i| i.leader != own.leader || i.leader == 0);
        for other in others.filter(|i| i.pid != own.pid) {
            let held = conflicts & other.held;
            let edge = Edge {
                waiter: own.leader,
                since: own.since,
                blocker: other.leader,
                tag: self.tag,
                wanted: own.wanted,
                held: u8::try_from(held.checked_ilog2().unwrap_or(0)).unwrap_or(0),
            };
            let in_the_way = other.wanted != 0 && conflicts >> other.wanted & 1 == 1;
            let place = self.ahead.iter().position(|pid| *pid == other.pid && in_the_way);
            if held != 0 {
                holders.entry(other.leader).or_insert(edge);
            } else if let Some(place) = place {
                in_front.insert(place, edge);
            }
        }
        if holders.is_empty() {
            return in_front.into_values().take(1).collect();
        }
        holders.into_values().take(MOST_BLOCKERS).collect()
    }
}

/// How many processes waited at a time, at most, of waits by process, beginning and end.
pub fn at_once(waits: impl Iterator<Item = (i64, i64, i64)>) -> usize {
    // A wait is there once for each in its way.
    let waits: BTreeSet<(i64, i64, i64)> = waits.collect();
    let steps = waits.iter().flat_map(|(_, began, end)| [(*began, 1_i64), (*end, -1)]);
    // What ends when another begins was not there with it.
    let steps: BTreeMap<i64, (i64, i64)> = steps.fold(BTreeMap::new(), |mut all, (at, step)| {
        let (less, more) = all.entry(at).or_insert((0, 0));
        if step < 0 {
            *less -= 1
        } else {
            *more += 1
        }
        all
    });
    let mut now = 0_i64;
    let most = steps.values().map(|(less, more)| {
        now += less + more;
        now
    });
    most.max().and_then(|most| usize::try_from(most).ok()).unwrap_or(0)
}

/// The process at the head of a chain, and how many steps it is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Who waits for nobody itself.
    pub pid: i32,
    /// 1 is right behind it.
    pub depth: u16,
}

/// The heads of the chains in which edges stand, in their order. Where somebody has several in his way, the first is
/// followed; where all wait for each other, until a deadlock is found, the head is whoever closes the circle, and nobody is
/// his own.
pub fn heads(edges: &[Edge]) -> Vec<Head> {
    let mut first: HashMap<i32, i32> = HashMap::new();
    for edge in edges {
        first.entry(edge.waiter).or_insert(edge.blocker);
    }
    let head = |edge: &Edge| {
        let mut seen = BTreeSet::from([edge.waiter]);
        let mut head = Head { pid: edge.blocker, depth: 1 };
        while seen.insert(head.pid) {
            let Some(next) = first.get(&head.pid).filter(|next| !seen.contains(next)) else {
                break;
            };
            head = Head { pid: *next, depth: head.depth.saturating_add(1) };
        }
        head
    };
    edges.iter().map(head).collect()
}
