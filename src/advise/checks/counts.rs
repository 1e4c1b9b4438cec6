//! Numbers of rows that only tell whether there are any, and those that tell more.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use perfmon_core::facts::FormKind;
    use pgrx::prelude::*;

    use crate::advise::checks::random::*;
    use crate::advise::checks::words::*;
    use crate::advise::checks::*;

    #[pg_test]
    fn numbers_of_rows_in_other_words() {
        shop();
        all_have(&[
            (
                "SELECT CASE WHEN count(*) > 0 THEN 'some' ELSE 'none' END AS found FROM orders WHERE status = $1",
                "counted known: (count(*) > $2) => SELECT CASE WHEN (EXISTS (SELECT FROM public.orders WHERE (orders.status = $1))) THEN $2 ELSE $3 END AS found",
            ),
            (
                "SELECT CASE WHEN count(*) = $1 THEN $2 WHEN count(*) > $3 THEN $4 END FROM orders",
                "counted: (count(*) = $1) => SELECT CASE WHEN (NOT (EXISTS (SELECT FROM public.orders))) THEN $2 WHEN (EXISTS (SELECT FROM public.orders)) THEN $4 ELSE NULL::text END AS \"case\"",
            ),
            (
                "SELECT c.id, (SELECT count(*) > 0 FROM orders o WHERE o.customer_id = c.id) FROM customers c",
                "counted known: (count(*) > $1) => SELECT (EXISTS (SELECT FROM public.orders o WHERE (o.customer_id = c.id)))",
            ),
            (
                "SELECT * FROM customers c WHERE (SELECT CASE WHEN count(o.id) > 0 THEN 1 ELSE 0 END FROM orders o WHERE o.customer_id = c.id) = 1",
                "counted known: (count(o.id) > $1) => SELECT CASE WHEN (EXISTS (SELECT FROM public.orders o WHERE (o.customer_id = c.id))) THEN $1 ELSE $2 END AS \"case\"",
            ),
            (
                "SELECT CASE WHEN (SELECT count(*) FROM orders) > 0 THEN 1 END",
                "counted known: ((SELECT count(*) AS count FROM public.orders) > $1) => (EXISTS (SELECT FROM public.orders))",
            ),
            (
                "SELECT count(1) > 0 FROM orders",
                "counted known: (count($1) > $2) => SELECT (EXISTS (SELECT FROM public.orders))",
            ),
            (
                "SELECT count($1) > $2 FROM orders",
                "counted given: (count($1) > $2) => SELECT (EXISTS (SELECT FROM public.orders))",
            ),
            (
                "SELECT NOT count(id) > 0 AS empty FROM orders",
                "counted known: (count(orders.id) > $1) => SELECT (NOT (EXISTS (SELECT FROM public.orders))) AS empty",
            ),
            (
                "SELECT count(parent) > 0 FROM orders",
                "counted known: (count(orders.parent) > $1) => SELECT (EXISTS (SELECT FROM public.orders WHERE (orders.parent IS NOT NULL)))",
            ),
            (
                "SELECT (SELECT count(DISTINCT o.status) FROM orders o WHERE o.id > 5) = 0",
                "counted known: ((SELECT count(DISTINCT status) AS count FROM public.orders o WHERE (id > $1)) = $2) => (NOT (EXISTS (SELECT FROM public.orders o WHERE ((id > $1) AND (status IS NOT NULL)))))",
            ),
            (
                "SELECT count(*) FILTER (WHERE active) > 0 FROM customers",
                "counted known: (count(*) FILTER (WHERE customers.active) > $1) => SELECT (EXISTS (SELECT FROM public.customers WHERE customers.active))",
            ),
            (
                "SELECT 1 FROM orders HAVING count(parent) > 0 AND now() > $1",
                "counted known: (count(orders.parent) > $2) => SELECT $2 WHERE ((EXISTS (SELECT FROM public.orders WHERE (orders.parent IS NOT NULL))) AND (now() > $1))",
            ),
            ("SELECT CASE WHEN count(*) > 5 THEN 1 END FROM orders", ""),
            ("SELECT CASE WHEN count(*) > 0 THEN sum(total) END FROM orders", ""),
            ("SELECT CASE WHEN count(*) > 0 THEN (SELECT 1) END FROM orders", ""),
            ("SELECT count(*) > 0, count(*) FROM orders", ""),
            ("SELECT count(*) > 0 FROM orders WHERE random() < 0.5", ""),
            ("SELECT count(*) > 0 FROM orders LIMIT 1 OFFSET 1", ""),
            ("SELECT count(NULL) > 0 FROM orders", ""),
            ("SELECT count(o) > 0 FROM orders o", ""),
            ("SELECT status, CASE WHEN count(*) > 0 THEN 1 END FROM orders GROUP BY status", ""),
            ("SELECT (SELECT count(parent) FROM orders) > 5", ""),
            ("SELECT count(parent) FROM orders", ""),
        ]);
    }

    /// A result of one row that tells whether there are rows, of which $1 tells which.
    const TOLD: [&str; 9] = [
        "SELECT CASE WHEN count(*) > 0 THEN $2 ELSE $3 END FROM b WHERE k = $1",
        "SELECT CASE WHEN count(*) = 0 THEN $3 WHEN count(s) >= 1 THEN $2 END FROM b WHERE k = $1",
        "SELECT $2 AS word, count(1) > 0 FROM b WHERE k = $1",
        "SELECT NOT count(nn) > 0 AS empty FROM b WHERE k = $1",
        "SELECT count(k) = 0 FROM b WHERE nn = $1",
        "SELECT count(DISTINCT s) <> 0, count(*) FROM b WHERE k = $1",
        "SELECT count(*) FILTER (WHERE s = $2) > 0, count(DISTINCT s) < 1 FROM b WHERE k = $1",
        "SELECT count(y.s) > 0 FROM b x LEFT JOIN b y ON y.nn = x.k WHERE x.k = $1",
        "SELECT $2 FROM b WHERE k = $1 HAVING count(s) > 0 OR $3 = $2",
    ];

    #[pg_test]
    fn they_tell_the_same() {
        random_rows();
        let rows = |query: &str| {
            one::<String>(&format!(
                "SELECT coalesce(string_agg(x::text, ';'), 'none') FROM ({query}) x"
            ))
        };
        let mut seen = std::collections::HashSet::new();
        for query in TOLD {
            let forms = shape(query).expect(query).forms;
            if query.contains("count(*) FROM") {
                assert!(forms.is_empty(), "the number itself is wanted: {forms:?}");
                continue;
            }
            let form = only(query);
            assert_eq!(form.kind, FormKind::Counted { known: true, given: false });
            for k in ["0", "1", "2", "3", "4", "5", "6", "10", "99", "NULL::int"] {
                let values = [k, "'a'::text", "'none'::text"];
                let [written, better] =
                    [query, form.better.as_ref().unwrap()].map(|text| rows(&bound(text, &values)));
                assert_eq!(written, better, "{query} with {k}: {form:?}");
                seen.insert((query, written));
            }
        }
        for query in TOLD.iter().filter(|query| !query.contains("count(*) FROM")) {
            let results = seen.iter().filter(|(of, _)| of == query).count();
            assert!(results > 1, "{query} gives the same for all: the test tells nothing");
        }
        // In a subquery, for the rows around it.
        for subquery in [
            "SELECT count(*) > 0 FROM b WHERE b.k = a.k",
            "SELECT CASE WHEN count(b.s) = 0 THEN 5 ELSE 7 END FROM b WHERE b.nn = a.k",
        ] {
            let query = format!("SELECT id, ({subquery}) FROM a");
            let better = only(&query).better.unwrap();
            let better = bound(&better, &["5", "7"]);
            let wrong = one::<i64>(&format!(
                "SELECT count(*) FROM (SELECT ({subquery}) AS w, ({better}) AS b FROM a) x WHERE w IS DISTINCT FROM b"
            ));
            assert_eq!(wrong, Some(0), "{better}");
        }
    }
}
