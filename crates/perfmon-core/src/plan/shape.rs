//! The identity of a plan, made from the leaves up: kinds of nodes, tables, columns of indexes, and the order of
//! joins. Costs, counts of workers, and how many parts a table has stand for nothing: the parts of one table count
//! as one, in the way in which most of its pages are read. So a part that is added, and is planned in another way
//! while it is new and empty, does not make another plan.
//!
//! Nothing here allocates: it runs at the end of executions.

/// Changes whenever the same plan would get another identity.
const VERSION: u64 = 1;

/// Ways to read the parts of a table that are told apart.
const WAYS: usize = 6;
/// Sets of tables below one node that are told apart.
const GROUPS: usize = 8;

/// A plan, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    hash: u64,
    /// The tables in it, whatever the order.
    tables: u64,
    /// How many pages these have.
    pages: f64,
    /// How many rows the planner expects of it.
    rows: f64,
}

impl Part {
    /// A plan with one subplan more.
    #[must_use]
    pub fn beside(self, subplan: Self) -> Self {
        Self { hash: mix(mix(self.hash, 6), subplan.hash), ..self }
    }

    /// Whether it reads no table.
    pub fn reads_nothing(&self) -> bool {
        self.tables == 0
    }

    /// The identity of the plan of which this is the top: positive, and small enough to be a number everywhere.
    pub fn identity(self) -> i64 {
        // 53 bits are exact in a float, and 0 is no plan.
        ((mix(VERSION, self.hash) >> 11) as i64).max(1)
    }
}

fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

/// A word for a name.
pub const fn word(name: &[u8]) -> u64 {
    let mut hash: u64 = 0xCBF2_9CE4_8422_2325;
    let mut rest = name;
    while let [byte, tail @ ..] = rest {
        hash = (hash ^ *byte as u64).wrapping_mul(0x0100_0000_01B3);
        rest = tail;
    }
    hash
}

/// A node in the making.
#[derive(Debug, Clone, Copy)]
pub struct Node(Part);

impl Node {
    /// A node of a kind.
    pub fn new(kind: u64) -> Self {
        Self(Part { hash: mix(1, kind), tables: 0, pages: 0.0, rows: 0.0 })
    }

    /// Something that tells it from others of its kind.
    #[must_use]
    pub fn with(self, word: u64) -> Self {
        Self(Part { hash: mix(mix(self.0.hash, 2), word), ..self.0 })
    }

    /// The table that it reads: the one that the statement names, whichever part of it this is.
    #[must_use]
    pub fn reads(self, table: u64, pages: f64) -> Self {
        let node = self.with(table);
        let tables = node.0.tables.wrapping_add(mix(3, table));
        Self(Part { tables, pages: node.0.pages + pages.max(0.0), ..node.0 })
    }

    /// How many rows the planner expects of it: no part of what it is, but of how much it weighs.
    #[must_use]
    pub fn gives(self, rows: f64) -> Self {
        Self(Part { rows, ..self.0 })
    }

    /// What is below it, in its order.
    #[must_use]
    pub fn over(self, part: Part) -> Self {
        Self(Part {
            hash: mix(mix(self.0.hash, 4), part.hash),
            tables: self.0.tables.wrapping_add(part.tables),
            pages: self.0.pages + part.pages,
            rows: self.0.rows,
        })
    }

    /// The whole of it.
    pub fn done(self) -> Part {
        self.0
    }
}

/// One way to read the parts of a table.
#[derive(Debug, Clone, Copy)]
struct Way {
    hash: u64,
    pages: f64,
    /// Of the part of which most are expected.
    rows: f64,
    parts: u32,
}

/// Parts with the same tables.
#[derive(Debug, Clone, Copy)]
struct Group {
    tables: u64,
    pages: f64,
    ways: [Way; WAYS],
    used: usize,
}

impl Group {
    const EMPTY: Self = Self {
        tables: 0,
        pages: 0.0,
        ways: [Way { hash: 0, pages: 0.0, rows: 0.0, parts: 0 }; WAYS],
        used: 0,
    };

