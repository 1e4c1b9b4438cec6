//! Sessions that come and go.

use super::CHURN;
use crate::activity::group::Level;
use crate::detect::Judgement;
use crate::detect::words::{count, milliseconds, name, number};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::pool::{Group, Look, Sender};
use crate::threshold::{Threshold, Thresholds};

pub(super) const PER_S: Threshold = Threshold::new(
    "connection_churn_per_s",
    2.0,
    "sessions that come and go per second: warning",
    "pg_perfmon: each costs a process and a login, some milliseconds",
);
pub(super) const LENGTH_MS: Threshold = Threshold::new(
    "connection_churn_ms",
    10_000.0,
    "length of a session above which it is not said to come and go",
    "pg_perfmon",
);

/// What came and is gone again.
struct Gone {
    sessions: u64,
    per_s: f64,
    /// Of them, those that no sample saw: they are shorter than the time between two.
    unseen_per_s: f64,
    /// They last no longer than that, on average, milliseconds; `None` where that is not known.
    at_most_ms: Option<f64>,
}

impl Gone {
    fn of(look: &Look) -> Option<Self> {
        let counted = look.sessions_of(None).filter(|counted| counted.covered_us > 0)?;
        if look.samples == 0 {
            return None;
        }
        let server = look.server()?;
        let seconds = counted.covered_us as f64 / 1e6;
        let peak = u64::from(server.open.peak.unwrap_or(0));
        // Whoever came and stays was seen to come.
        let stayed = peak.min(server.opened);
        let sessions = counted.sessions.saturating_sub(stayed);
        let between_ms = counted.covered_us as f64 / 1000.0 / look.samples as f64;
        let unseen = counted.sessions.saturating_sub(server.opened).min(sessions);
        let seen_ms = length_of_seen(look);
        // The time of those that stay is in what the server counts, so that it is no shorter than the truth.
        let all = [counted.mean_ms, Some(between_ms).filter(|_| unseen > sessions / 2)];
        let counted_ms = all.into_iter().flatten().reduce(f64::min);
        let at_most_ms = if unseen > sessions / 2 { counted_ms } else { seen_ms.or(counted_ms) };
        Some(Self {
            sessions,
            per_s: sessions as f64 / seconds,
            unseen_per_s: unseen as f64 / seconds,
            at_most_ms,
        })
    }
}

/// Those of a pool that came and are gone; those that stayed are no churn, as of a server that was just started.
fn gone_of(pool: &Group) -> u64 {
    pool.opened.saturating_sub(pool.open.peak.unwrap_or(0).into())
}

fn pools(look: &Look) -> impl Iterator<Item = &Group> {
    look.groups.iter().filter(|group| group.whose.level == Level::Pool)
}

/// Time in sessions of the pools in which they come and go, for each that went.
fn length_of_seen(look: &Look) -> Option<f64> {
    let gone: u64 = pools(look).map(gone_of).sum();
    let of = pools(look).filter(|pool| gone_of(pool) > 0);
    let open: f64 = of.filter_map(|pool| pool.open.average).sum();
    (gone > 0).then(|| open * look.covered_us as f64 / 1000.0 / gone as f64)
}

pub(super) fn detect(look: &Look, thresholds: &Thresholds, judgement: &mut Judgement) {
    if look.sessions_of(None).is_none() || look.server().is_none() {
        judgement.unknown(CHURN);
        return;
    }
    let Some(gone) = Gone::of(look) else { return };
    // How long they last may not be known: that they are gone is.
    let long = gone.at_most_ms.is_some_and(|ms| ms > thresholds.of(&LENGTH_MS));
    if gone.per_s <= thresholds.of(&PER_S) || long {
        return;
    }
    let mut title = format!("{} sessions a second come and go", number(gone.per_s));
    if let Some(ms) = gone.at_most_ms {
        title.push_str(&format!(", each lasts {} or less on average", milliseconds(ms)));
    }
    let mut finding = Finding::new(
        CHURN,
        Severity::Warning,
        "server",
        title,
        "Let programs keep their connections: a pool in the program, or a pooler before the server. Each connection \
         costs a process, a login and cold caches.",
        "PostgreSQL manual, How Connections Are Established",
    );
    finding.cause = Some(cause(look, &gone));
    finding.evidence.push(
        Evidence::new("sessions_per_s", gone.per_s, "sessions/s")
            .over(thresholds.of(&PER_S))
            .out_of(i64::try_from(gone.sessions).unwrap_or(i64::MAX)),
    );
    finding.evidence.push(Evidence::new("unseen_per_s", gone.unseen_per_s, "sessions/s"));
    if let Some(ms) = gone.at_most_ms {
        let lasts = Evidence::new("session_ms", ms, "ms");
        finding.evidence.push(lasts.over(thresholds.of(&LENGTH_MS)));
    }
    finding.effort = Effort::Medium;
    finding.gain = Some("Statements begin at once, and processors do their work only.".to_owned());
    judgement.add(finding);
}

/// Whose they are: as samples saw them; if these saw few of them, who sends statements without being seen.
fn cause(look: &Look, gone: &Gone) -> String {
    const SELDOM: &str = "those shorter than the time between two samples are seldom seen";
    let most = pools(look).max_by_key(|pool| gone_of(pool)).filter(|pool| gone_of(pool) > 0);
    let seen = most.map(|pool| {
        format!(
            "Most are of {}: samples saw {} of them begin; {SELDOM}.",
            pool.whose.program(),
            count(pool.opened as f64)
        )
    });
    let is_seen = most.is_some_and(|pool| gone_of(pool) * 2 > gone.sessions);
    let sender = unseen_sender(look, gone.sessions).map(|sender| {
        let program = match sender.application.as_str() {
            "" => "a program without a name".to_owned(),
            application => application.to_owned(),
        };
        format!(
            "Most may be of {program} (user {}): it ran {} transactions, and samples found next to none of its \
             sessions, as they are shorter than the time between two samples.",
            sender.user,
            count(sender.transactions as f64)
        )
    });
    let named = if is_seen { seen.or(sender) } else { sender.or(seen) };
    let mut said = named.unwrap_or_else(|| "They are too short to be seen by samples.".to_owned());
    let databases = look.sessions.iter().filter(|counted| counted.database.is_some());
    if let Some(most) = databases.max_by_key(|counted| counted.sessions)
        && let Some(database) = most.database.as_deref().filter(|_| most.sessions > 0)
    {
        let all = look.sessions_of(None).map_or(0, |all| all.sessions);
        said.push_str(&format!(
            " {} of {} sessions that began are of database {}.",
            count(most.sessions as f64),
            count(all as f64),
            name(database)
        ));
    }
    said
}

/// The program that ran most transactions of those whose sessions samples hardly found, if these could be what came and went.
fn unseen_sender(look: &Look, sessions: u64) -> Option<&Sender> {
    const SEEN: f64 = 0.5;
    let open = |sender: &Sender| -> f64 {
        let own = pools(look).filter(|pool| {
            pool.whose.user.as_deref() == Some(sender.user.as_str())
                && pool.whose.application.as_ref().is_none_or(|name| *name == sender.application)
        });
        own.filter_map(|pool| pool.open.average).sum()
    };
    let hidden = look.senders.iter().filter(|sender| open(sender) < SEEN);
    let most = hidden.max_by_key(|sender| sender.transactions)?;
    (most.transactions * 2 >= sessions).then_some(most)
}
