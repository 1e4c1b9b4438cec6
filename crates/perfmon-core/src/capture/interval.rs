//! What was executed since the last snapshot, from what the hooks counted then and now.
//!
//! The counters live as long as the server: after a restart or a crash they begin at zero, so that all of a reading
//! happened since, and what was counted between the last snapshot and the end is lost, which is a gap.

use std::collections::BTreeMap;

use super::kept::Stamp;
use super::reading::{self, Moved, Reading};
use crate::delta::{Gap, GapKind, checksum};
use crate::frame::Quality;
use crate::pack::{self, Corrupt};

/// What is kept of a reading until the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// When these counters began at zero, microseconds since the Unix epoch; tells one life of them from another.
    pub began: i64,
    /// When they were read.
    pub at: i64,
    /// Capture was switched off then.
    pub off: bool,
    /// What was read.
    pub entries: Reading,
    /// Dictionary id of each entry; 0 = none.
    pub ids: Vec<u32>,
    /// By user, a hash of the name under which the ids were given.
    pub users: BTreeMap<u32, u64>,
}

/// What happened since then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interval {
    /// From when; `None` where the reading only serves the next one.
    pub since: Option<i64>,
    /// How far it can be trusted.
    pub quality: Quality,
    /// What was executed.
    pub moved: Vec<Moved>,
    /// Time of which nothing is known.
    pub gap: Option<Gap>,
}

/// From when a reading counts, and what is missing before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// From when; `None` where the reading only serves the next one.
    pub since: Option<i64>,
    /// The earlier reading is of the same life of the counters, and is to be subtracted.
    pub continues: bool,
    /// How far it can be trusted.
    pub quality: Quality,
    /// Time of which nothing is known.
    pub gap: Option<Gap>,
}

impl Window {
    /// Up to `at`, when counters that began at `began` were read. `kept` is the reading before, and whether capture was
    /// off then; `last_until` is the end of the last stored row, where nothing is kept.
    pub fn of(kept: Option<(Stamp, bool)>, last_until: Option<i64>, began: i64, at: i64) -> Self {
        if let Some((stamp, off)) = kept.filter(|(stamp, _)| stamp.began == began) {
            let quality = if off { Quality::LowerBound } else { Quality::Exact };
            return Self { since: Some(stamp.at), continues: true, quality, gap: None };
        }
        let start = kept.map(|(stamp, _)| stamp.at).max(last_until);
        let Some(start) = start else { return Self::default() };
        let detail = match kept {
            Some(_) => "the server was restarted before the last executions were read",
            None => "the last executions were lost, as after a crash",
        };
        let gap = |until| Gap { since: start, until, kind: GapKind::Reset, detail: detail.into() };
        if !(start..=at).contains(&began) {
            // They began before the last row ended, so part of them is in it.
            let gap = Some(gap(at.max(start.saturating_add(1))));
            return Self { gap, ..Self::default() };
        }
        let gap = (began > start).then(|| gap(began));
        Self { since: Some(began), continues: false, quality: Quality::Exact, gap }
    }
}

/// What happened up to `at`, when `now` was read of counters that began at `began`. `last_until` is the end of the last
/// stored row, where nothing is kept.
pub fn between(
    kept: Option<&Kept>,
    last_until: Option<i64>,
    began: i64,
    at: i64,
    now: &Reading,
) -> Interval {
    let stamp = kept.map(|kept| (Stamp { began: kept.began, at: kept.at }, kept.off));
    let window = Window::of(stamp, last_until, began, at);
    let none = Reading::default();
    let before = kept.filter(|_| window.continues).map_or(&none, |kept| &kept.entries);
    let moved = match window.since {
        Some(_) => reading::moves(before, now),
        None => Vec::new(),
    };
    Interval { since: window.since, quality: window.quality, moved, gap: window.gap }
}

/// Version of the bytes.
const VERSION: u8 = 1;

