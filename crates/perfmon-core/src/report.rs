//! The report: facts in, Markdown or JSON out. What it says is judged here too: the rating, what could
//! be saved, and the order of work. Findings come from the detectors.

mod chart;
mod facts;
mod grid;
mod json;
mod markdown;
mod potential;
mod priority;
mod rating;
mod text;
mod verdict;
mod words;

pub use chart::step_us;
pub use facts::{
    Change, Command, Gap, Head, Load, Missing, Point, Report, Statement, Table, Trend,
};
pub use json::{SCHEMA, json};
pub use markdown::markdown;
pub use potential::{Potential, potential, saved_ratio};
pub use priority::{Priority, THRESHOLDS, priority};
pub use rating::{Part, Rating, rate};
pub use verdict::{Ranked, Verdict};
