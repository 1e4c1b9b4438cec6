//! Which rows answer a question: asks the store what is kept, core which of it to read, and tells the
//! caller when the window had to be widened.

use perfmon_core::family::Family;
use perfmon_core::window::{self, Extent, Level};
use pgrx::prelude::*;

use super::scope::{Scope, now, show_time};
use crate::store::extent;
use crate::store::read::Segment;

/// What is kept of a family.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept([Extent; 3]);

impl Kept {
    /// Asks the store.
    pub(crate) fn of(family: &Family, scope: &Scope) -> Self {
        Self(extent::extents(family, &scope.sources, now()))
    }

    /// When the oldest row that is kept begins.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.0.iter().filter_map(|extent| extent.oldest_since).min()
    }

    /// When the oldest single interval that is kept begins.
    pub(crate) fn oldest_single(&self) -> Option<i64> {
        self.0[0].oldest_since
    }

    /// When the newest row ends.
    pub(crate) fn newest(&self) -> Option<i64> {
        self.0.iter().filter_map(|extent| extent.newest_until).max()
    }

    /// The finest rows that are kept all through the window.
    pub(crate) fn finest(&self, scope: &Scope) -> Level {
        window::finest(scope.since, &self.0)
    }

    /// Segments that fill the window with rows no coarser than `coarsest` where there is a choice.
    pub(crate) fn segments(&self, scope: &Scope, coarsest: Level) -> Vec<Segment> {
        let plan = window::plan(scope.since, scope.until, coarsest, &self.0);
        if plan.widened && scope.tells.replace(false) {
            ereport!(
                NOTICE,
                PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
                "the window was widened to whole rows, since finer ones are no longer kept",
                format!("It is now {} to {}.", show_time(plan.since), show_time(plan.until))
            );
        }
        plan.segments
    }
}

impl Kept {
    /// The stretch of the window of which rows are kept that hold nothing else.
    pub(crate) fn inside(&self, scope: &Scope) -> (i64, i64) {
        window::inside(scope.since, scope.until, &self.0)
    }

    /// The rows of the time just before the window, oldest first.
    pub(crate) fn before(&self, scope: &Scope, us: i64) -> Vec<Segment> {
        let since = scope.since.saturating_sub(us);
        window::plan(since, scope.since, Level::Hour, &self.0).segments
    }
}

/// The coarsest level all of whose rows fall between neighbouring edges.
pub(crate) fn coarsest_for(edges: &[i64]) -> Level {
    let fits = |level: &Level| edges.iter().all(|edge| edge.rem_euclid(level.step_us()) == 0);
    [Level::Day, Level::Hour].into_iter().find(fits).unwrap_or(Level::Minute)
}
