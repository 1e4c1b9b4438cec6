//! Sequences, and the columns that they feed, near their last value.

use std::collections::HashMap;

use crate::detect::Judgement;
use crate::detect::words::{count, date, percent, span};
use crate::facts::{Facts, Sequence, Table};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const EXHAUSTION: &str = "sequence_exhaustion";

/// Of the values between its start and its end.
pub(super) const WARNING_RATIO: Threshold = Threshold::ratio(
    "sequence_warning_ratio",
    0.85,
    "share of a sequence's values that are used: warning",
    "check_postgres",
);
/// See above.
pub(super) const CRITICAL_RATIO: Threshold = Threshold::ratio(
    "sequence_critical_ratio",
    0.95,
    "share of a sequence's values that are used: critical if it also ends within \
     sequence_critical_used_days",
    "check_postgres",
);
/// For one that is nearly used up.
pub(super) const USED_DAYS: Threshold = Threshold::new(
    "sequence_critical_used_days",
    90.0,
    "days until a sequence ends that is over sequence_critical_ratio: critical",
    "pg_perfmon: a quarter, in which the rewrite of a table can be planned",
);
/// At the pace of this history.
pub(super) const WARNING_DAYS: Threshold = Threshold::new(
    "sequence_warning_days",
    180.0,
    "days until a sequence ends: warning",
    "pg_perfmon: time to plan the rewrite of a table",
);
/// See above.
pub(super) const CRITICAL_DAYS: Threshold = Threshold::new(
    "sequence_critical_days",
    30.0,
    "days until a sequence ends: critical",
    "pg_perfmon: time to carry it out",
);
/// So slow that it is only worth knowing.
pub(super) const FAR_DAYS: Threshold = Threshold::new(
    "sequence_far_days",
    1825.0,
    "days until a sequence ends from which its share of used values only informs",
    "pg_perfmon: five years",
);
/// A pace from less history is a guess, unless half of the values are gone.
pub(super) const FORECAST_HOURS: Threshold = Threshold::new(
    "sequence_forecast_min_hours",
    24.0,
    "recorded hours of history that a sequence's pace needs",
    "pg_perfmon: a day's load rises and falls",
);

/// Less is no pace at all.
pub(super) const PACE_HOURS: Threshold = Threshold::new(
    "sequence_pace_min_hours",
    1.0,
    "hours between two readings of a sequence, or of history, below which its pace is not known",
    "pg_perfmon: a load of data takes minutes",
);

const MANUAL: &str = "PostgreSQL manual, ALTER SEQUENCE and Numeric Types";

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    let Some(sequences) = &facts.sequences else {
        judgement.unknown(EXHAUSTION);
        return;
    };
    fn rows(table: &Table) -> Option<(&str, u64)> {
        Some((&table.name, table.history?.n_tup_ins))
    }
    let inserted: Inserted<'_> = facts.tables.iter().flatten().filter_map(rows).collect();
    for sequence in sequences {
        if let Some(finding) =
            End::of(sequence).and_then(|end| look(facts, thresholds, &inserted, sequence, end))
        {
            judgement.add(finding);
        }
    }
}

/// Rows inserted over the history, by table.
type Inserted<'a> = HashMap<&'a str, u64>;

/// How far a sequence is from its end.
#[derive(Clone, Copy)]
struct End {
    /// Last value that can be used.
    limit: i64,
    /// The column's type ends before the sequence does.
    by_column: bool,
    used: f64,
    left: f64,
}

impl End {
    fn of(sequence: &Sequence) -> Option<Self> {
        let last = sequence.last_value? as f64;
        let (first, own) = if sequence.increment > 0 {
            (sequence.min, sequence.max)
        } else {
            (sequence.max, sequence.min)
        };
        // An integer column that counts down ends at its type's least value.
        let of_column =
            sequence.column_max.map(|most| if sequence.increment > 0 { most } else { -most - 1 });
        let limit = match of_column {
            Some(column) if sequence.increment > 0 => column.min(own),
            Some(column) => column.max(own),
            None => own,
        };
        let by_column = limit != own;
        if sequence.cycle && !by_column {
            return None;
        }
        let (all, gone) = ((limit as f64 - first as f64).abs(), (last - first as f64).abs());
        let step = (sequence.increment as f64).abs().max(1.0);
        let left = ((limit as f64 - last).abs() / step).floor();
        let over = if sequence.increment > 0 { last > limit as f64 } else { last < limit as f64 };
        (all > 0.0).then(|| Self {
            limit,
            by_column,
            used: if over { 1.0 } else { (gone / all).min(1.0) },
            left: if over { 0.0 } else { left },
        })
    }
}

