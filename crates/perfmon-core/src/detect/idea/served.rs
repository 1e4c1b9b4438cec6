//! Whether an index that is there already does what a proposed one would.

use super::{Adviser, IndexIdea, Key, Method, Part, same};
use crate::facts::{Index, KeyPart, Predicate, Server, Shape, Table, Test};
use crate::threshold::Thresholds;

/// Operator classes by which a btree finds what begins with a text, in any collation.
const PATTERN_OPCLASSES: [u32; 3] = [4217, 4218, 4219];
/// Collations in which a plain btree does so: "C" and "POSIX".
const BYTEWISE: [u32; 2] = [950, 951];

impl IndexIdea {
    /// Whether a statement would be served by this index, once it is there: it would then lack none on the
    /// table, or quite another one.
    pub fn serves(
        &self,
        shape: &Shape,
        table: &Table,
        indexes: &[Index],
        server: &Server,
        thresholds: &Thresholds,
        seen: f64,
    ) -> bool {
        let lacks = |indexes: &[Index]| {
            shape
                .candidate_index(table, indexes, server, thresholds)
                .or_else(|| shape.index_for_few(table, indexes, server, thresholds, seen))
        };
        let mut after = indexes.to_vec();
        after.push(self.made());
        lacks(indexes).is_some_and(|idea| idea == *self || lacks(&after) != Some(idea))
    }

    /// The index as it will be.
    fn made(&self) -> Index {
        let part = |part: &Part| KeyPart {
            attnum: part.attnum,
            expression: part.expression.clone(),
            // Those that are proposed for a B-tree find prefixes.
            opclass: if part.opclass.is_some() { PATTERN_OPCLASSES[0] } else { 0 },
            descending: part.descending,
            nulls_first: part.nulls_first,
            ..KeyPart::default()
        };
        Index {
            table: self.table,
            method: self.method.word().to_owned(),
            key: self.key.iter().map(part).collect(),
            valid: true,
            ready: true,
            live: true,
            ..Index::default()
        }
    }
}

impl Adviser<'_> {
    fn usable(&self) -> impl Iterator<Item = &Index> {
        self.indexes.iter().filter(|index| {
            index.table == self.table.oid
                && index.valid
                && index.ready
                && index.live
                && index.predicate.is_none()
        })
    }

    /// Whether an index starts with this key, or finds so few rows by what is compared for equality
    /// that no other one would do better.
    pub(super) fn is_served(&self, key: &Key, predicates: &[&Predicate]) -> bool {
        self.usable().any(|index| match index.method.as_str() {
            "btree" => starts_with(index, key) || self.finds_few(index, predicates),
            "hash" => {
                key.parts.len() == 1 && key.equal == 1 && {
                    let part = &key.parts[0];
                    index.key.first().is_some_and(|k| part.is(k.attnum, &k.expression))
                }
            }
            _ => false,
        })
    }

    fn finds_few(&self, index: &Index, predicates: &[&Predicate]) -> bool {
        let mut ratio = 1.0;
        let mut parts = 0;
        for part in &index.key {
            let equal = predicates.iter().find(|p| p.test.is_equality() && is_part(p, part));
            let Some(predicate) = equal else { break };
            ratio *= self.estimate(predicate).ratio;
            parts += 1;
        }
        // Several values of a list are several rows, and few still.
        let single = index.unique && parts == index.key.len() && parts > 0;
        single || (parts > 0 && self.is_enough(ratio))
    }

    /// Whether an index of another kind than btree serves this condition.
    pub(super) fn is_covered(&self, predicate: &Predicate) -> bool {
        self.usable().any(|index| {
            let kinds: &[&str] = match predicate.test {
                Test::Contain => &[Method::Gin.word(), Method::Gist.word(), "rum"],
                Test::Overlap => &[Method::Gist.word(), "spgist", "brin"],
                _ => &[Method::Gin.word(), Method::Gist.word()],
            };
            kinds.contains(&index.method.as_str())
                && index.key.iter().any(|part| is_part(predicate, part))
        })
    }
}

fn is_part(predicate: &Predicate, part: &KeyPart) -> bool {
    same(predicate.attnum, &predicate.expression, part.attnum, &part.expression)
}

/// Whether the index's first parts are the key's: those compared for equality in any order, the others
/// in theirs, read forwards or backwards.
fn starts_with(index: &Index, key: &Key) -> bool {
    let (Some(first), Some(rest)) =
        (index.key.get(..key.equal), index.key.get(key.equal..key.parts.len()))
    else {
        return false;
    };
    let (equal, tail) = key.parts.split_at(key.equal);
    let all = equal.iter().all(|part| first.iter().any(|k| part.is(k.attnum, &k.expression)));
    let pairs = || tail.iter().zip(rest);
    let direction = |flip: bool| {
        pairs().all(|(part, k)| {
            (part.descending != k.descending) == flip && (part.nulls_first != k.nulls_first) == flip
        })
    };
    all && pairs().all(|(part, k)| part.is(k.attnum, &k.expression))
        && (!key.ordered || direction(false) || direction(true))
        // Ranges and orders are those of the type, prefixes those of its bytes.
        && pairs().all(|(part, k)| match part.opclass {
            Some(_) => finds_prefixes(k),
            None => !PATTERN_OPCLASSES.contains(&k.opclass),
        })
}

fn finds_prefixes(part: &KeyPart) -> bool {
    PATTERN_OPCLASSES.contains(&part.opclass) || BYTEWISE.contains(&part.collation)
}
