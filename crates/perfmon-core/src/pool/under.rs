//! Under which limits a group is: all limits and groups by name, so that each is found at once where there are many.

use std::collections::HashMap;

use super::limit::{Kind, Limit, Limits, Role, sort};
use super::pooled::Pooled;
use super::{Figure, Group, Whose};
use crate::activity::group::Level;

/// Limits of poolers, by database and user, with the address from which their connections come.
type OfPoolers<'a> = HashMap<(&'a str, &'a str), Vec<(&'a Option<String>, Vec<Limit>)>>;

/// Everything that is needed.
pub(super) struct Known<'a> {
    all: &'a Limits,
    server: Option<Figure>,
    databases: HashMap<&'a str, Figure>,
    users: HashMap<&'a str, Figure>,
    roles: HashMap<&'a str, &'a Role>,
    most_of_database: HashMap<&'a str, u32>,
    poolers: OfPoolers<'a>,
}

impl<'a> Known<'a> {
    pub(super) fn of(all: &'a Limits, pooler: &'a [Pooled], groups: &'a [Group]) -> Self {
        let own = |level: Level| {
            groups.iter().filter(move |group| group.whose.level == level && !group.whose.other)
        };
        let by = |level: Level, name: fn(&Whose) -> Option<&str>| -> HashMap<&'a str, Figure> {
            own(level).filter_map(|group| Some((name(&group.whose)?, group.open))).collect()
        };
        let databases = all.databases.iter();
        Self {
            all,
            server: own(Level::Server).map(|group| group.open).next(),
            databases: by(Level::Database, |whose| whose.database.as_deref()),
            users: by(Level::User, |whose| whose.user.as_deref()),
            roles: all.roles.iter().map(|role| (role.name.as_str(), role)).collect(),
            most_of_database: databases.map(|(name, most)| (name.as_str(), *most)).collect(),
            poolers: of_poolers(pooler, own(Level::Pool)),
        }
    }

    /// Those of a group, the one that it meets first before others.
    pub(super) fn limits(&self, group: &Group) -> Vec<Limit> {
        let whose = &group.whose;
        let role = whose.user.as_deref().and_then(|user| self.roles.get(user).copied());
        let server = self.all.server.map(|server| server.usable(role));
        let mut limits = Vec::new();
        limits.extend(limit(Kind::Server, server, self.server.as_ref()));
        let held = !role.is_some_and(|role| role.superuser);
        if let Some(name) = whose.database.as_deref().filter(|_| held) {
            let most = self.most_of_database.get(name).copied();
            limits.extend(limit(Kind::Database, most, self.databases.get(name)));
        }
        if let Some(name) = whose.user.as_deref().filter(|_| held) {
            let most = role.and_then(|role| role.limit);
            limits.extend(limit(Kind::Role, most, self.users.get(name)));
        }
        let declared = self.declared(whose);
        let open = group.open_there().or(group.open.now.map(f64::from));
        let exceeds = |size: u32| open.is_some_and(|open| open > f64::from(size));
        let is_exceeded = declared.is_some_and(exceeds);
        let kind = if is_exceeded { Kind::Exceeded } else { Kind::Declared };
        limits.extend(limit(kind, declared, Some(&group.busy)));
        if declared.is_none() {
            limits.extend(limit(Kind::Inferred, group.inferred, Some(&group.busy)));
        }
        limits.extend(self.of_its_poolers(whose));
        sort(&mut limits);
        limits
    }

    /// The one among pools of known size that is meant.
    fn declared(&self, whose: &Whose) -> Option<u32> {
        let meant = self.all.declared.iter().filter(|pool| pool.matches(whose));
        meant.max_by_key(|pool| pool.says()).map(|pool| pool.size)
    }

    fn of_its_poolers(&self, whose: &Whose) -> Vec<Limit> {
        let is_pool = whose.level == Level::Pool && !whose.other;
        let names = whose.database.as_deref().zip(whose.user.as_deref()).filter(|_| is_pool);
        let found = names.and_then(|names| self.poolers.get(&names)).into_iter().flatten();
        let own = found.filter(|(from, _)| **from == whose.address);
        own.flat_map(|(_, limits)| limits.iter().copied()).collect()
    }
}

fn of_poolers<'a>(pooler: &'a [Pooled], groups: impl Iterator<Item = &'a Group>) -> OfPoolers<'a> {
    let mut found = OfPoolers::new();
    if pooler.is_empty() {
        return found;
    }
    let mut by: HashMap<(&str, &str), Vec<&Group>> = HashMap::new();
    for group in groups {
        let names = group.whose.database.as_deref().zip(group.whose.user.as_deref());
        by.entry(names.unwrap_or_default()).or_default().push(group);
    }
    for pool in pooler {
        let names = (pool.database.as_str(), pool.user.as_str());
        let Some(own) = by.get(&names) else { continue };
        let Some(from) = pool.comes_from(own) else { continue };
        found.entry(names).or_default().push((from, pool.limits(from, own).collect()));
    }
    found
}

fn limit(kind: Kind, most: Option<u32>, figure: Option<&Figure>) -> Option<Limit> {
    let (most, used) = (most?, figure.and_then(Figure::used)?);
    // As many as there are now were there at least.
    let peak = figure.and_then(|figure| figure.peak.max(figure.now));
    // Superusers may use what is reserved: for all others, that is as full as full.
    let reserved = kind == Kind::Server;
    let used = if reserved { used.min(f64::from(most)) } else { used };
    let peak = peak.map(|peak| if reserved { peak.min(most) } else { peak });
    Some(Limit { kind, most, used, peak, idle: None })
}
