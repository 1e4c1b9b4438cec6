//! What the hooks counted in shared memory since the last visit: failures, work by route, and what plans did. Readings are kept
//! until the next visit like those of the server's own counters, and begin anew with the shared memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CStr;

use perfmon_core::capture::failure::{self, Class};
use perfmon_core::capture::kept::{self, Interval, Stamp};
use perfmon_core::capture::named::{self, Executed, NO_PLACE, Named};
use perfmon_core::capture::route::{self, Slot};
use perfmon_core::capture::scan;
use perfmon_core::capture::table::Key;
use perfmon_core::capture::whole::WorkOfAll;
use perfmon_core::delta::GapKind;
use perfmon_core::family::{
    FAILURE, Family, NAMELESS, ROUTE, ROUTE_FAILURES, STATEMENT, UNCOUNTED,
};
use perfmon_core::frame::{Frame, Quality, SOME_HEARD, SOME_ONLY};
use pgrx::pg_sys;

use super::Visit;
use super::off::{Off, WHY_OFF, errors_heard_of_some};
use super::scans;
use super::whole::total;
use crate::pg::{catalog, fmgr, role, session};
use crate::store::period::Level;
use crate::watch::live;
use crate::{settings, store};

/// What the last visit left.
type Before<T> = Option<(Stamp, Vec<T>)>;

/// Subject of what was executed between two readings.
const MEANWHILE: &str = "meanwhile";

/// What was read.
pub(super) struct Captured {
    /// When the counters began.
    began: i64,
    failures: Vec<failure::Counted>,
    routes: route::Reading,
    /// What the last visit left of routes, and what they did since; once it was subtracted.
    work: Option<(Before<route::Counted>, route::Moved)>,
    /// Some of it found no place in memory, and is not known.
    unplaced: bool,
    /// What was executed with the hooks off between this reading and the one of the server's own statistics, which may have
    /// counted it: in the next interval they will not.
    meanwhile: u64,
    scans: scan::Reading,
    /// What plans had done when they were read before.
    scans_before: scans::Before,
    /// Of all databases, at home.
    pub(super) all: Option<WorkOfAll>,
}

impl Captured {
    /// Reads all, at home also the work of all databases; `None` without preloading.
    pub(super) fn read(home: bool, scans_before: scans::Before) -> Option<Self> {
        let own = session::database().to_u32();
        let mut failures = live::failures(None)?;
        let unseen = unseen_of_all(&failures);
        // What belongs to no database is kept whoever is at home, in case that changes.
        failures.retain(|counted| [own, 0].contains(&counted.key.database()));
        let (routes, all) = live::routes(own, home)?;
        let all = all.map(|work| WorkOfAll { unseen, ..work });
        let began = live::began()?;
        let scans = live::scans(own, earlier(&scans_before.prior, began))?;
        Some(Self {
            began,
            failures,
            routes,
            work: None,
            unplaced: false,
            meanwhile: 0,
            scans,
            scans_before,
            all,
        })
    }

    /// Once the server's own statistics were read.
    pub(super) fn look_again(&mut self) {
        let now = live::untimed(session::database().to_u32()).unwrap_or(0);
        self.meanwhile = now.saturating_sub(named::untimed_then(&self.routes.counted));
    }
}

/// What sessions of this database begin with that have nothing kept for their role, whatever this process began with:
/// it has the role that owns the cluster, for which something may be kept.
pub(super) fn configured(setting: &CStr) -> Option<String> {
    let kept = role::starting_value(setting, None);
    let kept = kept.map(|value| value.to_string_lossy().to_lowercase());
    kept.or_else(|| session::configured(setting))
}

/// Whether statements get no ids, by which the server counts them.
fn without_ids() -> bool {
    let value = configured(c"compute_query_id");
    value.is_some_and(|value| settings::IDS_OFF.contains(&value.as_str()))
}

/// Whether the server is meant to count what a user executes with the hooks off: a role that has them off may be kept from all
/// statistics.
fn is_meant(user: u32) -> bool {
    let role = (user != 0).then(|| pg_sys::Oid::from(user));
    let value = role::starting_value(c"pg_perfmon.capture", role);
    value.is_none_or(|value| !value.to_bytes().eq_ignore_ascii_case(b"off"))
}

