//! Subqueries that ask for more than is wanted: NOT IN, which cannot become a join, and counting where one
//! row would tell.

use super::{COUNT, Hint, Look, NOT_IN, column_of};
use crate::capture::scan::{Kind, Slot};
use crate::detect::words;
use crate::facts::evidence::ENOUGH;
use crate::facts::{Form, Statement};
use crate::finding::Effort;

pub(super) fn not_in<'a>(
    look: &Look<'a>,
    s: &'a Statement,
    form: &'a Form,
    ((inner_nullable, outer_nullable), hashable): ((bool, bool), bool),
    several: bool,
) -> Option<Hint<'a>> {
    let (table, rows) = look.large(&form.tables)?;
    // A hash table that fits into memory is searched as quickly as a join's, and means the same where there are no NULLs.
    // Where there may be some, NOT IN is likely to be a mistake, however quick it is.
    let hashed = hashable && s.temp_blks_written == 0;
    if hashed && !inner_nullable && !outer_nullable {
        return None;
    }
    look.blocks(s)?;
    let reason = match (inner_nullable, outer_nullable) {
        (true, _) | (_, true) if several => {
            "A row of the subquery with a NULL in it, or a row that is sought with one, is neither equal nor different where its other \
             columns are equal: NOT IN gives no row then, and NOT EXISTS does. Nearly always that is what was meant."
        }
        (false, false) => "Neither side can be NULL, so that both forms give the same rows.",
        (false, true) => "Where what is sought is NULL, NOT IN gives no row and NOT EXISTS does.",
        (true, false) => {
            "As soon as the subquery gives one NULL, NOT IN gives no row at all; NOT EXISTS does not mind. Nearly always that is \
                          what was meant."
        }
        (true, true) => {
            "As soon as the subquery gives one NULL, NOT IN gives no row at all; where what is sought is NULL, NOT IN gives no row \
                         and NOT EXISTS does."
        }
    };
    let subject = column_of(table, form.attnum);
    Some(Hint {
        kind: NOT_IN,
        statement: s,
        severity: look.severity(s),
        table: Some(table),
        title: format!(
            "Statement {} seeks what is NOT IN a subquery of {}",
            s.statement_id,
            words::name(&subject)
        ),
        subject,
        expression: Some(form.expression.clone()),
        better: form.better.clone(),
        same_meaning: !inner_nullable && !outer_nullable,
        reason: reason.to_owned(),
        cause: "NOT IN of a subquery is no join to the planner, because of NULLs: the subquery's rows are kept in memory, and gone through \
                for each row once they do not fit into it.",
        remedy: "Write NOT EXISTS, which is planned as an anti-join.".to_owned(),
        sql: None,
        saved_ms_per_hour: None,
        effect: format!(
            "One join with the {} of the subquery's table, instead of a look into them for each row.",
            words::amount(rows, "row")
        ),
        evidence: look.evidence(s, Some((table, rows))),
        effort: Effort::Low,
    })
}

pub(super) fn counted<'a>(
    look: &Look<'a>,
    s: &'a Statement,
    form: &'a Form,
    known: bool,
    given: bool,
) -> Option<Hint<'a>> {
    let (table, rows) = look.large(&form.tables)?;
    let blocks = look.blocks(s)?;
    // Most numbers of rows say more than whether there are any; of one that is a parameter, executions know.
    let samples = if known { None } else { Some(asked_for_any(look, s)?) };
    let mut reason = match samples {
        None if given => String::new(),
        None => "There is a row if and only if their number is not zero.".to_owned(),
        Some(_) => {
            "The same for the numbers that the executions that were looked into compared with, which tell only none from some; the \
             text does not tell the number. For another one, count no more rows than are needed, by a LIMIT in a subquery."
                .to_owned()
        }
    };
    if given {
        let space = if reason.is_empty() { "" } else { " " };
        reason.push_str(space);
        reason.push_str(
            "The same unless what is counted is NULL, which count() leaves out: it is a parameter in the text, as any constant is.",
        );
    }
    let mut effect = format!(
        "Where there is a row, the search for it instead of {} per execution.",
        words::amount(blocks, "block")
    );
    if let Some(samples) = samples {
        #[allow(clippy::cast_precision_loss)]
        let samples = words::number(samples as f64);
        effect.push_str(&format!(
            " All {samples} executions that were looked into asked only whether there is any."
        ));
    }
    Some(Hint {
        kind: COUNT,
        statement: s,
        severity: look.severity(s),
        table: Some(table),
        title: format!(
            "Statement {} counts rows of {} to see whether there are any",
            s.statement_id,
            words::name(&table.name)
        ),
        subject: table.name.clone(),
        expression: Some(form.expression.clone()),
        better: form.better.clone(),
        same_meaning: known && !given,
        reason,
        cause: "All rows are counted, and their number compared with one that is reached at once.",
        remedy: "Write EXISTS, which ends with the first row.".to_owned(),
        sql: None,
        saved_ms_per_hour: None,
        effect,
        evidence: look.evidence(s, Some((table, rows))),
        effort: Effort::Low,
    })
}

/// Executions that were looked into, if every number of rows that any of them compared told only none from some.
fn asked_for_any(look: &Look<'_>, s: &Statement) -> Option<u64> {
    let own = look.facts.evidence.iter().flatten();
    let asked = own
        .filter(|e| e.statement_id == s.statement_id && e.kind() == Some(Kind::Existence))
        .max_by_key(|e| e.counts.get(Slot::Executions))?;
    let executions = asked.counts.get(Slot::Executions);
    (executions >= ENOUGH && executions >= asked.statement_samples).then_some(executions)
}
