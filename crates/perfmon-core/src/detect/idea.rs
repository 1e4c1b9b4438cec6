//! The index that would serve a statement's conditions on one table, from the statement's shape and the
//! planner's statistics. It proposes, it does not measure: whether the statement is worth an index is
//! for the detector that asks.

use crate::facts::{Index, Predicate, Server, Shape, Table, TableUse, Test};
use crate::threshold::{Threshold, Thresholds};

mod parts;
mod same;
mod served;
#[cfg(test)]
mod tests;

pub use parts::{IndexIdea, Method, Need, Part};
pub(super) use same::{may_be, may_serve, same};

/// Most columns of an index that is proposed.
pub const COLUMNS: Threshold = Threshold {
    name: "index_idea_columns",
    default: 3.0,
    range: (1.0, 32.0),
    what: "most columns of an index that is proposed",
    origin: "each further column makes the index larger and rarely leaves fewer rows",
};
/// No column is added to a key that leaves so few rows.
pub const ENOUGH_ROWS: Threshold = Threshold::new(
    "index_idea_enough_rows",
    10.0,
    "a key that leaves so few rows by the planner's statistics gets no further column",
    "so few rows are read from a page or a few",
);
/// Largest share of the rows for which an index is proposed.
pub const ROWS_RATIO: Threshold = Threshold::ratio(
    "index_idea_rows_ratio",
    0.1,
    "largest share of a table's rows that an index is proposed for",
    "PostgreSQL reads a table whole when it wants much more of it",
);
/// A range of a column of fewer values is no part of an index.
pub const RANGE_VALUES: Threshold = Threshold::new(
    "index_idea_range_values",
    10.0,
    "distinct values of a column below which a range of it is not added to an index",
    "pg_perfmon: a range at one end is taken for a third of the values, each for a tenth of the rows",
);
/// What the proposals compare with.
pub static THRESHOLDS: &[Threshold] = &[COLUMNS, ENOUGH_ROWS, ROWS_RATIO, RANGE_VALUES];

/// What the planner assumes of a condition about which it has no statistics.
const ASSUMED_EQUAL: f64 = 0.005;
/// Of a range open at one end.
const ASSUMED_RANGE: f64 = 1.0 / 3.0;
/// Of a range with two ends, and of a pattern.
const ASSUMED_NARROW: f64 = 0.005;
/// Values that it assumes in a list that it cannot see.
const ASSUMED_LIST: f64 = 10.0;

impl Shape {
    /// The index that the statement lacks on a table, if its conditions are such that one would serve and
    /// none of `indexes` does already.
    pub fn candidate_index(
        &self,
        table: &Table,
        indexes: &[Index],
        server: &Server,
        thresholds: &Thresholds,
    ) -> Option<IndexIdea> {
        self.idea(table, indexes, server, thresholds, None)
    }

    /// The same for a statement that was seen to keep a share of the table's rows: the planner's number of
    /// values takes each for as frequent as the others, and so knows nothing of rare ones, such as a few
    /// orders that are open among many that are closed. Only where nothing but conditions that a btree
    /// can use, all of which it was asked for, can be why so few were kept.
    pub fn index_for_few(
        &self,
        table: &Table,
        indexes: &[Index],
        server: &Server,
        thresholds: &Thresholds,
        seen: f64,
    ) -> Option<IndexIdea> {
        let [one] = self.tables.as_slice() else { return None };
        let tells = |p: &Predicate| {
            use Test::{Between, Equal, In, Null, Range};
            !p.join && matches!(p.test, Equal | In | Null | Range | Between)
        };
        let narrowed = one.predicates.iter().all(tells) && !one.repeated && !one.first_rows;
        if self.bounded || self.aggregates || !narrowed || seen > thresholds.of(&ROWS_RATIO) {
            return None;
        }
        self.idea(table, indexes, server, thresholds, Some(seen))
    }

