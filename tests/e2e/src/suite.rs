//! PostgreSQL's own regression suite, from the source of the server under test. Its packages hold only the driver.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use crate::Server;

/// Settings that the suite needs from a server that tracks statements, with us or without.
pub const SETTINGS: &[&str] = &[
    // The identifiers that pg_stat_statements turns on are no part of the suite's expected plans.
    "compute_query_id = regress",
    "max_prepared_transactions = 2",
    "pg_stat_statements.track = all",
    // No statement of the suite is forgotten.
    "pg_stat_statements.max = 50000",
];

/// The suite's files.
#[derive(Debug)]
pub struct Suite {
    source: PathBuf,
}

/// What a run of the suite gave.
#[derive(Debug)]
pub struct Outcome {
    /// Whether each test gave what PostgreSQL expects.
    pub passed: BTreeMap<String, bool>,
    /// What each test printed, without paths of the server.
    pub printed: BTreeMap<String, String>,
}

impl Suite {
    /// The suite in `PERFMON_REGRESS_DIR`.
    ///
    /// # Panics
    /// Without it: tests that cannot run must not pass.
    pub fn find() -> Self {
        let source = std::env::var_os("PERFMON_REGRESS_DIR").map(PathBuf::from).expect(
            "PERFMON_REGRESS_DIR names no src/test/regress of PostgreSQL's source: \
             `tools/regress-source.sh` fetches it and prints its path, `make test-regress` runs these tests",
        );
        assert!(source.join("parallel_schedule").exists(), "no schedule in {}", source.display());
        Self { source }
    }

    /// Runs the whole schedule in a new database `regression`, with extensions in it.
    #[track_caller]
    pub fn run(&self, server: &Server, extensions: &[&str]) -> Outcome {
        // Tests of the suite provoke them.
        server.expect_internal_errors();
        let work = server.dir().join("regress");
        server.programs.make_dir(&work);
        self.build_library(server);
        let pgxs = PathBuf::from(server.programs.config("--pgxs"));
        let driver = pgxs.ancestors().nth(2).unwrap().join("test/regress/pg_regress");
        let source = self.source.display();
        let mut command = server.client_command(driver.to_str().unwrap());
        command.current_dir(&work).args([
            format!("--bindir={}", server.programs.bin().display()),
            format!("--inputdir={source}"),
            format!("--dlpath={}", work.display()),
            format!("--schedule={source}/parallel_schedule"),
            format!("--host={}", server.dir().display()),
            "--outputdir=.".to_owned(),
            "--max-concurrent-tests=20".to_owned(),
            "--port=5432".to_owned(),
            "--user=postgres".to_owned(),
        ]);
        command.args(extensions.iter().map(|name| format!("--load-extension={name}")));
        let out = command.output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let outcome = Outcome { passed: verdicts(&said), printed: printed(server) };
        assert!(
            outcome.passed.len() > 100 && outcome.printed.len() > 100,
            "the suite did not run: {said}\n{}",
            String::from_utf8_lossy(&out.stderr)
        );
        outcome
    }

    /// The suite loads functions from regress.so, and from two contrib modules, of one directory.
    fn build_library(&self, server: &Server) {
        let work = server.dir().join("regress");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-w", "-D_GNU_SOURCE", "-o"])
            .arg(work.join("regress.so"))
            .arg(self.source.join("regress.c"))
            .arg(format!("-I{}", server.programs.config("--includedir-server")))
            .status()
            .unwrap();
        assert!(built.success(), "regress.c does not compile");
        for module in ["autoinc.so", "refint.so"] {
            let from = PathBuf::from(server.programs.config("--pkglibdir")).join(module);
            std::fs::copy(from, work.join(module)).unwrap();
        }
    }
}

/// The driver's lines, as 15 and 16 (`name ... ok`) and later ones (`ok 1 - name`) write them.
fn verdicts(said: &str) -> BTreeMap<String, bool> {
    let verdict = |line: &str| {
        let line = line.trim_start_matches("test ").trim();
        if let Some((name, result)) = line.split_once(" ... ") {
            let ok = result.trim_start().starts_with("ok");
            return Some((name.trim().to_owned(), ok));
        }
        let ok = line.starts_with("ok ");
        let rest = line.strip_prefix("not ok ").or_else(|| line.strip_prefix("ok "))?;
        // A number, a sign that tells tests of a group from others, the name, and how long it took.
        let name = rest.split_whitespace().nth(2)?;
        Some((name.to_owned(), ok))
    };
    said.lines().filter_map(verdict).collect()
}

fn printed(server: &Server) -> BTreeMap<String, String> {
    let own = server.dir().display().to_string();
    let Ok(files) = std::fs::read_dir(server.dir().join("regress/results")) else {
        return BTreeMap::new();
    };
    files
        .filter_map(Result::ok)
        .filter_map(|file| {
            let name = file.file_name().to_str()?.strip_suffix(".out")?.to_owned();
            let text = std::fs::read(file.path()).ok()?;
            Some((name, String::from_utf8_lossy(&text).replace(&own, "DIR")))
        })
        .collect()
}
