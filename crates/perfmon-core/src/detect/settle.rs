//! Findings beside each other: what two of them propose alike is proposed once, and the other one says
//! where. It must never take a finding away: which of them fires tomorrow is not known.

use std::collections::HashMap;

use super::indexes::{self, KEY_WITHOUT};
use super::scans::SCAN;
use super::{rewrite, words};
use crate::facts::{Facts, Table};
use crate::finding::Finding;
use crate::threshold::Thresholds;

/// What a remedy says of the finding whose statement does its work too.
fn points_to(other: &Finding) -> String {
    format!("the finding {} on {}", other.kind, words::name(&other.object))
}

/// Whether a finding leaves its statement to another one.
pub fn leaves_to(finding: &Finding, other: &Finding) -> bool {
    let points = points_to(other);
    finding.remedy.starts_with(&format!("Create the index of {points}:"))
        || finding.remedy.ends_with(&format!(" The statement to run is that of {points}."))
}

/// Has each statement proposed once. Findings come worst first, so that the worse one keeps it; an index
/// that serves a scan is the scan's, even where a better form of a statement wants it more.
pub(super) fn settle(findings: &mut [Finding], facts: &Facts, limits: &Thresholds) {
    // Who has a statement first, and the scans of each table: not every pair is compared.
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut scans: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, finding) in findings.iter().enumerate() {
        if finding.kind == SCAN {
            scans.entry(finding.object.clone()).or_default().push(at);
        }
    }
    // A form that could be written better is a reason more for an index, not the first.
    let mut order: Vec<usize> = (0..findings.len()).collect();
    order.sort_by_key(|&at| rewrite::KINDS.contains(&findings[at].kind.as_str()));
    for at in order {
        let finding = &findings[at];
        let scan = scans.get(&finding.object).into_iter().flatten().map(|scan| &findings[*scan]);
        let remedy = if let Some(scan) =
            scan.clone().find(|scan| serves_key(scan, finding, facts, limits))
        {
            format!("Create the index of {}: it serves this foreign key too.", points_to(scan))
        } else {
            let Some(statement) = &finding.statement else { continue };
            let keeper = *first.entry(statement.clone()).or_insert(at);
            // Of one kind each concerns another object, whose finding is complete in itself.
            if keeper == at || findings[keeper].kind == finding.kind {
                continue;
            }
            let points = points_to(&findings[keeper]);
            format!("{} The statement to run is that of {points}.", finding.remedy)
        };
        findings[at].statement = None;
        findings[at].remedy = remedy;
    }
}

/// Whether the index that a scan lacks serves a foreign key too: its first columns are those of the key,
/// or the first is one of them that leaves only a few rows for a value.
fn serves_key(scan: &Finding, key: &Finding, facts: &Facts, limits: &Thresholds) -> bool {
    let both = scan.kind == SCAN && key.kind == KEY_WITHOUT && scan.object == key.object;
    let Some(sql) = scan.statement.as_deref().filter(|_| both) else { return false };
    // Another method than btree stands between the two.
    let Some((_, rest)) = sql.split_once(&format!(" ON {} (", scan.object)) else { return false };
    let Some(list) = rest.strip_suffix(");") else { return false };
    let (index, mut wanted) = (columns(list), columns(&key.subject));
    if let Some(first) = index.first().filter(|first| wanted.contains(first)) {
        let table = facts.tables.iter().flatten().find(|table| table.name == key.object);
        let column = table.and_then(|table| table.columns.iter().find(|c| c.name == *first));
        let narrows = |distinct, table: &Table| indexes::narrows(distinct, table.rows, limits);
        if column.zip(table).is_some_and(|(column, table)| narrows(column.distinct, table)) {
            return true;
        }
    }
    let Some(first) = index.get(..wanted.len()) else { return false };
    let mut first = first.to_vec();
    first.sort_unstable();
    wanted.sort_unstable();
    !wanted.is_empty() && first == wanted
}

