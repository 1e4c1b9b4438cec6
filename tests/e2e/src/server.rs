//! One private server: made from a cached template, driven, broken, and cleaned away.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{Db, Output, Programs, secs, wait_for, wait_until};

mod builder;
mod process;
mod template;

pub use builder::Builder;
use process::{alive, children_of, signal, watch};
use template::{base_dir, fresh_dir};

/// How a server is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Waits for clients.
    Smart,
    /// Ends clients, writes a checkpoint.
    Fast,
    /// Like a crash.
    Immediate,
}

impl Stop {
    fn word(self) -> &'static str {
        match self {
            Stop::Smart => "smart",
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        }
    }
}

/// A private server. Stopped and deleted on drop; a failed test shows the end of its log.
pub struct Server {
    /// The server's programs.
    pub programs: Programs,
    dir: PathBuf,
    data: PathBuf,
    watchdog: Child,
    crash_expected: AtomicBool,
    errors_expected: AtomicBool,
}

impl Server {
    /// Preloaded, with snapshots every 5 seconds, the shortest allowed.
    pub fn builder() -> Builder {
        Self::bare().interval("5s")
    }

    /// Preloaded, with snapshots practically by call only.
    pub fn manual() -> Builder {
        Self::bare().interval("1h")
    }

    fn bare() -> Builder {
        Builder {
            preload: "pg_stat_statements,pg_perfmon".into(),
            conf: vec![],
            extension: true,
            programs: Programs::new(),
        }
    }

    /// Not preloaded: only pg_stat_statements is.
    pub fn unloaded() -> Builder {
        Self::bare().preload("pg_stat_statements")
    }

    fn empty(programs: Programs) -> Self {
        let dir = fresh_dir(&base_dir());
        programs.make_dir(&dir);
        let data = dir.join("data");
        let watchdog = watch(&dir);
        Self {
            programs,
            dir,
            data,
            watchdog,
            crash_expected: AtomicBool::new(false),
            errors_expected: AtomicBool::new(false),
        }
    }

    fn require_extension(&self) {
        let control = self.programs.extension_dir().join("pg_perfmon.control");
        assert!(
            control.exists(),
            "pg_perfmon is not installed in {}: run the tests through `make test`, or set PERFMON_PG_BIN",
            self.programs.bin().display()
        );
    }

    /// Directory of the socket, and of everything else of this server.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Goes on with another data directory, with this one's configuration: after pg_upgrade.
    pub fn move_to(&mut self, data: &Path) {
        std::fs::copy(self.data.join("postgresql.conf"), data.join("postgresql.conf")).unwrap();
        let old = self.dir.join("old");
        std::fs::rename(&self.data, old).unwrap();
        std::fs::rename(data, &self.data).unwrap();
    }

    /// Adds lines to postgresql.conf; `reload` or `restart` makes them work.
    pub fn append_conf<S: AsRef<str>>(&self, lines: &[S]) {
        use std::io::Write;
        let path = self.data.join("postgresql.conf");
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        for line in lines {
            writeln!(file, "{}", line.as_ref()).unwrap();
        }
    }

    /// Starts the server and waits until it takes connections.
    #[track_caller]
    pub fn start(&self) {
        let out = self.try_start();
        assert!(out.ok, "server does not start: {}\n{}", out.stderr, self.log_tail());
    }

    /// Starts the server; it may fail.
    pub fn try_start(&self) -> Output {
        let data = self.data.to_str().unwrap();
        let log = self.log_path();
        self.programs
            .run("pg_ctl", &["-D", data, "-l", log.to_str().unwrap(), "-w", "-t", "60", "start"])
    }

    /// Has the server start, and does not wait until it takes connections.
    #[track_caller]
    pub fn begin_start(&self) {
        let (data, log) = (self.data.to_str().unwrap(), self.log_path());
        let args = ["-D", data, "-l", log.to_str().unwrap(), "-W", "start"];
        self.programs.run("pg_ctl", &args).success();
    }

    /// Stops the server and says how long that took.
    #[track_caller]
    pub fn stop(&self, how: Stop) -> Duration {
        if how == Stop::Immediate {
            self.expect_crash();
        }
        let begin = std::time::Instant::now();
        let data = self.data.to_str().unwrap();
        let out =
            self.programs.run("pg_ctl", &["-D", data, "-m", how.word(), "-w", "-t", "60", "stop"]);
        assert!(out.ok, "server does not stop: {}\n{}", out.stderr, self.log_tail());
        begin.elapsed()
    }

