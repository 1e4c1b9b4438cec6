//! The rules: which counters go on, which began anew, and what follows for values and quality.

use super::gone::{Left, are_told};
use super::heirs::{Copied, heirs};
use super::{Difference, Gap, GapKind, Prior, Sorted};
use crate::family::{DATABASE, Family, INDEX, Merge, RELATION};
use crate::frame::{Quality, Reading, Together};
use crate::pack::is_zero;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::iter::zip;

/// Whether a column of the family is a state rather than a count.
pub(super) fn is_gauge(family: &Family, c: usize) -> bool {
    c > 0 && family.columns[c].merge != Merge::Sum
}

/// How a counter tells of a new beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// It begins anew together with its object.
    Shared,
    /// One object, but counters that are reset apart from each other: each begins anew alone.
    Own,
    /// A sum over parts that come and go (a table's indexes): a fall says that a part is gone, not that
    /// the rest began anew, so nothing of the remaining value is known to be recent.
    Parts,
    /// Computed from a deviation, so rounding may let it fall. Proves nothing.
    Rounded,
}

fn life_of(family: &Family, c: usize) -> Life {
    let name = family.columns[c].name;
    match family.name {
        "statement" if name == "exec_sq" => Life::Rounded,
        "server" => Life::Own,
        "relation" if ["idx_", "toast_", "tidx_"].iter().any(|p| name.starts_with(p)) => {
            Life::Parts
        }
        _ => Life::Shared,
    }
}

/// The zero of the server's clock, 2000-01-01, microseconds since the Unix epoch.
const SERVER_EPOCH_US: i64 = 946_684_800_000_000;

/// From which growth on a counter says nothing, of an interval that begins at `since`.
///
/// A session that ends between its login and the moment at which the server notes its start, as one that a limit of the
/// database turns away, is counted as if it had begun at the zero of the server's clock: it adds all the time since 2000.
/// Sessions that truly lasted as long together, and all tell of it in one interval, cannot be told apart from that.
fn absurd(family: &Family, c: usize, since: i64) -> Option<u64> {
    let of_sessions = family.name == DATABASE.name && family.columns[c].name == "session_us";
    of_sessions.then(|| u64::try_from(since.saturating_sub(SERVER_EPOCH_US)).ok()).flatten()
}

/// What is known about one object of the reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its counters began at zero after `since`.
    New(Quality),
    /// It goes on from a place in the prior. The flag: the server vouches that it is the same life.
    Same(usize, bool),
    /// It began with a copy, or what may be one, of the counters that lie there in the prior, and may lie there itself.
    Heir(usize, Option<usize>),
    /// It existed at the time of the prior, but it is not known what it did since.
    Hidden,
}

/// There is a past, but the counters of now do not continue it.
pub(super) fn anew(prior: Option<&Prior>, start: i64, now: &Sorted<'_>) -> Difference {
    let reading = &*now.reading;
    let (kind, detail) = match prior {
        None => (GapKind::Reset, "the previous counters were lost, as after a crash"),
        Some(p) if p.epoch.timeline() != reading.epoch.timeline() => {
            (GapKind::Standby, "the server changed its timeline, as after a promotion")
        }
        Some(_) => (GapKind::Reset, "the counters were reset"),
    };
    let gap = |until, kind| Gap { since: start, until, kind, detail: detail.into() };
    let Some(began) = reading.epoch.began.filter(|b| (start..=reading.at).contains(b)) else {
        return now.baseline(Some(gap(reading.at.max(start.saturating_add(1)), kind)));
    };
    let quality = match reading.evictions {
        Some(1..) => Quality::LowerBound,
        _ => Quality::Exact,
    };
    let made = Judge::new(None, now, vec![Fate::New(quality); now.len()]).difference(began);
    let kind = if prior.is_some() { GapKind::Reset } else { kind };
    Difference {
        gap: (began > start).then(|| gap(began, kind)),
        quality: quality.max(made.quality),
        ..made
    }
}

