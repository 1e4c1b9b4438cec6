//! What stands around a column, turned into a range of the column's own values.

use std::ffi::CStr;

use perfmon_core::facts::FormKind;
use pgrx::pg_sys;
use pgrx::pg_sys::{NodeTag, Oid};

use super::Finder;
use super::column::{SIGNS, Sides, is_column};
use crate::pg::{fmgr, list};

impl Finder<'_> {
    /// `column::date` and `date_trunc(unit, column)`.
    pub(super) unsafe fn called(
        &self,
        call: *mut pg_sys::FuncExpr,
        sides: &Sides,
    ) -> Option<(FormKind, String)> {
        let Sides { column: c, sign, value: x } = sides;
        // SAFETY: a copy, cast by its own tags.
        unsafe {
            let arguments = list::nodes((*call).args);
            match ((*call).funcid.to_u32(), &arguments[..]) {
                (id @ (pg_sys::F_DATE_TIMESTAMP | pg_sys::F_DATE_TIMESTAMPTZ), &[column])
                    if is_column(column) =>
                {
                    let zoned = id == pg_sys::F_DATE_TIMESTAMPTZ;
                    let x = format!("({x})::date");
                    let better = match sign {
                        0 => format!("{c} < {x}"),
                        1 => format!("{c} < {x} + 1"),
                        2 => format!("{c} >= {x} AND {c} < {x} + 1"),
                        3 => format!("{c} >= {x}"),
                        _ => format!("{c} >= {x} + 1"),
                    };
                    Some((FormKind::Dated { zoned }, better))
                }
                (
                    id @ (pg_sys::F_DATE_TRUNC_TEXT_TIMESTAMP
                    | pg_sys::F_DATE_TRUNC_TEXT_TIMESTAMPTZ),
                    &[unit, column],
                ) if is_column(column) => {
                    let zoned = id == pg_sys::F_DATE_TRUNC_TEXT_TIMESTAMPTZ;
                    let of_type = if zoned { "timestamp with time zone" } else { "timestamp" };
                    let (unit, width, unit_known) = self.unit(unit)?;
                    let x = format!("({x})::{of_type}");
                    // The first beginning of a unit that is not before x, and the end of the unit in
                    // which x lies.
                    let begin =
                        format!("date_trunc({unit}, {x} + {width} - interval '1 microsecond')");
                    let end = format!("date_trunc({unit}, {x}) + {width}");
                    let better = match sign {
                        0 => format!("{c} < {begin}"),
                        1 => format!("{c} < {end}"),
                        2 => format!(
                            "{c} >= {x} AND {c} < {x} + {width} AND {x} = date_trunc({unit}, {x})"
                        ),
                        3 => format!("{c} >= {begin}"),
                        _ => format!("{c} >= {end}"),
                    };
                    Some((FormKind::Truncated { unit_known, zoned }, better))
                }
                _ => None,
            }
        }
    }

    /// A unit of time, how long it is, and whether it is in the text.
    unsafe fn unit(&self, node: *mut pg_sys::Node) -> Option<(String, String, bool)> {
        const UNITS: [(&str, &str); 8] = [
            ("second", "1 second"),
            ("minute", "1 minute"),
            ("hour", "1 hour"),
            ("day", "1 day"),
            ("week", "7 days"),
            ("month", "1 month"),
            ("quarter", "3 months"),
            ("year", "1 year"),
        ];
        // SAFETY: cast by the node's own tag; a constant of type text that is not null is one.
        unsafe {
            match (*node).type_ {
                NodeTag::T_Const => {
                    let constant = node.cast::<pg_sys::Const>();
                    if (*constant).constisnull || (*constant).consttype != pg_sys::TEXTOID {
                        return None;
                    }
                    let text = pg_sys::text_to_cstring((*constant).constvalue.cast_mut_ptr());
                    let text = fmgr::utf8(CStr::from_ptr(text).to_bytes()).to_ascii_lowercase();
                    let (unit, width) = UNITS.iter().find(|(unit, _)| *unit == text)?;
                    Some((format!("'{unit}'"), format!("interval '{width}'"), true))
                }
                NodeTag::T_Param => {
                    let unit = self.deparsed(node, None, false)?;
                    Some((unit.clone(), format!("('1 ' || {unit})::interval"), false))
                }
                _ => None,
            }
        }
    }

    /// `column + value` and `column - value`, which can be taken to the other side.
    pub(super) unsafe fn shifted(
        &self,
        operation: *mut pg_sys::OpExpr,
        sides: &Sides,
    ) -> Option<(FormKind, String)> {
        const EXACT: [Oid; 4] =
            [pg_sys::INT2OID, pg_sys::INT4OID, pg_sys::INT8OID, pg_sys::NUMERICOID];
        const TIMES: [Oid; 3] = [pg_sys::TIMESTAMPOID, pg_sys::TIMESTAMPTZOID, pg_sys::DATEOID];
        // SAFETY: a copy, cast by its own tags.
        unsafe {
            let [left, right] = list::nodes((*operation).args)[..] else { return None };
            let name = pg_sys::get_opname((*operation).opno);
            if name.is_null() {
                return None;
            }
            let (column, amount, opposite) = match CStr::from_ptr(name).to_bytes() {
                b"+" if is_column(left) => (left, right, "-"),
                b"+" if is_column(right) => (right, left, "-"),
                b"-" if is_column(left) => (left, right, "+"),
                _ => return None,
            };
            if pg_sys::contain_var_clause(amount) || pg_sys::contain_volatile_functions(amount) {
                return None;
            }
            let types = [column, amount].map(|node| pg_sys::exprType(node));
            let exact = types.iter().all(|one| EXACT.contains(one));
            let of_time = TIMES.contains(&types[0]) && types[1] == pg_sys::INTERVALOID;
            if !exact && !of_time {
                return None;
            }
            let amount = self.deparsed(amount, None, false)?;
            let Sides { column, sign, value } = sides;
            let better = format!("{column} {} {value} {opposite} {amount}", SIGNS[*sign]);
            Some((FormKind::Shifted { exact }, better))
        }
    }
}
