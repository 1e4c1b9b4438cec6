//! Pools over a window, with the limits that they are under, put together for those who judge them. It must never judge.

use std::collections::{BTreeMap, HashMap};

use perfmon_core::activity::Kind;
use perfmon_core::activity::group::{
    self, BLOCK_US, Grouping, Key, Level as Of, PEAKS, SPREADS, Tally, tally,
};
use perfmon_core::activity::rows;
use perfmon_core::activity::spread::place;
use perfmon_core::family::{DATABASE, POOL};
use perfmon_core::pool::advice;
use perfmon_core::pool::head::{Blocked, Head};
use perfmon_core::pool::limit::{Limits, plateau};
use perfmon_core::pool::pooled::{Told, Waiting};
use perfmon_core::pool::queue::Load;
use perfmon_core::pool::{Course, Figure, Group, Look, Pools, Sessions, Whose};
use perfmon_core::pooler::{Kept as Remembered, Seen};
use perfmon_core::series;
use perfmon_core::window::{DAY_US, HOUR_US, Level, MINUTE_US};

use super::elsewhere::Elsewhere;
use super::failures::Failures;
use super::limits;
use super::locks;
use super::objects::Objects;
use super::plan::Kept;
use super::pooler;
use super::pools::{self, Group as Named, Groups, Opened, Use};
use super::routes;
use super::scope::Scope;
use crate::error::Error;
use crate::pg::{backends, clock};
use crate::settings;
use crate::store::read;

/// Steps of a window in which a trend is looked for.
const STEPS: i64 = 60;
/// So many sessions begin in a second that it may be asked whose they are.
const MANY_PER_S: f64 = 1.0;
/// Fewer sessions that wait for something else make no queue.
const FEW: f64 = 0.1;
/// Days that are compared.
const DAYS: i64 = 7;

/// Sessions of each group at this moment, in the order of `group::numbers`.
type Now = HashMap<Whose, [Option<u32>; PEAKS]>;

/// Everything about pools; `None` where no samples of them are kept.
/// The recent part of the window is its last two intervals, and all since a time if one is given.
pub(crate) fn pools(
    scope: &Scope,
    cpus: Option<i64>,
    recent_since: Option<i64>,
) -> Result<Option<Pools>, Error> {
    let kept = Kept::of(&POOL, scope);
    if kept.oldest().is_none() {
        return Ok(None);
    }
    let own = scope.is_own();
    let groups = Groups::of(scope)?;
    let mut limits = if own { limits::limits()? } else { Limits::default() };
    let told = told(scope)?;
    limits.pooler = told.over((scope.since, scope.until)).0;
    let soon = settings::snapshot_interval_us().saturating_mul(2).max(MINUTE_US);
    let is_live = own && clock::wall_us().saturating_sub(scope.until) < soon;
    let now = is_live.then(now);
    let [last, before] = last_two(scope, &kept);
    let since = recent_since.map_or(before, |since| since.clamp(scope.since, before));
    let recent = scope.quietly(since, scope.until);
    let last = scope.quietly(last, scope.until);
    let cpus = cpus.filter(|_| own).and_then(|cpus| u32::try_from(cpus).ok()).map(f64::from);
    let mut looks = [
        look(&last, &groups, now.as_ref(), (&limits, &told))?,
        look(&recent, &groups, now.as_ref(), (&limits, &told))?,
        look(scope, &groups, now.as_ref(), (&limits, &told))?,
    ];
    let grouping = is_live.then(settings::pool_grouping).or_else(|| looks[0].grouping());
    if let Some(grouping) = grouping {
        looks.iter_mut().for_each(|look| look.keep_grouping(grouping));
    }
    let head = head_now(now.as_ref())?;
    let blocked = blocked(&looks[2], scope)?;
    for (look, scope) in looks.iter_mut().zip([&last, &recent, scope]) {
        look.cpus = cpus;
        look.head.clone_from(&head);
        look.span_us = (scope.since, scope.until);
        let touches = |wait: &&Blocked| wait.began_us < scope.until && wait.seen_us >= scope.since;
        look.blocked = blocked.iter().filter(touches).cloned().collect();
        if look.sessions_of(None).and_then(Sessions::per_s) > Some(MANY_PER_S) {
            look.senders = routes::senders(scope)?;
        }
    }
    let [mut last, mut recent, mut window] = looks;
    let mut steps = whole_steps(scope, &kept, &groups);
    // Who waits at a pooler that gives nothing leaves this server without anything to be seen.
    let holds_up = |span| told.over(span).1.iter().any(|waiting| waiting.held_up > 0.0);
    steps.retain(|(span, step)| step.samples > 0 || holds_up(*span));
    let of_moment = |(span_us, step): &Whole| moment(*span_us, (step, &groups), &limits, &told);
    window.moments = steps.iter().map(of_moment).collect();
    let all = [&mut last, &mut recent, &mut window];
    if window_waits(&all) {
        let events = Elsewhere::of(scope)?;
        for look in all {
            look.events = events.over(look.span_us);
            look.moments.iter_mut().for_each(|look| look.events = events.over(look.span_us));
        }
    }
    let courses = courses(scope, &kept, &groups, &steps);
    Ok(Some(Pools { last, recent, window, courses, ..Pools::default() }))
}

