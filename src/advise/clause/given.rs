//! Columns that are compared, as they are, with parameters.

use perfmon_core::facts::{Given, Values};
use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag, Oid};

use super::{Judge, Operand, plain};
use crate::pg::{describe, list};

/// More of one table are not kept.
const MOST: usize = 64;
/// Nor more parameters of one list.
const LONGEST: usize = 32;
/// The comparisons of a btree, by strategy.
const SIGNS: [&str; 5] = ["<", "<=", "=", ">=", ">"];

impl Judge<'_> {
    /// Notes one that is compared with a parameter, if that is what it is compared with.
    pub(super) unsafe fn given(&mut self, operand: &Operand, operator: Oid, other: *mut Node) {
        // SAFETY: a node of a live query.
        if let Some(number) = unsafe { parameter(other) } {
            self.note_given(operand, operator, Values::One(number));
        }
    }

    /// The same of any of an array or a list.
    pub(super) unsafe fn given_any(&mut self, operand: &Operand, operator: Oid, others: *mut Node) {
        // SAFETY: a node of a live query, cast by its own tag.
        let values = unsafe {
            let others = plain(others);
            if let Some(number) = parameter(others) {
                Some(Values::Array(number))
            } else if !others.is_null() && (*others).type_ == NodeTag::T_ArrayExpr {
                let array = others.cast::<pg_sys::ArrayExpr>();
                let all = list::nodes((*array).elements).into_iter().map(|one| parameter(one));
                let numbers: Option<Vec<u32>> = all.collect();
                let numbers = numbers.filter(|_| !(*array).multidims);
                numbers.map(|all| Values::List(if all.len() > LONGEST { Vec::new() } else { all }))
            } else {
                None
            }
        };
        if let Some(values) = values {
            self.note_given(operand, operator, values);
        }
    }

    fn note_given(&mut self, operand: &Operand, operator: Oid, values: Values) {
        if operand.attnum <= 0 || operand.is_useless || operator == Oid::INVALID {
            return;
        }
        let Some(sign) = self.families.strategy(operator, operand.of_type) else { return };
        let given = Given {
            attnum: operand.attnum,
            of_type: describe::type_name(operand.of_type, -1),
            sign: SIGNS[sign],
            values,
        };
        let all = &mut self.scopes.uses[operand.place].given;
        if all.len() < MOST && !all.contains(&given) {
            all.push(given);
        }
    }
}

/// The number of a parameter, if a value is that and nothing else.
unsafe fn parameter(value: *mut Node) -> Option<u32> {
    // SAFETY: a node of a live query, cast by its own tag.
    unsafe {
        let value = plain(value);
        if value.is_null() || (*value).type_ != NodeTag::T_Param {
            return None;
        }
        let parameter = value.cast::<pg_sys::Param>();
        if (*parameter).paramkind != pg_sys::ParamKind::PARAM_EXTERN {
            return None;
        }
        u32::try_from((*parameter).paramid).ok()
    }
}
