//! What results without limit are made of.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use crate::advise::checks::*;

    #[pg_test]
    fn results_without_limit() {
        shop();
        run("CREATE VIEW public.open AS SELECT id FROM public.orders WHERE status = 'open'");
        let result = |query: &str| shape(query).expect(query).result;
        for (query, expected) in [
            ("SELECT id, status FROM orders", "FROM public.orders"),
            (
                "SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.total > 5 ORDER BY o.created_at DESC, c.email",
                "FROM (public.orders o JOIN public.customers c ON ((c.id = o.customer_id))) WHERE (o.total > ($1)::numeric) ORDER BY o.created_at DESC, c.email",
            ),
            ("SELECT * FROM open WHERE id > $1", "FROM public.open WHERE (id > $1)"),
            (
                "SELECT id FROM orders UNION ALL SELECT id FROM customers",
                "SELECT orders.id FROM public.orders UNION ALL SELECT customers.id FROM public.customers",
            ),
            (
                "WITH w AS (SELECT id FROM orders WHERE status = $1) SELECT * FROM w",
                "WITH w AS (SELECT orders.id FROM public.orders WHERE (orders.status = $1)) SELECT FROM w",
            ),
        ] {
            assert_eq!(result(query).as_deref(), Some(expected), "{query}");
        }
        for none in [
            "SELECT id FROM orders LIMIT 5",
            "SELECT count(*) FROM orders",
            "SELECT DISTINCT status FROM orders",
            "SELECT status, count(*) FROM orders GROUP BY status",
            "SELECT 1",
            "DELETE FROM orders",
            "INSERT INTO orders (id) SELECT id FROM customers",
        ] {
            assert_eq!(result(none), None, "{none}");
        }
    }
}