    /// The index by which rows are looked up that another table leads to, with that table's oid (0 when it is no table),
    /// whatever conditions on the table itself leave of it.
    pub fn index_for_join(
        &self,
        table: &Table,
        indexes: &[Index],
        server: &Server,
        thresholds: &Thresholds,
    ) -> Option<(IndexIdea, u32)> {
        let mut advisers = self.advisers((table, indexes), server, thresholds, None);
        advisers.find_map(|adviser| adviser.joined(&adviser.constant()))
    }

    fn idea(
        &self,
        table: &Table,
        indexes: &[Index],
        server: &Server,
        thresholds: &Thresholds,
        seen: Option<f64>,
    ) -> Option<IndexIdea> {
        let mut advisers = self.advisers((table, indexes), server, thresholds, seen);
        advisers.find_map(|adviser| adviser.idea())
    }

    fn advisers<'a>(
        &'a self,
        (table, indexes): (&'a Table, &'a [Index]),
        server: &'a Server,
        thresholds: &'a Thresholds,
        seen: Option<f64>,
    ) -> impl Iterator<Item = Adviser<'a>> {
        let uses = self.tables.iter().enumerate();
        uses.filter(|(_, one)| one.oid == table.oid && one.read).map(move |(place, one)| {
            let driven = one.repeated
                || self.tables.iter().enumerate().any(|(i, u)| {
                    i != place && u.predicates.iter().any(|p| !p.join && p.test != Test::Other)
                });
            Adviser { table, indexes, server, thresholds, one, driven, seen }
        })
    }
}

struct Adviser<'a> {
    table: &'a Table,
    indexes: &'a [Index],
    server: &'a Server,
    thresholds: &'a Thresholds,
    one: &'a TableUse,
    /// Something picks the rows that this table is joined to.
    driven: bool,
    /// Share of the rows that its conditions were seen to leave.
    seen: Option<f64>,
}

/// A btree key and what it comes to.
struct Key {
    parts: Vec<Part>,
    /// How many of the first parts are compared for equality.
    equal: usize,
    ratio: f64,
    /// The ratio rests on statistics alone.
    known: bool,
    ordered: bool,
}

