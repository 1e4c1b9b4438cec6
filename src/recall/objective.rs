//! Objectives as they were declared, and what is known about the executions of each. It must never judge.

use std::collections::{BTreeMap, HashMap};

use perfmon_core::capture::whole::Moved;
use perfmon_core::family::{
    CLUSTER, FAILURE, Family, NAMELESS, ROUTE, ROUTE_FAILURES, SERVER, STATEMENT, UNCOUNTED,
};
use perfmon_core::frame::Quality;
use perfmon_core::histogram::{BUCKETS, Latency, Sparse};
use perfmon_core::objective::declare::Draft;
use perfmon_core::objective::{self, Errors, History, KNOWN, Objective, Observed, Row, WINDOWS_US};
use perfmon_core::rollup::OTHER;
use perfmon_core::tally::Who;
use perfmon_core::window::{HOUR_US, Level};

use super::cell::Cell;
use super::counting;
use super::down;
use super::latency::{self, Whose};
use super::meant::{Routes, statements_of};
use super::plan::Kept;
use super::query;
use super::scope::Scope;
use super::statements::positions;
use super::times::total;
use super::untold::{explain, user_of};
use crate::error::Error;
use crate::store::read::{self, Segment};

mod failing;
mod off;
mod unanswered;

use failing::ByRoute;
use unanswered::is_available;

/// An objective, and what of it is not the promise itself.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    pub(crate) objective: Objective,
    /// Where its period begins, given the end.
    pub(crate) since: i64,
    /// The source whose statement it means, where it means one.
    pub(super) source: i64,
}

/// Windows up to this length are read minute by minute; longer ones by the hour.
const BY_THE_MINUTE_US: i64 = 25 * HOUR_US;

/// All objectives in the order of their names, or one of them; their periods end at `until`.
pub(crate) fn declared(name: Option<&str>, until: i64) -> Result<Vec<Declared>, Error> {
    let rows = query::rows(
        "SELECT s.name, s.p95_ms, s.p99_ms, s.percentile, s.percentile_ms, s.error_ratio,
             s.throughput_per_second, s.availability_ratio, s.cluster, s.user_name, s.application_name,
             s.statement_id, s.min_executions, s.source, $1 OPERATOR(pg_catalog.-) s.period
         FROM perfmon.slo s ORDER BY s.name",
        &[query::time(until)],
    )?;
    let all = rows.iter().map(|row| declared_by(row)).collect::<Result<Vec<_>, Error>>()?;
    Ok(match name {
        None => all,
        Some(name) => all.into_iter().filter(|one| one.objective.name == name).collect(),
    })
}

fn declared_by(row: &[Cell]) -> Result<Declared, Error> {
    let text = |i: usize| row.get(i).and_then(Cell::text);
    let float = |i: usize| row.get(i).and_then(Cell::float);
    let int = |i: usize| row.get(i).and_then(Cell::int);
    let draft = Draft {
        name: text(0).unwrap_or_default(),
        p95_ms: float(1),
        p99_ms: float(2),
        percentile: float(3),
        percentile_ms: float(4),
        error_ratio: float(5),
        throughput_per_second: float(6),
        availability_ratio: float(7),
        cluster: row.get(8) == Some(&Cell::Bool(true)),
        user: text(9),
        application: text(10),
        statement_id: int(11),
        min_executions: int(12),
    };
    Ok(Declared {
        objective: draft.check()?,
        source: int(13).unwrap_or(0),
        since: int(14).unwrap_or(i64::MIN),
    })
}

/// Reads what is known of several objectives up to one moment, each scope once.
pub(crate) struct Observer<'a> {
    scope: &'a Scope,
    /// From the last snapshot until when the database is known to have been quiet.
    quiet: Option<(i64, i64)>,
    seen: HashMap<(objective::Scope, i64, bool), History>,
}

impl<'a> Observer<'a> {
    /// `scope` is what the histories end with; its start is the earliest that is asked for.
    pub(crate) fn new(scope: &'a Scope) -> Self {
        Self { scope, quiet: None, seen: HashMap::new() }
    }

