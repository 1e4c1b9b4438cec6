//! Forms that have a better one, and their twins, of which nothing is said.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use std::fmt::Write;

    use pgrx::prelude::*;

    use crate::advise::checks::words::*;
    use crate::advise::checks::*;

    #[pg_test]
    fn functions_around_columns() {
        shop();
        all_have(&[
            (
                "SELECT * FROM orders o WHERE date_trunc('day', o.placed_on) = $1",
                "truncated guessed: date_trunc('day'::text, o.placed_on) = $1 => o.placed_on >= ($1)::timestamp AND o.placed_on <= ($1)::timestamp + interval '1 day' - interval '1 microsecond' AND ($1)::timestamp = date_trunc('day', ($1)::timestamp) [date_trunc('day'::text, placed_on)]",
            ),
            (
                "SELECT * FROM orders WHERE $2 <= date_trunc($1, created_at)",
                "truncated zoned guessed: date_trunc($1, orders.created_at) >= $2 => orders.created_at >= date_trunc($1, ($2)::timestamp with time zone + CASE WHEN $1 ~* '^q' THEN interval '3 months' ELSE ('1 ' || $1)::interval END - interval '1 microsecond')",
            ),
            (
                "SELECT * FROM orders WHERE placed_on::date = $1",
                "dated guessed: (orders.placed_on)::date = $1 => orders.placed_on >= ($1)::date AND orders.placed_on <= ($1)::date + 1 - interval '1 microsecond' [(placed_on)::date]",
            ),
            (
                "SELECT * FROM orders WHERE date(created_at) > current_date - 7",
                "dated zoned: date(orders.created_at) > (CURRENT_DATE - $1) => orders.created_at > (((CURRENT_DATE - $1))::date + 1)::timestamp with time zone - interval '1 microsecond'",
            ),
            (
                "SELECT * FROM orders WHERE created_at + interval '1 day' > now()",
                "shifted by a span: (orders.created_at + $1) > now() => orders.created_at > now() - ($1)::interval",
            ),
            (
                "SELECT * FROM orders WHERE total - 5 < $1",
                "shifted guessed: (orders.total - ($2)::numeric) < $1 => orders.total < $1 + ($2)::numeric [(total - (5)::numeric)]",
            ),
            (
                "SELECT * FROM orders WHERE coalesce(customer_id, 0) = $1",
                "defaulted guessed: COALESCE(orders.customer_id, ($2)::bigint) = $1 => (orders.customer_id = $1 OR (orders.customer_id IS NULL AND ($2)::bigint = $1)) [COALESCE(customer_id, (0)::bigint)]",
            ),
            (
                "SELECT * FROM customers WHERE lower(email) = $1",
                "computed: lower(customers.email) = $1 [lower(email)]",
            ),
            (
                "SELECT * FROM customers WHERE lower(email) = 'me'",
                "computed: lower(customers.email) = $1 [lower(email)]",
            ),
            (
                "SELECT * FROM customers WHERE extract(year FROM born) = $1",
                "computed: EXTRACT(year FROM customers.born) = $1 [EXTRACT(year FROM born)]",
            ),
            (
                "SELECT * FROM customers WHERE lower(email) IN ($1, $2)",
                "computed: lower(customers.email) = ANY (ARRAY[$1, $2]) [lower(email)]",
            ),
            (
                "SELECT * FROM orders WHERE id::text = ANY ($1)",
                "spelled guessed: (orders.id)::text = ANY ($1) => orders.id = ANY (($1)::bigint[]) [(id)::text]",
            ),
            (
                "SELECT * FROM orders WHERE customer_id::numeric = ANY (ARRAY[$1, $2])",
                "rounded bigint to numeric guessed: (orders.customer_id)::numeric = ANY (ARRAY[$1, $2]) => (((orders.customer_id = (($1)::numeric)::bigint AND (($1)::numeric)::bigint = ($1)::numeric)) OR ((orders.customer_id = (($2)::numeric)::bigint AND (($2)::numeric)::bigint = ($2)::numeric))) [(customer_id)::numeric]",
            ),
            (
                "SELECT * FROM customers WHERE extract($1 FROM born) = $2",
                "templated: \"extract\"($1, customers.born) = $2",
            ),
            ("SELECT * FROM orders WHERE data ->> $1 = $2", "templated: (orders.data ->> $1) = $2"),
            (
                "SELECT * FROM customers WHERE substr(email, $1, $2) = $3",
                "templated: substr(customers.email, $1, $2) = $3",
            ),
            ("SELECT * FROM orders WHERE id % $1 = $2", "templated: (orders.id % $1) = $2"),
            (
                "SELECT * FROM orders WHERE to_char(placed_on, $1) = $2",
                "unstable: to_char(orders.placed_on, $1) = $2",
            ),
            (
                "SELECT * FROM orders WHERE age(placed_on) < $1",
                "unstable: age(orders.placed_on) < $1",
            ),
            (
                "SELECT * FROM customers WHERE born::text LIKE '1950-01%'",
                "unstable: (customers.born)::text LIKE $1",
            ),
            (
                "SELECT * FROM customers WHERE born::text LIKE $1",
                "unstable: (customers.born)::text LIKE $1",
            ),
            (
                "SELECT * FROM orders WHERE id::text = $1",
                "spelled guessed: (orders.id)::text = $1 => orders.id = ($1)::bigint [(id)::text]",
            ),
        ]);
    }

    #[pg_test]
    fn columns_alone_are_left_in_peace() {
        shop();
        let mut wrong = String::new();
        for query in [
            "SELECT * FROM orders WHERE created_at >= $1 AND created_at < $1 + interval '1 day'",
            "SELECT * FROM orders WHERE placed_on = date_trunc('day', $1::timestamp)",
            "SELECT * FROM orders WHERE created_at >= current_date - 7",
            "SELECT date_trunc('day', created_at) FROM orders WHERE id = $1",
            "SELECT date_trunc('day', created_at), count(*) FROM orders GROUP BY 1",
            "SELECT * FROM orders ORDER BY lower(status)",
            "SELECT * FROM customers WHERE email = lower($1)",
            "SELECT * FROM customers WHERE email = $1",
            "SELECT * FROM customers WHERE name = $1",
            "SELECT * FROM orders WHERE created_at > now() - interval '1 day'",
            "SELECT * FROM orders WHERE total > $1 - 5",
            "SELECT * FROM orders WHERE id = $1::int",
            "SELECT * FROM orders WHERE total = $1::int",
            "SELECT * FROM orders WHERE placed_on = $1::timestamptz",
            "SELECT * FROM orders WHERE customer_id = $1::smallint",
            "SELECT * FROM customers WHERE name = $1::text",
            "SELECT * FROM orders WHERE random() * id > $1",
            "SELECT * FROM orders WHERE id = ANY ($1)",
            "SELECT * FROM orders WHERE id::text <> ALL ($1)",
            "SELECT * FROM customers WHERE born >= date_trunc('month', $1::date)",
            "SELECT date_trunc('month', born), count(*) FROM customers GROUP BY 1",
            "SELECT * FROM orders o, customers c WHERE o.customer_id = c.id",
            "SELECT * FROM orders WHERE NOT date_trunc('day', placed_on) = $1",
            "SELECT * FROM customers WHERE email LIKE 'a%'",
            "SELECT * FROM customers c, orders o WHERE o.customer_id = c.id AND o.status LIKE c.email",
            "SELECT * FROM customers WHERE email NOT LIKE '%a'",
            "SELECT * FROM customers WHERE coalesce(email, $2) LIKE 'b%'",
        ] {
            let found = shape(query).expect(query).forms;
            if !found.is_empty() {
                write!(wrong, "\n{query}: {}", in_words(&found[0])).unwrap();
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }

    #[pg_test]
    fn silent_conversions() {
        shop();
        run("CREATE TABLE public.codes (code char(8), customer int, amount numeric)");
        all_have(&[
            (
                "SELECT * FROM customers WHERE region = $1::numeric",
                "converted integer to numeric: customers.region = ($1)::numeric => customers.region = (($1)::numeric)::integer",
            ),
            (
                "SELECT * FROM codes WHERE code = $1::text",
                "converted bpchar to text: codes.code = ($1)::text => codes.code = (($1)::text)::bpchar",
            ),
            (
                "SELECT * FROM customers c JOIN codes k ON c.region = k.amount",
                "converted integer to numeric joined: c.region = a column of another table",
            ),
            (
                "SELECT * FROM customers WHERE region = ANY ($1::numeric[])",
                "converted integer to numeric: customers.region = ANY (($1)::numeric[]) => customers.region = ANY ((($1)::numeric[])::integer[])",
            ),
            (
                "SELECT * FROM customers WHERE region IN ($1::numeric, 5)",
                "converted integer to numeric: customers.region = ANY (ARRAY[($1)::numeric, ($2)::numeric]) => customers.region = ANY ((ARRAY[($1)::numeric, ($2)::numeric])::integer[])",
            ),
            (
                "SELECT * FROM codes WHERE code = ANY ($1::text[])",
                "converted bpchar to text: codes.code = ANY (($1)::text[]) => codes.code = ANY ((($1)::text[])::bpchar[])",
            ),
            ("SELECT * FROM customers WHERE region = ANY ($1::bigint[])", ""),
            ("SELECT * FROM customers WHERE region IN ($1, $2)", ""),
            ("SELECT * FROM customers WHERE name = ANY ($1::text[])", ""),
            ("SELECT * FROM customers WHERE email = ANY ($1::varchar[])", ""),
            ("SELECT * FROM customers WHERE email IN ($1::char(8), $2::char(8))", ""),
            ("SELECT * FROM codes WHERE code = ANY ($1::char(8)[])", ""),
            ("SELECT * FROM codes WHERE amount = ANY ($1::int[])", ""),
            ("SELECT * FROM customers WHERE region <> ALL ($1::numeric[])", ""),
            ("SELECT * FROM customers c JOIN codes k ON c.id = k.customer", ""),
            ("SELECT * FROM codes WHERE code = $1", ""),
            ("SELECT * FROM codes WHERE amount = $1::int", ""),
        ]);
    }

    #[pg_test]
    fn patterns_with_wildcards_first() {
        shop();
        all_have(&[
            (
                "SELECT * FROM customers WHERE email LIKE '%@example.org'",
                "wildcard: customers.email LIKE $1 [email]",
            ),
            (
                "SELECT * FROM customers WHERE name ILIKE '_b%'",
                "wildcard: customers.name ILIKE $1 [name]",
            ),
            // What executions compare with is theirs to tell.
            (
                "SELECT * FROM customers WHERE email LIKE $1",
                "pattern: customers.email LIKE $1 [email]",
            ),
            (
                "SELECT * FROM customers WHERE lower(name) ILIKE $1 || $2",
                "pattern: lower((customers.name)::text) ILIKE ($1 || $2) [lower((name)::text)]",
            ),
        ]);
        run("CREATE EXTENSION citext");
        run("CREATE TABLE public.others (mail public.citext, nick name, code char(8))");
        all_have(&[
            (
                "SELECT * FROM others WHERE mail LIKE 'a%'",
                "wildcard caseless: others.mail LIKE $1 => (others.mail)::text ILIKE $1 [(mail)::text]",
            ),
            (
                "SELECT * FROM others WHERE mail ILIKE $1",
                "pattern caseless: others.mail LIKE $1 => (others.mail)::text ILIKE $1 [(mail)::text]",
            ),
            (
                "SELECT * FROM others WHERE nick LIKE $1",
                "pattern name: others.nick LIKE $1 => (others.nick)::text LIKE $1 [(nick)::text]",
            ),
            (
                "SELECT * FROM others WHERE nick ILIKE '%a'",
                "wildcard name: others.nick ILIKE $1 => (others.nick)::text ILIKE $1 [(nick)::text]",
            ),
            (
                "SELECT * FROM others WHERE code LIKE $1",
                "pattern padded: others.code LIKE $1 => (others.code)::text LIKE $1 [(code)::text]",
            ),
            ("SELECT * FROM others WHERE nick LIKE 'a%'", ""),
            ("SELECT * FROM others WHERE mail = 'a'", ""),
            ("SELECT * FROM others WHERE mail ~ 'a'", ""),
        ]);
    }

    #[pg_test]
    fn subqueries_that_ask_too_much() {
        shop();
        run("CREATE TABLE public.blocked (customer bigint, id bigint NOT NULL)");
        all_have(&[
            (
                "SELECT * FROM customers c WHERE id NOT IN (SELECT customer FROM blocked)",
                "not in inner: (NOT (c.id IN (SELECT blocked.customer FROM public.blocked))) => (NOT (EXISTS (SELECT FROM public.blocked WHERE (blocked.customer = c.id))))",
            ),
            (
                "SELECT * FROM customers WHERE id NOT IN (SELECT b.id FROM blocked b WHERE b.customer > 5)",
                "not in: (NOT (customers.id IN (SELECT b.id FROM public.blocked b WHERE (b.customer > $1)))) => (NOT (EXISTS (SELECT FROM public.blocked b WHERE ((b.customer > $1) AND (b.id = customers.id)))))",
            ),
            (
                "SELECT * FROM orders WHERE customer_id <> ALL (SELECT customer FROM blocked WHERE customer IS NOT NULL)",
                "not in outer: (orders.customer_id <> ALL (SELECT blocked.customer FROM public.blocked WHERE (blocked.customer IS NOT NULL))) => (NOT (EXISTS (SELECT FROM public.blocked WHERE ((blocked.customer IS NOT NULL) AND (blocked.customer = orders.customer_id)))))",
            ),
            ("SELECT * FROM customers WHERE id IN (SELECT customer FROM blocked)", ""),
            ("SELECT * FROM customers WHERE id NOT IN (1, 2)", ""),
            (
                "SELECT * FROM customers c WHERE NOT EXISTS (SELECT FROM blocked b WHERE b.customer = c.id)",
                "",
            ),
            (
                "SELECT * FROM customers c WHERE (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) > 0",
                "counted known: ((SELECT count(*) AS count FROM public.orders o WHERE (o.customer_id = c.id)) > $1) => (EXISTS (SELECT FROM public.orders o WHERE (o.customer_id = c.id)))",
            ),
            (
                "SELECT count(*) > $1 FROM orders WHERE status = $2",
                "counted: (count(*) > $1) => SELECT (EXISTS (SELECT FROM public.orders WHERE (orders.status = $2)))",
            ),
            (
                "SELECT count(*) = 0 FROM orders",
                "counted known: (count(*) = $1) => SELECT (NOT (EXISTS (SELECT FROM public.orders)))",
            ),
            ("SELECT count(*) > 5 FROM orders", ""),
            (
                "SELECT count(*) = $1 FROM orders",
                "counted: (count(*) = $1) => SELECT (NOT (EXISTS (SELECT FROM public.orders)))",
            ),
            (
                "SELECT $2 AS word FROM orders WHERE total > $3 HAVING $1 < count(*)",
                "counted: ($1 < count(*)) => SELECT $2 AS word WHERE (EXISTS (SELECT FROM public.orders WHERE (orders.total > $3)))",
            ),
            ("SELECT max(id) FROM orders HAVING count(*) > 0", ""),
            ("SELECT 1 FROM orders HAVING count(*) > 0 AND max(id) > 5", ""),
            ("SELECT 1 FROM orders HAVING count(*) > 100", ""),
            ("SELECT 1 FROM orders GROUP BY status HAVING count(*) = 0", ""),
            ("SELECT count(*) >= 0 FROM orders", ""),
            ("SELECT count(*) = 1 FROM orders", ""),
            ("SELECT 100 < count(*) FROM orders", ""),
            ("SELECT count(*) FROM orders", ""),
            ("SELECT status, count(*) > 0 FROM orders GROUP BY status", ""),
            ("SELECT status FROM orders GROUP BY status HAVING count(*) > 0", ""),
            ("SELECT (SELECT sum(total) FROM orders) > 0", ""),
        ]);
    }

    #[pg_test]
    fn tables_that_nothing_connects() {
        shop();
        all_have(&[
            (
                "SELECT * FROM orders o, customers c WHERE o.total > $1",
                "unconnected 2: FROM public.orders o, public.customers c",
            ),
            (
                "SELECT * FROM orders o JOIN items i ON i.order_id = i.position, customers c WHERE o.customer_id = c.id",
                "unconnected 2: FROM public.orders o, public.customers c, public.items i",
            ),
            (
                "SELECT * FROM orders o, (SELECT * FROM customers WHERE active) b",
                "unconnected 2: FROM public.orders o, (SELECT ...) b",
            ),
            (
                "SELECT * FROM orders o NATURAL JOIN pg_catalog.pg_am",
                "unconnected 2: FROM public.orders o, pg_catalog.pg_am",
            ),
            ("SELECT * FROM orders o, customers c WHERE o.customer_id = c.id", ""),
            ("SELECT * FROM orders o CROSS JOIN customers c", ""),
            ("SELECT * FROM orders o JOIN customers c ON true", ""),
            ("SELECT * FROM orders o LEFT JOIN customers c ON c.id = 1", ""),
            ("SELECT * FROM orders o, customers c WHERE o.customer_id = $1 AND c.id = $1", ""),
            ("SELECT * FROM orders o, (SELECT max(id) AS id FROM customers) c", ""),
            ("SELECT * FROM orders o, (SELECT * FROM customers LIMIT 1) c", ""),
            ("SELECT * FROM orders o, (VALUES (1)) AS v(x)", ""),
            ("SELECT * FROM orders o, generate_series(1, 3) s", ""),
            (
                "SELECT * FROM orders o, LATERAL (SELECT * FROM items i WHERE i.order_id = o.id) i",
                "",
            ),
            ("SELECT * FROM orders o, unnest(o.tags) t", ""),
            ("SELECT * FROM orders JOIN items USING (id)", "nothing"),
            (
                "SELECT * FROM orders o, customers c WHERE EXISTS (SELECT FROM items i WHERE i.order_id = o.id AND i.sku = c.email)",
                "",
            ),
            ("SELECT * FROM orders o, customers c WHERE o.total > 5 OR c.active", ""),
            ("UPDATE orders SET total = 0 FROM customers c WHERE c.id = customer_id", ""),
            (
                "UPDATE orders SET total = 0 FROM customers c WHERE c.active",
                "unconnected 2: FROM public.orders, public.customers c",
            ),
        ]);
    }

    #[pg_test]
    fn wherever_the_column_comes_from() {
        shop();
        run(
            "CREATE VIEW public.days AS SELECT id, status AS state, placed_on::date AS day FROM public.orders",
        );
        run("CREATE DOMAIN public.mail AS text CHECK (VALUE LIKE '%@%')");
        run("CREATE SCHEMA \"My Shop\"");
        run(
            "CREATE TABLE \"My Shop\".\"Ord  ers\" (\"Id\" bigint, \"Placed On\" timestamp, mail public.mail) PARTITION BY RANGE (\"Id\")",
        );
        run(
            "CREATE TABLE \"My Shop\".first PARTITION OF \"My Shop\".\"Ord  ers\" FOR VALUES FROM (0) TO (9)",
        );
        run("CREATE TABLE public.old_orders () INHERITS (public.orders)");
        all_have(&[
            (
                "SELECT * FROM days WHERE day = $1",
                "dated guessed: (orders.placed_on)::date = $1 => orders.placed_on >= ($1)::date AND orders.placed_on <= ($1)::date + 1 - interval '1 microsecond' [(placed_on)::date] inside",
            ),
            (
                "SELECT * FROM days d WHERE lower(d.state) = $1",
                "computed: lower(d.state) = $1 [lower(status)]",
            ),
            (
                "WITH w AS (SELECT id, status AS s FROM orders) SELECT * FROM w WHERE upper(s) = $1",
                "computed: upper(orders.status) = $1 [upper(status)] inside",
            ),
            (
                "SELECT * FROM \"My Shop\".\"Ord  ers\" WHERE \"Placed On\"::date = $1 AND lower(mail) = $2",
                "dated guessed: (\"Ord  ers\".\"Placed On\")::date = $1 => \"Ord  ers\".\"Placed On\" >= ($1)::date AND \"Ord  ers\".\"Placed On\" <= ($1)::date + 1 - interval '1 microsecond' [(\"Placed On\")::date]; computed: lower((\"Ord  ers\".mail)::text) = $2 [lower((mail)::text)]",
            ),
            (
                "SELECT 1 WHERE 5 NOT IN (SELECT \"Id\" FROM \"My Shop\".\"Ord  ers\")",
                "not in inner outer: (NOT ($1 IN (SELECT \"Id\" FROM \"My Shop\".\"Ord  ers\"))) => (NOT (EXISTS (SELECT FROM \"My Shop\".\"Ord  ers\" WHERE (\"Id\" = $1))))",
            ),
            (
                "SELECT * FROM old_orders WHERE lower(status) = $1",
                "computed: lower(old_orders.status) = $1 [lower(status)]",
            ),
            (
                "DELETE FROM orders WHERE placed_on::date < $1",
                "dated guessed: (orders.placed_on)::date < $1 => orders.placed_on < ($1)::date [(placed_on)::date]",
            ),
        ]);
    }

    #[pg_test]
    fn skipped_rows_and_parameters() {
        shop();
        let offset = |query: &str| shape(query).unwrap().offset.map(|offset| offset.rows);
        assert_eq!(offset("SELECT * FROM orders ORDER BY id LIMIT $1 OFFSET $2"), Some(None));
        assert_eq!(offset("SELECT * FROM orders LIMIT 10 OFFSET 5000"), Some(Some(5000)));
        let written = |query: &str| shape(query).unwrap().offset.map(|offset| offset.expression);
        for (query, expected) in [
            ("SELECT * FROM orders LIMIT $1 OFFSET $2", "LIMIT $1 OFFSET $2"),
            ("SELECT * FROM orders LIMIT 10 OFFSET 5000", "LIMIT $1 OFFSET $2"),
            ("SELECT * FROM orders OFFSET ($1 - 1) * 20", "OFFSET (($1 - $2) * $3)"),
            ("SELECT * FROM orders LIMIT ALL OFFSET $1", "OFFSET $1"),
            ("SELECT * FROM orders OFFSET (SELECT 5)", ""),
        ] {
            assert_eq!(written(query).as_deref(), Some(expected), "{query}");
        }
        assert_eq!(offset("SELECT * FROM orders LIMIT 10"), None);
        let within = |query: &str| {
            let found = shape(query).unwrap().offset.filter(|offset| offset.inside);
            found.map(|offset| (offset.rows, offset.expression, offset.tables.len()))
        };
        for query in [
            "SELECT * FROM (SELECT * FROM orders ORDER BY id LIMIT $1 OFFSET $2) o JOIN customers c ON c.id = o.id",
            "WITH o AS (SELECT * FROM orders LIMIT $1 OFFSET $2) SELECT count(*) FROM o, customers",
            "SELECT * FROM customers WHERE id IN (SELECT id FROM orders LIMIT $1 OFFSET $2)",
            "SELECT id FROM customers UNION ALL (SELECT id FROM orders LIMIT $1 OFFSET $2)",
        ] {
            let written = "LIMIT $1 OFFSET $2".to_owned();
            assert_eq!(within(query), Some((None, written, 1)), "{query}");
        }
        let query = "SELECT * FROM (SELECT * FROM orders OFFSET 5) o";
        assert_eq!(offset(query), Some(Some(5)));
        // The one at the top comes first, and none is sought among sums.
        assert_eq!(within(&format!("{query} OFFSET 7")), None);
        let sums = "SELECT * FROM (SELECT id, count(*) FROM orders GROUP BY id LIMIT 5 OFFSET 7) o";
        assert_eq!(offset(sums), None);
        assert_eq!(offset("SELECT * FROM (SELECT * FROM orders LIMIT 5) o"), None);
        assert_eq!(shape("SELECT $3 FROM orders WHERE id = $1").unwrap().parameters, 3);
        assert_eq!(shape("SELECT * FROM orders").unwrap().parameters, 0);
    }
}
