//! Why sessions queue: one verdict, and what shows it.

use super::elsewhere::Elsewhere;
use super::head::Head;
use super::limit::{Kind, Limit};
use super::look::weighted;
use super::pooled::Waiting;
use super::{CRITICAL_RATIO, Group};
use crate::detect::words::{name, second};
use crate::finding::Evidence;
use crate::threshold::{Threshold, Thresholds};

/// Sessions in a state below which nothing is said of it.
pub const MIN_SESSIONS: Threshold = Threshold::new(
    "queue_sessions",
    0.5,
    "sessions waiting on average below which they are no queue",
    "pg_perfmon: half a session is one that waits every other moment",
);
/// Active sessions for each processor.
pub const CROWDED: Threshold = Threshold::new(
    "queue_crowded_ratio",
    4.0,
    "active sessions for each processor from which the pool is called too large",
    "HikariCP, About Pool Sizing: twice the cores and the disks; doubled",
);
/// Sessions that idle.
pub const IDLE_RATIO: Threshold = Threshold::ratio(
    "queue_idle_ratio",
    0.5,
    "share of idle sessions from which those that hold a full limit are called idle",
    "pg_perfmon",
);

/// Why sessions queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// They do not.
    Nothing,
    /// Clients that have not said who they are take the places.
    Authentication,
    /// More want a processor than there are.
    Cpu,
    /// They wait for a lock that somebody holds.
    Lock,
    /// They wait for files.
    Io,
    /// They wait inside the server for something else: a standby, another process, a lock of the server's own.
    Wait,
    /// They wait for their client inside a transaction.
    Client,
    /// Clients wait at a pooler that gives them none of its connections: it is paused, or another limit of it is reached.
    Pooler,
    /// Clients wait for a connection while the server has room.
    PoolTooSmall,
    /// Connections are held idle, or so many work that they hinder each other.
    PoolTooLarge,
}

impl Cause {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Authentication => "authentication",
            Self::Cpu => "cpu",
            Self::Lock => "lock",
            Self::Io => "io",
            Self::Wait => "wait",
            Self::Client => "client",
            Self::Pooler => "pooler",
            Self::PoolTooSmall => "pool_too_small",
            Self::PoolTooLarge => "pool_too_large",
        }
    }
}

/// Who waits at poolers for connections of a group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Behind {
    /// Clients that wait for connections which others have; `None` where no pooler says so.
    pub waiting: Option<f64>,
    /// Those that wait while their pool uses none.
    pub held_up: f64,
    /// Of either, the pool for which most wait.
    pub most: Option<Waiting>,
}

impl Behind {
    /// Of several pools.
    pub fn of<'a>(all: impl Iterator<Item = &'a Waiting>) -> Self {
        let mut found = Self::default();
        for one in all {
            found.waiting = Some(found.waiting.unwrap_or(0.0) + one.clients);
            found.held_up += one.held_up;
            found.keep(Some(one));
        }
        found
    }

    /// On average over stretches with so many samples.
    pub fn mean<'a>(parts: impl Iterator<Item = (u64, &'a Self)> + Clone) -> Self {
        let waiting = parts.clone().filter_map(|(samples, one)| Some((samples, one.waiting?)));
        let held_up = parts.clone().map(|(samples, one)| (samples, one.held_up));
        let (waiting, held_up) = (weighted(waiting), weighted(held_up).unwrap_or(0.0));
        let mut found = Self { waiting, held_up, most: None };
        parts.for_each(|(_, one)| found.keep(one.most.as_ref()));
        found
    }

    fn keep(&mut self, other: Option<&Waiting>) {
        let all = |one: &Waiting| one.clients + one.held_up;
        if let Some(other) = other.filter(|other| all(other) > self.most.as_ref().map_or(0.0, all))
        {
            self.most = Some(other.clone());
        }
    }

    /// A limit of the pooler that keeps clients waiting, if it is another than the size of their pool.
    fn shared(&self) -> Option<(&Waiting, &Limit)> {
        let most = self.most.as_ref()?;
        let limit = most.limit.as_ref().filter(|limit| limit.is_nearly_used())?;
        limit.kind.shared().map(|_| (most, limit))
    }
}

