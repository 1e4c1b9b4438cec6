//! Autovacuum that gives way, again and again, to those who want a table's lock.

use crate::capture::failure::Class;
use crate::detect::Judgement;
use crate::detect::words::counted;
use crate::facts::Facts;
use crate::facts::failure::Failure;
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const CANCELLED: &str = "autovacuum_cancelled";

/// Of one table, in the window.
pub(super) const MIN_CANCELLED: Threshold = Threshold::new(
    "autovacuum_cancelled_min",
    3.0,
    "times that autovacuum gave way on a table from which it is reported",
    "pg_perfmon: a lock now and then is no trouble, autovacuum comes back",
);

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let Some(failures) = &facts.failures else {
        judgement.unknown(CANCELLED);
        return;
    };
    let given_up = |f: &&Failure| {
        f.class == Class::AutovacuumCancelled && f.count as f64 >= thresholds.of(&MIN_CANCELLED)
    };
    for failure in failures.all.iter().filter(given_up) {
        judgement.add(finding(facts, thresholds, failure));
    }
}

fn finding(facts: &Facts, thresholds: &Thresholds, failure: &Failure) -> Finding {
    // Of a table that is gone by now, only that it was one.
    let name = failure.table.as_deref();
    let table = facts.tables.iter().flatten().find(|table| Some(table.name.as_str()) == name);
    let activity = table.and_then(|table| table.window);
    let runs = activity.map(|a| a.autovacuum_count);
    let severity = if runs == Some(0) { Severity::Warning } else { Severity::Info };
    let object = name.map_or_else(|| format!("database {}", facts.database.name), str::to_owned);
    let title = format!(
        "Autovacuum gave up {} {} in the window{}",
        name.unwrap_or("tables that are gone"),
        counted(failure.count as f64, "time"),
        if runs == Some(0) { " and finished no run" } else { "" }
    );
    let mut finding = Finding::new(
        CANCELLED,
        severity,
        object,
        title,
        "Find out who locks the table so often (LOCK TABLE, ALTER TABLE, CREATE INDEX without CONCURRENTLY, \
         TRUNCATE), and vacuum it by hand, which does not give way, when they are quiet.",
        "PostgreSQL manual, Routine Vacuuming, The Autovacuum Daemon",
    );
    finding.cause = Some(
        "Somebody waits for a lock that conflicts with autovacuum's for longer than deadlock_timeout, and \
         autovacuum ends its work on the table; what it did so far is mostly lost."
            .to_owned(),
    );
    finding.evidence.push(
        Evidence::new("autovacuum_cancelled", failure.count, "")
            .over(thresholds.of(&MIN_CANCELLED))
            .out_of(facts.window.intervals),
    );
    if let Some(runs) = runs {
        finding.evidence.push(Evidence::new("autovacuum_runs", runs, ""));
    }
    if let Some(dead) = table.and_then(|table| table.dead_rows) {
        finding.evidence.push(Evidence::new("dead_rows", dead, "rows"));
    }
    finding.statement =
        name.filter(|_| table.is_some()).map(|name| format!("VACUUM (ANALYZE) {name};"));
    finding.effort = Effort::Medium;
    finding.risk =
        "VACUUM reads the table and its indexes; whoever wants to lock it waits meanwhile."
            .to_owned();
    finding.gain = Some("Dead rows are removed, and their space is used again.".to_owned());
    finding
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::samples::{self, silent, the};
    use crate::detect::vacuum::DETECTOR;
    use crate::facts::relation::Activity;

    fn given_up(table: Option<&str>, count: u64) -> Facts {
        let mut facts = samples::healthy();
        facts.failures.as_mut().unwrap().all.push(Failure {
            class: Class::AutovacuumCancelled,
            state: Some("57014".into()),
            statement_id: None,
            table: table.map(str::to_owned),
            count,
            lost_ms: 0.0,
        });
        facts
    }

    #[test]
    fn a_table_that_is_never_vacuumed_for_locks() {
        let mut facts = given_up(Some("public.orders"), 5);
        let activity =
            |autovacuum_count| Some(Activity { autovacuum_count, ..Activity::default() });
        facts.tables.as_mut().unwrap()[0].window = activity(0);
        let finding = the(&DETECTOR, &facts, CANCELLED);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(
            finding.title,
            "Autovacuum gave up public.orders 5 times in the window and finished no run"
        );
        assert_eq!(finding.statement.as_deref(), Some("VACUUM (ANALYZE) public.orders;"));
        facts.tables.as_mut().unwrap()[0].window = activity(4);
        assert_eq!(the(&DETECTOR, &facts, CANCELLED).severity, Severity::Info);
        let gone = the(&DETECTOR, &given_up(None, 3), CANCELLED);
        assert_eq!((gone.object.as_str(), gone.statement), ("database shop", None));
        silent(&DETECTOR, &given_up(Some("public.orders"), 2), CANCELLED);
    }
}