impl<'a> Adviser<'a> {
    fn constant(&self) -> Vec<&'a Predicate> {
        self.one.predicates.iter().filter(|p| !p.join).collect()
    }

    fn idea(&self) -> Option<IndexIdea> {
        let constant = self.constant();
        let own = self.key(&constant, true);
        // The order alone finds rows that match a rare pattern by reading all of them.
        let order_alone = own.equal == 0 && own.ordered;
        if order_alone && let Some(idea) = self.special(&constant) {
            return Some(idea);
        }
        if self.helps(&own) {
            // What narrows the statement at its beginning; where it is there, joins come next.
            if !self.is_served(&own, &constant) {
                return Some(self.btree(own));
            }
        } else if let Some(idea) = self.special(&constant) {
            return Some(idea);
        }
        self.joined(&constant).map(|(idea, _)| idea)
    }

    fn helps(&self, key: &Key) -> bool {
        let ratio = self.seen.map_or(key.ratio, |seen| seen.min(key.ratio));
        let few = ratio <= self.thresholds.of(&ROWS_RATIO);
        !key.parts.is_empty() && (few || (key.ordered && self.one.first_rows))
    }

    fn btree(&self, key: Key) -> IndexIdea {
        IndexIdea {
            table: self.table.oid,
            method: Method::Btree,
            rows_ratio: key.known.then_some(key.ratio),
            ordered: key.ordered,
            key: key.parts,
            needs: None,
        }
    }

    /// A key for looking the table up from another one, which comes with it.
    fn joined(&self, constant: &[&'a Predicate]) -> Option<(IndexIdea, u32)> {
        let joins = self.one.predicates.iter().filter(|p| p.join && p.test.is_equality());
        let mut others: Vec<u32> = joins.clone().map(|p| p.other).collect();
        others.sort_unstable();
        others.dedup();
        others.into_iter().filter(|&other| self.driven || other == 0).find_map(|other| {
            let mut wanted: Vec<_> = joins.clone().filter(|p| p.other == other).collect();
            wanted.extend(constant.iter().filter(|p| p.test.is_equality()));
            let key = self.key(&wanted, false);
            (self.helps(&key) && !self.is_served(&key, &wanted)).then(|| (self.btree(key), other))
        })
    }

    /// Equalities, those of joins first, then the most selective; behind them the order or one range.
    fn key(&self, predicates: &[&Predicate], with_order: bool) -> Key {
        let most = self.thresholds.of(&COLUMNS) as usize;
        let mut equals: Vec<(&Predicate, Estimate)> = Vec::new();
        let mut candidates: Vec<_> = predicates
            .iter()
            .filter(|p| p.test.is_equality() || p.test == Test::Null)
            .map(|p| (*p, self.estimate(p)))
            .collect();
        candidates.sort_by(|(a, x), (b, y)| b.join.cmp(&a.join).then(x.ratio.total_cmp(&y.ratio)));
        for (predicate, estimate) in candidates {
            if !equals.iter().any(|(known, _)| alike(known, predicate)) {
                equals.push((predicate, estimate));
            }
        }
        let mut key = Key { parts: Vec::new(), equal: 0, ratio: 1.0, known: true, ordered: false };
        let mut single = true;
        for &(predicate, estimate) in &equals {
            // A column in which nearly all rows are alike tells them apart for nobody, unless few were
            // seen to be kept, or the first rows in an order are wanted: the order alone would be
            // searched for those that have the value.
            let first = with_order && self.one.first_rows && !self.one.order_by.is_empty();
            let tells = estimate.ratio <= 0.5 || predicate.join || self.seen.is_some() || first;
            if key.parts.len() < most && tells && !self.is_enough(key.ratio) {
                key.parts.push(Part::of(predicate));
                key.add(estimate);
                single &= predicate.test == Test::Equal;
            }
        }
        key.equal = key.parts.len();
        let fixed: Vec<&Predicate> = equals.iter().map(|(p, _)| *p).collect();
        self.add_tail(&mut key, predicates, &fixed, with_order && single);
        key
    }

    fn add_tail(&self, key: &mut Key, all: &[&Predicate], fixed: &[&Predicate], order: bool) {
        let room = (self.thresholds.of(&COLUMNS) as usize).saturating_sub(key.parts.len());
        if room == 0 || self.is_enough(key.ratio) {
            return;
        }
        let range = all
            .iter()
            .filter(|p| matches!(p.test, Test::Range | Test::Between | Test::Prefix))
            .filter(|p| !p.join && !fixed.iter().any(|known| alike(known, p)))
            .filter(|p| self.parts_rows(p))
            .map(|p| (*p, self.estimate(p)))
            .min_by(|(_, x), (_, y)| x.ratio.total_cmp(&y.ratio));
        let tail = if order { self.order(fixed, room) } else { Vec::new() };
        let matching = range.filter(|(p, _)| {
            p.test != Test::Prefix && tail.first().is_some_and(|o| o.is(p.attnum, &p.expression))
        });
        // A range behind the order is still looked at in the index's rows; an order behind a range is lost.
        let in_order = match self.one.first_rows {
            true => !tail.is_empty(),
            false => !tail.is_empty() && key.equal > 0 && (range.is_none() || matching.is_some()),
        };
        if in_order {
            key.parts.extend(tail);
            key.ordered = true;
            if let Some((_, estimate)) = matching {
                key.add(estimate);
            }
        } else if let Some((predicate, estimate)) = range {
            let mut part = Part::of(predicate);
            if predicate.test == Test::Prefix {
                part.opclass = Some("text_pattern_ops".to_owned());
            }
            key.parts.push(part);
            key.add(estimate);
        }
    }

    /// Whether a range of a column can leave few rows: not where they share a few values. A beginning may be
    /// that of none of them.
    fn parts_rows(&self, predicate: &Predicate) -> bool {
        if predicate.test == Test::Prefix {
            return true;
        }
        let column = self.table.columns.iter().find(|c| c.attnum == predicate.attnum);
        let distinct = column.filter(|_| predicate.attnum != 0).and_then(|c| c.distinct);
        distinct.is_none_or(|d| d <= 0.0 || d >= self.thresholds.of(&RANGE_VALUES))
    }

    /// What the rows are ordered by, without what has one value anyway.
    fn order(&self, fixed: &[&Predicate], most: usize) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for order in &self.one.order_by {
            let part = Part {
                expression: order.expression.clone(),
                attnum: order.attnum,
                opclass: None,
                descending: order.descending,
                nulls_first: order.nulls_first,
            };
            let known = fixed.iter().any(|p| part.is(p.attnum, &p.expression));
            if !known && !parts.iter().any(|p| p.is(part.attnum, &part.expression)) {
                parts.push(part);
            }
        }
        parts.truncate(most);
        // A btree is read backwards as well as forwards.
        if parts.iter().all(|p| p.descending && p.nulls_first) {
            for part in &mut parts {
                (part.descending, part.nulls_first) = (false, false);
            }
        }
        parts
    }

    /// For what a btree does not do.
    fn special(&self, constant: &[&Predicate]) -> Option<IndexIdea> {
        let find = |test| constant.iter().copied().find(|p| p.test == test);
        let (predicate, method) = find(Test::Contain)
            .map(|p| (p, Method::Gin))
            .or_else(|| find(Test::Overlap).map(|p| (p, Method::Gist)))
            .or_else(|| find(Test::Pattern).map(|p| (p, Method::Gin)))?;
        let mut part = Part::of(predicate);
        let mut needs = None;
        if predicate.test == Test::Pattern {
            let server = self.server;
            let has = |name: &str| name == "pg_trgm";
            let installed = server.extensions.iter().any(|(name, _)| has(name));
            let available = installed || server.available_extensions.iter().any(|name| has(name));
            part.opclass =
                Some(server.trigram_opclass.clone().unwrap_or_else(|| "gin_trgm_ops".to_owned()));
            needs = Some(Need { extension: "pg_trgm", installed, available });
        }
        if self.is_covered(predicate) {
            return None;
        }
        Some(IndexIdea {
            table: self.table.oid,
            method,
            key: vec![part],
            rows_ratio: None,
            ordered: false,
            needs,
        })
    }

    fn is_enough(&self, ratio: f64) -> bool {
        self.table.rows.is_some_and(|rows| rows * ratio <= self.thresholds.of(&ENOUGH_ROWS))
    }

    /// Share of the rows that a condition leaves.
    fn estimate(&self, predicate: &Predicate) -> Estimate {
        let known = known_share(self.table, predicate);
        let assumed = match predicate.test {
            Test::Equal | Test::In | Test::Null => ASSUMED_EQUAL,
            Test::Range => ASSUMED_RANGE,
            _ => ASSUMED_NARROW,
        };
        let list = if predicate.test == Test::In { ASSUMED_LIST } else { 1.0 };
        let ratio = (known.unwrap_or(assumed) * list).clamp(0.0, 1.0);
        Estimate { ratio, known: known.is_some() && predicate.test != Test::In }
    }
}

