//! Where settings of databases and roles switch counting off, and the line that switches it on. It must never go by
//! what the session at hand set for itself: that says nothing about others.

use std::ffi::CString;

pub(crate) use perfmon_core::report::Missing;

use super::cell::Cell;
use super::query;
use super::uncounted::Users;
use super::words::Raw;
use crate::error::Error;
use crate::pg::{role, session};
use crate::settings;

/// A setting with which sessions of this database begin, set for a database, a role, both, or all roles.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) value: String,
    /// As they are called, and as SQL writes them.
    database: Option<String>,
    role: Option<(String, String)>,
}

/// A setting, the values of it by which something is not counted, and one by which it is.
pub(super) struct Off<'a> {
    name: &'a str,
    is: &'a dyn Fn(&str) -> bool,
    good: &'a str,
}

impl Off<'_> {
    /// What the server is configured with, as far as that is known.
    fn configured(&self) -> Option<String> {
        let name = CString::new(self.name).ok()?;
        Some(role::configured(&name)?.to_string_lossy().to_lowercase())
    }
}

const CAPTURE_OFF: Off<'_> = Off { name: CAPTURE, is: &|value| value == "off", good: "'top'" };
const HIDDEN: Off<'_> = Off { name: LEAST_LOGGED, is: &settings::hides_errors, good: "'error'" };
const NO_IDS: Off<'_> =
    Off { name: IDS, is: &|value| settings::IDS_OFF.contains(&value), good: "'auto'" };
pub(super) const UNTRACKED: Off<'_> =
    Off { name: TRACK, is: &|value| value == "none", good: "'top'" };
pub(super) const NO_UTILITY: Off<'_> = Off {
    name: "pg_stat_statements.track_utility",
    is: &|value| settings::IDS_OFF.contains(&value),
    good: "on",
};

const NO_ACTIVITIES: Off<'_> =
    Off { name: ACTIVITIES, is: &|value| settings::IDS_OFF.contains(&value), good: "on" };

const NO_COUNTS: Off<'_> =
    Off { name: "track_counts", is: &|value| settings::IDS_OFF.contains(&value), good: "on" };

impl Kept {
    /// The line that takes the setting back.
    fn reset(&self, name: &str) -> String {
        format!("{} RESET {name};", self.alter())
    }

    /// The line that sets it to something else.
    fn set(&self, name: &str, value: &str) -> String {
        format!("{} SET {name} = {value};", self.alter())
    }

    fn alter(&self) -> String {
        match (&self.role, &self.database) {
            (Some((_, role)), Some(database)) => {
                format!("ALTER ROLE {role} IN DATABASE {database}")
            }
            (Some((_, role)), None) => format!("ALTER ROLE {role}"),
            (None, Some(database)) => format!("ALTER DATABASE {database}"),
            (None, None) => "ALTER ROLE ALL".to_owned(),
        }
    }

    /// The line by which it is no longer off: takes the setting back, or sets it where what would hold then is off as well, or
    /// is not known, as this session began with what is kept for its own database or user. `all` has what is kept, the strongest first.
    fn fix(&self, off: &Off<'_>, all: &[Self]) -> String {
        let mut weaker = all.iter().skip_while(|one| !std::ptr::eq(*one, self)).skip(1);
        let next = weaker.find(|one| one.is_for(self.role()) && self.may_meet(one));
        let value = next.map_or_else(|| off.configured(), |one| Some(one.value.clone()));
        match value.is_none_or(|value| (off.is)(&value)) {
            true => self.set(off.name, off.good),
            false => self.reset(off.name),
        }
    }

    /// Whether both may be for the same database.
    fn may_meet(&self, other: &Self) -> bool {
        let same = || self.database == other.database;
        self.database.is_none() || other.database.is_none() || same()
    }

    /// The role that it is for, if for one only.
    pub(crate) fn role(&self) -> Option<&str> {
        self.role.as_ref().map(|(name, _)| name.as_str())
    }

    /// Whose sessions begin with it.
    fn whose(&self) -> String {
        match (self.role(), &self.database) {
            (Some(role), Some(database)) => format!("role {role} in database {database}"),
            (Some(role), None) => format!("role {role}"),
            (None, Some(database)) => format!("database {database}"),
            (None, None) => "all roles".to_owned(),
        }
    }

    fn is_for(&self, user: Option<&str>) -> bool {
        self.role().is_none() || self.role() == user
    }
}