    /// A quiet database is not visited: what is known of the time since its last snapshot.
    pub(crate) fn quiet(self, quiet: Option<(i64, i64)>) -> Self {
        Self { quiet: quiet.filter(|_| self.scope.is_own()), ..self }
    }

    /// What is known of an objective from a time on, and of the time before the end that burn rates look at.
    pub(crate) fn observe(&mut self, declared: &Declared, since: i64) -> Result<Observed, Error> {
        let objective = declared.objective.clone();
        let key = (objective.scope.clone(), since, is_available(&objective));
        if let Some(history) = self.seen.get(&key) {
            return Ok(Observed { objective, history: history.clone() });
        }
        let history = self.read(declared, since)?;
        self.seen.insert(key, history.clone());
        Ok(Observed { objective, history })
    }

    fn read(&self, declared: &Declared, since: i64) -> Result<History, Error> {
        let parts = parts(self.scope, since);
        let (mut rows, mut lacks_ids) = (Rows::default(), false);
        for (scope, coarsest) in &parts {
            let segments = |family: &Family| Kept::of(family, scope).segments(scope, *coarsest);
            rows.know_up(scope, &segments(&SERVER));
            let counted = rows.count(scope, &segments(&STATEMENT), declared)?;
            let partly = rows.time(scope, *coarsest, declared, &counted)?;
            let by_route = rows.route(scope, &segments(&ROUTE), declared)?;
            rows.conceal(&partly, &by_route);
            lacks_ids |= by_route.lacks_ids(since);
            rows.fail(scope, &segments(&FAILURE), declared, &by_route)?;
            // Rows of both are of the same level.
            rows.whole(scope, &segments(&SERVER), declared);
            rows.ask(scope, &segments, declared)?;
            if *coarsest == Level::Hour {
                rows.leave_out_off(scope, &segments, declared);
            }
        }
        if declared.objective.scope != objective::Scope::Cluster {
            rows.rest(self.quiet, self.scope.until);
        }
        let mut history = History {
            rows: rows.0.into_values().collect(),
            down: down::times(self.scope, since)?,
            ..History::default()
        };
        let quiet_until = self.quiet.map_or(0, |(_, until)| until);
        let window = self.scope.quietly(since, self.scope.until);
        explain(&mut history, declared, &window, (lacks_ids, quiet_until))?;
        Ok(history)
    }
}

/// The stretches to be read, and how fine: burn rates need the last hours by the minute.
fn parts(scope: &Scope, since: i64) -> Vec<(Scope, Level)> {
    let longest = WINDOWS_US.into_iter().max().unwrap_or(0);
    let recent = scope.until.saturating_sub(longest);
    if scope.until.saturating_sub(since) <= BY_THE_MINUTE_US {
        return vec![(scope.quietly(since.min(recent), scope.until), Level::Minute)];
    }
    let border = recent.saturating_sub(recent.rem_euclid(HOUR_US));
    vec![
        (scope.quietly(since, border), Level::Hour),
        (scope.quietly(border, scope.until), Level::Minute),
    ]
}

/// Intervals by their end: what several families say of the same one stands together.
#[derive(Default)]
struct Rows(BTreeMap<i64, Row>);

impl Rows {
    fn at(&mut self, head: &read::Head) -> &mut Row {
        let span = &head.span;
        self.0.entry(span.until).or_insert_with(|| Row {
            since_us: span.since,
            until_us: span.until,
            length_us: span.length_us,
            quiet_us: span.quiet_us,
            ..Row::default()
        })
    }

    /// A row of the server says that it was up.
    fn know_up(&mut self, scope: &Scope, segments: &[Segment]) {
        read::frames(&scope.sources, &SERVER, segments, &[], &mut |row| {
            // The first snapshot of all only sets where to count from.
            if row.head.span.length_us > 0 {
                self.at(row.head);
            }
        });
    }

