//! Forms that are said to mean the same give the same rows, of random tables full of NULLs and duplicates.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use perfmon_core::facts::{Form, FormKind};
    use pgrx::prelude::*;

    use crate::advise::checks::*;

    fn random_rows() {
        run("SELECT setseed(0.6)");
        run(
            "CREATE TABLE public.a (id int NOT NULL, k int, n numeric, t timestamp, z timestamptz, d date, s text, nn int NOT NULL)",
        );
        run("INSERT INTO public.a SELECT i, CASE WHEN random() < 0.8 THEN (random() * 12)::int - 3 END,
                CASE WHEN random() < 0.8 THEN round((random() * 8)::numeric, 1) END,
                CASE WHEN random() < 0.9 THEN date_trunc(CASE WHEN random() < 0.3 THEN 'month' WHEN random() < 0.5 THEN 'day' ELSE 'microseconds' END,
                    timestamp '2023-12-25' + random() * interval '70 days') END,
                CASE WHEN random() < 0.9 THEN timestamptz '2024-03-25 00:00+00' + (random() * 14 * 24)::int * interval '30 minutes' END,
                CASE WHEN random() < 0.9 THEN date '2024-01-01' + (random() * 10)::int END,
                CASE WHEN random() < 0.8 THEN chr(97 + (random() * 4)::int) END, (random() * 12)::int
             FROM generate_series(1, 1500) i");
        run("CREATE TABLE public.b (k int, nn int NOT NULL, s text)");
        run("INSERT INTO public.b SELECT CASE WHEN random() < 0.9 THEN (random() * 6)::int END, (random() * 5)::int * 2,
                CASE WHEN random() < 0.5 THEN 'a' END FROM generate_series(1, 40)");
    }

    /// With values in place of parameters, the highest number first.
    fn bound(text: &str, values: &[&str]) -> String {
        let mut text = text.to_owned();
        for (i, value) in values.iter().enumerate().rev() {
            text = text.replace(&format!("${}", i + 1), &format!("({value})"));
        }
        text
    }

    fn only(query: &str) -> Form {
        let mut forms = shape(query).expect(query).forms;
        assert_eq!(forms.len(), 1, "{query}: {forms:?}");
        forms.remove(0)
    }

    /// Rows that one form finds and the other does not, and how many are found.
    fn compared(form: &Form, values: &[&str]) -> (i64, i64) {
        let [written, better] =
            [&form.expression, form.better.as_ref().unwrap()].map(|text| bound(text, values));
        let sql = format!(
            "WITH w AS (SELECT * FROM public.a WHERE {written}), b AS (SELECT * FROM public.a WHERE {better})
             SELECT (SELECT count(*) FROM (TABLE w EXCEPT ALL TABLE b) x)
                  + (SELECT count(*) FROM (TABLE b EXCEPT ALL TABLE w) y)"
        );
        let differ = one::<i64>(&sql).expect(&sql);
        (differ, one::<i64>(&format!("SELECT count(*) FROM public.a WHERE {written}")).unwrap())
    }

    fn same(query: &str, values: &[Vec<&str>]) {
        let form = only(query);
        let mut found = 0;
        for values in values {
            let (differ, rows) = compared(&form, values);
            assert_eq!(differ, 0, "{form:?} with {values:?}");
            found += rows;
        }
        assert!(found > 0, "{query} finds nothing: the test tells nothing");
    }

    const SIGNS: [&str; 5] = ["<", "<=", "=", ">=", ">"];
    const MOMENTS: [&str; 5] = [
        "timestamp '2024-01-01'",
        "timestamp '2024-01-15'",
        "timestamp '2024-01-31 13:30'",
        "timestamp '2024-02-01'",
        "NULL::timestamp",
    ];

    #[pg_test]
    fn units_of_time_as_ranges() {
        random_rows();
        for sign in SIGNS {
            for unit in ["day", "week", "month", "quarter", "year", "hour"] {
                let query = format!("SELECT * FROM a WHERE date_trunc('{unit}', t) {sign} $1");
                assert!(matches!(
                    only(&query).kind,
                    FormKind::Truncated { unit_known: true, zoned: false }
                ));
                // A year holds all rows or none.
                let mut moments = MOMENTS.to_vec();
                moments.push("timestamp '2023-01-01'");
                moments.push("(SELECT date_trunc('hour', max(t)) FROM public.a)");
                let values: Vec<_> = moments.iter().map(|moment| vec![*moment]).collect();
                same(&query, &values);
            }
            let query = format!("SELECT * FROM a WHERE date_trunc($1, t) {sign} $2");
            for unit in ["'day'", "'week'", "'month'", "'year'"] {
                let values: Vec<_> = MOMENTS.iter().map(|moment| vec![unit, *moment]).collect();
                let form = only(&query);
                for values in values {
                    assert_eq!(compared(&form, &values).0, 0, "{form:?} with {values:?}");
                }
            }
        }
    }

    #[pg_test]
    fn days_as_ranges() {
        random_rows();
        let days = ["date '2024-01-15'", "date '2024-02-01'", "date '2023-12-25'", "NULL::date"];
        let values: Vec<_> = days.iter().map(|day| vec![*day]).collect();
        for sign in SIGNS {
            same(&format!("SELECT * FROM a WHERE t::date {sign} $1"), &values);
        }
        // The clocks of this zone change at two in the morning, on a day within the data.
        run("SET TimeZone = 'Europe/Berlin'");
        let days = ["date '2024-03-31'", "date '2024-03-30'", "date '2024-04-01'"];
        let values: Vec<_> = days.iter().map(|day| vec![*day]).collect();
        for sign in SIGNS {
            same(&format!("SELECT * FROM a WHERE z::date {sign} $1"), &values);
        }
    }

    #[pg_test]
    fn arithmetic_and_defaults() {
        random_rows();
        let numbers: Vec<_> = ["0", "3", "7", "NULL::int"].map(|n| vec![n, "2"]).to_vec();
        for sign in SIGNS {
            for term in ["k + 2", "2 + k", "k - 2"] {
                let query = format!("SELECT * FROM a WHERE {term} {sign} $1::int");
                assert_eq!(only(&query).kind, FormKind::Shifted { exact: true });
                same(&query, &numbers);
            }
            same(&format!("SELECT * FROM a WHERE n + 2 {sign} $1::numeric"), &numbers);
            same(&format!("SELECT * FROM a WHERE coalesce(k, 2) {sign} $1"), &numbers);
            same(&format!("SELECT * FROM a WHERE coalesce(nn, 2) {sign} $1"), &numbers);
        }
    }

    #[pg_test]
    fn not_in_without_nulls() {
        random_rows();
        let query = "SELECT * FROM a WHERE nn NOT IN (SELECT nn FROM b)";
        assert_eq!(
            only(query).kind,
            FormKind::NotIn { inner_nullable: false, outer_nullable: false }
        );
        same(query, &[vec![]]);
        let query =
            "SELECT * FROM a WHERE nn <> ALL (SELECT k FROM b WHERE k IS NOT NULL AND s = $1)";
        assert_eq!(
            only(query).kind,
            FormKind::NotIn { inner_nullable: false, outer_nullable: false }
        );
        same(query, &[vec!["'a'"], vec!["'none'"], vec!["NULL::text"]]);
        // Where NULLs are, the forms differ, and are said to.
        for (query, kind) in [
            ("SELECT * FROM a WHERE nn NOT IN (SELECT k FROM b)", (true, false)),
            ("SELECT * FROM a WHERE k NOT IN (SELECT nn FROM b)", (false, true)),
        ] {
            let form = only(query);
            let (inner_nullable, outer_nullable) = kind;
            assert_eq!(form.kind, FormKind::NotIn { inner_nullable, outer_nullable });
            assert!(compared(&form, &[]).0 > 0, "the same in these data: {form:?}");
        }
        // An outer join makes NULLs of a column that has none.
        let query =
            "SELECT * FROM a WHERE nn NOT IN (SELECT y.nn FROM b x LEFT JOIN b y ON x.k = y.nn)";
        let kind = FormKind::NotIn { inner_nullable: true, outer_nullable: false };
        assert_eq!(only(query).kind, kind);
    }

    #[pg_test]
    fn counting_to_see_whether_there_is_any() {
        random_rows();
        for (sign, number) in [(">", 0), (">=", 1), ("<>", 0), ("=", 0), ("<", 1), ("<=", 0)] {
            let query = format!(
                "SELECT * FROM a WHERE (SELECT count(*) FROM b WHERE b.k = a.k) {sign} {number}"
            );
            let form = only(&query);
            assert_eq!(form.kind, FormKind::Counted { known: true });
            let number = number.to_string();
            same(&query, &[vec![number.as_str()]]);
        }
        let form = only("SELECT count(*) > 0 FROM b WHERE k = 99");
        let better = bound(&form.better.unwrap(), &["0", "99"]);
        assert_eq!(one::<bool>(&better.replace("(0)", "(99)")), Some(false), "{better}");
    }
}
