//! `process_limits`: processes that are no clients' sessions, each kind under the setting that limits it.

use perfmon_core::activity::Kind;
use perfmon_core::capture::failure::Refusal;
use perfmon_core::pool::limit::{Kind as Of, Limit, Nearness};
use perfmon_core::window::MINUTE_US;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::activity::must_be_sampled;
use super::args::{Scope, Stamp};
use super::rows::{Cell, Sink};
use crate::error::Error;
use crate::judge;
use crate::pg::{backends, clock};
use crate::recall::failures::Failures;
use crate::recall::{activity, limits};

/// What is limited, the processes that count, and the setting.
const LIMITED: [(&str, &[Kind], &str); 4] = [
    ("walsender", &[Kind::WalSender], "max_wal_senders"),
    // Parallel workers, those of logical replication and of extensions all take a place among these.
    ("background worker", &[Kind::Parallel, Kind::Own, Kind::Worker], "max_worker_processes"),
    ("parallel worker", &[Kind::Parallel], "max_parallel_workers"),
    ("autovacuum worker", &[Kind::AutovacuumWorker], "autovacuum_max_workers"),
];

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.process_limits(
    since timestamptz DEFAULT now() - interval '1 hour',
    until timestamptz DEFAULT now(),
    source bigint DEFAULT NULL
) RETURNS TABLE (
    kind text,
    setting text,
    processes_limit int,
    open_now int,
    open_avg float8,
    open_peak_avg float8,
    headroom float8,
    saturation_ratio float8,
    saturation text,
    refused bigint,
    samples bigint
) LANGUAGE c STABLE PARALLEL UNSAFE ROWS 4 AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn process_limits(
    since: Stamp,
    until: Stamp,
    source: Option<i64>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<(), ErrorReport> {
    let scope = Scope::check(since, until, source)?;
    let mut sink = Sink::open(fcinfo);
    if !scope.has_history_or_notice()? {
        return Ok(());
    }
    must_be_sampled("processes", &scope)?;
    let found = activity::processes(&scope)?;
    let is_live = scope.is_own() && clock::wall_us().saturating_sub(scope.until) < MINUTE_US;
    let now = is_live.then(backends::everybody);
    let settings = LIMITED.map(|(_, _, setting)| setting);
    let allowed = if scope.is_own() { limits::of_settings(&settings)? } else { Vec::new() };
    let refused = refused(&scope)?;
    let thresholds = judge::thresholds();
    for (at, (kind, kinds, setting)) in LIMITED.into_iter().enumerate() {
        let most = allowed.get(at).copied().flatten();
        let now = now.as_ref().and_then(|all| {
            let all = all.iter().filter(|process| kinds.contains(&process.kind));
            u32::try_from(all.count()).ok()
        });
        // Whoever takes samples is a background worker too, and leaves itself out.
        let own = if kinds.contains(&Kind::Own) { 1.0 } else { 0.0 };
        let sampled = found.of(kinds).map(|(average, most)| (average + own, most + own));
        let used = sampled.map(|(_, most)| most).into_iter().chain(now.map(f64::from));
        let used = used.reduce(f64::max);
        // None at all is no limit that anybody meets.
        let limit = most.zip(used).filter(|(most, _)| *most > 0).map(|(most, used)| Limit {
            kind: Of::Server,
            most,
            used,
            peak: None,
            idle: None,
        });
        sink.put([
            kind.into(),
            setting.into(),
            most.into(),
            now.into(),
            sampled.map(|(average, _)| average).into(),
            sampled.map(|(_, most)| most).into(),
            limit.as_ref().map(Limit::headroom).into(),
            limit.as_ref().map(Limit::ratio).into(),
            limit.as_ref().map(|limit| Nearness::of(limit, &thresholds).word()).into(),
            // Who wants one of the others waits, or does without.
            refused.filter(|_| kinds == [Kind::WalSender]).into(),
            Cell::from(found.samples),
        ])?;
    }
    Ok(())
}

/// How many walsenders were refused by their limit; `None` where nobody counted them.
fn refused(scope: &Scope) -> Result<Option<u64>, Error> {
    let failures = Failures::of(scope)?;
    Ok(failures.refused().map(|refused| {
        let own = refused.iter().filter(|refused| refused.why == Some(Refusal::WalSenders));
        own.fold(0_u64, |sum, refused| sum.saturating_add(refused.count))
    }))
}
