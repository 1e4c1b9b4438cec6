//! pg_perfmon watches a PostgreSQL database from the inside.
//!
//! The rooms and what each must never do are described in `docs/architecture.md`.
#![deny(unsafe_op_in_unsafe_fn)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

#[cfg(not(panic = "unwind"))]
compile_error!("errors pass through Rust frames by unwinding: build with panic = \"unwind\"");

use pgrx::prelude::*;

mod settings;

pgrx::pg_module_magic!(name, version);

/// The one schema of the extension; made by it, so that nobody else can own it.
#[pg_schema]
mod perfmon {}

/// Called by the server when the library is loaded, preloaded or not.
#[allow(non_snake_case)]
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::define();
}

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pg_schema]
mod tests {
    use super::*;

    #[pg_test]
    fn loads() {
        assert_eq!(1, 1);
    }
}

/// Set-up of the server that `cargo pgrx test` starts.
#[cfg(test)]
pub mod pg_test {
    /// Nothing to prepare.
    pub fn setup(_options: Vec<&str>) {}

    /// Settings of the test server.
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![
            "shared_preload_libraries = 'pg_stat_statements,pg_perfmon'",
            "pg_perfmon.snapshot_interval = '1h'",
        ]
    }
}