/// At the head of those that wait for locks at this moment, if somebody does.
fn head_now(now: Option<&Now>) -> Result<Option<Head>, Error> {
    let waits = |found: &[Option<u32>; PEAKS]| found[SPREADS.len()] > Some(0);
    if now.is_some_and(|now| now.values().any(waits)) { limits::lock_head() } else { Ok(None) }
}

/// Waits for locks, if samples of the window found any.
fn blocked(window: &Look, scope: &Scope) -> Result<Vec<Blocked>, Error> {
    let any = window.groups.iter().any(|group| group.on_lock.is_some_and(|waiting| waiting > 0.0));
    if any { locks::blocked(scope) } else { Ok(Vec::new()) }
}

/// What poolers told, visit by visit.
fn told(scope: &Scope) -> Result<Told, Error> {
    let mut told = Told::default();
    let mut known: HashMap<pooler::Names, usize> = HashMap::new();
    let mut remembered = None;
    pooler::each(scope, Level::Day, &mut |span, names, values| {
        if names[2].is_empty() {
            return;
        }
        let pool = *known.entry(names.clone()).or_insert_with(|| {
            let remembered = remembered.get_or_insert_with(|| {
                if scope.is_own() { pooler::remembered() } else { Remembered::default() }
            });
            told.pools.push(remembered.named(names));
            told.pools.len() - 1
        });
        let mut seen = Seen::default();
        seen.add(values);
        told.visits.push((span.until, pool, seen));
    })?;
    Ok(told)
}

/// Whether sessions waited inside statements for something that groups do not count.
fn window_waits(looks: &[&mut Look]) -> bool {
    let waits = |look: &Look| {
        let server = look.server();
        let load = server.and_then(|server| Load::of(server, server, look.cpus));
        load.is_some_and(|load| load.elsewhere_of_any_kind() >= FEW)
    };
    looks.iter().any(|look| waits(look) || look.moments.iter().any(waits))
}

/// Start and end of a step, and what samples found in it.
type Whole = ((i64, i64), pools::Step);

/// Steps of the window, each of whole rows, since parts of them are rounded.
fn whole_steps(scope: &Scope, kept: &Kept, groups: &Groups) -> Vec<Whole> {
    let mut ends: Vec<i64> = Vec::new();
    let segments = kept.segments(scope, Level::Day);
    read::frames(&scope.sources, &POOL, &segments, &[], &mut |row| {
        ends.push(row.head.span.until);
    });
    ends.retain(|end| *end > scope.since && *end < scope.until);
    ends.extend([scope.since, scope.until]);
    ends.sort_unstable();
    ends.dedup();
    let Some(last) = ends.len().checked_sub(1).filter(|last| *last > 0) else {
        return Vec::new();
    };
    let each = last.div_ceil(usize::try_from(STEPS).unwrap_or(1));
    let chosen = ends.iter().enumerate().filter(|(at, _)| at % each == 0 || *at == last);
    let edges: Vec<i64> = chosen.map(|(_, end)| *end).collect();
    let spans: Vec<(i64, i64)> = edges.windows(2).map(|edge| (edge[0], edge[1])).collect();
    let (_, steps) = pools::pools(scope, groups, edges);
    spans.into_iter().zip(steps).collect()
}

