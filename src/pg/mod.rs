//! The airlock: the only room that touches the server's transactions, signals, shared memory and
//! version differences. It must never know what the extension is about.

pub(crate) mod analyze;
pub(crate) mod area;
pub(crate) mod backends;
pub(crate) mod catalog;
pub(crate) mod classes;
pub(crate) mod clock;
pub(crate) mod column;
pub(crate) mod compat;
mod condition;
mod counted;
pub(crate) mod dbstat;
pub(crate) mod describe;
pub(crate) mod execution;
pub(crate) mod explain;
pub(crate) mod fmgr;
pub(crate) mod foreign;
pub(crate) mod guess;
pub(crate) mod heap;
pub(crate) mod hooks;
mod hot;
mod level;
pub(crate) mod list;
pub(crate) mod locks;
pub(crate) mod lookup;
pub(crate) mod others;
pub(crate) mod parse;
mod pattern;
pub(crate) mod planned;
mod raw;
pub(crate) mod reading;
pub(crate) mod role;
mod rows;
pub(crate) mod scan;
pub(crate) mod session;

mod shape;
pub(crate) mod share;
pub(crate) mod shmem;
pub(crate) mod signal;
mod spill;
pub(crate) mod statistic;
pub(crate) mod toast;
pub(crate) mod transaction;
pub(crate) mod tree;
pub(crate) mod txn;
pub(crate) mod wording;
