//! Processes of a server, as the system sees them.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A process of its own session that cleans up if the test itself is killed: it reads from this one, which never writes, and
/// so hears when it is gone. A process number would tell of whoever has it next.
pub(super) fn watch(dir: &Path) -> Child {
    let script = format!(
        "read -r never; read -r pid rest < '{dir}/data/postmaster.pid' && \
         [ /proc/$pid/cwd -ef '{dir}/data' ] && kill -QUIT $pid; sleep 2; rm -rf '{dir}'",
        dir = dir.display()
    );
    Command::new("setsid")
        .args(["sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

pub(super) fn signal(pid: i32, name: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// Whether a process exists and is not a zombie.
pub(super) fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|s| s.rsplit_once(')').map(|(_, rest)| !rest.trim_start().starts_with('Z')))
        .unwrap_or(false)
}

pub(super) fn children_of(parent: i32) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return vec![] };
    entries
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .ok()
                .and_then(|s| s.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<i32>().ok())
                == Some(parent)
        })
        .collect()
}
