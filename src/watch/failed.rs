//! Texts of statements that fail, noted in the session in which they do, without their literals: pg_stat_statements has
//! none of those that never ran to their end. Runs in the hook of the log: it reads the text of the client's message and
//! writes atomics, nothing else.

use perfmon_core::capture::failed::Board;
use perfmon_core::capture::literal::{LONGEST, mask};

use crate::pg::execution::Report;

/// Notes it, unless it was noted before or is not told by its text.
#[cold]
pub(super) fn note(board: &Board<'_>, report: &Report<'_>) {
    let unknown = report.query_id == 0 || report.text.is_empty();
    if unknown || board.has(report.query_id, report.database) {
        return;
    }
    let mut text = [0; LONGEST];
    if let Some(masked) = mask(report.text, &mut text) {
        board.post(report.query_id, report.database, masked, &text);
    }
}
