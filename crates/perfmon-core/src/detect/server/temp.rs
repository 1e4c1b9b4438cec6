//! Statements whose sorts and hashes do not fit into work_mem and go to temporary files.

use crate::detect::Judgement;
use crate::detect::statements::{Source, kept, kept_remedy, written};
use crate::detect::words::{count, percent, set, setting_size, size};
use crate::facts::{Facts, Statement};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const TEMP_FILES: &str = "temp_files";

/// Written by one statement.
pub(super) const INFO_BYTES: Threshold = Threshold::new(
    "temp_info_bytes_per_hour",
    104_857_600.0,
    "bytes per hour that a statement writes to temporary files: information",
    "pg_perfmon",
);
/// See above.
pub(super) const WARNING_BYTES: Threshold = Threshold::new(
    "temp_warning_bytes_per_hour",
    1_073_741_824.0,
    "bytes per hour that a statement writes to temporary files: warning",
    "pg_perfmon",
);
/// Evidence.
pub(super) const MIN_CALLS: Threshold = Threshold::new(
    "temp_min_calls",
    10.0,
    "executions in the window below which a statement's temporary files are left in peace",
    "pg_perfmon: a rare large report may sort on disk",
);
/// A statement that hardly counts does not warn.
pub(super) const MIN_SHARE: Threshold = Threshold::ratio(
    "temp_min_share_ratio",
    0.01,
    "share of all execution time below which a statement's temporary files only inform",
    "pg_perfmon",
);
/// What all that run at once may take.
pub(super) const MEMORY_RATIO: Threshold = Threshold::ratio(
    "work_mem_memory_ratio",
    0.25,
    "share of the memory that executions running at once may take by a proposed work_mem",
    "pg_perfmon: shared_buffers take another quarter, the system's cache the rest",
);

/// Rows take about twice as much in memory as in a temporary file: pointers and headers come to them.
const IN_MEMORY: f64 = 2.0;
/// Without knowledge of the memory nobody is told to take more.
const MOST_UNKNOWN: f64 = 268_435_456.0;
/// Most statements reported.
const MOST: usize = 10;
const MANUAL: &str = "PostgreSQL manual, Resource Consumption, work_mem";

/// A statement that spills.
pub(in crate::detect) struct Spill<'a> {
    pub(in crate::detect) statement: &'a Statement,
    /// Written to temporary files by one execution.
    pub(in crate::detect) per_call: f64,
    pub(in crate::detect) per_hour: f64,
    /// The work_mem that would do.
    pub(in crate::detect) need: f64,
    /// The most that it may be given.
    pub(in crate::detect) most: f64,
    /// What it writes.
    pub(in crate::detect) source: Source,
}

impl Spill<'_> {
    /// Whether more memory is the remedy: of a NOT IN another form is, which keeps no rows.
    pub(in crate::detect) fn sorts(&self) -> bool {
        !matches!(self.source, Source::NotIn)
    }

    /// Whether memory allows what it needs.
    pub(in crate::detect) fn fits(&self) -> bool {
        self.need <= self.most
    }
}

/// Commands that sort within maintenance_work_mem.
pub(in crate::detect) fn is_maintenance(statement: &Statement) -> bool {
    let command = statement.command.as_deref().unwrap_or_default();
    ["CREATE INDEX", "REINDEX", "ALTER TABLE", "CLUSTER"].contains(&command)
}

