//! Tables with more dead rows than they should have: autovacuum is behind, was told to ignore them, is
//! off, or starts too late for their size.

use super::trigger;
use crate::detect::server::horizon::{describe, holder};
use crate::detect::words::{count, counted, percent, size, span, times};
use crate::detect::{Judgement, words};
use crate::facts::{Facts, Table};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const BEHIND: &str = "autovacuum_behind";
pub(super) const DISABLED: &str = "autovacuum_disabled";
pub(super) const DEAD: &str = "dead_rows";

/// A finding needs as many dead rows.
pub(super) const MIN_DEAD_ROWS: Threshold = Threshold::new(
    "dead_rows_min",
    10_000.0,
    "dead rows below which a table is left in peace",
    "pg_perfmon: fewer are read in milliseconds",
);
/// Dead rows over those that start autovacuum.
pub(super) const BEHIND_RATIO: Threshold = Threshold::new(
    "autovacuum_behind_factor",
    2.0,
    "dead rows over the number that should have started autovacuum",
    "pg_perfmon: at 1 it is about to start",
);
/// For tables that autovacuum was told to ignore.
pub(super) const DISABLED_MIN_DEAD_ROWS: Threshold = Threshold::new(
    "autovacuum_disabled_dead_rows_min",
    1_000.0,
    "dead rows from which a table without autovacuum is reported",
    "pg_perfmon: nothing will ever remove them",
);
/// Time without which nothing can be said to last.
pub(in crate::detect) const MIN_COVERED_MINUTES: Threshold = Threshold::new(
    "upkeep_covered_min_minutes",
    10.0,
    "recorded minutes below which nothing is said to last",
    "ten rounds of autovacuum at its default naptime",
);
/// For large tables that autovacuum need not look at yet.
pub(super) const DEAD_BYTES: Threshold = Threshold::new(
    "dead_rows_bytes",
    1_073_741_824.0,
    "space taken by dead rows from which autovacuum is said to start too late",
    "pg_perfmon: a gigabyte is read in vain by each scan",
);
/// See above.
pub(super) const DEAD_RATIO: Threshold = Threshold::ratio(
    "dead_rows_ratio",
    0.1,
    "share of dead rows from which autovacuum is said to start too late",
    "pg_perfmon: half of what autovacuum_vacuum_scale_factor allows by default",
);

const MANUAL: &str = "PostgreSQL manual, Routine Vacuuming, The Autovacuum Daemon";

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let kinds = [BEHIND, DISABLED, DEAD];
    let Some(tables) = facts.tables.as_ref().filter(|_| !facts.server.in_recovery) else {
        kinds.iter().for_each(|kind| judgement.unknown(kind));
        return;
    };
    for table in tables.iter().filter(|t| !t.internal && !t.partitioned) {
        let (Some(dead), Some(trigger)) = (table.dead_rows, trigger::vacuum(table, &facts.server))
        else {
            continue;
        };
        let case = Case { facts, thresholds, table, dead: dead as f64, trigger };
        let finding = if trigger::ignored(table) {
            case.ignored()
        } else if !trigger::runs(&facts.server) {
            case.unattended()
        } else if case.is_behind() {
            Some(case.behind())
        } else {
            case.late()
        };
        finding.into_iter().for_each(|finding| judgement.add(finding));
    }
    if !covered(facts, thresholds) {
        judgement.unknown(BEHIND);
    }
}

fn covered(facts: &Facts, thresholds: &Thresholds) -> bool {
    facts.window.hours().is_some_and(|h| h * 60.0 >= thresholds.of(&MIN_COVERED_MINUTES))
}

/// Tables with which autovacuum does not keep up.
pub(in crate::detect) fn behind<'a>(facts: &'a Facts, thresholds: &Thresholds) -> Vec<&'a Table> {
    let tables = facts.tables.iter().flatten().filter(|t| !t.internal && !t.partitioned);
    tables
        .filter(|table| {
            let known = table.dead_rows.zip(trigger::vacuum(table, &facts.server));
            known.is_some_and(|(dead, trigger)| {
                let case = Case { facts, thresholds, table, dead: dead as f64, trigger };
                !trigger::ignored(table) && trigger::runs(&facts.server) && case.is_behind()
            })
        })
        .collect()
}

