//! A column that is cast to a wider type where it is compared.

use perfmon_core::facts::FormKind;
use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::Finder;
use super::column::{EQUAL, SIGNS, Sides, Subject, is_column};
use super::typed::typed;
use crate::pg::{describe, list};

/// Casts that keep every value and its place among the others. A time that is out of the wider type's range is an error as it
/// is written, and none in the form.
const KEEP: [u32; 7] = [
    pg_sys::F_INT4_INT2,
    pg_sys::F_INT8_INT2,
    pg_sys::F_INT8_INT4,
    pg_sys::F_FLOAT8_FLOAT4,
    pg_sys::F_TIMESTAMP_DATE,
    pg_sys::F_TIMESTAMPTZ_DATE,
    pg_sys::F_TIMESTAMPTZ_TIMESTAMP,
];
/// Those of whole numbers to a type that no index on whole numbers is searched with.
const WITH_FRACTIONS: [u32; 3] =
    [pg_sys::F_NUMERIC_INT2, pg_sys::F_NUMERIC_INT4, pg_sys::F_NUMERIC_INT8];

impl Finder<'_> {
    /// `column::bigint`, `column::numeric` and the like.
    pub(super) unsafe fn widened(
        &self,
        call: *mut pg_sys::FuncExpr,
        subject: &Subject,
        sides: &Sides,
    ) -> Option<(FormKind, String)> {
        // SAFETY: a copy, cast by its own tags.
        let (function, of_column) = unsafe {
            let one = list::nodes((*call).args);
            ((*call).funcid.to_u32(), matches!(one[..], [column] if is_column(column)))
        };
        let column_type = subject.column_type();
        let Sides { column, sign, value, of_type, .. } = sides;
        if !of_column {
            return None;
        }
        if WITH_FRACTIONS.contains(&function) {
            let exact = *of_type == pg_sys::NUMERICOID && !sides.any;
            let kind = FormKind::Rounded {
                column: describe::type_name(column_type, -1),
                to: "numeric".to_owned(),
            };
            return exact.then(|| (kind, rounded(sides)));
        }
        let element = match sides.any {
            // SAFETY: a catalog look-up.
            true => unsafe { pg_sys::get_element_type(*of_type) },
            false => *of_type,
        };
        let compared =
            element != Oid::INVALID && self.families.compares(column_type, element, *sign);
        if !KEEP.contains(&function) || !compared {
            return None;
        }
        let value = typed(value, *of_type);
        let better = match sides.any {
            true => format!("{column} = ANY ({value})"),
            false => format!("{column} {} {value}", SIGNS[*sign]),
        };
        Some((FormKind::Widened, better))
    }
}

/// A column of whole numbers beside a number that may have a fraction, which equals none of them.
fn rounded(sides: &Sides) -> String {
    let Sides { column, sign, .. } = sides;
    let value = sides.value_as(pg_sys::NUMERICOID, "numeric");
    match *sign {
        EQUAL => format!("({column} = ({value})::bigint AND ({value})::bigint = {value})"),
        0 | 3 => format!("{column} {} ceil({value})::bigint", SIGNS[*sign]),
        _ => format!("{column} {} floor({value})::bigint", SIGNS[*sign]),
    }
}
