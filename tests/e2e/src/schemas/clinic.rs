//! A clinic's database, written by hand: two schemas, names that need quotes, a partitioned table, jsonb, a
//! materialized view. What is wrong with it is what `flaws` says, and nothing else.

use super::flaw::Flaw;
use super::work::{Work, run_all};
use crate::{Db, Server, args};

const TABLES: &str = include_str!("clinic.sql");

/// Settings of the server, one of them against the evidence: the memory for sorting is too small for the rankings.
pub const SETTINGS: &[&str] = &[
    "shared_buffers = '128MB'",
    "work_mem = '512kB'",
    // Data are safe, and nobody waits for the disk.
    "fsync = on",
    "synchronous_commit = off",
    // Autovacuum is on, but must not tidy up between planting and looking.
    "autovacuum_naptime = '10min'",
];

/// Makes the database, without pg_perfmon, with its flaws in it.
#[track_caller]
pub fn load(server: &Server, name: &str) {
    server.db("postgres").run(&format!("CREATE DATABASE {name}"));
    let mut db = server.db(name);
    db.run(&format!("ALTER DATABASE {name} SET search_path = labor, public"));
    db.run(TABLES);
    // What a session did is counted when it says so: before the tables are looked over, not after.
    db.flush();
    db.run("VACUUM (ANALYZE)");
    // FLAW: twenty times the rows that were last analysed.
    db.run(
        "INSERT INTO labor.eingang SELECT n, n % 10, 'Befund' FROM generate_series(1001, 21000) AS n",
    );
    // Patients of the same name: the index is left behind, invalid.
    let e = db.fails(
        r#"CREATE UNIQUE INDEX CONCURRENTLY "nur einer" ON "Klinik Süd"."Patient" ("Nachname")"#,
    );
    assert_eq!(crate::code_of(&e), "23505", "{}", crate::message_of(&e));
    db.flush();
}

const ROLE: &[&str] = &["ALTER ROLE postgres IN DATABASE clinic SET work_mem"];

