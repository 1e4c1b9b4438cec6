//! What was executed with the hooks off, or without an id, of which nothing but the number is known: by the ends of intervals.

use std::collections::{BTreeSet, HashMap, HashSet};

use perfmon_core::family::{NAMELESS, ROUTE, UNCOUNTED};
use perfmon_core::frame::Span;
use perfmon_core::objective::KNOWN;
use perfmon_core::series::Series;
use perfmon_core::tally::Who;
use perfmon_core::window::Level;

use super::cell::Cell;
use super::names;
use super::plan::Kept;
use super::scope::Scope;
use crate::error::Error;
use crate::store::read::{self, Segment};

/// How much was executed.
#[derive(Debug, Clone, Copy, Default)]
struct Executed {
    timed: u64,
    /// Of which no times are known.
    untimed: u64,
    /// Of that, without an id.
    nameless: u64,
}

impl Executed {
    /// Whether times are those of a small part only.
    #[allow(clippy::cast_precision_loss)]
    fn is_small_part(self) -> bool {
        let all = self.timed.saturating_add(self.untimed);
        self.untimed > 0 && (self.timed as f64) < KNOWN * all as f64
    }
}

/// Row by row, how much was executed. What found no route of its own and has no times may be anybody's.
fn each(
    scope: &Scope,
    segments: &[Segment],
    own: Option<&HashSet<Who>>,
    told: &mut dyn FnMut(&Span, Executed),
) {
    let columns: Vec<usize> = ROUTE.position("statements").into_iter().collect();
    read::frames(&scope.sources, &ROUTE, segments, &columns, &mut |row| {
        let mut all = Executed::default();
        for (id, count) in row.ids.iter().zip(row.column(0).unwrap_or(&[])) {
            let route = ROUTE.object_of(*id);
            let is_own = own.is_none_or(|own| own.contains(&(row.head.source, route)));
            let sum = match id & 255 {
                UNCOUNTED if is_own || route == 0 => &mut all.untimed,
                NAMELESS if is_own || route == 0 => &mut all.nameless,
                UNCOUNTED | NAMELESS => continue,
                _ if is_own => &mut all.timed,
                _ => continue,
            };
            *sum = sum.saturating_add(*count);
        }
        told(&row.head.span, all);
    });
}

/// The routes of a user, under all sources.
fn routes_of(scope: &Scope, user: &str) -> Result<HashSet<Who>, Error> {
    let user = Cell::from(user);
    let all = names::objects(ROUTE.name, &scope.sources)?.into_iter();
    Ok(all.filter(|(_, [_, name, _])| *name == user).map(|(who, _)| who).collect())
}

/// Whether there was any of it between edges, of one user or of all.
#[derive(Debug)]
pub(crate) struct Besides {
    /// Of no column: time of which it is known.
    covered: Series,
    executed: Vec<Executed>,
}

impl Besides {
    /// Of rows no coarser than `coarsest`.
    pub(crate) fn of(
        scope: &Scope,
        coarsest: Level,
        edges: Vec<i64>,
        user: Option<&str>,
    ) -> Result<Self, Error> {
        let own = user.map(|user| routes_of(scope, user)).transpose()?;
        let segments = Kept::of(&ROUTE, scope).segments(scope, coarsest);
        let mut covered = Series::new(edges, 0);
        let mut executed = vec![Executed::default(); covered.len()];
        each(scope, &segments, own.as_ref(), &mut |span, all| {
            covered.cover(span.since, span.until, span.length_us, span.quiet_us);
            if let Some(sum) = covered.bucket_of(span.until).and_then(|at| executed.get_mut(at)) {
                sum.timed = sum.timed.saturating_add(all.timed);
                sum.untimed = sum.untimed.saturating_add(all.untimed);
                sum.nameless = sum.nameless.saturating_add(all.nameless);
            }
        });
        Ok(Self { covered, executed })
    }

    fn at(&self, bucket: usize) -> Executed {
        self.executed.get(bucket).copied().unwrap_or_default()
    }

    /// Whether all that was executed in a bucket was timed, as far as so much time tells.
    pub(crate) fn is_none(&self, bucket: usize, covered_us: i64) -> bool {
        self.at(bucket).untimed == 0 && self.covered.covered_us(bucket) >= covered_us
    }

    /// Whether some of what was executed in a bucket was not timed.
    pub(crate) fn is_untimed(&self, bucket: usize) -> bool {
        self.at(bucket).untimed > 0
    }

    /// Whether some of it had an id and was not timed all the same: the hooks were off.
    pub(crate) fn is_off(&self, bucket: usize) -> bool {
        self.at(bucket).untimed > self.at(bucket).nameless
    }

    /// Whether of what was executed in a bucket a small part only was timed.
    pub(crate) fn is_mostly_untimed(&self, bucket: usize) -> bool {
        self.at(bucket).is_small_part()
    }

    /// Whether some of what was executed in a bucket had no id.
    pub(crate) fn is_nameless(&self, bucket: usize) -> bool {
        self.at(bucket).nameless > 0
    }
}

/// How much there was in each interval in which there was some.
#[derive(Debug, Default)]
pub(crate) struct Uncounted(HashMap<i64, u64>);

impl Uncounted {
    /// Of these stretches, which may be those of another family.
    pub(crate) fn of(scope: &Scope, segments: &[Segment]) -> Self {
        let mut found = Self::default();
        each(scope, segments, None, &mut |span, Executed { untimed, .. }| {
            if untimed > 0 {
                let all = found.0.entry(span.until).or_default();
                *all = all.saturating_add(untimed);
            }
        });
        found
    }

    /// Whether there was anything at all.
    pub(crate) fn is_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// In the interval that ends then.
    pub(crate) fn at(&self, until: i64) -> u64 {
        self.0.get(&until).copied().unwrap_or(0)
    }
}

/// Users; `None` stands for those of routes that were not counted apart.
pub(crate) type Users = BTreeSet<Option<String>>;

/// Some users in words.
pub(crate) fn named(users: &Users) -> String {
    /// So many are named.
    const NAMED: usize = 5;
    let named: Vec<&str> = users.iter().flatten().take(NAMED).map(String::as_str).collect();
    match (named.as_slice(), users.len().saturating_sub(named.len())) {
        ([], _) => "some sessions".to_owned(),
        (named, 0) => named.join(", "),
        (named, more) => format!("{} and {more} more", named.join(", ")),
    }
}

/// Who executed something in the window that had no id, so that it is not counted by statement.
pub(crate) fn nameless_users(scope: &Scope) -> Result<Users, Error> {
    users_with(NAMELESS, scope)
}

/// Who executed something in the window that was not timed.
pub(crate) fn untimed_users(scope: &Scope) -> Result<Users, Error> {
    users_with(UNCOUNTED, scope)
}

fn users_with(bucket: u32, scope: &Scope) -> Result<Users, Error> {
    let segments = Kept::of(&ROUTE, scope).segments(scope, Level::Day);
    let mut routes: HashSet<Who> = HashSet::new();
    read::frames(&scope.sources, &ROUTE, &segments, &[0], &mut |row| {
        let found = row.ids.iter().filter(|id| **id & 255 == bucket);
        routes.extend(found.map(|id| (row.head.source, ROUTE.object_of(*id))));
    });
    if routes.is_empty() {
        return Ok(Users::new());
    }
    let names = names::objects(ROUTE.name, &scope.sources)?;
    Ok(routes.iter().map(|who| names.get(who).and_then(|[_, user, _]| user.text())).collect())
}
