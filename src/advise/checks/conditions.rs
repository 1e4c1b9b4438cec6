//! Conditions on one table, in the forms that they are written in.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use crate::advise::checks::*;

    #[pg_test]
    fn simple_conditions() {
        shop();
        all_say(&[
            ("SELECT * FROM orders", "orders"),
            ("SELECT $1", " | bounded"),
            ("SELECT * FROM orders WHERE id = $1", "orders(id =)"),
            ("SELECT * FROM orders WHERE $1 = id", "orders(id =)"),
            ("SELECT * FROM orders WHERE id = 5 AND status = 'new'", "orders(id =, status =)"),
            ("SELECT * FROM orders WHERE $1 < total", "orders(total <>)"),
            ("SELECT * FROM orders WHERE total >= $1 AND total < $2", "orders(total between)"),
            ("SELECT * FROM orders WHERE total BETWEEN $1 AND $2", "orders(total between)"),
            ("SELECT * FROM orders WHERE total NOT BETWEEN $1 AND $2", "orders(total ?)"),
            ("SELECT * FROM orders WHERE id IN ($1, $2, $3)", "orders(id in)"),
            ("SELECT * FROM orders WHERE id = ANY($1)", "orders(id in)"),
            ("SELECT * FROM orders WHERE id = ANY($1::bigint[])", "orders(id in)"),
            ("SELECT * FROM orders WHERE $1 = ANY(tags)", "orders(tags ?)"),
            ("SELECT * FROM orders WHERE id NOT IN ($1, $2)", "orders(id ?)"),
            ("SELECT * FROM orders WHERE id <> $1", "orders(id ?)"),
            ("SELECT * FROM orders WHERE NOT id > $1", "orders(id <>)"),
            ("SELECT * FROM orders WHERE NOT (id <> $1)", "orders(id =)"),
            ("SELECT * FROM orders WHERE status IS NULL", "orders(status null)"),
            ("SELECT * FROM orders WHERE status IS NOT NULL", "orders(status ?)"),
            ("SELECT * FROM orders WHERE status IS DISTINCT FROM $1", "orders(status ?)"),
            ("SELECT * FROM customers WHERE active", "customers(active =)"),
            ("SELECT * FROM customers WHERE NOT active", "customers(active =)"),
            ("SELECT * FROM customers WHERE active IS TRUE", "customers(active =)"),
            ("SELECT * FROM customers WHERE active IS UNKNOWN", "customers(active null)"),
            ("SELECT * FROM customers WHERE active IS NOT TRUE", "customers(active ?)"),
            (
                "SELECT * FROM items WHERE (order_id, position) = ($1, $2)",
                "items(order_id =, \"position\" =)",
            ),
            ("SELECT * FROM items WHERE (order_id, position) > ($1, $2)", "items(order_id <>)"),
            (
                "SELECT * FROM items WHERE (order_id, position) IN (($1, $2), ($3, $4))",
                "items(order_id in, \"position\" in)",
            ),
            ("SELECT * FROM orders WHERE id = random()", "orders(id ?)"),
            ("SELECT * FROM orders WHERE created_at > now()", "orders(created_at <>)"),
            ("SELECT * FROM orders WHERE id = parent", "orders(id ?, parent ?)"),
            ("SELECT * FROM orders WHERE ctid = $1", "orders"),
        ]);
    }

    /// What lies within a network is found by a B-tree; what a network lies in is not.
    #[pg_test]
    fn networks() {
        run("CREATE TABLE public.hosts (ip inet, net cidr)");
        all_say(&[
            ("SELECT * FROM hosts WHERE ip << $1", "hosts(ip between)"),
            ("SELECT * FROM hosts WHERE ip <<= $1::cidr", "hosts(ip between)"),
            ("SELECT * FROM hosts WHERE $1::inet >>= ip", "hosts(ip between)"),
            ("SELECT * FROM hosts WHERE net << $1", "hosts(net between)"),
            ("SELECT * FROM hosts WHERE ip >> $1", "hosts(ip ?)"),
            ("SELECT * FROM hosts WHERE ip && $1", "hosts(ip ?)"),
        ]);
        run(
            "INSERT INTO hosts SELECT '10.0.0.0'::inet + i, network('10.0.0.0'::inet + i) FROM generate_series(1, 20000) i",
        );
        run("CREATE INDEX ON public.hosts (ip); ANALYZE public.hosts");
        for condition in ["ip << '10.0.7.0/24'", "'10.0.7.0/24' >>= ip"] {
            let query = format!("EXPLAIN SELECT * FROM public.hosts WHERE {condition}");
            let plan = Spi::connect(|c| {
                let rows = c.select(&query, None, &[]).unwrap();
                rows.map(|row| row.get::<String>(1).unwrap().unwrap()).collect::<Vec<_>>()
            });
            assert!(plan.iter().any(|line| line.contains("hosts_ip_idx")), "{plan:?}");
        }
    }

    #[pg_test]
    fn patterns_and_containment() {
        shop();
        run("CREATE TABLE public.numbers (id int, n int[])");
        all_say(&[
            ("SELECT * FROM customers WHERE email LIKE $1", "customers(email like)"),
            ("SELECT * FROM customers WHERE name ILIKE $1", "customers(name like)"),
            ("SELECT * FROM customers WHERE name ~ $1", "customers(name like)"),
            ("SELECT * FROM customers WHERE name ~* $1", "customers(name like)"),
            ("SELECT * FROM customers WHERE name NOT LIKE $1", "customers(name ?)"),
            ("SELECT * FROM customers WHERE name LIKE ANY ($1::text[])", "customers(name like)"),
            ("SELECT * FROM customers WHERE name LIKE $1 || $2 || $3", "customers(name like)"),
            ("SELECT * FROM customers WHERE name LIKE 'abc%'", "customers(name begins)"),
            ("SELECT * FROM customers WHERE name LIKE '%abc'", "customers(name like)"),
            ("SELECT * FROM customers WHERE name ILIKE 'abc%'", "customers(name like)"),
            ("SELECT * FROM customers WHERE name ~ '^abc'", "customers(name begins)"),
            ("SELECT * FROM customers WHERE name ~ '^(abc)'", "customers(name like)"),
            ("SELECT * FROM customers WHERE name ^@ $1", "customers(name begins)"),
            ("SELECT * FROM customers WHERE starts_with(name, $1)", "customers(name begins)"),
            ("SELECT * FROM orders WHERE data @> $1", "orders(data contains)"),
            ("SELECT * FROM orders WHERE data @> '{\"a\": 1}'", "orders(data contains)"),
            ("SELECT * FROM orders WHERE data ? $1", "orders(data contains)"),
            ("SELECT * FROM orders WHERE data @? $1", "orders(data contains)"),
            ("SELECT * FROM orders WHERE tags && $1", "orders(tags contains)"),
            ("SELECT * FROM orders WHERE tags @> ARRAY[$1, $2]", "orders(tags contains)"),
            ("SELECT * FROM orders WHERE tags = $1", "orders(tags =)"),
            ("SELECT * FROM numbers WHERE n @> ARRAY[$1, $2]", "numbers(n contains)"),
            ("SELECT * FROM numbers WHERE ARRAY[$1] && n", "numbers(n contains)"),
            ("SELECT * FROM numbers WHERE n = ARRAY[$1] AND id = $2", "numbers(n =, id =)"),
            ("SELECT * FROM numbers WHERE id = ANY (ARRAY[$1, $2])", "numbers(id in)"),
            ("SELECT * FROM numbers WHERE n @> ARRAY[$1::text]", "nothing"),
            ("SELECT * FROM orders WHERE words @@ to_tsquery($1)", "orders(words contains)"),
            ("SELECT * FROM orders WHERE words @@ $1", "orders(words contains)"),
            ("SELECT * FROM orders WHERE during && tsrange($1, $2)", "orders(during overlaps)"),
            ("SELECT * FROM orders WHERE during @> $1::timestamp", "orders(during overlaps)"),
            ("SELECT * FROM orders WHERE data ->> 'k' = $1", "orders((data ->> 'k'::text) =)"),
            ("SELECT * FROM orders WHERE data ->> $1 = $2", "orders((data ->> $1) ?)"),
            (
                "SELECT * FROM orders WHERE to_tsvector('english', status) @@ to_tsquery($1)",
                "orders(to_tsvector('english'::regconfig, status) contains)",
            ),
            (
                "SELECT * FROM orders WHERE to_tsvector(status) @@ to_tsquery($1)",
                "orders(to_tsvector(status) ?)",
            ),
        ]);
    }

    #[pg_test]
    fn expressions_and_casts() {
        shop();
        all_say(&[
            ("SELECT * FROM customers WHERE lower(email) = $1", "customers(lower(email) =)"),
            (
                "SELECT * FROM customers WHERE lower(name) = lower($1)",
                "customers(lower((name)::text) =)",
            ),
            ("SELECT * FROM customers WHERE name = $1", "customers(name =)"),
            ("SELECT * FROM customers WHERE name::text = $1", "customers(name =)"),
            (
                "SELECT * FROM customers WHERE coalesce(email, name) = $1",
                "customers(COALESCE(email, (name)::text) =)",
            ),
            ("SELECT * FROM customers WHERE region + id = $1", "customers((region + id) =)"),
            ("SELECT * FROM customers WHERE region + $1 = $2", "customers((region + $1) ?)"),
            ("SELECT * FROM customers WHERE region::text = $1", "customers((region)::text =)"),
            ("SELECT * FROM orders WHERE placed_on::date = $1", "orders((placed_on)::date =)"),
            // In which time zone?
            ("SELECT * FROM orders WHERE created_at::date = $1", "orders((created_at)::date ?)"),
            (
                "SELECT * FROM orders WHERE date_trunc('day', placed_on) = $1",
                "orders(date_trunc('day'::text, placed_on) =)",
            ),
            (
                "SELECT * FROM orders WHERE date_trunc($1, placed_on) = $2",
                "orders(date_trunc($1, placed_on) ?)",
            ),
            ("SELECT * FROM customers WHERE region = $1::numeric", "customers(region ?)"),
            ("SELECT * FROM customers WHERE region = $1::bigint", "customers(region =)"),
            ("SELECT * FROM customers WHERE abs(region) > $1", "customers(abs(region) <>)"),
            (
                "SELECT * FROM customers WHERE CASE WHEN active THEN region = $1 END",
                "customers(active ?, region ?)",
            ),
            (
                "SELECT * FROM orders WHERE created_at > now() - interval $1",
                "orders(created_at <>)",
            ),
            ("SELECT * FROM orders WHERE placed_on >= date $1", "orders(placed_on <>)"),
            (
                "SELECT * FROM orders WHERE extract($1 FROM placed_on) = $2",
                "orders(\"extract\"($1, placed_on) ?)",
            ),
        ]);
    }

    #[pg_test]
    fn either_or() {
        shop();
        all_say(&[
            ("SELECT * FROM orders WHERE id = $1 OR id = $2", "orders(id in)"),
            ("SELECT * FROM orders WHERE id = $1 OR id IN ($2, $3) OR $4 = id", "orders(id in)"),
            (
                "SELECT * FROM orders WHERE id = $1 OR customer_id = $2",
                "orders(id ?, customer_id ?)",
            ),
            ("SELECT * FROM orders WHERE id = $1 OR id > $2", "orders(id ?)"),
            ("SELECT * FROM orders WHERE ($1 IS NULL OR id = $2)", "orders(id ?)"),
            ("SELECT * FROM customers WHERE name LIKE $1 OR name LIKE $2", "customers(name like)"),
            (
                "SELECT * FROM customers WHERE lower(email) = $1 OR lower(email) LIKE $2",
                "customers(lower(email) like)",
            ),
            (
                "SELECT * FROM orders WHERE (id = $1 OR status = $2) AND customer_id = $3",
                "orders(id ?, status ?, customer_id =)",
            ),
            (
                "SELECT * FROM orders WHERE (id = $1 AND status = $2) OR (status = $3 AND id = $4)",
                "orders(id in, status in)",
            ),
            (
                "SELECT * FROM orders WHERE (id = $1 AND status = $2) OR id = $3",
                "orders(id ?, status ?)",
            ),
        ]);
    }
    #[pg_test]
    fn odd_names() {
        run("CREATE SCHEMA \"Odd \"\"schema\"\"\nof 'ours'\"");
        let table = "\"Odd \"\"schema\"\"\nof 'ours'\".\"Täble \"\"x\"\"; DROP TABLE y; --\"";
        let column = "\"Spalte \"\"mit\"\"\nAnführung\"";
        run(&format!("CREATE TABLE {table} ({column} text, \"select\" int)"));
        let query = format!(
            "SELECT * FROM {table} WHERE {column} = $1 AND \"select\" > $2 AND lower({column}) = $3"
        );
        let shape = shape(&query).unwrap();
        let found: Vec<_> =
            shape.tables[0].predicates.iter().map(|p| p.expression.as_str()).collect();
        assert_eq!(found, [column, "\"select\"", &format!("lower({column})")]);
        // Each can stand in a statement.
        for expression in found {
            run(&format!("CREATE INDEX ON {table} (({expression}))"));
        }
    }
}