/// Whether the server's own statistics leave out utility commands, if only those of some sessions.
fn leaves_out_utility() -> bool {
    let setting = c"pg_stat_statements.track_utility";
    let is_off = |value: &str| settings::IDS_OFF.contains(&value.to_lowercase().as_str());
    let mut kept = role::kept(setting).into_iter();
    configured(setting).is_some_and(|value| is_off(&value))
        || kept.any(|(_, _, value)| is_off(&value.to_string_lossy()))
}

/// Why nothing of what was executed was told by the server.
pub(super) fn unnamed(executed: Executed) -> String {
    if without_ids() {
        return "compute_query_id is off".to_owned();
    }
    let some_had_ids = executed.timed.max(executed.untimed) > 0;
    let why = match (executed.nameless > 0, some_had_ids) {
        (true, false) => "compute_query_id was off, or had been when it was prepared,",
        (true, true) => {
            "compute_query_id was off, or had been when it was prepared, or pg_stat_statements.track was none,"
        }
        (false, _) => "pg_stat_statements.track was none",
    };
    let but = if some_had_ids && leaves_out_utility() {
        " but utility commands, as pg_stat_statements.track_utility is off"
    } else {
        ""
    };
    format!("{why} in all sessions that executed something{but}")
}

/// Whether errors do not get to the hook.
pub(super) fn errors_hidden() -> bool {
    configured(c"log_min_messages").is_some_and(|least| settings::hides_errors(&least))
}

/// Whether errors of sessions of some database or some role do not get to the hook, by what is kept for these alone.
pub(super) fn errors_hidden_of_some() -> bool {
    let kept = role::kept(c"log_min_messages");
    kept.iter().any(|(_, _, least)| settings::hides_errors(&least.to_string_lossy()))
}

/// Whether one of these users keeps its errors from the hook here. What is kept for a role in this database is stronger
/// than what is kept for the role.
fn errors_hidden_of(users: &BTreeSet<u32>) -> bool {
    let (here, all) = (session::database(), pg_sys::Oid::INVALID);
    let kept = role::kept(c"log_min_messages");
    let of = |database: pg_sys::Oid, user: u32| {
        kept.iter()
            .find(|(of, role, _)| *of == database && role.to_u32() == user)
            .map(|(_, _, least)| settings::hides_errors(&least.to_string_lossy()))
    };
    users.iter().any(|user| of(here, *user).or_else(|| of(all, *user)) == Some(true))
}

impl Visit {
    /// Subtracts what routes did before, once.
    pub(super) fn subtract_routes(&mut self) {
        let Some(mut now) = self.captured.take() else { return };
        if now.work.is_none() {
            let routes = self.before(&ROUTE, route::from_columns);
            let before = earlier(&routes, now.began);
            let mut moved = route::difference(before, &now.routes.counted);
            let own = session::database().to_u32();
            now.unplaced = route::take_unplaced(&mut moved, before, own);
            self.off = Off::of(&moved);
            now.work = Some((routes, moved));
        }
        self.captured = Some(now);
    }

    /// How much of what was executed a row of statements tells, and what that was. Where nobody hears of executions, as without
    /// preloading, the setting says whether there are any to be told.
    pub(super) fn named(&mut self, frame: &Frame) -> (Named, Executed) {
        self.subtract_routes();
        let counted = total(frame, "total_calls").and_then(|calls| u64::try_from(calls).ok());
        let counted = counted.unwrap_or(0).max(frame.ids.len() as u64);
        let counted_before = self.counted_before();
        match self.captured.as_ref().and_then(|now| now.work.as_ref()) {
            Some((Some(_), moved)) => {
                let mut executed = Executed::of(moved, is_meant);
                executed.expected = executed.expected.saturating_sub(counted_before);
                (Named::of(counted, executed), executed)
            }
            None if counted == 0 && without_ids() => (Named::Nothing, Executed::default()),
            Some((None, _)) | None => (Named::All, Executed::default()),
        }
    }

    /// How much of what was executed since the hooks' last reading the server had counted when its own was made.
    fn counted_before(&self) -> u64 {
        let kept = self.priors.get(MEANWHILE).and_then(|bytes| kept::from_bytes(bytes).ok());
        let began = self.captured.as_ref().map(|now| now.began);
        let kept = kept.filter(|(stamp, _)| Some(stamp.began) == began);
        kept.and_then(|(_, columns)| columns.first()?.first().copied()).unwrap_or(0)
    }

