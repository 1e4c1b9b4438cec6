//! What could be written in a better way, statement by statement.

use super::super::better::Rewrite;
use super::super::facts::text_or;
use super::super::text::{bare, plain, quoted, sql_block, width, wrapped};
use super::super::words::{milliseconds, percent, plural, sentence};

/// How many are shown; more are a call away.
const SHOWN: usize = 8;
/// The widest better form that stands on a line.
const LINE: usize = 84;

pub(super) fn rewrites(out: &mut String, all: Option<&[Rewrite]>) {
    let Some(all) = all.filter(|all| !all.is_empty()) else { return };
    out.push_str("## Better forms of statements\n\n");
    let mut ids: Vec<i64> = all.iter().map(|one| one.statement_id).collect();
    ids.dedup();
    let could = format!(
        "{} could be written in a better way. A form that means the same gives the same rows whatever is stored; the \
         others are to be checked first.",
        plural(ids.len(), "statement", "statements")
    );
    wrapped(out, "", &could);
    out.push('\n');
    let mut last = None;
    for one in all.iter().take(SHOWN) {
        if last != Some(one.statement_id) {
            head(out, one);
            last = Some(one.statement_id);
        }
        form(out, one, same_as(one, all));
    }
    let more = match all.len().saturating_sub(SHOWN) {
        0 => "More on them".to_owned(),
        n => format!("{n} more, and all on these"),
    };
    wrapped(out, "", &format!("{more}: `SELECT * FROM perfmon.rewrite_hints(...)`."));
    out.push('\n');
}

fn head(out: &mut String, one: &Rewrite) {
    let share = percent(one.share_ratio);
    let mean = milliseconds(one.mean_exec_ms);
    let id = one.statement_id;
    out.push_str(&format!("### Statement {id}: {share} of the time, {mean} a call\n\n"));
    let text = text_or(one.query.as_deref(), str::to_owned);
    if one.query.is_some() && !text.is_empty() {
        quoted(out, "", &text);
        out.push('\n');
    }
}

/// The first statement of which the same was said, if that is another one: it is not said again.
fn same_as(one: &Rewrite, all: &[Rewrite]) -> Option<i64> {
    let says = |other: &&Rewrite| {
        (&other.kind, &other.remedy, &other.reason) == (&one.kind, &one.remedy, &one.reason)
            && other.better_form.is_none()
    };
    let first = all.iter().find(says).filter(|_| one.better_form.is_none())?;
    (first.statement_id != one.statement_id).then_some(first.statement_id)
}

fn form(out: &mut String, one: &Rewrite, said_of: Option<i64>) {
    let own = format!("Statement {} ", one.statement_id);
    let title = one.title.strip_prefix(&own).unwrap_or(&one.title);
    wrapped(out, "- It ", &sentence(&plain(title)));
    if let Some(expression) = &one.expression {
        quoted(out, "- Written: ", expression);
    }
    let better = one.better_form.as_deref();
    match better {
        Some(better) if width(&bare(better)) <= LINE && !better.contains('`') => {
            quoted(out, "- Better: ", better);
        }
        Some(_) => wrapped(out, "- Better: ", "see below"),
        None if said_of.is_some() => {}
        None => wrapped(out, "- Better: ", &sentence(&plain(&one.remedy))),
    }
    let meaning = if one.same_meaning { "the same" } else { "to be checked" };
    let reason = sentence(&plain(&one.reason));
    match said_of {
        Some(id) => {
            wrapped(out, "- Better: ", &format!("as of statement {id}; meaning: {meaning}."))
        }
        None => wrapped(out, "- Meaning: ", &format!("{meaning}. {reason}")),
    }
    wrapped(out, "- Effect: ", &sentence(&plain(&one.effect)));
    out.push('\n');
    if let Some(better) = better.filter(|b| width(&bare(b)) > LINE || b.contains('`')) {
        sql_block(out, better);
    }
}
