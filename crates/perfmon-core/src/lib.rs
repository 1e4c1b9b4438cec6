//! Every judgement of pg_perfmon, as pure Rust over plain values.
//!
//! This crate must never know that PostgreSQL exists: no pgrx, no SQL, no clock, no I/O.
#![forbid(unsafe_code)]

pub mod family;
pub mod frame;
