//! Tests inside a real server, where every statement is nested in the test's own.

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use pgrx::prelude::*;

    use perfmon_core::capture::statement::NESTED;
    use perfmon_core::capture::{condition, reading};

    use crate::pg::execution::{self, Ended, Execution};
    use crate::pg::hooks::{Observer, quiet};
    use crate::pg::report::Report;
    use crate::watch::live;

    /// How many nested executions were counted during some work, and of how many statements.
    fn nested(work: &str) -> (u64, usize) {
        let here = execution::database();
        let before = live::statements(here).unwrap();
        Spi::run(work).unwrap();
        let after = live::statements(here).unwrap();
        // Other tests run at the same time, as another user or none.
        let ours = execution::user();
        let moved = reading::difference(&before, &after);
        let mine = moved.iter().filter(|(key, _)| key.kind == NESTED && key.user() == ours);
        mine.fold((0, 0), |(executions, statements), (_, latency)| {
            let more = latency.cached.executions() + latency.read.executions();
            (executions + more, statements + 1)
        })
    }

    /// A user of the test's own, so that its statements are told from those of other tests.
    fn begin(user: &str) {
        Spi::run(&format!("CREATE ROLE {user} SUPERUSER; SET LOCAL ROLE {user}")).unwrap();
        Spi::run("SET LOCAL pg_perfmon.capture = 'all'").unwrap();
    }

    #[pg_test]
    fn nested_statements_are_counted_one_by_one() {
        begin("watch_nested");
        assert_eq!(nested("SELECT 1 AS a"), (1, 1));
        assert_eq!(nested("SELECT 1 AS a; SELECT 2 AS b, 3 AS c"), (2, 2));
        Spi::run("CREATE TEMP TABLE seen AS SELECT g AS a FROM generate_series(1, 10) g").unwrap();
        let looped = "DO $$ DECLARE n int; BEGIN FOR i IN 1..7 LOOP SELECT max(a) INTO n FROM seen; END LOOP; END $$";
        assert_eq!(nested(looped), (8, 2), "the block and what it ran");
        Spi::run("SET LOCAL pg_perfmon.capture = 'top'").unwrap();
        assert_eq!(nested(looped), (0, 0));
        Spi::run("SET LOCAL pg_perfmon.capture = 'off'").unwrap();
        assert_eq!(nested("SELECT 1 AS a"), (0, 0));
    }

    #[pg_test]
    fn what_follows_a_caught_error_is_counted() {
        begin("watch_caught");
        Spi::run("CREATE TEMP TABLE zero AS SELECT 0 AS a").unwrap();
        let block = "DO $$ DECLARE n int; BEGIN
            FOR i IN 1..3 LOOP
                BEGIN
                    SELECT a INTO n FROM zero;
                    SELECT 1 / a INTO n FROM zero;
                EXCEPTION WHEN division_by_zero THEN
                    SELECT a + 1 INTO n FROM zero;
                END;
                SELECT a + 1 + 1 INTO n FROM zero;
            END LOOP;
        END $$";
        // The block, and three times all but the one that fails.
        assert_eq!(nested(block), (10, 4));
    }

    #[pg_test]
    fn commands_are_counted_as_what_they_are() {
        begin("watch_commands");
        Spi::run("CREATE TEMP TABLE plain AS SELECT 1 AS a").unwrap();
        assert_eq!(
            nested("EXPLAIN SELECT a FROM plain"),
            (1, 1),
            "what is only explained did not run"
        );
        assert_eq!(nested("PREPARE p AS SELECT a + 5 FROM plain"), (0, 0));
        assert_eq!(nested("EXECUTE p"), (1, 1), "as the statement that was prepared");
        assert_eq!(nested("EXECUTE p; EXECUTE p"), (2, 1));
        assert_eq!(nested("LOCK TABLE plain"), (1, 1));
    }

    #[pg_test]
    fn a_cursor_is_counted_when_it_ends() {
        begin("watch_cursor");
        let opened =
            "DO $$ DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 100) g; n int; BEGIN
            OPEN c; FETCH c INTO n; FETCH c INTO n; CLOSE c; END $$";
        assert_eq!(nested(opened), (2, 2));
    }

    /// The names of conditions are the server's own.
    #[pg_test]
    fn conditions_are_those_of_the_server() {
        Spi::run(
            "CREATE FUNCTION pg_temp.state_of(name text) RETURNS text LANGUAGE plpgsql AS $$
            BEGIN
                EXECUTE format('DO $b$ BEGIN RAISE %I; END $b$', name);
            EXCEPTION WHEN OTHERS OR QUERY_CANCELED OR ASSERT_FAILURE THEN
                RETURN SQLSTATE;
            END $$",
        )
        .unwrap();
        let mut known = 0;
        for (state, name) in condition::all() {
            let raised: Option<String> =
                Spi::get_one_with_args("SELECT pg_temp.state_of($1)", &[name.into()]).unwrap();
            // A later version's may be unknown here; and two may share a name.
            if raised.as_deref() != Some("42704") || state == "42704" {
                assert_eq!(raised.as_deref().and_then(condition::name), Some(name), "{state}");
                known += 1;
            }
        }
        assert!(known > 200, "{known}");
    }

    static PANICS: AtomicU32 = AtomicU32::new(0);

    struct Clumsy;

    impl Observer for Clumsy {
        fn wants(_: bool) -> bool {
            panic!("clumsy")
        }
        fn passes(_: Execution, _: bool) -> bool {
            true
        }
        fn looks_into(_: Execution, _: bool) -> bool {
            false
        }
        fn counts(_: Execution) -> bool {
            false
        }
        fn executed(_: Execution, _: bool) {}
        fn commanded(_: &Ended, _: bool) {}
        fn passed_over(_: bool) {}
        fn controlled(_: bool) {}
        fn executes(_: bool) {}
        fn failed(_: &Report) {}
        fn missed(_: i64) {}
        fn came_back(_: i64, _: i64) {}
        fn undone(_: i32) {}
        fn transaction_ends() -> Option<bool> {
            None
        }
        fn transaction_ended(_: Option<&[u8]>) {}
        fn panicked() {
            PANICS.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[pg_test]
    fn a_panic_stays_in_the_hook() {
        assert_eq!(quiet::<Clumsy, bool>(|| Clumsy::wants(true)), None);
        assert_eq!(PANICS.load(Ordering::Relaxed), 1);
        assert_eq!(quiet::<Clumsy, bool>(|| true), Some(true));
        assert_eq!(Spi::get_one::<i32>("SELECT 7").unwrap(), Some(7));
    }

    #[pg_test]
    fn room_is_told() {
        let state = live::state().unwrap();
        assert_eq!((state.statements.capacity, state.panics), (5000, 0));
        assert!(state.statements.used > 0 && state.failures.capacity > 1000);
    }
}
