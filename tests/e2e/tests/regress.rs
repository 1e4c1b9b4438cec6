//! PostgreSQL's own regression suite, without the library and with it: what passes without must pass with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use perfmon_e2e::Server;

/// The identifiers that pg_stat_statements turns on are no part of the suite's expected plans.
const HIDE: &str = "compute_query_id = regress";

/// Result of every test of the suite on a server.
fn run_suite(server: &Server, source: &Path) -> (BTreeMap<String, bool>, String) {
    let pgxs = PathBuf::from(server.programs.config("--pgxs"));
    let driver = pgxs.parent().unwrap().parent().unwrap().join("test/regress/pg_regress");
    let (work, lib) = (server.dir().join("regress"), server.dir().join("lib"));
    server.programs.make_dir(&work);
    server.programs.make_dir(&lib);
    // The suite loads regress.so from its own directory, and two contrib modules beside it.
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-w", "-o"])
        .arg(lib.join("regress.so"))
        .arg(source.join("regress.c"))
        .arg(format!("-I{}", server.programs.config("--includedir-server")))
        .status()
        .unwrap();
    assert!(built.success());
    for module in ["autoinc.so", "refint.so"] {
        let from = PathBuf::from(server.programs.config("--pkglibdir")).join(module);
        std::fs::copy(from, lib.join(module)).unwrap();
    }
    server.expect_internal_errors();
    let out = server
        .client_command(driver.to_str().unwrap())
        .current_dir(&work)
        .args([
            format!("--bindir={}", server.programs.bin().display()),
            format!("--inputdir={}", source.display()),
            format!("--dlpath={}", lib.display()),
            format!("--schedule={}/parallel_schedule", source.display()),
            "--outputdir=.".to_owned(),
            "--max-concurrent-tests=20".to_owned(),
            format!("--host={}", server.dir().display()),
            "--port=5432".to_owned(),
            "--user=postgres".to_owned(),
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let results: BTreeMap<String, bool> = said
        .lines()
        .filter_map(|line| {
            let ok = line.contains("... ok");
            let line = line.trim_start_matches("test ").trim_start();
            (ok || line.contains("FAILED"))
                .then(|| (line.split_whitespace().next().unwrap_or("").to_owned(), ok))
        })
        .collect();
    let diffs = std::fs::read_to_string(work.join("regression.diffs")).unwrap_or_default();
    assert!(
        results.len() > 100,
        "the suite did not run: {said}\n{}",
        String::from_utf8_lossy(&out.stderr)
    );
    (results, diffs)
}

#[test]
fn the_servers_own_regression_suite_passes_as_without_us() {
    // The suite's SQL files come with the server's source only; packages hold just its driver.
    let Some(source) = std::env::var_os("PERFMON_REGRESS_DIR").map(PathBuf::from) else {
        println!(
            "SKIPPED: set PERFMON_REGRESS_DIR to src/test/regress of the source of this PostgreSQL \
             (its packages have pg_regress, but not the tests)"
        );
        return;
    };
    let without = Server::builder().plain().conf(HIDE).start();
    let (expected, diffs_without) = run_suite(&without, &source);
    drop(without);
    let with = Server::builder().conf(HIDE).start();
    with.db("postgres").run("CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pg_perfmon");
    let (results, diffs) = run_suite(&with, &source);
    let passed = expected.values().filter(|ok| **ok).count();
    let failing: Vec<&String> = expected.iter().filter(|(_, ok)| !**ok).map(|(n, _)| n).collect();
    println!("{passed} of {} tests pass without the library, all but {failing:?}", expected.len());
    let broken: Vec<&String> = expected
        .iter()
        .filter(|(name, ok)| **ok && results.get(*name) != Some(&true))
        .map(|(n, _)| n)
        .collect();
    assert!(broken.is_empty(), "broken by the library: {broken:?}\n{diffs}");
    assert!(
        passed * 20 > expected.len() * 19,
        "too many fail even without the library:\n{diffs_without}"
    );
}
