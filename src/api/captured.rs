//! The lines of `status` about the hooks: whether they count, what hides something from them, and whether what
//! they count finds its place.

use super::status::Item;
use crate::pg::session;
use crate::settings::{self, Capture};
use crate::watch::live::{self, State};

/// What is to be said; of a library that was not preloaded, that nothing is counted.
pub(super) fn items() -> Vec<Item> {
    let Some(state) = live::state() else {
        return vec![Item::warning(
            "capture",
            "execution times and errors are not counted without preloading",
            "See preloaded.",
        )];
    };
    vec![counting(&state), room(&state), routes(&state), plans(&state), nodes(&state), errors()]
}

fn counting(state: &State) -> Item {
    if state.panics > 0 {
        return Item::error(
            "capture",
            format!(
                "{} processes count no more after an error of pg_perfmon in each",
                state.panics
            ),
            "New sessions count again. Please report what the server log says.",
        );
    }
    match settings::capture() {
        Capture::Off => Item::warning(
            "capture",
            "execution times and errors of this session are not counted",
            "ALTER SYSTEM SET pg_perfmon.capture = 'top'; SELECT pg_reload_conf(); see also ALTER ROLE and ALTER DATABASE.",
        ),
        Capture::Top => Item::ok("capture", "statements that clients send"),
        Capture::All => {
            Item::ok("capture", "statements that clients send, and those nested in others")
        }
    }
}

fn room(state: &State) -> Item {
    let (statements, failures) = (state.statements, state.failures);
    let value = format!("{} of {} statements", statements.used, statements.capacity);
    let name = "capture memory";
    if statements.refused + statements.folded > 0 {
        let value = format!(
            "{value}; {} of the coldest went into the rest of their database, {} times a new one found no place",
            statements.folded, statements.refused
        );
        let hint = "Raise pg_perfmon.max_statements (2 kB each) and restart the server.";
        return Item::warning(name, value, hint);
    }
    if failures.refused + failures.folded > 0 {
        return Item::ok(
            name,
            format!(
                "{value}; {} kinds of error went into the rest of their database, {} times a new one found no place",
                failures.folded, failures.refused
            ),
        );
    }
    Item::ok(name, value)
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
    let routes = state.routes;
    let value = format!("{} of {} routes", routes.used, routes.capacity);
    let name = "routes";
    if routes.refused + routes.folded == 0 {
        return Item::ok(name, value);
    }
    Item::warning(
        name,
        format!(
            "{value}; {} of the coldest went into the rest of their database, {} times a new one found no place",
            routes.folded, routes.refused
        ),
        "Have applications name few routes (patterns, not addresses), or raise pg_perfmon.max_routes (2 kB each) and restart the server.",
    )
}

fn plans(state: &State) -> Item {
    let name = "plans";
    if let Some(why) = settings::no_plans() {
        return Item::warning(name, "not recorded", why);
    }
    let (plans, post) = (state.plans, state.post);
    let lost = post.dropped + post.expired + post.failed + plans.refused + plans.folded;
    let value =
        format!("{} of {} plans in memory; {} were printed", plans.used, plans.capacity, post.sent);
    if lost == 0 {
        return Item::ok(name, value);
    }
    let value = format!(
        "{value}; {} found no room, {} were not collected, {} could not be printed, {} made room for others, {} times a new one found no place",
        post.dropped, post.expired, post.failed, plans.folded, plans.refused
    );
    Item::ok(name, value)
}

/// The server calls the hook for what it logs only, and knows the statement only if it tracks it.
fn errors() -> Item {
    let name = "capture of errors";
    let least = session::get("log_min_messages").unwrap_or_default();
    if matches!(least.as_str(), "log" | "fatal" | "panic") {
        return Item::warning(
            name,
            format!("log_min_messages = {least} hides errors: they are not counted"),
            "ALTER SYSTEM SET log_min_messages = 'error'; SELECT pg_reload_conf();",
        );
    }
    if session::get("compute_query_id").as_deref() == Some("off") {
        return Item::warning(
            name,
            "compute_query_id is off: errors are counted without their statement, executions not at all",
            "ALTER SYSTEM SET compute_query_id = 'auto'; SELECT pg_reload_conf();",
        );
    }
    if session::get("track_activities").as_deref() == Some("off") {
        return Item::warning(
            name,
            "track_activities is off: errors are counted without their statement",
            "ALTER SYSTEM SET track_activities = on; SELECT pg_reload_conf();",
        );
    }
    Item::ok(name, "works")
}
