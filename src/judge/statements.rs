//! The statements of a window that are worth a look, with what they did.

use std::collections::{HashMap, HashSet};

use perfmon_core::detect::rewrite::pages;
use perfmon_core::detect::statements;
use perfmon_core::facts::{Evidence, Statement};
use perfmon_core::report::ENOUGH;

use crate::advise;
use crate::advise::Text;
use crate::error::Error;
use crate::pg::catalog;
use crate::recall::cell::Cell;
use crate::recall::returned;
use crate::recall::scope::Scope;
use crate::recall::statements::{Line, ORDERS, add_times, ms, top_with};

/// How many are looked at, by order: those that take most time, and those that are slowest, spill most,
/// return most and are planned longest, which a list by time may miss.
const LOOKED_AT: [(&str, usize); 6] = [
    ("total_time", 200),
    ("mean_time", 50),
    ("p95", 100),
    ("temp_blks_written", 30),
    ("rows", 30),
    ("plan_time", 30),
];

/// Of how many statements the history is read for their rows.
const ASKED: usize = 30;

/// How many texts the server is asked about.
const ANALYSED: usize = 200;

/// What is read of each; `quality` first, as the reading wants it.
static COLUMNS: [&str; 28] = [
    "quality",
    "calls",
    "exec_us",
    "exec_sq",
    "rows",
    "plans",
    "plan_us",
    "shared_blks_hit",
    "shared_blks_read",
    "shared_blks_dirtied",
    "shared_blks_written",
    "local_blks_hit",
    "local_blks_read",
    "temp_blks_read",
    "temp_blks_written",
    "shared_blk_read_us",
    "shared_blk_write_us",
    "temp_blk_read_us",
    "temp_blk_write_us",
    "wal_bytes",
    "wal_fpi",
    "jit_functions",
    "jit_generation_us",
    "jit_inlining_us",
    "jit_optimization_us",
    "jit_emission_us",
    "jit_deform_us",
    "wal_records",
];

/// A statement, and what the analyser needs of it.
struct Told {
    fact: Statement,
    query: Option<Vec<u8>>,
    user_name: Option<String>,
}

/// Whether anything can be said about statements, and what.
pub(super) fn statements(
    scope: &Scope,
    whole: &Scope,
    evidence: &[Evidence],
    analyse: bool,
) -> Result<Vec<Statement>, Error> {
    let mut seen = HashSet::new();
    let mut lines: Vec<Line> = Vec::new();
    for (word, most) in LOOKED_AT {
        let order = ORDERS.iter().position(|(name, _)| *name == word).unwrap_or(0);
        for line in top_with(scope, (order, ENOUGH), Some(most), &COLUMNS)? {
            // The rest of them all is no statement.
            if line.who.1 != 0 && !is_own(&line) && seen.insert(line.who) {
                lines.push(line);
            }
        }
    }
    add_times(scope, &mut lines)?;
    let told = lines.iter().map(|line| Told {
        fact: tell(line),
        query: text(line),
        user_name: line.statement.user_name.text(),
    });
    let mut told: Vec<Told> = told.collect();
    told.sort_by(|a, b| b.fact.exec_ms.total_cmp(&a.fact.exec_ms));
    if !analyse {
        return Ok(told.into_iter().map(|told| told.fact).collect());
    }
    let mut found = analysed(told, evidence);
    add_returned(whole, &lines, &mut found);
    Ok(found)
}

/// Adds what they returned over all of history to statements of which that is asked.
fn add_returned(whole: &Scope, lines: &[Line], statements: &mut [Statement]) {
    let many = super::thresholds().of(&pages::MANY_ROWS);
    let asked: Vec<&mut Statement> =
        statements.iter_mut().filter(|one| pages::may_grow(one, many)).take(ASKED).collect();
    let line = |one: &Statement| lines.iter().find(|l| i64::from(l.who.1) == one.statement_id);
    let groups = asked.iter().map(|one| line(one).map(Line::all_names).unwrap_or_default());
    let groups: Vec<_> = groups.collect();
    for (one, returned) in asked.into_iter().zip(returned::stretches(whole, &groups)) {
        one.returned = returned;
    }
}

