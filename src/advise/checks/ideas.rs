//! From a text to an index that the planner uses.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use perfmon_core::facts::{Column, Server, Table};
    use perfmon_core::threshold::Thresholds;
    use pgrx::prelude::*;

    use crate::advise;
    use crate::advise::checks::*;

    /// What the facts are to the detectors, for one table.
    fn facts(table: &str) -> Table {
        let columns = format!(
            "SELECT a.attnum, quote_ident(a.attname), s.n_distinct::float8, s.null_frac::float8
             FROM pg_attribute a LEFT JOIN pg_stats s ON s.tablename = '{table}' AND s.attname = a.attname
             WHERE attrelid = '{table}'::regclass AND attnum > 0 ORDER BY attnum"
        );
        let columns = Spi::connect(|c| {
            let rows = c.select(&columns, None, &[]).unwrap();
            rows.map(|r| Column {
                attnum: r.get(1).unwrap().unwrap(),
                name: r.get(2).unwrap().unwrap(),
                distinct: r.get(3).unwrap(),
                null_ratio: r.get(4).unwrap(),
                ..Column::default()
            })
            .collect()
        });
        Table {
            oid: one::<pg_sys::Oid>(&format!("SELECT '{table}'::regclass::oid")).unwrap().to_u32(),
            name: format!("public.{table}"),
            rows: one::<f64>(&format!(
                "SELECT reltuples::float8 FROM pg_class WHERE oid = '{table}'::regclass"
            )),
            columns,
            ..Table::default()
        }
    }

    /// Statement, arguments, and what is proposed for `orders`.
    const PROPOSALS: &[(&str, &str, &str)] = &[
        ("SELECT * FROM orders WHERE customer_id = $1", "7", "(customer_id)"),
        (
            "SELECT * FROM orders WHERE status = $1 AND customer_id = $2",
            "'state 1', 7",
            "(customer_id, status)",
        ),
        (
            "SELECT * FROM orders WHERE customer_id = $1 ORDER BY created_at DESC LIMIT $2",
            "7, 10",
            "(customer_id, created_at)",
        ),
        (
            "SELECT * FROM orders ORDER BY total DESC NULLS LAST LIMIT $1",
            "10",
            "(total DESC NULLS LAST)",
        ),
        ("SELECT max(created_at) FROM orders", "", "(created_at)"),
        (
            "SELECT * FROM orders WHERE created_at >= $1 AND created_at < $2",
            "now(), now()",
            "(created_at)",
        ),
        ("SELECT * FROM orders WHERE upper(status) = $1", "'x'", "((upper(status)))"),
        ("SELECT * FROM orders WHERE customer_id + id = $1", "5", "((customer_id + id))"),
        ("SELECT * FROM orders WHERE data @> $1", "'{\"k\": 1}'", "USING gin (data)"),
        ("SELECT * FROM orders WHERE tags && $1", "'{a}'", "USING gin (tags)"),
        ("SELECT * FROM orders WHERE words @@ $1", "'word7'", "USING gin (words)"),
        (
            "SELECT * FROM orders WHERE during && $1",
            "'[2000-01-01,2000-01-02)'",
            "USING gist (during)",
        ),
        (
            "SELECT * FROM orders WHERE status LIKE $1",
            "'%xyzzy%'",
            "USING gin (status public.gin_trgm_ops)",
        ),
        ("SELECT * FROM orders WHERE status LIKE 'xyz%'", "", "(status text_pattern_ops)"),
        (
            "SELECT * FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.email = $1",
            "'Who5@example.org'",
            "(customer_id)",
        ),
        ("UPDATE orders SET total = 0 WHERE parent = $1", "9", "(parent)"),
    ];

    /// The index that is proposed for a statement is one that the planner takes.
    #[pg_test]
    fn what_is_proposed_is_used() {
        shop();
        run("CREATE EXTENSION pg_trgm");
        run("INSERT INTO orders SELECT n, n % 700, 'state ' || n % 4, now() - n * interval '1 minute',
                localtimestamp - n * interval '1 minute', n, ARRAY['tag ' || n % 900], jsonb_build_object('k', n),
                to_tsvector('simple', 'word' || n), tsrange(localtimestamp, localtimestamp + interval '1 hour'), n / 2
            FROM generate_series(1, 20000) n");
        run("INSERT INTO customers SELECT n, 'Who' || n || '@example.org', 'Name ' || md5(n::text), n % 30, n % 2 = 0,
                date '2000-01-01' + n FROM generate_series(1, 700) n");
        run("ANALYZE orders, customers");
        let server = Server {
            extensions: vec![("pg_trgm".into(), String::new())],
            trigram_opclass: advise::trigram_opclass(),
            ..Server::default()
        };
        let orders = facts("orders");
        for (query, arguments, expected) in PROPOSALS {
            let shape = shape(query).expect(query);
            let idea = shape.candidate_index(&orders, &[], &server, &Thresholds::default());
            let statement = idea.expect(query).statement(&orders).unwrap();
            let (before, after) = statement.split_at("CREATE INDEX ".len());
            let rest = after.strip_prefix("CONCURRENTLY ").unwrap();
            assert_eq!(rest, format!("ON public.orders {expected};"), "{query}");
            run(&format!("{before}proposed {rest}"));
            run(&format!("PREPARE q AS {query}"));
            // For a pattern that is not known, the planner has a plan for each execution.
            let call =
                if arguments.is_empty() { "q".to_owned() } else { format!("q ({arguments})") };
            let plan = Spi::connect(|c| {
                let rows = c.select(&format!("EXPLAIN EXECUTE {call}"), None, &[]).unwrap();
                rows.map(|r| r.get::<String>(1).unwrap().unwrap()).collect::<Vec<_>>().join("\n")
            });
            assert!(plan.contains(" proposed"), "{query}\n{plan}");
            run("DEALLOCATE q; DROP INDEX proposed");
        }
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
