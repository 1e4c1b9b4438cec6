//! What the result of a statement without limit is made of.

use perfmon_core::facts::Shape;
use pgrx::pg_sys;
use pgrx::pg_sys::{Query, SubLinkType};

use super::count::sublink;
use super::{Finder, LONGEST};
use crate::advise::operator::Families;
use crate::advise::scope::{Scopes, is_plain};
use crate::pg::{list, parse, session, txn};

/// The statement as the server deparses it, from FROM on where what it selects makes no difference to the number of
/// rows. `None` for one that is limited or gathers, and where the server cannot say it, or not without waiting.
///
/// # Safety
/// The trees are alive, and older than the current subtransaction.
pub(in crate::advise) unsafe fn result(
    scopes: &Scopes,
    families: &Families,
    shape: &Shape,
) -> Option<String> {
    // SAFETY: by the caller's word.
    unsafe {
        let query = scopes.all.first()?.query;
        if (*query).commandType != pg_sys::CmdType::CMD_SELECT
            || shape.bounded
            || shape.aggregates
            || scopes.uses.is_empty()
        {
            return None;
        }
        let found = txn::trial(|| {
            session::set_for_now(c"search_path", c"pg_catalog, pg_temp");
            let finder = Finder { scopes, families, found: Vec::new(), last: shape.parameters };
            if !finder.may_open(query) {
                return None;
            }
            let whole = sublink(brief(query), SubLinkType::EXPR_SUBLINK);
            finder.deparsed(finder.mask().copy(whole.cast()), None, false)
        });
        let text = match found {
            Ok(text) => text?,
            Err(error) if parse::is_about_the_text(&error) => return None,
            Err(error) => error.rethrow(),
        };
        let text = text.strip_prefix('(')?.strip_suffix(')')?;
        let text =
            text.strip_prefix("SELECT ").filter(|rest| rest.starts_with("FROM ")).unwrap_or(text);
        (text.len() <= LONGEST).then(|| text.to_owned())
    }
}

/// A copy that selects nothing, if it gives the rows of its FROM one by one.
unsafe fn brief(query: *mut Query) -> *mut Query {
    // SAFETY: a live query, of which a copy is changed.
    unsafe {
        let query = pg_sys::copyObjectImpl(query.cast()).cast::<Query>();
        if is_plain(query) {
            let targets = list::nodes((*query).targetList).into_iter();
            for target in targets.map(|target| target.cast::<pg_sys::TargetEntry>()) {
                // The deparser leaves out what the client does not see, and still sorts by it.
                (*target).resjunk = true;
            }
        }
        query
    }
}
