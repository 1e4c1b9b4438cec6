//! The themes of a random schema. Each can be flawed or sound; both look alike.

use super::{Column, Flaw, Holds, Maker, Table, Work, args, literal, quoted};

type Theme = fn(&mut Maker<'_>, bool);

const THEMES: &[Theme] =
    &[search, family, extra_index, twice, beginning, numbers, ignored, broken, whole, small];

/// Each theme once or twice, flawed or sound by the toss of a coin, and two flawed ones for certain.
pub(super) fn all(maker: &mut Maker<'_>) {
    let certain = maker.random.below(4);
    for (i, theme) in THEMES.iter().enumerate() {
        let flawed = i == certain || i == certain + 2 || maker.random.one_in(2);
        theme(maker, flawed);
        if maker.random.one_in(3) {
            theme(maker, !flawed);
        }
    }
}

const BIG: (i32, i32) = (20_000, 40_000);

fn index_on(column: &Column) -> String {
    format!("({})", column.sql())
}

/// Rows are looked up by one column, or by two.
fn search(maker: &mut Maker<'_>, flawed: bool) {
    let table = maker.table(4, BIG, "");
    let by = table.columns[maker.random.below(4)].clone();
    maker.look_up(&table, &by, 150);
    if flawed {
        let object = maker.object(&table, &table.name);
        let what = maker.planted.work.last().map(|work| work.what.clone()).unwrap();
        maker.plant(
            Flaw::on("seq_scan", object, &["CREATE INDEX", &bare(&by.name)]).shown_by(&what),
        );
    } else {
        maker.index(&table, &index_on(&by));
    }
}

/// What of a name is the same whether the server quotes it or not.
fn bare(name: &str) -> String {
    name.replace('"', "\"\"")
}

/// Parents are deleted, and each deletion looks for children, by one column or by two.
fn family(maker: &mut Maker<'_>, flawed: bool) {
    let parent = maker.table(1, (4000, 8000), "");
    let child = maker.table(2, BIG, "");
    let pair = maker.random.one_in(3);
    let mut columns = vec![maker.name()];
    let mut keys = quoted(&parent.id);
    if pair {
        let second = maker.name();
        maker.db.run(&format!(
            "ALTER TABLE {0} ADD COLUMN {1} integer NOT NULL DEFAULT 7, ADD UNIQUE ({1}, {2})",
            parent.sql(),
            quoted(&second),
            quoted(&parent.id)
        ));
        keys = format!("{}, {keys}", quoted(&second));
        columns.insert(0, maker.name());
    }
    let half = parent.rows / 2;
    let list = columns.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(", ");
    refer(maker, &parent, &child, &columns, &keys, half);
    let what = format!("rows of {:?} go", parent.name);
    if flawed {
        let object = maker.object(&child, &child.name);
        let names: Vec<String> = columns.iter().map(|c| bare(c)).collect();
        let mut words = vec!["CREATE INDEX CONCURRENTLY".to_owned(), bare(&child.name)];
        words.extend(names);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        maker.plant(Flaw::on("foreign_key_without_index", object, &words).shown_by(&what));
    } else {
        let more =
            if maker.random.one_in(2) { format!(", {}", quoted(&child.id)) } else { String::new() };
        maker.index(&child, &format!("({list}{more})"));
    }
    let delete = format!("DELETE FROM {} WHERE {} = $1", parent.sql(), quoted(&parent.id));
    maker.works(Work::prepared(&what, 120, delete, move |i| args![half + 1 + i % (half - 1)]));
    maker.planted.nightly.push(format!("VACUUM (ANALYZE) {}", parent.sql()));
}

/// Adds a foreign key from `columns` of the child to `keys` of the parent, of whose rows the first half is referred to.
fn refer(
    maker: &mut Maker<'_>,
    parent: &Table,
    child: &Table,
    columns: &[String],
    keys: &str,
    half: i32,
) {
    let name = maker.name();
    let action = *maker.random.pick(&["", "ON DELETE CASCADE", "ON DELETE SET NULL"]);
    let (to, id) = (child.sql(), quoted(&child.id));
    for (i, column) in columns.iter().enumerate() {
        let value =
            if i + 1 < columns.len() { "7".to_owned() } else { format!("1 + {id} % {half}") };
        let column = quoted(column);
        maker.db.run(&format!("ALTER TABLE {to} ADD COLUMN {column} integer"));
        maker.db.run(&format!("UPDATE {to} SET {column} = {value}"));
    }
    let list = columns.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(", ");
    maker.db.run(&format!(
        "ALTER TABLE {to} ADD CONSTRAINT {} FOREIGN KEY ({list}) REFERENCES {} ({keys}) {action}",
        quoted(&name),
        parent.sql()
    ));
    // The updates left the table twice as large.
    maker.db.run(&format!("VACUUM FULL {to}"));
}

/// An index that is used, and perhaps one that is not.
fn extra_index(maker: &mut Maker<'_>, flawed: bool) {
    let table = maker.table(3, BIG, "");
    let (used, other) = (table.columns[0].clone(), table.columns[1].clone());
    maker.index(&table, &index_on(&used));
    maker.look_up(&table, &used, 60);
    let name = maker.index(&table, &index_on(&other));
    if flawed {
        let object = maker.object(&table, &name);
        maker.plant(Flaw::on("unused_index", object, &["DROP INDEX", &bare(&name)]));
    } else {
        maker.look_up(&table, &other, 60);
    }
}

/// Two indexes: the same, or two that differ in what counts.
fn twice(maker: &mut Maker<'_>, flawed: bool) {
    let table = maker.table(2, BIG, "");
    let by = table.columns[0].clone();
    let first = maker.index(&table, &index_on(&by));
    maker.look_up(&table, &by, 60);
    if flawed {
        let second = maker.index(&table, &index_on(&by));
        let either = [maker.object(&table, &first), maker.object(&table, &second)];
        maker.plant(Flaw::on_either(
            "duplicate_index",
            either.clone(),
            &["DROP INDEX CONCURRENTLY"],
        ));
        // One of them serves all look-ups.
        maker.plant(Flaw::on_either("unused_index", either, &["DROP INDEX"]).may());
    } else {
        // A part of the rows only, by another column.
        let other = table.columns[1].clone();
        let value = other.value(1);
        maker.index(&table, &format!("({}) WHERE {} = {value}", quoted(&table.id), other.sql()));
        let text = format!(
            "SELECT {} FROM {} WHERE {} = {value}",
            quoted(&table.id),
            table.sql(),
            other.sql()
        );
        maker.works(Work::fixed("by the part", 60, text));
    }
}

/// An index that begins another, or one that only seems to.
fn beginning(maker: &mut Maker<'_>, flawed: bool) {
    let table = maker.table(2, BIG, "");
    let (a, b) = (table.columns[0].clone(), table.columns[1].clone());
    let long = format!("({}, {})", a.sql(), b.sql());
    if flawed {
        let name = maker.index(&table, &index_on(&a));
        maker.index(&table, &long);
        let object = maker.object(&table, &name);
        maker.plant(Flaw::on(
            "redundant_index",
            object.clone(),
            &["DROP INDEX CONCURRENTLY", &bare(&name)],
        ));
        maker.plant(Flaw::on("unused_index", object, &["DROP INDEX"]).may());
    } else {
        maker.index(&table, &index_on(&b));
        maker.index(&table, &long);
        maker.look_up(&table, &b, 60);
    }
    both(maker, &table, &a, &b);
}

/// Looked up by two columns at once, as only an index over both does well.
fn both(maker: &mut Maker<'_>, table: &Table, a: &Column, b: &Column) {
    let head = format!("SELECT {} FROM {} WHERE ", quoted(&table.id), table.sql());
    let (a, b) = (a.clone(), b.clone());
    maker.works(Work::plain("by both", 60, move |i| {
        format!("{head} {} = {} AND {} = {}", a.sql(), a.value(i), b.sql(), b.value(i))
    }));
}

/// Numbers that run out, or that do not.
fn numbers(maker: &mut Maker<'_>, flawed: bool) {
    let schema = maker.random.pick(&maker.schemas).clone();
    let (name, column) = (maker.name(), maker.name());
    let narrow = maker.random.one_in(2);
    let (kind, at): (&str, i64) = match (flawed, narrow) {
        (true, true) => ("smallint", 31_500),
        (true, false) => ("integer", 2_060_000_000),
        (false, true) => ("integer", 31_500),
        (false, false) => ("bigint", 2_060_000_000),
    };
    let table = Table { schema, name, id: column, columns: vec![], rows: 0 };
    maker.db.run(&format!(
        "CREATE TABLE {} ({} {kind} GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, filler text)",
        table.sql(),
        quoted(&table.id)
    ));
    // Its name is the server's choice.
    let sequence: String = maker.db.val(&format!(
        "SELECT c.relname::text FROM pg_class c JOIN pg_depend d ON d.objid = c.oid AND d.deptype = 'i'
          WHERE c.relkind = 'S' AND d.refobjid = {}::regclass",
        literal(&table.sql())
    ));
    maker.db.run(&format!(
        "SELECT setval({}, {at})",
        literal(&format!("{}.{}", quoted(&table.schema), quoted(&sequence)))
    ));
    if flawed {
        let object = maker.object(&table, &sequence);
        maker.plant(Flaw::on("sequence_exhaustion", object, &[]));
    }
    maker.works(Work::fixed(
        "new number",
        20,
        format!("INSERT INTO {} (filler) VALUES ('x')", table.sql()),
    ));
}

/// A table with dead rows that autovacuum ignores, or one that is tidied up.
fn ignored(maker: &mut Maker<'_>, flawed: bool) {
    let with = if flawed { "WITH (autovacuum_enabled = off)" } else { "" };
    let table = maker.table(2, BIG, with);
    let update = format!("UPDATE {} SET filler = 'y' || filler", table.sql());
    let (id, tenth) = (quoted(&table.id), table.rows / 10);
    maker.works(Work::plain("changes", 6, move |i| {
        let first = (i - 1) % 9 * tenth;
        format!("{update} WHERE {id} BETWEEN {} AND {}", first + 1, first + tenth)
    }));
    if flawed {
        let object = maker.object(&table, &table.name);
        maker.plant(Flaw::on(
            "autovacuum_disabled",
            object.clone(),
            &["RESET (autovacuum_enabled)", "VACUUM (ANALYZE)", &bare(&table.name)],
        ));
        // Nobody analyses it either.
        maker.plant(Flaw::on("stale_statistics", object, &["ANALYZE"]).may());
    } else {
        maker.planted.nightly.push(format!("VACUUM (ANALYZE) {}", table.sql()));
    }
}

/// An index that was not finished, or one that was and is used.
fn broken(maker: &mut Maker<'_>, flawed: bool) {
    let table = maker.table(2, BIG, "");
    let by = table.columns[0].clone();
    if flawed {
        let name = maker.name();
        let e = maker.db.fails(&format!(
            "CREATE UNIQUE INDEX CONCURRENTLY {} ON {} ({})",
            quoted(&name),
            table.sql(),
            by.sql()
        ));
        assert_eq!(crate::code_of(&e), "23505", "{}", crate::message_of(&e));
        let object = maker.object(&table, &name);
        maker.plant(Flaw::on("invalid_index", object, &[&bare(&name)]));
    } else {
        maker.index(&table, &index_on(&by));
        maker.look_up(&table, &by, 60);
    }
}

/// Read whole, to be added up: always sound.
fn whole(maker: &mut Maker<'_>, _: bool) {
    let table = maker.table(2, BIG, "");
    let by = table.columns[0].sql();
    let column = table.columns[1].clone();
    let value = if column.holds == Holds::Uuid {
        "count(*)".into()
    } else {
        format!("max({})", column.sql())
    };
    let text = format!(
        "SELECT {by}, {value}, sum({}::bigint) FROM {} GROUP BY {by} ORDER BY 3 DESC LIMIT 5",
        quoted(&table.id),
        table.sql()
    );
    maker.works(Work::fixed("all added up", 25, text));
}

/// So small that reading it whole is right: always sound.
fn small(maker: &mut Maker<'_>, _: bool) {
    let table = maker.table(3, (20, 60), "");
    let by = table.columns[0].clone();
    maker.look_up(&table, &by, 400);
}
