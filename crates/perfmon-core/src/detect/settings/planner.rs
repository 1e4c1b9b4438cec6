//! Costs and switches of the planner against what reads and compilation really took.

use crate::detect::Judgement;
use crate::detect::reads::Reads;
use crate::detect::server::cache;
use crate::detect::words::{count, counted, effect, milliseconds, name, percent, set, times};
use crate::facts::{Facts, Statement};
use crate::finding::{Evidence, Finding, Helped, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const RANDOM_PAGE_COST: &str = "setting_random_page_cost";
pub(super) const IO_CONCURRENCY: &str = "setting_effective_io_concurrency";
pub(super) const JIT: &str = "setting_jit";

/// Everything is in cache.
pub(super) const CACHED_RATIO: Threshold = Threshold::ratio(
    "random_page_cost_cached_ratio",
    0.99,
    "share of blocks found in cache from which a page read at random costs no more than the next \
     one",
    "PostgreSQL manual, Planner Cost Constants",
);
/// No disk that turns is as quick.
pub(super) const QUICK_READ_MS: Threshold = Threshold::new(
    "random_page_cost_read_ms",
    1.0,
    "mean time of reading a block below which the storage has no moving parts",
    "pg_perfmon: a turning disk takes several",
);
/// For reading ahead.
pub(super) const CONCURRENT_READ_MS: Threshold = Threshold::new(
    "effective_io_concurrency_read_ms",
    2.0,
    "mean time of reading a block below which the storage answers many requests at once",
    "pg_perfmon: solid state, also over a network",
);
/// Quicker than any storage.
pub(super) const STORAGE_READ_MS: Threshold = Threshold::new(
    "storage_read_ms",
    0.05,
    "mean time of reading a block below which most come from the system's cache, not from storage",
    "pg_perfmon: the quickest solid state takes 0.05 to 0.1 ms",
);
/// Against seq_page_cost.
pub(super) const HIGH_COST: Threshold = Threshold::new(
    "random_page_cost_factor",
    2.0,
    "random_page_cost over seq_page_cost from which it is for turning disks",
    "PostgreSQL manual: 4 is for disks with moving parts",
);
/// Only where it may have led to a worse plan.
pub(super) const SCANNED_ROWS: Threshold = Threshold::new(
    "random_page_cost_scanned_rows",
    10_000.0,
    "rows of a table with indexes that is read whole nevertheless",
    "pg_perfmon",
);
/// More than the building of an index or a dump.
pub(super) const SCANNED_TIMES: Threshold = Threshold::new(
    "random_page_cost_scanned_times",
    5.0,
    "times in the window that all rows of such a table are read by scans",
    "pg_perfmon: the building of an index or a dump reads it once",
);
/// Of the execution time.
pub(super) const JIT_RATIO: Threshold = Threshold::ratio(
    "jit_ratio",
    0.3,
    "share of a statement's time that just-in-time compilation takes",
    "pg_perfmon",
);
/// It pays off for long statements.
pub(super) const JIT_MEAN_MS: Threshold = Threshold::new(
    "jit_mean_ms",
    2_000.0,
    "mean execution time below which just-in-time compilation is expected not to pay off",
    "pg_perfmon",
);
/// Of all statements.
pub(super) const JIT_SHARE: Threshold = Threshold::ratio(
    "jit_share_ratio",
    0.01,
    "share of all execution time that such compilation takes",
    "pg_perfmon",
);
/// Evidence.
pub(super) const JIT_MIN_CALLS: Threshold = Threshold::new(
    "jit_min_calls",
    10.0,
    "executions below which a statement's compilation says nothing",
    "pg_perfmon",
);

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    match cache::worth_judging(facts, thresholds) {
        None => {
            judgement.unknown(RANDOM_PAGE_COST);
            judgement.unknown(IO_CONCURRENCY);
        }
        Some(reads) => {
            judgement.findings.extend(random_page_cost(facts, thresholds, &reads));
            judgement.findings.extend(io_concurrency(facts, thresholds, &reads));
        }
    }
    match (&facts.statements, facts.window.hours()) {
        (Some(statements), Some(hours)) => {
            judgement.findings.extend(jit(facts, thresholds, statements, hours));
        }
        _ => judgement.unknown(JIT),
    }
}

/// Reads whose time is known and that are enough to judge storage by.
fn latency(facts: &Facts, thresholds: &Thresholds, reads: &Reads) -> Option<f64> {
    let seconds = facts.window.hours()? * 3600.0;
    let enough = reads.read >= thresholds.of(&cache::MIN_READS_PER_S) * seconds;
    reads.latency_ms().filter(|ms| enough && *ms > 0.0)
}

