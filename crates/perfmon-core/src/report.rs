//! The report: facts in, Markdown or JSON out. What it says is judged here too: the rating, what could
//! be saved, and the order of work. Findings come from the detectors.

mod better;
mod chart;
mod connections;
mod facts;
mod grid;
mod json;
mod locks;
mod machine;
mod markdown;
mod planned;
mod potential;
mod priority;
mod rating;
mod run;
mod text;
mod verdict;
mod words;

pub use better::{Rewrite, rewrites};
pub use chart::step_us;
pub use connections::{Connections, GroupOut, RefusedOut};
pub use facts::{
    Change, Command, ENOUGH, ErrorKind, Errors, Gap, Head, Latency, Load, Missing, Point, Promise,
    Report, Statement, StatementTimes, Table, Times, Trend,
};
pub use json::{SCHEMA, json};
pub use locks::{DeadlocksOut, HeadOut, IdleOut, Locks, MemberOut, WhoOut};
pub use machine::{Machine, MachineDisk};
pub use markdown::markdown;
pub use planned::{Flip, Plan, Side};
pub use potential::{Potential, potential, saved_ratio};
pub use priority::{Priority, THRESHOLDS, priority};
pub use rating::{Part, Rating, rate};
pub use run::json::{SCHEMA as RUN_SCHEMA, json as run_json};
pub use run::{Executed, Outcome, Pair, Run, Slow, markdown as run_markdown, pairs, untimed};
pub use verdict::{Ranked, Verdict};
