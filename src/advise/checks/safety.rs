//! What must not happen: waiting, running, leaving something behind, taking one name for another.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use std::time::Instant;

    use pgrx::prelude::*;

    use crate::advise::checks::*;
    use crate::advise::{self, Text};
    use crate::pg::clock;

    #[pg_test]
    fn names_mean_what_they_mean_to_their_user() {
        run("CREATE SCHEMA app");
        run("CREATE SCHEMA app_user");
        run("CREATE TABLE app.things (id int, in_app int)");
        run("CREATE TABLE app_user.things (id int, in_users int)");
        run("CREATE TABLE app_user.own (id int)");
        run("CREATE TABLE app.of_app (id int)");
        run("CREATE ROLE app_user");
        run("CREATE ROLE other_user");
        run("GRANT USAGE ON SCHEMA app_user TO app_user");
        run("GRANT USAGE ON SCHEMA app TO app_user, other_user");
        let ask = |user, query: &str| said(shape_for(Some(user), query));
        assert_eq!(ask("app_user", "SELECT * FROM things WHERE id = $1"), "app_user.things(id =)");
        assert_eq!(ask("other_user", "SELECT * FROM things WHERE id = $1"), "nothing");
        assert_eq!(ask("app_user", "SELECT * FROM of_app"), "nothing");
        run("ALTER ROLE other_user SET search_path = app");
        assert_eq!(ask("other_user", "SELECT * FROM things WHERE id = $1"), "app.things(id =)");
        run("ALTER ROLE other_user RESET search_path");
        let database = one::<String>("SELECT quote_ident(current_database())").unwrap();
        run(&format!("ALTER DATABASE {database} SET search_path = app"));
        assert_eq!(ask("other_user", "SELECT * FROM things WHERE id = $1"), "app.things(id =)");
        run(&format!(
            "ALTER ROLE app_user IN DATABASE {database} SET search_path = 'app_user', \"$user\""
        ));
        assert_eq!(ask("app_user", "SELECT * FROM own"), "app_user.own");
        // Not allowed into the schema: nothing is said, whoever asks.
        assert_eq!(ask("other_user", "SELECT * FROM app_user.own"), "nothing");
        // Of a role that is gone, what the database's setting says.
        assert_eq!(ask("nobody_now", "SELECT * FROM of_app"), "app.of_app");
        // Our own path and user are as before.
        assert_eq!(
            one::<String>("SELECT current_setting('search_path')").as_deref(),
            Some("\"$user\", public")
        );
        assert_eq!(one::<bool>("SELECT current_user = session_user"), Some(true));
    }

    #[pg_test]
    fn our_own_temporary_tables_are_not_theirs() {
        shop();
        run("CREATE TEMP TABLE orders (id int, other int)");
        run("CREATE TEMP TABLE only_here (id int)");
        assert_eq!(
            said(shape("SELECT * FROM orders WHERE customer_id = $1")),
            "public.orders(customer_id =)"
        );
        assert_eq!(said(shape("SELECT * FROM only_here")), "nothing");
        assert_eq!(said(shape("SELECT * FROM pg_temp.only_here")), "nothing");
    }

    #[pg_test]
    fn what_is_not_there_is_not_known() {
        shop();
        run("CREATE DOMAIN never AS text CHECK (VALUE IS NOT NULL AND length(VALUE) / 0 = 1)");
        run("CREATE TABLE domains (list never[])");
        all_say(&[
            ("SELECT * FROM missing WHERE id = $1", "nothing"),
            ("SELECT missing FROM orders", "nothing"),
            ("SELECT missing(id) FROM orders", "nothing"),
            ("SELECT $1 + status FROM orders", "nothing"),
            ("SELECT 'x'::missing", "nothing"),
            ("SELECT $100000001 FROM orders", "nothing"),
            ("INSERT INTO items VALUES ($1, $2, $3, $4, $5)", "nothing"),
            // A domain's checks are anybody's code: they are not run.
            ("SELECT * FROM domains WHERE list = '{a}'", "domains(list =)"),
            ("SELECT * FROM domains WHERE list = '\u{b} {a}'::never[]", "domains(list =)"),
        ]);
        let odd = advise::shapes(&[
            Text { query: b"SELECT * FROM orders \0", user_name: None, seen: &[] },
            Text { query: b"SELECT '\xff'", user_name: Some("\u{fffd}"), seen: &[] },
            Text { query: b"SELECT * FROM public.orders", user_name: Some("no\0body"), seen: &[] },
        ]);
        assert!(odd[0].shape.is_none() && odd[2].shape.is_some());
    }

    #[pg_test]
    fn nothing_is_left_behind() {
        let locks = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation IN ('pg_depend'::regclass, 'pg_shdepend'::regclass)";
        let memory =
            || one::<i64>("SELECT sum(used_bytes)::int8 FROM pg_backend_memory_contexts").unwrap();
        let texts = [
            ("SELECT * FROM pg_depend WHERE objid = 4711 FOR UPDATE", true),
            ("UPDATE pg_shdepend SET objid = 4711 WHERE lower(deptype::text) = 'x'", true),
            ("DELETE FROM pg_depend WHERE missing = 4711", false),
        ];
        let all = || {
            for (text, known) in texts {
                assert_eq!(shape(text).is_some(), known, "{text}");
            }
        };
        all();
        let before = memory();
        for _ in 0..300 {
            all();
        }
        assert!(memory() - before < 100_000, "{before} {}", memory());
        assert_eq!(one::<i64>(locks), Some(0));
        assert_eq!(one::<bool>("SELECT pg_current_xact_id_if_assigned() IS NULL"), Some(true));
        assert_eq!(one::<String>("SELECT current_setting('lock_timeout')").as_deref(), Some("0"));
        assert_eq!(
            one::<String>("SELECT current_setting('search_path')").as_deref(),
            Some("\"$user\", public")
        );
    }

    #[pg_test]
    fn analysis_is_not_recorded_as_a_statement() {
        shop();
        run("CREATE EXTENSION pg_stat_statements");
        run("SET pg_stat_statements.track = 'all'");
        let query = "SELECT * FROM customers WHERE lower(email) = 'we look at this'";
        assert!(shape(query).is_some());
        let recorded = "SELECT count(*) FROM pg_stat_statements WHERE query LIKE 'SELECT * FROM customers WHERE lower%'";
        assert_eq!(one::<i64>(recorded), Some(0));
        run(query);
        assert_eq!(one::<i64>(recorded), Some(1));
    }

    #[pg_test(error = "canceling statement due to user request")]
    fn a_cancel_is_obeyed() {
        let other = connected("canceller");
        let pid = one::<i32>("SELECT pg_backend_pid()").unwrap();
        run(&format!("SELECT dblink_send_query('{other}', 'SELECT pg_cancel_backend({pid})')"));
        let text = Text {
            query: b"SELECT * FROM pg_depend WHERE missing = $1",
            user_name: None,
            seen: &[],
        };
        let until = Instant::now();
        while until.elapsed().as_secs() < 20 {
            advise::shapes(&[text; 100]);
        }
    }
    /// A second session, by its name for dblink.
    fn connected(name: &str) -> &str {
        run("CREATE EXTENSION dblink");
        run(&format!(
            "SELECT dblink_connect('{name}', format('host=%s port=%s dbname=%s user=%s',
                split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'),
                current_database(), session_user))"
        ));
        name
    }

    /// A catalog, unlike a table, cannot be tried first.
    #[pg_test]
    fn a_locked_catalog_is_waited_for_once() {
        let other = connected("locker");
        let there = |sql: &str| run(&format!("SELECT dblink_exec('{other}', '{sql}')"));
        there("CREATE TABLE public.unseen (id int DEFAULT 1)");
        there("BEGIN; LOCK TABLE pg_attrdef IN ACCESS EXCLUSIVE MODE");
        let began = Instant::now();
        let text = Text {
            query: b"SELECT * FROM public.unseen WHERE id = $1",
            user_name: None,
            seen: &[],
        };
        let found = advise::shapes(&[text; 100]);
        let took = began.elapsed().as_millis();
        there("ROLLBACK");
        assert!(found.iter().all(|one| one.shape.is_none() && !one.unresolved));
        assert!((100..400).contains(&took), "{took} ms");
        assert!(shape("SELECT * FROM public.unseen WHERE id = $1").is_some());
        there("DROP TABLE public.unseen");
    }

    #[pg_test]
    fn no_lock_is_waited_for() {
        connected("other");
        run("SELECT dblink_exec('other', 'CREATE TABLE public.held (id int); CREATE VIEW public.seen AS SELECT * FROM public.held;
            CREATE VIEW public.over AS SELECT * FROM public.seen')");
        run("CREATE TABLE free (id int)");
        let cases = [
            ("ACCESS EXCLUSIVE", "held", "SELECT * FROM held WHERE id = $1", false),
            (
                "ACCESS EXCLUSIVE",
                "held",
                "SELECT * FROM free WHERE id IN (SELECT id FROM held)",
                false,
            ),
            ("ACCESS EXCLUSIVE", "held", "SELECT * FROM free WHERE id = $1", true),
            ("SHARE", "held", "SELECT * FROM held WHERE id = $1", true),
            ("SHARE", "held", "UPDATE held SET id = $1", false),
            ("EXCLUSIVE", "held", "SELECT * FROM held FOR UPDATE", false),
            ("ACCESS EXCLUSIVE", "over", "SELECT * FROM over", false),
        ];
        for (mode, table, query, known) in cases {
            run(&format!(
                "SELECT dblink_exec('other', 'BEGIN; LOCK TABLE public.{table} IN {mode} MODE')"
            ));
            let began = Instant::now();
            assert_eq!(shape(query).is_some(), known, "{mode}: {query}");
            assert!(began.elapsed().as_millis() < 50, "{mode}: {query}: {:?}", began.elapsed());
            run("SELECT dblink_exec('other', 'ROLLBACK')");
        }
        // The other session's own view is locked under a free one.
        run(
            "SELECT dblink_exec('other', 'BEGIN; LOCK TABLE public.seen IN ACCESS EXCLUSIVE MODE')",
        );
        run("CREATE VIEW free_view AS SELECT 1 AS a");
        assert!(shape("SELECT * FROM free_view").is_some());
        assert!(shape("SELECT * FROM over").is_none());
        run("SELECT dblink_exec('other', 'ROLLBACK; DROP TABLE public.held CASCADE')");
        run("SELECT dblink_disconnect('other')");
    }

    #[pg_test]
    fn long_and_deep_texts() {
        shop();
        let list: Vec<String> = (1..9000).map(|n| format!("${n}")).collect();
        let long = format!("SELECT * FROM orders WHERE id IN ({})", list.join(", "));
        assert!(long.len() < 64 * 1024 && long.len() > 60_000);
        assert_eq!(said(shape(&long)), "orders(id in)");
        // All in all there is an end: what comes first counts.
        let texts = vec![Text { query: long.as_bytes(), user_name: None, seen: &[] }; 100];
        let began = Instant::now();
        let found = advise::shapes(&texts);
        assert!(found[0].shape.is_some() && found[99].shape.is_none());
        assert!(began.elapsed().as_millis() < 2000, "{:?}", began.elapsed());
        let longer = format!("SELECT * FROM orders WHERE status = '{}'", "x".repeat(1 << 20));
        assert_eq!(shape(&longer), None);
        let deep = format!(
            "SELECT * FROM orders WHERE id = {}1{}",
            "(1 + ".repeat(9000),
            ")".repeat(9000)
        );
        let _ = shape(&deep);
        let arms: Vec<String> = (1..2000).map(|n| format!("lower(status) = ${n}")).collect();
        let many = format!("SELECT * FROM orders WHERE {}", arms.join(" OR "));
        assert_eq!(said(shape(&many)), "orders(lower(status) in)");
        let deep = format!(
            "SELECT * FROM orders WHERE {} id = 1 {}",
            "NOT (id = 2 AND ".repeat(1000),
            ")".repeat(1000)
        );
        let _ = shape(&deep);
        let unions = vec!["SELECT id FROM orders WHERE id = $1"; 400].join(" UNION ALL ");
        assert_eq!(said(shape(&unions)), "orders(id =)");
        let too_many = vec!["SELECT id FROM orders WHERE id = $1"; 1000].join(" UNION ALL ");
        assert_eq!(shape(&too_many), None);
    }

    #[pg_test]
    fn a_hundred_statements_take_little_time() {
        shop();
        let query = "SELECT o.id, c.email, sum(i.price) FROM orders o JOIN customers c ON c.id = o.customer_id
            JOIN items i ON i.order_id = o.id WHERE lower(c.email) = $1 AND o.created_at BETWEEN $2 AND $3
            AND o.status IN ($4, $5) AND EXISTS (SELECT FROM items x WHERE x.order_id = o.id AND x.sku LIKE $6)
            GROUP BY 1, 2 ORDER BY 3 DESC LIMIT $7";
        let user = one::<String>("SELECT current_user::text").unwrap();
        let texts = vec![Text { query: query.as_bytes(), user_name: Some(&user), seen: &[] }; 100];
        assert!(advise::shapes(&texts).iter().all(|one| one.shape.is_some()));
        // By the processor's time, beside that of the server's own analysis: machines differ, and others use them too.
        let best = |work: &dyn Fn()| {
            let rounds = (0..5).map(|_| {
                let began = clock::cpu_us();
                work();
                clock::cpu_us() - began
            });
            rounds.min().unwrap()
        };
        let prepare = format!("PREPARE own AS {query}");
        let own = best(&|| {
            for _ in &texts {
                run(&prepare);
                run("DEALLOCATE own");
            }
        });
        let ours = best(&|| drop(advise::shapes(&texts)));
        assert!(ours < 20 * own, "{ours} us of a hundred shapes, {own} us of as many analyses");
    }

    /// Whatever the server's own views say can be said of them, and no beginning of it does harm.
    #[pg_test]
    fn every_view_of_the_server() {
        let views = "SELECT c.oid::regclass::text, pg_get_viewdef(c.oid) FROM pg_class c
            WHERE relkind = 'v' AND relnamespace IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)";
        let views: Vec<(String, String)> = Spi::connect(|c| {
            let rows = c.select(views, None, &[]).unwrap();
            rows.map(|r| (r.get(1).unwrap().unwrap(), r.get(2).unwrap().unwrap())).collect()
        });
        assert!(views.len() > 100);
        for (view, text) in &views {
            assert!(shape(text).is_some(), "{view}: {text}");
            assert!(
                shape(&format!("SELECT * FROM {view} a JOIN {view} b USING (oid) WHERE a = b"))
                    .is_none_or(|s| !s.tables.is_empty())
            );
            let ends = (1..text.len()).step_by(61).filter(|&end| text.is_char_boundary(end));
            let pieces: Vec<_> = ends
                .map(|end| Text { query: &text.as_bytes()[..end], user_name: None, seen: &[] })
                .collect();
            assert_eq!(advise::shapes(&pieces).len(), pieces.len());
        }
    }
}
