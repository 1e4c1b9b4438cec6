//! Tables, indexes, databases and the like, added up over a window, object by object, by name.

use std::collections::HashMap;

use perfmon_core::family::{DATABASE, Family, Merge};
use perfmon_core::frame::Span;
use perfmon_core::tally::{Tally, Who};

use super::cell::Cell;
use super::plan::Kept;
use super::scope::Scope;
use super::words::Raw;
use super::{names, query};
use crate::error::Error;
use crate::store::read;
use perfmon_core::window::{DAY_US, Level};

/// A family added up over the window, object by object, by name.
pub(crate) struct Objects {
    family: &'static Family,
    tally: Tally,
    named: Vec<Named>,
    /// Sizes as they were before the window: they are looked at less often than the rest.
    earlier: Tally,
    earlier_columns: Vec<usize>,
    earlier_places: HashMap<Who, usize>,
    /// Time that the intervals cover.
    pub(crate) covered_us: i64,
    /// The same of databases other than this one, which are not always read.
    others_us: i64,
}

/// Where the sums of an object lie, and what it is called.
struct Named {
    place: usize,
    names: [Cell; 3],
    /// A database, and not the one whose history it is.
    is_other: bool,
}

/// Sizes are looked at once an hour at least.
const LOOK_BACK_US: i64 = 65 * 60_000_000;

impl Objects {
    pub(crate) fn of(family: &'static Family, scope: &Scope) -> Result<Self, Error> {
        let kept = Kept::of(family, scope);
        let segments = kept.segments(scope, Level::Day);
        let columns: Vec<usize> = (0..family.columns.len()).collect();
        let mut tally = Tally::new(family, &columns);
        let (mut covered_us, mut others_us) = (0_i64, 0_i64);
        let is_database = family.name == DATABASE.name;
        let unread = if is_database { unread(scope)? } else { Vec::new() };
        read::frames(&scope.sources, family, &segments, &columns, &mut |row| {
            let (source, span) = (row.head.source, row.head.span);
            covered_us = covered_us.saturating_add(span.length_us);
            let of_row = unread.iter().filter(|gap| gap.0 == source);
            let unread_us: i64 = of_row.map(|gap| common((gap.1, gap.2), &span)).sum();
            others_us = others_us.saturating_add((span.length_us - unread_us).max(0));
            tally.add(source, row.ids, row.head.known, &|i| row.column(i));
        });
        let own = if is_database { Some(own_names(scope)?) } else { None };
        let named = merge_by_name(family, scope, &mut tally, own.as_ref())?;
        let earlier_columns = sizes(family);
        let earlier = sizes_before(family, &earlier_columns, scope, &kept);
        let earlier_places = earlier.who().iter().enumerate().map(|(at, who)| (*who, at)).collect();
        Ok(Self {
            family,
            tally,
            named,
            earlier,
            earlier_columns,
            earlier_places,
            covered_us,
            others_us,
        })
    }

    /// Objects in the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Object<'_>> {
        self.named.iter().map(|named| Object::of(self, named))
    }

    /// Of databases, the one whose history it is.
    pub(crate) fn own(&self) -> Option<Object<'_>> {
        self.named.iter().find(|named| !named.is_other).map(|named| Object::of(self, named))
    }
}

fn sizes(family: &Family) -> Vec<usize> {
    let is_size = |c: &usize| {
        let column = family.columns[*c];
        column.merge == Merge::Last && column.name.ends_with("_bytes")
    };
    (0..family.columns.len()).filter(is_size).collect()
}

fn sizes_before(family: &'static Family, columns: &[usize], scope: &Scope, kept: &Kept) -> Tally {
    let mut tally = Tally::new(family, columns);
    for segment in kept.before(scope, LOOK_BACK_US) {
        read::frames(&scope.sources, family, &[segment], columns, &mut |row| {
            tally.add(row.head.source, row.ids, row.head.known, &|i| row.column(i));
        });
    }
    tally
}

/// When other databases than the own were not read, as (source, start, end).
fn unread(scope: &Scope) -> Result<Vec<(i64, i64, i64)>, Error> {
    let rows = query::rows(
        "SELECT g.source, g.since, g.until FROM perfmon.gap g
         WHERE g.source OPERATOR(pg_catalog.=) ANY ($1)
             AND g.subject OPERATOR(pg_catalog.=) $2 AND g.kind OPERATOR(pg_catalog.=) 'missed'
             AND g.until OPERATOR(pg_catalog.>) $3 AND g.since OPERATOR(pg_catalog.<) $4",
        &[
            scope.sources.clone().into(),
            Raw::from(DATABASE.name).into(),
            // Rows may have begun before the window.
            query::time(scope.since.saturating_sub(DAY_US)),
            query::time(scope.until),
        ],
    )?;
    let gap = |row: &Vec<Cell>| Some((row.first()?.int()?, row.get(1)?.int()?, row.get(2)?.int()?));
    Ok(rows.iter().filter_map(gap).collect())
}

