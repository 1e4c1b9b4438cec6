//! What samples told of processes and statements, added up over a window.

use std::collections::{BTreeMap, HashMap};

use perfmon_core::activity::rows::Waited;
use perfmon_core::activity::{Kind, State, is_at_work, wait};
use perfmon_core::family::{Family, SESSION, WAIT};
use perfmon_core::frame::Span;
use perfmon_core::series::{Part, Series};
use perfmon_core::tally::Who;
use perfmon_core::window::{Level, MINUTE_US};

use super::cell::Cell;
use super::plan::{Kept, coarsest_for};
use super::scope::Scope;
use super::{names, query};
use crate::error::Error;
use crate::settings;
use crate::store::read::{self, Head};

/// Samples that a row stands for.
pub(crate) fn samples(head: &Head) -> u64 {
    head.totals.first().copied().flatten().and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

/// Names of a family's objects as text.
pub(crate) fn texts(family: &Family, scope: &Scope) -> Result<HashMap<Who, [String; 3]>, Error> {
    let found = names::objects(family.name, &scope.sources)?;
    let texts = |names: [Cell; 3]| names.map(|name| name.text().unwrap_or_default());
    Ok(found.into_iter().map(|(who, names)| (who, texts(names))).collect())
}

/// What processes do: what they are for, their state, and class and event of what they wait for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Doing {
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) wait: String,
}

impl Doing {
    /// Whether it is work, or keeps others from it.
    fn is_at_work(&self) -> bool {
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == self.kind);
        let state = State::parse(&self.state).unwrap_or(State::Unknown);
        let class = wait::split(&self.wait).and_then(|(class, _)| wait::Class::parse(class));
        is_at_work(kind.unwrap_or(Kind::Other), state, class)
    }
}

/// Steps count a sample in so many parts, as a row's numbers are shared out to the steps that it lies in.
pub(crate) const FINE: u64 = 1000;

/// Rows are read so far beyond the end of a series, microseconds: the one that lies across it ends there.
fn beyond() -> i64 {
    settings::snapshot_interval_us().saturating_mul(2).max(10 * MINUTE_US)
}

/// The same history up to the end of the row that lies across the end of the window, if that is not long after it.
pub(crate) fn across(scope: &Scope) -> Scope {
    Scope { until: scope.until.saturating_add(beyond()), ..scope.clone() }
}

/// The steps that a row lies in.
pub(crate) fn spread(series: &mut Series, span: &Span, scope: &Scope) -> Vec<Part> {
    series.spread((span.since, span.until), (span.length_us, span.quiet_us), scope.until)
}

/// One step of a series.
#[derive(Debug, Clone, Default)]
pub(crate) struct Step {
    /// In parts of `FINE`.
    pub(crate) samples: u64,
    /// The worst quality of its rows.
    pub(crate) quality: u64,
    /// Processes at work, summed over samples, in parts of `FINE`.
    pub(crate) sums: BTreeMap<Doing, u64>,
}

/// Processes at work by step. The series holds how much time of each step is covered.
pub(crate) fn activity(scope: &Scope, edges: Vec<i64>) -> Result<(Series, Vec<Step>), Error> {
    let segments = Kept::of(&SESSION, scope).segments(&across(scope), coarsest_for(&edges));
    let named = texts(&SESSION, scope)?;
    let doing = |who: &Who| {
        let [kind, state, wait] = named.get(who)?.clone();
        let doing = Doing { kind, state, wait };
        doing.is_at_work().then_some(doing)
    };
    let at_work: HashMap<Who, Doing> =
        named.keys().filter_map(|who| Some((*who, doing(who)?))).collect();
    let mut series = Series::new(edges, 0);
    let mut steps = vec![Step::default(); series.len()];
    read::frames(&scope.sources, &SESSION, &segments, &[1], &mut |row| {
        let span = row.head.span;
        for part in spread(&mut series, &span, scope) {
            let step = &mut steps[part.bucket];
            step.samples = step.samples.saturating_add(part.of(samples(row.head), FINE));
            step.quality = step.quality.max(span.quality as u64);
            for (id, count) in row.ids.iter().zip(row.column(0).unwrap_or_default()) {
                let Some(doing) = at_work.get(&(row.head.source, *id)) else { continue };
                // In quiet time no client was at work.
                let count = part.of_work(*count, FINE);
                if count > 0 {
                    let sum = step.sums.entry(doing.clone()).or_default();
                    *sum = sum.saturating_add(count);
                }
            }
        }
    });
    Ok((series, steps))
}

