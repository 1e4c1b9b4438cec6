//! Whether an index that is there already does what a proposed one would.

use super::{Adviser, Key, Method, same};
use crate::facts::{Index, KeyPart, Predicate, Test};

/// Operator classes by which a btree finds what begins with a text, in any collation.
const PATTERN_OPCLASSES: [u32; 3] = [4217, 4218, 4219];
/// Collations in which a plain btree does so: "C" and "POSIX".
const BYTEWISE: [u32; 2] = [950, 951];

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
        && pairs().all(|(part, k)| part.opclass.is_none() || finds_prefixes(k))
}

fn finds_prefixes(part: &KeyPart) -> bool {
    PATTERN_OPCLASSES.contains(&part.opclass) || BYTEWISE.contains(&part.collation)
}
