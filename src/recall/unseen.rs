//! Errors that the server kept from the hooks, or a session that had them off: of each interval in which there were some, whose they may have been.

use std::collections::{BTreeSet, HashMap};

use perfmon_core::capture::failure::Class;
use perfmon_core::family::FAILURE;

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
}

/// By the ends of such intervals.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    parts: HashMap<i64, Part>,
    /// Roles whose settings of now hide errors.
    hiding: Vec<String>,
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
        found.hiding = counting::hiding_roles()?;
        let kinds = failures::kinds(scope)?;
        let columns: Vec<usize> = FAILURE.position("failures").into_iter().collect();
        read::frames(&scope.sources, &FAILURE, segments, &columns, &mut |row| {
            let Some(part) = found.parts.get_mut(&row.head.span.until) else { return };
            for (place, id) in row.ids.iter().enumerate() {
                let kind = kinds.get(&(row.head.source, *id));
                let Some(kind) = kind.filter(|kind| kind.class == Class::Unseen) else { continue };
                let count = row.column(0).and_then(|counts| counts.get(place).copied());
                part.count = part.count.saturating_add(count.unwrap_or(0));
                match kind.user.text() {
                    Some(user) => part.users.extend([user]),
                    None => part.are_anybodys = true,
                }
            }
        });
        Ok(found)
    }

    /// Whether all errors of an interval are known.
    pub(super) fn is_none(&self, until: i64) -> bool {
        !self.parts.contains_key(&until)
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
