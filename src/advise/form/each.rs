//! A column that is compared with each value of a list.

use perfmon_core::facts::FormKind;
use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag};

use super::column::{Sides, Subject};
use super::{Finder, mask};
use crate::pg::list;

impl Finder<'_> {
    /// The forms for each value of a list.
    pub(super) unsafe fn form_of_each(
        &self,
        subject: &Subject,
        sides: &Sides,
        list: &[*mut Node],
    ) -> Option<(FormKind, String)> {
        let mut found = None;
        let mut all = Vec::new();
        for &value in list {
            // SAFETY: a node of a copy.
            let (of_type, cast_to, text) = unsafe {
                (pg_sys::exprType(value), mask::cast_to(value), self.deparsed(value, None, false)?)
            };
            let Sides { column, sign, certain, .. } = sides;
            let (column, sign, certain) = (column.clone(), *sign, *certain);
            let one = Sides { column, sign, value: text, any: false, certain, of_type, cast_to };
            // SAFETY: as above.
            let (kind, better) = unsafe { self.form(subject, &one)? };
            all.push(format!("({better})"));
            found = Some(kind);
        }
        found.map(|kind| (kind, format!("({})", all.join(" OR "))))
    }
}

/// The values of a list, if they are few.
pub(super) unsafe fn values_of(array: *mut Node) -> Vec<*mut Node> {
    const FEW: usize = 8;
    // SAFETY: a copy, cast by its own tag.
    unsafe {
        if (*array).type_ != NodeTag::T_ArrayExpr {
            return Vec::new();
        }
        let values = list::nodes((*array.cast::<pg_sys::ArrayExpr>()).elements);
        if values.len() > FEW { Vec::new() } else { values }
    }
}
