//! Arithmetic on a column, taken to the other side of a comparison.

use std::ffi::CStr;

use perfmon_core::facts::{FormKind, Moved};
use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::Finder;
use super::column::{EQUAL, SIGNS, Sides, is_column};
use super::typed::{is_bare, typed};
use crate::pg::list;

const WHOLE: [Oid; 3] = [pg_sys::INT2OID, pg_sys::INT4OID, pg_sys::INT8OID];
const FLOATING: [Oid; 2] = [pg_sys::FLOAT4OID, pg_sys::FLOAT8OID];

/// What a column, what is done with it and what the result is compared with are.
#[derive(Clone, Copy)]
struct Types {
    column: Oid,
    amount: Oid,
    value: Oid,
}

fn is_whole(one: Oid) -> bool {
    WHOLE.contains(&one)
}

fn is_exact(one: Oid) -> bool {
    is_whole(one) || one == pg_sys::NUMERICOID
}

fn is_number(one: Oid) -> bool {
    is_exact(one) || FLOATING.contains(&one)
}

impl Types {
    fn all(self, are: fn(Oid) -> bool) -> bool {
        are(self.column) && are(self.amount) && are(self.value)
    }

    /// What becomes of a sum or a difference.
    fn moved(self) -> Option<Moved> {
        use pg_sys::{DATEOID as DATE, INT4OID as DAYS, INTERVALOID as SPAN};
        use pg_sys::{TIMESTAMPOID as TIME, TIMESTAMPTZOID as ZONED};
        match (self.column, self.amount, self.value) {
            _ if self.all(is_exact) => Some(Moved::Exact),
            _ if self.all(is_number) => Some(Moved::Rounded),
            // A date that many days later, and the days between two dates.
            (DATE, DAYS, DATE) | (DAYS, DATE, DATE) | (DATE, DATE, DAYS) => Some(Moved::Exact),
            (TIME | ZONED | DATE, SPAN, TIME | ZONED | DATE) => Some(Moved::Span),
            (TIME, TIME, SPAN) | (ZONED, ZONED, SPAN) => Some(Moved::Span),
            _ => None,
        }
    }
}

impl Types {
    /// The value and what is done with the column, with the types that they need to be run: nothing tells the type of
    /// two parameters beside each other, nor that of one from which a span of time is taken. `None` where the analyser
    /// could only guess at types: what is taken off a date are days, or another date.
    fn with(self, sides: &Sides, amount: &str) -> Option<(String, String)> {
        let (value, both) = (&sides.value, is_bare(&sides.value) && is_bare(amount));
        if self.all(is_number) {
            let amount = if both { typed(amount, self.amount) } else { amount.to_owned() };
            return Some((value.clone(), amount));
        }
        let moments = [pg_sys::TIMESTAMPOID, pg_sys::TIMESTAMPTZOID];
        let added = self.amount == pg_sys::INTERVALOID && moments.contains(&self.column);
        let known = !both || sides.certain || (added && moments.contains(&self.value));
        known.then(|| (typed(value, sides.of_type), typed(amount, self.amount)))
    }
}

impl Finder<'_> {
    /// `column + value`, `column - value`, `value - column` and `column * value`.
    pub(super) unsafe fn shifted(
        &self,
        operation: *mut pg_sys::OpExpr,
        sides: &Sides,
    ) -> Option<(FormKind, String)> {
        // SAFETY: a copy, cast by its own tags; the name of an operator is NUL-terminated.
        unsafe {
            let [left, right] = list::nodes((*operation).args)[..] else { return None };
            let (column, amount, is_first) = match (is_column(left), is_column(right)) {
                (true, false) => (left, right, true),
                (false, true) => (right, left, false),
                _ => return None,
            };
            // Of what others call so, nobody knows what it does.
            let own = (*operation).opno.to_u32() < pg_sys::FirstNormalObjectId;
            if !own
                || pg_sys::contain_var_clause(amount)
                || pg_sys::contain_volatile_functions(amount)
            {
                return None;
            }
            let types = Types {
                column: pg_sys::exprType(column),
                amount: pg_sys::exprType(amount),
                value: sides.of_type,
            };
            let name = pg_sys::get_opname((*operation).opno);
            if name.is_null() {
                return None;
            }
            let amount = self.deparsed(amount, None, false)?;
            let (value, amount) = types.with(sides, &amount)?;
            let (Sides { column, sign, .. }, value) = (sides, &value);
            let (moved, better) = match (CStr::from_ptr(name).to_bytes(), is_first) {
                (b"+", _) => {
                    (types.moved()?, format!("{column} {} {value} - {amount}", SIGNS[*sign]))
                }
                (b"-", true) => {
                    (types.moved()?, format!("{column} {} {value} + {amount}", SIGNS[*sign]))
                }
                // The smaller it is, the more is left.
                (b"-", false) => {
                    let turned = SIGNS[SIGNS.len() - 1 - *sign];
                    (types.moved()?, format!("{column} {turned} {amount} - {value}"))
                }
                (b"*", _) if types.all(is_number) => {
                    (Moved::Divided, divided(types, sides, value, &amount))
                }
                _ => return None,
            };
            Some((FormKind::Shifted { moved }, better))
        }
    }
}

/// The quotient that stands for a product with a factor above zero. A column of whole numbers is compared with the
/// whole number beside it, since a quotient of whole numbers is cut, and one with decimals is none of the column's type.
fn divided(types: Types, sides: &Sides, value: &str, factor: &str) -> String {
    let Sides { column, sign, .. } = sides;
    if !is_whole(types.column) {
        return format!("{column} {} {value} / {factor}", SIGNS[*sign]);
    }
    let edge = match *sign {
        EQUAL => return format!("{column} = {value} / {factor} AND {value} % {factor} = 0"),
        0 | 3 => "ceil",
        _ => "floor",
    };
    format!("{column} {} {edge}(({value})::numeric / {factor})::bigint", SIGNS[*sign])
}
