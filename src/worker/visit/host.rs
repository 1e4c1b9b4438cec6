//! What the machine did since the last visit; the home database alone keeps it.

use perfmon_core::delta::GapKind;
use perfmon_core::family::{DISK, HOST};
use perfmon_core::frame::Quality;
use perfmon_core::host::{Kept, Machine, Moved};

use super::Visit;
use crate::store;
use crate::store::period::Level;

impl Visit {
    /// Subtracts and writes both rows, and keeps the reading for the next visit.
    pub(super) fn store_host(&mut self) {
        let Some(machine) = self.host.take().filter(|machine| *machine != Machine::default())
        else {
            return;
        };
        let before = self.priors.remove(HOST.name).and_then(|bytes| {
            let decoded = Kept::decode(&bytes);
            decoded.map_err(|e| self.problems.push(e.to_string())).ok()
        });
        let now = Kept { at: self.until, machine };
        match before {
            Some(before) => self.store_machine(&before, &now),
            None => {
                if let Some(last) = self.last_until(&HOST) {
                    let detail = "the counters of the last snapshot are lost".to_owned();
                    self.gap(HOST.name, last, self.until, GapKind::Reset, detail);
                }
            }
        }
        self.next_priors.push((HOST.name, now.encode()));
    }

    fn store_machine(&mut self, before: &Kept, now: &Kept) {
        let mut span = self.span(before.at, Quality::Exact, true);
        // That this database was quiet says nothing of the machine.
        span.quiet_us = 0;
        let Some(moved) = Moved::between(&before.machine, &now.machine, span.length_us) else {
            let detail = "the machine was started, or given other limits".to_owned();
            self.gap(HOST.name, before.at, self.until, GapKind::Reset, detail);
            return;
        };
        self.stored_bytes +=
            store::history::append(Level::Minute, self.source, &span, &moved.host_frame());
        if moved.disks.is_empty() {
            return;
        }
        let names: Vec<[String; 3]> = moved.disks.iter().map(|disk| disk.names.clone()).collect();
        let ids = self.ids_of(&DISK, &names);
        self.stored_bytes +=
            store::history::append(Level::Minute, self.source, &span, &moved.disk_frame(&ids));
    }
}
