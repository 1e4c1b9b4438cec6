//! History, added up over a window into plain values, with the caller's own rights. It must never judge
//! what it reads, nor write.

pub(crate) mod activity;
pub(crate) mod cell;
pub(crate) mod counting;
mod down;
mod elsewhere;
pub(crate) mod evidence;
pub(crate) mod failures;
pub(crate) mod host;
pub(crate) mod latency;
mod latency_checks;
pub(crate) mod limits;
pub(crate) mod live;
pub(crate) mod locks;
mod meant;
pub(crate) mod names;
pub(crate) mod objective;
pub(crate) mod objects;
pub(crate) mod plan;
pub(crate) mod plans;
mod pool_checks;
pub(crate) mod pooler;
pub(crate) mod pools;
pub(crate) mod query;
pub(crate) mod returned;
pub(crate) mod routes;
pub(crate) mod run;
pub(crate) mod saturation;
pub(crate) mod scope;
mod statement_checks;
pub(crate) mod statements;
pub(crate) mod timed;
pub(crate) mod times;
pub(crate) mod uncounted;
mod unseen;
mod untold;
pub(crate) mod words;
