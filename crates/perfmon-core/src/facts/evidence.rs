//! What plans did, in the executions that were looked into.

use std::collections::HashMap;

use crate::capture::scan::{Counts, Described, Kind, Slot};

/// One node of one statement's plans over the window.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The statement, by its id in this history.
    pub statement_id: i64,
    /// Executions of the statement that were looked into.
    pub statement_samples: u64,
    /// The table that the statement names, as the server quotes it with its schema; empty for none.
    pub table: String,
    /// What it was about.
    pub node: Described,
    /// What it did in these executions.
    pub counts: Counts,
}

/// Fewer executions that were looked into say nothing of those that were not.
pub const ENOUGH: u64 = 2;

impl Evidence {
    /// The kind of node.
    pub fn kind(&self) -> Option<Kind> {
        self.node.kind()
    }

    /// An amount per execution of the statement.
    #[allow(clippy::cast_precision_loss)]
    pub fn per_call(&self, slot: Slot) -> Option<f64> {
        let samples = self.statement_samples.max(self.counts.get(Slot::Executions));
        (samples > 0).then(|| self.counts.get(slot) as f64 / samples as f64)
    }

    /// An amount over all executions, of which there were so many.
    #[allow(clippy::cast_precision_loss)]
    pub fn scaled(&self, slot: Slot, calls: u64) -> Option<f64> {
        self.per_call(slot).map(|amount| amount * calls as f64)
    }

    /// Rows kept of those read.
    #[allow(clippy::cast_precision_loss)]
    pub fn kept_ratio(&self) -> Option<f64> {
        let (read, kept) = (self.counts.get(Slot::Read), self.counts.get(Slot::Kept));
        (read > 0).then(|| kept as f64 / read as f64)
    }
}

/// What sequential scans read of a table by the server's own counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Rows, those of its partitions and children included.
    pub rows: u64,
    /// Its partitions and children, by name.
    pub parts: Vec<String>,
    /// It is one of another table.
    pub is_part: bool,
}

/// Rows of each table that sequential scans read, and that no statement is known to have read, with their share of all
/// rows that such scans read of it; the most first. What statements read is scaled to their calls, an estimate.
#[allow(clippy::cast_precision_loss)]
pub fn unexplained<'a>(
    found: &[Evidence],
    calls: &HashMap<i64, u64>,
    scanned: &'a HashMap<String, Scanned>,
) -> Vec<(&'a str, f64, f64)> {
    let mut explained: HashMap<&str, f64> = HashMap::new();
    let whole = |e: &&Evidence| matches!(e.kind(), Some(Kind::SeqScan | Kind::SampleScan));
    for one in found.iter().filter(whole) {
        let calls = calls.get(&one.statement_id).copied().unwrap_or(0).max(one.statement_samples);
        *explained.entry(&one.table).or_default() += one.scaled(Slot::Read, calls).unwrap_or(0.0);
    }
    let mut rest: Vec<(&str, f64, f64)> = Vec::new();
    for (name, table) in scanned.iter().filter(|(_, table)| !table.is_part) {
        let parts = table.parts.iter().map(String::as_str);
        let names = std::iter::once(name.as_str()).chain(parts);
        let known: f64 = names.filter_map(|name| explained.get(name)).sum();
        let rows = table.rows as f64 - known;
        if rows >= 1.0 {
            rest.push((name, rows, rows / table.rows as f64));
        }
    }
    rest.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    rest
}

/// Schema and table of a name as the server quotes it, without its quotes; `None` where it is not such a name.
pub fn plain(name: &str) -> Option<(String, String)> {
    let (schema, rest) = part(name)?;
    let (table, rest) = part(rest.strip_prefix('.')?)?;
    rest.is_empty().then_some((schema, table))
}