    /// Clean restart.
    #[track_caller]
    pub fn restart(&self) {
        self.stop(Stop::Fast);
        self.start();
    }

    /// Reads the configuration again.
    #[track_caller]
    pub fn reload(&self) {
        let data = self.data.to_str().unwrap();
        self.programs.run("pg_ctl", &["-D", data, "reload"]).success();
    }

    /// Makes a standby a primary.
    #[track_caller]
    pub fn promote(&self) {
        let data = self.data.to_str().unwrap();
        self.programs.run("pg_ctl", &["-D", data, "-w", "promote"]).success();
    }

    /// Process id of the postmaster, if it runs.
    pub fn postmaster(&self) -> Option<i32> {
        let text = std::fs::read_to_string(self.data.join("postmaster.pid")).ok()?;
        let pid = text.lines().next()?.parse().ok()?;
        alive(pid).then_some(pid)
    }

    /// Kills the postmaster the hard way and waits until all its children are gone too.
    #[track_caller]
    pub fn kill_postmaster(&self) {
        self.expect_crash();
        let postmaster = self.postmaster().expect("a running server");
        signal(postmaster, "KILL");
        wait_until("the postmaster and its children are gone", secs(30), || {
            !alive(postmaster) && !self.has_processes()
        });
        // In a container nobody may reap the zombie, which the next start would take for a living server.
        let _ = std::fs::remove_file(self.data.join("postmaster.pid"));
        let _ = std::fs::remove_file(self.dir.join(".s.PGSQL.5432.lock"));
    }

    /// Whether any process works in the data directory, as all of a server's do.
    fn has_processes(&self) -> bool {
        let Ok(entries) = std::fs::read_dir("/proc") else { return false };
        entries
            .filter_map(Result::ok)
            .any(|e| std::fs::read_link(e.path().join("cwd")).is_ok_and(|cwd| cwd == self.data))
    }

    /// Kills one server process the hard way; the postmaster then ends all others, which is awaited, and starts anew.
    #[track_caller]
    pub fn kill_9(&self, pid: i32) {
        self.expect_crash();
        let mark = self.log_mark();
        signal(pid, "KILL");
        self.wait_for_log(mark, "all server processes terminated", secs(30));
    }

    /// Sends any other signal.
    pub fn signal(&self, pid: i32, name: &str) {
        signal(pid, name);
    }

    /// Says that crash messages in the log are the test's own doing.
    pub fn expect_crash(&self) {
        self.crash_expected.store(true, Ordering::Relaxed);
    }

    /// Process id of the launcher, if it runs.
    pub fn launcher(&self) -> Option<i32> {
        self.processes("launcher").first().copied()
    }

    /// Process ids of the collectors that run now.
    pub fn collectors(&self) -> Vec<i32> {
        self.processes("collector")
    }

    /// Server processes of ours whose title contains `word`; works while the server takes no connections.
    pub fn processes(&self, word: &str) -> Vec<i32> {
        let Some(postmaster) = self.postmaster() else { return vec![] };
        children_of(postmaster)
            .into_iter()
            .filter(|pid| {
                let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let title = String::from_utf8_lossy(&title).into_owned();
                title.contains("pg_perfmon") && title.contains(word)
            })
            .collect()
    }

