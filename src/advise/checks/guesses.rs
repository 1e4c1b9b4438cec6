//! Texts in which constants lost a type that the analyser cannot find.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use crate::advise::checks::*;

    #[pg_test]
    fn constants_whose_types_are_lost() {
        shop();
        let by_key = "customers(region = join)";
        all_say(&[
            // Chosen numbers that are added up or reckoned with.
            (
                "SELECT sum(CASE WHEN status = $1 THEN $2 ELSE $3 END) FROM orders WHERE customer_id = $4",
                "orders(customer_id =) | bounded | aggregates",
            ),
            (
                "SELECT id, CASE WHEN total > $1 THEN $2 ELSE $3 END + $4 FROM orders WHERE customer_id = $5",
                "orders(customer_id =)",
            ),
            (
                "SELECT id, greatest($1, $2) - $3, sum(coalesce($4, $5)) OVER () FROM orders WHERE parent = $6",
                "orders(parent =)",
            ),
            // Lists of values, of which one column is matched and the other is text.
            (
                "SELECT c.id FROM customers c JOIN (VALUES ($1, $2), ($3, $4)) v(k, n) ON v.k = c.region",
                by_key,
            ),
            (
                "SELECT c.id FROM customers c JOIN (VALUES ($1), ($2)) v(region) USING (region)",
                by_key,
            ),
            (
                "UPDATE customers SET name = v.n FROM (VALUES ($1, $2), ($3, $4)) v(k, n) WHERE customers.region = v.k",
                "customers(region = join) written",
            ),
            (
                "SELECT c.id FROM customers c JOIN unnest(ARRAY[$1, $2, $3]) u(k) ON u.k = c.region",
                by_key,
            ),
        ]);
        // A number for each query, and levels that are counted.
        for query in [
            "WITH p AS (SELECT $1 AS k) SELECT id FROM customers, p WHERE customers.region = p.k",
            "SELECT x.id FROM (SELECT $1 AS k) p CROSS JOIN LATERAL (SELECT id FROM customers c WHERE c.region = p.k) x",
            "WITH RECURSIVE t AS (SELECT id, region, $1 AS depth FROM customers WHERE id = $2 UNION ALL \
             SELECT c.id, c.region, t.depth + $3 FROM customers c JOIN t ON c.region = t.id WHERE t.depth < $4) \
             SELECT count(*) FROM t",
        ] {
            let said = said(shape(query));
            assert!(said.contains("customers(region "), "{query}: {said}");
        }
        // Texts stay what they are.
        all_say(&[(
            "SELECT c.id FROM customers c JOIN (VALUES ($1), ($2)) v(k) ON v.k = c.email WHERE region = $3",
            "customers(email = join, region =)",
        )]);
    }
}
