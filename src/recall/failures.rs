//! Failures, added up over a window.

use std::collections::HashMap;

use perfmon_core::capture::failure::{Class, Refusal};
use perfmon_core::family::FAILURE;
use perfmon_core::frame::SOME_ONLY;
use perfmon_core::pool::Refused;
use perfmon_core::tally::{Tally, Who, add_known};
use perfmon_core::window::Level;

use super::cell::Cell;
use super::names;
use super::plan::Kept;
use super::scope::Scope;
use super::times::total;
use super::uncounted::Uncounted;
use crate::error::Error;
use crate::store::read::{self, Segment};

/// What failed, of whom, and how.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) class: Class,
    /// `None` where only the class is known.
    pub(crate) state: Option<String>,
    pub(crate) user: Cell,
    /// The statement, by the ids of the newest source.
    pub(crate) statement: Option<Who>,
    /// The table that autovacuum gave up.
    pub(crate) table: Cell,
    /// Why a connection was refused, and to which database where that is known.
    pub(super) refusal: Option<(Refusal, Option<String>)>,
}

/// One kind of failure over the window.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) count: u64,
    pub(crate) lost_us: u64,
    /// When it happened last, microseconds since the Unix epoch.
    pub(crate) last: Option<i64>,
    pub(crate) quality: Option<u64>,
}

/// One interval: start, end, length, and what was counted in it, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interval {
    pub(crate) since: i64,
    pub(crate) until: i64,
    pub(crate) length_us: i64,
    /// Of it, time in which nothing at all happened.
    pub(crate) quiet_us: i64,
    /// All that ended well, timed or not.
    pub(crate) executions: Option<u64>,
    pub(crate) errors: Option<u64>,
    pub(crate) cancelled: Option<u64>,
    /// The hooks were off but for some: nothing is known of what hit sessions and not statements.
    pub(crate) some_only: bool,
}

/// All of the window.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    pub(crate) all: Vec<Failure>,
    refused: Vec<Refused>,
    pub(crate) intervals: Vec<Interval>,
    pub(crate) covered_us: i64,
    /// Of the intervals in which errors were counted; unknown until one is known.
    pub(crate) executions: Option<i64>,
    pub(crate) errors: Option<i64>,
    pub(crate) cancelled: Option<i64>,
}

/// Share of failed ones among all that were tried: those that were executed, failed or were cancelled.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn error_ratio(
    executions: Option<u64>,
    errors: Option<u64>,
    cancelled: Option<u64>,
) -> Option<f64> {
    let tried = executions?.saturating_add(errors?).saturating_add(cancelled?);
    (tried > 0).then(|| errors.unwrap_or(0) as f64 / tried as f64)
}

impl Failures {
    /// Adds the window up, most frequent first.
    pub(crate) fn of(scope: &Scope) -> Result<Self, Error> {
        let kept = Kept::of(&FAILURE, scope);
        Self::in_segments(scope, &kept.segments(scope, Level::Day))
    }

    /// Whether errors are not known of a time in which something was tried.
    pub(crate) fn is_part(&self) -> bool {
        let hides = |one: &Interval| one.errors.is_none() && one.executions.is_some_and(|n| n > 0);
        let is_unseen = |one: &Failure| one.kind.class == Class::Unseen;
        self.intervals.iter().any(hides) || self.all.iter().any(is_unseen)
    }

    /// Refused connections; `None` where nobody counted them in some of the time.
    pub(crate) fn refused(&self) -> Option<&[Refused]> {
        let is_known = self.errors.is_some() && !self.intervals.iter().any(|one| one.some_only);
        is_known.then_some(&self.refused)
    }

    /// How many errors there were at least, where only a part is known: what is known of single users counts.
    pub(crate) fn least(&self) -> Option<i64> {
        let found = self.all.iter().filter(|one| one.kind.class.is_error()).map(|one| one.count);
        let least = i64::try_from(found.sum::<u64>()).ok()?;
        (least > 0 || self.errors.is_some()).then_some(least)
    }

