//! Errors that the server kept from the hooks, or a session that had them off: of each interval in which there were some, whose they may have been.

use std::collections::{BTreeSet, HashMap, HashSet};

use perfmon_core::capture::failure::Class;
use perfmon_core::family::FAILURE;
use perfmon_core::frame::SOME_HEARD;
use perfmon_core::objective::Errors;

use super::meant::Failing;
use super::scope::Scope;
use super::times::total;
use super::{counting, failures};
use crate::error::Error;
use crate::store::read::{self, Segment};

/// What is known of an interval of which not all errors are.
#[derive(Debug, Default)]
struct Part {
    /// Users of whom statements failed unseen.
    users: BTreeSet<String>,
    /// Such statements found no place of their own, and may be anybody's.
    are_anybodys: bool,
    /// How many there were.
    count: u64,
    /// Errors that the hooks heard of all the same, and with them what was cancelled.
    heard: Errors,
}

/// By the ends of such intervals.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    parts: HashMap<i64, Part>,
    /// Roles whose settings of now hide errors.
    hiding: Vec<String>,
    /// Roles whose errors are heard by settings of now, whatever those of others are.
    heard: Vec<String>,
}

impl Unseen {
    /// Of what rows of failures say.
    pub(super) fn of(scope: &Scope, segments: &[Segment]) -> Result<Self, Error> {
        let mut found = Self::default();
        read::frames(&scope.sources, &FAILURE, segments, &[], &mut |row| {
            if total(&FAILURE, row.head, "errors").is_none() {
                found.parts.insert(row.head.span.until, Part::default());
            }
        });
        if found.parts.is_empty() {
            return Ok(found);
        }
        (found.hiding, found.heard) = (counting::hiding_roles()?, counting::heard_roles()?);
        let kinds = failures::kinds(scope)?;
        let columns: Vec<usize> = FAILURE.position("failures").into_iter().collect();
        read::frames(&scope.sources, &FAILURE, segments, &columns, &mut |row| {
            let Some(part) = found.parts.get_mut(&row.head.span.until) else { return };
            for (place, id) in row.ids.iter().enumerate() {
                let kind = kinds.get(&(row.head.source, *id));
                let count = row.column(0).and_then(|counts| counts.get(place).copied());
                let (Some(kind), Some(count)) = (kind, count) else { continue };
                if kind.class.ends_statement() && !Failing::may_be_anybodys(kind) {
                    let errors = if kind.class.is_error() { count } else { 0 };
                    part.heard = part.heard.with(Errors { errors, of: count });
                }
                if kind.class != Class::Unseen {
                    continue;
                }
                part.count = part.count.saturating_add(count);
                match kind.user.text() {
                    Some(user) => part.users.extend([user]),
                    None => part.are_anybodys = true,
                }
            }
        });
        Ok(found)
    }

    /// What was heard of in an interval of which not all errors are known.
    pub(super) fn heard(&self, until: i64) -> Errors {
        self.parts.get(&until).map_or(Errors::default(), |part| part.heard)
    }

    /// Whether all errors of these users are known of an interval; `None` for anybody's.
    pub(super) fn are_known_of(&self, head: &read::Head, users: Option<&HashSet<String>>) -> bool {
        let until = head.span.until;
        if !self.parts.contains_key(&until) {
            return true;
        }
        let is_meant = |user: &str| users.is_none_or(|users| users.contains(user));
        if FAILURE.position("failures").is_some_and(|column| head.is_known(column)) {
            return !self.may_be_of(until, is_meant);
        }
        // Hidden but for some: a role that has a level of its own is heard, unless it was found to be unheard.
        let is_heard = |user: &String| self.heard.contains(user);
        let are_heard = users.is_some_and(|users| !users.is_empty() && users.iter().all(is_heard));
        let is_unseen = self
            .parts
            .get(&until)
            .is_some_and(|part| part.are_anybodys || part.users.iter().any(|user| is_meant(user)));
        head.span.flags & SOME_HEARD != 0 && are_heard && !is_unseen
    }

    /// How many statements failed unseen in an interval, as far as they were counted.
    pub(super) fn count(&self, until: i64) -> u64 {
        self.parts.get(&until).map_or(0, |part| part.count)
    }

    /// Whether those of an interval may be of a user who is meant. Where neither the interval nor a setting of now tells
    /// whose they were, they may be anybody's.
    pub(super) fn may_be_of(&self, until: i64, is_meant: impl Fn(&str) -> bool) -> bool {
        let Some(part) = self.parts.get(&until) else { return false };
        let is_nobodys = part.users.is_empty() && self.hiding.is_empty();
        let mut named = part.users.iter().chain(&self.hiding);
        part.are_anybodys || is_nobodys || named.any(|user| is_meant(user))
    }
}