/// All sessions under a limit that several groups share.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Held {
    /// Open on average.
    pub open: f64,
    /// Outside of a transaction.
    pub idle: f64,
    /// The most of these at a time.
    pub idle_most: f64,
    /// The most open at a time; 0 where it is not known.
    pub open_most: f64,
    /// The program that holds most of these.
    pub by: Option<String>,
}

/// What is known of the sessions that may queue, on average over a window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Load {
    /// No sample tells of sessions, as nothing happened: their numbers are not known.
    pub unseen: bool,
    /// Open sessions.
    pub open: f64,
    /// Outside of a transaction.
    pub idle: f64,
    /// The most of these at a time.
    pub idle_most: f64,
    /// The most open at a time; 0 where it is not known.
    pub open_most: f64,
    /// Of the whole server, the most clients at a time that had not said who they are.
    pub starting_most: f64,
    /// Inside a statement.
    pub active: f64,
    /// Inside a statement, waiting for nothing.
    pub cpu: f64,
    /// Waiting for locks.
    pub lock: f64,
    /// Waiting for files.
    pub io: f64,
    /// Waiting inside statements for something else, where it is known for what.
    pub elsewhere: Option<Elsewhere>,
    /// Waiting for the client inside a transaction, between two statements.
    pub client: f64,
    /// Waiting for the client inside a statement: it sends no more of what it copies, or does not read results.
    pub stalled: f64,
    /// Active on the whole server, waiting for nothing: who competes for processors.
    pub cpu_of_all: f64,
    /// Active on the whole server.
    pub active_of_all: f64,
    /// Processors.
    pub cpus: Option<f64>,
    /// Clients that wait for a connection at poolers.
    pub behind: Behind,
    /// Connections that were refused.
    pub refused: Option<u64>,
    /// By which limit.
    pub refuser: Option<Limit>,
    /// The limit met first.
    pub limit: Option<Limit>,
    /// All that are under that limit, if these are others than its own sessions.
    pub held: Option<Held>,
    /// At the head of those that wait for locks.
    pub head: Option<Head>,
}

impl Load {
    /// Of a group; `all` is the group of the whole server.
    pub fn of(group: &Group, all: &Group, cpus: Option<f64>) -> Option<Self> {
        let in_transaction = group.in_transaction.average?;
        let active = group.active.average?;
        // Who idles in a transaction waits for the client too.
        let stalled = group.on_client.map_or(0.0, |all| (all - in_transaction).clamp(0.0, active));
        Some(Self {
            open: group.open.average?,
            idle: group.idle.average?,
            idle_most: group.idle_most(),
            open_most: group.open_most(),
            starting_most: all.starting_most(),
            active,
            cpu: group.on_cpu?,
            lock: group.on_lock?,
            io: group.on_io?,
            client: in_transaction,
            stalled,
            cpu_of_all: all.on_cpu?,
            active_of_all: all.active.average?,
            cpus,
            limit: group.binding().copied(),
            ..Self::default()
        })
    }

    /// Inside a statement, not waiting for the client.
    fn executing(&self) -> f64 {
        self.active - self.stalled
    }

    /// Of these, the ones whose wait is for nothing of what is counted.
    pub fn elsewhere_of_any_kind(&self) -> f64 {
        (self.executing() - self.cpu - self.lock - self.io).max(0.0)
    }
}

/// The verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Why.
    pub cause: Cause,
    /// In words.
    pub detail: String,
    /// What shows it.
    pub evidence: Vec<Evidence>,
}

/// Says why sessions queue.
pub fn verdict(load: &Load, thresholds: &Thresholds) -> Verdict {
    let (cause, detail) = decide(load, thresholds);
    let mut evidence = evidence(load, thresholds);
    // Of another cause it shows nothing.
    let head = load.head.iter().filter(|_| cause == Cause::Lock);
    evidence.extend(head.flat_map(evidence_of_head));
    let pooler = Some(&load.behind).filter(|_| cause == Cause::Pooler);
    evidence.extend(pooler.into_iter().flat_map(|behind| evidence_of_pooler(behind, thresholds)));
    Verdict { cause, detail, evidence }
}

