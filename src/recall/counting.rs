//! Where settings of databases and roles switch counting off, and the line that switches it on. It must never go by
//! what the session at hand set for itself: that says nothing about others.

use super::cell::Cell;
use super::query;
use super::words::Raw;
use crate::error::Error;
use crate::pg::session;
use crate::settings;

/// A setting with which sessions of this database begin, set for a database, a role, both, or all roles.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) value: String,
    /// As they are called, and as SQL writes them.
    database: Option<String>,
    role: Option<(String, String)>,
}

impl Kept {
    /// The line that takes the setting back.
    pub(crate) fn fix(&self, name: &str) -> String {
        match (&self.role, &self.database) {
            (Some((_, role)), Some(database)) => {
                format!("ALTER ROLE {role} IN DATABASE {database} RESET {name};")
            }
            (Some((_, role)), None) => format!("ALTER ROLE {role} RESET {name};"),
            (None, Some(database)) => format!("ALTER DATABASE {database} RESET {name};"),
            (None, None) => format!("ALTER ROLE ALL RESET {name};"),
        }
    }

    /// The role that it is for, if for one only.
    pub(crate) fn role(&self) -> Option<&str> {
        self.role.as_ref().map(|(name, _)| name.as_str())
    }

    fn is_for(&self, user: Option<&str>) -> bool {
        self.role().is_none() || self.role() == user
    }
}

/// All that is kept of a setting for this database and its roles, the strongest first.
pub(crate) fn kept(name: &str) -> Result<Vec<Kept>, Error> {
    let own = session::database();
    let rows = query::rows(
        "SELECT pg_catalog.substr(c, pg_catalog.strpos(c, '=') OPERATOR(pg_catalog.+) 1),
             CASE WHEN s.setdatabase OPERATOR(pg_catalog.<>) 0
                 THEN pg_catalog.quote_ident(pg_catalog.current_database()) END,
             CASE WHEN s.setrole OPERATOR(pg_catalog.<>) 0
                 THEN pg_catalog.pg_get_userbyid(s.setrole)::pg_catalog.text END,
             CASE WHEN s.setrole OPERATOR(pg_catalog.<>) 0
                 THEN pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(s.setrole)) END
         FROM pg_catalog.pg_db_role_setting s, pg_catalog.unnest(s.setconfig) c
         WHERE (s.setdatabase OPERATOR(pg_catalog.=) 0
                 OR s.setdatabase::pg_catalog.int8 OPERATOR(pg_catalog.=) $1)
             AND pg_catalog.lower(pg_catalog.split_part(c, '=', 1)) OPERATOR(pg_catalog.=) $2
         ORDER BY s.setrole OPERATOR(pg_catalog.=) 0, s.setdatabase OPERATOR(pg_catalog.=) 0,
             pg_catalog.pg_get_userbyid(s.setrole)",
        &[i64::from(own.to_u32()).into(), Raw::from(name).into()],
    )?;
    let one = |row: &Vec<Cell>| {
        let text = |i: usize| row.get(i).and_then(Cell::text);
        Some(Kept { value: text(0)?.to_lowercase(), database: text(1), role: text(2).zip(text(3)) })
    };
    Ok(rows.iter().filter_map(one).collect())
}

/// Why nothing is counted, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) problem: String,
    pub(crate) fix: String,
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
        let of = strongest.role().map(|role| format!(" for role {role}")).unwrap_or_default();
        return Ok((strongest.value == "off").then(|| Missing {
            problem: format!("{CAPTURE} is off{of}"),
            fix: strongest.fix(CAPTURE),
        }));
    }
    // What this session began with is what the server is configured with, if nothing was kept for its own user.
    let own = query::value("SELECT SESSION_USER::pg_catalog.text", &[])?.text();
    let is_own = kept.iter().any(|kept| kept.is_for(own.as_deref()));
    Ok((!is_own && settings::capture_is_off()).then(|| Missing {
        problem: format!("{CAPTURE} is off"),
        fix: "ALTER SYSTEM SET pg_perfmon.capture = 'top'; SELECT pg_reload_conf();".to_owned(),
    }))
}

/// The setting by which the server keeps errors from the hooks.
const LEAST_LOGGED: &str = "log_min_messages";

/// Why errors of sessions of this database, or of those of one user in it, do not get to the hooks; `None` if they do.
/// Without a user, one role of which that is so is enough.
pub(crate) fn hidden_errors(user: Option<&str>) -> Result<Option<Missing>, Error> {
    let kept = kept(LEAST_LOGGED)?;
    let strongest = match user {
        Some(_) => kept.iter().find(|kept| kept.is_for(user)),
        None => kept.iter().find(|kept| settings::hides_errors(&kept.value)),
    };
    if let Some(one) = strongest {
        let of = one.role().map(|role| format!(" for role {role}")).unwrap_or_default();
        return Ok(settings::hides_errors(&one.value).then(|| Missing {
            problem: format!("{LEAST_LOGGED} is {}{of}", one.value),
            fix: one.fix(LEAST_LOGGED),
        }));
    }
    let own = session::configured(c"log_min_messages").unwrap_or_default();
    Ok(settings::hides_errors(&own).then(|| Missing {
        problem: format!("{LEAST_LOGGED} is {own}"),
        fix: format!("ALTER SYSTEM SET {LEAST_LOGGED} = 'error'; SELECT pg_reload_conf();"),
    }))
}

/// Roles whose errors do not get to the hooks though others' do.
pub(crate) fn hiding_roles() -> Result<Vec<String>, Error> {
    let roles = roles_with(LEAST_LOGGED, settings::hides_errors)?;
    Ok(roles.into_iter().map(|(role, _)| role).collect())
}

/// Roles of which nothing is counted here though others are, each with the line that changes that.
pub(crate) fn uncounted_roles() -> Result<Vec<(String, String)>, Error> {
    roles_with(CAPTURE, |value| value == "off")
}

/// Roles for which a setting is kept with such a value, each with the line that takes it back.
fn roles_with(
    setting: &str,
    is_meant: impl Fn(&str) -> bool,
) -> Result<Vec<(String, String)>, Error> {
    let kept = kept(setting)?;
    let mut seen: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for one in &kept {
        let Some(role) = one.role().filter(|role| !seen.contains(role)) else { continue };
        seen.push(role);
        if is_meant(&one.value) {
            found.push((role.to_owned(), one.fix(setting)));
        }
    }
    Ok(found)
}