impl Kept {
    /// Dictionary ids of the entries of a later reading, of those that were there before and whose users are still
    /// called as they were; 0 for the others. `label` gives the hash of a user's name.
    pub fn ids_of(&self, now: &Reading, label: impl Fn(u32) -> u64) -> Vec<u32> {
        let same: Vec<u32> = self
            .users
            .iter()
            .filter(|(user, name)| label(**user) == **name)
            .map(|(user, _)| *user)
            .collect();
        let mut earlier = self.entries.entries().iter().zip(&self.ids).peekable();
        now.entries()
            .iter()
            .map(|entry| {
                while earlier.next_if(|(e, _)| e.born < entry.born).is_some() {}
                let known = earlier.next_if(|(e, _)| e.born == entry.born && e.key == entry.key);
                let known = known.filter(|_| same.contains(&entry.key.user()));
                known.map_or(0, |(_, id)| *id)
            })
            .collect()
    }

    /// Bytes to be kept until the next snapshot.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, 0, 0, 0, 0];
        out.extend_from_slice(&self.began.to_le_bytes());
        out.extend_from_slice(&self.at.to_le_bytes());
        out.push(u8::from(self.off));
        let users: Vec<u32> = self.users.keys().copied().collect();
        let labels: Vec<u64> = self.users.values().copied().collect();
        let ids: Vec<u64> = self.ids.iter().map(|id| u64::from(*id)).collect();
        for n in [users.len(), ids.len()] {
            out.extend_from_slice(&(n as u32).to_le_bytes());
        }
        let parts = [pack::pack_ids(&users), pack::pack(&labels), pack::pack(&ids)];
        for part in parts.iter().chain([&reading::to_bytes(&self.entries)]) {
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
            out.extend_from_slice(part);
        }
        let sum = checksum(&out[5..]);
        out[1..5].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads what [`Kept::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let [version, a, b, c, d, body @ ..] = bytes else { return Err(short()) };
        if *version != VERSION {
            return Err(Corrupt::new(format!(
                "kept execution times have form {version}, this library knows only {VERSION}"
            )));
        }
        if checksum(body) != u32::from_le_bytes([*a, *b, *c, *d]) {
            return Err(Corrupt::new("kept execution times do not match their checksum"));
        }
        let mut rest = body;
        let began = i64::from_le_bytes(*take(&mut rest)?);
        let at = i64::from_le_bytes(*take(&mut rest)?);
        let [off] = *take(&mut rest)?;
        let [users_n, ids_n] = [length(&mut rest)?, length(&mut rest)?];
        let mut part = || {
            let length = length(&mut rest)?;
            let (own, after) = rest.split_at_checked(length).ok_or_else(short)?;
            rest = after;
            Ok::<&[u8], Corrupt>(own)
        };
        let (mut users, mut labels, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        pack::unpack_ids(part()?, users_n, &mut users)?;
        pack::unpack(part()?, users_n, &mut labels)?;
        pack::unpack(part()?, ids_n, &mut ids)?;
        let entries = reading::from_bytes(part()?)?;
        if entries.len() != ids_n {
            return Err(Corrupt::new("kept execution times have more ids than entries, or fewer"));
        }
        let narrow = |id: u64| u32::try_from(id).map_err(|_| Corrupt::new("kept id out of range"));
        Ok(Self {
            began,
            at,
            off: off != 0,
            entries,
            ids: ids.into_iter().map(narrow).collect::<Result<_, _>>()?,
            users: users.into_iter().zip(labels).collect(),
        })
    }
}

fn short() -> Corrupt {
    Corrupt::new("kept execution times end too early")
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], Corrupt> {
    let (some, after) = rest.split_first_chunk::<N>().ok_or_else(short)?;
    *rest = after;
    Ok(some)
}

fn length(rest: &mut &[u8]) -> Result<usize, Corrupt> {
    Ok(u32::from_le_bytes(*take(rest)?) as usize)
}

#[cfg(test)]
mod tests {
    use super::super::statement::TOPLEVEL;
    use super::super::table::Key;
    use super::*;

    /// Entries of one bucket each: birth, statement, user and executions.
    fn entries(of: &[(u32, u64, u32, u32)]) -> Reading {
        let mut reading = Reading::default();
        for &(born, what, user, count) in of {
            let key = Key::new(what, 5, user, TOPLEVEL);
            reading.push(born, key, [(&[(40, count)], 9), (&[], 0)]);
        }
        reading
    }

    fn kept() -> Kept {
        Kept {
            began: 100,
            at: 200,
            off: false,
            entries: entries(&[(3, 7, 10, 4), (4, 8, 11, 6)]),
            ids: vec![21, 22],
            users: [(10, 1000), (11, 1001)].into(),
        }
    }

    fn executions(interval: &Interval) -> u64 {
        interval.moved.iter().map(|moved| moved.latency.cached.executions()).sum()
    }

    #[test]
    fn the_same_life_goes_on() {
        let now = entries(&[(3, 7, 10, 9), (4, 8, 11, 6)]);
        let made = between(Some(&kept()), None, 100, 300, &now);
        assert_eq!((made.since, made.quality, &made.gap), (Some(200), Quality::Exact, &None));
        assert_eq!(executions(&made), 5);
        let off = Kept { off: true, ..kept() };
        assert_eq!(between(Some(&off), None, 100, 300, &now).quality, Quality::LowerBound);
    }

    #[test]
    fn a_new_life_is_all_new_and_what_was_unread_is_a_gap() {
        let now = entries(&[(3, 7, 10, 2)]);
        let made = between(Some(&kept()), None, 250, 300, &now);
        assert_eq!((made.since, executions(&made)), (Some(250), 2));
        let gap = made.gap.unwrap();
        assert_eq!((gap.since, gap.until, gap.kind), (200, 250, GapKind::Reset));
        assert!(gap.detail.contains("restarted"));
        // After a crash only the rows tell until when it is known.
        let made = between(None, Some(180), 250, 300, &now);
        assert_eq!((made.since, executions(&made)), (Some(250), 2));
        assert_eq!(made.gap.map(|gap| (gap.since, gap.until)), Some((180, 250)));
    }

    #[test]
    fn what_cannot_be_told_apart_is_not_counted() {
        let now = entries(&[(3, 7, 10, 9)]);
        assert_eq!(between(None, None, 100, 300, &now), Interval::default());
        let made = between(None, Some(180), 100, 300, &now);
        assert_eq!((made.since, executions(&made)), (None, 0));
        assert_eq!(made.gap.map(|gap| (gap.since, gap.until)), Some((180, 300)));
        // The clock was set back.
        let made = between(Some(&kept()), None, 150, 190, &now);
        assert_eq!((made.since, made.gap.map(|gap| gap.until)), (None, Some(201)));
    }

    #[test]
    fn ids_of_those_who_changed_their_name_are_forgotten() {
        let now = entries(&[(2, 6, 10, 1), (3, 7, 10, 9), (4, 8, 11, 6), (5, 7, 10, 1)]);
        let ids = kept().ids_of(&now, |user| if user == 10 { 1000 } else { 77 });
        assert_eq!(ids, [0, 21, 0, 0]);
        let other = entries(&[(3, 9, 10, 9), (4, 8, 11, 6)]);
        assert_eq!(kept().ids_of(&other, |user| u64::from(user) + 990), [0, 22]);
    }

    #[test]
    fn what_is_kept_comes_back_or_is_refused() {
        let bytes = kept().encode();
        assert_eq!(Kept::decode(&bytes).unwrap(), kept());
        assert_eq!(Kept::decode(&Kept::default().encode()).unwrap(), Kept::default());
        for at in 0..bytes.len() {
            assert!(Kept::decode(&bytes[..at]).is_err());
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Kept::decode(&damaged).is_err(), "byte {at}");
        }
    }
}
