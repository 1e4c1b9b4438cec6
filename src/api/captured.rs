//! The lines of `status` about the hooks: whether they count, what hides something from them, and whether what
//! they count finds its place.

use std::ffi::CStr;

use perfmon_core::capture::failure::{self, Class};
use perfmon_core::capture::table::Occupancy;

use super::status::Item;
use crate::error::Error;
use crate::pg::{execution, session};
use crate::recall::absent;
use crate::recall::counting::{CAPTURE, hiding, missing, uncounted_roles};
use crate::settings::{self, Capture};
use crate::watch::live::{self, State};

/// What is to be said; of a library that was not preloaded, that nothing is counted.
pub(super) fn items() -> Result<Vec<Item>, Error> {
    let Some(state) = live::state() else {
        return Ok(vec![Item::warning(
            "capture",
            "execution times and errors are not counted without preloading",
            "See preloaded.",
        )]);
    };
    Ok(vec![
        counting(&state)?,
        room(&state),
        routes(&state),
        plans(&state)?,
        nodes(&state),
        errors()?,
    ])
}

fn counting(state: &State) -> Result<Item, Error> {
    let name = "capture";
    if state.panics > 0 {
        return Ok(Item::error(
            name,
            format!(
                "{} processes count no more after an error of pg_perfmon in each",
                state.panics
            ),
            "New sessions count again. Please report what the server log says.",
        ));
    }
    if let Some(missing) = missing(None)? {
        let value = format!("execution times and errors are not counted: {}", missing.problem);
        return Ok(Item::warning(name, value, missing.fix));
    }
    let roles = uncounted_roles()?;
    if !roles.is_empty() {
        let (names, fixes): (Vec<String>, Vec<String>) = roles.into_iter().unzip();
        let value = format!("{CAPTURE} is off for some roles: {}", names.join(", "));
        return Ok(Item::warning(name, value, fixes.join(" ")));
    }
    Ok(match settings::capture() {
        Capture::Off => Item::warning(
            name,
            "this session switched it off for itself",
            format!("RESET {CAPTURE};"),
        ),
        Capture::Top => Item::ok(name, "statements that clients send"),
        Capture::All => Item::ok(name, "statements that clients send, and those nested in others"),
    })
}

fn room(state: &State) -> Item {
    let (statements, failures) = (state.statements, state.failures);
    let mut value = format!("{} of {} statements", statements.used, statements.capacity);
    let name = "capture memory";
    let lost = |of: Occupancy| of.refused + of.folded > 0;
    if lost(statements) {
        value += &format!(
            "; {} of the coldest went into the rest of their database, {} times a new one found no place",
            statements.folded, statements.refused
        );
    }
    if lost(failures) {
        value += &format!(
            "; {} of {} kinds of error, of which {} went into the rest of their database, and {} times a new one found no place",
            failures.used, failures.capacity, failures.folded, failures.refused
        );
    }
    if !lost(statements) && !lost(failures) {
        return Item::ok(name, value);
    }
    Item::warning(
        name,
        value,
        "Raise pg_perfmon.max_statements (2 kB each) and restart the server.",
    )
}

fn nodes(state: &State) -> Item {
    let nodes = state.scans;
    let name = "scan evidence";
    if settings::scan_sample_ratio() <= 0.0 {
        return Item::warning(
            name,
            "no execution is looked into",
            "ALTER SYSTEM SET pg_perfmon.scan_sample_rate = 0.01; SELECT pg_reload_conf();",
        );
    }
    let value = format!("{} of {} nodes of plans", nodes.used, nodes.capacity);
    if nodes.refused + nodes.folded == 0 {
        return Item::ok(name, value);
    }
    // The coldest go; what costs most is what is kept.
    let value = format!(
        "{value}; {} of the coldest went into the rest of their database, {} times a new one found no place",
        nodes.folded, nodes.refused
    );
    Item::ok(name, value)
}