/// The statement's text in the server's own encoding, where it is known.
fn text(line: &Line) -> Option<Vec<u8>> {
    match &line.statement.query {
        // In brackets stands why there is none.
        Cell::Text(raw) if !raw.0.starts_with(b"(") => Some(raw.0.clone()),
        _ => None,
    }
}

/// Lets the server say what the texts are about, those of the statements that take most time.
fn analysed(mut told: Vec<Told>, evidence: &[Evidence]) -> Vec<Statement> {
    let known = |told: &Told| told.query.is_some();
    let mut read: HashMap<i64, Vec<&str>> = HashMap::new();
    for one in evidence.iter().filter(|one| !one.table.is_empty()) {
        let tables = read.entry(one.statement_id).or_default();
        if !tables.contains(&one.table.as_str()) {
            tables.push(&one.table);
        }
    }
    let texts: Vec<Text<'_>> = told
        .iter()
        .filter(|told| known(told))
        .take(ANALYSED)
        .filter_map(|told| {
            let seen = read.get(&told.fact.statement_id).map_or(&[][..], Vec::as_slice);
            let user_name = told.user_name.as_deref();
            Some(Text { query: told.query.as_deref()?, user_name, seen })
        })
        .collect();
    let looked = advise::shapes(&texts);
    for (told, looked) in told.iter_mut().filter(|told| known(told)).zip(looked) {
        (told.fact.shape, told.fact.unresolved) = (looked.shape, looked.unresolved);
    }
    told.into_iter().map(|told| told.fact).collect()
}

/// Whether a statement calls this extension: watching is no load that an operator can do something about.
fn is_own(line: &Line) -> bool {
    line.statement.query.text().is_some_and(|query| statements::is_own(&query))
}

fn tell(line: &Line) -> Statement {
    let v = |name: &str| line.value(name);
    let n = |name: &str| line.value(name).unwrap_or(0);
    let sum = |names: &[&str]| names.iter().filter_map(|name| v(name)).reduce(u64::saturating_add);
    let jit = [
        "jit_generation_us",
        "jit_inlining_us",
        "jit_optimization_us",
        "jit_emission_us",
        "jit_deform_us",
    ];
    Statement {
        statement_id: i64::from(line.who.1),
        toplevel: line.statement.toplevel != Cell::Bool(false),
        command: line.statement.command.text(),
        user_name: line.statement.user_name.text().map(|name| catalog::quoted(&name)),
        calls: n("calls"),
        exec_ms: ms(v("exec_us")).unwrap_or(0.0),
        stddev_ms: line.deviation_ms(),
        timed_calls: line.times.as_ref().map_or(0, |times| times.all().executions()),
        p95_ms: line.known_times().and_then(|times| times.all().quantile(0.95)).map(|p| p.ns / 1e6),
        share_ratio: line.share_ratio,
        rows: n("rows"),
        plan_ms: ms(v("plan_us").filter(|_| n("plans") > 0)),
        plans: v("plans").filter(|plans| *plans > 0),
        blks_hit: n("shared_blks_hit").saturating_add(n("local_blks_hit")),
        blks_read: n("shared_blks_read").saturating_add(n("local_blks_read")),
        blks_dirtied: n("shared_blks_dirtied"),
        read_ms: ms(v("shared_blk_read_us")),
        write_ms: ms(v("shared_blk_write_us")),
        temp_blks_written: n("temp_blks_written"),
        temp_blks_read: n("temp_blks_read"),
        temp_ms: ms(sum(&["temp_blk_read_us", "temp_blk_write_us"])),
        wal_bytes: n("wal_bytes"),
        jit_ms: ms(sum(&jit)),
        quality: u8::try_from(n("quality")).unwrap_or(2),
        shape: None,
        unresolved: false,
        returned: Vec::new(),
    }
}
