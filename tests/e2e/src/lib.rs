//! Starts, drives and breaks real servers with pg_perfmon in them.
//!
//! Everything here looks at the extension from outside: through SQL that any user could type, through the
//! server's log, and through signals. It must never read the extension's tables behind its functions' back,
//! save where a test is about those tables themselves (dump, privileges, secrets).
//!
//! * `PERFMON_PG_BIN`: directory of the server's programs (default: what `pg_config --bindir` says).
//! * `PERFMON_TMP`: where clusters are made (default: `/tmp`).
//! * `PERFMON_REGRESS_DIR`: src/test/regress of the source of this PostgreSQL.
//! * `PERFMON_SQLSMITH`: how many statements SQLsmith sends (default: 10,000).
//! * `PERFMON_AGREE_SECONDS`: how long pgbench runs whose sessions are counted by samples and by the server (default: 20).
//! * `PERFMON_SEED`: seed of the random tests (default: drawn and printed).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod asking;
mod db;
mod findings;
mod pooler;
mod programs;
mod random;
pub mod schemas;
mod server;
pub mod suite;

pub use asking::{Change, Gap, Interval, Statement, WINDOW, named_history};
pub use db::{Db, code_of, message_of};
pub use findings::Found;
pub use pooler::{POOLER_PASSWORD, PgBouncer};
pub use programs::{Output, Programs};
pub use random::Random;
pub use server::{Builder, Server, Stop};

use std::time::{Duration, Instant};

/// Shorthand for seconds.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Polls every 50 ms until `cond` holds; panics with `what` when it does not within `timeout`.
#[track_caller]
pub fn wait_until(what: &str, timeout: Duration, mut cond: impl FnMut() -> bool) {
    let start = Instant::now();
    while !cond() {
        assert!(start.elapsed() < timeout, "waited {timeout:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Polls every 50 ms until `get` gives a value; panics with `what` when it does not within `timeout`.
#[track_caller]
pub fn wait_for<T>(what: &str, timeout: Duration, mut get: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = get() {
            return value;
        }
        assert!(start.elapsed() < timeout, "waited {timeout:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Watches that `cond` never becomes true during `span`: the only place where time is simply let pass.
#[track_caller]
pub fn never(what: &str, span: Duration, mut cond: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < span {
        assert!(!cond(), "happened after {:?} though it never should: {what}", start.elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Seed of a random test: from `PERFMON_SEED`, else from the clock; printed so that a failure can be repeated.
pub fn seed() -> u64 {
    let seed =
        std::env::var("PERFMON_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos()) ^ (now.as_secs() << 20)
        });
    println!("PERFMON_SEED={seed}");
    seed
}
