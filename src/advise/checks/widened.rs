//! Columns that are cast to a wider type, and texts of enums: the forms find the same rows.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use perfmon_core::facts::FormKind;
    use pgrx::prelude::*;

    use crate::advise::checks::random::*;
    use crate::advise::checks::*;

    const SIGNS: [&str; 5] = ["<", "<=", "=", ">=", ">"];

    #[pg_test]
    fn casts_that_keep_every_value() {
        random_rows();
        run("SET TimeZone = 'Europe/Berlin'; ALTER TABLE a ADD e float4; UPDATE a SET e = f");
        let times = ["2024-01-03", "2024-01-03 12:00", "2024-02-01", "infinity", "-infinity"];
        let of = |of_type: &str| times.map(|time| format!("{of_type} '{time}'"));
        let (plain, zoned) = (of("timestamp"), of("timestamptz"));
        let numbers = ["-1", "3", "7", "3000000000", "NULL"].map(str::to_owned);
        let floats = ["0.1::float4", "2.5", "'NaN'", "'infinity'", "3"].map(str::to_owned);
        for (column, of_type, values) in [
            ("k", "bigint", &numbers),
            ("d", "timestamp", &plain),
            ("d", "timestamptz", &zoned),
            ("t", "timestamptz", &zoned),
            ("e", "float8", &floats),
        ] {
            let values: Vec<Vec<&str>> = values.iter().map(|value| vec![value.as_str()]).collect();
            for sign in SIGNS {
                let query =
                    format!("SELECT * FROM a WHERE {column}::{of_type} {sign} $1::{of_type}");
                let form = only(&query);
                assert_eq!((&form.kind, form.guessed), (&FormKind::Widened, false), "{form:?}");
                let cast = form.better.as_ref().unwrap().split(" $1").next().unwrap();
                assert!(cast.starts_with(&format!("a.{column} ")), "{form:?}");
                same(&query, &values);
            }
            let query =
                format!("SELECT * FROM a WHERE {column}::{of_type} = ANY ($1::{of_type}[])");
            assert_eq!(only(&query).kind, FormKind::Widened);
            let lists: Vec<String> =
                values.iter().map(|one| format!("ARRAY[{}]::{of_type}[]", one[0])).collect();
            same(&query, &lists.iter().map(|list| vec![list.as_str()]).collect::<Vec<_>>());
        }
        // Nobody knows what the value is, but that it fits.
        assert!(only("SELECT * FROM a WHERE k::bigint = $1").guessed);
        // The other way round values are lost.
        for narrower in ["n::int", "f::float4", "z::timestamp", "t::time"] {
            let forms = shape(&format!("SELECT * FROM a WHERE {narrower} = $1")).unwrap().forms;
            assert!(
                forms.iter().all(|form| form.kind != FormKind::Widened),
                "{narrower}: {forms:?}"
            );
        }
    }

    #[pg_test]
    fn whole_numbers_beside_fractions() {
        random_rows();
        let values = ["-1", "0.5", "3", "3.49", "6.5", "7", "9000000000.5", "NULL"];
        let values: Vec<Vec<&str>> = values.iter().map(|value| vec![*value]).collect();
        for (column, sign) in ["k", "nn"].into_iter().flat_map(|c| SIGNS.map(|sign| (c, sign))) {
            let query = format!("SELECT * FROM a WHERE {column}::numeric {sign} $1::numeric");
            let form = only(&query);
            let is_rounded = matches!(&form.kind, FormKind::Rounded { column, to } if column == "integer" && to == "numeric");
            assert!(is_rounded && !form.guessed, "{form:?}");
            same(&query, &values);
        }
        assert!(only("SELECT * FROM a WHERE k::numeric = $1").guessed);
    }

    #[pg_test]
    fn texts_of_enums() {
        random_rows();
        run("CREATE TYPE public.mood AS ENUM ('bad', 'so so', 'good');
             ALTER TABLE a ADD m mood;
             UPDATE a SET m = (ARRAY['bad', 'so so', NULL]::mood[])[1 + id % 3]");
        let query = "SELECT * FROM a WHERE m::text = $1::text";
        let form = only(query);
        assert_eq!(
            (&form.kind, form.better.as_deref()),
            (&FormKind::Spelled, Some("a.m = (($1)::text)::public.mood"))
        );
        same(query, &[vec!["'bad'"], vec!["'good'"], vec!["'so so'"], vec!["NULL"]]);
        let query = "SELECT * FROM a WHERE m::text = ANY ($1::text[])";
        assert_eq!(only(query).kind, FormKind::Spelled);
        same(query, &[vec!["ARRAY['bad', 'good']"]]);
        run("ALTER TABLE a ADD y bool; UPDATE a SET y = (ARRAY[true, false, NULL])[1 + id % 3]");
        let query = "SELECT * FROM a WHERE y::text = $1::text";
        let form = only(query);
        assert_eq!(
            (&form.kind, form.better.as_deref()),
            (&FormKind::Spelled, Some("a.y = (($1)::text)::boolean"))
        );
        same(query, &[vec!["'true'"], vec!["'false'"], vec!["NULL"]]);
        same("SELECT * FROM a WHERE y::varchar = ANY ($1::text[])", &[vec!["ARRAY['true']"]]);
        // Its order is not that of texts.
        let form = only("SELECT * FROM a WHERE m::text < $1::text");
        assert_eq!(form.better, None, "{form:?}");
    }

    #[pg_test]
    fn patterns_in_what_is_no_text() {
        random_rows();
        run("CREATE EXTENSION citext");
        run("ALTER TABLE a ADD c public.citext, ADD o name;
             UPDATE a SET c = (ARRAY['Ab', 'aB', 'b_', 'a%', '', NULL])[1 + id % 6],
                 o = (ARRAY['Ab', 'aB', 'b_', 'a%', '', NULL])[1 + id % 6]");
        let patterns = ["'a%'", "'%b'", "'_B'", "'a\\%'", "''", "NULL"];
        let patterns: Vec<Vec<&str>> = patterns.iter().map(|one| vec![*one]).collect();
        for condition in ["c LIKE $1", "c ILIKE $1", "o LIKE $1", "o ILIKE $1", "c LIKE $1::citext"]
        {
            same(&format!("SELECT * FROM a WHERE {condition}"), &patterns);
        }
    }
}