/// Of which databases settings are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    Here,
    Anywhere,
}

/// All that is kept of a setting for this database and its roles, the strongest first.
fn kept(name: &str) -> Result<Vec<Kept>, Error> {
    kept_in(Where::Here, name)
}

/// The same, of all databases if need be.
fn kept_in(place: Where, name: &str) -> Result<Vec<Kept>, Error> {
    let own = session::database();
    let rows = query::rows(
        "SELECT pg_catalog.substr(c, pg_catalog.strpos(c, '=') OPERATOR(pg_catalog.+) 1),
             CASE WHEN s.setdatabase OPERATOR(pg_catalog.<>) 0
                 THEN pg_catalog.quote_ident(d.datname) END,
             CASE WHEN s.setrole OPERATOR(pg_catalog.<>) 0
                 THEN pg_catalog.pg_get_userbyid(s.setrole)::pg_catalog.text END,
             CASE WHEN s.setrole OPERATOR(pg_catalog.<>) 0
                 THEN pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(s.setrole)) END
         FROM pg_catalog.pg_db_role_setting s
         LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase,
             pg_catalog.unnest(s.setconfig) c
         WHERE ($3 OR s.setdatabase OPERATOR(pg_catalog.=) 0
                 OR s.setdatabase::pg_catalog.int8 OPERATOR(pg_catalog.=) $1)
             AND pg_catalog.lower(pg_catalog.split_part(c, '=', 1)) OPERATOR(pg_catalog.=) $2
         ORDER BY s.setrole OPERATOR(pg_catalog.=) 0, s.setdatabase OPERATOR(pg_catalog.=) 0,
             pg_catalog.pg_get_userbyid(s.setrole)",
        &[
            i64::from(own.to_u32()).into(),
            Raw::from(name).into(),
            (place == Where::Anywhere).into(),
        ],
    )?;
    let one = |row: &Vec<Cell>| {
        let text = |i: usize| row.get(i).and_then(Cell::text);
        Some(Kept { value: text(0)?.to_lowercase(), database: text(1), role: text(2).zip(text(3)) })
    };
    Ok(rows.iter().filter_map(one).collect())
}

/// The setting that switches the hooks.
pub(crate) const CAPTURE: &str = "pg_perfmon.capture";

/// Why sessions of this database, or those of one user in it, count nothing unless they are told to; `None` if they do.
pub(crate) fn missing(user: Option<&str>) -> Result<Option<Missing>, Error> {
    if !settings::preloaded() {
        return Ok(Some(Missing {
            problem: "pg_perfmon is not in shared_preload_libraries".to_owned(),
            fix: "In postgresql.conf add pg_perfmon to shared_preload_libraries, then restart the server."
                .to_owned(),
        }));
    }
    let kept = kept(CAPTURE)?;
    if let Some(strongest) = kept.iter().find(|kept| kept.is_for(user)) {
        return Ok((strongest.value == "off").then(|| Missing {
            problem: format!(
                "{CAPTURE} is off{}",
                strongest.role().map_or_else(|| but(&kept), of_role)
            ),
            fix: strongest.fix(&CAPTURE_OFF, &kept),
        }));
    }
    Ok(CAPTURE_OFF.configured().filter(|own| own == "off").map(|_| Missing {
        problem: format!("{CAPTURE} is off{}", but(&kept)),
        fix: format!("ALTER SYSTEM SET {CAPTURE} = 'top'; SELECT pg_reload_conf();"),
    }))
}

fn of_role(role: &str) -> String {
    format!(" for role {role}")
}

/// Roles that are counted though those who have nothing kept are not, in words.
fn but(kept: &[Kept]) -> String {
    let on = in_force(kept, |value| value != "off").into_iter();
    let roles: Vec<&str> = on.filter_map(Kept::role).collect();
    let named: Vec<&str> = roles.iter().copied().take(NAMED).collect();
    match (named.as_slice(), roles.len().saturating_sub(NAMED)) {
        ([], _) => String::new(),
        ([one], _) => format!(", but for role {one}"),
        (_, 0) => format!(", but for roles {}", named.join(", ")),
        (_, more) => format!(", but for roles {} and {more} more", named.join(", ")),
    }
}

/// So many are named.
const NAMED: usize = 5;

