//! The demo's shop: loads a database and drives it over real connections, with flaws planted on purpose.
//!
//! It must never know pg_perfmon: what it plants is to be found by looking at the server alone, and what it counts
//! is the truth that a report can be compared with. The flaws:
//!
//! | Flaw | Where |
//! |---|---|
//! | foreign key without index | `orders.customer_id` |
//! | search without index | `customers` by `lower(email)`, `products` by `ILIKE '%word%'` |
//! | unused index | `orders_note_idx` |
//! | duplicate index | `customers_email_idx` beside the unique `customers_email_key` |
//! | N+1 loop | the order list, then one query for each order's items |
//! | unbounded list | `admin` reads all events of one kind |
//! | idle in transaction | `admin` edits a product, and thinks with the transaction open |
//! | transactions left open | `stock check` reads in three sessions and never ends its transactions (`forget`) |
//! | saturated pool | `nightly export` holds all 12 connections of role `export`, uses one, and wants another |
//! | hot row | every checkout and half of the page views update one row of `counters` |
//! | table without autovacuum | `sessions` |

mod drive;
mod forget;
mod random;
mod shop;
mod tally;

use postgres::{Client, Config, NoTls};
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "\
usage: perfmon-demo load   [connection] [--scale F]
       perfmon-demo drive  [connection] [--seconds N] [--seed N]
       perfmon-demo forget [connection] [--seconds N]
connection: --host SOCKETDIR|HOST --port P --user NAME --dbname NAME";

/// What the command line asks for.
#[derive(Clone)]
struct Options {
    host: String,
    port: u16,
    user: String,
    dbname: String,
    scale: f64,
    seconds: u64,
    seed: u64,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
        let mut options = Options {
            host: "/var/run/postgresql".into(),
            port: 5432,
            user: "shop".into(),
            dbname: "shop".into(),
            scale: 1.0,
            seconds: 60,
            seed: 1,
        };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--host" => options.host = value,
                "--port" => options.port = value.parse()?,
                "--user" => options.user = value,
                "--dbname" => options.dbname = value,
                "--scale" => options.scale = value.parse()?,
                "--seconds" => options.seconds = value.parse()?,
                "--seed" => options.seed = value.parse()?,
                _ => return Err(format!("unknown option {word}").into()),
            }
        }
        if !(options.scale > 0.0 && options.scale <= 1000.0) {
            return Err("--scale must lie between 0 and 1000".into());
        }
        Ok(options)
    }

    /// Opens one connection that shows as `application_name`.
    fn connect(&self, application_name: &str) -> Result<Client, postgres::Error> {
        self.connect_as(&self.user, application_name)
    }

    /// The same as another user.
    fn connect_as(&self, user: &str, application_name: &str) -> Result<Client, postgres::Error> {
        Config::new()
            .host(&self.host)
            .port(self.port)
            .user(user)
            .dbname(&self.dbname)
            .application_name(application_name)
            .connect(NoTls)
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let task = words.next().unwrap_or_default();
    let options = Options::parse(words)?;
    match task.as_str() {
        "load" => shop::load(&options),
        "drive" => drive::drive(&options),
        "forget" => forget::forget(&options),
        _ => Err("first word must be load, drive or forget".into()),
    }
}

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    let mut stderr = std::io::stderr();
    let _ = writeln!(stderr, "perfmon-demo: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        let _ = writeln!(stderr, "  because: {inner}");
        cause = inner.source();
    }
    let _ = writeln!(stderr, "{USAGE}");
    ExitCode::FAILURE
}