fn decide(load: &Load, thresholds: &Thresholds) -> (Cause, String) {
    let least = thresholds.of(&MIN_SESSIONS);
    let waiting = load.behind.waiting.unwrap_or(0.0);
    let refused = load.refused.unwrap_or(0);
    let full = load.limit.filter(|limit| limit.ratio() > thresholds.of(&CRITICAL_RATIO));
    let short = full.is_some() || refused > 0 || waiting >= least;
    // What keeps others out: sessions of which the limit would be as full if they were not there do not.
    let keeper = full.filter(|limit| !limit.kind.is_of_pool());
    let of_pooler = full.is_some_and(|limit| limit.kind.is_of_pooler());
    let keeper = keeper.or(load.refuser.filter(|_| !of_pooler && refused > 0));
    let keeps_out = |n: f64| keeper.is_none_or(|limit| limit.has_room_without(n, thresholds));
    let starting = Some(load.starting_most).filter(|n| *n >= 1.0);
    let starting = starting.filter(|_| keeper.is_some_and(|limit| limit.kind == Kind::Server));
    let lacks = words_of_lack(load, full.as_ref(), starting);
    let idle_ratio = thresholds.of(&IDLE_RATIO);
    let places = keeper.map_or(0.0, |limit| f64::from(limit.most));
    if starting.is_some_and(|n| n > idle_ratio * places) {
        return (Cause::Authentication, lacks);
    }
    // An average is also of the time in which few were open. When most were, no more idled than ever did.
    let idled = |idle_most: f64, open_most: f64| idle_most >= idle_ratio * open_most;
    let own_idled = of_pooler || idled(load.idle_most.max(load.idle), load.open_most);
    let own_keep_out = held_idle(load, full.as_ref(), refused > 0) > idle_ratio
        && keeps_out(load.idle_most.max(load.idle))
        && own_idled;
    let others = load
        .held
        .as_ref()
        .filter(|held| keeps_out(held.idle_most.max(held.idle)))
        .filter(|held| idled(held.idle_most.max(held.idle), held.open_most))
        .filter(|held| {
            let is_shared = full.map_or(refused > 0, |limit| !limit.kind.is_of_pool());
            is_shared && !own_keep_out && held.idle > idle_ratio * held.open
        });
    if let Some(Held { open, idle, by, .. }) = others {
        let by = by.as_ref().map(|by| format!(", most of them of {by}")).unwrap_or_default();
        let detail = format!(
            "{lacks}: {idle:.1} of {open:.1} open sessions under the same limit idle outside of a transaction and keep \
             others out{by}"
        );
        return (Cause::PoolTooLarge, detail);
    }
    if own_keep_out {
        if let Some(share) = full.filter(|limit| limit.kind.is_of_pooler()).and_then(|l| l.idle) {
            let of = 100.0 * share;
            let detail =
                format!("{lacks}: {of:.0} % of the connections that clients were given idle");
            return (Cause::PoolTooLarge, detail);
        }
        let detail = format!(
            "{lacks}: {:.1} of {:.1} open sessions idle outside of a transaction and keep others out",
            load.idle, load.open
        );
        return (Cause::PoolTooLarge, detail);
    }
    // One client that reads slowly is in nobody's way; those that hold what others want are.
    let client = load.client + if short { load.stalled } else { 0.0 };
    let executing = load.executing();
    let elsewhere = load.elsewhere.as_ref().map_or(0.0, |elsewhere| elsewhere.sessions);
    let behind = if waiting > 0.0 { format!("; {lacks}") } else { String::new() };
    let largest = load.lock.max(load.io).max(elsewhere).max(client).max(load.cpu);
    let is = |part: f64| part >= least && part >= largest;
    if let Some(detail) = held_up(load, full.is_some()).filter(|_| is(load.behind.held_up)) {
        return (Cause::Pooler, detail);
    }
    if is(load.lock) {
        let head = load.head.as_ref().map(|head| format!("; at the head is {}", head.words()));
        let head = head.unwrap_or_default();
        return (Cause::Lock, format!("{:.1} sessions wait for locks{head}{behind}", load.lock));
    }
    if is(client) && (short || client > load.active) {
        let inside = if load.stalled > load.client { "statement" } else { "transaction" };
        let detail = format!(
            "{client:.1} sessions wait for their client inside a {inside}, {executing:.1} execute{behind}"
        );
        return (Cause::Client, detail);
    }
    if is(load.io) {
        return (Cause::Io, format!("{:.1} sessions wait for files{behind}", load.io));
    }
    if let Some(found) = load.elsewhere.as_ref().filter(|found| is(found.sessions)) {
        return (Cause::Wait, format!("{}{behind}", found.words()));
    }
    if let Some(cpus) = load.cpus.filter(|cpus| load.cpu_of_all > *cpus && load.cpu >= least) {
        let detail = format!(
            "{:.1} sessions want a processor at a time, there are {cpus:.0}",
            load.cpu_of_all
        );
        let crowded = load.active_of_all > cpus * thresholds.of(&CROWDED);
        return (if crowded { Cause::PoolTooLarge } else { Cause::Cpu }, detail);
    }
    let elsewhere = Some(load.elsewhere_of_any_kind()).filter(|n| *n >= least).map(|n| {
        format!(", {n:.1} of them wait for something else inside the server: top_waits() names it")
    });
    let elsewhere = elsewhere.unwrap_or_default();
    let room = format!("while the server has room: {executing:.1} sessions execute{elsewhere}");
    let keeps = load.behind.shared().filter(|_| waiting >= least);
    let keeps = keeps.map(|(at, limit)| (format!(" at the pooler {}", name(&at.pooler)), *limit));
    let keeps = keeps.or(full.map(|limit| (String::new(), limit)));
    if let Some((at, limit)) = keeps
        && let Some(setting) = limit.kind.shared()
    {
        let most = limit.most;
        let detail = format!("{lacks}{at}, as the pooler's {setting} allows {most}, {room}");
        return (Cause::Pooler, detail);
    }
    let detail = format!("{lacks}, {room}");
    if short { (Cause::PoolTooSmall, detail) } else { (Cause::Nothing, "nothing queues".into()) }
}

