//! What clients asked for of which no execution tells: connections that were refused, and statements that were at work for all of
//! an interval. Both are known in the home database.

use std::collections::HashSet;

use perfmon_core::activity::group;
use perfmon_core::activity::rows::Of;
use perfmon_core::capture::failure::{Class, Refusal};
use perfmon_core::family::{FAILURE, Family, POOL, POOL_SUMS};
use perfmon_core::objective::{self, KNOWN, Objective, Target};
use perfmon_core::tally::Who;

use super::super::activity::{samples, texts};
use super::super::failures::{self, Kind};
use super::super::scope::Scope;
use super::super::untold::users_of;
use super::{Declared, Rows};
use crate::error::Error;
use crate::pg::catalog;
use crate::store::read::{self, Segment};

/// Whether it promises anything of that.
pub(super) fn is_available(objective: &Objective) -> bool {
    objective.targets.iter().any(|target| matches!(target, Target::Availability { .. }))
}

/// Whose a refused connection was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Theirs,
    Perhaps,
    Others,
}

impl Rows {
    /// What of it is known in these intervals.
    pub(super) fn ask(
        &mut self,
        scope: &Scope,
        segments: &dyn Fn(&Family) -> Vec<Segment>,
        of: &Declared,
    ) -> Result<(), Error> {
        if !is_available(&of.objective) || !scope.is_own() {
            return Ok(());
        }
        let own = catalog::database_name();
        self.refuse(scope, &segments(&FAILURE), of, &own)?;
        self.wait(scope, &segments(&POOL), of, &own)
    }

    fn refuse(
        &mut self,
        scope: &Scope,
        segments: &[Segment],
        of: &Declared,
        own: &str,
    ) -> Result<(), Error> {
        let kinds = failures::kinds(scope)?;
        let users = users_of(scope, of)?;
        let columns: Vec<usize> = FAILURE.position("failures").into_iter().collect();
        read::frames(&scope.sources, &FAILURE, segments, &columns, &mut |row| {
            let Some(target) = self.0.get_mut(&row.head.span.until) else { return };
            for (id, count) in row.ids.iter().zip(row.column(0).unwrap_or(&[])) {
                let Some(kind) = kinds.get(&(row.head.source, *id)) else { continue };
                let sum = match whose(kind, &of.objective.scope, users.as_ref(), own) {
                    Whose::Theirs => &mut target.unanswered.refused,
                    Whose::Perhaps => &mut target.unanswered.refused_perhaps,
                    Whose::Others => continue,
                };
                *sum = sum.saturating_add(*count);
            }
        });
        Ok(())
    }

    /// Samples in nearly all of which a group had somebody at work.
    fn wait(
        &mut self,
        scope: &Scope,
        segments: &[Segment],
        of: &Declared,
        own: &str,
    ) -> Result<(), Error> {
        let groups = groups(scope, &of.objective.scope, own)?;
        if groups.is_empty() {
            return Ok(());
        }
        let columns: Vec<usize> =
            ["active_samples", "on_lock"].iter().filter_map(|name| POOL.position(name)).collect();
        read::frames(&scope.sources, &POOL, segments, &columns, &mut |row| {
            let Some(target) = self.0.get_mut(&row.head.span.until) else { return };
            let mut found: Vec<(u32, u64, u64)> = Vec::new();
            for (place, id) in row.ids.iter().enumerate() {
                let group = POOL.object_of(*id);
                let number = *id & 255;
                if !groups.contains(&(row.head.source, group)) || number == 0 {
                    continue;
                }
                if found.last().is_none_or(|(last, ..)| *last != group) {
                    found.push((group, 0, 0));
                }
                let Some((_, active, on_lock)) = found.last_mut() else { continue };
                let value = |column: usize| {
                    row.column(column).and_then(|values| values.get(place).copied()).unwrap_or(0)
                };
                match number {
                    POOL_SUMS => *on_lock = on_lock.saturating_add(value(1)),
                    _ => *active = active.saturating_add(value(0)),
                }
            }
            // One look does not tell what was between.
            let all = samples(row.head);
            #[allow(clippy::cast_precision_loss)]
            let is_most = |n: u64| all > 1 && n as f64 >= KNOWN * all as f64;
            target.unanswered.at_work |= found.iter().any(|(_, active, _)| is_most(*active));
            target.unanswered.on_lock |=
                found.iter().any(|(_, active, on_lock)| is_most(*active) && is_most(*on_lock));
        });
        Ok(())
    }
}

/// Of one that was refused for its number. What a server refuses that starts or ends is time without it.
fn whose(
    kind: &Kind,
    scope: &objective::Scope,
    users: Option<&HashSet<String>>,
    own: &str,
) -> Whose {
    let Some((why, database)) = &kind.refusal else { return Whose::Others };
    let is_meant = matches!(
        why,
        Refusal::TooManyClients | Refusal::Reserved | Refusal::RoleLimit | Refusal::DatabaseLimit
    );
    if kind.class != Class::Refused || !is_meant {
        return Whose::Others;
    }
    if *scope == objective::Scope::Cluster {
        return Whose::Theirs;
    }
    let user = kind.user.text();
    let is_elsewhere = database.as_deref().is_some_and(|database| database != own);
    let is_others = users.zip(user.as_ref()).is_some_and(|(users, user)| !users.contains(user));
    if is_elsewhere || is_others {
        return Whose::Others;
    }
    let is_told = match scope {
        // A server or a role without room has none in any database.
        objective::Scope::User(_) => user.is_some(),
        objective::Scope::Database => database.is_some(),
        _ => false,
    };
    if is_told { Whose::Theirs } else { Whose::Perhaps }
}

/// Groups of sessions that are meant, and do not only watch.
fn groups(scope: &Scope, of: &objective::Scope, own: &str) -> Result<HashSet<Who>, Error> {
    let is_meant = |[database, user, third]: &[String; 3]| {
        let Some(found) = Of::parse(third).filter(|found| !found.other) else { return false };
        let is_pool = found.level == group::Level::Pool && database == own && !found.is_monitor();
        match of {
            objective::Scope::Cluster => found.level == group::Level::Server,
            objective::Scope::Database => found.level == group::Level::Database && database == own,
            objective::Scope::User(name) => is_pool && user == name,
            objective::Scope::Application(name) => {
                is_pool && found.application.as_ref() == Some(name)
            }
            objective::Scope::Statement(_) => false,
        }
    };
    let all = texts(&POOL, scope)?.into_iter();
    Ok(all.filter(|(_, names)| is_meant(names)).map(|(who, _)| who).collect())
}