/// What is wrong, on which object, and what must stand in the remedy.
pub fn flaws() -> Vec<Flaw> {
    let k = |name: &str| format!(r#""Klinik Süd".{name}"#);
    vec![
        Flaw::on(
            "foreign_key_without_index",
            k("rechnung"),
            &["CREATE INDEX CONCURRENTLY", r#"ON "Klinik Süd".rechnung"#, "(patient)"],
        )
        .shown_by("patient leaves"),
        Flaw::on("seq_scan", k(r#""Patient""#), &["CREATE INDEX", r#"lower("E-Mail")"#])
            .shown_by("patient by mail"),
        // The index is that of the scan.
        Flaw::of("rewrite_function_on_column", r#"lower("E-Mail")"#),
        Flaw::on("seq_scan", k(r#""Termin""#), &["CREATE INDEX", r#""Ärztin""#])
            .shown_by("appointments of a doctor"),
        Flaw::on(
            "seq_scan",
            r#"labor."Messwert""#,
            &["CREATE INDEX CONCURRENTLY", r#"ON labor."Messwert""#, r#""Gerät""#],
        )
        .shown_by("values of a device"),
        Flaw::on("unused_index", k(r#""Termin_notiz""#), &["DROP INDEX", r#""Termin_notiz""#]),
        Flaw::on("unused_index", k(r#""monitor:gemessen""#), &[r#""monitor:gemessen""#]),
        Flaw::on_either(
            "duplicate_index",
            [k(r#""by order""#), k(r#""by order, ""again""""#)],
            &["DROP INDEX CONCURRENTLY", r#""Klinik Süd"."by order"#],
        ),
        Flaw::on(
            "redundant_index",
            k("by_from"),
            &[r#"DROP INDEX CONCURRENTLY "Klinik Süd".by_from;"#],
        ),
        Flaw::on("invalid_index", k(r#""nur einer""#), &[r#""Klinik Süd"."nur einer""#]),
        Flaw::on("bloated_index", "labor.archiv_pkey", &["REINDEX", "labor.archiv_pkey"]),
        Flaw::on("sequence_exhaustion", k("rezept_nr_seq"), &["bigint"]),
        Flaw::on(
            "autovacuum_disabled",
            k("warteschlange"),
            &["RESET (autovacuum_enabled)", "VACUUM (ANALYZE)", "warteschlange"],
        ),
        Flaw::on("stale_statistics", "labor.eingang", &["ANALYZE labor.eingang"]),
        Flaw::of("slow_statement", "md5(repeat("),
        // On a slow machine these take as long as what is called slow.
        Flaw::of("slow_statement", "rank() OVER").may(),
        Flaw::of("slow_statement", "SELECT DISTINCT").may(),
        Flaw::on("setting_work_mem", "setting work_mem", &["ALTER SYSTEM SET work_mem"]),
        Flaw::of("temp_files", "rank() OVER").says(ROLE).shown_by("ranking"),
        Flaw::of("temp_files", "SELECT DISTINCT").says(ROLE).shown_by("sums"),
        Flaw::of("temp_files", "md5(repeat(").says(ROLE).shown_by("audit"),
    ]
}

/// Statements of one day.
pub fn workload() -> Vec<Work> {
    let mut all = patients();
    all.extend(appointments());
    all.extend(wards());
    all.extend(reserved_words());
    all.extend(laboratory());
    all.extend(accounts());
    all
}

/// Runs one day, counted from 0, and has the nightly vacuum tidy what has changed places.
#[track_caller]
pub fn run(work: &[Work], db: &mut Db, round: i32) {
    run_all(work, db, round);
    for name in [r#""Klinik Süd".monitor"#, r#""Klinik Süd".bett"#, r#""Klinik Süd"."Patient""#]
    {
        db.run(&format!("VACUUM (ANALYZE) {name}"));
    }
    db.flush();
}

/// Numbers from 1 on, in no order, so that look-ups find something here and there.
fn nth(i: i32, of: i32) -> i32 {
    1 + i * 7919 % 65_537 % of
}

fn patients() -> Vec<Work> {
    vec![
        // FLAW: each of these reads all invoices.
        Work::prepared(
            "patient leaves",
            150,
            r#"DELETE FROM "Klinik Süd"."Patient" WHERE id = $1"#,
            |i| args![15_000 + i],
        ),
        // FLAW: no index on the expression.
        Work::plain("patient by mail", 150, |i| {
            let n = nth(i, 15_000);
            format!(
                r#"SELECT id, "Nachname" FROM "Klinik Süd"."Patient" WHERE lower("E-Mail") = lower('PERSON.{n}@example.org')"#
            )
        }),
        Work::plain("patients of a case", 100, |i| {
            let n = nth(i, 2499);
            format!(r#"SELECT id FROM "Klinik Süd"."Patient" WHERE kartei @> '{{"fall": "F{n}"}}'"#)
        }),
        Work::prepared(
            "patient by name",
            100,
            r#"SELECT id, geboren FROM "Klinik Süd"."Patient" WHERE "Nachname" = $1"#,
            |i| args![format!("Ng {}", nth(i, 2999))],
        ),
        Work::prepared(
            "patient by card",
            100,
            r#"SELECT id FROM "Klinik Süd"."Patient" WHERE "Karte Nr" = $1"#,
            |i| args![format!("K-{}", nth(i, 15_000))],
        ),
    ]
}

fn appointments() -> Vec<Work> {
    vec![
        // FLAW: no index on the doctor in any partition.
        Work::prepared(
            "appointments of a doctor",
            120,
            r#"SELECT id, beginn FROM "Klinik Süd"."Termin" WHERE "Ärztin" = $1 ORDER BY beginn"#,
            |i| args![nth(i, 4000)],
        ),
        Work::prepared(
            "appointments of a patient",
            120,
            r#"SELECT id, beginn FROM "Klinik Süd"."Termin" WHERE patient = $1"#,
            |i| args![nth(i, 15_000)],
        ),
        Work::fixed(
            "refresh summary",
            1,
            r#"REFRESH MATERIALIZED VIEW CONCURRENTLY "Klinik Süd"."Auslastung""#,
        ),
        Work::fixed("summary", 60, r#"SELECT * FROM "Klinik Süd"."Auslastung""#),
    ]
}

fn wards() -> Vec<Work> {
    vec![
        Work::fixed(
            "wards",
            800,
            r#"SELECT id, name FROM "Klinik Süd".station ORDER BY etage, name"#,
        ),
        Work::fixed("wall display", 80, r#"SELECT * FROM "Klinik Süd"."Übergabe""#),
        Work::prepared(
            "bed seen",
            1500,
            r#"UPDATE "Klinik Süd".bett SET gesehen = now(), frei = NOT frei WHERE id = $1"#,
            |i| args![1 + i % 40],
        ),
        // FLAW: an index that makes each of these dearer, and that nothing reads.
        Work::prepared(
            "pulse",
            1500,
            r#"UPDATE "Klinik Süd".monitor SET puls = $2, gemessen = clock_timestamp() WHERE id = $1"#,
            |i| args![nth(i, 10_000), 50 + i % 90],
        ),
        // FLAW: nobody clears up behind these.
        Work::plain("jobs done", 10, |i| {
            format!(
                r#"UPDATE "Klinik Süd".warteschlange SET fertig = true WHERE id BETWEEN {} AND {}"#,
                (i - 1) % 15 * 1000 + 1,
                (i - 1) % 15 * 1000 + 1000
            )
        }),
    ]
}

fn reserved_words() -> Vec<Work> {
    let by = |what: &'static str, condition: &'static str, of: i32| {
        Work::plain(what, 60, move |i| {
            let condition = condition.replace("{n}", &nth(i, of).to_string());
            format!(r#"SELECT "order" FROM "Klinik Süd"."select" WHERE {condition}"#)
        })
    };
    vec![
        by("by order", r#""order" = {n}"#, 20_000),
        by("by from", r#""from" = {n}"#, 5000),
        by("by from and order", r#""from" = {n} AND "order" > 100"#, 5000),
        by("by group", r#""Group" = 'g{n}'"#, 4000),
        by("by group, in C", r#""Group" COLLATE "C" = 'g{n}'"#, 4000),
        by("by user", r#""user" = {n}"#, 6000),
        by("by limit", r#""limit" = {n}"#, 1000),
        Work::prepared(
            "newest users",
            60,
            r#"SELECT "user" FROM "Klinik Süd"."select" ORDER BY "user" DESC NULLS LAST LIMIT $1"#,
            |i| args![i64::from(5 + i % 5)],
        ),
        Work::prepared(
            "by all",
            60,
            r#"SELECT "from" FROM "Klinik Süd"."select" WHERE "user" = $1 AND "order" = $2"#,
            |i| args![i * 7 % 6000, i],
        ),
    ]
}

fn laboratory() -> Vec<Work> {
    vec![
        // FLAW: no index on the device. The table is found by the database's search_path.
        Work::prepared(
            "values of a device",
            150,
            r#"SELECT zeit, wert FROM "Messwert" WHERE "Gerät" = $1"#,
            |i| args![nth(i, 700)],
        ),
        Work::plain("values of a day", 60, |i| {
            format!(
                "SELECT max(wert) FROM \"Messwert\"
                  WHERE zeit >= timestamptz '2026-01-01' + {0} * interval '1 hour'
                    AND zeit < timestamptz '2026-01-01' + {0} * interval '1 hour' + interval '3 hours'",
                nth(i, 900)
            )
        }),
        Work::fixed(
            "climate",
            40,
            "SELECT raum, avg(grad), max(grad), count(*) FROM klima GROUP BY raum",
        ),
        Work::fixed("what came in", 20, "SELECT inhalt FROM labor.eingang WHERE art = 3"),
        Work::plain("page of the archive", 100, |i| {
            format!("SELECT seite FROM archiv WHERE schluessel = md5('{}')", nth(i, 6000) * 10)
        }),
    ]
}

fn accounts() -> Vec<Work> {
    vec![
        Work::prepared(
            "invoices due",
            60,
            r#"SELECT id, betrag FROM "Klinik Süd".rechnung WHERE faellig = date '2026-01-01' + $1::int"#,
            |i| args![nth(i, 290)],
        ),
        Work::prepared(
            "lines of an invoice",
            120,
            r#"SELECT nr, ziffer FROM "Klinik Süd".posten WHERE rechnung = $1"#,
            |i| args![i64::from(nth(i, 30_000))],
        ),
        Work::prepared(
            "receipt",
            50,
            r#"INSERT INTO "Klinik Süd".quittung (betrag) VALUES ($1::int)"#,
            |i| args![i],
        ),
        // FLAW: the numbers are nearly used up.
        Work::prepared(
            "prescription",
            50,
            r#"INSERT INTO "Klinik Süd".rezept (wirkstoff) VALUES ($1)"#,
            |i| args![format!("Wirkstoff {i}")],
        ),
        Work::fixed("ring", 20, r#"SELECT nextval('"Klinik Süd"."Ring"')"#),
        // FLAW: sorts more than the memory that it may use.
        Work::fixed(
            "ranking",
            25,
            r#"SELECT sum(r.rang) FROM (SELECT rank() OVER (ORDER BY betrag DESC, id) AS rang FROM "Klinik Süd".rechnung) r"#,
        ),
        // FLAW: and another one. Of columns without an index: since 18, DISTINCT takes up the order of one, and sorts piece by piece.
        Work::fixed(
            "sums",
            25,
            r#"SELECT count(*) FROM (SELECT DISTINCT betrag, repeat(md5(id::text), 5) FROM "Klinik Süd".rechnung) d"#,
        ),
        // FLAW: slow by what it computes; no index would help.
        Work::fixed(
            "audit",
            10,
            r#"SELECT count(DISTINCT md5(repeat(id::text || betrag, 120))) FROM "Klinik Süd".rechnung"#,
        ),
    ]
}
