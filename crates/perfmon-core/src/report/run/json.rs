//! A run's report as JSON, which docs/run.schema.json describes. A field is never renamed or dropped without a new number in the schema's name.

use serde::Serialize;

use super::{Run, Slow, pairs};
use crate::report::facts::{Errors, Latency, Missing};
use crate::report::json::{ChangeOut, CommandOut, GapOut, PromiseOut, commands, iso, ms, promises};

/// Name and number of the schema.
pub const SCHEMA: &str = "pg_perfmon.run/1";

/// The report as JSON.
pub fn json(run: &Run, baseline: Option<&Run>) -> Result<String, serde_json::Error> {
    let compared = baseline.map(|baseline| Compared {
        baseline: &baseline.name,
        baseline_begun_at: iso(baseline.begun_us),
        numbers: pairs(baseline, run).iter().map(PairOut::of).collect(),
    });
    serde_json::to_string_pretty(&Document {
        schema: SCHEMA,
        name: &run.name,
        note: run.note.as_deref(),
        database: &run.database,
        begun_at: iso(run.begun_us),
        until: iso(run.until_us),
        unfinished: run.unfinished,
        overlapping: &run.overlapping,
        covered_ms: ms(run.covered_us),
        forgotten_ms: ms(run.forgotten_us()),
        unknown_ratio: run.unknown_ratio(),
        quality: run.quality,
        gaps: run.gaps.iter().map(GapOut::of).collect(),
        outcome: run.outcome().word(),
        objectives: promises(&run.objectives),
        compared,
        latency: run.latency.as_ref(),
        uncounted: run.uncounted.as_ref(),
        slow_ms: run.slow_ms,
        slow: &run.slow,
        commands: commands(&run.commands),
        missing: run.uncommanded.as_ref(),
        errors: run.errors.as_ref(),
        unheard: run.unheard.as_ref(),
        changes: run.changes.iter().map(ChangeOut::of).collect(),
    })
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    name: &'a str,
    note: Option<&'a str>,
    database: &'a str,
    begun_at: String,
    until: String,
    unfinished: bool,
    overlapping: &'a [String],
    covered_ms: f64,
    forgotten_ms: f64,
    unknown_ratio: f64,
    quality: Option<i16>,
    gaps: Vec<GapOut<'a>>,
    outcome: &'static str,
    objectives: Vec<PromiseOut<'a>>,
    compared: Option<Compared<'a>>,
    latency: Option<&'a Latency>,
    uncounted: Option<&'a Missing>,
    slow_ms: f64,
    slow: &'a [Slow],
    commands: Vec<CommandOut<'a>>,
    missing: Option<&'a Missing>,
    errors: Option<&'a Errors>,
    unheard: Option<&'a Missing>,
    changes: Vec<ChangeOut<'a>>,
}

#[derive(Serialize)]
struct Compared<'a> {
    baseline: &'a str,
    baseline_begun_at: String,
    numbers: Vec<PairOut>,
}

#[derive(Serialize)]
struct PairOut {
    what: &'static str,
    name: String,
    metric: String,
    unit: &'static str,
    before: Option<f64>,
    after: Option<f64>,
    change_ratio: Option<f64>,
    verdict: &'static str,
}

impl PairOut {
    fn of(pair: &super::Pair) -> Self {
        Self {
            what: pair.what,
            name: pair.name.clone(),
            metric: pair.metric.clone(),
            unit: pair.unit,
            before: pair.before,
            after: pair.after,
            change_ratio: pair.change_ratio(),
            verdict: pair.word(),
        }
    }
}
