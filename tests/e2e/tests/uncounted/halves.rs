//! Half of a window is never shown as the whole of it: whatever is off for all or for one role, now and later.

use perfmon_e2e::Stop;

use super::absent::{section, set};
use super::then::{in_json, reports, window_of};
use super::*;

/// How something is switched off.
enum How {
    /// A line, and the one that takes it back.
    Sql(&'static str, &'static str),
    /// For all, and a value that is not off.
    System(&'static str, &'static str, &'static str),
    /// Without this library.
    Library(&'static str),
}

/// What is lacking then.
#[derive(PartialEq, Eq)]
enum Lacks {
    Times,
    Calls,
    Both,
    /// Commands that are no statements of bob's.
    Commands,
}

struct Half {
    how: How,
    lacks: Lacks,
    /// Part of what is told while it is off.
    line: &'static str,
}

const fn half(how: How, lacks: Lacks, line: &'static str) -> Half {
    Half { how, lacks, line }
}

const HALVES: [Half; 12] = [
    half(
        How::System("pg_perfmon.capture", "off", "top"),
        Lacks::Times,
        "ALTER SYSTEM SET pg_perfmon.capture = 'top'",
    ),
    half(
        How::Sql(
            "ALTER DATABASE app SET pg_perfmon.capture = off",
            "ALTER DATABASE app RESET pg_perfmon.capture",
        ),
        Lacks::Times,
        "ALTER DATABASE app RESET pg_perfmon.capture;",
    ),
    half(
        How::Sql(
            "ALTER ROLE bob SET pg_perfmon.capture = off",
            "ALTER ROLE bob RESET pg_perfmon.capture",
        ),
        Lacks::Times,
        "ALTER ROLE bob RESET pg_perfmon.capture;",
    ),
    half(
        How::System("compute_query_id", "off", "auto"),
        Lacks::Both,
        "ALTER SYSTEM SET compute_query_id = 'auto'",
    ),
    half(
        How::Sql(
            "ALTER DATABASE app SET compute_query_id = off",
            "ALTER DATABASE app RESET compute_query_id",
        ),
        Lacks::Both,
        "ALTER DATABASE app SET compute_query_id = 'auto';",
    ),
    half(
        How::Sql(
            "ALTER ROLE bob SET compute_query_id = off",
            "ALTER ROLE bob RESET compute_query_id",
        ),
        Lacks::Both,
        "ALTER ROLE bob RESET compute_query_id;",
    ),
    half(
        How::System("pg_stat_statements.track", "none", "top"),
        Lacks::Calls,
        "ALTER SYSTEM SET pg_stat_statements.track = 'top'",
    ),
    half(
        How::Sql(
            "ALTER ROLE bob SET pg_stat_statements.track = 'none'",
            "ALTER ROLE bob RESET pg_stat_statements.track",
        ),
        Lacks::Calls,
        "ALTER ROLE bob RESET pg_stat_statements.track;",
    ),
    half(
        How::System("pg_stat_statements.track_utility", "off", "on"),
        Lacks::Commands,
        "ALTER SYSTEM SET pg_stat_statements.track_utility = on",
    ),
    half(
        How::Sql("DROP EXTENSION pg_stat_statements", "CREATE EXTENSION pg_stat_statements"),
        Lacks::Calls,
        "CREATE EXTENSION pg_stat_statements;",
    ),
    half(
        How::Library("pg_stat_statements"),
        Lacks::Calls,
        "add pg_stat_statements to shared_preload_libraries",
    ),
    half(How::Library("pg_perfmon"), Lacks::Times, "add pg_perfmon to shared_preload_libraries"),
];

fn preload(server: &Server, libraries: &str) {
    server.stop(Stop::Fast);
    server.append_conf(&[format!("shared_preload_libraries = '{libraries}'")]);
    server.start();
}

fn switch(server: &Server, how: &How, is_off: bool) {
    let mut db = server.db("app");
    match how {
        How::Sql(off, on) => db.run(if is_off { off } else { on }),
        How::System(setting, off, on) => {
            set(server, &mut db, setting, if is_off { off } else { on })
        }
        How::Library(one) => {
            drop(db);
            let all = ["pg_stat_statements", "pg_perfmon"];
            let kept: Vec<&str> =
                all.into_iter().filter(|library| !is_off || library != one).collect();
            preload(server, &kept.join(","));
        }
    }
}

/// Enough of each kind that it is no matter of a moment.
fn work(server: &Server) {
    let (mut alice, mut bob) = (server.connect("alice", "app"), server.connect("bob", "app"));
    (0..100).for_each(|_| alice.run("SELECT 1, 1, 1"));
    (0..80).for_each(|_| bob.run("SELECT 'of bob'::text"));
    (0..6).for_each(|_| bob.run("SELECT pg_sleep(0.12)"));
    (0..10).for_each(|_| bob.run("CREATE TEMP TABLE IF NOT EXISTS t ()"));
}

/// What a reader lacks then, and must tell.
fn readers(id: &str, window: &str) -> Vec<(String, &'static [Lacks])> {
    use Lacks::{Both, Calls, Commands, Times};
    vec![
        (format!("latency_histogram(NULL, {window})"), &[Times, Both]),
        (format!("latency_histogram({id}, {window})"), &[Times, Both]),
        (format!("latency_heatmap({window}, '1 year')"), &[Times, Both]),
        (format!("latency_heatmap({window}, '1 year', {id})"), &[Times, Both]),
        (format!("statement_series({id}, {window}, '1 year')"), &[Times, Calls, Both]),
        (format!("load_series({window}, '1 year')"), &[Times, Calls, Both, Commands]),
        (format!("top_statements({window})"), &[Times, Calls, Both, Commands]),
        (format!("slow_statements({window})"), &[Calls, Both, Commands]),
        (format!("commands({window})"), &[Calls, Both, Commands]),
        (format!("rewrite_hints({window})"), &[Calls, Both, Commands]),
    ]
}

/// Who asks, and what was not told.
struct Asker {
    db: Db,
    said: Box<dyn FnMut() -> String>,
    problems: Vec<String>,
}

impl Asker {
    fn of(server: &Server) -> Self {
        let (mut db, said) = watcher(server);
        db.run("RESET pg_perfmon.capture");
        Self { db, said: Box::new(said), problems: Vec::new() }
    }

    /// What was not told, in words; this asker is gone then, as servers do not stop before their sessions end.
    fn problems(self, what: &str) -> Vec<String> {
        self.problems.into_iter().map(|problem| format!("{what}: {problem}")).collect()
    }

    /// All that shows the window says what it lacks, with the line if there is one.
    fn must_tell(&mut self, half: &Half, (run, id): (&str, &str), line: Option<&str>) {
        let window = window_of(&mut self.db, run);
        for (reader, of) in readers(id, &window) {
            if !of.contains(&half.lacks) {
                continue;
            }
            let told = self.told(&reader);
            if told.is_empty() || line.is_some_and(|line| !told.contains(line)) {
                self.problems.push(format!("{reader}: {told:?}"));
            }
            // Where the server counted a part, that is no more than a lower bound.
            let has_quality = half.lacks != Lacks::Times && !reader.starts_with("latency");
            let of = match reader.split('(').next() {
                Some("top_statements") => format!("statement_id = {id}"),
                Some("load_series" | "statement_series") => "true".to_owned(),
                _ => continue,
            };
            let is_told = half.lacks != Lacks::Commands || reader.starts_with("load");
            if !has_quality || !is_told {
                continue;
            }
            let sql =
                format!("SELECT DISTINCT quality FROM perfmon.{reader} WHERE calls > 0 AND {of}");
            let quality = self.db.list::<String>(&sql);
            if quality != ["lower bound"] {
                self.problems.push(format!("{reader}: {quality:?}"));
            }
        }
        match half.lacks {
            Lacks::Times => {
                let told = self.told(&format!("compare_runs('whole', '{run}')"));
                let words = format!("the times of run \\\"{run}\\\" are those of a part");
                if !told.contains(&words) {
                    self.problems.push(format!("compare_runs: {told:?}"));
                }
            }
            _ => self.must_tell_of_commands(run, line),
        }
    }

    fn must_tell_of_commands(&mut self, run: &str, line: Option<&str>) {
        for report in reports(&mut self.db, run) {
            let told = section(&report, "Time by kind of command");
            let words = line.unwrap_or("Statements are missing: ");
            if !told.contains(words) {
                self.problems.push(told);
            }
        }
        for problem in in_json(&mut self.db, run, "missing,problem") {
            if problem.is_none() {
                self.problems.push("no `missing`".to_owned());
            }
        }
    }

    fn told(&mut self, reader: &str) -> String {
        (self.said)();
        self.db.rows(&format!("SELECT * FROM perfmon.{reader}"));
        (self.said)()
    }

    /// Of a window that is all there nothing is said.
    fn must_be_silent(&mut self, run: &str, id: &str) {
        let window = window_of(&mut self.db, run);
        for (reader, _) in readers(id, &window) {
            let told = self.told(&reader);
            if !told.is_empty() {
                self.problems.push(format!("{reader}: {told:?}"));
            }
        }
        for path in ["missing", "uncounted"] {
            if in_json(&mut self.db, run, path) != [None, None] {
                self.problems.push(path.to_owned());
            }
        }
    }
}

#[test]
fn half_of_a_window_is_never_shown_as_the_whole() {
    let server = Server::manual().start();
    app(&server);
    let mut problems: Vec<String> = Vec::new();
    let mut asker = Asker::of(&server);
    asker.db.snapshot();
    asker.db.run("SELECT perfmon.begin_run('whole')");
    work(&server);
    asker.db.run("SELECT perfmon.end_run('whole')");
    let id: String = asker.db.val(
        "SELECT max(statement_id)::text FROM perfmon.top_statements()
         WHERE query LIKE 'SELECT $1::text%' AND user_name = 'bob'",
    );
    asker.must_be_silent("whole", &id);
    problems.extend(asker.problems("whole"));
    for (number, half) in HALVES.iter().enumerate() {
        let run = &format!("{number}");
        let mut asker = Asker::of(&server);
        asker.db.run(&format!("SELECT perfmon.begin_run('{run}')"));
        work(&server);
        asker.db.snapshot();
        drop(asker);
        switch(&server, &half.how, true);
        let mut asker = Asker::of(&server);
        asker.db.snapshot();
        work(&server);
        asker.db.run(&format!("SELECT perfmon.end_run('{run}')"));
        asker.must_tell(half, (run, &id), Some(half.line));
        problems.extend(asker.problems(half.line));
        switch(&server, &half.how, false);
        let mut asker = Asker::of(&server);
        asker.db.snapshot();
        asker.must_tell(half, (run, &id), None);
        problems.extend(asker.problems(&format!("later, {}", half.line)));
    }
    let mut asker = Asker::of(&server);
    asker.must_be_silent("whole", &id);
    problems.extend(asker.problems("whole, later"));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
