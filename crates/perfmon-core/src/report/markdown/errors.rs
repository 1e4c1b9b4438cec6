//! What failed, as a list of kinds.

use super::super::facts::{ErrorKind, Errors, Missing};
use super::super::grid::Side::{Left, Right};
use super::super::grid::grid;
use super::super::text::{plain, wrapped};
use super::super::words::{count, milliseconds, some_percent};
use super::absent;

/// How many kinds are shown.
const KINDS: usize = 10;

/// The section; nothing where nothing is known of failures, nor why.
pub(in crate::report) fn errors(
    out: &mut String,
    errors: Option<&Errors>,
    unheard: Option<&Missing>,
) {
    if errors.is_none() && unheard.is_none() {
        return;
    }
    out.push_str("## Errors\n\n");
    if let Some(missing) = unheard {
        absent(out, "", missing);
    }
    let Some(errors) = errors else { return };
    let mut said = match errors.error_ratio {
        Some(ratio) => {
            let tried = errors
                .executions
                .map_or(0, |n| n.saturating_add(errors.errors).saturating_add(errors.cancelled));
            format!(
                "{} of {} statements failed ({})",
                count(Some(errors.errors)),
                count(Some(tried)),
                some_percent(ratio)
            )
        }
        None if !errors.are_all() => format!(
            "{} statements failed at least: errors of some roles, or of a part of the time, are not known",
            count(Some(errors.errors))
        ),
        None => format!("{} statements failed", count(Some(errors.errors))),
    };
    if errors.cancelled > 0 {
        said.push_str(&format!("; {} were cancelled on request", count(Some(errors.cancelled))));
    }
    said.push('.');
    wrapped(out, "", &said);
    out.push('\n');
    if errors.kinds.is_empty() {
        return;
    }
    let row = |kind: &ErrorKind| {
        let of = kind.statement_id.map(|id| format!("statement {id}"));
        // Classes but the general one say more than the condition.
        let name = match kind.class.as_str() {
            "error" => kind.condition.as_deref(),
            class => Some(class),
        };
        [
            count(Some(kind.errors)),
            milliseconds(Some(kind.lost_ms)),
            kind.sqlstate.as_deref().map_or_else(String::new, plain),
            name.map_or_else(String::new, plain),
            kind.user_name.as_deref().map_or_else(String::new, plain),
            of.or_else(|| kind.table.as_deref().map(plain)).unwrap_or_default(),
        ]
    };
    let heads = [
        ("times", Right),
        ("time lost", Right),
        ("SQLSTATE", Left),
        ("error", Left),
        ("user", Left),
        ("of", Left),
    ];
    grid(out, heads, &errors.kinds.iter().take(KINDS).map(row).collect::<Vec<_>>());
    if errors.kinds.len() > KINDS {
        let rest = errors.kinds.len() - KINDS;
        wrapped(out, "", &format!("And {rest} more: `SELECT * FROM perfmon.errors(...)`."));
        out.push('\n');
    }
}
