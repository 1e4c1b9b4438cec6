//! What only the visit as a whole knows, put into the rows of statements, of the database and of the server.

use perfmon_core::capture::named::{Executed, Named};
use perfmon_core::family;
use perfmon_core::frame::{Frame, Quality, Span};

use super::Visit;
use super::captured::unnamed;
use crate::pg::{clock, session};
use crate::store::{self, period::Level};

impl Visit {
    /// Writes a row. The server's comes last and speaks for the interval. Where statements were executed that nobody could
    /// tell by their ids, a row without any would say that there were none.
    pub(super) fn keep(&mut self, mut span: Span, frame: &Frame) {
        let is_statements = frame.family.name == family::STATEMENT.name;
        let (named, executed) =
            if is_statements { self.named(frame) } else { (Named::All, Executed::default()) };
        if named != Named::All {
            span.quality = span.quality.max(Quality::LowerBound);
        }
        self.quality = self.quality.max(span.quality);
        if named == Named::Nothing {
            self.note_disabled(frame.family.name, &unnamed(executed));
            return;
        }
        if frame.family.name == family::SERVER.name {
            span.quality = self.quality;
        }
        self.stored_bytes += store::history::append(Level::Minute, self.source, &span, frame);
    }

    /// Leaves out the transactions of our own visits.
    pub(super) fn correct_database(&mut self, frame: &mut Frame, own: Option<u32>) {
        let Some(row) = own.and_then(|id| frame.ids.binary_search(&id).ok()) else { return };
        let value = |frame: &Frame, name: &str| {
            let column = family::DATABASE.position(name)?;
            if frame.known >> column & 1 == 0 {
                return None;
            }
            Some(frame.columns[column].as_ref().map_or(0, |values| values[row]))
        };
        self.active_us = value(frame, "active_us").and_then(|us| i64::try_from(us).ok());
        let ran = self.own_transactions();
        if let Some(column) = family::DATABASE.position("xact_commit")
            && let Some(values) = &mut frame.columns[column]
        {
            values[row] = values[row].saturating_sub(ran);
        }
    }

    /// Transactions that collectors ran here since the last interval's end.
    pub(super) fn own_transactions(&mut self) -> u64 {
        let Some(now) = self.request.own_transactions else { return 0 };
        let before =
            self.before.as_ref().filter(|b| b.server_started == self.header.server_started);
        let ran = before.map_or(now, |before| now - before.own_transactions);
        self.header.own_transactions = now;
        u64::try_from(ran).unwrap_or(0)
    }

    /// Adds to the server's row what only the visit knows.
    pub(super) fn complete_server(&self, frame: &mut Frame) {
        if frame.ids.is_empty() {
            frame.ids.push(0);
        }
        // Not a counter of the server's, so no difference: it is the number itself.
        if let Some(column) =
            family::SERVER.position("statements_vanished").filter(|_| self.has_statements)
        {
            frame.columns[column] = (self.vanished != 0).then(|| vec![self.vanished]);
            frame.known |= 1 << column;
        }
        frame.totals = vec![
            Some(1),
            Some(clock::cpu_us() - self.began_cpu_us),
            Some(elapsed_us(self.began)),
            Some(session::wal_bytes() - self.began_wal_bytes),
            Some(self.stored_bytes),
            self.active_us,
            self.covered_exec_us,
        ];
    }
}

pub(super) fn total(frame: &Frame, name: &str) -> Option<i64> {
    let position = frame.family.totals.iter().position(|total| *total == name)?;
    frame.totals.get(position).copied().flatten()
}

pub(super) fn elapsed_us(began: Option<i64>) -> i64 {
    clock::monotonic_us().zip(began).map_or(0, |(now, began)| now - began)
}
