//! What is no text and is compared with patterns, or as text: the forms find the same rows, by the indexes that are told.

use perfmon_e2e::{Db, secs};

use super::seen::{by_mark, watched};

/// Mark, condition with a value, what the form must hold, and whether it means the same.
const TOLD: [(&str, &str, &str, bool); 4] = [
    ("caseless", "mail LIKE 'm1717_@%'", "(people.mail)::text ILIKE $1", true),
    ("any case", "mail ILIKE '%717@EX%'", "(people.mail)::text ILIKE $1", true),
    ("name", "nick LIKE '%n1717'", "(people.nick)::text LIKE $1", true),
    ("truth", "gone::text = 'true'", "people.gone = ($1)::boolean", false),
];

fn found(db: &mut Db, condition: &str) -> Vec<i32> {
    db.list(&format!("SELECT id FROM people WHERE {condition} ORDER BY id"))
}

#[test]
fn what_is_no_text_is_compared_by_a_form_that_an_index_serves() {
    let (_server, mut db) = watched(
        "CREATE EXTENSION citext; CREATE EXTENSION pg_trgm;
         CREATE TABLE people (id int PRIMARY KEY, mail citext, nick name, gone bool, filler text);
         INSERT INTO people SELECT i, 'M' || i || '@example.org', 'n' || i, i % 5000 = 0, repeat('x', 80)
         FROM generate_series(1, 30000) i;
         ANALYZE people",
    );
    for _ in 0..6 {
        for (mark, condition, ..) in TOLD {
            db.run(&format!("SELECT /* {mark} */ count(*) FROM people WHERE {condition}"));
        }
        db.run("SELECT /* twin */ id FROM people WHERE nick LIKE 'n1717%'");
        db.run("SELECT /* twin */ id FROM people WHERE mail = 'm1717@example.org'");
        db.run("SELECT /* twin */ count(id) FROM people WHERE gone = 'true'");
    }
    db.flush();
    db.snapshot_with_texts(secs(30));
    let told = by_mark(&mut db);
    for (mark, condition, better, same) in TOLD {
        let [hint] = &told.get(mark).unwrap_or_else(|| panic!("{mark}: {told:?}"))[..] else {
            panic!("{mark}: {told:?}")
        };
        assert_eq!((hint.better.as_deref(), hint.same), (Some(better), same), "{hint:?}");
        let value = condition.split('\'').nth(1).unwrap();
        let form = better.replace("$1", &format!("'{value}'"));
        let before = found(&mut db, condition);
        assert!(!before.is_empty() && before == found(&mut db, &form), "{condition}: {form}");
        db.run(hint.statement.as_deref().expect("an index"));
        db.run("SET enable_seqscan = off");
        let plan =
            db.list::<String>(&format!("EXPLAIN SELECT id FROM people WHERE {form}")).join("\n");
        assert!(plan.contains("Index Scan"), "{plan}");
        db.run("RESET enable_seqscan; DROP INDEX IF EXISTS people_mail_idx, people_nick_idx, people_gone_idx");
    }
    assert!(!told.contains_key("twin"), "{told:?}");
    let words = db.list::<String>(
        "SELECT remedy FROM perfmon.seq_scans() WHERE query LIKE '%/* caseless%' OR query LIKE '%twin%nick%' ORDER BY query",
    );
    assert!(
        words[0].starts_with("No index on mail itself is searched for (mail ~~ ?)"),
        "{words:?}"
    );
    assert!(
        words[1].starts_with("An index on nick is searched for (nick ~~ ?%) where"),
        "{words:?}"
    );
}
