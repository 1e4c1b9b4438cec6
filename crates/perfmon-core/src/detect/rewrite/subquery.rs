//! Subqueries that ask for more than is wanted: NOT IN, which cannot become a join, and counting where one
//! row would tell.

use super::{COUNT, Hint, Look, NOT_IN, column_of};
use crate::detect::words;
use crate::facts::{Form, Statement};
use crate::finding::Effort;

pub(super) fn not_in<'a>(
    look: &Look<'a>,
    s: &'a Statement,
    form: &'a Form,
    inner_nullable: bool,
    outer_nullable: bool,
) -> Option<Hint<'a>> {
    let (table, rows) = look.large(&form.tables)?;
    look.blocks(s)?;
    let reason = match (inner_nullable, outer_nullable) {
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
) -> Option<Hint<'a>> {
    let (table, rows) = look.large(&form.tables)?;
    let blocks = look.blocks(s)?;
    let reason = match known {
        true => "There is a row if and only if their number is not zero.",
        false => {
            "The same if the number that is compared with is 0, which a parameter does not tell; for another one, count no more rows \
                  than are needed, by a LIMIT in a subquery."
        }
    };
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
        same_meaning: known,
        reason: reason.to_owned(),
        cause: "All rows are counted, and their number compared with one that is reached at once.",
        remedy: "Write EXISTS, which ends with the first row.".to_owned(),
        sql: None,
        saved_ms_per_hour: None,
        effect: format!(
            "Where there is a row, the search for it instead of {} per execution.",
            words::amount(blocks, "block")
        ),
        evidence: look.evidence(s, Some((table, rows))),
        effort: Effort::Low,
    })
}