/// What is known of a step of the window.
fn moment(
    span_us: (i64, i64),
    (step, groups): (&pools::Step, &Groups),
    limits: &Limits,
    told: &Told,
) -> Look {
    let (pooler, waiting) = told.over(span_us);
    let groups = step.groups(groups);
    let mut groups: Vec<Group> =
        groups.map(|(named, found)| group_of(whose(named), found, step.samples, None)).collect();
    limits.judge_with(&pooler, &mut groups);
    Look { samples: step.samples, groups, waiting, span_us, ..Look::default() }
}

/// When the last row of a window begins, and the one before it.
fn last_two(scope: &Scope, kept: &Kept) -> [i64; 2] {
    let day = scope.quietly(scope.since.max(scope.until.saturating_sub(DAY_US)), scope.until);
    let mut spans: Vec<(i64, i64)> = Vec::new();
    read::frames(&scope.sources, &POOL, &kept.segments(&day, Level::Minute), &[], &mut |row| {
        spans.push((row.head.span.until, row.head.span.since));
    });
    spans.sort_unstable();
    let since = |nth: usize| {
        let span = spans.iter().rev().nth(nth).or(spans.first());
        span.map_or(scope.since, |span| span.1.max(scope.since)).min(scope.until)
    };
    [since(0), since(1)]
}

/// Clients' sessions at this moment.
fn now() -> Now {
    let (application, address) = settings::pool_grouping();
    let grouping = Grouping { application, address };
    let mut names = backends::Names::default();
    let mut tallies: HashMap<Key, Tally> = HashMap::new();
    for session in backends::everybody().iter().filter(|session| session.kind == Kind::Client) {
        for key in Key::of(session, grouping) {
            tally(tallies.entry(key).or_default(), session, false);
        }
    }
    let whose = |key: &Key| {
        let [database, user, _] = rows::group_names(key, &mut names);
        whose(&Named { of: rows::Of::key(key), database, user })
    };
    let keys: Vec<(Key, Tally)> = tallies.into_iter().collect();
    let named: Vec<Whose> = keys.iter().map(|(key, _)| key).map(whose).collect();
    named.into_iter().zip(keys.iter().map(|(_, tally)| group::told(tally))).collect()
}

fn whose(named: &Named) -> Whose {
    let known = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
    Whose {
        level: named.of.level,
        other: named.of.other,
        database: known(&named.database),
        user: known(&named.user),
        application: named.of.application.clone(),
        address: named.of.address.clone(),
        monitoring: named.of.is_monitor(),
    }
}

/// All groups over a window.
fn look(
    scope: &Scope,
    named: &Groups,
    now: Option<&Now>,
    (limits, told): (&Limits, &Told),
) -> Result<Look, Error> {
    let waiting = told.over((scope.since, scope.until)).1;
    let mut look = Look { waiting, ..Look::default() };
    let mut groups: BTreeMap<Whose, Group> = BTreeMap::new();
    if scope.since < scope.until {
        let (series, steps) = pools::pools(scope, named, vec![scope.since, scope.until]);
        look.covered_us = series.covered_us(0);
        for step in steps {
            look.samples = step.samples;
            let block = block(&step, look.covered_us);
            groups.extend(step.groups(named).map(|(named, found)| {
                let whose = whose(named);
                (whose.clone(), group_of(whose, found, step.samples, block))
            }));
        }
        let failures = Failures::of(scope)?;
        look.refused = failures.refused().map(<[_]>::to_vec);
        look.sessions = sessions(scope)?;
    }
    // Who waits at a pooler need not have a session.
    let held_up = look.waiting.iter().filter(|waiting| waiting.held_up > 0.0).flat_map(whom);
    for whose in now.into_iter().flat_map(Now::keys).cloned().chain(held_up) {
        groups.entry(whose.clone()).or_insert_with(|| Group::of(whose));
    }
    look.groups = groups.into_values().collect();
    for group in &mut look.groups {
        group.samples = look.samples;
        if let Some(now) = now {
            // Who is not there has none.
            let numbers = now.get(&group.whose).copied().unwrap_or([Some(0); PEAKS]);
            let figures = [
                &mut group.open,
                &mut group.busy,
                &mut group.active,
                &mut group.idle,
                &mut group.in_transaction,
            ];
            for (figure, number) in figures.into_iter().zip(numbers) {
                figure.now = number;
            }
        }
    }
    limits.judge(&mut look.groups);
    Ok(look)
}

