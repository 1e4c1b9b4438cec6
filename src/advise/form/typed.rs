//! Types that a form gives to values.

use perfmon_core::facts::FormKind;
use pgrx::pg_sys;
use pgrx::pg_sys::{Node, Oid};

use super::column::{EQUAL, Sides, is_column};
use crate::pg::describe;

/// A column that is written as text, and so compared.
pub(super) unsafe fn spelled(
    from: *mut Node,
    to: Oid,
    column_type: Oid,
    sides: &Sides,
) -> Option<(FormKind, String)> {
    const EXACT: [Oid; 5] =
        [pg_sys::INT2OID, pg_sys::INT4OID, pg_sys::INT8OID, pg_sys::UUIDOID, pg_sys::BOOLOID];
    const AS_TEXT: [Oid; 2] = [pg_sys::TEXTOID, pg_sys::VARCHAROID];
    const AS_TEXTS: [Oid; 2] = [pg_sys::TEXTARRAYOID, pg_sys::VARCHARARRAYOID];
    // SAFETY: a copy.
    let column = unsafe { is_column(from) };
    let texts: &[Oid] = if sides.any { &AS_TEXTS } else { &AS_TEXT };
    // SAFETY: a catalog look-up.
    let exact = EXACT.contains(&column_type) || unsafe { pg_sys::type_is_enum(column_type) };
    if !column
        || !exact
        || !AS_TEXT.contains(&to)
        || sides.sign != EQUAL
        || !texts.contains(&sides.of_type)
    {
        return None;
    }
    let to = describe::type_name(column_type, -1);
    let Sides { column, value, .. } = sides;
    let better = match sides.any {
        true => format!("{column} = ANY (({value})::{to}[])"),
        false => format!("{column} = ({value})::{to}"),
    };
    Some((FormKind::Spelled, better))
}

/// Whether a text is a parameter and nothing else, which takes any type that fits.
pub(super) fn is_bare(text: &str) -> bool {
    text.strip_prefix('$').is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

/// A parameter with the type that it has here; anything else has one by itself.
pub(super) fn typed(text: &str, of_type: Oid) -> String {
    match is_bare(text) {
        true => format!("({text})::{}", describe::type_name(of_type, -1)),
        false => text.to_owned(),
    }
}
