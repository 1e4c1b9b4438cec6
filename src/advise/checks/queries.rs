//! Statements of several tables and queries.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use crate::advise::checks::*;

    #[pg_test]
    fn joins_of_tables() {
        shop();
        let on = "orders(customer_id = customers); customers(id = orders)";
        all_say(&[
            ("SELECT * FROM orders o JOIN customers c ON c.id = o.customer_id", on),
            ("SELECT * FROM orders o, customers c WHERE c.id = o.customer_id", on),
            (
                "SELECT * FROM orders o JOIN customers c ON c.id = o.customer_id AND c.region = $1 WHERE o.status = $2",
                "orders(customer_id = customers, status =); customers(id = orders, region =)",
            ),
            (
                "SELECT * FROM orders JOIN (SELECT order_id AS id, sku FROM items) i USING (id) WHERE sku = $1",
                "orders(id = items); items(order_id = orders, sku =)",
            ),
            // NATURAL joins on id.
            (
                "SELECT * FROM orders NATURAL JOIN customers",
                "orders(id = customers); customers(id = orders)",
            ),
            (
                "SELECT id FROM orders JOIN customers USING (id) WHERE id = $1",
                "orders(id = customers, id =); customers(id = orders)",
            ),
            (
                "SELECT * FROM orders a JOIN orders b ON b.parent = a.id WHERE a.status = $1",
                "orders(id = orders, status =); orders(parent = orders)",
            ),
        ]);
    }

    #[pg_test]
    fn columns_that_an_update_sets() {
        shop();
        let set = |query: &str| shape(query).unwrap().tables.remove(0).set;
        let twins: [(&str, &[i16]); 6] = [
            ("UPDATE customers SET active = $1, region = region + 1 WHERE id = $2", &[5, 4]),
            ("UPDATE customers c SET (id, email) = ($1, $2)", &[1, 2]),
            (
                "UPDATE customers SET active = o.total > 1 FROM orders o WHERE o.customer_id = customers.id",
                &[5],
            ),
            ("INSERT INTO customers (id, email) VALUES ($1, $2)", &[]),
            ("DELETE FROM customers WHERE id = $1", &[]),
            ("SELECT id FROM customers FOR UPDATE", &[]),
        ];
        for (query, expected) in twins {
            assert_eq!(set(query), expected, "{query}");
        }
    }

    #[pg_test]
    fn columns_that_rows_are_grouped_by() {
        shop();
        let grouped = |query: &str| -> String {
            let tables = shape(query).unwrap().tables;
            let one = |table: &perfmon_core::facts::TableUse| {
                (!table.group_by.is_empty())
                    .then(|| format!("{}({})", name(table.oid), table.group_by.join(", ")))
            };
            tables.iter().filter_map(one).collect::<Vec<_>>().join("; ")
        };
        for (query, expected) in [
            ("SELECT status, count(*) FROM orders GROUP BY status", "orders(status)"),
            ("SELECT DISTINCT region, active FROM customers", "customers(region, active)"),
            (
                "SELECT DISTINCT ON (customer_id) * FROM orders ORDER BY customer_id, id",
                "orders(customer_id)",
            ),
            (
                "SELECT c.region, lower(o.status), sum(o.total) FROM orders o JOIN customers c ON c.id = o.customer_id GROUP BY 1, 2",
                "orders(lower(status)); customers(region)",
            ),
            (
                "SELECT * FROM customers c WHERE c.id IN (SELECT customer_id FROM orders GROUP BY customer_id HAVING count(*) > 3)",
                "orders(customer_id)",
            ),
            (
                "WITH s AS (SELECT sku, sum(price) FROM items GROUP BY sku) SELECT * FROM s WHERE sku > $1",
                "items(sku)",
            ),
            (
                "SELECT status, customer_id, count(*) FROM orders GROUP BY GROUPING SETS ((status), (customer_id))",
                "orders(status, customer_id)",
            ),
            ("SELECT r FROM (SELECT region AS r FROM customers) t GROUP BY r", "customers(region)"),
            ("SELECT count(DISTINCT status) FROM orders", ""),
            ("SELECT status FROM orders ORDER BY status", ""),
            ("SELECT g % 3, count(*) FROM generate_series(1, 9) g GROUP BY 1", ""),
        ] {
            assert_eq!(grouped(query), expected, "{query}");
        }
    }

    #[pg_test]
    fn outer_joins() {
        shop();
        all_say(&[
            // The left side is read whole whatever the right one has.
            (
                "SELECT * FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND c.active",
                "customers; orders(customer_id = customers)",
            ),
            (
                "SELECT * FROM orders o RIGHT JOIN customers c ON o.customer_id = c.id AND o.total > $1",
                "orders(customer_id = customers, total <>); customers",
            ),
            (
                "SELECT * FROM customers c FULL JOIN orders o ON o.customer_id = c.id",
                "customers; orders",
            ),
            (
                "SELECT * FROM customers c LEFT JOIN orders o ON o.customer_id = c.id WHERE o.id IS NULL",
                "customers; orders(customer_id = customers)",
            ),
            (
                "SELECT * FROM customers c LEFT JOIN orders o ON o.customer_id = c.id WHERE o.total > $1 AND c.region = $2",
                "customers(region =); orders(customer_id = customers, total <>)",
            ),
            ("SELECT * FROM orders o JOIN unnest($1::bigint[]) u ON u = o.id", "orders(id = join)"),
            (
                "SELECT * FROM orders o JOIN (VALUES ($1::bigint), ($2)) v (id) USING (id)",
                "orders(id = join)",
            ),
            (
                "SELECT * FROM items i JOIN orders o ON i.order_id = o.id AND i.position = o.customer_id",
                "items(order_id = orders, \"position\" = orders); orders(id = items, customer_id = items)",
            ),
            (
                "SELECT * FROM orders o JOIN customers c ON c.region + o.id = $1",
                "orders(id ? join); customers(region ? join)",
            ),
        ]);
    }

    #[pg_test]
    fn subqueries() {
        shop();
        all_say(&[
            (
                "SELECT * FROM (SELECT * FROM orders WHERE status = $1) s WHERE s.id = $2",
                "orders(id =, status =)",
            ),
            // What a LIMIT lets through is not narrowed from outside.
            ("SELECT * FROM (SELECT * FROM orders LIMIT $1) s WHERE s.id = $2", "orders"),
            (
                "SELECT * FROM (SELECT customer_id, count(*) AS n FROM orders GROUP BY 1) s WHERE customer_id = $1 AND n > $2",
                "orders(customer_id =)",
            ),
            (
                "SELECT * FROM orders WHERE customer_id IN (SELECT id FROM customers WHERE region = $1)",
                "orders(customer_id = customers); customers(region =, id = orders)",
            ),
            (
                "SELECT * FROM orders WHERE customer_id NOT IN (SELECT id FROM customers WHERE region = $1)",
                "orders; customers(region =)",
            ),
            (
                "SELECT * FROM orders o WHERE EXISTS (SELECT FROM items i WHERE i.order_id = o.id AND sku = $1)",
                "orders(id = items); items(order_id = orders, sku =)",
            ),
            (
                "SELECT * FROM orders o WHERE NOT EXISTS (SELECT FROM items i WHERE i.order_id = o.id)",
                "orders; items(order_id = orders)",
            ),
            (
                "SELECT (SELECT sum(price) FROM items i WHERE i.order_id = o.id) FROM orders o WHERE o.status = $1",
                "orders(status =); items(order_id = orders) repeated",
            ),
            (
                "SELECT * FROM orders WHERE total = (SELECT max(price) FROM items)",
                "orders(total =); items by price down first",
            ),
            ("SELECT EXISTS (SELECT FROM orders WHERE id = $1)", "orders(id =) | bounded"),
        ]);
    }

    #[pg_test]
    fn subqueries_in_from() {
        shop();
        all_say(&[
            (
                "SELECT * FROM customers c, LATERAL (SELECT * FROM orders o WHERE o.customer_id = c.id ORDER BY created_at DESC LIMIT $1) l",
                "customers; orders(customer_id = customers) by created_at down first repeated",
            ),
            (
                "SELECT * FROM customers c CROSS JOIN LATERAL (SELECT * FROM orders o WHERE o.customer_id = c.id) l",
                "customers(id = orders); orders(customer_id = customers)",
            ),
            (
                "WITH s AS (SELECT * FROM orders WHERE status = $1) SELECT * FROM s WHERE id = $2",
                "orders(id =, status =)",
            ),
            (
                "WITH s AS MATERIALIZED (SELECT * FROM orders WHERE status = $1) SELECT * FROM s WHERE id = $2",
                "orders(status =)",
            ),
            ("WITH s AS (SELECT * FROM orders) SELECT * FROM s a, s b WHERE a.id = $1", "orders"),
            (
                "WITH RECURSIVE t AS (SELECT id FROM orders WHERE id = $1 UNION ALL SELECT o.id FROM orders o JOIN t ON o.parent = t.id) SELECT * FROM t",
                "orders(id =); orders(parent = join)",
            ),
            (
                "SELECT * FROM orders WHERE id = $1 UNION ALL SELECT * FROM orders WHERE parent = $2",
                "orders(id =); orders(parent =)",
            ),
            (
                "SELECT * FROM (SELECT id, email AS who FROM customers UNION SELECT id, status FROM orders) u WHERE who = $1",
                "customers(email =); orders(status =)",
            ),
            (
                "SELECT * FROM (SELECT id FROM customers EXCEPT SELECT id FROM orders) u WHERE id = $1",
                "customers; orders",
            ),
            (
                "SELECT * FROM (SELECT lower(email) AS mail FROM customers) s WHERE mail = $1",
                "customers(lower(email) =)",
            ),
        ]);
    }

    #[pg_test]
    fn views_are_looked_through() {
        shop();
        run(
            "CREATE VIEW busy AS SELECT o.id, o.created_at, lower(c.email) AS mail FROM orders o JOIN customers c ON c.id = o.customer_id",
        );
        run("CREATE VIEW outermost AS SELECT * FROM busy WHERE created_at IS NOT NULL");
        run("CREATE VIEW plain AS SELECT id AS number, status FROM orders WHERE total > 0");
        run("CREATE MATERIALIZED VIEW kept AS SELECT 1 AS a");
        all_say(&[
            (
                "SELECT * FROM outermost WHERE id = $1 AND mail = $2",
                "orders(id =, created_at ?, customer_id = customers); customers(lower(email) =, id = orders)",
            ),
            ("SELECT * FROM plain WHERE number = $1", "orders(id =, total <>)"),
            ("UPDATE plain SET status = $1 WHERE number = $2", "orders(id =, total <>) written"),
            ("INSERT INTO plain VALUES ($1, $2)", "orders(total <>) written unread"),
            (
                "SELECT * FROM plain ORDER BY number LIMIT $1",
                "orders(total <>) by id first | bounded",
            ),
            ("SELECT * FROM kept WHERE a = $1", "kept(a =)"),
        ]);
    }

    #[pg_test]
    fn statements_that_change() {
        shop();
        run("CREATE TABLE parts (id int, day date) PARTITION BY RANGE (day)");
        run(
            "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2030-01-01')",
        );
        all_say(&[
            ("UPDATE orders SET status = $1 WHERE id = $2", "orders(id =) written"),
            (
                "UPDATE orders o SET status = $1 FROM customers c WHERE c.id = o.customer_id AND c.email = $2",
                "orders(customer_id = customers) written; customers(id = orders, email =)",
            ),
            (
                "DELETE FROM items i USING orders o WHERE o.id = i.order_id AND o.status = $1",
                "items(order_id = orders) written; orders(id = items, status =)",
            ),
            ("DELETE FROM parts WHERE day < $1", "parts(day <>) written"),
            ("INSERT INTO items VALUES ($1, $2, $3, $4)", "items written unread"),
            (
                "INSERT INTO items (order_id) SELECT id FROM orders WHERE status = $1",
                "orders(status =); items written unread",
            ),
            (
                "INSERT INTO items (order_id, position) VALUES ($1, $2) ON CONFLICT (order_id, position) DO UPDATE SET price = $3 WHERE items.sku = $4",
                "items written unread",
            ),
            (
                "MERGE INTO items i USING orders o ON i.order_id = o.id AND o.status = $1 WHEN MATCHED THEN DELETE",
                "orders; items(order_id = orders) written",
            ),
            (
                "WITH gone AS (DELETE FROM orders WHERE id = $1 RETURNING id) DELETE FROM items WHERE order_id IN (SELECT id FROM gone)",
                "orders(id =) written; items(order_id = join) written",
            ),
            ("SELECT * FROM orders WHERE id = $1 FOR UPDATE", "orders(id =)"),
            ("SELECT * FROM orders WHERE id = $1 FOR UPDATE SKIP LOCKED", "orders(id =)"),
        ]);
    }

    #[pg_test]
    fn order_and_size() {
        shop();
        all_say(&[
            ("SELECT * FROM orders ORDER BY created_at", "orders by created_at"),
            (
                "SELECT * FROM orders WHERE customer_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2",
                "orders(customer_id =) by created_at down, id down first | bounded",
            ),
            (
                "SELECT * FROM orders ORDER BY total DESC NULLS LAST FETCH FIRST 5 ROWS ONLY",
                "orders by total down nulls first | bounded",
            ),
            ("SELECT * FROM orders LIMIT NULL", "orders"),
            ("SELECT * FROM orders LIMIT ALL", "orders"),
            (
                "SELECT * FROM customers ORDER BY lower(email) LIMIT $1",
                "customers by lower(email) first | bounded",
            ),
            (
                "SELECT * FROM customers ORDER BY name COLLATE \"C\" LIMIT $1",
                "customers by (name COLLATE \"C\") first | bounded",
            ),
            ("SELECT * FROM customers ORDER BY name USING ~>~ LIMIT $1", "customers | bounded"),
            ("SELECT * FROM customers ORDER BY random() LIMIT $1", "customers | bounded"),
            (
                "SELECT * FROM orders o JOIN customers c ON c.id = o.customer_id ORDER BY o.created_at LIMIT $1",
                "orders(customer_id = customers) by created_at first; customers(id = orders) | bounded",
            ),
            (
                "SELECT * FROM orders o JOIN customers c ON c.id = o.customer_id ORDER BY o.created_at, c.id LIMIT $1",
                "orders(customer_id = customers); customers(id = orders) | bounded",
            ),
            (
                "SELECT count(*) FROM orders WHERE status = $1",
                "orders(status =) | bounded | aggregates",
            ),
            (
                "SELECT status, count(*) FROM orders GROUP BY status ORDER BY status",
                "orders | aggregates",
            ),
            ("SELECT DISTINCT status FROM orders", "orders | aggregates"),
            (
                "SELECT max(created_at) FROM orders WHERE customer_id = $1",
                "orders(customer_id =) by created_at down first | bounded | aggregates",
            ),
            ("SELECT min(total), max(total) FROM orders", "orders | bounded | aggregates"),
            ("SELECT sum(total) FROM orders", "orders | bounded | aggregates"),
            (
                "SELECT max(total) FILTER (WHERE total > $1) FROM orders",
                "orders | bounded | aggregates",
            ),
            ("SELECT * FROM generate_series(1, 10)", ""),
        ]);
    }

    #[pg_test]
    fn queries_inside_of_other_statements() {
        shop();
        all_say(&[
            ("PREPARE p (bigint) AS SELECT * FROM orders WHERE id = $1", "orders(id =)"),
            ("EXPLAIN (ANALYZE) SELECT * FROM orders WHERE id = $1", "orders(id =)"),
            ("DECLARE c CURSOR FOR SELECT * FROM orders WHERE id = $1", "orders(id =)"),
            ("CREATE TABLE copy AS SELECT * FROM orders WHERE id = $1", "orders(id =)"),
            ("EXPLAIN CREATE TABLE copy AS SELECT * FROM orders WHERE id = 1", "orders(id =)"),
            ("SELECT * INTO copy FROM orders WHERE id = $1", "orders(id =)"),
            ("COPY (SELECT * FROM orders WHERE id = 1) TO STDOUT", "orders(id =)"),
            ("COPY orders TO STDOUT", "nothing"),
            ("VACUUM orders", "nothing"),
            ("CALL nobody()", "nothing"),
            ("SELECT 1; SELECT 2", "nothing"),
            ("SELECT * FROM orders WHERE", "nothing"),
            ("", "nothing"),
        ]);
    }

    /// Run, normalised by the server, and read back: the grammar does not take all that comes out.
    #[pg_test]
    fn texts_as_the_server_keeps_them() {
        shop();
        run("CREATE EXTENSION pg_stat_statements");
        run("SET pg_stat_statements.track = 'all'");
        let cases = [
            (
                "SELECT 1 FROM orders WHERE created_at > now() - interval '7 days'",
                "orders(created_at <>)",
            ),
            (
                "SELECT 2.5 FROM orders WHERE placed_on >= date '2020-01-01' - INTERVAL '1' DAY",
                "orders(placed_on <>)",
            ),
            (
                "SELECT 'x' FROM orders WHERE placed_on = timestamp without time zone '2020-01-01 10:00'",
                "orders(placed_on =)",
            ),
            (
                "SELECT sum(total) FROM orders WHERE EXTRACT(year FROM placed_on) = 2020",
                "orders(\"extract\"($1, placed_on) ?) | bounded | aggregates",
            ),
            (
                "SELECT id, status FROM orders WHERE id IN (1, 2, 3) ORDER BY 2 LIMIT 7",
                "orders(id in) by status first | bounded",
            ),
            (
                "SELECT jsonb '{}' FROM orders WHERE data @> '{\"a\": 1}'::jsonb",
                "orders(data contains)",
            ),
            ("SELECT * FROM customers WHERE name LIKE 'a%' ESCAPE '!'", "customers(name like)"),
            (
                "SELECT substring(name FROM 1 FOR 2) FROM customers WHERE region BETWEEN -1 AND 1",
                "customers(region between)",
            ),
            (
                "SELECT CASE WHEN active THEN 'a' ELSE 'b' END FROM customers WHERE born < CURRENT_DATE - 30",
                "customers(born <>)",
            ),
            ("SELECT 1 FROM customers WHERE born - 3 < current_date", "customers((born - $2) ?)"),
            ("SELECT 1 FROM customers WHERE region = 3 + 4 * 5", "customers(region =)"),
            ("SELECT 1 FROM orders JOIN generate_series(1, 10) n ON n = id", "orders(id = join)"),
        ];
        let mut texts = Vec::new();
        for (query, _) in &cases {
            run("SELECT pg_stat_statements_reset()");
            run(query);
            let kept = "SELECT query FROM pg_stat_statements WHERE query ~* 'FROM (orders|customers)' AND query !~ 'pg_stat'";
            texts.push(one::<String>(kept).expect(query));
        }
        let mut wrong = Vec::new();
        for (text, (query, expected)) in texts.iter().zip(&cases) {
            assert!(text.contains("$1"), "{text}");
            let found = said(shape(text));
            if found != *expected {
                wrong.push(format!("{query}\n  {text}\n  {found}\n  {expected}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// Types that a driver told the server, and that the text does not have.
    #[pg_test]
    fn parameters_of_types_that_are_not_known() {
        shop();
        all_say(&[
            ("SELECT 1 FROM orders WHERE created_at > now() - $1", "orders(created_at <>)"),
            (
                "SELECT 1 FROM orders WHERE created_at > CURRENT_TIMESTAMP - $1 AND placed_on::date > CURRENT_DATE - $2 - $3",
                "orders(created_at <>, (placed_on)::date <>)",
            ),
            ("SELECT 1 FROM orders WHERE created_at - $1 < now()", "orders((created_at - $1) ?)"),
            (
                "SELECT 1 FROM orders WHERE placed_on < date_trunc($1, now()::timestamp) - $2",
                "orders(placed_on <>)",
            ),
            ("SELECT $1 + $2 FROM orders WHERE id > $3 * $4", "orders(id <>)"),
            ("SELECT 1 FROM orders WHERE now() - $1 = $2 AND missing", "nothing"),
        ]);
    }
}
