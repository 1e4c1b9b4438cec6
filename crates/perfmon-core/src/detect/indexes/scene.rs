//! The facts about tables and indexes, joined. A partitioned table and a partitioned index stand for all
//! that hangs below them.

use std::collections::HashMap;

use crate::facts::{Activity, Facts, Index, Table};
use crate::threshold::{Threshold, Thresholds};

pub(super) struct Scene<'a> {
    pub(super) facts: &'a Facts,
    pub(super) limits: &'a Thresholds,
    tables: HashMap<u32, &'a Table>,
    children: HashMap<u32, Vec<&'a Table>>,
    indexes: Vec<&'a Index>,
    by_table: HashMap<u32, Vec<&'a Index>>,
    parts: HashMap<u32, Vec<&'a Index>>,
}

impl<'a> Scene<'a> {
    /// `None` when the catalog is not known.
    pub(super) fn of(facts: &'a Facts, limits: &'a Thresholds) -> Option<Self> {
        let tables = facts.tables.as_deref()?;
        let mut scene = Self {
            facts,
            limits,
            tables: tables.iter().map(|t| (t.oid, t)).collect(),
            children: HashMap::new(),
            indexes: facts.indexes.as_deref()?.iter().collect(),
            by_table: HashMap::new(),
            parts: HashMap::new(),
        };
        for table in tables {
            if let Some(parent) = table.parent {
                scene.children.entry(parent).or_default().push(table);
            }
        }
        for index in &scene.indexes {
            scene.by_table.entry(index.table).or_default().push(index);
            if let Some(parent) = index.parent {
                scene.parts.entry(parent).or_default().push(index);
            }
        }
        Some(scene)
    }

    pub(super) fn limit(&self, threshold: &Threshold) -> f64 {
        self.limits.of(threshold)
    }

    pub(super) fn table(&self, oid: u32) -> Option<&'a Table> {
        self.tables.get(&oid).copied()
    }

    /// Indexes that are the user's own to judge, in the order of the facts.
    pub(super) fn judged(&self) -> impl Iterator<Item = &'a Index> {
        self.indexes.iter().copied().filter(|index| {
            !index.of_extension && self.table(index.table).is_some_and(|table| !table.internal)
        })
    }

    /// Indexes of one table.
    pub(super) fn indexes_of(&self, table: u32) -> &[&'a Index] {
        self.by_table.get(&table).map_or(&[], Vec::as_slice)
    }

    /// Parts of a partitioned index, one level down.
    pub(super) fn parts(&self, index: &Index) -> &[&'a Index] {
        self.parts.get(&index.oid).map_or(&[], Vec::as_slice)
    }

    /// Partitions or children, one level down.
    pub(super) fn children(&self, table: u32) -> &[&'a Table] {
        self.children.get(&table).map_or(&[], Vec::as_slice)
    }

    /// The tables that hold the rows: the table itself, or its partitions at whatever depth.
    pub(super) fn leaves(&self, table: &'a Table) -> Vec<&'a Table> {
        let mut open = vec![table];
        let mut found = Vec::new();
        while let Some(table) = open.pop() {
            if table.partitioned {
                open.extend(self.children(table.oid));
            } else {
                found.push(table);
            }
        }
        found
    }

    /// The indexes that hold the entries: the index itself, or its parts at whatever depth.
    pub(super) fn leaf_indexes(&self, index: &'a Index) -> Vec<&'a Index> {
        let mut open = vec![index];
        let mut found = Vec::new();
        while let Some(index) = open.pop() {
            if index.partitioned {
                open.extend(self.parts(index));
            } else {
                found.push(index);
            }
        }
        found
    }

    /// Size with all parts; `None` when that of any is not known.
    pub(super) fn bytes(&self, index: &'a Index) -> Option<i64> {
        self.leaf_indexes(index).iter().map(|leaf| leaf.bytes).sum()
    }

    /// Rows with all partitions, by the planner or else by the statistics system.
    pub(super) fn rows(&self, table: &'a Table) -> Option<f64> {
        let of_one = |t: &&Table| t.rows.or(t.live_rows.map(|rows| rows as f64));
        self.leaves(table).iter().map(of_one).sum()
    }

    /// What happened to a table and its partitions in the window.
    pub(super) fn window(&self, table: u32) -> Option<Activity> {
        self.sum(table, |t| t.window)
    }

    /// What happened over the whole history, or in the window where that is all that is known.
    pub(super) fn history(&self, table: u32) -> Option<Activity> {
        self.sum(table, |t| t.history.or(t.window))
    }

    fn sum(&self, table: u32, part: impl Fn(&Table) -> Option<Activity>) -> Option<Activity> {
        let leaves = self.leaves(self.table(table)?);
        leaves.iter().filter_map(|t| part(t)).reduce(|a, b| Activity {
            seq_scan: a.seq_scan.saturating_add(b.seq_scan),
            seq_tup_read: a.seq_tup_read.saturating_add(b.seq_tup_read),
            idx_scan: a.idx_scan.saturating_add(b.idx_scan),
            n_tup_ins: a.n_tup_ins.saturating_add(b.n_tup_ins),
            n_tup_upd: a.n_tup_upd.saturating_add(b.n_tup_upd),
            n_tup_hot_upd: a.n_tup_hot_upd.saturating_add(b.n_tup_hot_upd),
            n_tup_del: a.n_tup_del.saturating_add(b.n_tup_del),
            ..a
        })
    }

    /// Rows of a table that got new index entries, per hour of the window; `None` where it is too short.
    pub(super) fn writes_per_hour(&self, table: u32) -> Option<f64> {
        let rows = self.window(table).as_ref().map(entries)?;
        crate::detect::rate(self.facts, self.limits, rows as f64)
    }

    /// Whether tables hang below this one that are no partitions: scans of a child's index are not told
    /// from those of the parent's.
    pub(super) fn is_inherited(&self, table: u32) -> bool {
        self.table(table).is_some_and(|t| !t.partitioned) && !self.children(table).is_empty()
    }
}

/// Rows that got an entry in each index: inserts, and updates that had to go to another place.
pub(super) fn entries(activity: &Activity) -> u64 {
    activity
        .n_tup_ins
        .saturating_add(activity.n_tup_upd)
        .saturating_sub(activity.n_tup_hot_upd.min(activity.n_tup_upd))
}

impl Index {
    /// Queries may use it, and nobody is at work on it.
    pub(super) fn usable(&self) -> bool {
        self.valid && self.ready && self.live && !self.being_built
    }

    /// Keeps rows out of the table that must not be in it.
    pub(super) fn enforces(&self) -> bool {
        self.unique || self.primary || self.exclusion || !self.constraints.is_empty()
    }

    /// Something besides queries needs just this one, so that it cannot simply be dropped.
    pub(super) fn bound(&self) -> bool {
        self.primary
            || self.exclusion
            || !self.constraints.is_empty()
            || self.replica_identity
            || self.clustered
            || self.of_extension
            || self.parent.is_some()
    }

    /// All that makes it up is known.
    pub(super) fn readable(&self) -> bool {
        let text = self.predicate.is_some() || self.key.iter().any(|part| part.attnum == 0);
        !(self.unread && text)
    }
}