#[derive(Debug, Clone, Copy)]
struct Estimate {
    ratio: f64,
    known: bool,
}

impl Key {
    fn add(&mut self, estimate: Estimate) {
        self.ratio *= estimate.ratio;
        self.known &= estimate.known;
    }
}

/// Share of a table's rows that a condition leaves, of a list that one of its values leaves, by the planner's
/// statistics; `None` where these say nothing.
pub(super) fn known_share(table: &Table, predicate: &Predicate) -> Option<f64> {
    let column = table.columns.iter().find(|c| c.attnum == predicate.attnum);
    let column = column.filter(|_| predicate.attnum != 0);
    let nulls = column.and_then(|c| c.null_ratio);
    match predicate.test {
        Test::Equal | Test::In => column
            .and_then(|c| c.distinct)
            .and_then(|distinct| match distinct {
                d if d > 0.0 => Some(d),
                // A share of the rows, so that it grows with them.
                d if d < 0.0 => table.rows.map(|rows| (-d * rows).max(1.0)),
                _ => None,
            })
            .map(|values| (1.0 - nulls.unwrap_or(0.0)) / values),
        Test::Null => nulls,
        _ => None,
    }
}

fn alike(a: &Predicate, b: &Predicate) -> bool {
    same(a.attnum, &a.expression, b.attnum, &b.expression)
}