/// How fast a sequence gives out its values.
#[derive(Debug, Clone, Copy)]
struct Pace {
    per_day: f64,
    /// Seen of the sequence itself.
    measured: bool,
    /// Hours that it was seen for.
    hours: f64,
}

impl Pace {
    /// By two readings of the sequence, where they lie far enough apart. Before, the rows inserted into the
    /// table that it feeds tell how fast it runs at least: values are also lost to rollbacks and conflicts.
    fn of(
        facts: &Facts,
        thresholds: &Thresholds,
        inserted: &Inserted<'_>,
        sequence: &Sequence,
    ) -> Option<Self> {
        let own = Self::measured(facts, thresholds, sequence);
        let steady = |pace: &Self| pace.hours >= thresholds.of(&FORECAST_HOURS);
        match (own, Self::by_rows(facts, thresholds, inserted, sequence)) {
            (Some(own), Some(rows)) if !steady(&own) && rows.per_day > own.per_day => {
                Some(Self { measured: true, ..rows })
            }
            (own, rows) => own.or(rows),
        }
    }

    fn measured(facts: &Facts, thresholds: &Thresholds, sequence: &Sequence) -> Option<Self> {
        let (then, at_us) = sequence.before?;
        let hours = facts.now_us.saturating_sub(at_us) as f64 / 3.6e9;
        let given = (sequence.last_value? as f64 - then as f64) / sequence.increment as f64;
        let known = hours >= thresholds.of(&PACE_HOURS) && given >= 0.0 && given.is_finite();
        known.then(|| Self { per_day: given * 24.0 / hours, measured: true, hours })
    }

    fn by_rows(
        facts: &Facts,
        thresholds: &Thresholds,
        inserted: &Inserted<'_>,
        sequence: &Sequence,
    ) -> Option<Self> {
        let (name, _) = sequence.owner()?;
        let hours = facts.history.hours().filter(|hours| *hours >= thresholds.of(&PACE_HOURS))?;
        let per_day = *inserted.get(name)? as f64 * 24.0 / hours;
        Some(Self { per_day, measured: false, hours })
    }
}

fn look(
    facts: &Facts,
    thresholds: &Thresholds,
    inserted: &Inserted<'_>,
    sequence: &Sequence,
    end: End,
) -> Option<Finding> {
    let pace = Pace::of(facts, thresholds, inserted, sequence);
    let steady = |pace: &Pace| pace.hours >= thresholds.of(&FORECAST_HOURS) || end.used >= 0.5;
    let pace = pace.filter(|pace| pace.per_day > 0.0 && steady(pace));
    let days = pace.map(|pace| end.left / pace.per_day);
    let within = |most: &Threshold| days.is_some_and(|d| d <= thresholds.of(most));
    // Rows alone say how fast it is at least, not how slow.
    let far = pace.is_some_and(|p| p.measured) && days > Some(thresholds.of(&FAR_DAYS));
    let used = |least: &Threshold| end.used >= thresholds.of(least);
    let (severity, crossed) = if within(&CRITICAL_DAYS) {
        (Severity::Critical, &CRITICAL_DAYS)
    } else if used(&CRITICAL_RATIO) && (within(&USED_DAYS) || end.left < 1.0) {
        (Severity::Critical, &CRITICAL_RATIO)
    } else if within(&WARNING_DAYS) {
        (Severity::Warning, &WARNING_DAYS)
    } else if used(&WARNING_RATIO) {
        (if far { Severity::Info } else { Severity::Warning }, &WARNING_RATIO)
    } else {
        return None;
    };
    Some(report(facts, sequence, (end, pace), days, severity, (crossed, thresholds.of(crossed))))
}

