//! What poolers said since the last visit; the home database alone asks them. A collector asks before its transaction
//! begins: nobody waits for a pooler that does not answer but whoever asked for this very snapshot, and for a second at
//! most.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use perfmon_core::activity::Kind;
use perfmon_core::activity::rows::Lookup;
use perfmon_core::family::POOLER;
use perfmon_core::frame::Quality;
use perfmon_core::pooler::{Asked, Kept, Known, Places, Row, Version, frame, rows};

use super::{Visit, owner, pg_monitor};
use crate::pg::{backends, catalog, clock, session};
use crate::probe::pooler::{self, Named};
use crate::store;
use crate::store::period::Level;

/// For all poolers together; those behind are left for the next visit.
const PATIENCE: Duration = Duration::from_secs(2);

/// A pooler, and what became of asking it.
pub(crate) struct Answer {
    name: String,
    version: Version,
    asked: Asked,
}

/// All of them.
pub(crate) type Answers = Vec<Answer>;

/// Who is to be asked, and who is left alone.
pub(crate) struct Plan {
    named: Vec<Named>,
    kept: Kept,
}

/// Looks for poolers; in a transaction. Nothing where there are none.
pub(crate) fn plan() -> Option<Plan> {
    let owner = owner().ok()?;
    let named = session::as_user(pg_monitor(), || pooler::named(owner));
    if named.is_empty() {
        return None;
    }
    let kept = session::as_user(owner, || store::prior::one(POOLER.name));
    let kept = kept.and_then(|bytes| Kept::decode(&bytes).ok()).unwrap_or_default();
    Some(Plan { named, kept })
}

/// Asks them; outside of a transaction, if the caller has the choice.
pub(crate) fn ask(plan: Plan) -> Answers {
    let began = Instant::now();
    let now = clock::wall_us();
    let one = |named: Named| {
        let asked = match named.target {
            Err(why) => Asked::Failed(why),
            Ok(target)
                if plan.kept.is_due(&named.name, named.version, now)
                    && began.elapsed() < PATIENCE =>
            {
                pooler::ask(&target)
            }
            Ok(_) => Asked::Skipped,
        };
        Answer { name: named.name, version: named.version, asked }
    };
    plan.named.into_iter().map(one).collect()
}

impl Visit {
    /// Writes the row, and keeps counters and pauses for the next visit.
    pub(super) fn store_poolers(&mut self) {
        let before = self.priors.remove(POOLER.name).and_then(|bytes| {
            let decoded = Kept::decode(&bytes);
            decoded.map_err(|e| self.problems.push(e.to_string())).ok()
        });
        let Some(answers) = self.poolers.take().filter(|answers| !answers.is_empty()) else {
            // None is there any more: what was kept of them ends here.
            if before.is_some_and(|before| !before.poolers.is_empty()) {
                self.next_priors.push((POOLER.name, Kept::default().encode()));
            }
            return;
        };
        let known = |name: &str| before.as_ref().and_then(|before| before.poolers.get(name));
        let since = before.as_ref().map(|before| before.at).filter(|at| *at > 0);
        if let Some(since) = since.or(self.before.as_ref().map(|before| before.until)) {
            let mut span = self.span(since, Quality::Exact, true);
            span.quiet_us = 0;
            let length = u64::try_from(span.length_us).unwrap_or(0);
            let found: Vec<Row> = answers
                .iter()
                .flat_map(|answer| rows(&answer.name, &answer.asked, known(&answer.name), length))
                .collect();
            let names: Vec<[String; 3]> = found.iter().map(|row| row.names.clone()).collect();
            let ids = self.ids_of(&POOLER, &names);
            let row = frame(&found, &ids);
            self.stored_bytes += store::history::append(Level::Minute, self.source, &span, &row);
        }
        let mut next = Kept { at: self.until, ..Kept::default() };
        for answer in answers {
            let name = answer.name.clone();
            let (kept, problem) = self.remember(answer, known(&name));
            self.problems.extend(problem);
            next.poolers.insert(name, kept);
        }
        self.next_priors.push((POOLER.name, next.encode()));
    }

    /// What to remember of a pooler, and what to tell about it.
    fn remember(&self, answer: Answer, known: Option<&Known>) -> (Known, Option<String>) {
        let Answer { name, version, asked } = answer;
        match asked {
            Asked::Answered(reading) => {
                let before = known.map(|known| &known.places);
                let places = reading.places(before.unwrap_or(&Places::new()), is_ours());
                let own_port = u64::try_from(catalog::own_port()).unwrap_or(0);
                let aliases = reading.aliases(own_port, &places);
                let stopped = reading.stopped();
                let (stats, shared) = (reading.stats, reading.shared);
                let known =
                    Known { stats, version, aliases, stopped, shared, places, ..Known::default() };
                (known, None)
            }
            Asked::Failed(why) => {
                let told = format!("PgBouncer {name}: {why}");
                (Known::failed(known, version, why, self.until), Some(told))
            }
            Asked::Skipped => {
                let kept = known.cloned().unwrap_or_default();
                let told = kept.told(&name);
                (Known { stats: Default::default(), ..kept }, told)
            }
        }
    }
}

/// Whether a process is a client's session of this server, in a database of a name.
fn is_ours() -> impl Fn(u64, &str) -> bool {
    let mut names = backends::Names::default();
    let mut databases: HashMap<u64, String> = HashMap::new();
    for session in backends::everybody().iter().filter(|session| session.kind == Kind::Client) {
        let Ok(pid) = u64::try_from(session.pid) else { continue };
        databases.insert(pid, names.database(session.database));
    }
    move |pid, database| databases.get(&pid).is_some_and(|found| found == database)
}
