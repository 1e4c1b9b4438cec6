//! What the launcher, the collectors and their board say about themselves.

use super::{Item, show_time};
use crate::pg::session;
use crate::settings;
use crate::worker::board::{SLOTS, State as Seen};
use crate::worker::status::Status;
use crate::worker::{episodes, sampling};

/// Of so many statements one without known names is nothing unusual.
const MANY: u32 = 10;

/// What to do about more databases than can be watched.
const TOO_MANY: &str = "Drop databases that are not needed, or forbid connections to those that need no watching: ALTER DATABASE ... ALLOW_CONNECTIONS false.";

pub(super) fn library(worker: &Status) -> Item {
    if worker.preloaded {
        return Item::ok("preloaded", "yes");
    }
    let libraries = session::get("shared_preload_libraries").unwrap_or_default();
    let list = if libraries.is_empty() {
        "pg_stat_statements,pg_perfmon".to_owned()
    } else {
        format!("{libraries},pg_perfmon")
    };
    Item::warning(
        "preloaded",
        "no: snapshots are taken only when perfmon.snapshot() is called",
        format!(
            "In postgresql.conf: shared_preload_libraries = '{list}', then restart the server."
        ),
    )
}

pub(super) fn launcher(worker: &Status) -> Option<Item> {
    if !worker.preloaded {
        return None;
    }
    Some(match worker.launcher {
        Some(pid) => Item::ok("launcher", format!("running, process {pid}")),
        None if session::in_recovery() => {
            Item::ok("launcher", "not running: this is a standby; it starts upon promotion")
        }
        None => Item::error(
            "launcher",
            "not running",
            "It is started again within seconds. If not, see the server log and raise max_worker_processes.",
        ),
    })
}

pub(super) fn schedule() -> Option<Item> {
    let seconds = settings::snapshot_interval_us() / 1_000_000;
    if settings::enabled() {
        return Some(Item::ok("interval", format!("{seconds} s")));
    }
    Some(Item::warning(
        "interval",
        "scheduled snapshots are off",
        "ALTER SYSTEM SET pg_perfmon.enabled = on; SELECT pg_reload_conf();",
    ))
}

/// Samples of what sessions do, and what they cost.
#[allow(clippy::cast_precision_loss)]
pub(super) fn samples(worker: &Status) -> Option<Item> {
    let cost = sampling::cost().filter(|_| !session::in_recovery())?;
    const NAME: &str = "samples of activity";
    if settings::activity_interval_us().is_none() {
        let hint = "ALTER SYSTEM SET pg_perfmon.activity_interval = '1s'; SELECT pg_reload_conf();";
        return Some(Item::warning(NAME, "off", hint));
    }
    // Without a launcher there are none, and that is said elsewhere.
    worker.launcher?;
    let mean = if cost.samples > 0 { cost.cost_ns as f64 / cost.samples as f64 } else { 0.0 };
    let mut value = format!(
        "{} since the server started, {:.3} ms each, {:.3} ms at most; {} processes at the last",
        cost.samples,
        mean / 1e6,
        cost.most_ns as f64 / 1e6,
        cost.sessions
    );
    if let Some((looks, ns)) = episodes::looks().filter(|(looks, _)| *looks > 0) {
        let each = ns as f64 / looks as f64 / 1e6;
        value.push_str(&format!("; {looks} looks at locks, {each:.3} ms each"));
    }
    Some(Item::ok(NAME, value))
}

