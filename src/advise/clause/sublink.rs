//! Subqueries in conditions.

use pgrx::pg_sys;
use pgrx::pg_sys::SubLinkType;

use super::{Condition, Context, Judge, Relation};

impl Judge<'_> {
    pub(super) fn inner(&self, context: &Context, sublink: *mut pg_sys::SubLink) -> Option<usize> {
        let known = &self.scopes.all[context.scope].sublinks;
        known.iter().find(|(one, _)| *one == sublink).map(|(_, inner)| *inner)
    }

    /// EXISTS (…) and IN (SELECT …) are joins; of other subqueries nothing is said.
    pub(super) unsafe fn sublink(
        &mut self,
        sublink: *mut pg_sys::SubLink,
        context: &Context,
        certain: bool,
    ) -> Vec<Condition> {
        // SAFETY: a node of a live query.
        unsafe {
            let Some(inner) = self.inner(context, sublink).filter(|_| certain) else {
                return Vec::new();
            };
            match (*sublink).subLinkType {
                SubLinkType::EXISTS_SUBLINK => {
                    self.query(inner, Relation::Joined);
                    Vec::new()
                }
                SubLinkType::ANY_SUBLINK => {
                    self.query(inner, Relation::Joined);
                    let only = context.only.clone();
                    let context = Context { sublink: Some(inner), only, ..*context };
                    self.conditions((*sublink).testexpr, &context, true)
                }
                _ => Vec::new(),
            }
        }
    }
}
