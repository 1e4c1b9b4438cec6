//! What kind of comparison an operator is, in the eyes of the indexes that could serve it: by the families
//! of the default operator classes, never by the operator's name.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;

use perfmon_core::facts::Test;
use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag, Oid};

/// Operators on text, fixed in the catalogs: LIKE, ILIKE, `~`, `~*`, `^@`.
const LIKE: u32 = 1209;
const ILIKE: u32 = 1627;
const MATCHES: u32 = 641;
const MATCHES_ANY_CASE: u32 = 1228;
const BEGINS: u32 = 3877;
/// `<<` and `<<=` of networks, of which the planner makes a range.
const WITHIN: [u32; 2] = [931, 932];

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) test: Test,
    /// Of a range: which end it bounds.
    pub(super) below: bool,
    pub(super) above: bool,
}

impl From<Test> for Comparison {
    fn from(test: Test) -> Self {
        Self { test, below: false, above: false }
    }
}

/// Operator families that were looked up, by type and index method; for one batch of statements.
#[derive(Default)]
pub(super) struct Families(RefCell<HashMap<(u32, u32), Option<Oid>>>);

impl Families {
    /// What comparing a value of a type by an operator is; `pattern` is the other side.
    ///
    /// # Safety
    /// A live node, or NULL.
    pub(super) unsafe fn comparison(
        &self,
        operator: Oid,
        of_type: Oid,
        pattern: *mut Node,
    ) -> Comparison {
        let strategy = |method| {
            let family = self.family(of_type, method)?;
            // SAFETY: a catalog look-up.
            let strategy = unsafe { pg_sys::get_op_opfamily_strategy(operator, family) };
            (strategy > 0).then_some(strategy)
        };
        match strategy(pg_sys::BTREE_AM_OID) {
            Some(3) => return Test::Equal.into(),
            Some(1 | 2) => return Comparison { test: Test::Range, below: false, above: true },
            Some(4 | 5) => return Comparison { test: Test::Range, below: true, above: false },
            _ => {}
        }
        if WITHIN.contains(&operator.to_u32()) {
            return Comparison { test: Test::Range, below: true, above: true };
        }
        let is_pattern = [LIKE, ILIKE, MATCHES, MATCHES_ANY_CASE, BEGINS];
        if is_pattern.contains(&operator.to_u32()) {
            // SAFETY: by the caller's word.
            let anchored = unsafe { begins_with_itself(operator, pattern) };
            return if anchored { Test::Prefix } else { Test::Pattern }.into();
        }
        if strategy(pg_sys::GIN_AM_OID).is_some() {
            return Test::Contain.into();
        }
        if strategy(pg_sys::GIST_AM_OID).is_some() {
            return Test::Overlap.into();
        }
        Test::Other.into()
    }

    /// Which of the five comparisons of a btree on a type an operator is, counted from 0: `<` to `>`.
    pub(super) fn strategy(&self, operator: Oid, of_type: Oid) -> Option<usize> {
        let family = self.family(of_type, pg_sys::BTREE_AM_OID)?;
        // SAFETY: a catalog look-up.
        let strategy = unsafe { pg_sys::get_op_opfamily_strategy(operator, family) };
        usize::try_from(strategy - 1).ok().filter(|strategy| *strategy < 5)
    }

    /// Whether a btree on a type is searched with values of another by a comparison, counted from 0.
    pub(super) fn compares(&self, of_type: Oid, other: Oid, strategy: usize) -> bool {
        let strategy = i16::try_from(strategy + 1).unwrap_or(i16::MAX);
        self.family(of_type, pg_sys::BTREE_AM_OID).is_some_and(|family| {
            // SAFETY: a catalog look-up.
            let operator = unsafe { pg_sys::get_opfamily_member(family, of_type, other, strategy) };
            operator != Oid::INVALID
        })
    }

    /// The direction of an ordering operator, if it is the one that a plain index on the type has.
    pub(super) fn descends(&self, operator: Oid, of_type: Oid) -> Option<bool> {
        let family = self.family(of_type, pg_sys::BTREE_AM_OID)?;
        // SAFETY: a catalog look-up.
        match unsafe { pg_sys::get_op_opfamily_strategy(operator, family) } {
            1 => Some(false),
            5 => Some(true),
            _ => None,
        }
    }

    fn family(&self, of_type: Oid, method: Oid) -> Option<Oid> {
        let key = (of_type.to_u32(), method.to_u32());
        if let Some(known) = self.0.borrow().get(&key) {
            return *known;
        }
        // SAFETY: look-ups in the catalogs.
        let family = unsafe {
            let class = pg_sys::GetDefaultOpClass(of_type, method);
            (class != Oid::INVALID).then(|| pg_sys::get_opclass_family(class))
        };
        self.0.borrow_mut().insert(key, family);
        family
    }
}

/// Whether what is sought is known to begin with certain characters.
unsafe fn begins_with_itself(operator: Oid, pattern: *mut Node) -> bool {
    if operator.to_u32() == BEGINS {
        return true;
    }
    // SAFETY: cast by the node's own tag; a constant of type text that is not null is one.
    unsafe {
        if pattern.is_null() || (*pattern).type_ != NodeTag::T_Const {
            return false;
        }
        let constant = pattern.cast::<pg_sys::Const>();
        if (*constant).constisnull || (*constant).consttype != pg_sys::TEXTOID {
            return false;
        }
        let text = pg_sys::text_to_cstring((*constant).constvalue.cast_mut_ptr());
        let mut text = CStr::from_ptr(text).to_bytes().iter();
        match operator.to_u32() {
            LIKE => !matches!(text.next(), None | Some(b'%' | b'_')),
            MATCHES => text.next() == Some(&b'^') && text.next().is_some_and(is_plain),
            _ => false,
        }
    }
}

fn is_plain(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte > 127
}
