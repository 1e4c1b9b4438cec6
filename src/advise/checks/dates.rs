//! Units of time in which dates lie.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use perfmon_core::facts::FormKind;
    use pgrx::prelude::*;

    use crate::advise::checks::random::*;
    use crate::advise::checks::words::*;
    use crate::advise::checks::*;

    const SIGNS: [&str; 5] = ["<", "<=", "=", ">=", ">"];
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

    #[pg_test]
    fn units_of_dates() {
        shop();
        let begin = |unit: &str, x: &str| {
            format!("date_trunc({unit}, (({x})::timestamp with time zone)::date)")
        };
        let b = begin("'month'", "$1");
        let first = |sign: &str| {
            format!(
                "(CASE WHEN ($1)::timestamp with time zone {sign} {b} THEN {b} ELSE {b} + interval '1 month' END)::date"
            )
        };
        let any = "greatest(CASE WHEN $1 ~* '^q' THEN interval '3 months' ELSE ('1 ' || $1)::interval END, interval '1 day')";
        for (query, expected) in [
            (
                "SELECT * FROM customers WHERE date_trunc($1, born) = $2",
                format!(
                    "truncated day: date_trunc($1, (customers.born)::timestamp with time zone) = $2 => customers.born >= (($2)::timestamp with time zone)::date \
                     AND customers.born <= (($2)::timestamp with time zone + {any})::date - 1 \
                     AND ($2)::timestamp with time zone = {}",
                    begin("$1", "$2")
                ),
            ),
            (
                "SELECT * FROM customers WHERE date_trunc('month', born) < $1",
                format!(
                    "truncated day: date_trunc('month'::text, (customers.born)::timestamp with time zone) < $1 => customers.born < {}",
                    first("<=")
                ),
            ),
            (
                "SELECT * FROM customers WHERE $1::date < date_trunc('mon', born)",
                format!(
                    "truncated day: date_trunc('mon'::text, (customers.born)::timestamp with time zone) > ($1)::date => customers.born > {} - 1",
                    first("<").replace("($1)::timestamp", "(($1)::date)::timestamp")
                ),
            ),
            // A time without time zone, of which the text does not tell that it is one.
            (
                "SELECT * FROM customers WHERE date_trunc('hour', born::timestamp) = $1",
                "truncated day guessed: date_trunc('hour'::text, (customers.born)::timestamp without time zone) = $1 \
                 => customers.born >= (($1)::timestamp)::date \
                 AND customers.born <= (($1)::timestamp + interval '1 day')::date - 1 \
                 AND ($1)::timestamp = date_trunc('hour', (($1)::timestamp)::date::timestamp) \
                 [date_trunc('hour'::text, (born)::timestamp without time zone)]".to_owned(),
            ),
            (
                "SELECT * FROM customers WHERE date_trunc('day', born::timestamp) > $1::timestamptz",
                "computed: date_trunc('day'::text, (customers.born)::timestamp without time zone) > ($1)::timestamp with time zone \
                 [date_trunc('day'::text, (born)::timestamp without time zone)]".to_owned(),
            ),
        ] {
            all_have(&[(query, expected.as_str())]);
        }
    }

    /// Time zones: without changes, of changes by day, and of changes at midnight, forth and back.
    const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/Sao_Paulo", "America/Havana"];

    #[pg_test]
    fn units_of_dates_as_ranges() {
        random_rows();
        run("DELETE FROM public.a WHERE id > 300");
        run("UPDATE public.a SET d = CASE id % 4 WHEN 0 THEN date '2018-10-30' + id % 9 WHEN 1 THEN date '2024-10-28' + id % 9
                 WHEN 2 THEN date '2024-02-25' + id % 20 ELSE date '0102-12-20 BC' + id % 800 END WHERE d IS NOT NULL");
        run(
            "UPDATE public.a SET d = CASE id % 2 WHEN 0 THEN date 'infinity' ELSE date '-infinity' END WHERE id % 29 = 0",
        );
        let moments = [
            "timestamptz '2018-11-04 00:30'",
            "timestamptz '2018-11-04 01:00'",
            "timestamptz '2024-03-10 01:00'",
            "timestamptz '2024-11-03 00:30'",
            "timestamptz '2024-11-03 04:30+00'",
            "timestamptz '2024-11-03 05:00+00'",
            "timestamp '2024-03-10 12:00'",
            "date '2024-03-04'",
            "date '2024-03-01'",
            "date '0101-01-01 BC'",
            "timestamptz '2018-01-01'",
            "timestamptz 'infinity'",
            "date '-infinity'",
            "NULL::timestamptz",
        ];
        for zone in ZONES {
            run(&format!("SET TimeZone = '{zone}'"));
            let units = UNITS
                .iter()
                .filter(|unit| zone == "UTC" || ["hour", "day", "week", "month"].contains(unit));
            for unit in units {
                let quoted = format!("'{unit}'");
                let known = moments.map(|moment| vec![moment]);
                let given = moments.map(|moment| vec![quoted.as_str(), moment]);
                for sign in SIGNS {
                    let query = format!("SELECT * FROM a WHERE date_trunc('{unit}', d) {sign} $1");
                    let form = only(&query);
                    assert_eq!((form.kind, form.guessed), (FormKind::TruncatedDay, false));
                    all_same(&query, &known, sign);
                    all_same(
                        &format!("SELECT * FROM a WHERE date_trunc($1, d) {sign} $2"),
                        &given[4..10],
                        sign,
                    );
                    let query = format!(
                        "SELECT * FROM a WHERE date_trunc('{unit}', d::timestamp) {sign} $1::timestamp"
                    );
                    assert!(!only(&query).guessed);
                    all_same(&query, &known, sign);
                }
            }
        }
    }

    /// The same rows; some, unless there may be none.
    fn all_same(query: &str, values: &[Vec<&str>], sign: &str) {
        let form = only(query);
        let mut found = 0;
        for values in values {
            let (differ, rows) = compared(&form, values);
            assert_eq!(differ, 0, "{form:?} with {values:?}");
            found += rows;
        }
        assert!(found > 0 || sign == "=", "{query} finds nothing: the test tells nothing");
    }
}