/// Why statements inside functions are not counted in sessions of one user, though others are; `None` if they are.
pub(crate) fn missing_nested(user: Option<&str>) -> Result<Option<Missing>, Error> {
    const ALL: &str = "all";
    let kept = kept(CAPTURE)?;
    let strongest = kept.iter().find(|kept| kept.is_for(user));
    let (value, fix) = match strongest {
        Some(one) => (Some(one.value.clone()), one.set(CAPTURE, &format!("'{ALL}'"))),
        None => (
            role::starting_value(c"pg_perfmon.capture", None)
                .map(|own| own.to_string_lossy().into_owned()),
            format!("ALTER SYSTEM SET {CAPTURE} = '{ALL}'; SELECT pg_reload_conf();"),
        ),
    };
    let of = strongest.and_then(Kept::role).map(of_role).unwrap_or_default();
    Ok(value.filter(|value| value != ALL).map(|value| Missing {
        problem: format!("{CAPTURE} is {value}{of} and the statement runs inside functions"),
        fix,
    }))
}

/// The setting by which the server keeps errors from the hooks.
const LEAST_LOGGED: &str = "log_min_messages";

/// Why errors of sessions of this database, or of those of one user in it, do not get to the hooks; `None` if they do.
/// Without a user, one role of which that is so is enough, and all of them are named.
pub(crate) fn hidden_errors(user: Option<&str>) -> Result<Option<Missing>, Error> {
    let Some(user) = user else { return hidden_errors_in(Where::Here) };
    let kept = kept(LEAST_LOGGED)?;
    match kept.iter().find(|kept| kept.is_for(Some(user))) {
        Some(one) if settings::hides_errors(&one.value) => Ok(said(&HIDDEN, &kept, &[one])),
        Some(_) => Ok(None),
        None => Ok(hidden_by_all()),
    }
}

/// Why errors of some sessions do not get to the hooks, of all databases if need be.
pub(crate) fn hidden_errors_in(place: Where) -> Result<Option<Missing>, Error> {
    let kept = kept_in(place, LEAST_LOGGED)?;
    let hiding = match place {
        Where::Here => in_force(&kept, settings::hides_errors),
        Where::Anywhere => kept.iter().filter(|one| settings::hides_errors(&one.value)).collect(),
    };
    Ok(said(&HIDDEN, &kept, &hiding).or_else(hidden_by_all))
}

/// What the server is configured with; nothing if this session began with what is kept for its own user, and does not
/// know.
fn hidden_by_all() -> Option<Missing> {
    let own = role::starting_value(c"log_min_messages", None)?.to_string_lossy().into_owned();
    settings::hides_errors(&own).then(|| Missing {
        problem: format!("{LEAST_LOGGED} is {own}"),
        fix: format!("ALTER SYSTEM SET {LEAST_LOGGED} = 'error'; SELECT pg_reload_conf();"),
    })
}

/// Of what is kept of a setting, that with such a value which nothing stronger for the same role takes back.
fn in_force(kept: &[Kept], is_meant: impl Fn(&str) -> bool) -> Vec<&Kept> {
    // That of one database is stronger there.
    let is_first =
        |at: usize, one: &Kept| !kept.iter().take(at).any(|stronger| stronger.role() == one.role());
    let all = kept.iter().enumerate();
    all.filter(|(at, one)| is_meant(&one.value) && is_first(*at, one)).map(|(_, one)| one).collect()
}

/// Names some of what is kept of a setting, with the lines that change it; `None` for nothing.
fn said(off: &Off<'_>, kept: &[Kept], all: &[&Kept]) -> Option<Missing> {
    let setting = off.name;
    let named = || all.iter().take(NAMED);
    let whose = named().map(|one| {
        let of = one.role().map(of_role).unwrap_or_default();
        format!("{}{of}", one.value)
    });
    let whose = whose.collect::<Vec<_>>().join(", ");
    let more = all.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let fixes: Vec<String> = named().map(|one| one.fix(off, kept)).collect();
    (!all.is_empty())
        .then(|| Missing { problem: format!("{setting} is {whose}{rest}"), fix: fixes.join(" ") })
}

/// The setting without which statements have no ids.
const IDS: &str = "compute_query_id";
/// The setting without which the server does not know the id of the statement that failed.
const ACTIVITIES: &str = "track_activities";
/// The setting by which pg_stat_statements counts nothing.
const TRACK: &str = "pg_stat_statements.track";

/// Why statements of sessions of this database, or of one user in it, have no ids, by which they are counted; `None` if they do.
/// Without a user, one role of which that is so is enough, and all of them are named.
pub(crate) fn without_ids(user: Option<&str>) -> Result<Option<Missing>, Error> {
    off_for(&NO_IDS, user)
}

