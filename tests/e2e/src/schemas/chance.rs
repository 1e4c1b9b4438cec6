//! A schema made at random from a seed. Every theme makes one or two tables with a workload; some are flawed, and say
//! so in the record, others are sound and look alike.

use super::flaw::{Flaw, literal, quoted, server_quoted};
use super::names::Names;
use super::work::Args;
use super::work::{Work, run_all};
use crate::{Db, Random, Server, args};

mod themes;

/// What was made, and what is wrong with it.
pub struct Planted {
    /// Seed that makes the same again.
    pub seed: u64,
    /// Every flaw.
    pub flaws: Vec<Flaw>,
    /// The workload.
    pub work: Vec<Work>,
    nightly: Vec<String>,
}

impl Planted {
    /// Runs one round of the workload, and what tidies up after it.
    #[track_caller]
    pub fn run(&self, db: &mut Db, round: i32) {
        run_all(&self.work, db, round);
        db.flush();
        for sql in &self.nightly {
            db.run(sql);
        }
        db.flush();
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Int,
    BigInt,
    Text,
    Stamp,
    Uuid,
    Numeric,
}

const ALL_TYPES: &[Holds] =
    &[Holds::Int, Holds::BigInt, Holds::Text, Holds::Stamp, Holds::Uuid, Holds::Numeric];

/// A column with a number of different values, evenly spread.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    holds: Holds,
    distinct: i32,
}

impl Column {
    fn sql(&self) -> String {
        quoted(&self.name)
    }

    fn type_name(&self) -> &'static str {
        match self.holds {
            Holds::Int => "integer",
            Holds::BigInt => "bigint",
            Holds::Text => "text",
            Holds::Stamp => "timestamptz",
            Holds::Uuid => "uuid",
            Holds::Numeric => "numeric",
        }
    }

    /// Its value in row `n`, as SQL.
    fn of_row(&self) -> String {
        let number = format!("(n::bigint * 7919 % {})", self.distinct);
        match self.holds {
            Holds::Int => format!("{number}::int"),
            Holds::BigInt => number,
            Holds::Text => format!("'value ' || {number}"),
            Holds::Stamp => {
                format!("timestamptz '2026-03-01 00:00:00+00' + {number} * interval '1 second'")
            }
            Holds::Uuid => format!("md5({number}::text)::uuid"),
            Holds::Numeric => format!("{number} / 4.0"),
        }
    }

    /// One of its values, as a literal.
    fn value(&self, i: i32) -> String {
        let n = i * 31 % self.distinct;
        match self.holds {
            Holds::Int | Holds::BigInt => n.to_string(),
            Holds::Text => format!("'value {n}'"),
            Holds::Stamp => {
                format!("'2026-03-01 {:02}:{:02}:{:02}+00'", n / 3600, n / 60 % 60, n % 60)
            }
            Holds::Uuid => format!("md5('{n}')::uuid"),
            Holds::Numeric => format!("{}", f64::from(n) / 4.0),
        }
    }

    /// The same as a parameter, for types that the client knows.
    fn parameter(&self) -> Option<fn(&Self, i32) -> Args> {
        match self.holds {
            Holds::Int => Some(|c, i| args![i * 31 % c.distinct]),
            Holds::BigInt => Some(|c, i| args![i64::from(i * 31 % c.distinct)]),
            Holds::Text => Some(|c, i| args![format!("value {}", i * 31 % c.distinct)]),
            Holds::Stamp | Holds::Uuid | Holds::Numeric => None,
        }
    }
}

/// A table of the schema. Its first column is its primary key, numbered from 1.
#[derive(Debug, Clone)]
struct Table {
    schema: String,
    name: String,
    id: String,
    columns: Vec<Column>,
    rows: i32,
}

impl Table {
    fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// The state of the making.
struct Maker<'a> {
    db: &'a mut Db,
    random: Random,
    names: Names,
    schemas: Vec<String>,
    planted: Planted,
}