/// Processes of any kind over a window, whatever they do.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    pub(crate) samples: u64,
    /// By kind: summed over samples, and the highest average of one row.
    found: HashMap<String, (u64, f64)>,
}

impl Processes {
    /// Of some kinds together: on average, and of the row with most of them.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn of(&self, kinds: &[Kind]) -> Option<(f64, f64)> {
        let all = || kinds.iter().filter_map(|kind| self.found.get(kind.name()));
        let sum = all().map(|(sum, _)| *sum).fold(0_u64, u64::saturating_add);
        let most = all().map(|(_, most)| *most).fold(0.0, |most, one| most + one);
        (self.samples > 0).then(|| (sum as f64 / self.samples as f64, most))
    }
}

/// Processes by what they are for.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn processes(scope: &Scope) -> Result<Processes, Error> {
    let segments = Kept::of(&SESSION, scope).segments(scope, Level::Day);
    let named = texts(&SESSION, scope)?;
    let mut all = Processes::default();
    read::frames(&scope.sources, &SESSION, &segments, &[1], &mut |row| {
        let samples = samples(row.head);
        all.samples = all.samples.saturating_add(samples);
        let mut sums: HashMap<&String, u64> = HashMap::new();
        for (id, count) in row.ids.iter().zip(row.column(0).unwrap_or_default()) {
            let Some([kind, ..]) = named.get(&(row.head.source, *id)) else { continue };
            let sum = sums.entry(kind).or_default();
            *sum = sum.saturating_add(*count);
        }
        for (kind, sum) in sums {
            let (all, most) = all.found.entry(kind.clone()).or_default();
            *all = all.saturating_add(sum);
            *most = most.max(sum as f64 / samples.max(1) as f64);
        }
    });
    Ok(all)
}

/// What a statement's sessions did and waited for over the window.
#[derive(Debug, Clone)]
pub(crate) struct Wait {
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) waited: Waited,
    /// Summed over samples.
    pub(crate) sessions: u64,
    /// Its dictionary id and text, as far as they are known here and the caller may see them.
    pub(crate) statement: Option<Known>,
}

/// All waits of a window.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// Most sessions first.
    pub(crate) all: Vec<Wait>,
    pub(crate) samples: u64,
    pub(crate) covered_us: i64,
    pub(crate) quality: u64,
}

/// Statements by what their sessions did.
pub(crate) fn waits(scope: &Scope) -> Result<Waits, Error> {
    let segments = Kept::of(&WAIT, scope).segments(scope, Level::Day);
    let mut found = Waits::default();
    let mut sums: HashMap<Who, u64> = HashMap::new();
    read::frames(&scope.sources, &WAIT, &segments, &[1], &mut |row| {
        found.samples = found.samples.saturating_add(samples(row.head));
        found.covered_us = found.covered_us.saturating_add(row.head.span.length_us);
        found.quality = found.quality.max(row.head.span.quality as u64);
        for (id, count) in row.ids.iter().zip(row.column(0).unwrap_or_default()) {
            let sum = sums.entry((row.head.source, *id)).or_default();
            *sum = sum.saturating_add(*count);
        }
    });
    let named = texts(&WAIT, scope)?;
    // The same names under an older source are the same.
    let mut by_name: BTreeMap<&[String; 3], u64> = BTreeMap::new();
    for (who, sum) in &sums {
        if let Some(names) = named.get(who) {
            let all = by_name.entry(names).or_default();
            *all = all.saturating_add(*sum);
        }
    }
    let one = |([database, user, third], sessions): (&[String; 3], u64)| {
        let waited = Waited::parse(third)?;
        let (database, user) = (database.clone(), user.clone());
        Some(Wait { database, user, waited, sessions, statement: None })
    };
    found.all = by_name.into_iter().filter_map(one).collect();
    // In the order of names where there are as many.
    found.all.sort_by_key(|wait| std::cmp::Reverse(wait.sessions));
    Ok(found)
}

