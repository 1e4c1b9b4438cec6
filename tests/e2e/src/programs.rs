//! Runs the server's own programs, as `postgres` when we are root (the server refuses root).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a program said.
#[derive(Debug)]
pub struct Output {
    /// Whether it ended with 0.
    pub ok: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Panics with what the program said unless it succeeded.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(self.ok, "program failed\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

/// The programs of one server installation.
#[derive(Debug, Clone)]
pub struct Programs {
    bin: PathBuf,
    root: bool,
}

impl Default for Programs {
    fn default() -> Self {
        Self::new()
    }
}

impl Programs {
    /// Those of `PERFMON_PG_BIN`, or of the `pg_config` on the path.
    pub fn new() -> Self {
        let bin = match std::env::var("PERFMON_PG_BIN") {
            Ok(dir) => PathBuf::from(dir),
            Err(_) => {
                let out = Command::new("pg_config").arg("--bindir").output().expect("pg_config");
                PathBuf::from(String::from_utf8(out.stdout).unwrap().trim())
            }
        };
        Self::of(bin)
    }

    /// Those of an older server to upgrade from, where `PERFMON_OLD_PG_BIN` names one.
    pub fn older() -> Option<Self> {
        std::env::var_os("PERFMON_OLD_PG_BIN").map(|dir| Self::of(PathBuf::from(dir)))
    }

    fn of(bin: PathBuf) -> Self {
        let id = Command::new("id").arg("-u").output().unwrap();
        Self { bin, root: id.stdout == b"0\n" }
    }

    /// Whether we are root, so that files must be given away.
    pub fn is_root(&self) -> bool {
        self.root
    }

    /// Directory of the programs.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// A command as the server's user; `program` is looked up in the server's directory when it is there.
    pub fn command(&self, program: &str) -> Command {
        let path = self.bin.join(program);
        let path = if path.exists() { path } else { PathBuf::from(program) };
        let mut command = if self.root {
            let mut c = Command::new("runuser");
            c.args(["-u", "postgres", "--"]).arg(path);
            c
        } else {
            Command::new(path)
        };
        command.current_dir("/").stdin(Stdio::null());
        // A user's own environment must not lead a test to another server.
        for name in
            ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGDATA", "PGOPTIONS", "RUST_BACKTRACE"]
        {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C");
        command
    }

    /// Runs a program to its end.
    pub fn run(&self, program: &str, args: &[&str]) -> Output {
        let out = self.command(program).args(args).output().unwrap();
        Output {
            ok: out.status.success(),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }

    /// What `pg_config` of this installation says.
    pub fn config(&self, what: &str) -> String {
        self.run("pg_config", &[what]).success().stdout.trim().to_owned()
    }

    /// Major version.
    pub fn major(&self) -> u32 {
        let version = self.config("--version");
        let digits = version.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    }

    /// Directory of the extensions' control files and scripts.
    pub fn extension_dir(&self) -> PathBuf {
        PathBuf::from(self.config("--sharedir")).join("extension")
    }

    /// Makes a directory that belongs to the server's user.
    pub fn make_dir(&self, path: &Path) {
        std::fs::create_dir_all(path).unwrap();
        if self.root {
            let ok = Command::new("chown").arg("postgres:").arg(path).status().unwrap();
            assert!(ok.success());
        }
    }
}
