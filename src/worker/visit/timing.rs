//! When an interval began and ended, how long it truly was, and what of it is a gap.

use perfmon_core::delta::{self, GapKind};
use perfmon_core::family;
use perfmon_core::frame::{self, Quality, Span};

use super::Visit;
use crate::pg::catalog;
use crate::watch::live;
use crate::{settings, store};

/// Row flags, as in `frame::Span`.
const WALL_TIME: i16 = 1;
const CLOCK_STEPPED: i16 = 2;
const LATE: i16 = 4;

const MINUTE_US: i64 = 60_000_000;

/// Most minutes for which work is made up for at once.
const MOST_MINUTES: i64 = 16;

/// A visit may be this late without being called so.
const SLACK_US: i64 = 2_000_000;

impl Visit {
    /// Ends of intervals increase strictly, whatever the clock does.
    pub(super) fn nudge_clock(&mut self) {
        // What was remembered was written together with the rows; without it they are asked themselves.
        let known = self.before.as_ref().map(|before| before.until);
        let last = known.or_else(|| self.last_until(&family::SERVER));
        let Some(last) = last.filter(|last| self.until <= *last) else { return };
        let back = last - self.until;
        self.until = last + 1;
        self.flags |= CLOCK_STEPPED;
        if self.before.as_ref().is_none_or(|before| self.header.wall_us < before.wall_us) {
            let detail = format!("the clock stepped back by {} s or more", back / 1_000_000);
            self.gap("all", last, self.until, GapKind::Clock, detail);
        }
    }

    /// A restart that kept the counters: the time without a server is a gap and counts for no rate.
    pub(super) fn note_restart(&mut self) {
        let Some(before) = &self.before else { return self.note_recovery() };
        let started = self.header.server_started;
        if before.server_started == started || started <= before.until {
            return;
        }
        // Until the first checkpoint after the start, the control file tells of the shutdown, in whole seconds.
        let possible = before.until.saturating_sub(1_000_000)..started;
        let stopped = catalog::last_checkpoint().filter(|at| possible.contains(at));
        let stopped = stopped.map(|at| at.max(before.until));
        self.downtime_us = stopped.map_or(0, |at| started - at);
        // When it was gone is not known of a stop that no file tells of.
        let (since, kind, detail) = match stopped {
            Some(at) => (at, GapKind::ServerDown, "the server was shut down"),
            None => {
                (before.until, GapKind::Missed, "the server was restarted at some time in between")
            }
        };
        self.gap("all", since, started, kind, detail.to_owned());
    }

    /// After a crash, or a stop like one, the last counters are lost. Until when the server was there is not known, but
    /// since when it came back: memory was set up anew, and then it recovered.
    fn note_recovery(&self) {
        let Some(last) = self.last_until(&family::SERVER) else { return };
        let Some((began, ready)) = live::recovery() else { return };
        if last < began && began < ready {
            let detail = "the server recovered from a crash".to_owned();
            self.gap("all", began, ready, GapKind::ServerDown, detail);
        }
    }

    /// Time whose statements nobody counted, or could read: one gap, as long as it lasts.
    pub(super) fn note_no_statements(&self) {
        if let Some(why) = &self.no_statements {
            self.note_disabled(family::STATEMENT.name, why);
        }
    }

    /// Time since the last visit in which something was not counted: one gap, as long as it lasts.
    pub(super) fn note_disabled(&self, name: &str, why: &str) {
        let before = self.before.as_ref().map(|before| before.until);
        let Some(since) = before.or_else(|| self.last_until(&family::SERVER)) else { return };
        self.extend_gap(name, since, why.to_owned());
    }

    /// Whether the same was said of the time up to the last visit; then it is now said up to this one.
    pub(super) fn goes_on_disabled(&self, name: &str, why: &str) -> bool {
        let gap = |since| gap_of(name, since, self.until, GapKind::Disabled, why.to_owned());
        let before = self.before.as_ref().map(|before| before.until);
        before.is_some_and(|since| store::gap::lengthen(self.source, &gap(since)))
    }

    /// Something that is switched off: one gap, as long as it lasts.
    pub(super) fn extend_gap(&self, subject: &str, since: i64, why: String) {
        let gap = gap_of(subject, since, self.until, GapKind::Disabled, why);
        store::gap::extend(self.source, &gap);
    }

    /// What a difference says is unknown. Something that was not read goes on where it ended: one gap.
    pub(super) fn tell_gap(&self, subject: &str, gap: &delta::Gap) {
        let told = gap_of(subject, gap.since, gap.until, gap.kind, gap.detail.clone());
        match gap.kind {
            GapKind::Missed => store::gap::extend(self.source, &told),
            _ => store::gap::record(self.source, &told),
        }
    }

    pub(super) fn gap(&self, subject: &str, since: i64, until: i64, kind: GapKind, detail: String) {
        store::gap::record(self.source, &gap_of(subject, since, until, kind, detail));
    }

    /// The time that a row covers.
    pub(super) fn span(&self, since: i64, quality: Quality, continues: bool) -> Span {
        let before = self.before.as_ref().filter(|before| continues && before.until == since);
        let monotonic = before.and_then(|before| self.header.monotonic_since(before));
        let mut flags = self.flags;
        let length_us = monotonic.unwrap_or_else(|| {
            flags |= WALL_TIME;
            let downtime = if continues { self.downtime_us } else { 0 };
            (self.until - since - downtime).max(0)
        });
        let quiet_us = if continues {
            frame::quiet_us(length_us, self.until, self.request.quiet_until)
        } else {
            0
        };
        if self.is_late(length_us - quiet_us) {
            flags |= LATE;
        }
        Span { since, until: self.until, length_us, quiet_us, quality, flags }
    }

    pub(super) fn is_late(&self, busy_us: i64) -> bool {
        self.request.scheduled && busy_us > 2 * settings::snapshot_interval_us() + SLACK_US
    }

    /// Minutes since the last visit, at least one: for what is done so many times a minute.
    pub(super) fn minutes(&self) -> usize {
        let since = self.before.as_ref().map_or(self.until, |before| before.until);
        ((self.until - since) / MINUTE_US).clamp(1, MOST_MINUTES) as usize
    }

    /// Scheduled visits that did not take place: what happened meanwhile is counted in this interval,
    /// but when in it is not known.
    pub(super) fn note_missed(&self) {
        let Some(before) = &self.before else { return };
        let busy_since = before.until.max(self.request.quiet_until);
        let length = self.until - busy_since - self.downtime_us;
        if self.request.disabled {
            let detail = "scheduled snapshots were switched off".to_owned();
            self.gap("all", busy_since, self.until, GapKind::Disabled, detail);
        } else if self.is_late(length) && before.server_started == self.header.server_started {
            let detail = format!("no snapshot for {} s", length / 1_000_000);
            self.gap("all", busy_since, self.until, GapKind::Missed, detail);
        }
    }
}

fn gap_of(subject: &str, since: i64, until: i64, kind: GapKind, detail: String) -> store::gap::Gap {
    store::gap::Gap {
        since,
        until,
        subject: subject.to_owned(),
        kind: kind.as_str().to_owned(),
        detail: Some(detail),
    }
}