impl Maker<'_> {
    fn name(&mut self) -> String {
        self.names.next(&mut self.random)
    }

    fn between(&mut self, low: i32, high: i32) -> i32 {
        low + i32::try_from(self.random.below(usize::try_from(high - low + 1).unwrap())).unwrap()
    }

    fn plant(&mut self, flaw: Flaw) {
        self.planted.flaws.push(flaw);
    }

    fn works(&mut self, work: Work) {
        self.planted.work.push(work);
    }

    /// The name of one of its objects as the server quotes it.
    fn object(&mut self, table: &Table, name: &str) -> String {
        server_quoted(self.db, &table.schema, name)
    }

    /// Makes a table with some columns, filled.
    fn table(&mut self, columns: i32, rows: (i32, i32), with: &str) -> Table {
        let rows = self.between(rows.0, rows.1);
        let schema = self.random.pick(&self.schemas).clone();
        let (name, id) = (self.name(), self.name());
        let columns: Vec<Column> = (0..columns)
            .map(|_| Column {
                name: self.name(),
                holds: *self.random.pick(ALL_TYPES),
                distinct: self.between(rows / 40 + 2, rows / 8 + 3),
            })
            .collect();
        let table = Table { schema, name, id, columns, rows };
        let declared: Vec<String> =
            table.columns.iter().map(|c| format!("{} {}", c.sql(), c.type_name())).collect();
        let filled: Vec<String> = table.columns.iter().map(Column::of_row).collect();
        self.db.run(&format!(
            "CREATE TABLE {0} ({1} integer PRIMARY KEY, {2}, filler text NOT NULL) {with};
             INSERT INTO {0} SELECT n, {3}, repeat('x', 40) FROM generate_series(1, {4}) AS n",
            table.sql(),
            quoted(&table.id),
            declared.join(", "),
            filled.join(", "),
            table.rows
        ));
        table
    }

    /// Makes an index, and gives its name.
    fn index(&mut self, table: &Table, what: &str) -> String {
        let name = self.name();
        self.db.run(&format!("CREATE INDEX {} ON {} {what}", quoted(&name), table.sql()));
        name
    }

    /// Has rows looked up by one column, prepared or plain.
    fn look_up(&mut self, table: &Table, column: &Column, times: i32) {
        let head = format!(
            "SELECT {}, filler FROM {} WHERE {}",
            quoted(&table.id),
            table.sql(),
            column.sql()
        );
        let what = format!("by {:?} of {:?}", column.name, table.name);
        let work = match column.parameter() {
            Some(parameter) if self.random.one_in(2) => {
                let column = column.clone();
                Work::prepared(&what, times, format!("{head} = $1"), move |i| parameter(&column, i))
            }
            _ => {
                let column = column.clone();
                Work::plain(&what, times, move |i| format!("{head} = {}", column.value(i)))
            }
        };
        self.works(work);
    }
}

/// Makes a database, without pg_perfmon, from a seed. The flaws are in it, and in the record.
#[track_caller]
pub fn load(server: &Server, name: &str, seed: u64) -> Planted {
    server.db("postgres").run(&format!("CREATE DATABASE {name}"));
    let mut db = server.db(name);
    let mut random = Random::new(seed);
    let mut names = Names::default();
    let schemas: Vec<String> = (0..2).map(|_| names.next(&mut random)).collect();
    for schema in &schemas {
        db.run(&format!("CREATE SCHEMA {}", quoted(schema)));
    }
    let planted = Planted { seed, flaws: vec![], work: vec![], nightly: vec![] };
    let mut maker = Maker { db: &mut db, random, names, schemas, planted };
    themes::all(&mut maker);
    let planted = maker.planted;
    // What a session did is counted when it says so: before the tables are looked over, not after.
    db.flush();
    db.run("VACUUM (ANALYZE)");
    db.flush();
    planted
}
