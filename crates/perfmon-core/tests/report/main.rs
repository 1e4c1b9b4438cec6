//! Whole reports of made-up servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

mod json;
mod markdown;
mod plans;
mod samples;
mod shop;
