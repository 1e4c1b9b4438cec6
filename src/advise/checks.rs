//! Tests of what is learned from texts: many forms of statements, and all that must not happen.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use std::fmt::Write;
    use std::time::Instant;

    use perfmon_core::facts::{Shape, Test};
    use pgrx::prelude::*;

    use crate::advise::{self, Text};

    fn run(sql: &str) {
        Spi::run(sql).unwrap();
    }

    fn one<T: FromDatum + IntoDatum>(sql: &str) -> Option<T> {
        Spi::connect(|c| c.select(sql, None, &[]).unwrap().first().get_one::<T>().unwrap())
    }

    fn shape_for(user_name: Option<&str>, query: &str) -> Option<Shape> {
        advise::shapes(&[Text { query: query.as_bytes(), user_name }]).remove(0)
    }

    fn shape(query: &str) -> Option<Shape> {
        shape_for(None, query)
    }

    fn name(oid: u32) -> String {
        one::<String>(&format!("SELECT {oid}::regclass::text")).unwrap()
    }

    fn sign(test: Test) -> &'static str {
        match test {
            Test::Equal => "=",
            Test::In => "in",
            Test::Range => "<>",
            Test::Between => "between",
            Test::Pattern => "like",
            Test::Prefix => "begins",
            Test::Contain => "contains",
            Test::Overlap => "overlaps",
            Test::Null => "null",
            Test::Other => "?",
        }
    }

    /// In one line: `table(column test, …) by order first`, then what is said of the whole.
    fn said(shape: Option<Shape>) -> String {
        let Some(shape) = shape else { return "nothing".into() };
        let mut tables: Vec<String> = Vec::new();
        for table in shape.tables {
            let mut text = name(table.oid);
            let mut predicates = Vec::new();
            for predicate in table.predicates {
                let mut text = format!("{} {}", predicate.expression, sign(predicate.test));
                match (predicate.join, predicate.other) {
                    (false, _) => {}
                    (true, 0) => text.push_str(" join"),
                    (true, other) => write!(text, " {}", name(other)).unwrap(),
                }
                predicates.push(text);
            }
            if !predicates.is_empty() {
                write!(text, "({})", predicates.join(", ")).unwrap();
            }
            let order: Vec<_> = table
                .order_by
                .iter()
                .map(|o| {
                    let direction = if o.descending { " down" } else { "" };
                    let nulls = match o.nulls_first == o.descending {
                        true => "",
                        false => " nulls",
                    };
                    format!("{}{direction}{nulls}", o.expression)
                })
                .collect();
            if !order.is_empty() {
                write!(text, " by {}", order.join(", ")).unwrap();
            }
            for (flag, word) in [
                (table.first_rows, " first"),
                (table.repeated, " repeated"),
                (table.written, " written"),
                (!table.read, " unread"),
            ] {
                if flag {
                    text.push_str(word);
                }
            }
            tables.push(text);
        }
        let mut text = tables.join("; ");
        if shape.bounded {
            text.push_str(" | bounded");
        }
        if shape.aggregates {
            text.push_str(" | aggregates");
        }
        text
    }

    fn shop() {
        run("CREATE TABLE public.customers (id bigint PRIMARY KEY, email text, name varchar(80), region int,
                active boolean, born date)");
        run("CREATE TABLE public.orders (id bigint PRIMARY KEY, customer_id bigint, status text, created_at timestamptz,
                placed_on timestamp, total numeric, tags text[], data jsonb, words tsvector, during tsrange, parent bigint)");
        run(
            "CREATE TABLE public.items (order_id bigint, position int, sku text, price numeric, PRIMARY KEY (order_id, position))",
        );
    }

    fn all_say(cases: &[(&str, &str)]) {
        for (query, expected) in cases {
            assert_eq!(said(shape(query)), *expected, "{query}");
        }
    }

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
            ("SELECT * FROM orders WHERE total NOT BETWEEN $1 AND $2", "orders"),
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

    #[pg_test]
    fn patterns_and_containment() {
        shop();
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
                "customers(COALESCE(email, name) =)",
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
            (
                "SELECT * FROM customers WHERE region = $1::numeric",
                "customers((region)::numeric ?)",
            ),
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
                "orders(date_part($1, placed_on) ?)",
            ),
        ]);
    }

    #[pg_test]
    fn either_or() {
        shop();
        all_say(&[
            ("SELECT * FROM orders WHERE id = $1 OR id = $2", "orders(id in)"),
            ("SELECT * FROM orders WHERE id = $1 OR id IN ($2, $3) OR $4 = id", "orders(id in)"),
            ("SELECT * FROM orders WHERE id = $1 OR customer_id = $2", "orders"),
            ("SELECT * FROM orders WHERE id = $1 OR id > $2", "orders"),
            ("SELECT * FROM orders WHERE ($1 IS NULL OR id = $2)", "orders"),
            ("SELECT * FROM customers WHERE name LIKE $1 OR name LIKE $2", "customers(name like)"),
            (
                "SELECT * FROM customers WHERE lower(email) = $1 OR lower(email) LIKE $2",
                "customers(lower(email) like)",
            ),
            (
                "SELECT * FROM orders WHERE (id = $1 OR status = $2) AND customer_id = $3",
                "orders(customer_id =)",
            ),
            (
                "SELECT * FROM orders WHERE (id = $1 AND status = $2) OR (status = $3 AND id = $4)",
                "orders(id in, status in)",
            ),
            ("SELECT * FROM orders WHERE (id = $1 AND status = $2) OR id = $3", "orders"),
        ]);
    }

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
                "orders(status =, id =)",
            ),
            // What a LIMIT lets through is not narrowed from outside.
            ("SELECT * FROM (SELECT * FROM orders LIMIT $1) s WHERE s.id = $2", "orders"),
            (
                "SELECT * FROM (SELECT customer_id, count(*) AS n FROM orders GROUP BY 1) s WHERE customer_id = $1 AND n > $2",
                "orders(customer_id =)",
            ),
            (
                "SELECT * FROM orders WHERE customer_id IN (SELECT id FROM customers WHERE region = $1)",
                "orders(customer_id in customers); customers(id in orders, region =)",
            ),
            (
                "SELECT * FROM orders WHERE customer_id NOT IN (SELECT id FROM customers WHERE region = $1)",
                "orders(customer_id ? join); customers(region =)",
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
                "orders(status =, id =)",
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
                "orders(created_at ?, id =, customer_id = customers); customers(lower(email) =, id = orders)",
            ),
            ("SELECT * FROM plain WHERE number = $1", "orders(number =, total <>)"),
            (
                "UPDATE plain SET status = $1 WHERE number = $2",
                "orders(number =, total <>) written",
            ),
            ("INSERT INTO plain VALUES ($1, $2)", "orders(total <>) written unread"),
            (
                "SELECT * FROM plain ORDER BY number LIMIT $1",
                "orders(total <>) by number first | bounded",
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
                "orders(id =) written; items(order_id in join) written",
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
                "customers by ((name)::text COLLATE \"C\") first | bounded",
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

    #[pg_test]
    fn names_mean_what_they_mean_to_their_user() {
        run("CREATE SCHEMA app");
        run("CREATE SCHEMA app_user");
        run("CREATE TABLE app.things (id int, in_app int)");
        run("CREATE TABLE app_user.things (id int, in_users int)");
        run("CREATE TABLE app_user.own (id int)");
        run("CREATE TABLE app.of_app (id int)");
        run("CREATE ROLE app_user");
        run("CREATE ROLE other_user");
        run("GRANT USAGE ON SCHEMA app_user TO app_user");
        run("GRANT USAGE ON SCHEMA app TO app_user, other_user");
        let ask = |user, query: &str| said(shape_for(Some(user), query));
        assert_eq!(ask("app_user", "SELECT * FROM things WHERE id = $1"), "app_user.things(id =)");
        assert_eq!(ask("other_user", "SELECT * FROM things WHERE id = $1"), "nothing");
        assert_eq!(ask("app_user", "SELECT * FROM of_app"), "nothing");
        run("ALTER ROLE other_user SET search_path = app");
        assert_eq!(ask("other_user", "SELECT * FROM things WHERE id = $1"), "app.things(id =)");
        run("ALTER ROLE other_user RESET search_path");
        let database = one::<String>("SELECT quote_ident(current_database())").unwrap();
        run(&format!("ALTER DATABASE {database} SET search_path = app"));
        assert_eq!(ask("other_user", "SELECT * FROM things WHERE id = $1"), "app.things(id =)");
        run(&format!(
            "ALTER ROLE app_user IN DATABASE {database} SET search_path = 'app_user', \"$user\""
        ));
        assert_eq!(ask("app_user", "SELECT * FROM own"), "app_user.own");
        // Not allowed into the schema: nothing is said, whoever asks.
        assert_eq!(ask("other_user", "SELECT * FROM app_user.own"), "nothing");
        // Of a role that is gone, what the database's setting says.
        assert_eq!(ask("nobody_now", "SELECT * FROM of_app"), "app.of_app");
        // Our own path and user are as before.
        assert_eq!(one::<String>("SHOW search_path").as_deref(), Some("\"$user\", public"));
        assert_eq!(one::<bool>("SELECT current_user = session_user"), Some(true));
    }

    #[pg_test]
    fn our_own_temporary_tables_are_not_theirs() {
        shop();
        run("CREATE TEMP TABLE orders (id int, other int)");
        run("CREATE TEMP TABLE only_here (id int)");
        assert_eq!(
            said(shape("SELECT * FROM orders WHERE customer_id = $1")),
            "public.orders(customer_id =)"
        );
        assert_eq!(said(shape("SELECT * FROM only_here")), "nothing");
        assert_eq!(said(shape("SELECT * FROM pg_temp.only_here")), "nothing");
    }

    #[pg_test]
    fn what_is_not_there_is_not_known() {
        shop();
        run("CREATE DOMAIN never AS text CHECK (VALUE IS NOT NULL AND length(VALUE) / 0 = 1)");
        run("CREATE TABLE domains (list never[])");
        all_say(&[
            ("SELECT * FROM missing WHERE id = $1", "nothing"),
            ("SELECT missing FROM orders", "nothing"),
            ("SELECT missing(id) FROM orders", "nothing"),
            ("SELECT $1 + $2 FROM orders", "nothing"),
            ("SELECT 'x'::missing", "nothing"),
            ("SELECT $100000001 FROM orders", "nothing"),
            ("INSERT INTO items VALUES ($1, $2, $3, $4, $5)", "nothing"),
            // A domain's checks are anybody's code: they are not run.
            ("SELECT * FROM domains WHERE list = '{a}'", "domains(list =)"),
            ("SELECT * FROM domains WHERE list = '\u{b} {a}'::never[]", "domains(list =)"),
        ]);
        let odd = advise::shapes(&[
            Text { query: b"SELECT * FROM orders \0", user_name: None },
            Text { query: b"SELECT '\xff'", user_name: Some("\u{fffd}") },
            Text { query: b"SELECT * FROM public.orders", user_name: Some("no\0body") },
        ]);
        assert!(odd[0].is_none() && odd[2].is_some());
    }

    #[pg_test]
    fn nothing_is_left_behind() {
        shop();
        run("CREATE EXTENSION pg_stat_statements");
        run("SET pg_stat_statements.track = 'all'");
        let locks = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'customers'::regclass
            AND mode <> 'AccessExclusiveLock' AND NOT fastpath";
        let before = (
            one::<i64>(locks),
            one::<i64>("SELECT sum(total_bytes)::int8 FROM pg_backend_memory_contexts"),
        );
        let text = "SELECT * FROM customers WHERE lower(email) = 'we look at this' FOR UPDATE";
        let gone = "UPDATE customers SET id = 1 WHERE missing = 'we look at this'";
        for _ in 0..200 {
            assert!(shape(text).is_some());
            assert!(shape(gone).is_none());
        }
        let after = (
            one::<i64>(locks),
            one::<i64>("SELECT sum(total_bytes)::int8 FROM pg_backend_memory_contexts"),
        );
        assert_eq!(before.0, after.0);
        assert!(after.1.unwrap() - before.1.unwrap() < 2 << 20, "{before:?} {after:?}");
        let recorded = "SELECT count(*) FROM pg_stat_statements WHERE query LIKE '%FROM customers WHERE lower%'";
        assert_eq!(one::<i64>(recorded), Some(0));
        // What can be analysed without locks leaves not even a transaction id.
        assert_eq!(one::<bool>("SELECT pg_current_xact_id_if_assigned() IS NOT NULL"), Some(true));
    }

    #[pg_test]
    fn no_lock_is_waited_for() {
        run("CREATE EXTENSION dblink");
        let connect = "SELECT dblink_connect('other', format('host=%s port=%s dbname=%s user=%s',
            split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'),
            current_database(), session_user))";
        run(connect);
        run("SELECT dblink_exec('other', 'CREATE TABLE public.held (id int); CREATE VIEW public.seen AS SELECT * FROM public.held;
            CREATE VIEW public.over AS SELECT * FROM public.seen')");
        run("CREATE TABLE free (id int)");
        let cases = [
            ("ACCESS EXCLUSIVE", "held", "SELECT * FROM held WHERE id = $1", false),
            (
                "ACCESS EXCLUSIVE",
                "held",
                "SELECT * FROM free WHERE id IN (SELECT id FROM held)",
                false,
            ),
            ("ACCESS EXCLUSIVE", "held", "SELECT * FROM free WHERE id = $1", true),
            ("SHARE", "held", "SELECT * FROM held WHERE id = $1", true),
            ("SHARE", "held", "UPDATE held SET id = $1", false),
            ("EXCLUSIVE", "held", "SELECT * FROM held FOR UPDATE", false),
            ("ACCESS EXCLUSIVE", "over", "SELECT * FROM over", false),
        ];
        for (mode, table, query, known) in cases {
            run(&format!(
                "SELECT dblink_exec('other', 'BEGIN; LOCK TABLE public.{table} IN {mode} MODE')"
            ));
            let began = Instant::now();
            assert_eq!(shape(query).is_some(), known, "{mode}: {query}");
            assert!(began.elapsed().as_millis() < 50, "{mode}: {query}: {:?}", began.elapsed());
            run("SELECT dblink_exec('other', 'ROLLBACK')");
        }
        // The other session's own view is locked under a free one.
        run(
            "SELECT dblink_exec('other', 'BEGIN; LOCK TABLE public.seen IN ACCESS EXCLUSIVE MODE')",
        );
        run("CREATE VIEW free_view AS SELECT 1 AS a");
        assert!(shape("SELECT * FROM free_view").is_some());
        assert!(shape("SELECT * FROM over").is_none());
        run("SELECT dblink_exec('other', 'ROLLBACK; DROP TABLE public.held CASCADE')");
        run("SELECT dblink_disconnect('other')");
    }

    #[pg_test]
    fn long_and_deep_texts() {
        shop();
        let list: Vec<String> = (1..9000).map(|n| format!("${n}")).collect();
        let long = format!("SELECT * FROM orders WHERE id IN ({})", list.join(", "));
        assert!(long.len() < 64 * 1024 && long.len() > 60_000);
        assert_eq!(said(shape(&long)), "orders(id in)");
        let longer = format!("SELECT * FROM orders WHERE status = '{}'", "x".repeat(1 << 20));
        assert_eq!(shape(&longer), None);
        let deep = format!(
            "SELECT * FROM orders WHERE id = {}1{}",
            "(1 + ".repeat(9000),
            ")".repeat(9000)
        );
        let _ = shape(&deep);
        let arms: Vec<String> = (1..2000).map(|n| format!("lower(status) = ${n}")).collect();
        let many = format!("SELECT * FROM orders WHERE {}", arms.join(" OR "));
        assert_eq!(said(shape(&many)), "orders(lower(status) in)");
        let deep = format!(
            "SELECT * FROM orders WHERE {} id = 1 {}",
            "NOT (id = 2 AND ".repeat(1000),
            ")".repeat(1000)
        );
        let _ = shape(&deep);
        let unions = vec!["SELECT id FROM orders WHERE id = $1"; 400].join(" UNION ALL ");
        assert_eq!(said(shape(&unions)), "orders(id =)");
        let too_many = vec!["SELECT id FROM orders WHERE id = $1"; 1000].join(" UNION ALL ");
        assert_eq!(shape(&too_many), None);
    }

    #[pg_test]
    fn a_hundred_statements_take_little_time() {
        shop();
        let query = "SELECT o.id, c.email, sum(i.price) FROM orders o JOIN customers c ON c.id = o.customer_id
            JOIN items i ON i.order_id = o.id WHERE lower(c.email) = $1 AND o.created_at BETWEEN $2 AND $3
            AND o.status IN ($4, $5) AND EXISTS (SELECT FROM items x WHERE x.order_id = o.id AND x.sku LIKE $6)
            GROUP BY 1, 2 ORDER BY 3 DESC LIMIT $7";
        let user = one::<String>("SELECT current_user::text").unwrap();
        let texts = vec![Text { query: query.as_bytes(), user_name: Some(&user) }; 100];
        assert!(advise::shapes(&texts).iter().all(Option::is_some));
        let best = (0..5).map(|_| {
            let began = Instant::now();
            advise::shapes(&texts);
            began.elapsed()
        });
        let best = best.min().unwrap();
        log!("a hundred statements analysed in {best:?}");
        // A debug build of the extension is several times as slow as what is shipped.
        assert!(best.as_millis() < 200, "{best:?}");
    }

    #[pg_test]
    fn where_the_trigram_class_lies() {
        assert_eq!(advise::trigram_opclass(), None);
        run("CREATE SCHEMA \"Odd place\"");
        run("CREATE EXTENSION pg_trgm SCHEMA \"Odd place\"");
        let found = advise::trigram_opclass().unwrap();
        assert_eq!(found, "\"Odd place\".gin_trgm_ops");
        run(&format!(
            "CREATE TABLE words (word text); CREATE INDEX ON words USING gin (word {found})"
        ));
    }
}