    /// Subtracts and writes all.
    pub(super) fn store_captured(&mut self) {
        let off = self.off();
        let Some(mut now) = self.captured.take() else { return };
        let Some((routes, moved)) = now.work.take() else { return };
        self.store_scans(now.began, &now.scans, now.scans_before, off);
        let stamp = Stamp { began: now.began, at: self.until };
        let failures = self.before(&FAILURE, failure::from_columns);
        let kept = [
            (ROUTE.name, kept::to_bytes(stamp, &route::to_columns(&now.routes.counted))),
            (FAILURE.name, kept::to_bytes(stamp, &failure::to_columns(&now.failures))),
            (MEANWHILE, kept::to_bytes(stamp, &[vec![now.meanwhile]])),
        ];
        self.next_priors.extend(kept);
        let route_interval = self.interval(&ROUTE, &routes, now.began);
        let failure_interval = self.interval(&FAILURE, &failures, now.began);
        if off != Off::Nobody {
            for (family, interval) in [(&ROUTE, route_interval), (&FAILURE, failure_interval)] {
                if let Some((since, _)) = interval {
                    self.extend_gap(family.name, since, WHY_OFF.to_owned());
                }
            }
        }
        if off == Off::All {
            return;
        }
        let moved = route_interval.and_then(|interval| {
            if now.unplaced {
                self.extend_gap(ROUTE.name, interval.0, NO_PLACE.to_owned());
                return None;
            }
            let mut frame = self.route_frame(&moved, &now.routes.names);
            self.append_captured(interval, &mut frame);
            Some(moved)
        });
        if let Some(interval) = failure_interval {
            let before = earlier(&failures, now.began);
            let mut frame = self.failure_frame(before, &now.failures, moved.as_ref());
            self.append_captured(interval, &mut frame);
        }
    }

    /// The reading that the last visit left.
    pub(super) fn before<T>(
        &mut self,
        family: &Family,
        from: impl FnOnce(&[Vec<u64>]) -> Option<Vec<T>>,
    ) -> Option<(Stamp, Vec<T>)> {
        let bytes = self.priors.remove(family.name)?;
        match kept::from_bytes(&bytes) {
            Ok((stamp, columns)) => Some((stamp, from(&columns)?)),
            Err(damage) => {
                self.problems.push(format!("last counters of {}: {damage}", family.name));
                None
            }
        }
    }

    /// Since when the row to be written counts, and what it is worth; `None` when there is none to write. What
    /// was lost is recorded.
    pub(super) fn interval<T>(
        &self,
        family: &'static Family,
        prior: &Option<(Stamp, Vec<T>)>,
        began: i64,
    ) -> Option<(i64, Quality)> {
        let prior = prior.as_ref().map(|(stamp, _)| *stamp);
        let last = if prior.is_some() { None } else { self.last_until(family) };
        let interval = Interval::of(prior, last, began);
        match interval {
            Interval::Since(since) => Some((since, interval.quality())),
            Interval::Anew { since, lost_until } => {
                if lost_until > since {
                    let detail = "the server was restarted: what was counted after the last snapshot is lost";
                    self.gap(family.name, since, lost_until, GapKind::Reset, detail.to_owned());
                }
                Some((since, interval.quality()))
            }
            Interval::Unknown { lost } => {
                if let Some(since) = lost.filter(|since| *since < self.until) {
                    let detail = "the counters of the last snapshot are lost".to_owned();
                    self.gap(family.name, since, self.until, GapKind::Reset, detail);
                }
                None
            }
        }
    }

    pub(super) fn append_captured(&mut self, (since, quality): (i64, Quality), frame: &mut Frame) {
        if quality != Quality::Exact {
            frame.columns[0] = Some(vec![quality as u64; frame.ids.len()]);
        }
        let mut span = self.span(since, quality, true);
        if self.off == Off::ButSome {
            span.flags |= SOME_ONLY;
        }
        if errors_hidden() && errors_heard_of_some() {
            span.flags |= SOME_HEARD;
        }
        self.stored_bytes += store::history::append(Level::Minute, self.source, &span, frame);
    }