/// The database and the user for whose connections clients wait.
fn whom(waiting: &Waiting) -> [Whose; 2] {
    let named = |name: &String| Some(name.clone());
    [
        Whose { level: Of::Database, database: named(&waiting.database), ..Whose::server() },
        Whose { level: Of::User, user: named(&waiting.user), ..Whose::server() },
    ]
}

/// How many samples a block has; `None` where some are of none, as those that an earlier release took.
#[allow(clippy::cast_precision_loss)]
fn block(step: &pools::Step, covered_us: i64) -> Option<f64> {
    let known = step.load_samples == step.samples && covered_us > 0;
    known.then(|| step.samples as f64 * BLOCK_US as f64 / covered_us as f64)
}

/// Busy sessions over blocks of so many samples. A block in which there were some for a part of the time is one all the same.
fn blocks(found: &Use, there: u64, block: Option<f64>) -> Option<advice::Blocks> {
    let samples = there.max(found.load.samples());
    let variance = [&found.spreads[1], &found.load].map(|spread| spread.variance(samples));
    Some(advice::Blocks {
        percentiles: advice::PERCENTILES.map(|(part, _)| found.load.quantile(part, samples)),
        samples: block?,
        variance: [variance[0]?, variance[1]?],
    })
}

fn group_of(whose: Whose, found: &Use, samples: u64, block: Option<f64>) -> Group {
    let means = found.means(samples);
    let figure = |at: usize| Figure {
        now: None,
        average: means.map(|means| means[at]),
        p95: found.quantile(at, 0.95, samples),
        p99: found.quantile(at, 0.99, samples),
        peak: u32::try_from(found.highest(at)).ok(),
    };
    let open = figure(0);
    let at_peak = open.peak.map_or(0, |peak| found.spreads[0].at(place(peak)));
    let mut group = Group::of(whose);
    group.inferred = plateau(&group.whose, &open, at_peak, samples);
    group.samples = samples;
    group.open = open;
    group.busy = figure(1);
    let there = found.spreads[0].samples().min(samples);
    group.there = there;
    group.open_there_p95 = found.quantile(0, 0.95, there);
    group.busy_percentiles = advice::PERCENTILES.map(|(part, _)| found.quantile(1, part, there));
    group.load = blocks(found, there, block);
    group.active = figure(2);
    group.idle = figure(3);
    group.in_transaction = figure(4);
    group.on_cpu = found.mean("on_cpu", samples);
    group.on_lock = found.mean("on_lock", samples);
    group.lock_peak = u32::try_from(found.highest(SPREADS.len())).ok();
    group.on_io = found.mean("on_io", samples);
    group.on_client = found.mean("on_client", samples);
    group.hidden = found.mean("disabled", samples);
    group.starting = found.mean("starting", samples);
    group.opened = found.sum("opened").unwrap_or(0);
    group.as_far_as_told()
}

