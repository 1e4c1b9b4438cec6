//! Schemas with flaws planted in them on purpose, and the workloads that make the flaws show: one written by hand,
//! and one made at random from a seed.
//!
//! Each flaw is recorded as data where it is planted, so that a judge can be held against the record. Beside each
//! stands a twin that looks alike and is sound, about which a judge must keep silent.

pub mod chance;
pub mod clinic;
pub mod flaw;
pub mod limits;
pub mod names;
pub mod promise;
pub mod tpch;
pub mod work;

pub use flaw::{About, Flaw, assert_found, differences, literal, quoted, server_quoted};
pub use work::{Args, Work, run_all};