    fn route_frame(&self, moved: &route::Moved, names: &BTreeMap<Key, route::Names>) -> Frame {
        let keys: Vec<&Key> = moved.keys().filter(|key| key.what != 0).collect();
        let mut users = Users::default();
        let called: Vec<[String; 3]> = keys
            .iter()
            .map(|key| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let names = names.get(key);
                [
                    names.map(|names| text(&names.application)).unwrap_or_default(),
                    users.name(key.user()),
                    names.map(|names| text(&names.route)).unwrap_or_default(),
                ]
            })
            .collect();
        // What is not heard of is not none.
        let unknown = if errors_hidden() {
            ["errors", "cancelled"].into_iter().filter_map(|name| ROUTE.position(name)).collect()
        } else {
            Vec::new()
        };
        let ids = self.ids_of(&ROUTE, &called);
        let id_of: HashMap<&Key, u32> = keys.into_iter().zip(ids).collect();
        let mut rows: BTreeMap<u32, [u64; 4]> = BTreeMap::new();
        for (key, sums) in moved {
            // There is room for sixteen million routes; further ones would go with the rest.
            let id = id_of.get(key).copied().filter(|id| *id < 1 << 24).unwrap_or(0);
            for (slot, count) in sums {
                let (bucket, column) = match slot {
                    Slot::Statements(bucket) => (u32::from(*bucket), 0),
                    Slot::Transactions(bucket) => (u32::from(*bucket), 1),
                    Slot::Errors => (ROUTE_FAILURES, 2),
                    Slot::Cancelled => (ROUTE_FAILURES, 3),
                    Slot::Uncounted => (UNCOUNTED, 0),
                    Slot::Nameless => (NAMELESS, 0),
                };
                rows.entry(id << 8 | bucket).or_default()[column] += u64::from(*count);
            }
        }
        let column = |i: usize| rows.values().map(|row| row[i]).collect::<Vec<u64>>();
        Frame {
            family: &ROUTE,
            ids: rows.keys().copied().collect(),
            columns: [None].into_iter().chain((0..4).map(|i| Some(column(i)))).collect(),
            known: unknown.iter().fold((1 << ROUTE.columns.len()) - 1, |all, c| all & !(1 << c)),
            totals: Vec::new(),
        }
    }

    fn failure_frame(
        &self,
        before: &[failure::Counted],
        now: &[failure::Counted],
        work: Option<&route::Moved>,
    ) -> Frame {
        let executions = work.and_then(|moved| i64::try_from(route::executions(moved)).ok());
        let mut frame = Frame {
            family: &FAILURE,
            ids: Vec::new(),
            columns: vec![None; FAILURE.columns.len()],
            known: 1,
            totals: vec![executions, None, None],
        };
        let mut moved = failure::difference(before, now);
        // Those that found no place of their own may be of any database.
        let is_unseen = |key: &Key| failure::of_kind(key.kind).0 == Class::Unseen;
        let none_unseen = !moved.keys().any(is_unseen);
        let own = session::database().to_u32();
        // Without the work of the same time those that found no place cannot be told apart.
        let unknown = match work {
            Some(work) => failure::settle(&mut moved, own, route::failures(work)),
            None => Vec::new(),
        };
        let is_anybodys =
            |key: &Key| key.database() == 0 && failure::of_kind(key.kind).0.ends_statement();
        let all_placed = work.is_some() || !moved.keys().any(is_anybodys);
        moved.retain(|key, _| key.database() != 0 || self.request.home);
        let mut last: HashMap<Key, i64> = HashMap::new();
        for counted in now {
            let at = last.entry(counted.key).or_insert(i64::MIN);
            *at = counted.last_at.max(*at);
        }
        let keys: Vec<Key> = moved.keys().copied().collect();
        let ids = self.failure_ids(&keys);
        let mut rows: BTreeMap<u32, [u64; 4]> = BTreeMap::new();
        let (mut errors, mut cancelled) = (0_u64, 0_u64);
        for ((key, (count, lost_us)), id) in moved.iter().zip(ids) {
            let (class, _) = failure::of_kind(key.kind);
            let row = rows.entry(id).or_default();
            // What was folded happened before now, which is all that is known of it.
            let at = last.get(key).map_or(self.until, |at| crate::pg::clock::unix_us(*at));
            let seconds = u64::try_from(at / 1_000_000).unwrap_or(0);
            let quality = if unknown.contains(key) { Quality::LowerBound } else { Quality::Exact };
            let [worst, failures, lost, latest] = *row;
            let worst = worst.max(quality as u64);
            *row = [worst, failures + count, lost.saturating_add(*lost_us), latest.max(seconds)];
            errors += if class.is_error() { *count } else { 0 };
            cancelled += if class == Class::Cancelled { *count } else { 0 };
        }
        frame.ids = rows.keys().copied().collect();
        for column in usize::from(unknown.is_empty())..4 {
            frame.columns[column] = Some(rows.values().map(|row| row[column]).collect());
        }
        // What got through of those of all is a part; those of other users are known where some user's are hidden, but
        // not how many there were of all.
        let hidden = errors_hidden();
        frame.known = if hidden { 1 } else { (1 << FAILURE.columns.len()) - 1 };
        let users = work.map(at_work).unwrap_or_default();
        // Whose work it was is not known without it: anybody's errors may be hidden.
        let none_hidden = match work {
            Some(_) => !errors_hidden_of(&users),
            None => !errors_hidden_of_some(),
        };
        let is_known = !hidden && none_unseen && all_placed && none_hidden;
        let count = |n: u64| i64::try_from(n).ok().filter(|_| is_known);
        frame.totals = vec![executions, count(errors), count(cancelled)];
        frame
    }

    /// Dictionary ids of failures. A statement is named by its own id in the history.
    fn failure_ids(&self, keys: &[Key]) -> Vec<u32> {
        let mut users = Users::default();
        let is_table = |key: &Key| failure::of_kind(key.kind).0 == Class::AutovacuumCancelled;
        let refusal = |key: &Key| failure::refusal_of(key.kind);
        let has_statement = |key: &&Key| key.what != 0 && !is_table(key) && refusal(key).is_none();
        let failed: Vec<&Key> = keys.iter().filter(has_statement).collect();
        let statements: Vec<[String; 3]> = failed
            .iter()
            .map(|key| [users.name(key.user()), (key.what as i64).to_string(), "t".to_owned()])
            .collect();
        let ids = self.ids_of(&STATEMENT, &statements);
        let ids: HashMap<&Key, u32> = failed.into_iter().zip(ids).collect();
        let names: Vec<[String; 3]> = keys
            .iter()
            .map(|key| {
                let (class, state) = failure::of_kind(key.kind);
                let oid = pg_sys::Oid::from(key.what as u32);
                let what = match refusal(key) {
                    Some(_) if key.what != 0 => catalog::name_of_database(oid),
                    None if is_table(key) => catalog::relation_name(oid).unwrap_or_default(),
                    _ => ids.get(key).map(u32::to_string).unwrap_or_default(),
                };
                let state = String::from_utf8_lossy(&state.text()).into_owned();
                let why = refusal(key).map_or_else(String::new, |why| format!(" {}", why.name()));
                [users.name(key.user()), what, format!("{} {state}{why}", class.name())]
            })
            .collect();
        self.ids_of(&FAILURE, &names)
    }
}