/// The items of a list, parted at commas that are neither quoted nor in parentheses.
fn columns(list: &str) -> Vec<&str> {
    let (mut items, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0_i32, false);
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth -= 1,
            b',' if !quoted && depth == 0 => {
                items.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(list[start..].trim());
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Column;
    use crate::finding::Severity;

    fn scan(columns: &str) -> Finding {
        let mut finding = Finding::new(SCAN, Severity::Warning, "public.orders", "t", "r", "m");
        let sql = format!("CREATE INDEX CONCURRENTLY ON public.orders ({columns});");
        finding.statement = Some(sql);
        finding
    }

    fn key(columns: &str) -> Finding {
        let kind = KEY_WITHOUT;
        let mut finding = Finding { kind: kind.to_owned(), ..scan(columns) };
        finding.subject = columns.to_owned();
        finding
    }

    fn settle(findings: &mut [Finding]) {
        super::settle(findings, &Facts::default(), &Thresholds::default());
    }

    fn statements(findings: &[Finding]) -> Vec<bool> {
        findings.iter().map(|f| f.statement.is_some()).collect()
    }

    #[test]
    fn an_index_is_proposed_once() {
        for (of_scan, of_key) in [
            ("customer_id", "customer_id"),
            ("customer_id, created_at DESC", "customer_id"),
            ("b, a, c", "a, b"),
            ("\"a, \"\"b\", c", "\"a, \"\"b\""),
        ] {
            for key_first in [false, true] {
                let mut all = vec![scan(of_scan), key(of_key)];
                if key_first {
                    all.reverse();
                }
                settle(&mut all);
                assert_eq!(statements(&all), [!key_first, key_first], "{of_scan} {of_key}");
                let (told, other) = if key_first { (&all[0], &all[1]) } else { (&all[1], &all[0]) };
                assert!(told.remedy.contains("the finding seq_scan on public.orders"), "{told:?}");
                assert!(leaves_to(told, other) && !leaves_to(other, told));
            }
        }
    }

    #[test]
    fn one_column_of_the_key_is_enough_where_it_tells_rows_apart() {
        for (of_scan, distinct, alone) in [
            ("order_no", Some(-1.0), false),
            ("order_no, kind", Some(90_000.0), false),
            ("order_no", Some(20.0), true),
            ("order_no", None, true),
            ("kind, order_no", Some(-1.0), true),
        ] {
            let name = "order_no".to_owned();
            let column = Column { attnum: 2, name, distinct, ..Column::default() };
            let table = Table {
                name: "public.orders".to_owned(),
                rows: Some(90_000.0),
                columns: vec![column],
                ..Table::default()
            };
            let facts = Facts { tables: Some(vec![table]), ..Facts::default() };
            let mut all = vec![scan(of_scan), key("shop, order_no")];
            super::settle(&mut all, &facts, &Thresholds::default());
            assert_eq!(statements(&all), [true, alone], "{of_scan} {distinct:?}");
        }
    }

    #[test]
    fn other_indexes_are_proposed_beside_each_other() {
        for (of_scan, of_key) in [
            ("created_at, customer_id", "customer_id"),
            ("customer_id", "customer_id, kind"),
            ("customer_id DESC", "customer_id"),
            ("customer_id text_pattern_ops", "customer_id"),
            ("(lower(a)), b", "lower(a)"),
            ("\"a\"\", b\"", "\"a\""),
        ] {
            let mut all = vec![scan(of_scan), key(of_key)];
            settle(&mut all);
            assert_eq!(statements(&all), [true, true], "{of_scan} {of_key}");
        }
        let mut all = vec![scan("customer_id"), Finding { object: "s.t".into(), ..key("a") }];
        all[0].statement = Some("CREATE INDEX ON s.t USING gin (a);".to_owned());
        settle(&mut all);
        assert_eq!(statements(&all), [true, true]);
    }

    #[test]
    fn neither_is_lost_when_it_stands_alone() {
        for one in [scan("customer_id"), key("customer_id")] {
            let mut alone = vec![one.clone()];
            settle(&mut alone);
            assert_eq!(alone, [one]);
        }
    }

    #[test]
    fn a_setting_is_proposed_once_by_the_worse_finding() {
        let of = |kind: &str, severity| {
            let mut finding = Finding::new(kind, severity, "o", "t", "r", "m");
            finding.statement = Some("ALTER SYSTEM SET shared_buffers = '4GB';".to_owned());
            finding
        };
        let mut all = vec![
            of("cache_hit_ratio", Severity::Critical),
            of("setting_shared_buffers", Severity::Warning),
        ];
        settle(&mut all);
        assert_eq!(statements(&all), [true, false]);
        assert!(all[1].remedy.ends_with("that of the finding cache_hit_ratio on o."));
    }
}
