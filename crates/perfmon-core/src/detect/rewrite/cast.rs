//! Columns that executions were seen to convert, although the text compares them as they are: a parameter had another
//! type than the column, or stood for a constant that had one. The plan that ran is the proof.

use super::{Hint, Look, column};
use crate::capture::scan::code::Stage;
use crate::capture::scan::{Condition, Slot};
use crate::detect::words;
use crate::facts::evidence::ENOUGH;
use crate::facts::{
    Column, Evidence as Seen, Form, FormKind, Given, Statement, Table, TableUse, Values,
};
use crate::finding::Evidence;

/// Types of whole numbers, as the server writes them.
const WHOLE: [&str; 3] = ["smallint", "integer", "bigint"];

pub(super) fn hints<'a>(look: &Look<'a>, s: &'a Statement, found: &mut Vec<Hint<'a>>) {
    let Some(shape) = &s.shape else { return };
    for one in shape.tables.iter().filter(|one| one.read && !one.given.is_empty()) {
        let Some(table) = look.tables.get(&one.oid).copied() else { continue };
        for column in &table.columns {
            let told = |form: &Form| form.tables.contains(&one.oid) && form.attnum == column.attnum;
            if shape.forms.iter().any(told) {
                continue;
            }
            found.extend(hint(look, s, one, table, column));
        }
    }
}

/// A comparison of a column as executions showed it.
struct Compared<'a> {
    /// What it was converted to.
    to: &'a str,
    /// All of the condition, with a question mark for every value.
    text: &'a str,
    /// What stands there, and how it is compared, the column first.
    expression: &'a str,
    sign: &'static str,
    /// With any of several values.
    any: bool,
    executions: u64,
    samples: u64,
}

fn hint<'a>(
    look: &Look<'a>,
    s: &'a Statement,
    one: &TableUse,
    table: &Table,
    column: &Column,
) -> Option<Hint<'a>> {
    let own = look.facts.evidence.iter().flatten().filter(|e| {
        e.statement_id == s.statement_id && e.table == table.name && e.statement_samples >= ENOUGH
    });
    let halves = own
        .map(|e| compared(e, column))
        .filter(|halves| !halves.is_empty())
        .max_by_key(|halves| halves[0].executions)?;
    if halves[0].executions < ENOUGH {
        return None;
    }
    let forms: Vec<Form> = halves.iter().filter_map(|half| half_of(one, column, half)).collect();
    let form = whole(forms, halves.len())?;
    let compared = &halves[0];
    let mut hint = column::hint(look, s, &form)?;
    // The others find what they seek by the index.
    let samples = compared.samples.max(compared.executions);
    #[allow(clippy::cast_precision_loss)]
    let ratio = compared.executions as f64 / samples as f64;
    hint.saved_ms_per_hour = hint.saved_ms_per_hour.map(|ms| ms * ratio);
    let samples_shown = i64::try_from(samples).unwrap_or(i64::MAX);
    hint.evidence.push(Evidence::new("converted_ratio", ratio, "ratio").out_of(samples_shown));
    #[allow(clippy::cast_precision_loss)]
    let [executions, samples] = [compared.executions, samples].map(|n| words::number(n as f64));
    hint.effect.push_str(&format!(
        " {executions} of {samples} executions that were looked into converted the column."
    ));
    Some(hint)
}

/// The form of one comparison.
fn half_of(one: &TableUse, column: &Column, compared: &Compared<'_>) -> Option<Form> {
    let given: Vec<&Given> = one
        .given
        .iter()
        .filter(|given| given.attnum == column.attnum && given.sign == compared.sign)
        .collect();
    let first = given.first()?;
    // Which of several it is, nobody knows. Of a list that was cut down to its first value, the text tells no other.
    let values = match &given[..] {
        [one] if compared.any != matches!(one.values, Values::One(_)) => Some(&one.values),
        _ => None,
    };
    Some(form(one.oid, column, compared, &first.of_type, values))
}

/// The forms of all comparisons of a column as one: with half of them written in another way, the others would still convert
/// it.
fn whole(forms: Vec<Form>, all: usize) -> Option<Form> {
    let is_rounded = |form: &Form| matches!(form.kind, FormKind::Rounded { .. });
    let texts: Vec<&str> = forms.iter().map(|form| form.expression.as_str()).collect();
    let expression = texts.join(" AND ");
    let better: Option<Vec<&str>> = forms.iter().map(|form| form.better.as_deref()).collect();
    let better = better.filter(|known| known.len() == all).map(|known| known.join(" AND "));
    // What has to be looked at in one of them has to be in all.
    let place = forms.iter().position(|form| !is_rounded(form)).unwrap_or(0);
    let form = forms.into_iter().nth(place)?;
    Some(Form { expression, better, ..form })
}

