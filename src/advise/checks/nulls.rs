//! Where NOT IN may meet a NULL, and where it cannot.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use std::fmt::Write;

    use perfmon_core::facts::FormKind;
    use pgrx::prelude::*;

    use crate::advise::checks::random::*;
    use crate::advise::checks::*;

    /// A subquery, and whether it may give NULL.
    const SUBQUERIES: [(&str, bool); 31] = [
        ("SELECT nn FROM b", false),
        ("SELECT k FROM b", true),
        ("SELECT k FROM b WHERE k IS NOT NULL AND s = 'a'", false),
        ("SELECT k FROM b WHERE k > 3", false),
        ("SELECT k FROM b WHERE k > 3 OR s = 'a'", true),
        ("SELECT nn FROM b GROUP BY nn", false),
        ("SELECT k FROM b WHERE k > 3 GROUP BY k", false),
        ("SELECT DISTINCT nn FROM b ORDER BY nn LIMIT 5", false),
        // Rows that sum up others have NULL in place of what they sum up over.
        ("SELECT nn FROM b GROUP BY ROLLUP (nn)", true),
        ("SELECT nn FROM b GROUP BY CUBE (nn, k)", true),
        ("SELECT nn FROM b GROUP BY GROUPING SETS ((nn), (k))", true),
        ("SELECT nn FROM b GROUP BY nn, ROLLUP (k)", true),
        ("SELECT k FROM b WHERE k IS NOT NULL GROUP BY ROLLUP (k)", true),
        // Outer joins fill up with NULLs.
        ("SELECT y.nn FROM b x LEFT JOIN b y ON x.k = y.nn", true),
        ("SELECT x.nn FROM b x LEFT JOIN b y ON x.k = y.nn", false),
        ("SELECT x.nn FROM b x RIGHT JOIN b y ON x.k = y.nn", true),
        ("SELECT x.nn FROM b x FULL JOIN b y ON x.k = y.nn", true),
        ("SELECT z.nn FROM b x LEFT JOIN (b y JOIN b z ON y.k = z.k) ON x.k = y.nn", true),
        ("SELECT y.nn FROM b x LEFT JOIN b y ON x.k = y.nn WHERE y.nn > 2", false),
        ("SELECT nn FROM b x LEFT JOIN b y USING (nn)", false),
        ("SELECT nn FROM (SELECT y.nn FROM b x LEFT JOIN b y ON x.k = y.nn) s", true),
        ("SELECT nn FROM joined", true),
        ("WITH w AS (SELECT y.nn FROM b x LEFT JOIN b y ON x.k = y.nn) SELECT nn FROM w", true),
        // Each of several queries may give one.
        ("SELECT nn FROM b UNION SELECT k FROM b", true),
        ("SELECT nn FROM b UNION ALL SELECT k FROM b", true),
        ("SELECT nn FROM (SELECT nn FROM b UNION ALL SELECT k FROM b) s", true),
        // Of rows that lie elsewhere, the server does not know.
        ("SELECT v FROM remote", true),
        ("SELECT v FROM parted", false),
        ("SELECT v FROM parted_remotely", true),
        ("SELECT v FROM parent", true),
        ("SELECT v FROM ONLY alone", false),
    ];

    fn more_tables() {
        run(
            "CREATE VIEW public.joined AS SELECT y.nn FROM public.b x LEFT JOIN public.b y ON x.k = y.nn",
        );
        run("CREATE FOREIGN DATA WRAPPER nowhere");
        run("CREATE SERVER away FOREIGN DATA WRAPPER nowhere");
        run("CREATE FOREIGN TABLE public.remote (v int NOT NULL) SERVER away");
        for table in ["parted", "parted_remotely"] {
            run(&format!("CREATE TABLE public.{table} (v int NOT NULL) PARTITION BY RANGE (v)"));
            run(&format!(
                "CREATE TABLE public.{table}_1 PARTITION OF public.{table} FOR VALUES FROM (0) TO (9)"
            ));
        }
        run(
            "CREATE FOREIGN TABLE public.parted_2 PARTITION OF public.parted_remotely FOR VALUES FROM (9) TO (19) SERVER away",
        );
        run("CREATE TABLE public.alone (v int NOT NULL)");
        run("CREATE TABLE public.parent (v int NOT NULL)");
        match pg_sys::PG_VERSION_NUM < 180_000 {
            // What a table inherits, it may drop.
            true => {
                run("CREATE TABLE public.child () INHERITS (public.parent)");
                run("ALTER TABLE public.child ALTER v DROP NOT NULL");
            }
            // Rows that are there already may have NULL.
            false => {
                run("ALTER TABLE public.parent ALTER v DROP NOT NULL");
                run("INSERT INTO public.parent VALUES (NULL)");
                run("ALTER TABLE public.parent ADD CONSTRAINT later NOT NULL v NOT VALID");
            }
        }
    }

    /// Which of both sides may hold a NULL, and whether rows are compared.
    fn not_in((inner_nullable, outer_nullable): (bool, bool), rows: bool) -> FormKind {
        FormKind::NotIn { inner_nullable, outer_nullable, rows, hashable: true }
    }

    #[pg_test]
    fn subqueries_that_no_hash_table_holds() {
        random_rows();
        for (condition, expected) in [
            ("nn NOT IN (SELECT nn FROM b)", true),
            ("nn NOT IN (SELECT nn FROM b WHERE k > 1)", true),
            ("nn NOT IN (SELECT nn FROM b WHERE b.k = a.k)", false),
            ("(nn, id) NOT IN (SELECT nn, nn FROM b)", true),
            ("(nn, id) NOT IN (SELECT nn, nn FROM b WHERE b.s < a.s)", false),
        ] {
            let form = only(&format!("SELECT * FROM a WHERE {condition}"));
            let is = matches!(form.kind, FormKind::NotIn { hashable, .. } if hashable == expected);
            assert!(is, "{form:?}");
        }
    }

    #[pg_test]
    fn not_in_without_nulls() {
        random_rows();
        more_tables();
        let mut wrong = String::new();
        for (subquery, nullable) in SUBQUERIES {
            let query = format!("SELECT * FROM a WHERE nn NOT IN ({subquery})");
            let kind = not_in((nullable, false), false);
            let forms = shape(&query).expect(&query).forms;
            if !matches!(&forms[..], [form] if form.kind == kind) {
                write!(wrong, "\n{subquery}: {forms:?}, and not {kind:?}").unwrap();
            }
            if let ([form], false) = (&forms[..], nullable)
                && form.better.is_some()
                && !subquery.contains(" alone")
                && !subquery.contains(" parted")
            {
                same(&query, &[vec![if subquery.contains("'a'") { "'a'" } else { "2" }]]);
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
        // What is computed of both sides of a join is not looked into.
        assert!(
            shape("SELECT * FROM a WHERE nn NOT IN (SELECT nn FROM b x FULL JOIN b y USING (nn))")
                .unwrap()
                .forms
                .is_empty()
        );
        let query =
            "SELECT * FROM a WHERE nn <> ALL (SELECT k FROM b WHERE k IS NOT NULL AND s = $1)";
        let kind = not_in((false, false), false);
        assert_eq!(only(query).kind, kind);
        same(query, &[vec!["'a'"], vec!["'none'"], vec!["NULL::text"]]);
    }

    #[pg_test]
    fn not_in_with_nulls() {
        random_rows();
        // Where NULLs are, the forms differ, and are said to.
        for (query, kind) in [
            ("SELECT * FROM a WHERE nn NOT IN (SELECT k FROM b)", (true, false)),
            ("SELECT * FROM a WHERE k NOT IN (SELECT nn FROM b)", (false, true)),
            (
                "SELECT * FROM a WHERE nn NOT IN (SELECT y.nn FROM b x LEFT JOIN b y ON x.k = y.nn)",
                (true, false),
            ),
        ] {
            let form = only(query);
            assert_eq!(form.kind, not_in(kind, false));
            assert!(compared(&form, &[]).0 > 0, "the same in these data: {form:?}");
        }
        for table in ["nn IN (SELECT nn FROM b GROUP BY ROLLUP (nn))", "nn IN (SELECT nn FROM b)"] {
            let nothing = table.contains("ROLLUP");
            let rows = one::<i64>(&format!("SELECT count(*) FROM a WHERE NOT {table}")).unwrap();
            assert_eq!(rows == 0, nothing, "{table}: {rows}");
        }
        let query =
            "SELECT x.id FROM a x LEFT JOIN b y ON x.k = y.k WHERE y.nn NOT IN (SELECT nn FROM b)";
        let kind = not_in((false, true), false);
        assert_eq!(only(query).kind, kind);
    }

    /// Conditions that compare rows, and which of both sides may hold a NULL.
    const ROWS: [(&str, (bool, bool)); 7] = [
        ("(id, nn) NOT IN (SELECT nn, nn FROM b)", (false, false)),
        ("(nn, id) <> ALL (SELECT nn, nn + 0 FROM b)", (true, false)),
        ("(nn, nn) <> ALL (SELECT nn, k FROM b WHERE k > 1)", (false, false)),
        ("(nn, k) NOT IN (SELECT nn, nn FROM b)", (false, true)),
        ("(nn, nn) NOT IN (SELECT nn, k FROM b)", (true, false)),
        ("(k, k) NOT IN (SELECT k, k FROM b)", (true, true)),
        ("(nn, s) NOT IN (SELECT x.nn, y.s FROM b x LEFT JOIN b y ON x.nn = y.nn)", (true, true)),
    ];

    #[pg_test]
    fn not_in_of_rows() {
        random_rows();
        for (condition, (inner_nullable, outer_nullable)) in ROWS {
            let query = format!("SELECT * FROM a WHERE {condition}");
            // Of what is computed nobody knows whether it may be NULL.
            if condition.contains("nn + 0") {
                assert!(shape(&query).unwrap().forms.is_empty(), "{query}");
                continue;
            }
            let form = only(&query);
            let kind = not_in((inner_nullable, outer_nullable), true);
            assert_eq!((form.kind.clone(), form.attnum), (kind, 0), "{query}");
            match inner_nullable || outer_nullable {
                false => same(&query, &[vec!["1"]]),
                true => assert!(compared(&form, &["1"]).0 > 0, "the same in these data: {form:?}"),
            }
        }
        // Rows that are in order are no rows that are equal.
        for twin in [
            "(id, nn) IN (SELECT nn, nn FROM b)",
            "NOT ((id, nn) < ALL (SELECT nn, nn FROM b))",
            "(id, nn) <> ANY (SELECT nn, nn FROM b)",
            "NOT EXISTS (SELECT FROM b WHERE b.nn = id AND b.nn = a.nn)",
        ] {
            let forms = shape(&format!("SELECT * FROM a WHERE {twin}")).unwrap().forms;
            assert!(forms.is_empty(), "{twin}: {forms:?}");
        }
    }
}
