//! A column that is not compared as it is: a function, arithmetic or a conversion stands around it, so that
//! an index on the column cannot be searched.

use super::{CAST, FUNCTION, Hint, Look, cast, column_of};
use crate::detect::idea::{Method, may_be, may_serve};
use crate::detect::scans::seen;
use crate::detect::words;
use crate::facts::{Form, FormKind, Moved, Statement, Table};
use crate::finding::Effort;

const HIDDEN: &str = "An index on a column is ordered by the column's values, not by what a function makes of them; \
                      so every row is read, and the function called for it.";
const CONVERTED: &str = "Values of two types are compared by converting one of them; it is the column that is converted, \
                         and an index on it is not ordered by the converted values.";

pub(super) fn hint<'a>(look: &Look<'a>, s: &'a Statement, form: &Form) -> Option<Hint<'a>> {
    let (table, rows) = look.large(&form.tables)?;
    let blocks = look.blocks(s)?;
    if let Some(indexable) = &form.indexable
        && look.has_index(table.oid, 0, indexable)
    {
        return None;
    }
    let in_words = matches!(form.kind, FormKind::Templated | FormKind::Unstable);
    if in_words && !is_proven(look, s, table, form) {
        return None;
    }
    let subject = column_of(table, form.attnum);
    let indexed = is_indexed(look, table, form.attnum);
    let (kind, cause) = if converts(&form.kind) { (CAST, CONVERTED) } else { (FUNCTION, HIDDEN) };
    let own_index = form
        .indexable
        .as_ref()
        .and_then(|indexable| look.index(table, indexable, 0, Method::Btree, None, None));
    // With a form that leaves the column alone, it is an index on the column that is wanted.
    let better = form.better.clone();
    if better.is_none() && own_index.is_none() && kind == FUNCTION && !in_words {
        return None;
    }
    let sql = match better.is_some() || kind == CAST {
        true if indexed => None,
        true => table
            .columns
            .iter()
            .find(|column| column.attnum == form.attnum)
            .and_then(|c| look.index(table, &c.name, c.attnum, Method::Btree, None, None)),
        false => own_index,
    };
    let (saved, effect) = look.fewer_blocks(s, blocks, rows)?;
    let (same_meaning, reason) = meaning(form);
    let (title, remedy) = said(form, s, &subject, better.is_some(), indexed);
    Some(Hint {
        kind,
        statement: s,
        severity: look.severity(s),
        table: Some(table),
        subject,
        expression: Some(form.expression.clone()),
        better,
        same_meaning,
        reason,
        title,
        cause,
        remedy,
        sql,
        saved_ms_per_hour: saved,
        effect,
        evidence: look.evidence(s, Some((table, rows))),
        effort: if kind == CAST { Effort::Medium } else { Effort::Low },
    })
}

/// Whether executions read the whole table for a few rows, which they found by an expression on this column that no index
/// is on. Where nobody knows what an index would have to be on, the text alone does not tell that there is none.
fn is_proven(look: &Look<'_>, s: &Statement, table: &Table, form: &Form) -> bool {
    let Some(Some(seen)) = seen(look.facts, s.statement_id, table, &look.t) else { return false };
    let column = table.columns.iter().find(|c| c.attnum == form.attnum && form.attnum > 0);
    let on_it = |expression: &str| column.is_none_or(|c| may_be(expression, &c.name));
    let since_us = look.facts.window.since_us;
    let has_index = |expression: &str| {
        let mut own = look.facts.indexes.iter().flatten().filter(|index| index.table == table.oid);
        own.any(|index| may_serve(index, expression, since_us))
    };
    let mut computed = seen.computed.iter().map(|one| one.expression.as_str());
    seen.kept_few(&look.t) && computed.any(|one| on_it(one) && !has_index(one))
}

/// Whether an index that queries may use begins with a column, of the table and of all that inherit from it.
fn is_indexed(look: &Look<'_>, table: &Table, attnum: i16) -> bool {
    let Some(column) = table.columns.iter().find(|c| c.attnum == attnum && attnum > 0) else {
        return false;
    };
    // Their columns have the same names, and other numbers.
    let first = |index: &crate::facts::Index| {
        index.key.first().is_some_and(|k| k.attnum > 0 && k.expression == column.name)
    };
    look.members(table.oid).into_iter().all(|oid| {
        let mut indexes = look.facts.indexes.iter().flatten();
        indexes.any(|index| index.table == oid && index.valid && first(index))
    })
}

/// Whether it is the server that converts the column, silently.
fn converts(kind: &FormKind) -> bool {
    matches!(kind, FormKind::Converted { .. } | FormKind::Rounded { .. })
}