    /// How long executions took, as the hooks counted them. They know better than pg_stat_statements how many
    /// there were, unless capture is off for whom it is about: then they saw fewer, or none; or unless there were more
    /// statements than find a place. Gives the ends of the intervals of which that is so, and whether the latter tells all
    /// of it.
    fn time(
        &mut self,
        scope: &Scope,
        coarsest: Level,
        of: &Declared,
        counted: &HashMap<i64, u64>,
    ) -> Result<HashMap<i64, bool>, Error> {
        let mut partly = HashMap::new();
        let statements: Vec<Who>;
        let whose = match &of.objective.scope {
            objective::Scope::Database => Whose::Database,
            objective::Scope::User(name) => Whose::User(name),
            objective::Scope::Statement(_) => {
                statements = statements_of(scope, of)?.into_iter().collect();
                Whose::Statements(&statements)
            }
            objective::Scope::Application(_) | objective::Scope::Cluster => return Ok(partly),
        };
        let is_part = of.objective.scope != objective::Scope::Database;
        #[allow(clippy::cast_precision_loss)]
        let misses = |until: i64, seen: u64| {
            counted.get(&until).is_some_and(|all| (seen as f64) < KNOWN * *all as f64)
        };
        for interval in latency::intervals(whose, scope, coarsest)? {
            let Some(row) = self.0.get_mut(&interval.until) else { continue };
            let Some(latency) = interval.latency else { continue };
            if interval.is_part || is_part && misses(interval.until, executions(&latency)) {
                partly.insert(interval.until, false);
            }
            row.latency = Some(latency);
        }
        if partly.is_empty() {
            return Ok(partly);
        }
        // In hours of more statements than these keep by name, what is small is counted with it as well: too little to explain
        // what is not small.
        let rest: Vec<Who> = scope.sources.iter().map(|source| (*source, OTHER)).collect();
        for interval in latency::intervals(Whose::Statements(&rest), scope, coarsest)? {
            // What sessions with capture off did is in no rest.
            let explained = partly.get_mut(&interval.until).filter(|_| !interval.is_part);
            let row = self.0.get_mut(&interval.until);
            if let (Some(explained), Some(row), Some(rest)) = (explained, row, interval.latency) {
                row.unplaced = executions(&rest);
                let seen = row.latency.as_ref().map_or(0, executions);
                *explained = !misses(interval.until, seen + row.unplaced);
            }
        }
        Ok(partly)
    }

    /// Of what the hooks saw a part only, no time is told. How much there was is known if sessions had them off. A user's
    /// times are whole without its statements, if all of its routes have a place.
    fn conceal(&mut self, partly: &HashMap<i64, bool>, by_route: &ByRoute) {
        let is_partly = |row: &Row| {
            let explained = partly.get(&row.until_us);
            explained.is_some_and(|explained| !(*explained && by_route.is_all(row.until_us)))
        };
        for row in self.0.values_mut().filter(|row| is_partly(row)) {
            let seen = row.latency.take().as_ref().map(executions);
            row.executions = seen.filter(|_| row.uncounted.max(row.perhaps) > 0);
        }
    }