/// What pg_stat_database counted, by database and in all.
#[allow(clippy::cast_precision_loss)]
fn sessions(scope: &Scope) -> Result<Vec<Sessions>, Error> {
    let objects = Objects::of(&DATABASE, scope)?;
    let counted = pools::counted(scope)?;
    let empty = |database: Option<String>| Sessions {
        mean_ms: counted
            .get(&(0, database.clone().unwrap_or_default()))
            .and_then(pools::Counted::session_ms),
        database,
        sessions: 0,
        busy_ms: 0.0,
        transactions: 0,
        covered_us: objects.covered_us,
    };
    let mut all = vec![empty(None)];
    for object in objects.iter() {
        let Some(name) = object.names[1].text() else { continue };
        let value = |name: &str| object.v(name).unwrap_or(0);
        let mut one = Sessions { covered_us: object.covered_us(), ..empty(Some(name)) };
        one.sessions = value("sessions");
        one.busy_ms = (value("active_us") + value("idle_in_transaction_us")) as f64 / 1000.0;
        one.transactions = value("xact_commit") + value("xact_rollback");
        all[0].sessions += one.sessions;
        all[0].busy_ms += one.busy_ms;
        all[0].transactions += one.transactions;
        all.push(one);
    }
    // Two of one name, as where one was dropped and another got its name: which of them pools of that name mean is not known.
    // They lie side by side.
    let names: Vec<Option<String>> = all.iter().map(|one| one.database.clone()).collect();
    let mut is_one =
        names.chunk_by(|a, b| a == b).flat_map(|same| same.iter().map(move |_| same.len() == 1));
    all.retain(|_| is_one.next().unwrap_or(true));
    Ok(all)
}

/// The course of all groups: by step of the window, and by hour of the days before.
fn courses(scope: &Scope, kept: &Kept, groups: &Groups, whole: &[Whole]) -> Vec<Course> {
    let length = scope.until.saturating_sub(scope.since).max(1);
    let round = [HOUR_US, MINUTE_US, 1_000_000];
    let unit = round.into_iter().find(|unit| length / STEPS >= *unit).unwrap_or(1_000);
    let step = (length / STEPS).div_euclid(unit).max(1).saturating_mul(unit);
    let course = |(place, named): (usize, &Named)| Course {
        whose: whose(named),
        open: Vec::new(),
        opened: whole.iter().map(|(_, step)| step.opened(place)).collect(),
        other_days: Vec::new(),
    };
    // Of a group that was not there at all nothing is to be said.
    let mut courses: Vec<(bool, Course)> =
        groups.named().iter().enumerate().map(|named| (false, course(named))).collect();
    let edges = series::edges(scope.since, scope.until, step);
    each_step(scope, edges, groups, &mut courses, |course, at, open| {
        course.open.push((at, open));
    });
    let day = scope.until.saturating_sub(DAY_US);
    let first = day.saturating_sub(DAYS * DAY_US);
    if kept.oldest().is_some_and(|oldest| oldest < day) {
        let days = scope.quietly(first.max(kept.oldest().unwrap_or(first)), day);
        let edges = series::edges(days.since, days.until, HOUR_US);
        each_step(&days, edges, groups, &mut courses, |course, at, open| {
            // An hour is known by its start.
            course.other_days.push((at.saturating_sub(HOUR_US), open));
        });
    }
    let there = courses.into_iter().filter(|(was_there, _)| *was_there);
    let mut courses: Vec<Course> = there.map(|(_, course)| course).collect();
    courses.sort_by(|a, b| a.whose.cmp(&b.whose));
    courses
}

/// Hands over what each group had in each step that has samples: its end, and open sessions.
fn each_step(
    scope: &Scope,
    edges: Vec<i64>,
    groups: &Groups,
    courses: &mut [(bool, Course)],
    mut each: impl FnMut(&mut Course, i64, f64),
) {
    let (series, steps) = pools::series::<Opened>(scope, groups, edges);
    for (at, step) in steps.iter().enumerate().filter(|(_, step)| step.samples > 0) {
        let end = series.end(at).min(scope.until);
        for (place, (was_there, course)) in courses.iter_mut().enumerate() {
            let found = step.get(place);
            *was_there |= found.is_some();
            let open = found.and_then(|found| found.quantile(0.95, step.samples));
            each(course, end, open.unwrap_or(0.0));
        }
    }
}
