//! Every judgement of pg_perfmon, as pure Rust over plain values.
//!
//! This crate must never know that PostgreSQL exists: no pgrx, no SQL, no clock, no I/O.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod activity;
pub mod ask;
pub mod capture;
pub mod change;
pub mod coverage;
pub mod delta;
pub mod detect;
pub mod evaluation;
pub mod facts;
pub mod family;
pub mod finding;
pub mod frame;
pub mod histogram;
pub mod host;
pub mod latency;
pub mod lock;
pub mod objective;
pub mod pace;
pub mod pack;
pub mod plan;
pub mod pool;
pub mod pooler;
pub mod report;
pub mod rollup;
pub mod series;
pub mod squares;
pub mod tally;
pub mod threshold;
pub mod trend;
pub mod window;
