//! Whether the hooks are switched off, and for whom they are on all the same.

use std::collections::BTreeMap;

use perfmon_core::capture::route::{self, Moved};

use super::Visit;
use super::captured::configured;
use crate::pg::{role, session};
use crate::settings;

/// What a gap says of it.
pub(super) const WHY_OFF: &str = "pg_perfmon.capture is off";

/// For whom the hooks are off, of sessions of this database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Off {
    /// For those at most who had it set for themselves.
    #[default]
    Nobody,
    /// For all but some: what these did is known, and of the others the number of executions.
    ButSome,
    /// For all.
    All,
}

impl Off {
    /// By the settings, and by what the hooks told of an interval.
    pub(super) fn of(moved: &Moved) -> Self {
        match configured(c"pg_perfmon.capture") {
            Some(capture) if capture != "off" => Self::Nobody,
            None => Self::Nobody,
            Some(_) if is_on_for_some() || route::tells_more_than_numbers(moved) => Self::ButSome,
            Some(_) => Self::All,
        }
    }
}

/// Whether a role has it on here. What is kept for a role in this database is stronger than what is kept for the role.
fn is_on_for_some() -> bool {
    let here = session::database();
    let mut of_roles: BTreeMap<u32, (bool, bool)> = BTreeMap::new();
    for (database, role, value) in role::kept(c"pg_perfmon.capture") {
        let is_here = database == here;
        if role.to_u32() == 0 || !is_here && database.to_u32() != 0 {
            continue;
        }
        let is_on = !value.to_bytes().eq_ignore_ascii_case(b"off");
        let known = of_roles.entry(role.to_u32()).or_insert((is_here, is_on));
        if is_here {
            *known = (true, is_on);
        }
    }
    of_roles.values().any(|(_, is_on)| *is_on)
}

/// Whether errors of sessions of some role get to the hook, by what is kept for it.
pub(super) fn errors_heard_of_some() -> bool {
    let (here, all) = (session::database(), pgrx::pg_sys::Oid::INVALID);
    let kept = role::kept(c"log_min_messages");
    kept.iter().any(|(database, role, least)| {
        let is_of_role = role.to_u32() != 0 && (*database == here || *database == all);
        is_of_role && !settings::hides_errors(&least.to_string_lossy())
    })
}

impl Visit {
    /// For whom the hooks are off; what of this interval the hooks told is subtracted for it.
    pub(super) fn off(&mut self) -> Off {
        self.subtract_routes();
        self.off
    }
}