/// How a node compared a column that it converted, each comparison once.
fn compared<'a>(e: &'a Seen, column: &Column) -> Vec<Compared<'a>> {
    let cast = format!("({})::", column.name);
    let mut found: Vec<Compared<'a>> = Vec::new();
    let all = e.node.conditions.iter().filter_map(|condition: &Condition| {
        let expression = condition.expression.as_deref()?;
        let to = expression.strip_prefix(&cast)?;
        let written = condition.operator.as_deref()?;
        // Any of several values is told from one by the word behind the sign.
        let (written, any) = written.strip_suffix(" ANY").map_or((written, false), |w| (w, true));
        let first = condition.text.starts_with(&format!("({expression} "));
        Some(Compared {
            to,
            text: &condition.text,
            expression,
            sign: sign(written, first).filter(|sign| !any || *sign == "=")?,
            any,
            executions: e.counts.get(Slot::Executions),
            samples: e.statement_samples,
        })
        .filter(|_| condition.stage == Stage::Filter.name())
    });
    for one in all {
        if !found.iter().any(|known| known.text == one.text) {
            found.push(one);
        }
    }
    found
}

/// The sign with the column first.
fn sign(written: &str, column_first: bool) -> Option<&'static str> {
    let all = [("<", ">"), ("<=", ">="), ("=", "="), (">=", "<="), (">", "<")];
    let (sign, turned) = all.into_iter().find(|(sign, _)| *sign == written)?;
    Some(if column_first { sign } else { turned })
}

fn form(
    table: u32,
    column: &Column,
    compared: &Compared<'_>,
    of_type: &str,
    values: Option<&Values>,
) -> Form {
    let Compared { to, sign, .. } = *compared;
    let bound = may_round(of_type, to).then_some(sign).and_then(bound);
    let is_exact = is_exact(of_type, to);
    let (own, to) = (of_type.to_owned(), to.to_owned());
    let kind = match bound {
        Some(_) if is_exact => FormKind::Rounded { column: own, to: to.clone() },
        _ => FormKind::Converted { column: own, to: to.clone(), joined: false },
    };
    let (name, written) = (&column.name, compared.expression);
    let (expression, better) = match values {
        Some(Values::One(n)) => {
            let value = match bound {
                Some(round) => format!("{round}((${n})::{to})::{of_type}"),
                None => format!("(${n})::{of_type}"),
            };
            (format!("{written} {sign} ${n}"), Some(format!("{name} {sign} {value}")))
        }
        Some(Values::Array(n)) => {
            (format!("{written} = ANY (${n})"), Some(format!("{name} = ANY ((${n})::{of_type}[])")))
        }
        Some(Values::List(all)) if !all.is_empty() => {
            let bare: Vec<String> = all.iter().map(|n| format!("${n}")).collect();
            let cast: Vec<String> = all.iter().map(|n| format!("(${n})::{of_type}")).collect();
            (
                format!("{written} IN ({})", bare.join(", ")),
                Some(format!("{name} IN ({})", cast.join(", "))),
            )
        }
        _ => (compared.text.to_owned(), None),
    };
    Form {
        kind,
        tables: vec![table],
        attnum: column.attnum,
        expression,
        better,
        guessed: false,
        indexable: None,
        inside: false,
    }
}

/// Whether every value of a type of whole numbers is one of another type that holds fractions, too.
fn is_exact(column: &str, to: &str) -> bool {
    match to {
        "numeric" => WHOLE.contains(&column),
        "double precision" => matches!(column, "smallint" | "integer"),
        _ => false,
    }
}

/// What makes a whole number of one with a fraction, so that whole numbers compare with it as they do with
/// that. No whole number equals a fraction, which no rounding says.
fn bound(sign: &str) -> Option<&'static str> {
    match sign {
        "<" | ">=" => Some("ceil"),
        "<=" | ">" => Some("floor"),
        _ => None,
    }
}

/// Whether several whole numbers of a type may be one number in floating point.
pub(super) fn is_coarse(column: &str, to: &str) -> bool {
    matches!((column, to), ("bigint", "double precision" | "real") | ("integer", "real"))
}

/// Whether a fraction may be compared with whole numbers.
pub(super) fn may_round(column: &str, to: &str) -> bool {
    WHOLE.contains(&column) && matches!(to, "numeric" | "double precision" | "real")
}
