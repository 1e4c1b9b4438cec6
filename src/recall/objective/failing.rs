//! What failed of those whom an objective means: by kind of error, and by route where a kind found no place of its own.

use std::collections::{HashMap, HashSet};

use perfmon_core::family::{FAILURE, ROUTE};
use perfmon_core::objective::{self, Errors, Failed, Row};

use super::super::cell::Cell;
use super::super::failures;
use super::super::meant::{Failing, statements_of};
use super::super::scope::Scope;
use super::super::unseen::Unseen;
use super::super::untold::{is_nested, users_of};
use super::{Declared, Rows, executions};
use crate::error::Error;
use crate::store::read::{self, Segment};

/// Whether what failed in an interval is known.
type Known<'a> = &'a dyn Fn(&read::Head) -> bool;

/// What routes tell of one interval.
#[derive(Debug)]
struct OfInterval {
    /// What failed under those that are meant, and of what found no route of its own; `None` where errors are hidden.
    failed: Option<(Errors, Errors)>,
    /// All that was executed has a route of its own, and they are those that are meant.
    is_all: bool,
}

/// What the routes of a user tell, or those of a statement's, by the ends of intervals.
#[derive(Debug, Default)]
pub(super) struct ByRoute {
    all: HashMap<i64, OfInterval>,
    /// Some of what was executed had no id.
    nameless: HashSet<i64>,
}

impl ByRoute {
    /// Keeps what a row says.
    pub(super) fn note(&mut self, head: &read::Head, own: Errors, rest: Errors, is_all: bool) {
        let is_known = |name| ROUTE.position(name).is_some_and(|column| head.is_known(column));
        let failed = (is_known("errors") && is_known("cancelled")).then_some((own, rest));
        self.all.insert(head.span.until, OfInterval { failed, is_all });
    }

    /// Whether the executions of those who are meant all have a route of their own.
    pub(super) fn is_all(&self, until: i64) -> bool {
        self.all.get(&until).is_some_and(|of| of.is_all)
    }

    /// Notes that in an interval some of what was executed had no id, and may be theirs.
    pub(super) fn lack_ids(&mut self, until: i64) {
        self.nameless.insert(until);
    }

    /// Whether that is so of an interval from a time on.
    pub(super) fn lacks_ids(&self, since: i64) -> bool {
        self.nameless.iter().any(|until| *until > since)
    }
}

impl Rows {
    /// What failed of them. An error counts among all that was tried. Errors that the server keeps from the hooks are
    /// not known to be none.
    pub(super) fn fail(
        &mut self,
        scope: &Scope,
        segments: &[Segment],
        of: &Declared,
        by_route: &ByRoute,
    ) -> Result<(), Error> {
        let unseen = Unseen::of(scope, segments)?;
        for row in self.0.values_mut() {
            row.unseen += unseen.count(row.until_us);
            if of.objective.scope == objective::Scope::Database {
                row.heard = row.heard.with(unseen.heard(row.until_us));
            }
        }
        if of.objective.scope == objective::Scope::Database {
            read::frames(&scope.sources, &FAILURE, segments, &[], &mut |row| {
                let interval = failures::interval(row.head);
                let Some(row) = self.0.get_mut(&interval.until) else { return };
                let counts = [interval.executions, interval.errors, interval.cancelled];
                if let [Some(executions), Some(errors), Some(cancelled)] = counts {
                    let of = executions + row.uncounted + errors + cancelled;
                    row.errors = Some(Errors { errors, of });
                }
            });
            return Ok(());
        }
        if is_nested(of)? {
            // An error that leaves a function is one of the statement that the client sent.
            self.0.values_mut().for_each(|row| row.errors = None);
            return Ok(());
        }
        // Where errors of some user are hidden, those of the others are known apart.
        let users = users_of(scope, of)?;
        let is_known = |head: &read::Head| unseen.are_known_of(head, users.as_ref());
        if matches!(of.objective.scope, objective::Scope::Application(_)) {
            let mut known = HashSet::new();
            read::frames(&scope.sources, &FAILURE, segments, &[], &mut |row| {
                known.extend(is_known(row.head).then_some(row.head.span.until));
            });
            // Of other times other parts of the history tell.
            let own = |row: &&mut Row| scope.since < row.until_us && row.until_us <= scope.until;
            let hidden =
                self.0.values_mut().filter(own).filter(|row| !known.contains(&row.until_us));
            hidden.for_each(|row| row.errors = None);
            return Ok(());
        }
        self.fail_by_kind(scope, segments, of, by_route, (users.as_ref(), &is_known))
    }

    /// What failed of a user or a statement; where not all errors of an interval are known, as far as they are.
    fn fail_by_kind(
        &mut self,
        scope: &Scope,
        segments: &[Segment],
        of: &Declared,
        by_route: &ByRoute,
        (users, is_known): (Option<&HashSet<String>>, Known<'_>),
    ) -> Result<(), Error> {
        let own = match &of.objective.scope {
            objective::Scope::User(name) => Failing::User(Cell::from(name.as_str())),
            objective::Scope::Statement(_) => Failing::Statements(statements_of(scope, of)?),
            _ => return Ok(()),
        };
        let is_user = matches!(own, Failing::User(_));
        let user = users.and_then(|users| users.iter().next().cloned());
        let kinds = failures::kinds(scope)?;
        let columns: Vec<usize> = FAILURE.position("failures").into_iter().collect();
        read::frames(&scope.sources, &FAILURE, segments, &columns, &mut |row| {
            let Some(target) = self.0.get_mut(&row.head.span.until) else { return };
            let (mut failed, mut placed) = (Failed::default(), Errors::default());
            let mut nameless = Errors::default();
            for (place, id) in row.ids.iter().enumerate() {
                let count = row.column(0).and_then(|counts| counts.get(place).copied());
                let kind = kinds.get(&(row.head.source, *id));
                let (Some(count), Some(kind)) = (count, kind) else { continue };
                let errors = if kind.class.is_error() { count } else { 0 };
                let count = |sum: &mut Errors| {
                    *sum = Errors { errors: sum.errors + errors, of: sum.of + count };
                };
                if own.is_of(kind) {
                    count(&mut failed.known);
                } else if Failing::may_be_anybodys(kind) {
                    count(&mut failed.perhaps);
                } else if !is_user
                    && Failing::may_be_any_statements(kind)
                    && kind.user.text() == user
                {
                    count(&mut nameless);
                }
                if kind.class.ends_statement() && kind.user.text() == user {
                    count(&mut placed);
                }
            }
            let by_route = by_route.all.get(&target.until_us).and_then(|of| of.failed);
            if let Some((routes, nobodys)) = by_route.filter(|_| user.is_some()) {
                failed = failed.within(routes, nobodys, placed);
                failed = if is_user { failed.at_least(routes) } else { failed };
            }
            let known = failed.known;
            // What was executed to its end did not fail.
            let perhaps = failed.perhaps.with(nameless);
            target.failed_perhaps = Errors { of: perhaps.of + target.perhaps, ..perhaps };
            if !is_known(row.head) {
                target.heard = known;
                return;
            }
            let executed = target.latency.as_ref().map(executions);
            let of = |n| n + target.uncounted + known.of;
            target.errors = executed.map(|n| Errors { of: of(n), ..known });
            // What failed without an id may have been any statement of its user.
            target.nameless_errors = nameless.errors;
        });
        Ok(())
    }
}