fn random_page_cost(facts: &Facts, thresholds: &Thresholds, reads: &Reads) -> Option<Finding> {
    let now = facts.server.number("random_page_cost")?;
    let next = facts.server.number("seq_page_cost")?;
    if now < next * thresholds.of(&HIGH_COST) {
        return None;
    }
    let indexes = facts.indexes.as_ref()?;
    let scanned = facts.tables.as_ref()?.iter().filter(|table| {
        let read = table.window.map_or(0, |a| a.seq_tup_read) as f64;
        let scanned = table.rows.is_some_and(|rows| {
            rows >= thresholds.of(&SCANNED_ROWS) && read >= rows * thresholds.of(&SCANNED_TIMES)
        });
        scanned && !table.internal && indexes.iter().any(|index| index.table == table.oid)
    });
    let mut scanned: Vec<&str> = scanned.map(|table| table.name.as_str()).collect();
    scanned.sort_unstable();
    let whole = match *scanned.as_slice() {
        [] => return None,
        [one] => format!("{}, which has indexes and many rows, is", name(one)),
        [first, ..] => format!(
            "{} tables with indexes and many rows, {} among them, are",
            count(scanned.len() as f64),
            name(first)
        ),
    };
    let hit = reads.hit / reads.asked();
    let quick = latency(facts, thresholds, reads).filter(|ms| *ms < thresholds.of(&QUICK_READ_MS));
    let (why, evidence) = if hit >= thresholds.of(&CACHED_RATIO) {
        let share = Evidence::new("cache_hit_ratio", hit, "ratio");
        let share = share.over(thresholds.of(&CACHED_RATIO)).out_of(reads.asked() as i64);
        (format!("{} of blocks come from cache", percent(hit)), share)
    } else {
        let ms = Evidence::new("block_read_ms", quick?, "ms").out_of(reads.read as i64);
        (
            format!("a block is read in {}", milliseconds(quick?)),
            ms.over(thresholds.of(&QUICK_READ_MS)),
        )
    };
    // As much above seq_page_cost as is usual where no head has to move.
    let better = next * 1.1;
    let mut finding = Finding::new(
        RANDOM_PAGE_COST,
        Severity::Info,
        "setting random_page_cost",
        format!("random_page_cost is {}, for disks with moving parts, though {why}", times(now)),
        format!(
            "Set random_page_cost to {}, so that the planner uses indexes where they are quicker. {}",
            times(better),
            effect(&facts.server, "random_page_cost")
        ),
        "PostgreSQL manual, Planner Cost Constants",
    );
    finding.cause = Some(format!(
        "The planner takes pages read through an index for {} times as dear as those of a scan; \
         {whole} read whole again and again.",
        times(now / next)
    ));
    finding.evidence.push(evidence);
    finding
        .evidence
        .push(Evidence::new("random_page_cost", now, "").over(next * thresholds.of(&HIGH_COST)));
    finding.statement = Some(set(&facts.server, "random_page_cost", &times(better)));
    finding.gain = Some("Index scans instead of scans of whole tables, where they fit.".to_owned());
    finding.risk = "Plans may change; compare the slowest statements before and after.".to_owned();
    Some(finding)
}

fn io_concurrency(facts: &Facts, thresholds: &Thresholds, reads: &Reads) -> Option<Finding> {
    let now = facts.server.number("effective_io_concurrency")?;
    let ms = latency(facts, thresholds, reads)?;
    let quick = ms < thresholds.of(&CONCURRENT_READ_MS) && ms >= thresholds.of(&STORAGE_READ_MS);
    let costs = cache::reads_cost(reads, thresholds) == Some(true);
    if now > 1.0 || !quick || !costs {
        return None;
    }
    let share = reads.time_ratio()?;
    let mut finding = Finding::new(
        IO_CONCURRENCY,
        Severity::Info,
        "setting effective_io_concurrency",
        format!(
            "effective_io_concurrency is {now:.0} on quick storage, and reads take {} of the time",
            percent(share)
        ),
        format!(
            "Set effective_io_concurrency to 200, so that bitmap scans ask for pages ahead. {}",
            effect(&facts.server, "effective_io_concurrency")
        ),
        "PostgreSQL manual, Asynchronous Behavior",
    );
    finding.cause =
        Some("Bitmap scans wait for each page before they ask for the next.".to_owned());
    finding.evidence.push(
        Evidence::new("block_read_ms", ms, "ms")
            .over(thresholds.of(&CONCURRENT_READ_MS))
            .out_of(reads.read as i64),
    );
    finding.evidence.push(
        Evidence::new("read_time_ratio", share, "ratio").over(thresholds.of(&cache::TIME_RATIO)),
    );
    finding.statement = Some(set(&facts.server, "effective_io_concurrency", "200"));
    finding.gain = Some("Bitmap scans wait less; others are as before.".to_owned());
    Some(finding)
}

