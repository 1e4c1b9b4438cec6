//! Columns that are compared, as they are, with parameters.

use perfmon_core::facts::Given;
use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag, Oid};

use super::{Judge, Operand, plain};
use crate::pg::describe;

/// More of one table are not kept.
const MOST: usize = 64;
/// The comparisons of a btree, by strategy.
const SIGNS: [&str; 5] = ["<", "<=", "=", ">=", ">"];

impl Judge<'_> {
    /// Notes one, if that is what is compared.
    pub(super) unsafe fn given(&mut self, operand: &Operand, operator: Oid, other: *mut Node) {
        if operand.attnum <= 0 || operand.is_useless || operator == Oid::INVALID {
            return;
        }
        // SAFETY: a node of a live query, cast by its own tag.
        let parameter = unsafe {
            let other = plain(other);
            if other.is_null() || (*other).type_ != NodeTag::T_Param {
                return;
            }
            let parameter = other.cast::<pg_sys::Param>();
            if (*parameter).paramkind != pg_sys::ParamKind::PARAM_EXTERN {
                return;
            }
            u32::try_from((*parameter).paramid).unwrap_or(0)
        };
        let Some(sign) = self.families.strategy(operator, operand.of_type) else { return };
        let given = Given {
            attnum: operand.attnum,
            of_type: describe::type_name(operand.of_type, -1),
            sign: SIGNS[sign],
            parameter,
        };
        let all = &mut self.scopes.uses[operand.place].given;
        if all.len() < MOST && !all.contains(&given) {
            all.push(given);
        }
    }
}