    fn in_segments(scope: &Scope, segments: &[Segment]) -> Result<Self, Error> {
        let columns: Vec<usize> = (0..FAILURE.columns.len()).collect();
        let mut tally = Tally::new(&FAILURE, &columns);
        let mut found = Self::default();
        let uncounted = Uncounted::of(scope, segments);
        read::frames(&scope.sources, &FAILURE, segments, &columns, &mut |row| {
            let interval = interval(row.head).with(&uncounted);
            found.covered_us = found.covered_us.saturating_add(interval.length_us);
            // A share needs both parts of the same time.
            let both = interval.executions.filter(|_| interval.errors.is_some());
            let signed = |n: Option<u64>| n.and_then(|n| i64::try_from(n).ok());
            add_known(&mut found.executions, signed(both));
            add_known(&mut found.errors, signed(interval.errors));
            add_known(&mut found.cancelled, signed(interval.cancelled));
            found.intervals.push(interval);
            tally.add(row.head.source, row.ids, row.head.known, &|i| row.column(i));
        });
        let kinds = kinds(scope)?;
        let mut places: HashMap<String, usize> = HashMap::new();
        for (place, who) in tally.who().iter().enumerate() {
            let Some(kind) = kinds.get(who) else { continue };
            let one = Failure {
                kind: kind.clone(),
                count: tally.get(place, 1).unwrap_or(0),
                lost_us: tally.get(place, 2).unwrap_or(0),
                last: tally
                    .get(place, 3)
                    .and_then(|s| i64::try_from(s).ok()?.checked_mul(1_000_000)),
                quality: tally.get(place, 0),
            };
            if let Some(refused) = one.refused() {
                refused.add_to(&mut found.refused);
            }
            // The same under an older source is the same; why it was refused is told apart elsewhere.
            let same = format!("{:?}", Kind { refusal: None, ..kind.clone() });
            match places.get(&same) {
                Some(at) => found.all[*at].take_in(&one),
                None => {
                    places.insert(same, found.all.len());
                    found.all.push(one);
                }
            }
        }
        found.all.sort_by_key(|failure| std::cmp::Reverse((failure.count, failure.lost_us)));
        Ok(found)
    }
}

impl Failure {
    fn refused(&self) -> Option<Refused> {
        let kind = &self.kind;
        let authentication = kind.class == Class::LoginFailed
            && kind.state.as_deref().is_some_and(|state| state.starts_with("28"));
        let (why, database) = match (&kind.refusal, kind.class) {
            (Some((why, database)), _) => (Some(*why), database.clone()),
            (None, Class::Refused) => (Some(Refusal::Other), None),
            _ if authentication => (None, None),
            _ => return None,
        };
        let states = kind.state.iter().cloned().collect();
        Some(Refused { why, user: kind.user.text(), database, states, count: self.count })
    }

    fn take_in(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.lost_us = self.lost_us.saturating_add(other.lost_us);
        self.last = self.last.max(other.last);
        self.quality = self.quality.max(other.quality);
    }
}

impl Interval {
    /// Adds what the hooks did not count, which is tried as well.
    pub(crate) fn with(self, uncounted: &Uncounted) -> Self {
        let more = uncounted.at(self.until);
        Self { executions: self.executions.map(|n| n.saturating_add(more)), ..self }
    }
}

/// What a row says of itself: of executions, those that the hooks counted.
pub(crate) fn interval(head: &read::Head) -> Interval {
    let of = |name: &str| total(&FAILURE, head, name);
    Interval {
        since: head.span.since,
        until: head.span.until,
        length_us: head.span.length_us,
        quiet_us: head.span.quiet_us,
        executions: of("executions"),
        errors: of("errors"),
        cancelled: of("cancelled"),
        some_only: head.span.flags & SOME_ONLY != 0,
    }
}

/// What the ids of failures stand for.
pub(crate) fn kinds(scope: &Scope) -> Result<HashMap<Who, Kind>, Error> {
    let names = names::objects(FAILURE.name, &scope.sources)?;
    let newer = names::successors(&scope.sources)?;
    let kind = |(who, [user, what, kind]): (Who, [Cell; 3])| {
        let kind = kind.text()?;
        let mut words = kind.split(' ');
        let class = Class::named(words.next()?)?;
        let state = words.next()?;
        let refusal = words.next().and_then(Refusal::named);
        let is_table = class == Class::AutovacuumCancelled;
        let filled =
            |cell: Cell| if cell.text().is_some_and(|t| !t.is_empty()) { cell } else { Cell::Null };
        let database = || what.text().filter(|name| !name.is_empty());
        let statement =
            what.text().filter(|_| !is_table && refusal.is_none()).and_then(|id| id.parse().ok());
        let statement: Option<Who> = statement.map(|id| (who.0, id));
        let kind = Kind {
            class,
            refusal: refusal.map(|why| (why, database())),
            state: (state != "00000").then(|| state.to_owned()),
            user: filled(user),
            statement: statement.map(|old| newer.get(&old).copied().unwrap_or(old)),
            table: if is_table { filled(what) } else { Cell::Null },
        };
        Some((who, kind))
    };
    Ok(names.into_iter().filter_map(kind).collect())
}