/// Statements that spill often and much, worst first; `None` when statements are not recorded.
pub(in crate::detect) fn spills<'a>(
    facts: &'a Facts,
    thresholds: &Thresholds,
) -> Option<Vec<Spill<'a>>> {
    let hours = facts.window.hours()?;
    let block = facts.server.block_bytes as f64;
    let now = facts.server.bytes("work_mem");
    let all = facts.statements.as_ref()?.iter().filter(|s| s.toplevel && !is_maintenance(s));
    let mut found: Vec<Spill<'a>> = all
        .filter(|s| s.calls as f64 >= thresholds.of(&MIN_CALLS))
        .map(|statement| {
            let bytes = statement.temp_blks_written as f64 * block;
            let per_call = bytes / statement.calls.max(1) as f64;
            // A statement that fits most of the time spills little on average, yet needs more than now.
            let least = now.map_or(0.0, |now| now * 2.0);
            let need = power_of_two((per_call * IN_MEMORY).max(least));
            let at_once = (statement.exec_ms / (hours * 3.6e6)).max(1.0);
            let most = facts.server.memory_bytes.map_or(MOST_UNKNOWN, |memory| {
                memory as f64 * thresholds.of(&MEMORY_RATIO) / at_once
            });
            let (per_hour, source) = (bytes / hours, Source::Unknown);
            Spill { statement, per_call, per_hour, need, most, source }
        })
        .filter(|spill| spill.per_hour >= thresholds.of(&INFO_BYTES))
        .collect();
    for spill in &mut found {
        spill.source = written(spill.statement, facts, thresholds);
    }
    found.sort_by(|a, b| b.per_hour.total_cmp(&a.per_hour));
    Some(found)
}

/// The next power of two.
pub(in crate::detect) fn power_of_two(bytes: f64) -> f64 {
    2_f64.powf(bytes.max(65_536.0).log2().ceil())
}

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let Some(hours) = facts.window.hours() else {
        judgement.unknown(TEMP_FILES);
        return;
    };
    match (spills(facts, thresholds), facts.database.temp_bytes) {
        (Some(spills), _) => {
            for spill in spills.iter().take(MOST) {
                judgement.add(report(facts, thresholds, spill, for_role(&spills, spill)));
            }
        }
        (None, Some(bytes)) => {
            let per_hour = bytes as f64 / hours;
            if per_hour >= thresholds.of(&WARNING_BYTES) {
                judgement.add(by_somebody(facts, per_hour, thresholds.of(&WARNING_BYTES)));
            }
        }
        (None, None) => judgement.unknown(TEMP_FILES),
    }
}

