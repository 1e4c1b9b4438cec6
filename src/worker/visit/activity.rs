//! What samples told of sessions since the last visit; the home database alone keeps it. Without preloading a sample
//! is taken with each snapshot, which says little of the time in between: its rows are called doubtful.

use perfmon_core::activity::reading::{Kept, Moved, Reading};
use perfmon_core::activity::rows::{self, Names};
use perfmon_core::capture::kept::Interval;
use perfmon_core::delta::GapKind;
use perfmon_core::family::{Family, POOL, SESSION, WAIT};
use perfmon_core::frame::{Frame, Quality};

use super::Visit;
use crate::pg::backends;
use crate::store::period::Level;
use crate::worker::{board, sampling};
use crate::{settings, store};

/// What is called when something is not known of sessions: one family stands for all three.
const SUBJECT: &Family = &SESSION;

/// Statements that get a name for what they wait for in one visit.
const NEW_WAITS: usize = 4;

/// What was read.
pub(super) enum Activity {
    /// The launcher's sums.
    Sums(Reading),
    /// One sample.
    Once(Moved),
}

impl Activity {
    /// Reads, at home.
    pub(super) fn read(home: bool) -> Option<Self> {
        if !home {
            return None;
        }
        if board::exists() {
            return sampling::read().map(Self::Sums);
        }
        Some(Self::Once(Moved::of_one_sample(&sampling::once(), sampling::grouping())))
    }
}

impl Visit {
    /// Writes the rows of this interval, and keeps the sums for the next.
    pub(super) fn store_activity(&mut self) {
        match self.activity.take() {
            Some(Activity::Sums(reading)) => self.store_sums(&reading),
            Some(Activity::Once(moved)) => {
                let before = self.before.as_ref().map(|before| before.until);
                if let Some(since) = before.filter(|since| *since < self.until) {
                    self.append_activity((since, Quality::Doubtful), &moved);
                }
            }
            None => {}
        }
    }

    fn store_sums(&mut self, reading: &Reading) {
        let bytes = self.priors.remove(SUBJECT.name);
        let kept = bytes.as_deref().and_then(|bytes| {
            let decoded = Kept::decode(bytes);
            decoded.map_err(|e| self.problems.push(format!("last samples: {e}"))).ok()
        });
        let prior = kept.as_ref().map(|(stamp, _)| *stamp);
        let last = if prior.is_some() { None } else { self.last_until(SUBJECT) };
        let interval = Interval::of(prior, last, reading.began);
        let earlier = match interval {
            Interval::Since(_) => kept.as_ref().map(|(_, kept)| kept),
            _ => None,
        };
        if let Some(why) = switched_off() {
            self.note_disabled(SUBJECT.name, why);
        }
        let taken = reading.samples.wrapping_sub(earlier.map_or(0, Kept::samples));
        if let (Interval::Since(_), 0, Some(bytes)) = (interval, taken, &bytes) {
            // Snapshots come more often than samples: the next row is of all this time.
            self.next_priors.push((SUBJECT.name, bytes.clone()));
            return;
        }
        self.next_priors.push((SUBJECT.name, Kept::encode(self.until, reading)));
        self.stored_samples = Some(reading.samples);
        let (since, lost_until) = match interval {
            Interval::Since(since) => (Some(since), None),
            Interval::Anew { since, lost_until } => (Some(since), Some((since, lost_until))),
            Interval::Unknown { lost } => (None, lost.map(|since| (since, self.until))),
        };
        if let Some((since, until)) = lost_until.filter(|(since, until)| since < until) {
            let detail = "samples of the time before the server was restarted are lost".to_owned();
            self.gap(SUBJECT.name, since, until, GapKind::Reset, detail);
        }
        if let Some(since) = since.filter(|_| taken > 0) {
            let moved = Moved::between(earlier, reading);
            self.append_activity((since, interval.quality()), &moved);
        }
    }

    fn append_activity(&mut self, interval: (i64, Quality), moved: &Moved) {
        // A name that this database's encoding cannot take must not cost the rest of the snapshot.
        let Some([doings, waitings, groups]) =
            self.attempt("names of sessions", || Ok(names_of(moved)))
        else {
            return;
        };
        let waitings = self.ids_of_waits(moved, &waitings);
        let [doings, groups] = [(&SESSION, doings), (&POOL, groups)]
            .map(|(family, names)| self.ids_of(family, &names));
        let sampled = moved.sampled();
        let counts = moved.doings.iter().map(|(_, count)| *count);
        self.append_sampled(interval, rows::sums_frame(&SESSION, &doings, counts, sampled));
        let counts = moved.waitings.iter().map(|(_, count)| *count);
        self.append_sampled(interval, rows::sums_frame(&WAIT, &waitings, counts, sampled));
        self.append_sampled(interval, rows::pool_frame(&groups, moved));
    }

    /// Where thousands of statements run, samples catch others every time: those that are new and were caught least
    /// often stay without a name, as those that find no place in the samples do.
    fn ids_of_waits(&self, moved: &Moved, names: &[Names]) -> Vec<u32> {
        let weights: Vec<u64> = moved.waitings.iter().map(|(_, count)| *count).collect();
        let mut ids = self.ids_of_heaviest(&WAIT, (names, &weights), NEW_WAITS);
        let unnamed: Vec<usize> = (0..ids.len()).filter(|at| ids[*at] == 0).collect();
        let mut lookup = backends::Names::default();
        let rest: Vec<Names> = unnamed
            .iter()
            .map(|at| rows::waiting_names(&moved.waitings[*at].0.unnamed(), &mut lookup))
            .collect();
        for (at, id) in unnamed.into_iter().zip(self.ids_of(&WAIT, &rest)) {
            ids[at] = id;
        }
        ids
    }

    fn append_sampled(&mut self, (since, quality): (i64, Quality), mut frame: Frame) {
        if quality != Quality::Exact {
            frame.columns[0] = Some(vec![quality as u64; frame.ids.len()]);
        }
        // While samples are taken, quiet is called what was so in all databases.
        let span = self.span(since, quality, true);
        self.stored_bytes += store::history::append(Level::Minute, self.source, &span, &frame);
    }
}

/// What the dictionary calls processes, statements and groups.
fn names_of(moved: &Moved) -> [Vec<Names>; 3] {
    let mut names = backends::Names::default();
    [
        moved.doings.iter().map(|(doing, _)| rows::doing_names(doing, &mut names)).collect(),
        moved.waitings.iter().map(|(w, _)| rows::waiting_names(w, &mut names)).collect(),
        moved.groups.iter().map(|g| rows::group_names(&g.key, &mut names)).collect(),
    ]
}

/// Why no samples are taken, if the setting says so.
fn switched_off() -> Option<&'static str> {
    settings::activity_interval_us().is_none().then_some("pg_perfmon.activity_interval is 0")
}