    /// How many executions pg_stat_statements counted at least, of commands that are none for us too, by the ends of
    /// intervals. They are all there were where it forgot none of them, and where nobody is kept from it.
    fn count(
        &mut self,
        scope: &Scope,
        segments: &[Segment],
        of: &Declared,
    ) -> Result<HashMap<i64, u64>, Error> {
        let mut counted = HashMap::new();
        // Where something happened and no statement was counted, it may have been told to count none.
        let is_all = |head: &read::Head| {
            let is_silent = total(&STATEMENT, head, "total_calls") == Some(0)
                && head.span.length_us > head.span.quiet_us;
            head.span.quality == Quality::Exact && !is_silent
        };
        match &of.objective.scope {
            // An application executes no more than all do, which matters where the hooks saw nothing.
            objective::Scope::Database | objective::Scope::Application(_) => {
                let is_told = !counting::is_untracked(None)?;
                read::frames(&scope.sources, &STATEMENT, segments, &[], &mut |row| {
                    let calls = total(&STATEMENT, row.head, "total_calls");
                    let target = self.at(row.head);
                    target.at_most = calls;
                    target.may_be_more = !is_told || !is_all(row.head);
                    counted.extend(calls.map(|calls| (row.head.span.until, calls)));
                });
            }
            objective::Scope::User(_) | objective::Scope::Statement(_) => {
                let wanted = statements_of(scope, of)?;
                let is_told = !counting::is_untracked(user_of(of)?.as_deref())?;
                let columns = positions(&["calls"]);
                read::frames(&scope.sources, &STATEMENT, segments, &columns, &mut |row| {
                    let calls = row.column(0).unwrap_or(&[]);
                    let (mut own, mut rest) = (0, 0);
                    for (id, calls) in row.ids.iter().zip(calls) {
                        own += if wanted.contains(&(row.head.source, *id)) { *calls } else { 0 };
                        rest += if *id == OTHER { *calls } else { 0 };
                    }
                    let target = self.at(row.head);
                    target.at_most = Some(own + rest);
                    target.may_be_more = !is_told || !is_all(row.head);
                    counted.insert(row.head.span.until, own);
                });
            }
            // Nobody counts these but the hooks.
            objective::Scope::Cluster => {}
        }
        Ok(counted)
    }
}

impl Rows {
    /// Times by route, which leave out what only begins or ends transactions or sets something: for a database, a user,
    /// and an application with its failures. For these and a statement, what was executed with the hooks off. Gives what
    /// failed under the routes of a user, or of a statement's.
    fn route(
        &mut self,
        scope: &Scope,
        segments: &[Segment],
        of: &Declared,
    ) -> Result<ByRoute, Error> {
        let mut by_route = ByRoute::default();
        let Some(routes) = Routes::of(scope, of)? else { return Ok(by_route) };
        let columns: Vec<usize> = ["statements", "errors", "cancelled"]
            .iter()
            .filter_map(|column| ROUTE.position(column))
            .collect();
        read::frames(&scope.sources, &ROUTE, segments, &columns, &mut |row| {
            let Some(target) = self.0.get_mut(&row.head.span.until) else { return };
            let Worked { counts, errors, cancelled, uncounted, nameless, rest } =
                Worked::of(&row, &routes);
            let cached = Sparse::new((0..).zip(counts));
            let tried = cached.executions() + uncounted + errors + cancelled;
            let failed = |errors: u64, cancelled: u64| Errors { errors, of: errors + cancelled };
            let is_all = !routes.are_of_its_user && rest.executions == 0;
            let of_rest = failed(rest.errors, rest.cancelled);
            by_route.note(row.head, failed(errors, cancelled), of_rest, is_all);
            if nameless {
                target.may_be_more = true;
                by_route.lack_ids(row.head.span.until);
            }
            target.uncounted = uncounted;
            target.perhaps = rest.uncounted;
            if routes.are_of_its_user {
                // Which of its statements these were nobody knows.
                target.perhaps += std::mem::take(&mut target.uncounted);
            } else if routes.are_all_there_is {
                target.at_most = None;
                target.latency = Some(Latency { cached, ..Latency::default() });
                target.errors = Some(Errors { errors, of: tried });
                target.heard = failed(errors, cancelled);
                target.perhaps += rest.executions;
                let of = target.perhaps + rest.errors + rest.cancelled;
                target.failed_perhaps = Errors { errors: rest.errors, of };
            } else if target.latency.is_some() && rest.executions == 0 {
                // What found no route of its own is nobody's here, but still among the statements of its user.
                target.latency = Some(Latency { cached, ..Latency::default() });
            }
        });
        Ok(by_route)
    }

    /// The time since the last row, of which it is known that nothing happened.
    fn rest(&mut self, quiet: Option<(i64, i64)>, until: i64) {
        let Some((last, quiet_until)) = quiet else { return };
        let until_us = quiet_until.min(until);
        if until_us <= last || self.0.last_key_value().is_none_or(|(at, _)| *at != last) {
            return;
        }
        let length_us = until_us - last;
        let row = Row {
            since_us: last,
            until_us,
            length_us,
            quiet_us: length_us,
            latency: Some(Latency::default()),
            errors: Some(Errors::default()),
            ..Row::default()
        };
        self.0.insert(until_us, row);
    }
}