/// The counters of now continue those of the prior.
pub(super) fn between(prior: &Prior, start: i64, now: &Sorted<'_>) -> Difference {
    let reading = &*now.reading;
    let positions = now.positions(prior);
    let evicted = prior.evictions != reading.evictions;
    let unless_evicted = if evicted { Quality::LowerBound } else { Quality::Exact };
    let births = reading.born.as_ref();
    let wider = reading.epoch.is_of_all() && !prior.epoch.is_of_all();
    let mut fates: Vec<Fate> = zip(&now.order.by_key, &positions)
        .map(|(&i, &position)| match (position, births.map(|b| b[i]), &prior.born) {
            (Some(p), Some(born), Some(before)) if before[p] == born => Fate::Same(p, true),
            (Some(_), Some(_), Some(_)) => Fate::New(Quality::LowerBound),
            (Some(p), ..) => Fate::Same(p, false),
            // Otherwise it was being executed for the first time: an entry is made before that, and shown after it.
            (None, Some(born), _) if born <= prior.at && prior.hides => Fate::Hidden,
            // Nobody looked at it, so it need not have begun at zero since.
            (None, ..) if wider => Fate::Hidden,
            (None, ..) => Fate::New(unless_evicted),
        })
        .collect();
    let copied = inherit(&mut fates, prior, now, &positions);
    let vanished = prior.keys.len() - positions.iter().flatten().count();
    // Databases that are not read any more need not be gone.
    let narrower = prior.epoch.is_of_all() && !reading.epoch.is_of_all();
    let left = match vanished {
        _ if narrower => Left::default(),
        0 => Left::default(),
        _ => Left::find(prior, now, &positions, &fates),
    };
    // Of a hidden object it is not known what it did since the prior. Where nobody looked, a gap says so.
    let hidden = !wider && fates.contains(&Fate::Hidden);
    let counts = reading.evictions.is_some() || (are_told(reading.family) && !narrower);
    let lost = evicted || hidden || (counts && vanished > 0);
    let is_new = |at: &usize| matches!(fates[*at], Fate::New(_));
    let came = (0..fates.len()).filter(is_new).map(|at| now.order.by_key[at]).collect();
    let mut judge = Judge::new(Some(prior), now, fates);
    for &at in &left.heirs {
        (judge.lost[at], judge.moved[at]) = (true, true);
    }
    let made = judge.difference(start);
    let row = if lost { Quality::LowerBound } else { Quality::Exact };
    let gap = unread(prior, start, reading);
    let quality = row.max(made.quality);
    let gone = left.places(prior, made.known);
    Difference { quality, vanished: vanished as u64, gone, gap, came, copied, ..made }
}

/// Finds what took over the counters of another object; returns both, as indices into the reading.
fn inherit(
    fates: &mut [Fate],
    prior: &Prior,
    now: &Sorted<'_>,
    positions: &[Option<usize>],
) -> Vec<usize> {
    let found = heirs(prior, now, positions);
    let mut copied = Vec::with_capacity(found.len());
    for Copied { at, of } in found {
        fates[at] = of.map_or(Fate::Hidden, |from| Fate::Heir(from, positions[at]));
        copied.push(now.order.by_key[at]);
    }
    copied
}

/// The time of which only one object's counters are known and those of the others are lost, as one reading was of all
/// and the other was not. That between two readings of one object is told together with the next of all.
fn unread(prior: &Prior, start: i64, now: &Reading) -> Option<Gap> {
    if prior.epoch.is_of_all() == now.epoch.is_of_all() {
        return None;
    }
    let since = prior.told_until.map_or(start, |told| told.min(start));
    let detail = "other databases were not read".into();
    (since < now.at).then_some(Gap { since, until: now.at, kind: GapKind::Missed, detail })
}