/// How much of a stretch of time falls into a row's.
fn common((since, until): (i64, i64), span: &Span) -> i64 {
    (until.min(span.until) - since.max(span.since)).max(0)
}

/// What the database of each source is, or was last, called.
fn own_names(scope: &Scope) -> Result<HashMap<i64, Cell>, Error> {
    let rows = query::rows(
        "SELECT s.source, s.database_name FROM perfmon.source_info s
         WHERE s.source OPERATOR(pg_catalog.=) ANY ($1)",
        &[scope.sources.clone().into()],
    )?;
    Ok(rows.iter().filter_map(|row| Some((row.first()?.int()?, row.get(1)?.clone()))).collect())
}

/// Two sources may hold the same object: the newer takes the older in. Rows come by source and time, so
/// the place seen last is the newer one. Databases of two sources are told by their names, and the one whose history was
/// restored here goes by this one's; two that one source had by the same name are not one.
fn merge_by_name(
    family: &Family,
    scope: &Scope,
    tally: &mut Tally,
    own: Option<&HashMap<i64, Cell>>,
) -> Result<Vec<Named>, Error> {
    let dictionary = names::objects(family.name, &scope.sources)?;
    let newest = scope.sources.first().and_then(|newest| own?.get(newest));
    let named = |(place, who): (usize, &Who)| {
        let names = dictionary.get(who).cloned();
        let mut names = names.unwrap_or([Cell::Null, Cell::Null, Cell::Null]);
        let mut is_other = false;
        if let Some(own) = own {
            is_other = names[0] != Cell::from("") || own.get(&who.0) != Some(&names[1]);
            if let Some(newest) = newest.filter(|_| !is_other) {
                names[1] = newest.clone();
            }
            [names[0], names[2]] = [Cell::Null, Cell::Null];
        }
        let age = scope.sources.iter().position(|source| *source == who.0);
        (age, Named { place, names, is_other })
    };
    let mut all: Vec<(Option<usize>, Named)> = tally.who().iter().enumerate().map(named).collect();
    all.sort_by_cached_key(|(age, one)| (key(&one.names), one.is_other, *age));
    let mut is_merged = vec![false; all.len()];
    let mut from = 0;
    for group in all.chunk_by(|(_, a), (_, b)| a.names == b.names && a.is_other == b.is_other) {
        let (rest, (_, newest)) = (from + 1..from + group.len(), &group[0]);
        from = rest.end;
        let of_one_source = group.windows(2).any(|two| two[0].0 == two[1].0);
        if newest.names[1] != Cell::Null && !of_one_source {
            group[1..].iter().for_each(|(_, older)| tally.merge(older.place, newest.place));
            is_merged[rest].fill(true);
        }
    }
    let left = all.into_iter().zip(is_merged).filter(|(_, is_merged)| !is_merged);
    Ok(left.map(|((_, named), _)| named).collect())
}

fn key(names: &[Cell; 3]) -> [Vec<u8>; 3] {
    names.each_ref().map(|name| match name {
        Cell::Text(raw) => raw.0.clone(),
        _ => Vec::new(),
    })
}

/// One object of them.
pub(crate) struct Object<'a> {
    all: &'a Objects,
    place: usize,
    /// Of a database the second alone.
    pub(crate) names: &'a [Cell; 3],
    is_other: bool,
}

impl<'a> Object<'a> {
    fn of(all: &'a Objects, named: &'a Named) -> Self {
        Self { all, place: named.place, names: &named.names, is_other: named.is_other }
    }

    /// Time of which is known what it did.
    pub(crate) fn covered_us(&self) -> i64 {
        if self.is_other { self.all.others_us } else { self.all.covered_us }
    }

    /// Sum or last value of a column.
    pub(crate) fn v(&self, name: &str) -> Option<u64> {
        let tally = &self.all.tally;
        let index = self.all.family.position(name)?;
        tally.get(self.place, index).or_else(|| {
            let who = tally.who().get(self.place)?;
            let column = self.all.earlier_columns.iter().position(|c| *c == index)?;
            self.all.earlier.get(*self.all.earlier_places.get(who)?, column)
        })
    }

    /// Sum of several columns, unknown when none is known.
    pub(crate) fn all_of(&self, names: &[&str]) -> Option<u64> {
        names.iter().filter_map(|name| self.v(name)).reduce(u64::saturating_add)
    }

    /// How much a gauge grew between its first and last value; one value says nothing.
    pub(crate) fn growth(&self, names: &[&str]) -> Option<i64> {
        let mut sum: Option<i64> = None;
        for name in names {
            let index = self.all.family.position(name)?;
            let Some(first) = self.all.tally.first(self.place, index) else { continue };
            let last = self.v(name)?;
            let grown = i64::try_from(last).ok()? - i64::try_from(first).ok()?;
            sum = Some(sum.unwrap_or(0).saturating_add(grown));
        }
        sum
    }
}