    fn add(&mut self, part: Part) {
        self.pages += part.pages;
        let known = self.ways[..self.used].iter().position(|way| way.hash == part.hash);
        let at = match known {
            Some(at) => at,
            None if self.used < WAYS => {
                self.ways[self.used] = Way { hash: part.hash, pages: 0.0, rows: 0.0, parts: 0 };
                self.used += 1;
                self.used - 1
            }
            None => return,
        };
        self.ways[at].pages += part.pages;
        self.ways[at].rows = self.ways[at].rows.max(part.rows);
        self.ways[at].parts += 1;
    }

    /// The way in which most pages are read. Where no part has any, as nobody has looked at them yet, that of the part
    /// of which most rows are expected: the planner asks how long a table is, and empty ones may be many.
    fn main(&self) -> Way {
        let order = |a: &&Way, b: &&Way| {
            let by_rows = a.rows.total_cmp(&b.rows).then(a.parts.cmp(&b.parts));
            a.pages.total_cmp(&b.pages).then(by_rows).then(a.hash.cmp(&b.hash))
        };
        let none = Way { hash: 0, pages: 0.0, rows: 0.0, parts: 0 };
        self.ways[..self.used].iter().max_by(order).copied().unwrap_or(none)
    }
}

/// What one node reads one after the other: parts of a table, or branches of a union.
#[derive(Debug, Clone)]
pub struct Several {
    groups: [Group; GROUPS],
    used: usize,
    rest: u64,
}

impl Default for Several {
    fn default() -> Self {
        Self { groups: [Group::EMPTY; GROUPS], used: 0, rest: 0 }
    }
}

impl Several {
    /// One more.
    pub fn add(&mut self, part: Part) {
        let known = self.groups[..self.used].iter().position(|group| group.tables == part.tables);
        let at = match known {
            Some(at) => at,
            None if self.used < GROUPS => {
                self.groups[self.used] = Group { tables: part.tables, ..Group::EMPTY };
                self.used += 1;
                self.used - 1
            }
            None => {
                self.rest = self.rest.wrapping_add(mix(5, part.tables));
                return;
            }
        };
        self.groups[at].add(part);
    }