fn report(
    facts: &Facts,
    sequence: &Sequence,
    (end, pace): (End, Option<Pace>),
    days: Option<f64>,
    severity: Severity,
    (crossed, over): (&Threshold, f64),
) -> Finding {
    let outage = days.filter(|d| *d < 36_500.0).map(|d| facts.now_us + (d * 86_400e6) as i64);
    let when = match (outage, days) {
        (Some(at), Some(days)) => format!(", it ends in {} ({})", span(days * 86_400.0), date(at)),
        _ => format!(", {} are left", count(end.left)),
    };
    let title =
        format!("Sequence {} has used {} of its values{when}", sequence.name, percent(end.used));
    let (remedy, statement, rewrite) = remedy(sequence, end);
    let mut finding =
        Finding::new(EXHAUSTION, severity, sequence.name.clone(), title, remedy, MANUAL);
    finding.statement = statement;
    let end_of = if end.by_column { "The column's type" } else { "The sequence" };
    finding.cause = Some(format!(
        "{end_of} ends at {}; the next value after it is an error, and with it every INSERT.",
        end.limit
    ));
    let used = Evidence::new("used_ratio", end.used, "ratio");
    let by_days = crossed.name.ends_with("_days");
    finding.evidence.push(if by_days { used } else { used.over(over) });
    if let Some(last) = sequence.last_value {
        finding.evidence.push(Evidence::new("last_value", last, ""));
    }
    finding.evidence.push(Evidence::new("limit", end.limit, ""));
    if let (Some(pace), Some(days)) = (pace, days) {
        finding.evidence.push(Evidence::new("values_per_day", pace.per_day, ""));
        let left = Evidence::new("days_left", days, "days");
        finding.evidence.push(if by_days { left.over(over) } else { left });
    }
    finding.impact.outage_at_us = outage;
    finding.effort = if rewrite { Effort::High } else { Effort::Low };
    finding.gain = Some("INSERTs go on.".to_owned());
    if rewrite {
        finding.risk =
            "Changing the type rewrites the table and its indexes while nobody may read or write \
             it. Large tables: fill a new bigint column step by step instead. Columns that refer \
             to it, and programs that hold it in 32 bits, have to follow."
                .to_owned();
    }
    finding
}

const SMALLINT: i64 = 32_767;
const INTEGER: i64 = 2_147_483_647;

/// What to do, the commands, and whether they rewrite a table.
fn remedy(sequence: &Sequence, end: End) -> (String, Option<String>, bool) {
    let name = &sequence.name;
    let column = sequence.owner();
    let widen = format!("ALTER SEQUENCE {name} AS bigint;");
    match (column, sequence.column_max) {
        (Some((table, column)), Some(SMALLINT | INTEGER)) => (
            "Make the column bigint, and the sequence with it.".to_owned(),
            Some(format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE bigint;\n{widen}")),
            true,
        ),
        (_, of_column) if end.limit != i64::MAX && end.limit != i64::MIN => {
            let unsure = if of_column.is_none() {
                " It feeds no column that the server knows of: see that whatever takes its values \
                 can hold larger ones."
            } else {
                ""
            };
            // AS moves only those bounds that were the ends of the type before.
            let own =
                matches!(end.limit.unsigned_abs(), 32_767 | 32_768 | 2_147_483_647 | 2_147_483_648);
            let beyond = match (own, sequence.increment > 0) {
                (true, _) => widen,
                (false, true) => format!("ALTER SEQUENCE {name} AS bigint NO MAXVALUE;"),
                (false, false) => format!("ALTER SEQUENCE {name} AS bigint NO MINVALUE;"),
            };
            (
                format!("Let the sequence go on to what a bigint can hold.{unsure}"),
                Some(beyond),
                false,
            )
        }
        _ => (
            "Start the sequence anew where values are free; a bigint has no larger type."
                .to_owned(),
            None,
            false,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(owned_by: &str) -> Option<(String, String)> {
        let sequence = Sequence { owned_by: Some(owned_by.to_owned()), ..Sequence::default() };
        sequence.owner().map(|(table, column)| (table.to_owned(), column.to_owned()))
    }

    #[test]
    fn columns_are_parted_from_tables() {
        assert_eq!(owner("public.orders.id"), Some(("public.orders".into(), "id".into())));
        assert_eq!(owner(r#"s."a.b"."c.""d""#), Some((r#"s."a.b""#.into(), r#""c.""d""#.into())));
        assert_eq!(owner("id"), None);
    }
}