    /// CPU time that a living process has used.
    pub fn cpu_of(&self, pid: i32) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
        Some(Duration::from_nanos(stat.split_whitespace().next()?.parse().ok()?))
    }

    /// CPU time of a process's ended and awaited children.
    pub fn children_cpu_of(&self, pid: i32) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: u64 = fields[13].parse::<u64>().ok()? + fields[14].parse::<u64>().ok()?;
        Some(Duration::from_millis(ticks * 10))
    }

    /// Connects as the superuser.
    #[track_caller]
    pub fn db(&self, database: &str) -> Db {
        self.connect("postgres", database)
    }

    /// Connects as a role.
    #[track_caller]
    pub fn connect(&self, role: &str, database: &str) -> Db {
        match self.try_connect(role, database) {
            Ok(db) => db,
            Err(e) => panic!("connect to {database} as {role}: {}", crate::message_of(&e)),
        }
    }

    /// Connects as the superuser and keeps what the server says beside results.
    #[track_caller]
    pub fn noticing(&self, database: &str) -> (Db, Arc<Mutex<Vec<String>>>) {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&notices);
        let mut config = self.config("postgres", database);
        config.notice_callback(move |notice| keep.lock().unwrap().push(format!("{notice:?}")));
        (Db(config.connect(postgres::NoTls).unwrap()), notices)
    }

    /// Connects, if the server lets us.
    pub fn try_connect(&self, role: &str, database: &str) -> Result<Db, postgres::Error> {
        self.config(role, database).connect(postgres::NoTls).map(Db)
    }

    fn config(&self, role: &str, database: &str) -> postgres::Config {
        let mut config = postgres::Config::new();
        config
            .host_path(&self.dir)
            .port(5432)
            .user(role)
            .dbname(database)
            .application_name("e2e")
            .connect_timeout(secs(20));
        config
    }

    /// Waits until the server takes connections again, as after a crash.
    #[track_caller]
    pub fn wait_ready(&self) {
        wait_until("the server takes connections", secs(60), || {
            self.try_connect("postgres", "postgres").is_ok()
        });
    }

    /// Makes a database with both extensions and connects to it.
    #[track_caller]
    pub fn new_db(&self, name: &str) -> Db {
        self.db("postgres").run(&format!("CREATE DATABASE {name}"));
        let mut db = self.db(name);
        db.run("CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon");
        db
    }

    /// Runs a client program against this server.
    pub fn client(&self, program: &str, args: &[&str]) -> Output {
        let out = self.client_command(program).args(args).output().unwrap();
        Output {
            ok: out.status.success(),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }

    /// A client program's command line with connection settings, for those that run beside the test.
    pub fn client_command(&self, program: &str) -> Command {
        let mut command = self.programs.command(program);
        command.env("PGHOST", &self.dir).env("PGPORT", "5432").env("PGUSER", "postgres");
        command
    }

    /// A script through psql, stopping at the first error.
    pub fn psql(&self, database: &str, script: &str) -> Output {
        self.client(
            "psql",
            &["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", script],
        )
    }

    /// Path of the log.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The whole log.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Length of the log now, to look only at what comes later.
    pub fn log_mark(&self) -> usize {
        self.log().len()
    }

    /// What was logged since a mark.
    pub fn log_since(&self, mark: usize) -> String {
        self.log().get(mark..).unwrap_or_default().to_owned()
    }

    /// Waits for words in the log after a mark, and gives the line.
    #[track_caller]
    pub fn wait_for_log(&self, mark: usize, words: &str, timeout: Duration) -> String {
        wait_for(&format!("{words:?} in the log"), timeout, || {
            self.log_since(mark).lines().find(|l| l.contains(words)).map(str::to_owned)
        })
    }

    /// The last lines of the log.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Says that internal errors in the log are somebody else's doing.
    pub fn expect_internal_errors(&self) {
        self.errors_expected.store(true, Ordering::Relaxed);
    }

    /// Lines of the log that no healthy server writes.
    fn trouble(&self) -> Vec<String> {
        let crash = self.crash_expected.load(Ordering::Relaxed);
        let errors = self.errors_expected.load(Ordering::Relaxed);
        self.log()
            .lines()
            .filter(|l| {
                (!errors && l.contains(" XX000 "))
                    || l.contains("TRAP:")
                    || l.contains("WARNING:  leaked")
                    || l.contains("resource was not closed")
                    || (!crash && (l.contains("PANIC:") || l.contains("terminated by signal")))
            })
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        let tail = failed.then(|| self.log_tail());
        let trouble = self.trouble();
        if let Some(pid) = self.postmaster() {
            signal(pid, "QUIT");
            let deadline = std::time::Instant::now() + secs(15);
            while alive(pid) && std::time::Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            if alive(pid) {
                signal(pid, "KILL");
            }
        }
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        if std::env::var_os("PERFMON_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
        if let Some(tail) = tail {
            eprintln!("---- end of the server's log ({})\n{tail}\n----", self.dir.display());
        } else {
            assert!(
                trouble.is_empty(),
                "the server's log tells of trouble:\n{}",
                trouble.join("\n")
            );
        }
    }
}
