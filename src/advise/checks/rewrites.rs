//! Forms that are said to mean the same give the same rows; those of which it is not said differ somewhere.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use perfmon_core::facts::{FormKind, Moved};
    use pgrx::prelude::*;

    use crate::advise::checks::random::*;
    use crate::advise::checks::*;

    const SIGNS: [&str; 5] = ["<", "<=", "=", ">=", ">"];
    const MOMENTS: [&str; 5] = [
        "timestamp '2024-01-01'",
        "timestamp '2024-01-15'",
        "timestamp '2024-01-31 13:30'",
        "timestamp '2024-02-01'",
        "NULL::timestamp",
    ];
    /// All that date_trunc takes.
    const UNITS: [&str; 13] = [
        "microseconds",
        "milliseconds",
        "second",
        "minute",
        "hour",
        "day",
        "week",
        "month",
        "quarter",
        "year",
        "decade",
        "century",
        "millennium",
    ];

    /// Moments within the data and at the edges of units, some in the years before the first.
    fn moments(unit: &str) -> Vec<String> {
        let mut all: Vec<String> = MOMENTS.into_iter().map(str::to_owned).collect();
        let edges = ["2023-01-01", "2000-01-01", "2001-01-01", "0001-01-01", "0100-01-01 BC"];
        for edge in edges.into_iter().chain(["infinity", "-infinity"]) {
            all.push(format!("timestamp '{edge}'"));
        }
        for id in [1, 1502, 1600] {
            let stored = format!(
                "SELECT t FROM public.a WHERE t IS NOT NULL AND id >= {id} ORDER BY id LIMIT 1"
            );
            all.push(format!("SELECT date_trunc('{unit}', x.t) FROM ({stored}) x"));
            all.push(stored);
        }
        all
    }

    /// Whether no form is given, but words at most for what executions prove.
    fn in_words_alone(query: &str) -> bool {
        let forms = shape(query).unwrap().forms;
        forms.iter().all(|form| form.kind == FormKind::Templated && form.better.is_none())
    }

    #[pg_test]
    fn units_of_time_as_ranges() {
        random_rows();
        infinite_times();
        for unit in UNITS {
            let all = moments(unit);
            let quoted = format!("'{unit}'");
            let known: Vec<Vec<&str>> = all.iter().map(|moment| vec![moment.as_str()]).collect();
            let few = all.iter().skip(2).step_by(4);
            let given: Vec<Vec<&str>> =
                few.map(|moment| vec![quoted.as_str(), moment.as_str()]).collect();
            for sign in SIGNS {
                let query =
                    format!("SELECT * FROM a WHERE date_trunc('{unit}', t) {sign} $1::timestamp");
                let form = only(&query);
                assert_eq!(
                    (form.kind, form.guessed),
                    (FormKind::Truncated { zoned: false }, false)
                );
                same(&query, &known);
                let query = format!("SELECT * FROM a WHERE date_trunc($1, t) {sign} $2::timestamp");
                let form = only(&query);
                assert_eq!(
                    (form.kind, form.guessed),
                    (FormKind::Truncated { zoned: false }, false)
                );
                same(&query, &given);
            }
        }
    }

    #[pg_test]
    fn units_by_other_names() {
        random_rows();
        for (name, unit) in [
            ("qtr", "quarter"),
            ("QUARTER", "quarter"),
            ("mons", "month"),
            ("c", "century"),
            ("Days", "day"),
        ] {
            let all = moments(unit);
            let quoted = format!("'{name}'");
            let known: Vec<Vec<&str>> = all.iter().map(|moment| vec![moment.as_str()]).collect();
            let given: Vec<Vec<&str>> =
                all.iter().map(|moment| vec![quoted.as_str(), moment.as_str()]).collect();
            same(
                &format!("SELECT * FROM a WHERE date_trunc('{name}', t) >= $1::timestamp"),
                &known,
            );
            same("SELECT * FROM a WHERE date_trunc($1, t) = $2::timestamp", &given);
        }
        // What is no unit has no end.
        for name in ["fortnight", "timezone", "epoch"] {
            let query = format!("SELECT * FROM a WHERE date_trunc('{name}', t) = $1");
            assert_eq!(only(&query).better, None, "{name}");
        }
    }

    #[pg_test]
    fn days_as_ranges() {
        random_rows();
        infinite_times();
        let days = ["date '2024-01-15'", "date '2024-02-01'", "date '2023-12-25'", "NULL::date"];
        let never = ["date 'infinity'", "date '-infinity'"];
        let values: Vec<_> = days.iter().chain(&never).map(|day| vec![*day]).collect();
        let never = ["timestamp 'infinity'", "timestamp '-infinity'"];
        let moments: Vec<_> = MOMENTS.iter().chain(&never).map(|moment| vec![*moment]).collect();
        for sign in SIGNS {
            let query = format!("SELECT * FROM a WHERE t::date {sign} $1::date");
            let form = only(&query);
            assert_eq!((form.kind, form.guessed), (FormKind::Dated { zoned: false }, false));
            same(&query, &values);
            // A day is compared with a time of the day by its midnight.
            let query = format!("SELECT * FROM a WHERE t::date {sign} $1::timestamp");
            let form = only(&query);
            assert_eq!((form.kind, form.guessed), (FormKind::Dated { zoned: false }, false));
            same(&query, &moments);
            let query = format!("SELECT * FROM a WHERE t::date {sign} $1::timestamptz");
            assert_eq!(only(&query).kind, FormKind::Dated { zoned: true });
        }
        // Any of several days.
        let lists: Vec<_> = values.iter().map(|one| vec![one[0], "date '2024-01-16'"]).collect();
        let query = "SELECT * FROM a WHERE t::date IN ($1::date, $2::date)";
        let form = only(query);
        assert_eq!((form.kind, form.guessed), (FormKind::Dated { zoned: false }, false));
        same(query, &lists);
        let query =
            "SELECT * FROM a WHERE date_trunc('month', t) IN ($1::timestamp, $2::timestamp)";
        same(query, &[vec!["timestamp '2024-01-01'", "timestamp 'infinity'"]]);
        // How many values an array has, nobody knows.
        assert_eq!(only("SELECT * FROM a WHERE t::date = ANY ($1::date[])").better, None);
        // A parameter without a type may have a time of the day.
        let form = only("SELECT * FROM a WHERE t::date = $1");
        assert!(form.guessed);
        assert!(compared(&form, &["timestamp '2024-01-15 12:00'"]).0 > 0, "the same: {form:?}");
        // The clocks of this zone change at two in the morning, on a day within the data.
        run("SET TimeZone = 'Europe/Berlin'");
        let days =
            ["date '2024-03-31'", "date '2024-03-30'", "date '2024-04-01'", "date 'infinity'"];
        let values: Vec<_> = days.iter().map(|day| vec![*day]).collect();
        for sign in SIGNS {
            same(&format!("SELECT * FROM a WHERE z::date {sign} $1"), &values);
        }
    }

    #[pg_test]
    fn arithmetic_and_defaults() {
        random_rows();
        let whole: Vec<_> =
            ["0", "3", "7", "NULL::int"].into_iter().map(|n| vec![n, "2"]).collect();
        let decimal: Vec<_> = ["0.5", "3.2", "7", "NULL::numeric"].map(|n| vec![n, "1.2"]).to_vec();
        let days: Vec<_> =
            ["2024-01-03", "2024-01-09", "infinity"].map(|day| format!("date '{day}'")).to_vec();
        let day_and_number: Vec<Vec<&str>> =
            days.iter().map(|day| vec![day.as_str(), "2"]).collect();
        let number_and_day = vec![vec!["-3", days[0].as_str()], vec!["2", days[1].as_str()]];
        let two_days: Vec<Vec<&str>> =
            days[..2].iter().map(|day| vec![day.as_str(), "date '2024-01-06'"]).collect();
        let all = [
            ("int", &whole, vec!["k + $2::int", "$2::int + k", "k - $2::int", "$2::int - k"]),
            (
                "numeric",
                &decimal,
                vec!["n + $2::numeric", "$2::numeric + n", "n - $2::numeric", "$2::numeric - n"],
            ),
            ("date", &day_and_number, vec!["d + $2::int", "$2::int + d", "d - $2::int"]),
            ("int", &number_and_day, vec!["d - $2::date", "$2::date - d"]),
            ("date", &two_days, vec!["k + $2::date", "$2::date + k", "$2::date - k"]),
        ];
        for (of_type, values, terms) in all {
            for (term, sign) in terms.iter().flat_map(|term| SIGNS.map(|sign| (*term, sign))) {
                let query = format!("SELECT * FROM a WHERE {term} {sign} $1::{of_type}");
                let form = only(&query);
                assert_eq!(form.kind, FormKind::Shifted { moved: Moved::Exact }, "{query}");
                assert!(!form.guessed, "{query}");
                same(&query, values);
                let bare =
                    query.replace("::int", "").replace("::numeric", "").replace("::date", "");
                let guessed = shape(&bare).map(|shape| shape.forms).unwrap_or_default();
                assert!(
                    guessed.iter().all(|form| form.better.is_none() || form.guessed),
                    "{bare}: {guessed:?}"
                );
            }
        }
        for sign in SIGNS {
            for (column, of_type) in [("k", "int"), ("nn", "int"), ("n", "numeric")] {
                let query = format!(
                    "SELECT * FROM a WHERE coalesce({column}, $2::{of_type}) {sign} $1::{of_type}"
                );
                let form = only(&query);
                assert_eq!((form.kind, form.guessed), (FormKind::Defaulted, false));
                same(&query, &whole);
            }
        }
        // The collation of a default is that of the comparison.
        let query = "SELECT * FROM a WHERE coalesce(s, $1::text COLLATE \"C\") < $2::text";
        assert!(in_words_alone(query), "{:?}", shape(query));
    }

    #[pg_test]
    fn numbers_whose_type_is_not_told_may_be_rounded() {
        random_rows();
        let form = only("SELECT * FROM a WHERE n + $2 = $1");
        assert_eq!((&form.kind, form.guessed), (&FormKind::Shifted { moved: Moved::Exact }, true));
        let floats = ["0.30000000000000004::float8", "0.1::float8"];
        assert!(compared(&form, &floats).0 > 0, "the same in these data: {form:?}");
        let form = only("SELECT * FROM a WHERE f + $2::float8 = $1::float8");
        assert_eq!(form.kind, FormKind::Shifted { moved: Moved::Rounded });
        assert!(compared(&form, &floats).0 > 0, "the same in these data: {form:?}");
        assert!(only("SELECT * FROM a WHERE coalesce(k, $2) = $1").guessed);
        // Days or a date, a span or a moment: nothing tells, and a form would have to give them a type.
        for condition in ["d - $2 = $1", "d + $2 > $1", "$2 - d < $1", "t - $2 > $1", "$2 - z > $1"]
        {
            let query = format!("SELECT * FROM a WHERE {condition}");
            assert!(in_words_alone(&query), "{condition}: {:?}", shape(&query));
        }
        // One that is known tells the other.
        let form = only("SELECT * FROM a WHERE d - $2 = $1::date");
        assert_eq!(form.better.as_deref(), Some("a.d = ($1)::date + ($2)::integer"));
        assert_eq!(compared(&form, &["date '2024-01-03'", "2"]).0, 0, "{form:?}");
        let form = only("SELECT * FROM a WHERE t + $2 > $1");
        let expected = "a.t > ($1)::timestamp without time zone - ($2)::interval";
        assert_eq!(form.better.as_deref(), Some(expected));
    }

    #[pg_test]
    fn products_become_quotients() {
        random_rows();
        for sign in SIGNS {
            for term in ["k * $2::int", "$2::int * k"] {
                let query = format!("SELECT * FROM a WHERE {term} {sign} $1::int");
                assert_eq!(only(&query).kind, FormKind::Shifted { moved: Moved::Divided });
                // Those that can be divided without rest, and those that cannot.
                let pairs = [
                    ("5", "2"),
                    ("6", "3"),
                    ("-5", "2"),
                    ("-4", "2"),
                    ("0", "3"),
                    ("NULL::int", "2"),
                ];
                same(&query, &pairs.map(|(value, factor)| vec![value, factor]));
            }
            let query = format!("SELECT * FROM a WHERE n * $2::numeric {sign} $1::numeric");
            assert_eq!(only(&query).kind, FormKind::Shifted { moved: Moved::Divided });
            same(&query, &[vec!["4.8", "1.2"], vec!["5", "2"], vec!["-1", "4"], vec!["0", "0.5"]]);
        }
        // One below zero turns the sign.
        let form = only("SELECT * FROM a WHERE k * $2::int < $1::int");
        assert!(compared(&form, &["5", "-2"]).0 > 0, "the same in these data: {form:?}");
    }

    #[pg_test]
    fn spans_of_time_are_not_of_one_length() {
        random_rows();
        let moments = ["timestamp '2024-01-15'", "timestamp '2024-02-29'"];
        for sign in SIGNS {
            for (term, of_type) in [
                ("t + $2::interval", "timestamp"),
                ("$2::interval + t", "timestamp"),
                ("t - $2::interval", "timestamp"),
            ] {
                let query = format!("SELECT * FROM a WHERE {term} {sign} $1::{of_type}");
                assert_eq!(only(&query).kind, FormKind::Shifted { moved: Moved::Span });
                same(&query, &moments.map(|moment| vec![moment, "interval '48 hours'"]));
            }
            for term in ["t - $2::timestamp", "$2::timestamp - t"] {
                let query = format!("SELECT * FROM a WHERE {term} {sign} $1::interval");
                assert_eq!(only(&query).kind, FormKind::Shifted { moved: Moved::Span });
                same(&query, &moments.map(|moment| vec!["interval '-1 day'", moment]));
            }
        }
        let form = only("SELECT * FROM a WHERE t + $2::interval > $1::timestamp");
        assert!(compared(&form, &[moments[1], "interval '1 month'"]).0 > 0, "{form:?}");
        // How old rows may be, as it is mostly written.
        let form = only("SELECT * FROM a WHERE now() - z < $1");
        assert_eq!(form.better.as_deref(), Some("a.z > now() - ($1)::interval"));
    }

    #[pg_test]
    fn counting_to_see_whether_there_is_any() {
        random_rows();
        let counted = "(SELECT count(*) FROM b WHERE b.k = a.k)";
        let signs = [
            (">", "<", 0),
            (">=", "<=", 1),
            ("<>", "<>", 0),
            ("=", "=", 0),
            ("<", ">", 1),
            ("<=", ">=", 0),
        ];
        for (sign, turned, number) in signs {
            for condition in
                [format!("{counted} {sign} {number}"), format!("{number} {turned} {counted}")]
            {
                let query = format!("SELECT * FROM a WHERE {condition}");
                assert_eq!(only(&query).kind, FormKind::Counted { known: true, given: false });
                let number = number.to_string();
                same(&query, &[vec![number.as_str()]]);
                // Of a parameter, executions tell what it is; the form is for this number.
                let query = query.replace(&format!(" {number}"), " $1");
                let kind = FormKind::Counted { known: false, given: false };
                assert_eq!(only(&query).kind, kind, "{query}");
                same(&query, &[vec![number.as_str()]]);
            }
        }
        for other in
            ["> 100", "> 1", "= 5", "= 1", "<> 1", ">= 2", ">= 0", "< 2", "<= 1", "> -1", "% 2 = 0"]
        {
            let forms = shape(&format!("SELECT * FROM a WHERE {counted} {other}")).unwrap().forms;
            assert!(forms.is_empty(), "{other}: {forms:?}");
        }
        for (sign, k, there) in
            [("> 0", "3", true), ("> 0", "99", false), ("= 0", "3", false), ("= 0", "99", true)]
        {
            let query = format!("SELECT count(*) {sign} FROM b WHERE k = $1");
            let better = bound(&only(&query).better.unwrap(), &[k]);
            assert_eq!(one::<bool>(&bound(&query, &[k])), Some(there), "{query}");
            assert_eq!(one::<bool>(&better), Some(there), "{better}");
            let query =
                format!("SELECT 'there' AS word FROM b WHERE k = $1 HAVING count(*) {sign}");
            let better = only(&query).better.unwrap().replace("$2 AS word", "'there' AS word");
            let rows = |query: &str| {
                one::<i64>(&format!(
                    "SELECT count(*) FROM ({}) x WHERE word = 'there'",
                    bound(query, &[k])
                ))
            };
            assert_eq!(rows(&query), Some(there.into()), "{query}");
            assert_eq!(rows(&better), Some(there.into()), "{better}");
        }
    }

    /// FROM, a condition, and the types of its parameters.
    const WRITTEN: [(&str, &str, &str); 43] = [
        ("a", "date_trunc($1, t) = $2", "text, timestamp"),
        ("a", "date_trunc($1, t) <= $2", "text, date"),
        ("a", "date_trunc($1, z) > $2", "text, timestamptz"),
        ("a", "date_trunc('quarter', a.t) >= $1", "timestamp"),
        ("a", "date_trunc('millennium', a.z) < $1", "timestamptz"),
        ("a x", "x.t::date = $1", "date"),
        ("a x", "x.t::date >= $1::timestamp", "timestamp"),
        ("a", "date(z) < $1", "date"),
        ("a", "z::date = $1::timestamptz", "timestamptz"),
        ("a", "k + $1 = $2", "int, int"),
        ("a", "k - $1::bigint < $2::bigint", "bigint, bigint"),
        ("a", "$1 - k > $2", "int, int"),
        ("a", "n + $1 = $2", "numeric, numeric"),
        ("a", "f - $1 = $2", "float8, float8"),
        ("a", "k * $1 = $2", "int, int"),
        ("a", "k * $1 <= $2", "int, int"),
        ("a", "n * $1 > $2", "numeric, numeric"),
        ("a", "f * $1 > $2", "float8, float8"),
        ("a", "d + $1::int = $2", "int, date"),
        ("a", "d - $1 >= $2::date", "int, date"),
        ("a", "t + $1 > $2", "interval, timestamp"),
        ("a", "date_trunc($1, d) = $2", "text, date"),
        ("a", "date_trunc('hour', d) < $1", "timestamptz"),
        ("a", "date_trunc('week', d) <= $1", "timestamp"),
        ("a", "date_trunc($1, d::timestamp) > $2", "text, timestamp"),
        ("a", "$1::date - d > $2", "date, int"),
        ("a", "d + $1::interval > $2::timestamp", "interval, timestamp"),
        ("a", "t - $1::interval < now()", "interval"),
        ("a", "now() - z < $1", "interval"),
        ("a", "coalesce(k, $1) = $2", "int, int"),
        ("a", "coalesce(s, $1) < $2", "text, text"),
        ("a", "id::text = $1", "text"),
        ("a", "id::text = ANY ($1)", "text[]"),
        ("a", "k = $1::numeric", "numeric"),
        ("a", "k = ANY ($1::numeric[])", "numeric[]"),
        ("a", "nn NOT IN (SELECT k FROM b WHERE s = $1)", "text"),
        ("a", "nn <> ALL (SELECT nn FROM b WHERE k > $1::int)", "int"),
        ("a", "(SELECT count(*) FROM b WHERE b.k = a.k AND s = $2) > $1", "bigint, text"),
        ("a", "(SELECT count(*) FROM b) = $1", "bigint"),
        ("b", "SELECT count(*) <> $1 FROM b WHERE k = $2", "bigint, int"),
        ("b", "SELECT CASE WHEN count(s) > $1 THEN $2 ELSE $3 END FROM b", "bigint, text, text"),
        ("b", "SELECT count($1) > 0 FROM b", "text"),
        (
            "b",
            "SELECT $2 AS \"My word\", now() FROM b WHERE k = $3 HAVING count(*) < $1",
            "bigint, text, int",
        ),
    ];

    #[pg_test]
    fn every_form_can_be_put_in_its_place() {
        random_rows();
        run("SET plan_cache_mode = force_generic_plan");
        for (from, condition, types) in WRITTEN {
            let whole = |condition: &str| match condition.starts_with("SELECT") {
                true => condition.to_owned(),
                false => format!("SELECT * FROM public.{from} WHERE {condition}"),
            };
            let query = whole(condition);
            let forms = shape(&query).expect(&query).forms;
            assert!(forms.iter().any(|form| form.better.is_some()), "{query}: {forms:?}");
            let nulls = vec!["NULL"; types.split(',').count()].join(", ");
            let better = forms.iter().filter_map(|form| form.better.as_deref());
            for text in better.clone() {
                // Without a word of what the parameters are.
                let bare = bound(&whole(text), &["NULL"; 5]);
                assert!(one::<String>(&format!("EXPLAIN {bare}")).is_some(), "{bare}");
            }
            for text in better.map(whole).chain([query.clone()]) {
                run(&format!("PREPARE form ({types}) AS {text}"));
                let plan = one::<String>(&format!("EXPLAIN EXECUTE form ({nulls})"));
                assert!(plan.is_some(), "{text}");
                run("DEALLOCATE form");
            }
        }
    }
}