/// Clients that a pooler keeps waiting although it uses none of its connections for them. One that cannot log in where a limit
/// of the server is full is not in their way itself.
fn held_up(load: &Load, is_full: bool) -> Option<String> {
    let at = load.behind.most.as_ref().filter(|at| at.is_stopped || !is_full)?;
    let clients = load.behind.held_up;
    let (pooler, database) = (name(&at.pooler), name(&at.called));
    let why = if at.is_stopped {
        format!("its database {database} is paused or disabled")
    } else {
        format!(
            "it used no connection of database {database} meanwhile: it was paused or suspended, or could not log in"
        )
    };
    Some(format!("{clients:.1} clients wait at the pooler {pooler}, as {why}"))
}

/// The share of what is full that idles. Connections of a pooler that no client has are there for whoever waits; those
/// that clients have while they idle, as in session mode, are not. Nor does one that idles fill a size that only busy ones
/// count against.
fn held_idle(load: &Load, full: Option<&Limit>, refused: bool) -> f64 {
    let share = |idle: f64, all: f64| if all > 0.0 { idle / all } else { 0.0 };
    match full {
        Some(limit) if limit.kind.is_of_pooler() => limit.idle.unwrap_or(0.0),
        full if !refused && full.is_none_or(|limit| limit.kind.is_of_pool()) => 0.0,
        _ => share(load.idle, load.open),
    }
}

fn words_of_lack(load: &Load, full: Option<&Limit>, starting: Option<f64>) -> String {
    let lacks =
        match (load.behind.waiting.filter(|n| *n > 0.0), load.refused.filter(|n| *n > 0), full) {
            (Some(waiting), ..) => format!("{waiting:.1} clients wait for a connection"),
            (None, Some(1), _) => "1 connection was refused".to_owned(),
            (None, Some(refused), _) => format!("{refused} connections were refused"),
            (None, None, Some(limit)) => {
                format!("{:.0} of {} connections are in use", limit.used, limit.most)
            }
            (None, None, None) => "clients wait".to_owned(),
        };
    let starting = starting.map(|n| {
        let by = if n < 1.5 {
            "is taken by a client that has"
        } else {
            "are taken by clients that have"
        };
        format!(", and at least {n:.0} of the places {by} not finished authentication")
    });
    lacks + &starting.unwrap_or_default()
}

