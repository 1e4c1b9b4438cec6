//! History: append, read a window, roll up, retain. Everything runs as the current user, whom the
//! caller has made the owner of the tables where something is written. This room must never know where
//! a value came from.

pub(crate) mod change;
mod change_checks;
mod checks;
pub(crate) mod chore;
mod clean;
pub(crate) mod database;
pub(crate) mod dictionary;
pub(crate) mod extent;
pub(crate) mod finding;
pub(crate) mod gap;
pub(crate) mod history;
pub(crate) mod latency;
mod latency_checks;
mod leaf;
mod leaf_checks;
pub(crate) mod lock;
pub(crate) mod object;
pub(crate) mod period;
mod place;
pub(crate) mod plan;
pub(crate) mod pool;
pub(crate) mod prior;
pub(crate) mod read;
pub(crate) mod retain;
mod rollup;
pub(crate) mod run;
pub(crate) mod sequence;
pub(crate) mod setting;
pub(crate) mod size;
pub(crate) mod slo;
pub(crate) mod source;
mod sql;
mod whole;