fn routes(state: &State) -> Item {
    let (routes, databases) = (state.routes, state.databases);
    let mut value = format!("{} of {} routes", routes.used, routes.capacity);
    let name = "routes";
    if routes.refused + routes.folded == 0 && !state.has_lost_routes {
        return Item::ok(name, value);
    }
    value += &format!(
        "; {} of the coldest went into the rest of their database, {} times a new one found no place",
        routes.folded, routes.refused
    );
    if state.has_lost_routes {
        value += "; of some databases the executions were not known, as they found no place at all";
    }
    let fix = if state.has_lost_routes || databases.saturating_mul(2) > routes.capacity {
        format!(
            "Raise pg_perfmon.max_routes (2 kB each) and restart the server: {databases} databases take one each for the rest."
        )
    } else {
        "Have applications name few routes (patterns, not addresses), or raise pg_perfmon.max_routes (2 kB each) and restart the server.".to_owned()
    };
    Item::warning(name, value, fix)
}

fn plans(state: &State) -> Result<Item, Error> {
    let name = "plans";
    if let Some(missing) = absent::plans()? {
        let value = format!("not recorded: {}", missing.problem);
        return Ok(Item::warning(name, value, missing.fix));
    }
    let (plans, post) = (state.plans, state.post);
    let lost = post.dropped + post.expired + post.failed + plans.refused + plans.folded;
    let value =
        format!("{} of {} plans in memory; {} were printed", plans.used, plans.capacity, post.sent);
    if lost == 0 {
        return Ok(Item::ok(name, value));
    }
    let value = format!(
        "{value}; {} found no room, {} were not collected, {} could not be printed, {} made room for others, {} times a new one found no place",
        post.dropped, post.expired, post.failed, plans.folded, plans.refused
    );
    Ok(Item::ok(name, value))
}

/// Settings that keep errors from the hook, the values that do, what follows, and the value to be set.
const HIDING: [(&CStr, &[&str], &str, &str); 3] = [
    (
        c"log_min_messages",
        &["log", "fatal", "panic"],
        "errors are hidden: they are not counted",
        "'error'",
    ),
    (
        c"compute_query_id",
        &["off"],
        "errors are counted without their statement, and of executions only the number",
        "'auto'",
    ),
    (c"track_activities", &["off"], "errors are counted without their statement", "on"),
];

/// The server calls the hook for what it logs only, and knows the statement only if it tracks it. What this session
/// began with is what others do, unless something is kept for its role.
fn errors() -> Result<Item, Error> {
    let name = "capture of errors";
    if let Some(missing) = missing(None)? {
        let value = format!("they are not counted: {}", missing.problem);
        return Ok(Item::warning(name, value, missing.fix));
    }
    for (parameter, values, what, good) in HIDING {
        let setting = &parameter.to_string_lossy();
        let hides = |value: &str| {
            values.contains(&value) || (values == ["off"] && ["false", "no", "0"].contains(&value))
        };
        if let Some(hidden) = hiding(setting, hides, good)? {
            return Ok(Item::warning(name, format!("{}: {what}", hidden.problem), hidden.fix));
        }
        let own = session::configured(parameter).unwrap_or_default();
        if hides(&own) {
            return Ok(Item::warning(
                name,
                format!("{setting} is {own}: {what}"),
                format!("ALTER SYSTEM SET {setting} = {good}; SELECT pg_reload_conf();"),
            ));
        }
    }
    Ok(Item::ok(name, heard()))
}

/// Whether all errors got to the hook so far: sessions, functions and transactions have settings of their own.
fn heard() -> String {
    let failures = live::failures(Some(execution::database())).unwrap_or_default();
    let unseen = failures.iter().filter(|one| failure::of_kind(one.key.kind).0 == Class::Unseen);
    match unseen.fold(0_u64, |sum, one| sum.wrapping_add(one.count)) {
        0 => "works".to_owned(),
        n => format!(
            "works; since the server started {n} errors were kept from the hooks by log_min_messages or \
             pg_perfmon.capture: \
             errors_since_start() tells whose (unseen)"
        ),
    }
}
