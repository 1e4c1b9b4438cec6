//! Which index a statement lacks on a table that it scans, and how many of the rows that it reads it wants. The scan's own
//! conditions say so, as far as rows are thrown away where they are read. Where all of them are kept, the join or the
//! order above says it: the rows that another table leads to, or those with which an order begins.

use super::{Computed, RETURNED, Seen};
use crate::capture::scan::{Kind, Slot, Use};
use crate::detect::idea::{IndexIdea, may_serve};
use crate::facts::evidence::ENOUGH;
use crate::facts::{Facts, Index, Patterned, Shape, Statement, Table, TableUse, Test};
use crate::threshold::Thresholds;

/// A statement that scans a table.
pub(super) struct Lack<'a> {
    pub(super) s: &'a Statement,
    pub(super) shape: &'a Shape,
    /// Which of the shape's tables it is.
    pub(super) place: usize,
    pub(super) table: &'a Table,
    pub(super) rows: f64,
    /// Indexes that are there.
    pub(super) own: &'a [Index],
    pub(super) facts: &'a Facts,
    pub(super) t: &'a Thresholds,
}

/// What it lacks.
pub(super) struct Found {
    /// `None` where the waste is proven, and no index can be composed.
    pub(super) idea: Option<IndexIdea>,
    /// Rows of the table that an execution wants.
    pub(super) kept: f64,
    /// It is not the scan that tells so.
    pub(super) beyond: bool,
    /// The scan's conditions, where they alone lead to the idea.
    pub(super) by_scan: Option<Shape>,
}

