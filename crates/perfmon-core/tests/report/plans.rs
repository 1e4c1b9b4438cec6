//! Plans and better forms of the shop's statements.

use perfmon_core::finding::Severity;
use perfmon_core::report::{Flip, Plan, Rewrite, Side};

use crate::samples::{DAY, MINUTE, NOON};

pub(crate) fn scanned(table: &str, read: &str, kept: i64) -> String {
    format!("A seq scan of {table} reads {read} rows per execution and keeps {kept}.")
}

pub(crate) fn sorted() -> Plan {
    Plan {
        plan_id: 77,
        since_us: NOON - 3 * DAY,
        heaviest_node: Some("Seq Scan on orders".to_owned()),
        heaviest_cost_ratio: None,
        beside: 2,
        text: Some(
            "Sort  (cost=2472.83..2472.85 rows=5 width=23)\n  ->  Seq Scan on orders".to_owned(),
        ),
    }
}

pub(crate) fn flip() -> Flip {
    let side = |plan_id, node: &str, mean_ms| Side {
        plan_id,
        heaviest_node: Some(node.to_owned()),
        mean_ms: Some(mean_ms),
    };
    Flip {
        at_us: NOON - 40 * MINUTE + 440_923,
        before: side(7, "Index Scan using customers_lower_idx on customers", 0.031),
        after: side(4_093_122_881, "Seq Scan on customers", 19.8),
    }
}

fn rewrite(id: i64, kind: &str, title: &str, query: &str) -> Rewrite {
    Rewrite {
        statement_id: id,
        kind: format!("rewrite_{kind}"),
        severity: Severity::Warning,
        title: format!("Statement {id} {title}"),
        query: Some(query.to_owned()),
        table: Some("public.orders".to_owned()),
        expression: None,
        better_form: None,
        same_meaning: false,
        reason: String::new(),
        remedy: String::new(),
        statement: None,
        effect: "About 13 blocks instead of 612 per execution: at most 15.2 min less per hour"
            .into(),
        saved_ms_per_hour: Some(912_000.0),
        share_ratio: Some(0.435),
        mean_exec_ms: Some(19.8),
        calls: 53_867,
    }
}

pub(crate) fn searched(query: &str) -> Rewrite {
    Rewrite {
        expression: Some("lower(email) = lower($1)".to_owned()),
        same_meaning: true,
        reason: "An index changes no result.".to_owned(),
        remedy: "Make an index on the expression.".to_owned(),
        statement: Some("CREATE INDEX CONCURRENTLY ON public.customers (lower(email));".to_owned()),
        ..rewrite(
            30,
            "function_on_column",
            "compares an expression on public.customers.email",
            query,
        )
    }
}

pub(crate) fn grown(query: &str) -> Rewrite {
    Rewrite {
        better_form: Some("customer_id NOT IN (`odd`)".to_owned()),
        reason: "NULLs are told apart".to_owned(),
        ..rewrite(31, "not_in", "seeks what is NOT IN a subquery of public.orders", query)
    }
}

pub(crate) fn paged(query: &str) -> Rewrite {
    Rewrite {
        better_form: Some("placed_at >= $2".to_owned()),
        expression: Some("date_trunc('day'::text, placed_at) >= $2".to_owned()),
        same_meaning: true,
        reason: "The bound is the start of a day".to_owned(),
        ..rewrite(
            31,
            "function_on_column",
            "compares an expression on public.orders.placed_at",
            query,
        )
    }
}

pub(crate) fn plan() -> Plan {
    Plan {
        plan_id: 4_093_122_881,
        since_us: NOON - 40 * MINUTE + 440_923,
        heaviest_node: Some("Seq Scan on customers".to_owned()),
        heaviest_cost_ratio: Some(0.98),
        beside: 0,
        text: Some(
            "Limit  (cost=0.00..41.20 rows=1 width=72)\n  ->  Seq Scan on customers  (cost=0.00..4120.00 rows=100 width=72)\n        Filter: (lower(email) = $1)"
                .to_owned(),
        ),
    }
}
