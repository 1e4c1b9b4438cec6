//! A workload as data: statements, each executed a number of times over one connection, as an application would.

use std::cell::Cell;
use std::time::{Duration, Instant};

use postgres::types::ToSql;

use crate::{Db, message_of};

/// Parameters of one execution.
pub type Args = Vec<Box<dyn ToSql + Sync>>;

/// How a statement is executed.
enum How {
    /// Prepared once, with parameters for each execution.
    Prepared(String, Box<dyn Fn(i32) -> Args>),
    /// Sent as text each time, with the values in it.
    Plain(Box<dyn Fn(i32) -> String>),
}

/// One statement of a workload.
pub struct Work {
    /// A name for it, in messages.
    pub what: String,
    times: i32,
    how: How,
    first: Cell<Option<Duration>>,
}

impl Work {
    /// A prepared statement.
    pub fn prepared(
        what: &str,
        times: i32,
        text: impl Into<String>,
        args: impl Fn(i32) -> Args + 'static,
    ) -> Self {
        Self {
            what: what.into(),
            times,
            how: How::Prepared(text.into(), Box::new(args)),
            first: Cell::new(None),
        }
    }

    /// A statement with its values in the text.
    pub fn plain(what: &str, times: i32, text: impl Fn(i32) -> String + 'static) -> Self {
        Self { what: what.into(), times, how: How::Plain(Box::new(text)), first: Cell::new(None) }
    }

    /// A statement without values.
    pub fn fixed(what: &str, times: i32, text: impl Into<String>) -> Self {
        let text = text.into();
        Self::plain(what, times, move |_| text.clone())
    }

    /// Executes it as often as it says, and says how long that took. Executions are numbered from 1 through all
    /// rounds, so that what is deleted or inserted differs from round to round.
    #[track_caller]
    pub fn run(&self, db: &mut Db, round: i32) -> Duration {
        let numbers = round * self.times + 1..=(round + 1) * self.times;
        let began = Instant::now();
        match &self.how {
            How::Prepared(text, args) => {
                let statement = match db.prepare(text) {
                    Ok(statement) => statement,
                    Err(e) => panic!("{}: {}\nin: {text}", self.what, message_of(&e)),
                };
                for i in numbers {
                    let args = args(i);
                    let args: Vec<&(dyn ToSql + Sync)> = args.iter().map(AsRef::as_ref).collect();
                    if let Err(e) = db.query(&statement, &args) {
                        panic!("{}: {}\nin: {text}", self.what, message_of(&e));
                    }
                }
            }
            How::Plain(text) => numbers.for_each(|i| db.run(&text(i))),
        }
        let took = began.elapsed();
        self.first.set(self.first.get().or(Some(took)));
        took
    }

    /// How long its first round took.
    pub fn first_took(&self) -> Option<Duration> {
        self.first.get()
    }
}

/// Runs one round of a whole workload, and makes its counters visible.
#[track_caller]
pub fn run_all(work: &[Work], db: &mut Db, round: i32) {
    for one in work {
        let took = one.run(db, round);
        println!("    {:>6.0} ms {} × {}", took.as_secs_f64() * 1000.0, one.times, one.what);
    }
    db.flush();
}

/// Parameters from values: `args![1_i32, "x".to_owned()]`.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        vec![$(Box::new($value) as Box<dyn postgres::types::ToSql + Sync>),*]
    };
}
