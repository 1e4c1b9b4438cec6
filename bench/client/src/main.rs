//! The client of `make bench-store`: drives a workload of thousands of different statements, lets the
//! collector record it, and times what is measured. It talks to the server by SQL alone; starting and
//! stopping servers is the script's business (`bench/store.sh`). Figures go to a file, a line each, so that
//! the parts of a run can lie on both sides of a restart. For `make bench-capture` it asks servers in turns.

mod ask;
mod figures;
mod fill;
mod load;
mod random;
mod record;
mod turns;

use postgres::{Client, Config, NoTls};
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "\
usage: perfmon-bench TASK --host SOCKETDIR --figures FILE [--dbname NAME] [options]
tasks: load     makes the tables of the workload
       record   drives and takes snapshots   --active N --intervals N --executions N --postmaster PID [--powa NAME]
       call     the same by call, where the library is not preloaded --active N --intervals N --executions N
       fill     multiplies what was recorded --days N --parts N
       ask      times the questions, warm
       cold     times one question once      --question N
       table    prints the figures and the limits
       turns    one statement at several servers in turns, against the first: --host SOCKETDIR,SOCKETDIR...";

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// What the command line asks for.
pub(crate) struct Options {
    host: String,
    pub(crate) dbname: String,
    pub(crate) figures: String,
    pub(crate) powa: Option<String>,
    pub(crate) postmaster: u32,
    pub(crate) active: usize,
    pub(crate) intervals: usize,
    pub(crate) executions: usize,
    pub(crate) days: i32,
    pub(crate) parts: i32,
    pub(crate) question: usize,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Outcome<Options> {
        let mut options = Options {
            host: "/var/run/postgresql".into(),
            dbname: "bench".into(),
            figures: "figures".into(),
            powa: None,
            postmaster: 0,
            active: 5000,
            intervals: 12,
            executions: 40_000,
            days: 30,
            parts: 6,
            question: 0,
        };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--host" => options.host = value,
                "--dbname" => options.dbname = value,
                "--figures" => options.figures = value,
                "--powa" => options.powa = Some(value),
                "--postmaster" => options.postmaster = value.parse()?,
                "--active" => options.active = value.parse()?,
                "--intervals" => options.intervals = value.parse()?,
                "--executions" => options.executions = value.parse()?,
                "--days" => options.days = value.parse()?,
                "--parts" => options.parts = value.parse()?,
                "--question" => options.question = value.parse()?,
                _ => return Err(format!("unknown option {word}").into()),
            }
        }
        Ok(options)
    }

    /// Opens one connection to a database.
    pub(crate) fn connect(&self, dbname: &str) -> Result<Client, postgres::Error> {
        Config::new()
            .host(&self.host)
            .user("postgres")
            .dbname(dbname)
            .application_name("perfmon-bench")
            .connect(NoTls)
    }
}

/// One line of progress.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "    {text}");
}

/// Middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn run() -> Outcome<()> {
    let mut words = std::env::args().skip(1);
    let task = words.next().unwrap_or_default();
    let options = Options::parse(words).map_err(|e| format!("{e}\n{USAGE}"))?;
    match task.as_str() {
        "load" => load::make(&options),
        "record" => record::record(&options),
        "call" => record::call(&options),
        "fill" => fill::fill(&options),
        "ask" => ask::warm(&options),
        "cold" => ask::cold(&options),
        "table" => figures::table(&options),
        "turns" => turns::compare(&options),
        _ => Err(format!("the first word must be a task\n{USAGE}").into()),
    }
}

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    let mut stderr = std::io::stderr();
    let _ = writeln!(stderr, "perfmon-bench: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        let _ = writeln!(stderr, "  because: {inner}");
        cause = inner.source();
    }
    ExitCode::FAILURE
}