/// Adds what is known of statements of the databases whose history this is.
pub(crate) fn add_statements(waits: &mut [Wait], scope: &Scope) -> Result<(), Error> {
    let queryids = waits.iter().filter_map(|wait| wait.waited.queryid).filter(|id| *id != 0);
    let found = statements(&queryids.collect::<Vec<i64>>(), &scope.sources)?;
    for wait in waits {
        let Some(queryid) = wait.waited.queryid else { continue };
        wait.statement = found.get(&wait.database, &wait.user, queryid).cloned();
    }
    Ok(())
}

/// What is known of a statement: its dictionary id and its text.
pub(crate) type Known = (Option<i64>, Cell);

/// Statements of sessions.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    /// By database, user and queryid.
    of_user: HashMap<(String, String, i64), Known>,
    /// By database and queryid, which tells the text; the id only where it is one user's.
    of_any: HashMap<(String, i64), Known>,
}

impl Statements {
    fn add(&mut self, (database, user, queryid): (String, String, i64), id: i64, text: Cell) {
        let any = self.of_any.entry((database.clone(), queryid));
        let key = (database, user, queryid);
        let of_other = !self.of_user.contains_key(&key);
        any.and_modify(|known| known.0 = known.0.filter(|_| !of_other))
            .or_insert_with(|| (Some(id), text.clone()));
        self.of_user.entry(key).or_insert((Some(id), text));
    }

    /// A statement that a session runs. Sessions are known by the user that logged in, statements by the role that was
    /// set then: where this user has none, it is what others ran of the same queryid.
    pub(crate) fn get(&self, database: &str, user: &str, queryid: i64) -> Option<&Known> {
        let own = self.of_user.get(&(database.to_owned(), user.to_owned(), queryid));
        own.or_else(|| self.of_any.get(&(database.to_owned(), queryid)))
    }
}

/// Dictionary ids and texts of statements, through the view that masks texts from those who may not see them. Of the
/// same statement sent by clients and by functions, the former; of several sources, the newest.
pub(crate) fn statements(queryids: &[i64], sources: &[i64]) -> Result<Statements, Error> {
    let rows = query::rows(
        "SELECT i.database_name, s.user_name, s.queryid, s.statement_id,
             CASE WHEN s.query IS NULL AND s.note IS NOT NULL
                 THEN pg_catalog.format('(%s)', s.note) ELSE s.query END
         FROM perfmon.statement s
         JOIN perfmon.source_info i ON i.source OPERATOR(pg_catalog.=) s.source
         WHERE s.source OPERATOR(pg_catalog.=) ANY ($1)
             AND s.queryid OPERATOR(pg_catalog.=) ANY ($2)
         ORDER BY pg_catalog.array_position($1, s.source), s.toplevel DESC",
        &[sources.to_vec().into(), queryids.to_vec().into()],
    )?;
    let mut found = Statements::default();
    for row in rows {
        let [database, user, queryid, id, text] = row.as_slice() else { continue };
        let key = (database.text(), user.text(), queryid.int(), id.int());
        if let (Some(database), Some(user), Some(queryid), Some(id)) = key {
            found.add((database, user, queryid), id, text.clone());
        }
    }
    Ok(found)
}
