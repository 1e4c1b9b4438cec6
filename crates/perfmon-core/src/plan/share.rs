//! Which node of a plan most of its estimated cost stands in.

use serde_json::Value;

/// A node and its own part of the cost, without what is below it.
#[derive(Debug, Clone, PartialEq)]
pub struct Heaviest {
    /// What it does, and to which table: names only.
    pub node: String,
    /// Its part of the whole, from 0 to 1.
    pub share_ratio: f64,
}

/// The heaviest node of a plan that the server printed as JSON, and the whole cost. `None` if that is no plan
/// with costs.
pub fn heaviest(plan: &[u8]) -> Option<(Heaviest, f64)> {
    let value: Value = serde_json::from_str(&String::from_utf8_lossy(plan)).ok()?;
    let top = value.as_array().map_or(&value, |plans| plans.first().unwrap_or(&Value::Null));
    let top = top.get("Plan")?;
    let whole = cost(top)?;
    let mut sum = 0.0;
    let mut best: Option<(&Value, f64)> = None;
    let mut open = vec![top];
    while let Some(node) = open.pop() {
        let below = children(node);
        let lower: f64 = below.iter().filter_map(cost).sum();
        // A node above that ends early costs less than what is below it would.
        let own = (cost(node)? - lower).max(0.0);
        sum += own;
        if best.is_none_or(|(_, most)| own > most) {
            best = Some((node, own));
        }
        open.extend(below);
    }
    let (node, own) = best?;
    let share_ratio = if sum > 0.0 { own / sum } else { 1.0 };
    Some((Heaviest { node: name(node), share_ratio }, whole))
}

fn children(node: &Value) -> &[Value] {
    node.get("Plans").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn cost(node: &Value) -> Option<f64> {
    node.get("Total Cost").and_then(Value::as_f64)
}

fn name(node: &Value) -> String {
    let word = |key: &str| node.get(key).and_then(Value::as_str);
    let mut name = word("Node Type").unwrap_or("node").to_owned();
    if name == "ModifyTable"
        && let Some(operation) = word("Operation")
    {
        operation.clone_into(&mut name);
    }
    // As EXPLAIN calls it: another plan reads the same table with one process alone.
    if node.get("Parallel Aware").and_then(Value::as_bool) == Some(true) {
        name.insert_str(0, "Parallel ");
    }
    if let Some(index) = word("Index Name") {
        name = format!("{name} using {index}");
    }
    let table =
        word("Relation Name").or_else(|| word("CTE Name")).or_else(|| word("Function Name"));
    match table {
        Some(table) => format!("{name} on {table}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_with_the_most_own_cost_is_named() {
        let plan = br#"[{"Plan": {"Node Type": "Limit", "Total Cost": 50.0, "Plans": [
            {"Node Type": "Hash Join", "Total Cost": 120.0, "Plans": [
                {"Node Type": "Seq Scan", "Relation Name": "orders", "Total Cost": 90.0},
                {"Node Type": "Index Scan", "Index Name": "i", "Relation Name": "items", "Total Cost": 10.0}
            ]}]}}]"#;
        let (heaviest, cost) = heaviest(plan).unwrap();
        assert_eq!(heaviest.node, "Seq Scan on orders");
        assert!((heaviest.share_ratio - 0.75).abs() < 1e-9, "{heaviest:?}");
        assert!((cost - 50.0).abs() < 1e-9);
    }

    #[test]
    fn what_has_no_costs_says_nothing() {
        assert_eq!(heaviest(b"[]"), None);
        assert_eq!(heaviest(b"{"), None);
        assert_eq!(heaviest(br#"[{"Plan": {"Node Type": "Result"}}]"#), None);
    }

    #[test]
    fn names_tell_index_and_operation() {
        let one = |json: &str| heaviest(json.as_bytes()).map(|(h, _)| (h.node, h.share_ratio));
        let index = r#"[{"Plan": {"Node Type": "Index Scan", "Index Name": "i", "Relation Name": "t", "Total Cost": 0.0}}]"#;
        assert_eq!(one(index), Some(("Index Scan using i on t".to_owned(), 1.0)));
        let update = r#"[{"Plan": {"Node Type": "ModifyTable", "Operation": "Update", "Relation Name": "t", "Total Cost": 2.0}}]"#;
        assert_eq!(one(update), Some(("Update on t".to_owned(), 1.0)));
        let shared = r#"[{"Plan": {"Node Type": "Seq Scan", "Parallel Aware": true, "Relation Name": "t", "Total Cost": 2.0}}]"#;
        assert_eq!(one(shared), Some(("Parallel Seq Scan on t".to_owned(), 1.0)));
    }
}
