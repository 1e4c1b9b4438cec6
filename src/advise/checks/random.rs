//! Random tables full of NULLs and duplicates, and what two forms of a condition find in them.

use perfmon_core::facts::Form;

use super::{one, run, shape};

pub(super) fn random_rows() {
    run("SELECT setseed(0.6)");
    run(
        "CREATE TABLE public.a (id int NOT NULL, k int, n numeric, t timestamp, z timestamptz, d date, s text, nn int NOT NULL, f float8)",
    );
    run("INSERT INTO public.a SELECT i, CASE WHEN random() < 0.8 THEN (random() * 12)::int - 3 END,
            CASE WHEN random() < 0.8 THEN round((random() * 8)::numeric, 1) END,
            CASE WHEN random() < 0.9 THEN date_trunc(CASE WHEN random() < 0.3 THEN 'month' WHEN random() < 0.5 THEN 'day' ELSE 'microseconds' END,
                timestamp '2023-12-25' + random() * interval '70 days') END,
            CASE WHEN random() < 0.9 THEN timestamptz '2024-03-25 00:00+00' + (random() * 14 * 24)::int * interval '30 minutes' END,
            CASE WHEN random() < 0.9 THEN date '2024-01-01' + (random() * 10)::int END,
            CASE WHEN random() < 0.8 THEN chr(97 + (random() * 4)::int) END, (random() * 12)::int,
            CASE WHEN random() < 0.8 THEN round((random() * 8)::numeric, 1) END
         FROM generate_series(1, 1500) i");
    run(
        "INSERT INTO public.a (id, nn, t) SELECT i, 1, date_trunc((ARRAY['decade', 'century', 'millennium', 'year', 'second'])[1 + i % 5],
                timestamp '0300-03-01 BC' + random() * interval '3500 years')
         FROM generate_series(1501, 2000) i",
    );
    run("CREATE TABLE public.b (k int, nn int NOT NULL, s text)");
    run("INSERT INTO public.b SELECT CASE WHEN random() < 0.9 THEN (random() * 6)::int END, (random() * 5)::int * 2,
            CASE WHEN random() < 0.5 THEN 'a' END FROM generate_series(1, 40)");
}

/// And times that never come or have always been.
pub(super) fn infinite_times() {
    run("INSERT INTO public.a (id, nn, t, z) SELECT i, 1, x, x
         FROM generate_series(2001, 2010) i, LATERAL (SELECT (CASE i % 2 WHEN 0 THEN '' ELSE '-' END || 'infinity')::timestamp x) v");
}

/// With values in place of parameters, the highest number first.
pub(super) fn bound(text: &str, values: &[&str]) -> String {
    let mut text = text.to_owned();
    for (i, value) in values.iter().enumerate().rev() {
        text = text.replace(&format!("${}", i + 1), &format!("({value})"));
    }
    text
}

pub(super) fn only(query: &str) -> Form {
    let mut forms = shape(query).expect(query).forms;
    assert_eq!(forms.len(), 1, "{query}: {forms:?}");
    forms.remove(0)
}

/// Rows that one form finds and the other does not, and how many are found.
pub(super) fn compared(form: &Form, values: &[&str]) -> (i64, i64) {
    let [written, better] =
        [&form.expression, form.better.as_ref().unwrap()].map(|text| bound(text, values));
    let sql = format!(
        "WITH w AS MATERIALIZED (SELECT id FROM public.a WHERE {written}), b AS MATERIALIZED (SELECT id FROM public.a WHERE {better})
         SELECT ARRAY[(SELECT count(*) FROM (TABLE w EXCEPT ALL TABLE b) x)
              + (SELECT count(*) FROM (TABLE b EXCEPT ALL TABLE w) y), (SELECT count(*) FROM w)]"
    );
    let counts = one::<Vec<i64>>(&sql).expect(&sql);
    (counts[0], counts[1])
}

/// Both forms find the same rows, and some.
pub(super) fn same(query: &str, values: &[Vec<&str>]) {
    let form = only(query);
    let mut found = 0;
    for values in values {
        let (differ, rows) = compared(&form, values);
        assert_eq!(differ, 0, "{form:?} with {values:?}");
        found += rows;
    }
    assert!(found > 0, "{query} finds nothing: the test tells nothing");
}