/// The first part of a name, and what is behind it.
fn part(name: &str) -> Option<(String, &str)> {
    let Some(mut rest) = name.strip_prefix('"') else {
        let end = name.find('.').unwrap_or(name.len());
        let (part, rest) = name.split_at(end);
        return (!part.is_empty()).then(|| (part.to_owned(), rest));
    };
    let mut plain = String::new();
    loop {
        let (part, behind) = rest.split_once('"')?;
        plain.push_str(part);
        let Some(more) = behind.strip_prefix('"') else { return Some((plain, behind)) };
        plain.push('"');
        rest = more;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::capture::scan::Condition;

    /// A node as executions of a statement showed it.
    pub(crate) fn evidence(
        statement_id: i64,
        kind: Kind,
        table: &str,
        column: &str,
        samples: u64,
    ) -> Evidence {
        let condition = Condition {
            stage: "filter".to_owned(),
            text: format!("({column} = ?)"),
            expression: Some(column.to_owned()),
            operator: Some("=".to_owned()),
            usage: "equality".to_owned(),
            ..Condition::default()
        };
        let node = Described {
            node: kind.name().to_owned(),
            index: None,
            conditions: vec![condition],
            cut: false,
        };
        let mut counts = Counts::default();
        counts.set(Slot::Executions, samples);
        Evidence { statement_id, statement_samples: samples, table: table.to_owned(), node, counts }
    }

    #[test]
    fn names_without_their_quotes() {
        let both = |name: &str| plain(name);
        let pair = |schema: &str, table: &str| Some((schema.to_owned(), table.to_owned()));
        assert_eq!(both("public.orders"), pair("public", "orders"));
        assert_eq!(both("\"My Shop\".\"Or\"\"d.ers\""), pair("My Shop", "Or\"d.ers"));
        assert_eq!(both("public.\"Orders\""), pair("public", "Orders"));
        for wrong in ["", "orders", "a.b.c", "\"a", "a.", ".a", "\"a\"b.c", "a.\"b\"c"] {
            assert_eq!(both(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn amounts_are_scaled_by_the_executions_that_were_looked_into() {
        let mut one = evidence(1, Kind::SeqScan, "public.t", "a", 4);
        one.statement_samples = 8;
        one.counts.set(Slot::Read, 800);
        one.counts.set(Slot::Kept, 8);
        assert_eq!(one.per_call(Slot::Read), Some(100.0));
        assert_eq!(one.scaled(Slot::Read, 1000), Some(100_000.0));
        assert_eq!(one.kept_ratio(), Some(0.01));
        one.statement_samples = 0;
        assert_eq!(one.per_call(Slot::Read), Some(200.0), "there were at least those of the node");
        one.counts = Counts::default();
        assert_eq!((one.per_call(Slot::Read), one.kept_ratio()), (None, None));
    }
    #[test]
    fn rows_that_no_statement_explains_are_left() {
        let scan = |statement, table: &str, read| {
            let mut one = evidence(statement, Kind::SeqScan, table, "a", 2);
            one.counts.set(Slot::Read, read);
            one
        };
        let table = |rows, parts: &[&str], is_part| {
            let parts = parts.iter().map(|part| (*part).to_owned()).collect();
            Scanned { rows, parts, is_part }
        };
        let scanned: HashMap<String, Scanned> = [
            ("s.whole", table(1_000, &[], false)),
            ("s.none", table(300, &[], false)),
            ("s.most", table(1_000, &[], false)),
            ("s.parted", table(1_000, &["s.part"], false)),
            ("s.part", table(900, &[], true)),
            ("s.idle", table(0, &[], false)),
        ]
        .map(|(name, table)| (name.to_owned(), table))
        .into();
        // 200 rows in two executions each: a hundred a call.
        let mut index = scan(1, "s.none", 200);
        index.node.node = Kind::IndexScan.name().to_owned();
        let found = [
            scan(1, "s.whole", 200),
            scan(2, "s.most", 200),
            scan(2, "s.parted", 100),
            scan(3, "s.part", 200),
            index,
        ];
        let calls = HashMap::from([(1, 12), (2, 4)]);
        let rest = unexplained(&found, &calls, &scanned);
        // Of the third statement nobody knows how often it ran: at least as often as it was seen.
        let expected = [("s.most", 600.0, 0.6), ("s.parted", 600.0, 0.6), ("s.none", 300.0, 1.0)];
        assert_eq!(rest, expected);
    }
}