/// The objects of one reading, in the order of their keys, on their way to a difference.
pub(super) struct Judge<'a> {
    prior: Option<&'a Prior>,
    pub(super) now: &'a Sorted<'a>,
    pub(super) fates: Vec<Fate>,
    /// Objects that seemed to go on and have begun anew.
    pub(super) anew: Vec<bool>,
    /// Objects of which a part was lost.
    pub(super) lost: Vec<bool>,
    moved: Vec<bool>,
    /// Every object lies where it lay in the prior.
    in_step: bool,
    /// What the parts of objects did, where it is not the difference of their sums.
    regrown: HashMap<usize, Option<&'a Together>>,
}

impl<'a> Judge<'a> {
    fn new(prior: Option<&'a Prior>, now: &'a Sorted<'a>, fates: Vec<Fate>) -> Self {
        let n = fates.len();
        let whole = now.reading.whole;
        let moved = fates.iter().map(|&f| whole && f != Fate::Hidden).collect();
        let stays = |(at, fate): (usize, &Fate)| matches!(fate, Fate::Same(p, _) if *p == at);
        let in_step = fates.iter().enumerate().all(stays);
        // What the other did at last is lost even where the heir did nothing.
        let lost = fates.iter().map(|fate| matches!(fate, Fate::Heir(..))).collect();
        let (anew, regrown) = (vec![false; n], HashMap::new());
        let mut judge = Self { prior, now, fates, anew, lost, moved, in_step, regrown };
        if let Some(prior) = prior {
            judge.find_falls(prior);
            judge.find_outgrown(prior);
            judge.find_resets(prior);
            judge.find_parts(prior);
        }
        judge
    }

    fn find_falls(&mut self, prior: &Prior) {
        let reading = &*self.now.reading;
        let mut anew = std::mem::take(&mut self.anew);
        let mut lost = std::mem::take(&mut self.lost);
        for (c, column) in reading.columns.iter().enumerate().skip(1) {
            let life = life_of(reading.family, c);
            let before = &prior.columns[c];
            if is_gauge(reading.family, c) || life == Life::Rounded || is_zero(before) {
                continue;
            }
            let marks = if life == Life::Shared { &mut anew } else { &mut lost };
            self.compare(column, before, marks, |v, b| v < b);
        }
        // Minima and maxima may be reset alone where births are known, so they prove nothing there.
        if reading.born.is_none() || prior.born.is_none() {
            for (column, before) in zip(&reading.floors, &prior.floors) {
                self.compare(column, before, &mut anew, |v, b| b != 0 && v > b);
            }
            for (column, before) in zip(&reading.ceilings, &prior.ceilings) {
                self.compare(column, before, &mut anew, |v, b| b != 0 && v < b);
            }
        }
        (self.anew, self.lost) = (anew, lost);
    }

    /// Marks the objects that go on and whose value is `worse` than before.
    fn compare(
        &self,
        column: &[u64],
        before: &[u64],
        marks: &mut [bool],
        worse: impl Fn(u64, u64) -> bool,
    ) {
        if column.is_empty() || before.is_empty() {
            return;
        }
        // Of those that do not go on, the value before is zero, of which nothing is worse.
        let (column, before) = (self.now.order.see(column), self.aligned(before));
        for (mark, (&value, &before)) in zip(marks, zip(&*column, &*before)) {
            *mark |= worse(value, before);
        }
    }

