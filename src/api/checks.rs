//! Tests of the SQL interface inside a real server, over a history made by hand.

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;

    use perfmon_core::family::{FAMILIES, Family, SERVER, STATEMENT};
    use perfmon_core::frame::{Frame, Quality, Span};

    use crate::store::period::Level;
    use crate::store::{change, dictionary, history, source};

    const MINUTE_US: i64 = 60_000_000;
    /// 2026-11-21 12:00 UTC, and the window of four minutes after it.
    const NOON: i64 = 1_795_262_400_000_000;
    const WINDOW: &str = "'2026-11-21 12:00+00', '2026-11-21 12:04+00'";

    fn text(query: &str) -> Option<String> {
        Spi::get_one::<String>(query).unwrap()
    }

    fn number(query: &str) -> Option<f64> {
        Spi::get_one::<f64>(&format!("SELECT ({query})::float8")).unwrap()
    }

    /// SQLSTATE, detail and hint of a query that must fail.
    fn refused(query: &str) -> [String; 3] {
        Spi::run(
            "CREATE OR REPLACE FUNCTION pg_temp.refused(query text) RETURNS text LANGUAGE plpgsql AS $$
             DECLARE state text; detail text; hint text;
             BEGIN
                 EXECUTE query;
                 RETURN 'accepted||';
             EXCEPTION WHEN OTHERS THEN
                 GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE,
                     detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
                 RETURN concat(state, '|', detail, '|', hint);
             END $$",
        )
        .unwrap();
        let answer =
            Spi::get_one_with_args::<String>("SELECT pg_temp.refused($1)", &[query.into()]);
        let answer = answer.unwrap().unwrap();
        let mut parts = answer.splitn(3, '|').map(str::to_owned);
        std::array::from_fn(|_| parts.next().unwrap_or_default())
    }

    fn span(minute: i64, quiet_us: i64) -> Span {
        Span {
            since: NOON + (minute - 1) * MINUTE_US,
            until: NOON + minute * MINUTE_US,
            length_us: MINUTE_US,
            quiet_us,
            quality: Quality::Exact,
            flags: 0,
        }
    }

    /// A row in which object `ids[i]` has `values[i]` in each named column, and all else is zero.
    fn frame(
        family: &'static Family,
        ids: &[u32],
        columns: &[(&str, &[u64])],
        totals: &[(&str, i64)],
    ) -> Frame {
        let mut frame = Frame {
            family,
            ids: ids.to_vec(),
            columns: vec![None; family.columns.len()],
            known: (1 << family.columns.len()) - 1,
            totals: vec![Some(0); family.totals.len()],
        };
        for (name, values) in columns {
            frame.columns[family.position(name).unwrap()] = Some(values.to_vec());
        }
        for (name, value) in totals {
            let place = family.totals.iter().position(|t| t == name).unwrap();
            frame.totals[place] = Some(*value);
        }
        frame
    }

    fn name(user: &str, queryid: i64, toplevel: bool) -> [String; 3] {
        [user.to_owned(), queryid.to_string(), if toplevel { "t" } else { "f" }.to_owned()]
    }

    /// Minutes 1, 2 and 4 of the window; the third is a gap. Statement 1 runs in the first and the
    /// last, 2 is nested, 3 runs in the second with lower bound quality.
    fn made() -> i64 {
        let source = source::ensure_own(NOON, "here", 42);
        let names = [name("alice", 101, true), name("alice", 102, false), name("bob", 103, true)];
        let ids = dictionary::resolve(&STATEMENT, source, &names, NOON);
        assert_eq!(ids, [1, 2, 3]);
        let texts: Vec<dictionary::Text> = [(101, "SELECT"), (102, "SELECT"), (103, "UPDATE")]
            .map(|(queryid, command)| dictionary::Text {
                queryid,
                command: Some(command.to_owned()),
                query: Some(format!("{command} secret {queryid}")),
                note: None,
            })
            .to_vec();
        dictionary::enter_texts(source, &texts, NOON);
        let first = frame(
            &STATEMENT,
            &[1, 2],
            &[("calls", &[10, 5]), ("exec_us", &[3_000_000, 1_000_000]), ("rows", &[20, 0])],
            &[("total_calls", 10), ("total_exec_us", 3_000_000), ("nested_exec_us", 1_000_000)],
        );
        let second = frame(
            &STATEMENT,
            &[3],
            &[("quality", &[1]), ("calls", &[2]), ("exec_us", &[1_000_000])],
            &[("total_calls", 2), ("total_exec_us", 1_000_000)],
        );
        let last = frame(
            &STATEMENT,
            &[1],
            &[("calls", &[30]), ("exec_us", &[1_000_000])],
            &[("total_calls", 30), ("total_exec_us", 1_000_000)],
        );
        for (minute, statements) in [(1, first), (2, second), (4, last)] {
            history::append(Level::Minute, source, &span(minute, 0), &statements);
            let own = [("snapshots", 1), ("active_us", 8_000_000), ("covered_exec_us", 4_000_000)];
            history::append(
                Level::Minute,
                source,
                &span(minute, 0),
                &frame(&SERVER, &[0], &[], &own),
            );
        }
        source
    }

    #[pg_test]
    fn nothing_recorded_is_empty_and_no_error() {
        Spi::run("DELETE FROM perfmon.own_source").unwrap();
        for call in [
            "top_statements()",
            "load_series()",
            "commands()",
            "tables()",
            "databases()",
            "intervals()",
            "gaps()",
            "changes()",
            "statement_history()",
            "relation_history()",
            "index_history()",
            "database_history()",
            "io_history()",
            "server_history()",
        ] {
            let rows = number(&format!("SELECT count(*) FROM perfmon.{call}"));
            assert_eq!(rows, Some(0.0), "{call}");
        }
        let report = text("SELECT perfmon.report()").unwrap();
        assert!(report.contains("Nothing was recorded in this period"), "{report}");
        assert!(number("SELECT count(*) FROM perfmon.status()") > Some(5.0));
    }

    #[pg_test]
    fn wrong_arguments_are_refused_with_a_hint() {
        made();
        for call in [
            "report('infinity')",
            "report(now(), now())",
            "report(format => 'html')",
            "gaps(until => '-infinity')",
            "top_statements(order_by => 'colour')",
            "top_statements(max_rows => -1)",
            "top_statements(source => 5)",
            "statement_series(99)",
            "statement_series(-1)",
            "statement_series(NULL)",
            "statement_series(1, step => '0')",
            "statement_series(1, step => '-1 hour')",
            "statement_series(1, step => '1 us')",
            "load_series(step => '1 day 1 hour')",
            "grant_reader('nobody that I know')",
        ] {
            let [state, detail, hint] = refused(&format!("SELECT * FROM perfmon.{call}"));
            assert_eq!(state, "22023", "{call}");
            assert!(!detail.is_empty() && !hint.is_empty(), "{call}: {detail} / {hint}");
        }
    }

    #[pg_test]
    fn nulls_stand_for_the_defaults() {
        made();
        let rows =
            number("SELECT count(*) FROM perfmon.top_statements(NULL, NULL, NULL, NULL, NULL)");
        assert_eq!(rows, number("SELECT count(*) FROM perfmon.top_statements()"));
        let rows = number(&format!(
            "SELECT count(*) FROM perfmon.top_statements({WINDOW}, max_rows => 0)"
        ));
        assert_eq!(rows, Some(0.0));
    }

    #[pg_test]
    fn top_statements_add_up() {
        made();
        let top = |column: &str, id: i32| {
            text(&format!(
                "SELECT {column}::text FROM perfmon.top_statements({WINDOW}) WHERE statement_id = {id}"
            ))
        };
        assert_eq!(top("calls", 1).unwrap(), "40");
        assert_eq!(top("total_exec_ms", 1).unwrap(), "4000");
        assert_eq!(top("mean_exec_ms", 1).unwrap(), "100");
        assert_eq!(top("rows_per_call", 1).unwrap(), "0.5");
        assert_eq!(top("share_ratio", 1).unwrap(), "0.8");
        assert_eq!(top("query", 1).unwrap(), "SELECT secret 101");
        assert_eq!(top("round(calls_per_s::numeric, 4)", 1).unwrap(), "0.2222");
        // Nested time is contained in that of others.
        assert_eq!(top("share_ratio", 2), None);
        assert_eq!(top("quality", 1).unwrap(), "exact");
        assert_eq!(top("quality", 3).unwrap(), "lower bound");
        let order = |by: &str| {
            text(&format!(
                "SELECT string_agg(statement_id::text, ' ')
                 FROM perfmon.top_statements({WINDOW}, order_by => '{by}')"
            ))
            .unwrap()
        };
        assert_eq!(order("total_time"), "1 2 3");
        assert_eq!(order("mean_time"), "3 2 1");
        assert_eq!(order("calls"), "1 2 3");
    }

    #[pg_test]
    fn the_rest_has_no_share_where_it_may_hold_nested_time() {
        let source = made();
        let rest = frame(
            &STATEMENT,
            &[0],
            &[("calls", &[3]), ("exec_us", &[2_000_000])],
            &[("total_calls", 2), ("total_exec_us", 1_500_000), ("nested_exec_us", 500_000)],
        );
        history::append(Level::Minute, source, &span(5, 0), &rest);
        let rest = |call: &str, is_rest: &str| {
            text(&format!(
                "SELECT concat_ws(' ', total_exec_ms, share_ratio)
                 FROM perfmon.{call}('2026-11-21 12:00+00', '2026-11-21 13:00+00') WHERE {is_rest}"
            ))
            .unwrap()
        };
        assert_eq!(rest("top_statements", "statement_id = 0"), "2000");
        assert_eq!(rest("commands", "command = '(all other statements)'"), "2000");
    }

    #[pg_test]
    fn a_series_tells_gaps_from_zeros() {
        made();
        let calls = text(&format!(
            "SELECT string_agg(coalesce(calls::text, 'gap'), ' ' ORDER BY time)
             FROM perfmon.statement_series(1, {WINDOW}, '1 minute')"
        ));
        assert_eq!(calls.unwrap(), "10 0 gap 30");
        let load = text(&format!(
            "SELECT string_agg(coalesce(round(active_ratio::numeric, 3)::text, 'gap'), ' ' ORDER BY time)
             FROM perfmon.load_series({WINDOW}, '1 minute')"
        ));
        assert_eq!(load.unwrap(), "0.050 0.017 gap 0.017");
        let coarse = text(&format!(
            "SELECT concat(calls, ' ', round(calls_per_s::numeric, 4), ' ', covered_ratio)
             FROM perfmon.load_series({WINDOW}, '4 minutes')"
        ));
        // A rate divides by the three minutes known, not by four.
        assert_eq!(coarse.unwrap(), "42 0.2333 0.75");
    }

    #[pg_test]
    fn changes_stand_in_the_step_in_which_they_were_noticed() {
        let source = made();
        let change = |kind: &str, name: &str, old: Option<&str>| perfmon_core::change::Change {
            kind: kind.to_owned(),
            name: name.to_owned(),
            old: old.map(str::to_owned),
            new: Some("new".to_owned()),
        };
        let both = [change("index", "public.a", None), change("setting", "work_mem", Some("4MB"))];
        change::record(source, NOON + MINUTE_US, &both);
        // In the gap too, and what comes after the window not at all.
        change::record(source, NOON + 2 * MINUTE_US + 1, &[change("mark", "release", None)]);
        change::record(source, NOON + 4 * MINUTE_US + 1, &[change("mark", "later", None)]);
        for series in ["statement_series(1, ", "load_series("] {
            let all = text(&format!(
                "SELECT string_agg(coalesce(changes, '-'), ' | ' ORDER BY time)
                 FROM perfmon.{series}{WINDOW}, '1 minute')"
            ));
            let said = "2 changes: setting work_mem set; index public.a created | - \
                        | 1 change: mark release | -";
            assert_eq!(all.unwrap(), said, "{series}");
        }
    }

    #[pg_test]
    fn quiet_time_before_a_later_row_is_a_zero() {
        let source = made();
        let quiet = Span {
            since: NOON + 4 * MINUTE_US,
            until: NOON + 10 * MINUTE_US,
            length_us: 6 * MINUTE_US,
            quiet_us: 5 * MINUTE_US,
            ..span(10, 0)
        };
        history::append(Level::Minute, source, &quiet, &frame(&STATEMENT, &[1], &[], &[]));
        let calls = text(
            "SELECT string_agg(coalesce(calls::text, 'gap'), ' ' ORDER BY time)
             FROM perfmon.load_series('2026-11-21 12:03+00', '2026-11-21 12:08+00', '1 minute')",
        );
        assert_eq!(calls.unwrap(), "30 0 0 0 0");
    }

    #[pg_test]
    fn days_begin_in_the_session_s_zone() {
        made();
        Spi::run("SET LOCAL timezone = 'Asia/Kathmandu'").unwrap();
        let times = text(
            "SELECT string_agg(concat(to_char(time, 'MM-DD HH24:MI'), '=', calls), ' ' ORDER BY time)
             FROM perfmon.load_series('2026-11-20 12:00+00', '2026-11-21 18:00+00', '1 day')",
        );
        assert_eq!(times.unwrap(), "11-20 00:00= 11-21 00:00=42");
    }

    #[pg_test]
    fn commands_leave_nested_statements_out() {
        made();
        let kinds = text(&format!(
            "SELECT string_agg(concat_ws('/', command, calls, slow_statements, share_ratio), ' ')
             FROM perfmon.commands({WINDOW})"
        ));
        assert_eq!(kinds.unwrap(), "SELECT/40/0/0.8 UPDATE/2/1/0.2");
    }

    #[pg_test]
    fn intervals_show_their_completeness() {
        made();
        let of = |what: &str| {
            text(&format!("SELECT {what}::text FROM perfmon.intervals({WINDOW})")).unwrap()
        };
        assert_eq!(of("count(*)"), "3");
        assert_eq!(of("avg(completeness_ratio)"), "0.5");
        assert_eq!(of("min(length_ms)"), "60000");
    }

    #[pg_test]
    fn every_family_can_be_read_as_plain_rows() {
        let source = source::ensure_own(NOON, "here", 42);
        for family in FAMILIES {
            let row = frame(family, &[1, 7], &[], &[]);
            history::append(Level::Minute, source, &span(1, 0), &row);
        }
        // Histograms have a function of their own.
        for family in FAMILIES.into_iter().filter(|family| family.raw.is_empty()) {
            let rows = number(&format!(
                "SELECT count(*) FROM perfmon.{}_history({WINDOW}) h WHERE h.quality = 'exact'",
                family.name
            ));
            assert_eq!(rows, Some(2.0), "{}", family.name);
        }
        assert_eq!(number(&format!("SELECT count(*) FROM perfmon.tables({WINDOW})")), Some(2.0));
        assert_eq!(number(&format!("SELECT count(*) FROM perfmon.databases({WINDOW})")), Some(2.0));
    }

    #[pg_test]
    fn texts_follow_their_owner() {
        made();
        Spi::run(
            "CREATE ROLE alice; CREATE ROLE carol; SELECT perfmon.grant_reader('alice');
                  SELECT perfmon.grant_reader('carol'); SET LOCAL ROLE alice",
        )
        .unwrap();
        let seen = || {
            text(&format!(
                "SELECT string_agg(concat_ws(':', statement_id, query, queryid), ' ' ORDER BY statement_id)
                 FROM perfmon.top_statements({WINDOW})"
            ))
            .unwrap()
        };
        assert_eq!(
            seen(),
            "1:SELECT secret 101:101 2:SELECT secret 102:102 3:<insufficient privilege>"
        );
        Spi::run("SET LOCAL ROLE carol").unwrap();
        assert!(!seen().contains("secret"));
        assert!(!text(&format!("SELECT perfmon.report({WINDOW})")).unwrap().contains("secret"));
        for call in [
            "SELECT perfmon.snapshot()",
            "TABLE perfmon.statement_text",
            "SELECT perfmon.grant_reader('carol')",
        ] {
            assert_eq!(refused(call)[0], "42501", "{call}");
        }
        Spi::run("RESET ROLE; SELECT perfmon.revoke_reader('carol'); SET LOCAL ROLE carol")
            .unwrap();
        assert_eq!(refused("SELECT perfmon.report()")[0], "42501");
        Spi::run("RESET ROLE").unwrap();
    }

    #[pg_test]
    fn history_of_a_predecessor_counts_under_today_s_names() {
        let old = made();
        Spi::run("UPDATE perfmon.own_source SET database_oid = 1").unwrap();
        let new = source::ensure_own(NOON + 5 * MINUTE_US, "here", 43);
        assert_ne!(old, new);
        let names = [name("bob", 103, true), name("alice", 101, true)];
        // Ids go on after those of the old source.
        assert_eq!(dictionary::resolve(&STATEMENT, new, &names, NOON), [4, 5]);
        let row = frame(&STATEMENT, &[5], &[("calls", &[100]), ("exec_us", &[7])], &[]);
        history::append(Level::Minute, new, &span(6, 0), &row);
        let calls = text(
            "SELECT string_agg(concat_ws(':', statement_id, from_source = source, calls), ' ' ORDER BY calls DESC)
             FROM perfmon.top_statements('2026-11-21 12:00+00', '2026-11-21 13:00+00'), perfmon.own_source",
        );
        // What was not seen since keeps its old id, under its old source.
        assert_eq!(calls.unwrap(), "5:t:140 2:f:5 3:f:2");
        let series = number(
            "SELECT sum(calls) FROM perfmon.statement_series(5, '2026-11-21 12:00+00', '2026-11-21 13:00+00')",
        );
        assert_eq!(series, Some(140.0));
        let only_old = number(&format!(
            "SELECT sum(calls) FROM perfmon.top_statements({WINDOW}, source => {old})"
        ));
        assert_eq!(only_old, Some(47.0));
    }

    #[pg_test]
    fn every_object_has_a_comment_and_public_has_nothing() {
        let members = "FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_perfmon'
                       WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'";
        // Functions of the tests themselves live in another schema.
        let bare = text(&format!(
            "SELECT string_agg(pg_describe_object(d.classid, d.objid, 0), ', ') {members}
             AND obj_description(d.objid, d.classid::regclass::name) IS NULL
             AND pg_describe_object(d.classid, d.objid, 0) NOT LIKE '%tests%'"
        ));
        assert_eq!(bare, None);
        let open = text(&format!(
            "SELECT string_agg(o.name, ', ') FROM (
                 SELECT c.relname::text AS name, aclexplode(c.relacl) AS a {}
                 UNION ALL SELECT p.proname::text, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) {}
             ) o WHERE (o.a).grantee = 0",
            members.replace("WHERE", "JOIN pg_class c ON c.oid = d.objid AND d.classid = 'pg_class'::regclass WHERE"),
            members.replace("WHERE", "JOIN pg_proc p ON p.oid = d.objid AND d.classid = 'pg_proc'::regclass
                            AND p.pronamespace = 'perfmon'::regnamespace WHERE"),
        ));
        assert_eq!(open, None);
    }
}