/// Share of a statement's time that went into compilation.
fn jit_share(statement: &Statement) -> f64 {
    statement.jit_ms.unwrap_or(0.0) / statement.exec_ms.max(f64::MIN_POSITIVE)
}

fn jit(
    facts: &Facts,
    thresholds: &Thresholds,
    statements: &[Statement],
    hours: f64,
) -> Option<Finding> {
    if facts.server.is_on("jit") == Some(false) {
        return None;
    }
    let top = || statements.iter().filter(|s| s.toplevel && s.exec_ms > 0.0);
    let is_long = |s: &Statement| s.mean_ms() >= Some(thresholds.of(&JIT_MEAN_MS));
    let is_much = |s: &Statement| jit_share(s) >= thresholds.of(&JIT_RATIO);
    let often = |s: &Statement| s.calls as f64 >= thresholds.of(&JIT_MIN_CALLS);
    let mut victims: Vec<&Statement> =
        top().filter(|s| often(s) && is_much(s) && !is_long(s)).collect();
    victims.sort_by(|a, b| b.jit_ms.unwrap_or(0.0).total_cmp(&a.jit_ms.unwrap_or(0.0)));
    let spent: f64 = victims.iter().filter_map(|s| s.jit_ms).sum();
    let all = facts.database.exec_ms.unwrap_or_else(|| top().map(|s| s.exec_ms).sum());
    let of_all = spent / all.max(1.0);
    if victims.is_empty() || of_all < thresholds.of(&JIT_SHARE) {
        return None;
    }
    // Long statements for which compilation is a small part may owe their speed to it.
    let profits = top().any(|s| s.jit_ms > Some(0.0) && is_long(s) && !is_much(s));
    let cost = facts.server.number("jit_above_cost").filter(|cost| profits && *cost > 0.0);
    let (name, value) = match cost {
        Some(cost) => ("jit_above_cost", format!("{:.0}", cost * 10.0)),
        None => ("jit", "off".to_owned()),
    };
    let mut finding = compiled(facts, &victims, of_all.min(1.0), (name, &value));
    finding.evidence.push(
        Evidence::new("jit_share_ratio", of_all, "ratio")
            .over(thresholds.of(&JIT_SHARE))
            .out_of(victims.iter().map(|s| s.calls as i64).sum()),
    );
    finding.evidence.push(Evidence::new("jit_ms_per_hour", spent / hours, "ms"));
    let worst = Evidence::new("jit_ratio", jit_share(victims[0]), "ratio");
    finding.evidence.push(worst.over(thresholds.of(&JIT_RATIO)));
    finding.impact.saved_ms_per_hour = Some(spent / hours);
    let helped = |s: &&Statement| Helped {
        statement_id: s.statement_id,
        saved_ms_per_hour: s.jit_ms.unwrap_or(0.0) / hours,
    };
    finding.helped = victims.iter().map(helped).collect();
    finding.statement = Some(set(&facts.server, name, &value));
    finding.gain = Some(format!("{} of execution time per hour.", milliseconds(spent / hours)));
    Some(finding)
}

fn compiled(
    facts: &Facts,
    victims: &[&Statement],
    of_all: f64,
    (name, value): (&str, &str),
) -> Finding {
    let title = format!(
        "Just-in-time compilation takes {} of all execution time for {} too short for it",
        percent(of_all),
        counted(victims.len() as f64, "statement")
    );
    let mut finding = Finding::new(
        JIT,
        Severity::Info,
        format!("setting {name}"),
        title,
        format!("Set {name} to {value}. {} New plans follow it.", effect(&facts.server, name)),
        "PostgreSQL manual, Just-in-Time Compilation, When to JIT",
    );
    finding.cause = victims.first().map(|worst| {
        format!(
            "The planner overrates what the statements cost, so that they are compiled: statement \
             {} spends {} of its {} on it.",
            worst.statement_id,
            percent(jit_share(worst)),
            milliseconds(worst.mean_ms().unwrap_or(0.0))
        )
    });
    finding.share_ratio = Some(of_all);
    finding.risk = "Long reports may take longer without compilation.".to_owned();
    finding
}