/// The same of sessions of all databases.
pub(crate) fn without_ids_anywhere() -> Result<Option<Missing>, Error> {
    let kept = kept_in(Where::Anywhere, IDS)?;
    let off: Vec<&Kept> = kept.iter().filter(|one| (NO_IDS.is)(&one.value)).collect();
    Ok(match said(&NO_IDS, &kept, &off) {
        None => of_all(&NO_IDS)?,
        said => said,
    })
}

/// Why transactions of this database, or those of a role in it, are not counted when they end.
pub(crate) fn without_transactions() -> Result<Option<Missing>, Error> {
    off_for(&NO_COUNTS, None)
}

/// Why errors are counted without their statement.
pub(crate) fn errors_without_ids(user: Option<&str>) -> Result<Option<Missing>, Error> {
    Ok(match without_ids(user)? {
        None => off_for(&NO_ACTIVITIES, user)?,
        without_ids => without_ids,
    })
}

fn off_for(off: &Off<'_>, user: Option<&str>) -> Result<Option<Missing>, Error> {
    let kept = kept(off.name)?;
    match user {
        None => {
            if let Some(said) = said(off, &kept, &in_force(&kept, off.is)) {
                return Ok(Some(said));
            }
        }
        Some(_) => {
            if let Some(strongest) = kept.iter().find(|kept| kept.is_for(user)) {
                return Ok(said(off, &kept, &[strongest]).filter(|_| (off.is)(&strongest.value)));
            }
        }
    }
    of_all(off)
}

/// Why sessions of this database begin with such a value of a setting, if nothing is kept for their role.
fn of_all(off: &Off<'_>) -> Result<Option<Missing>, Error> {
    let kept = kept(off.name)?;
    if let Some(one) = kept.iter().find(|one| one.role().is_none()) {
        return Ok(said(off, &kept, &[one]).filter(|_| (off.is)(&one.value)));
    }
    let (name, good) = (off.name, off.good);
    Ok(off.configured().filter(|own| (off.is)(own)).map(|own| Missing {
        problem: format!("{name} is {own}"),
        fix: format!("ALTER SYSTEM SET {name} = {good}; SELECT pg_reload_conf();"),
    }))
}

/// Why statements of all of them have no ids.
pub(super) fn ids_of_all() -> Result<Option<Missing>, Error> {
    of_all(&NO_IDS)
}

/// Why pg_stat_statements counts nothing of all of them.
pub(super) fn tracking_of_all() -> Result<Option<Missing>, Error> {
    of_all(&UNTRACKED)
}

/// Roles whose statements have no ids, or which pg_stat_statements does not count, though those of others have and are.
pub(super) fn roles_without_statements() -> Result<Vec<Missing>, Error> {
    let mut found = Vec::new();
    for off in [&NO_IDS, &UNTRACKED] {
        let kept = kept(off.name)?;
        let all = in_force(&kept, off.is).into_iter();
        found.extend(said(off, &kept, &all.filter(|one| one.role().is_some()).collect::<Vec<_>>()));
    }
    Ok(found)
}

/// Of these users those whose sessions begin with such a value of a setting, and why.
pub(super) fn off_of(off: &Off<'_>, users: &Users) -> Result<(Users, Option<Missing>), Error> {
    if users.is_empty() {
        return Ok((Users::new(), None));
    }
    let kept = kept(off.name)?;
    let own = off.configured().filter(|own| (off.is)(own));
    let strongest = |user: &Option<String>| kept.iter().find(|one| one.is_for(user.as_deref()));
    let is_off = |user: &&Option<String>| match strongest(user) {
        Some(one) => (off.is)(&one.value),
        None => own.is_some(),
    };
    let whose: Users = users.iter().filter(is_off).cloned().collect();
    let is_why = |one: &&Kept| {
        whose.iter().filter_map(strongest).any(|strongest| std::ptr::eq(strongest, *one))
    };
    let why = said(off, &kept, &kept.iter().filter(is_why).collect::<Vec<_>>());
    Ok(match why {
        None if !whose.is_empty() => (whose, of_all(off)?),
        why => (whose, why),
    })
}

/// Why pg_stat_statements counts nothing of some of these users.
pub(crate) fn untracked(users: &Users) -> Result<Option<Missing>, Error> {
    Ok(off_of(&UNTRACKED, users)?.1)
}