/// Whether the form means the same, and why, or what to look at.
fn meaning(form: &Form) -> (bool, String) {
    const GUESSED: &str = "The text does not tell the types of its parameters: the same unless one is a number in floating point, or \
                           has a fraction where whole numbers are, or a time of the day where a day is.";
    let has_form = form.better.is_some();
    let (same, reason) = match &form.kind {
        _ if !has_form && converts(&form.kind) => (
            false,
            "The type of a column, or of a value, changes: compare the values that both types can hold.",
        ),
        FormKind::Unstable => {
            (false, "Another comparison is to be written: compare what both find.")
        }
        _ if !has_form => (true, "An index changes no result."),
        FormKind::Truncated { zoned: true } | FormKind::Dated { zoned: true } => (
            false,
            "The same where the time zone changes its clocks at another hour than midnight; elsewhere, compare the rows of \
             such a day.",
        ),
        FormKind::Truncated { .. } | FormKind::Dated { .. } => {
            (true, "The same rows, infinite times included.")
        }
        FormKind::TruncatedDay => {
            (true, "The same rows, in every time zone that never left out a whole day.")
        }
        FormKind::Shifted { moved } => shifted(*moved),
        FormKind::Defaulted => (true, "The same rows: what is NULL is compared with the default."),
        FormKind::Spelled => (
            false,
            "The same for a value as the server writes it; one that is not of the column's type is an error, and one in \
             another spelling (blanks, leading zeros, yes for true) is found where it was not.",
        ),
        FormKind::Widened => (
            true,
            "The same rows: the wider type holds the column's values exactly, and in the same order.",
        ),
        FormKind::Rounded { .. } => (
            true,
            "The same rows, since the column holds whole numbers alone; only a value beyond their range is an error \
             elsewhere.",
        ),
        FormKind::Converted { column, to, .. } if cast::is_coarse(column, to) => (
            false,
            "The same for whole numbers that floating point holds, up to 2^53 (of real, 2^24): beyond, several of them are one to \
             it, so that it finds their neighbours too. A fraction equals none of them, and would be rounded to one; and a value that \
             is too large for the column's type is an error elsewhere.",
        ),
        FormKind::Converted { column, to, .. } if cast::may_round(column, to) => (
            false,
            "The same for whole numbers. A fraction, which equals none of them, would be rounded to one; and a value that \
             is too large for the column's type is an error elsewhere.",
        ),
        FormKind::Converted { .. } => (
            false,
            "The value is converted to the column's type, which may round it or cut it, or fail: the same where it is of \
             that type already.",
        ),
        _ => (true, "An index changes no result."),
    };
    let of_values = has_form
        && matches!(
            form.kind,
            FormKind::Truncated { .. }
                | FormKind::TruncatedDay
                | FormKind::Dated { .. }
                | FormKind::Shifted { .. }
                | FormKind::Defaulted
                | FormKind::Widened
                | FormKind::Rounded { .. }
        );
    match form.guessed && of_values {
        true if same => (false, GUESSED.to_owned()),
        true => (false, format!("{reason} {GUESSED}")),
        false => (same, reason.to_owned()),
    }
}

/// The same of arithmetic that is taken to the other side.
fn shifted(moved: Moved) -> (bool, &'static str) {
    match moved {
        Moved::Exact => (
            true,
            "The same rows, unless a value that is compared with is itself infinite or no number; only a sum that is too large for \
             its type is an error elsewhere.",
        ),
        Moved::Span => (
            false,
            "Months differ in length and clocks change, so that adding to one side is not always taking from the other; \
             the same for intervals of hours and, without time zone, of days.",
        ),
        Moved::Rounded => (
            false,
            "Numbers in floating point are rounded at each step, so that two that were equal on one side may differ on the other.",
        ),
        Moved::Divided => (
            false,
            "The same for a factor above zero; one below it turns the sign of the comparison, zero is an error, and a quotient \
             with more decimals than its type keeps is rounded.",
        ),
    }
}

fn said(
    form: &Form,
    s: &Statement,
    subject: &str,
    has_form: bool,
    indexed: bool,
) -> (String, String) {
    let what = match &form.kind {
        FormKind::Truncated { .. } | FormKind::TruncatedDay => "date_trunc of",
        FormKind::Dated { .. } => "the day of",
        FormKind::Shifted { .. } => "arithmetic on",
        FormKind::Defaulted => "COALESCE of",
        FormKind::Spelled => "the text of",
        FormKind::Widened => "a cast of",
        FormKind::Converted { column, to, joined } => {
            let title = format!(
                "Statement {} compares {} as {to}, although it is {column}",
                s.statement_id,
                words::name(subject)
            );
            let remedy = match joined {
                true => "Give both columns one type, or cast the other side to this column's type.",
                false => "Give the value the column's type: cast it, or bind it as that type.",
            };
            return (title, index_too(remedy, indexed));
        }
        FormKind::Rounded { column, to } => {
            let title = format!(
                "Statement {} compares {} as {to}, although it is {column}",
                s.statement_id,
                words::name(subject)
            );
            let remedy =
                "Compare with a whole number: bind the value as the column's type, or round it.";
            return (title, index_too(remedy, indexed));
        }
        _ => "an expression on",
    };
    let title = format!("Statement {} compares {what} {}", s.statement_id, words::name(subject));
    let place = if form.inside { " in the view or subquery that computes it" } else { "" };
    let remedy = match &form.kind {
        FormKind::Templated if !has_form => {
            let remedy = "Make an index on the expression, with the statement's own constant in place of each parameter: \
                          constants are not kept, so that the command cannot be given here.";
            return (title, remedy.to_owned());
        }
        FormKind::Unstable if !has_form => {
            let remedy = "No index can be on the expression, which changes with settings or with time: compare the column \
                          itself with a range of values, or keep what is computed in a column of its own that has an index.";
            return (title, remedy.to_owned());
        }
        _ if !has_form => return (title, "Make an index on the expression.".to_owned()),
        FormKind::Truncated { .. } | FormKind::TruncatedDay | FormKind::Dated { .. } => {
            format!("Compare the column itself with the beginning and the end of the range{place}.")
        }
        FormKind::Shifted { .. } => format!("Move the arithmetic to the other side{place}."),
        FormKind::Defaulted => format!("Compare the column itself, and its NULLs apart{place}."),
        FormKind::Widened => {
            format!(
                "Compare the column itself, which is done with values of the wider type too{place}."
            )
        }
        _ => format!("Cast the value to the column's type, not the column to the value's{place}."),
    };
    (title, index_too(&remedy, indexed))
}

fn index_too(remedy: &str, indexed: bool) -> String {
    match indexed {
        true => format!("{remedy} The index on the column then serves."),
        false => format!("{remedy} Then an index on the column serves."),
    }
}