/// One table.
struct Case<'a> {
    facts: &'a Facts,
    thresholds: &'a Thresholds,
    table: &'a Table,
    dead: f64,
    trigger: f64,
}

impl Case<'_> {
    /// Above its trigger by far, for half the window at least, and by more than what dies between two
    /// rounds of autovacuum.
    fn is_behind(&self) -> bool {
        let level = self.trigger * self.thresholds.of(&BEHIND_RATIO);
        let dead = self.table.dead_rows.unwrap_or(0);
        covered(self.facts, self.thresholds)
            && self.dead >= self.thresholds.of(&MIN_DEAD_ROWS)
            && self.dead >= level + 3.0 * trigger::died_per_round(self.facts, self.table)
            && trigger::lasted(self.table, dead, level, |a| a.dead_rows)
    }

    fn finding(&self, kind: &str, severity: Severity, title: String, remedy: String) -> Finding {
        let mut finding =
            Finding::new(kind, severity, self.table.name.clone(), title, remedy, MANUAL);
        finding.evidence.push(Evidence::new("dead_rows", self.dead as i64, "rows"));
        if let Some(live) = self.table.live_rows {
            finding.evidence.push(Evidence::new("live_rows", live, "rows"));
        }
        finding.evidence.push(Evidence::new("autovacuum_starts_at", self.trigger as i64, "rows"));
        if let Some(last) = self.table.last_vacuum_us {
            finding.evidence.push(Evidence::new("last_vacuum", words::date(last), ""));
        }
        finding.gain = Some(
            "Scans skip what is gone, and the space is used for new rows. The file does not shrink."
                .to_owned(),
        );
        finding.risk =
            "VACUUM reads the table and its indexes; reads and writes go on meanwhile.".to_owned();
        finding
    }

    fn behind(&self) -> Finding {
        let over = self.dead / self.trigger.max(1.0);
        let name = &self.table.name;
        let half_s = self.facts.window.hours().unwrap_or(0.0) * 1800.0;
        let title = format!(
            "{name} has {} dead rows, {} times what starts autovacuum, for {} or longer",
            count(self.dead),
            times(over),
            span(half_s)
        );
        let activity = self.table.window.unwrap_or_default();
        let runs = activity.autovacuum_count + activity.vacuum_count;
        let held = holder(self.facts, self.thresholds);
        let remedy = match held {
            Some(holder) => format!(
                "End {} first: VACUUM cannot remove rows that it may still look at.",
                describe(holder)
            ),
            None => "Vacuum the table now, and let autovacuum work faster on it.".to_owned(),
        };
        let mut finding = self.finding(BEHIND, Severity::Warning, title, remedy);
        let given_up = self.facts.failures.as_ref().map(|f| f.given_up(name));
        finding.cause = Some(match (held, runs) {
            (Some(holder), _) => {
                format!(
                    "The rows must stay for {}, which may still look at them.",
                    describe(holder)
                )
            }
            (None, 0) if given_up.is_some_and(|n| n > 0) => format!(
                "Autovacuum has not finished a run on it in the window: {} it gave way to somebody who \
                 wanted the table's lock.",
                counted(given_up.unwrap_or(0) as f64, "time")
            ),
            (None, 0) => "Autovacuum has not finished a run on it in the window: it is slowed \
                down by its cost limit, busy with other tables, or gives way to locks."
                .to_owned(),
            (None, n) => format!(
                "{} in the window did not catch up with the rows that die.",
                counted(n as f64, "run")
            ),
        });
        finding.evidence[0] = Evidence::new("dead_rows", self.dead as i64, "rows")
            .over(self.thresholds.of(&BEHIND_RATIO) * self.trigger)
            .out_of(self.facts.window.intervals);
        finding.evidence.push(Evidence::new("vacuum_runs", runs, ""));
        if let Some(given_up) = given_up {
            finding.evidence.push(Evidence::new("autovacuum_cancelled", given_up, ""));
        }
        if held.is_none() {
            finding.statement = Some(format!(
                "VACUUM (ANALYZE) {name};\nALTER TABLE {name} SET (autovacuum_vacuum_cost_limit = \
                 2000);"
            ));
        } else {
            finding.effort = Effort::Medium;
        }
        finding
    }

    fn ignored(&self) -> Option<Finding> {
        let least = self.thresholds.of(&DISABLED_MIN_DEAD_ROWS);
        if self.dead < least {
            return None;
        }
        let name = &self.table.name;
        let over = self.dead >= self.trigger;
        let title = format!(
            "{name} has {}, and autovacuum was told to ignore it",
            counted(self.dead, "dead row")
        );
        let remedy = "Let autovacuum look after the table again, and vacuum it once.".to_owned();
        let severity = if over { Severity::Warning } else { Severity::Info };
        let mut finding = self.finding(DISABLED, severity, title, remedy);
        finding.cause =
            Some("The storage parameter autovacuum_enabled of the table is off.".to_owned());
        finding.evidence[0] = Evidence::new("dead_rows", self.dead as i64, "rows").over(if over {
            self.trigger.max(least)
        } else {
            least
        });
        let toast =
            if trigger::toast_ignored(self.table) { ", toast.autovacuum_enabled" } else { "" };
        finding.statement = Some(format!(
            "ALTER TABLE {name} RESET (autovacuum_enabled{toast});\nVACUUM (ANALYZE) {name};"
        ));
        Some(finding)
    }

    /// Autovacuum is off for the whole server.
    fn unattended(&self) -> Option<Finding> {
        let least = self.thresholds.of(&MIN_DEAD_ROWS).max(self.trigger);
        if self.dead < least {
            return None;
        }
        let name = &self.table.name;
        let title = format!(
            "{name} has {} dead rows, and autovacuum is off for the server",
            count(self.dead)
        );
        let remedy = "Vacuum the table, and switch autovacuum on.".to_owned();
        let mut finding = self.finding(DEAD, Severity::Warning, title, remedy);
        finding.evidence[0] = Evidence::new("dead_rows", self.dead as i64, "rows").over(least);
        finding.cause = Some("Nothing removes dead rows: see setting_autovacuum.".to_owned());
        finding.statement = Some(format!("VACUUM (ANALYZE) {name};"));
        Some(finding)
    }

    /// A table so large that its share of dead rows is much before autovacuum starts.
    fn late(&self) -> Option<Finding> {
        let rows = self.table.live_rows? as f64 + self.dead;
        let ratio = self.dead / rows.max(1.0);
        let bytes = ratio * self.table.table_bytes? as f64;
        if ratio < self.thresholds.of(&DEAD_RATIO) || bytes < self.thresholds.of(&DEAD_BYTES) {
            return None;
        }
        let name = &self.table.name;
        // A tenth of what waits now, so that runs are short, but no smaller share than autovacuum's
        // own scale factor has digits for.
        let scale = (ratio / 10.0).clamp(0.005, 0.05);
        let title = format!(
            "{name}: {} of its rows are dead, about {}, and autovacuum waits for {}",
            percent(ratio),
            size(bytes),
            count(self.trigger)
        );
        let remedy = "Let autovacuum start at a smaller share of this large table, so that each \
            run is short."
            .to_owned();
        let mut finding = self.finding(DEAD, Severity::Info, title, remedy);
        finding.cause = Some(
            "autovacuum_vacuum_scale_factor is a share of the table, and the table is large."
                .to_owned(),
        );
        finding.evidence.push(
            Evidence::new("dead_ratio", ratio, "ratio").over(self.thresholds.of(&DEAD_RATIO)),
        );
        finding.evidence.push(
            Evidence::new("dead_bytes", bytes as i64, "bytes")
                .over(self.thresholds.of(&DEAD_BYTES)),
        );
        finding.statement =
            Some(format!("ALTER TABLE {name} SET (autovacuum_vacuum_scale_factor = {scale:.3});"));
        Some(finding)
    }
}
