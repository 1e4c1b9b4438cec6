//! How long executions took: all together, and statement by statement.

use crate::report::facts::{ENOUGH, Latency, Missing, Times, text_or};
use crate::report::grid::Side::{Left, Right};
use crate::report::grid::grid;
use crate::report::markdown::absent;
use crate::report::text::{code, wrapped};
use crate::report::words::{count, milliseconds, percent};

/// How much of the list is shown.
const STATEMENTS: usize = 10;

pub(in crate::report) fn latency(
    out: &mut String,
    latency: Option<&Latency>,
    uncounted: Option<&Missing>,
) {
    if latency.is_none() && uncounted.is_none() {
        return;
    }
    out.push_str("## Latency\n\n");
    if let Some(missing) = uncounted {
        absent(out, "", missing);
    }
    let Some(latency) = latency else { return };
    let is_part = latency.is_part || uncounted.is_some();
    if latency.is_part && uncounted.is_none() {
        wrapped(out, "", "Not all that was executed in this time was timed.");
        out.push('\n');
    }
    let row = |id: String, times: &Times, statement: String| {
        [
            id,
            count(Some(times.calls)),
            milliseconds(times.p50_ms),
            milliseconds(times.p95_ms),
            milliseconds(times.p99_ms),
            milliseconds(times.max_ms),
            statement,
        ]
    };
    let all = if is_part { "(all that was counted)" } else { "(all that clients sent)" };
    let mut rows = vec![row("all".to_owned(), &latency.overall, all.to_owned())];
    rows.extend(latency.statements.iter().take(STATEMENTS).map(|s| {
        let text = text_or(s.query.as_deref(), code);
        row(s.statement_id.to_string(), &s.times, text)
    }));
    let heads = [
        ("id", Right),
        ("calls", Right),
        ("p50", Right),
        ("p95", Right),
        ("p99", Right),
        ("max", Right),
        ("statement", Left),
    ];
    grid(out, heads, &rows);
    let error = percent(Some(latency.percentile_error_ratio));
    let note = format!(
        "The statements are those of {ENOUGH} executions or more with the longest p95. Percentiles are at most \
         {error} off, from summed histograms. More: `SELECT * FROM perfmon.latency_histogram(<id>)`."
    );
    wrapped(out, "", &note);
    out.push('\n');
}