/// What the role of a statement needs for all that it runs: a smaller value for the next statement would take
/// back the larger one.
fn for_role(spills: &[Spill<'_>], one: &Spill<'_>) -> f64 {
    let role = &one.statement.user_name;
    let fitting = spills.iter().filter(|s| s.fits() && s.sorts() && s.statement.user_name == *role);
    fitting.map(|s| s.need.min(one.most)).fold(one.need, f64::max)
}

fn report(facts: &Facts, thresholds: &Thresholds, spill: &Spill<'_>, value: f64) -> Finding {
    let statement = spill.statement;
    let counts = statement.share_ratio.is_none_or(|share| share >= thresholds.of(&MIN_SHARE));
    let much = spill.per_hour >= thresholds.of(&WARNING_BYTES);
    let (severity, over) = if much && counts && spill.fits() {
        (Severity::Warning, thresholds.of(&WARNING_BYTES))
    } else {
        (Severity::Info, thresholds.of(&INFO_BYTES))
    };
    let title = format!(
        "Statement {} writes {} to temporary files per execution, {} per hour",
        statement.statement_id,
        size(spill.per_call),
        size(spill.per_hour)
    );
    let object = format!("statement {}", statement.statement_id);
    let mut finding = Finding::new(TEMP_FILES, severity, object, title, String::new(), MANUAL);
    let now = facts.server.bytes("work_mem");
    let what = match spill.source {
        Source::Kept => "An aggregate's own sort, or what a plan keeps to read it again,",
        _ => "A sort or hash",
    };
    finding.cause = Some(match spill.source {
        Source::NotIn => kept(true).to_owned(),
        _ => format!(
            "{what} needs more than work_mem{}{}.",
            now.map_or(String::new(), |now| format!(" ({})", size(now))),
            if spill.fits() { "" } else { ", and more than this server's memory has for it" }
        ),
    });
    finding.evidence.push(
        Evidence::new("temp_bytes_per_hour", spill.per_hour as i64, "bytes")
            .over(over)
            .out_of(statement.calls.try_into().unwrap_or(i64::MAX)),
    );
    finding.evidence.push(Evidence::new("temp_bytes_per_call", spill.per_call as i64, "bytes"));
    if let Some(now) = now {
        finding.evidence.push(Evidence::new("work_mem", now as i64, "bytes"));
    }
    if spill.sorts() {
        finding.evidence.push(Evidence::new("work_mem_needed", spill.need as i64, "bytes"));
    }
    if let Some(temp_ms) = statement.temp_ms {
        finding.evidence.push(Evidence::new("temp_ms", temp_ms, "ms"));
    }
    finding.share_ratio = statement.share_ratio;
    advise(facts, spill, value, &mut finding);
    finding
}

fn advise(facts: &Facts, spill: &Spill<'_>, value: f64, finding: &mut Finding) {
    let statement = spill.statement;
    let saved = statement.temp_ms.zip(facts.window.hours()).map(|(ms, hours)| ms / hours);
    if !spill.sorts() {
        finding.remedy = kept_remedy(true).to_owned();
        finding.effort = Effort::Medium;
        return;
    }
    if !spill.fits() {
        finding.remedy = "Have it sort or hash less: fewer rows or columns before the sort, an \
            index that gives the order, or a summary kept in a table. Memory for it would be \
            missing elsewhere."
            .to_owned();
        finding.effort = Effort::High;
        return;
    }
    let value = setting_size(value);
    finding.remedy = match &statement.user_name {
        Some(user) => format!(
            "Give role {user} a work_mem of {value} in this database, or set it by SET LOCAL \
             work_mem just before the statement; new sessions have it."
        ),
        None => format!("SET LOCAL work_mem = '{value}' before the statement, in its transaction."),
    };
    finding.statement = statement.user_name.as_ref().map(|user| {
        format!("ALTER ROLE {user} IN DATABASE {} SET work_mem = '{value}';", facts.database.name)
    });
    finding.impact.saved_ms_per_hour = saved;
    if let Some(saved_ms_per_hour) = saved {
        let helped =
            crate::finding::Helped { statement_id: statement.statement_id, saved_ms_per_hour };
        finding.helped.push(helped);
    }
    let share =
        statement.temp_ms.filter(|_| statement.exec_ms > 0.0).map(|ms| ms / statement.exec_ms);
    finding.gain = Some(match share {
        Some(share) => format!(
            "No temporary files: {} of the statement's time.",
            percent(share.clamp(0.0, 1.0))
        ),
        None => "No temporary files.".to_owned(),
    });
    finding.risk = format!(
        "Every sort and hash of every statement of that role may take {value}; the estimate is \
         that of an average execution, {} observed.",
        count(statement.calls as f64)
    );
}

/// Without counters of statements.
fn by_somebody(facts: &Facts, per_hour: f64, over: f64) -> Finding {
    let mut finding = Finding::new(
        TEMP_FILES,
        Severity::Warning,
        format!("database {}", facts.database.name),
        format!("Statements write {} per hour to temporary files", size(per_hour)),
        "Have the server log who writes temporary files over 10 MB, then give those statements \
         more work_mem, or less to sort.",
        MANUAL,
    );
    finding.cause = Some(
        "Sorts and hashes do not fit into work_mem; which is not known, since statements are not \
         counted."
            .to_owned(),
    );
    finding.evidence.push(
        Evidence::new("temp_bytes_per_hour", per_hour as i64, "bytes")
            .over(over)
            .out_of(facts.window.intervals),
    );
    if let Some(files) = facts.database.temp_files {
        finding.evidence.push(Evidence::new("temp_files", files, ""));
    }
    finding.statement = Some(set(&facts.server, "log_temp_files", "'10MB'"));
    finding
}
