//! The cluster that every server of these tests is a copy of.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Programs;

pub(super) fn base_dir() -> PathBuf {
    PathBuf::from(std::env::var("PERFMON_TMP").unwrap_or_else(|_| "/tmp".into()))
}

/// A folder that nobody had before: processes' numbers come again, while what an earlier one left may still be cleaned away.
pub(super) fn fresh_dir(base: &Path) -> PathBuf {
    std::fs::create_dir_all(base).unwrap();
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        // Short, as a socket's path may have a hundred bytes.
        let dir = base.join(format!("e2e-{}-{:x}", std::process::id(), now.as_micros()));
        match std::fs::create_dir(&dir) {
            Ok(()) => return dir,
            Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
        }
    }
}

/// A cluster fresh from initdb, made once per server version and shared by all tests.
pub(super) fn template(programs: &Programs) -> PathBuf {
    let version: String = programs
        .config("--version")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .collect();
    let base = base_dir()
        .join(format!("e2e-template-{}", if programs.is_root() { "root" } else { "user" }));
    programs.make_dir(&base);
    let made = base.join(&version);
    let lock = File::create(base.join(format!("{version}.lock"))).unwrap();
    lock.lock().unwrap();
    if !made.exists() {
        let raw = base.join(format!("{version}.raw"));
        let _ = std::fs::remove_dir_all(&raw);
        let out = programs.run(
            "initdb",
            &[
                "-D",
                raw.to_str().unwrap(),
                "-U",
                "postgres",
                "--auth=trust",
                "-N",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "--wal-segsize=4",
            ],
        );
        assert!(out.ok, "initdb: {}", out.stderr);
        std::fs::write(raw.join("postgresql.conf"), CONF).unwrap();
        std::fs::rename(&raw, &made).unwrap();
    }
    made
}

/// What every server of these tests has in common. The prefix names process kind, database and SQLSTATE.
const CONF: &str = "\
listen_addresses = ''
port = 5432
fsync = off
shared_buffers = 32MB
max_connections = 40
max_wal_size = 256MB
wal_level = replica
max_wal_senders = 4
log_line_prefix = '%m [%p] %b %d %e '
log_min_messages = info
log_autovacuum_min_duration = -1
log_checkpoints = off
timezone = 'UTC'
log_timezone = 'UTC'
datestyle = 'iso'
jit = off
";