pub(super) fn collector(worker: &Status) -> Option<Item> {
    if !worker.preloaded || session::in_recovery() {
        return None;
    }
    if worker.starved {
        return Some(Item::error(
            "collector",
            "cannot be started: no background worker is free",
            "ALTER SYSTEM SET max_worker_processes = (more); then restart the server.",
        ));
    }
    let Some(slot) = worker.slot else {
        return Some(match worker.without_slot {
            0 => Item::ok("collector", "has not visited this database yet"),
            _ => Item::error("collector", "has no place for this database", TOO_MANY),
        });
    };
    Some(match (slot.state, slot.message()) {
        (Seen::Mismatch, message) => Item::error(
            "collector",
            message.unwrap_or_else(|| "library and SQL objects differ".to_owned()),
            "ALTER EXTENSION pg_perfmon UPDATE;",
        ),
        // Nothing went wrong: it is the wrong moment.
        (_, Some(message)) if slot.failed && slot.failures == 0 => Item::warning(
            "collector",
            format!("took no snapshot: {message}"),
            "It takes one with the next visit that finds nothing in its way.",
        ),
        (_, Some(message)) if slot.failed => Item::error(
            "collector",
            format!("failed {} times in a row: {message}", slot.failures),
            "It tries again, less and less often. See the server log.",
        ),
        (_, Some(message)) => Item::warning(
            "collector",
            message,
            "Part of the last snapshot is missing; see the server log.",
        ),
        (_, None) if slot.running => Item::ok("collector", "at work"),
        (_, None) => Item::ok("collector", "works"),
    })
}

/// Making tables ahead, adding up, dropping what is old: shown while it fails, whatever snapshots do.
pub(super) fn housekeeping(worker: &Status) -> Option<Item> {
    let slot = worker.slot?;
    let why = slot.house_message()?;
    Some(Item::error(
        "housekeeping",
        format!("failed {} times in a row: {why}", slot.house_failures),
        "It is tried again, less and less often; until then nothing is added up, and nothing old is dropped. See the server log.",
    ))
}

/// Findings that are older than they should be: shown while the last evaluation could not run.
pub(super) fn evaluation(worker: &Status) -> Option<Item> {
    let slot = worker.slot?;
    let since = slot.unjudged_since()?;
    let value = match since {
        0 => "not evaluated since the server started".to_owned(),
        at => format!("not evaluated since {}", show_time(at)),
    };
    let why = if slot.evaluation_failing {
        "The last evaluation failed: see the server log. It is tried again with later snapshots."
    } else {
        "Another session was evaluating them. It is tried again with a later snapshot."
    };
    Some(Item::warning("findings", value, why))
}

/// Statements whose names could not be resolved, at the last evaluation: nothing is advised for them.
pub(super) fn names(worker: &Status) -> Option<Item> {
    const NAME: &str = "names in statements";
    let names = worker.slot?.names;
    let (all, lost) = (names.statements, names.unresolved);
    if all == 0 || lost == 0 {
        return (all > 0).then(|| Item::ok(NAME, format!("all of {all} are known")));
    }
    let value = format!(
        "{lost} of {all} name what is not there, or other tables than their executions read: nothing is advised for them"
    );
    // A table is dropped now and then.
    if lost < all.div_ceil(MANY) {
        return Some(Item::ok(NAME, value));
    }
    Some(Item::warning(
        NAME,
        value,
        "ALTER ROLE ... SET search_path = ...; to what its sessions set. See the manual, Names in statements.",
    ))
}

/// More databases than there are places: said in each of them, since the rest cannot speak.
pub(super) fn places(worker: &Status) -> Option<Item> {
    (worker.without_slot > 0).then(|| {
        Item::warning(
            "databases without a place",
            format!(
                "{}: they are not watched, since there is place for {SLOTS}",
                worker.without_slot
            ),
            TOO_MANY,
        )
    })
}

/// What belongs to the whole cluster is kept in one database.
pub(super) fn home(worker: &Status) -> Option<Item> {
    let slot = worker.slot?;
    let value = if slot.home {
        "here: WAL, checkpoints, I/O and all databases are recorded in this database".to_owned()
    } else {
        "another database records I/O and all databases; see pg_perfmon.database".to_owned()
    };
    Some(Item::ok("home database", format!("{value} ({} watched)", worker.watched)))
}
