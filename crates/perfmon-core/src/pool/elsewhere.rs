//! Sessions that execute, but wait inside the server for something that is neither a lock of SQL's nor a file.

use std::collections::BTreeMap;

use super::Whose;
use super::queue::Load;
use crate::activity::wait::{self, Class};

/// For what sessions of a database and user waited inside statements.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Their database.
    pub database: String,
    /// Their user.
    pub user: String,
    /// Class and event in one word, as [`wait::name`] gives them.
    pub wait: String,
    /// How many on average; parallel workers are none.
    pub sessions: f64,
}

/// Sessions of a group that wait so, and for what most of them do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Elsewhere {
    /// How many on average.
    pub sessions: f64,
    /// Class and event.
    pub event: String,
    /// Of the sessions, those that wait for this.
    pub of_event: f64,
}

/// What a wait inside a statement says of why it queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// It is counted with the group itself: locks, files, clients.
    Counted,
    /// Nothing: it sleeps because it was told to, or waits for its own helpers, which work meanwhile.
    Nothing,
    /// Others are in its way.
    Elsewhere,
}

fn says(name: &str) -> Says {
    // Of parallel queries, and of what passes messages to them; the second is spelled otherwise from 17 on.
    const HELPERS: [&str; 7] =
        ["Append", "BgWorker", "Bgworker", "ExecuteGather", "Hash", "MessageQueue", "Parallel"];
    let Some((class, event)) = wait::split(name) else { return Says::Counted };
    match Class::parse(class) {
        Some(Class::Lock | Class::Io | Class::Client) => Says::Counted,
        Some(Class::Timeout | Class::Activity) | None => Says::Nothing,
        Some(Class::Ipc) if HELPERS.iter().any(|helper| event.starts_with(helper)) => Says::Nothing,
        Some(_) => Says::Elsewhere,
    }
}

/// Whether such a wait is one that groups themselves do not count.
pub fn is_wanted(name: &str) -> bool {
    says(name) != Says::Counted
}

impl Elsewhere {
    /// How many of a group's sessions wait so is known of the group, and for what, of its database and user: groups that differ by
    /// program or address share what these waited for.
    pub fn of<'a>(
        load: &Load,
        whose: &Whose,
        parts: impl Iterator<Item = (u64, &'a [Event])>,
    ) -> Option<Self> {
        let all = load.elsewhere_of_any_kind();
        let within = |wanted: &Option<String>, name: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == name)
        };
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for (samples, events) in parts {
            let own = events.iter().filter(|event| {
                within(&whose.database, &event.database) && within(&whose.user, &event.user)
            });
            for event in own.filter(|event| is_wanted(&event.wait)) {
                *sums.entry(&event.wait).or_default() += event.sessions * samples as f64;
            }
        }
        let total: f64 = sums.values().sum();
        sums.retain(|event, _| says(event) == Says::Elsewhere);
        let waiting: f64 = sums.values().sum();
        let (event, most) = sums.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        (all > 0.0 && total > 0.0 && !whose.other).then(|| Self {
            sessions: all * waiting / total,
            event: event.to_owned(),
            of_event: all * most / total,
        })
    }

    /// In words.
    pub fn words(&self) -> String {
        let what = match wait::split(&self.event) {
            Some(("IPC", "SyncRep")) => {
                " (a standby of synchronous_standby_names that does not answer in time)"
            }
            Some(("Extension", _)) => " (of an extension, as one that asks another server)",
            Some(("BufferPin", _)) => " (a cursor or scan keeps a page)",
            _ => "",
        };
        let rest = if self.of_event < 0.95 * self.sessions {
            format!(", {:.1} of them for {}{what}", self.of_event, self.event)
        } else {
            format!(", for {}{what}", self.event)
        };
        format!("{:.1} sessions wait inside the server{rest}", self.sessions)
    }
}