/// What one row says of the routes that are meant, and of what found none of its own.
struct Worked {
    counts: [u64; BUCKETS],
    errors: u64,
    cancelled: u64,
    uncounted: u64,
    /// Some of it, or of the rest, had no id.
    nameless: bool,
    rest: Rest,
}

impl Worked {
    fn of(row: &read::Row<'_>, routes: &Routes) -> Self {
        let mut all = Self {
            counts: [0; BUCKETS],
            errors: 0,
            cancelled: 0,
            uncounted: 0,
            nameless: false,
            rest: Rest::default(),
        };
        for (place, id) in row.ids.iter().enumerate() {
            let value = |i: usize| row.column(i).and_then(|v| v.get(place).copied()).unwrap_or(0);
            let is_meant = routes.are_meant(row.head.source, ROUTE.object_of(*id));
            let is_rest = ROUTE.object_of(*id) == 0;
            if id & 255 == NAMELESS {
                // They are among those that are not counted.
                all.nameless |= is_meant || is_rest;
            } else if !is_meant {
                let counts = [value(0), value(1), value(2)];
                all.rest.add(id & 255, if is_rest { counts } else { [0; 3] });
            } else if id & 255 == UNCOUNTED {
                all.uncounted += value(0);
            } else if id & 255 == ROUTE_FAILURES {
                (all.errors, all.cancelled) = (all.errors + value(1), all.cancelled + value(2));
            } else if let Some(count) = all.counts.get_mut((id & 255) as usize) {
                *count += value(0);
            }
        }
        all
    }
}

/// What found no route of its own, and may be anybody's.
#[derive(Debug, Clone, Copy, Default)]
struct Rest {
    executions: u64,
    uncounted: u64,
    errors: u64,
    cancelled: u64,
}

impl Rest {
    /// Adds what stands in place of a bucket, or in one.
    fn add(&mut self, bucket: u32, [executions, errors, cancelled]: [u64; 3]) {
        match bucket {
            UNCOUNTED => self.uncounted += executions,
            ROUTE_FAILURES => {
                (self.errors, self.cancelled) = (self.errors + errors, self.cancelled + cancelled);
            }
            _ => self.executions += executions,
        }
    }
}

fn executions(latency: &Latency) -> u64 {
    latency.cached.executions().saturating_add(latency.read.executions())
}

impl Rows {
    /// What clients of all databases executed, as the home database keeps it.
    fn whole(&mut self, scope: &Scope, segments: &[Segment], of: &Declared) {
        if of.objective.scope != objective::Scope::Cluster {
            return;
        }
        let columns: Vec<usize> = (0..CLUSTER.columns.len()).collect();
        // That the home database was quiet says nothing of the others. Of other times other parts of the history tell.
        let own = |row: &&mut Row| scope.since < row.until_us && row.until_us <= scope.until;
        self.0.values_mut().filter(own).for_each(|row| row.quiet_us = 0);
        let mut unknown = Vec::new();
        read::frames(&scope.sources, &CLUSTER, segments, &columns, &mut |row| {
            let Some(target) = self.0.get_mut(&row.head.span.until) else { return };
            let value = |place: usize, column: usize| {
                row.column(column).and_then(|values| values.get(place).copied()).unwrap_or(0)
            };
            let moved = Moved::of_row(row.ids, row.head.known, value);
            target.quiet_us = row.head.span.quiet_us;
            target.latency = Some(moved.latency);
            target.uncounted = moved.uncounted;
            let [errors, cancelled] = moved.heard;
            target.heard = Errors { errors, of: errors + cancelled };
            target.errors = moved.counts.map(|[executions, errors, cancelled]| Errors {
                errors,
                of: executions + moved.uncounted + errors + cancelled,
            });
            // An hour holds intervals in which capture was off for all.
            unknown.extend(target.split(row.head.span.length_us));
        });
        self.0.extend(unknown.into_iter().map(|row| (row.until_us, row)));
    }
}