    /// The whole: a table whose parts are all that there is counts as if it had no parts. `None` when
    /// nothing was added.
    pub fn done(&self, kind: u64) -> Option<Part> {
        let part = |group: &Group| {
            let Way { hash, rows, .. } = group.main();
            Part { hash, tables: group.tables, pages: group.pages, rows }
        };
        match &self.groups[..self.used] {
            [] => None,
            [one] => Some(part(one)),
            more => {
                let node = more.iter().fold(Node::new(kind), |node, group| node.over(part(group)));
                Some(if self.rest == 0 { node.done() } else { node.with(self.rest).done() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEQ: u64 = 1;
    const INDEX: u64 = 2;
    const BITMAP: u64 = 3;
    const JOIN: u64 = 4;
    const APPEND: u64 = 5;
    const GATHER: u64 = 6;

    fn scan(kind: u64, table: &str, pages: f64) -> Part {
        Node::new(kind).reads(word(table.as_bytes()), pages).done()
    }

    fn by_index(table: &str, columns: &[&str], pages: f64) -> Part {
        let node = columns.iter().fold(Node::new(INDEX), |n, c| n.with(word(c.as_bytes())));
        node.reads(word(table.as_bytes()), pages).done()
    }

    fn join(left: Part, right: Part) -> Part {
        Node::new(JOIN).with(0).over(left).over(right).done()
    }

    fn append(parts: &[Part]) -> Part {
        let mut several = Several::default();
        parts.iter().for_each(|part| several.add(*part));
        several.done(APPEND).unwrap()
    }

    fn id(part: Part) -> i64 {
        part.identity()
    }

    #[test]
    fn other_nodes_tables_columns_and_orders_are_other_plans() {
        let orders = scan(SEQ, "public.orders", 10.0);
        let items = scan(SEQ, "public.items", 20.0);
        let plans = [
            id(orders),
            id(items),
            id(scan(BITMAP, "public.orders", 10.0)),
            id(by_index("public.orders", &["id"], 10.0)),
            id(by_index("public.orders", &["id", "day"], 10.0)),
            id(by_index("public.orders", &["day", "id"], 10.0)),
            id(join(orders, items)),
            id(join(items, orders)),
            id(Node::new(JOIN).with(1).over(orders).over(items).done()),
            id(Node::new(GATHER).over(orders).done()),
            id(append(&[orders, items])),
            id(orders.beside(items)),
            id(orders.beside(items).beside(items)),
        ];
        let distinct: std::collections::BTreeSet<i64> = plans.into_iter().collect();
        assert_eq!(distinct.len(), plans.len());
        assert!(plans.iter().all(|plan| *plan > 0 && *plan < 1 << 53));
    }

    #[test]
    fn sizes_are_no_part_of_it() {
        assert_eq!(id(scan(SEQ, "t", 10.0)), id(scan(SEQ, "t", 1e9)));
        assert_eq!(id(scan(SEQ, "t", 10.0)), id(scan(SEQ, "t", -1.0)));
    }

    #[test]
    fn parts_of_a_table_are_one_however_many() {
        let old = by_index("m", &["at"], 5000.0);
        let one = id(append(&[old]));
        assert_eq!(one, id(append(&[old, old, old])));
        assert_eq!(one, id(old), "one part left by the planner stands for the table");
        // New parts are empty, and read in the ways of small tables until they are analysed.
        let new = scan(SEQ, "m", 0.0);
        let other = scan(BITMAP, "m", 0.0);
        assert_eq!(one, id(append(&[old, new])));
        assert_eq!(one, id(append(&[new, other, new, new, old])));
        // When most pages are read otherwise, it is another plan.
        let turned = scan(SEQ, "m", 9000.0);
        assert_ne!(one, id(append(&[old, turned])));
        assert_eq!(id(append(&[old, turned])), id(append(&[turned])));
    }

    #[test]
    fn of_parts_that_nobody_looked_at_the_largest_counts() {
        let expected = |kind, rows| Node::new(kind).gives(rows).reads(word(b"m"), 0.0).done();
        for (grown, empty) in [(SEQ, INDEX), (INDEX, SEQ)] {
            let old = expected(grown, 250.0);
            let one = id(append(&[old]));
            assert_eq!(one, id(append(&[old, expected(empty, 11.0)])));
            assert_eq!(one, id(append(&[expected(empty, 11.0), old, expected(empty, 11.0)])));
            // Within another one, as partitions of partitions are.
            let within = append(&[expected(empty, 11.0), old]);
            assert_eq!(one, id(append(&[expected(empty, 12.0), within, expected(empty, 12.0)])));
        }
    }

    #[test]
    fn parts_joined_one_by_one_count_as_one() {
        let pair = |pages| join(scan(SEQ, "a", pages), by_index("b", &["id"], pages));
        assert_eq!(id(append(&[pair(10.0)])), id(append(&[pair(10.0), pair(3.0), pair(0.0)])));
        let odd = join(scan(SEQ, "a", 0.0), scan(SEQ, "b", 0.0));
        assert_eq!(id(append(&[pair(10.0)])), id(append(&[odd, pair(10.0), odd])));
    }

    #[test]
    fn branches_of_a_union_are_no_parts() {
        let (a, b) = (scan(SEQ, "a", 1.0), scan(SEQ, "b", 900.0));
        let by = by_index("a", &["id"], 1.0);
        assert_ne!(id(append(&[a, b])), id(append(&[by, b])));
        assert_ne!(id(append(&[a, b])), id(append(&[b, a])));
        let many: Vec<Part> = (0..20).map(|i| scan(SEQ, &format!("t{i}"), 1.0)).collect();
        assert_ne!(id(append(&many)), id(append(&many[..19])));
    }

    #[test]
    fn ways_beyond_those_that_are_counted_do_not_matter() {
        let mut several = Several::default();
        for kind in 0..100 {
            several.add(scan(kind, "t", if kind == 0 { 50.0 } else { 0.1 }));
        }
        assert_eq!(several.done(APPEND).map(id), Some(id(scan(0, "t", 1.0))));
        assert_eq!(Several::default().done(APPEND), None, "all parts pruned");
    }
}
