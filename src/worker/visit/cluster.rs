//! What clients of all databases executed since the last visit; the home database alone keeps it.

use perfmon_core::capture::interval::Window;
use perfmon_core::capture::kept::Stamp;
use perfmon_core::capture::whole::{Kept, Moved, Whole};
use perfmon_core::family::CLUSTER;
use perfmon_core::frame::Quality;

use super::Visit;
use super::captured::{errors_hidden, errors_hidden_of_some};
use super::off::{Off, WHY_OFF};
use crate::store;
use crate::store::period::Level;
use crate::watch::live;

impl Visit {
    /// Writes the row of this interval, and keeps the sums for the next. Both readings are still there.
    pub(super) fn store_cluster(&mut self) {
        if !self.request.home {
            return;
        }
        let times = self.latency.as_mut().and_then(|read| read.all.take());
        let work = self.captured.as_mut().and_then(|read| read.all.take());
        let (Some(began), Some(times), Some(work)) = (live::began(), times, work) else {
            self.note_not_preloaded(&CLUSTER);
            return;
        };
        let before = self.priors.remove(CLUSTER.name).and_then(|bytes| {
            let decoded = Kept::decode(&bytes);
            decoded.map_err(|e| self.problems.push(e.to_string())).ok()
        });
        let last = if before.is_some() { None } else { self.last_until(&CLUSTER) };
        let kept = before.as_ref().map(|kept| (kept.stamp, kept.off));
        let window = Window::of(kept, last, began, self.until);
        if let Some(gap) = &window.gap {
            self.gap(CLUSTER.name, gap.since, gap.until, gap.kind, gap.detail.clone());
        }
        let off = self.off() != Off::Nobody;
        if off {
            self.note_disabled(CLUSTER.name, WHY_OFF);
        }
        let now = Whole { times, work };
        let earlier = before.filter(|_| window.continues).map(|kept| kept.whole);
        let mut moved = Moved::between(earlier.as_ref(), &now);
        if errors_hidden() || errors_hidden_of_some() {
            moved = moved.hide();
        }
        // Clients of other databases may be counted though those of this one are not.
        if let Some(since) = window.since.filter(|_| !off || !moved.is_empty()) {
            let quality = if off { Quality::LowerBound } else { window.quality };
            let mut span = self.span(since, quality, window.continues);
            // That this database was quiet says nothing of the others.
            span.quiet_us = 0;
            let mut frame = moved.frame();
            if quality != Quality::Exact {
                frame.columns[0] = Some(vec![quality as u64; frame.ids.len()]);
            }
            self.stored_bytes += store::history::append(Level::Minute, self.source, &span, &frame);
        }
        let kept = Kept { stamp: Stamp { began, at: self.until }, off, whole: now };
        self.next_priors.push((CLUSTER.name, kept.encode()));
    }
}