/// How many errors were kept from the hooks in any database; it wraps.
fn unseen_of_all(failures: &[failure::Counted]) -> u32 {
    let unseen = failures.iter().filter(|one| failure::of_kind(one.key.kind).0 == Class::Unseen);
    unseen.fold(0, |sum, one| sum.wrapping_add(one.count as u32))
}

/// Who executed something.
fn at_work(moved: &route::Moved) -> BTreeSet<u32> {
    let worked = |sums: &BTreeMap<Slot, u32>| {
        let is_one = |slot: &Slot| matches!(slot, Slot::Statements(_) | Slot::Uncounted);
        sums.iter().any(|(slot, n)| *n > 0 && is_one(slot))
    };
    moved.iter().filter(|(_, sums)| worked(sums)).map(|(key, _)| key.user()).collect()
}

/// What is to be subtracted: nothing from counters that began anew.
pub(super) fn earlier<T>(prior: &Option<(Stamp, Vec<T>)>, began: i64) -> &[T] {
    match prior {
        Some((stamp, counted)) if stamp.began == began => counted,
        _ => &[],
    }
}

/// Names of users by oid, looked up once; nobody has none.
#[derive(Default)]
pub(super) struct Users(HashMap<u32, String>);

impl Users {
    pub(super) fn name(&mut self, user: u32) -> String {
        if user == 0 {
            return String::new();
        }
        let name = self.0.entry(user).or_insert_with(|| fmgr::role_name(pg_sys::Oid::from(user)));
        name.clone()
    }
}