impl Lack<'_> {
    pub(super) fn found(&self, seen: Option<&Seen>) -> Option<Found> {
        let Some(seen) = seen else { return self.guessed() };
        if seen.kept_few(self.t) {
            return self.of_scan(seen);
        }
        let few = |wanted: &f64| *wanted <= seen.read_per_call * self.t.of(&RETURNED);
        let first = || {
            let idea = self.candidate().filter(|idea| idea.ordered)?;
            Some((idea, self.first(seen).filter(few)?))
        };
        let led = || {
            let (idea, other) =
                self.shape.index_for_join(self.table, self.own, &self.facts.server, self.t)?;
            let wanted = self.led_to(&idea, other).filter(few)?;
            Some((idea, wanted))
        };
        let (idea, kept) = first().or_else(led)?;
        Some(Found { idea: Some(idea), kept, beyond: true, by_scan: None })
    }

    /// Nobody looked: by what statistics and the statement's own rows say.
    fn guessed(&self) -> Option<Found> {
        let kept = self.returned();
        let idea = self.candidate().or_else(|| self.for_few(self.shape, kept / self.rows))?;
        // An aggregate hides how many rows it went through: only statistics say that they are few.
        let few = match self.shape.aggregates {
            true => idea.rows_ratio.is_some_and(|ratio| ratio <= self.t.of(&RETURNED)),
            false => kept <= self.rows * self.t.of(&RETURNED),
        };
        few.then_some(Found { idea: Some(idea), kept, beyond: false, by_scan: None })
    }

    /// The scan itself throws nearly all rows away.
    fn of_scan(&self, seen: &Seen) -> Option<Found> {
        let ratio = seen.kept_per_call / seen.read_per_call.max(1.0);
        let joins = |idea: &IndexIdea| {
            let by = |p: &crate::facts::Predicate| p.join && idea.has(p.attnum, &p.expression);
            self.of_table().predicates.iter().any(by)
        };
        let candidate = self.candidate();
        let own = candidate.clone().filter(|idea| !joins(idea));
        let found =
            |idea, by_scan| Found { idea, kept: seen.kept_per_call, beyond: false, by_scan };
        if let Some(idea) = own.or_else(|| self.for_few(self.shape, ratio)) {
            return Some(found(Some(idea), None));
        }
        // What the statement does besides, its scan has no part in.
        let by_scan = seen.shape(self.table);
        if let Some(idea) = self.for_few(&by_scan, ratio) {
            return Some(found(Some(idea), Some(by_scan)));
        }
        let proven = candidate.is_some()
            || is_unserved(seen, self.own, (self.facts.window.since_us, self.t));
        proven.then(|| found(candidate, None))
    }

    fn candidate(&self) -> Option<IndexIdea> {
        self.shape.candidate_index(self.table, self.own, &self.facts.server, self.t)
    }

    fn for_few(&self, shape: &Shape, ratio: f64) -> Option<IndexIdea> {
        shape.index_for_few(self.table, self.own, &self.facts.server, self.t, ratio)
    }

    fn of_table(&self) -> &TableUse {
        &self.shape.tables[self.place]
    }

    /// Rows that an execution returns or changes.
    #[allow(clippy::cast_precision_loss)]
    fn returned(&self) -> f64 {
        self.s.rows as f64 / self.s.calls as f64
    }

    /// Rows at the beginning of an order among which those are that the statement returns; `None` where it is not known
    /// how many it skips, and where other tables say which rows are wanted.
    #[allow(clippy::cast_precision_loss)]
    fn first(&self, seen: &Seen) -> Option<f64> {
        let one = self.of_table();
        let mut others = self.shape.tables.iter().enumerate().filter(|(i, _)| *i != self.place);
        let picks = |u: &TableUse| u.predicates.iter().any(|p| !p.join);
        if !one.first_rows || one.repeated || others.any(|(_, u)| picks(u)) {
            return None;
        }
        let skipped = match &self.shape.offset {
            Some(offset) => offset.rows?.max(0) as f64,
            None => 0.0,
        };
        // What the scan threw away stands in the order too.
        let passes = seen.kept_per_call / seen.read_per_call.max(1.0);
        Some((self.returned() + skipped) / passes)
    }

    /// Rows that another table leads to: as many as are returned, if nothing hides how many these are, and not fewer
    /// than the other table's rows have by statistics.
    fn led_to(&self, idea: &IndexIdea, other: u32) -> Option<f64> {
        let hidden = self.shape.bounded || self.shape.aggregates;
        let returned = Some(self.returned()).filter(|_| !hidden);
        let each = idea.rows_ratio.map(|ratio| ratio * self.rows);
        let led = self.rows_of(other).zip(each).map(|(leading, each)| leading * each);
        match (returned, led) {
            (Some(returned), Some(led)) => Some(returned.max(led)),
            (returned, led) => returned.or(led),
        }
    }

    /// Rows of another table that the statement's own conditions leave: one by a unique key, else what its scans kept.
    fn rows_of(&self, other: u32) -> Option<f64> {
        let mut uses = self.shape.tables.iter().filter(|u| u.oid == other);
        if uses.any(|one| is_by_unique_key(one, self.facts)) {
            return Some(1.0);
        }
        let table = self.facts.tables.iter().flatten().find(|table| table.oid == other)?;
        let led = |e: &crate::facts::Evidence| {
            e.node.conditions.iter().any(|c| c.usage == Use::Join.name())
        };
        let own = self.facts.evidence.iter().flatten().filter(|e| {
            e.statement_id == self.s.statement_id
                && e.statement_samples >= ENOUGH
                && e.table == table.name
                && e.kind().is_some_and(|kind| (Kind::SeqScan..=Kind::BitmapScan).contains(&kind))
                && !led(e)
        });
        // Where each of several processes reads all of a table, for a hash table of its own, the same rows are counted
        // for each of them.
        let often = |e: &crate::facts::Evidence| {
            let whole = super::rows_of(table).filter(|_| e.kind() == Some(Kind::SeqScan));
            let read = e.per_call(Slot::Read).zip(whole);
            read.map_or(1.0, |(read, rows)| (read / rows).max(1.0))
        };
        own.filter_map(|e| Some(e.per_call(Slot::Kept)? / often(e))).reduce(|a, b| a + b)
    }
}

/// Whether all columns of a unique key are compared with one value each.
fn is_by_unique_key(one: &TableUse, facts: &Facts) -> bool {
    let equal = |attnum: i16| {
        let by =
            |p: &crate::facts::Predicate| p.attnum == attnum && p.test == Test::Equal && !p.join;
        attnum > 0 && one.predicates.iter().any(by)
    };
    facts.indexes.iter().flatten().any(|index| {
        index.table == one.oid
            && index.unique
            && index.valid
            && index.predicate.is_none()
            && !index.unread
            && !index.key.is_empty()
            && index.key.iter().all(|part| equal(part.attnum))
    })
}

/// Whether executions prove that a scan throws nearly all rows away by expressions that no index is on, or by comparisons
/// that only an index of the wanted rows alone, or several together, would serve.
fn is_unserved(seen: &Seen, own: &[Index], (since_us, t): (i64, &Thresholds)) -> bool {
    let lacks =
        |one: &Computed| !own.iter().any(|index| may_serve(index, &one.expression, since_us));
    let partial = own.iter().any(|index| index.unread || index.predicate.is_some());
    let odd = !partial && !seen.odd.is_empty();
    let searched = |(column, ..): &(String, String, Patterned)| {
        own.iter().any(|index| may_serve(index, column, since_us))
    };
    let odd = odd || seen.patterned.iter().any(|one| !searched(one));
    seen.kept_few(t) && (odd || seen.computed.iter().any(lacks))
}