/// Why plans of all of them are not recorded.
pub(super) fn plans_of_all() -> Result<Option<Missing>, Error> {
    let is_off = |value: &str| value.starts_with('-');
    of_all(&Off { name: "pg_perfmon.plan_min_duration", is: &is_off, good: "'500ms'" })
}

/// Why no execution of all of them is looked into.
pub(super) fn scans_of_all() -> Result<Option<Missing>, Error> {
    let is_none = |value: &str| value.parse::<f64>().is_ok_and(|rate| rate <= 0.0);
    of_all(&Off { name: "pg_perfmon.scan_sample_rate", is: &is_none, good: "0.01" })
}

/// Why the times of some executions, or of all, are not counted.
pub(crate) fn untimed() -> Result<Option<Missing>, Error> {
    if let Some(missing) = missing(None)? {
        return Ok(Some(missing));
    }
    Ok(match without_ids(None)? {
        None => uncounted_by_roles(Where::Here)?,
        without_ids => without_ids,
    })
}

/// Whether sessions of this database, or those of one user in it, begin with pg_stat_statements counting nothing of theirs.
/// Without a user, one role of which that is so is enough.
pub(super) fn is_untracked(user: Option<&str>) -> Result<bool, Error> {
    let is_none = |value: &str| value == "none";
    let kept = kept(TRACK)?;
    Ok(match (user, kept.iter().find(|kept| kept.is_for(user))) {
        (Some(_), Some(strongest)) => is_none(&strongest.value),
        (None, _) if !in_force(&kept, is_none).is_empty() => true,
        _ => role::starting_value(c"pg_stat_statements.track", None)
            .is_some_and(|own| is_none(&own.to_string_lossy())),
    })
}

/// What is kept of a setting with values that hide something of this database's sessions.
pub(crate) fn hiding(
    setting: &str,
    hides: impl Fn(&str) -> bool,
    good: &str,
) -> Result<Option<Missing>, Error> {
    let kept = kept(setting)?;
    let off = Off { name: setting, is: &hides, good };
    Ok(said(&off, &kept, &in_force(&kept, &hides)))
}

/// Roles whose errors do not get to the hooks though others' do.
pub(crate) fn hiding_roles() -> Result<Vec<String>, Error> {
    let roles = roles_with(&HIDDEN)?;
    Ok(roles.into_iter().map(|(role, _)| role).collect())
}

/// Roles that have a setting of their own by which their errors get to the hooks.
pub(crate) fn heard_roles() -> Result<Vec<String>, Error> {
    let is_heard = |value: &str| !settings::hides_errors(value);
    let roles = roles_with(&Off { is: &is_heard, ..HIDDEN })?;
    Ok(roles.into_iter().map(|(role, _)| role).collect())
}

/// Roles of which nothing is counted here though others are, each with the line that changes that.
pub(crate) fn uncounted_roles() -> Result<Vec<(String, String)>, Error> {
    roles_with(&CAPTURE_OFF)
}

/// Roles and databases of which nothing is counted, in any database.
pub(crate) fn uncounted_anywhere() -> Result<Vec<String>, Error> {
    let kept = kept_in(Where::Anywhere, CAPTURE)?;
    Ok(kept.iter().filter(|one| one.value == "off").map(Kept::whose).collect())
}

/// The same in words, of roles of this database or of all databases and theirs.
pub(crate) fn uncounted_by_roles(place: Where) -> Result<Option<Missing>, Error> {
    let kept = kept_in(place, CAPTURE)?;
    let off = match place {
        Where::Here => in_force(&kept, |value| value == "off"),
        Where::Anywhere => kept.iter().filter(|one| one.value == "off").collect(),
    };
    let is_of_some = |one: &&Kept| place == Where::Anywhere || one.role().is_some();
    Ok(said(&CAPTURE_OFF, &kept, &off.into_iter().filter(is_of_some).collect::<Vec<_>>()))
}

/// Roles for which a setting is kept with such a value, each with the line that changes it.
fn roles_with(off: &Off<'_>) -> Result<Vec<(String, String)>, Error> {
    let kept = kept(off.name)?;
    let mut seen: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for one in &kept {
        let Some(role) = one.role().filter(|role| !seen.contains(role)) else { continue };
        seen.push(role);
        if (off.is)(&one.value) {
            found.push((role.to_owned(), one.fix(off, &kept)));
        }
    }
    Ok(found)
}
