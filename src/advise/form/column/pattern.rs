//! LIKE and ILIKE: which of them an index on the column itself can be searched for, and which only as text.

use std::ffi::CStr;

use perfmon_core::facts::{Form, FormKind, Patterned};
use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag, Oid};

use super::{Finder, is_column};
use crate::advise::scope::plain;

/// LIKE of text, char(n) and names, fixed in the catalogs; then ILIKE of them.
const LIKE: [u32; 3] =
    [pg_sys::OID_TEXT_LIKE_OP, pg_sys::OID_BPCHAR_LIKE_OP, pg_sys::OID_NAME_LIKE_OP];
const ILIKE: [u32; 3] =
    [pg_sys::OID_TEXT_ICLIKE_OP, pg_sys::OID_BPCHAR_ICLIKE_OP, pg_sys::OID_NAME_ICLIKE_OP];
/// The language of functions that are inside of the server, fixed in the catalogs.
const INTERNAL: u32 = 12;

impl Finder<'_> {
    /// LIKE with a pattern that begins with a wildcard, or may begin with one: what executions compare with is not in
    /// the text. Of a type that has its own LIKE, with any pattern.
    pub(in crate::advise::form) unsafe fn pattern(
        &mut self,
        scope: usize,
        side: *mut Node,
        operator: Oid,
        pattern: *mut Node,
    ) {
        // SAFETY: nodes of that query, cast by their own tags.
        unsafe {
            use FormKind::{Unstable, Wildcard};
            if !is_pattern(operator) {
                return;
            }
            let known = (*plain(pattern)).type_ == NodeTag::T_Const;
            if !known && self.has_columns(scope, pattern) {
                return;
            }
            let caseless = is_caseless(operator);
            let mut mask = self.mask();
            let Some(subject) = self.subject(scope, side, &mut mask) else { return };
            if known
                && !caseless
                && !subject.unstable
                && !begins_with_wildcard(plain(pattern).cast())
            {
                return;
            }
            let Some(text) = self.deparsed(subject.node, Some(&subject.named), false) else {
                return;
            };
            let Some(value) = self.deparsed(mask.copy(plain(pattern)), None, false) else { return };
            let ignores_case = ILIKE.contains(&operator.to_u32());
            let sign = if ignores_case { "ILIKE" } else { "LIKE" };
            let attnum =
                if is_column(subject.node) || subject.unstable { subject.attnum } else { 0 };
            let of = match pg_sys::exprType(subject.node) {
                _ if caseless => Patterned::Caseless,
                pg_sys::BPCHAROID => Patterned::Padded,
                pg_sys::NAMEOID => Patterned::Name,
                _ => Patterned::Text,
            };
            // Trigrams are of text: of another type a cast makes it, which the statement then must have too.
            let as_text = of != Patterned::Text;
            let better = as_text.then(|| {
                let sign = if caseless { "ILIKE" } else { sign };
                format!("({text})::text {sign} {value}")
            });
            let indexable = match as_text {
                true => subject.indexable.map(|column| format!("({column})::text")),
                false => subject.indexable,
            };
            self.keep(Form {
                // The text of a date changes with settings: trigrams cannot be of it either.
                kind: if subject.unstable { Unstable } else { Wildcard { known, of } },
                tables: vec![subject.table.to_u32()],
                attnum,
                expression: format!("{text} {sign} {value}"),
                better,
                indexable,
                inside: subject.inside,
                guessed: false,
            });
        }
    }
}

/// # Safety
/// A constant of a live query.
unsafe fn begins_with_wildcard(constant: *mut pg_sys::Const) -> bool {
    // SAFETY: by the caller's word; a constant of type text that is not null is one.
    unsafe {
        if (*constant).constisnull || (*constant).consttype != pg_sys::TEXTOID {
            return false;
        }
        let text = pg_sys::text_to_cstring((*constant).constvalue.cast_mut_ptr());
        matches!(CStr::from_ptr(text).to_bytes().first(), Some(b'%' | b'_'))
    }
}

/// Whether an operator is LIKE or ILIKE.
pub(in crate::advise::form) fn is_pattern(operator: Oid) -> bool {
    let number = operator.to_u32();
    LIKE.contains(&number) || ILIKE.contains(&number) || is_caseless(operator)
}

/// Whether it is the LIKE of a type that is compared without regard to case (citext), which is made of the server's
/// ILIKE of text: the planner knows no index for that function under another name.
fn is_caseless(operator: Oid) -> bool {
    if operator.to_u32() < pg_sys::FirstNormalObjectId {
        return false;
    }
    // SAFETY: look-ups in the catalog; the row is read before it is released, and a function's source is a text.
    unsafe {
        let function = pg_sys::get_opcode(operator);
        let cache = pg_sys::SysCacheIdentifier::PROCOID as i32;
        let row = pg_sys::SearchSysCache1(cache, pg_sys::Datum::from(function));
        if row.is_null() {
            return false;
        }
        let attribute = |number: u32| {
            let mut is_null = false;
            let value = pg_sys::SysCacheGetAttr(cache, row, number as i16, &mut is_null);
            (!is_null).then_some(value)
        };
        let internal = attribute(pg_sys::Anum_pg_proc_prolang)
            .is_some_and(|language| language.value() as u32 == INTERNAL);
        let source = attribute(pg_sys::Anum_pg_proc_prosrc).filter(|_| internal);
        let is_ilike = source.is_some_and(|source| {
            let source = pg_sys::text_to_cstring(source.cast_mut_ptr());
            CStr::from_ptr(source) == c"texticlike"
        });
        pg_sys::ReleaseSysCache(row);
        is_ilike
    }
}
