//! What is read by the hour is no better known than what is read by the minute.

use super::*;

/// Puts all minutes of today three days back, as if they had been recorded then.
const BACK: &str = "DO $$
    DECLARE part record; name text; today date := (now() AT TIME ZONE 'UTC')::date;
    BEGIN
        SET LOCAL timezone = 'UTC';
        FOR part IN
            SELECT c.relname, p.relname AS parent, r.day
            FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_class p ON p.oid = i.inhparent
                CROSS JOIN LATERAL (SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day) r
            WHERE c.relnamespace = 'perfmon'::regnamespace AND c.relkind = 'r'
                AND c.relname ~ '_minute_s[0-9a-f]{16}_[0-9]{8}$' AND r.day BETWEEN today - 1 AND today
        LOOP
            name := part.parent || '_' || to_char(part.day - 3, 'YYYYMMDD');
            EXECUTE format('CREATE TABLE perfmon.%I (LIKE perfmon.%I INCLUDING ALL)', name, part.parent);
            EXECUTE format('INSERT INTO perfmon.%I SELECT * FROM perfmon.%I', name, part.relname);
            EXECUTE format(
                'UPDATE perfmon.%I SET since = since - interval ''3 days'', until = until - interval ''3 days''', name);
            EXECUTE format('DELETE FROM perfmon.%I', part.relname);
            EXECUTE format('ALTER TABLE perfmon.%I ATTACH PARTITION perfmon.%I FOR VALUES FROM (%L) TO (%L)',
                part.parent, name, (part.day - 3)::timestamptz, (part.day - 2)::timestamptz);
        END LOOP;
        UPDATE perfmon.gap SET since = since - interval '3 days', until = until - interval '3 days';
        DELETE FROM perfmon.chore;
    END $$";

#[test]
fn an_hour_of_which_a_part_was_not_counted_keeps_no_promise() {
    let server = Server::manual().start();
    let mut db = app(&server);
    for (name, of) in [
        ("shops", "application => 'shop', p95_ms => 50,"),
        ("all", ""),
        ("cluster", "cluster => true,"),
    ] {
        db.run(&format!("SELECT perfmon.create_slo('{name}', {of} error_ratio => 0.01)"));
    }
    db.snapshot();
    let work = |fails: usize| {
        let mut shop = server.connect("bob", "app");
        shop.run("SET application_name = 'shop'");
        (0..200).for_each(|_| shop.run("SELECT 1"));
        (0..fails).for_each(|_| drop(shop.fails("SELECT 1 / 0")));
    };
    let set = |db: &mut Db, value: &str| {
        db.run(&format!("ALTER SYSTEM SET pg_perfmon.capture = '{value}'"));
        server.reload();
        wait_until("the setting is there", secs(10), || {
            server.connect("bob", "app").val::<String>("SHOW pg_perfmon.capture") == value
        });
    };
    work(0);
    db.snapshot();
    set(&mut db, "off");
    db.snapshot();
    work(150);
    // So much time that it is not little.
    db.run("SELECT pg_sleep(2)");
    db.snapshot();
    set(&mut db, "top");
    work(0);
    db.snapshot();
    db.run(BACK);
    wait_until("the minutes are added up", secs(60), || {
        db.snapshot();
        db.val::<i64>("SELECT count(*) FROM perfmon.failure_hour") > 0
    });
    // That of the collector's own plans is another session.
    let mut db = server.db("app");
    let told = db.rows(
        "SELECT slo_name || ' ' || objective || ' ' || status, detail
         FROM perfmon.slo_status(now() - interval '5 days', now() - interval '1 day')",
    );
    assert_eq!(told.len(), 4);
    for row in told {
        let (judged, detail): (String, String) = (row.get(0), row.get(1));
        assert!(judged.ends_with("no_data"), "{judged}: {detail}");
        assert!(detail.contains("pg_perfmon.capture was off"), "{judged}: {detail}");
    }
}