    /// A column of the prior, as the objects lie now; zero for those that do not go on.
    fn aligned<'b>(&self, before: &'b [u64]) -> Cow<'b, [u64]> {
        if self.in_step && before.len() == self.fates.len() {
            return Cow::Borrowed(before);
        }
        let at = |p: usize| before.get(p).copied().unwrap_or(0);
        let value = |fate: &Fate| match *fate {
            Fate::Same(p, _) => at(p),
            Fate::Heir(from, own) => at(from).max(own.map_or(0, at)),
            Fate::New(_) | Fate::Hidden => 0,
        };
        Cow::Owned(self.fates.iter().map(value).collect())
    }

    /// What the server says was reset since the prior. It need not show: counters may have outgrown their old values.
    fn find_resets(&mut self, prior: &Prior) {
        let reading = &*self.now.reading;
        let (Some(now), Some(before)) = (reading.marks.first(), prior.marks.first()) else {
            return;
        };
        if now.is_empty() || before.is_empty() {
            return;
        }
        let mut known: Option<HashSet<u64>> = None;
        for ((&i, fate), lost) in zip(zip(&self.now.order.by_key, &self.fates), &mut self.lost) {
            *lost |= match *fate {
                Fate::Same(p, _) | Fate::Heir(p, _) => now[i] != before[p],
                // That of a new object may be older than itself, if it is that of others as well.
                Fate::New(_) if now[i] != 0 => {
                    let known = known.get_or_insert_with(|| before.iter().copied().collect());
                    !known.contains(&now[i])
                }
                Fate::New(_) | Fate::Hidden => false,
            };
        }
    }

    /// Objects whose parts are others than before.
    fn find_parts(&mut self, prior: &Prior) {
        let now = self.now;
        let reading = &*now.reading;
        if reading.family.name != RELATION.name {
            return;
        }
        let mark = |m: usize| prior.marks.get(m).filter(|before| !before.is_empty());
        let (counts, toasts) = (mark(1), mark(2).zip(reading.marks.get(2)));
        for (at, (&i, fate)) in zip(&now.order.by_key, &self.fates).enumerate() {
            let Fate::Same(p, _) = *fate else { continue };
            self.lost[at] |= toasts.is_some_and(|(was, is)| was[p] != 0 && was[p] != is[i]);
            if let Some(parts) = &reading.parts {
                let own = parts.get(&reading.keys[i]);
                let left = counts.is_some_and(|was| was[p] > own.map_or(0, |own| own.stayed));
                if left || own.is_some_and(|own| own.copied) {
                    self.lost[at] = true;
                    self.regrown.insert(at, own);
                }
            }
        }
    }

    /// Values of a column for all objects, none where all are zero, noting which of them moved; `None` if it
    /// cannot be known.
    fn column(&mut self, c: usize, since: i64) -> Option<Vec<u64>> {
        let reading = &*self.now.reading;
        let column = &reading.columns[c];
        if column.is_empty() {
            return reading.keys.is_empty().then(Vec::new);
        }
        let before = self.prior.map_or(&[][..], |p| &p.columns[c]);
        let gauge = is_gauge(reading.family, c);
        let life = life_of(reading.family, c);
        let goes_on = |fate: &Fate| matches!(fate, Fate::Same(..) | Fate::Heir(..));
        if !gauge && before.is_empty() && self.fates.iter().any(goes_on) {
            return None;
        }
        // What the parts did is known by the same name.
        let name = reading.family.columns[c].name;
        let part = if life == Life::Parts { INDEX.position(name) } else { None };
        // Most counters are zero for everybody; an empty column says the same.
        if !gauge && is_zero(column) {
            return Some(Vec::new());
        }
        let column = self.now.order.see(column);
        let values = if gauge {
            self.states(&column, before)
        } else {
            self.counts(&column, before, life, part)
        };
        let absurd = absurd(reading.family, c, since);
        let mut is_absurd = false;
        if let Some(absurd) = absurd {
            for (lost, &value) in zip(&mut self.lost, &values) {
                *lost |= value >= absurd;
                is_absurd |= value >= absurd;
            }
        }
        (!is_absurd).then_some(values)
    }

    /// What was counted since the prior.
    fn counts(
        &mut self,
        column: &[u64],
        before: &[u64],
        life: Life,
        part: Option<usize>,
    ) -> Vec<u64> {
        let before = self.aligned(before);
        let both = zip(column, &*before);
        let mut values: Vec<u64> = match life {
            Life::Shared | Life::Rounded => zip(both, &self.anew)
                .map(|((&v, &b), &anew)| v.saturating_sub(if anew { 0 } else { b }))
                .collect(),
            Life::Own => both.map(|(&v, &b)| if v < b { v } else { v - b }).collect(),
            Life::Parts => both.map(|(&v, &b)| v.saturating_sub(b)).collect(),
        };
        if !self.in_step {
            for (at, (value, fate)) in zip(&mut values, &self.fates).enumerate() {
                match fate {
                    Fate::Hidden => *value = 0,
                    // It has counted no less than what it took over, whatever it seems.
                    Fate::Heir(..) => *value = column[at].saturating_sub(before[at]),
                    Fate::New(_) | Fate::Same(..) => {}
                }
            }
        }
        if let Some(part) = part {
            // Rows of bitmap scans, which the sum holds as well, are not among them.
            for (&at, parts) in &self.regrown {
                values[at] = parts.map_or(0, |parts| parts.grown[part]);
            }
        }
        for (moved, &value) in zip(&mut self.moved, &values) {
            *moved |= value != 0;
        }
        values
    }

    /// What states are now.
    fn states(&mut self, column: &[u64], before: &[u64]) -> Vec<u64> {
        let mut values = Vec::with_capacity(column.len());
        for (at, (&value, &fate)) in zip(column, &self.fates).enumerate() {
            let (value, moved) = match fate {
                Fate::Hidden => (0, false),
                Fate::New(_) => (value, value != 0),
                Fate::Heir(..) => (value, value != 0),
                Fate::Same(p, _) => (value, before.get(p) != Some(&value)),
            };
            self.moved[at] |= moved;
            values.push(value);
        }
        values
    }

    fn quality(&self, at: usize) -> Quality {
        let evicted = self.prior.is_some_and(|p| p.evictions != self.now.reading.evictions);
        match self.fates[at] {
            Fate::New(quality) if self.lost[at] => quality.max(Quality::LowerBound),
            Fate::New(quality) => quality,
            Fate::Heir(..) => Quality::LowerBound,
            Fate::Same(..) if self.anew[at] || self.lost[at] => Quality::LowerBound,
            Fate::Same(_, false) if evicted => Quality::Doubtful,
            Fate::Same(..) | Fate::Hidden => Quality::Exact,
        }
    }

    /// All but `vanished`, `gap`, the ids, and losses that touch no object.
    fn difference(mut self, since: i64) -> Difference {
        let width = self.now.reading.family.columns.len();
        let mut known = 1u64;
        let mut columns: Vec<Vec<u64>> = vec![Vec::new(); width];
        for (c, column) in columns.iter_mut().enumerate().skip(1) {
            if let Some(values) = self.column(c, since) {
                known |= 1 << c;
                *column = values;
            }
        }
        let n = self.fates.len();
        columns[0] = (0..n).map(|at| self.quality(at) as u64).collect();
        // Of a loss that left nothing else to tell, the object's place tells.
        let told = are_told(self.now.reading.family);
        let has_place = |at: &usize| self.moved[*at] || told && (self.anew[*at] || self.lost[*at]);
        let kept: Vec<usize> = (0..n).filter(has_place).collect();
        // A loss counts even where what remains did not move.
        let quality = (0..n)
            .filter(|&at| self.moved[at] || self.anew[at] || self.lost[at])
            .map(|at| self.quality(at))
            .max()
            .unwrap_or(Quality::Exact);
        let columns = columns.into_iter().map(|mut column| {
            if kept.len() < n {
                column = kept.iter().map_while(|&at| column.get(at).copied()).collect();
            }
            column.iter().any(|&v| v != 0).then_some(column)
        });
        Difference {
            since,
            quality,
            moved: kept.iter().map(|&at| self.now.order.by_key[at]).collect(),
            vanished: 0,
            gone: Vec::new(),
            gap: None,
            baseline: false,
            ids: vec![0; self.now.reading.keys.len()],
            unnamed: Vec::new(),
            came: Vec::new(),
            copied: Vec::new(),
            columns: columns.collect(),
            known,
            order: None,
        }
    }
}