fn evidence(load: &Load, thresholds: &Thresholds) -> Vec<Evidence> {
    let least = thresholds.of(&MIN_SESSIONS);
    let seen = || {
        [
            Evidence::new("open_avg", load.open, "sessions"),
            Evidence::new("idle_avg", load.idle, "sessions"),
            Evidence::new("active_avg", load.active, "sessions"),
            Evidence::new("on_cpu_avg", load.cpu, "sessions").over(least),
            Evidence::new("on_lock_avg", load.lock, "sessions").over(least),
            Evidence::new("on_io_avg", load.io, "sessions").over(least),
            Evidence::new("in_transaction_avg", load.client, "sessions").over(least),
            Evidence::new("stalled_avg", load.stalled, "sessions").over(least),
        ]
    };
    let mut all: Vec<Evidence> = if load.unseen { Vec::new() } else { seen().into() };
    if let Some(elsewhere) = &load.elsewhere {
        let waiting = Evidence::new("waiting_elsewhere_avg", elsewhere.sessions, "sessions");
        all.push(waiting.over(least));
        all.push(Evidence::new("wait_event", elsewhere.event.as_str(), ""));
    }
    if load.starting_most > 0.0 {
        all.push(Evidence::new("starting_most", load.starting_most, "connections"));
    }
    let cpus = load.cpus.map(|cpus| Evidence::new("cpus", cpus, ""));
    let waiting = load.behind.waiting.map(|n| Evidence::new("clients_waiting", n, "clients"));
    let refused = load.refused.map(|n| Evidence::new("refused", n, "connections"));
    let limit = load.limit.map(|limit| {
        Evidence::new("saturation_ratio", limit.ratio(), "ratio")
            .over(thresholds.of(&CRITICAL_RATIO))
    });
    all.extend([cpus, waiting, refused, limit].into_iter().flatten());
    all
}

/// Which pooler it is, and what it is that keeps clients waiting.
fn evidence_of_pooler(behind: &Behind, thresholds: &Thresholds) -> Vec<Evidence> {
    let Some(at) = &behind.most else { return Vec::new() };
    let text = |metric: &str, text: &str| Evidence::new(metric, text, "");
    let mut all = vec![text("pooler", &at.pooler), text("pooler_database", &at.called)];
    if behind.held_up > 0.0 {
        let held_up = Evidence::new("clients_held_up", behind.held_up, "clients");
        all.push(held_up.over(thresholds.of(&MIN_SESSIONS)));
        all.push(text(
            "pooler_state",
            if at.is_stopped { "paused or disabled" } else { "unknown" },
        ));
    }
    if let Some((_, limit)) = behind.shared() {
        all.push(text("pooler_limit", limit.kind.shared().unwrap_or_default()));
        all.push(Evidence::new("pooler_limit_connections", i64::from(limit.most), "connections"));
        all.push(Evidence::new("pooler_limit_used", limit.used, "connections"));
    }
    all
}

/// Who is at the head, so that it can be looked up.
fn evidence_of_head(head: &Head) -> Vec<Evidence> {
    let text = |metric: &str, text: &str| Evidence::new(metric, text, "");
    let known = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let [application, user] = [&head.application, &head.user].map(known);
    let state = Some(&head.state).filter(|state| !state.is_empty());
    let all = [
        Some(Evidence::new("lock_head_pid", head.pid, "")),
        head.gid.as_deref().map(|gid| text("lock_head_gid", gid)),
        application.map(|name| text("lock_head_application", &name)),
        user.map(|name| text("lock_head_user", &name)),
        state.map(|state| text("lock_head_state", state)),
        head.statement_id.map(|id| Evidence::new("lock_head_statement_id", id, "")),
        head.since_us.map(|at| text("lock_head_since", &second(at))),
        Some(Evidence::new("sessions_behind_head", head.behind, "")),
    ];
    all.into_iter().flatten().collect()
}
