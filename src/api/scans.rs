//! `scans_since_start`: what plans did in the executions that were looked into, as the hooks counted it so far.

use std::collections::HashMap;

use perfmon_core::capture::scan::{self, Kind, Names, Slot, Subject};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::rows::{Cell, Sink};
use super::since_start::{Users, not_preloaded, notice_if_off};
use crate::pg::execution;
use crate::pg::wording::Wording;
use crate::recall::absent;
use crate::recall::counting::Missing;
use crate::watch::live;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.scans_since_start() RETURNS TABLE (
    user_name text,
    queryid bigint,
    toplevel bool,
    rest bool,
    node text,
    table_name text,
    index_name text,
    conditions text,
    statement_samples bigint,
    samples bigint,
    loops bigint,
    rows_read bigint,
    rows_kept bigint,
    rows_estimated bigint,
    spills bigint,
    spilled_bytes bigint,
    outer_rows bigint,
    outer_rows_estimated bigint,
    misestimates bigint
) LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn scans_since_start(fcinfo: pg_sys::FunctionCallInfo) -> Result<(), ErrorReport> {
    let mut sink = Sink::open(fcinfo);
    let reading = live::scans(execution::database(), &[]).ok_or_else(not_preloaded)?;
    notice_if_off(absent::scans()?.map(|Missing { problem, fix }| Missing {
        problem: format!("nodes of plans are not counted: {problem}"),
        fix,
    }));
    let users = Users::of(reading.counted.iter().map(|counted| &counted.key))?;
    let mut names = Wording::default();
    let moved = scan::difference(&[], &reading.counted);
    let samples: HashMap<(u64, u64, bool), u64> = moved
        .iter()
        .filter_map(|(key, counts)| {
            let subject = reading.subjects.get(key).filter(|s| s.kind == Kind::Execution)?;
            let whose = (key.whose, subject.query_id, subject.toplevel);
            Some((whose, counts.get(Slot::Executions)))
        })
        .collect();
    for (key, counts) in &moved {
        let subject = reading.subjects.get(key);
        if subject.is_some_and(|subject| subject.kind == Kind::Execution) {
            continue;
        }
        let of = |slot| Cell::from(counts.get(slot));
        let whole = subject.and_then(|s| samples.get(&(key.whose, s.query_id, s.toplevel)));
        let nested = subject.is_none_or(|subject| subject.kind != Kind::NestedLoop);
        // A hash table's batches are counted, and their bytes are not.
        let bytes = counts.get(Slot::SpilledBytes);
        let unknown = bytes == 0 && counts.get(Slot::Spills) > 0;
        let [node, table, index, conditions] = words(subject, &mut names);
        let hidden = |cell: Cell| if nested { Cell::Null } else { cell };
        sink.put([
            users.name(*key),
            subject.map_or(Cell::Null, |s| users.queryid_of(*key, s.query_id)),
            subject.map_or(Cell::Null, |s| s.toplevel.into()),
            (key.what == 0).into(),
            node,
            table,
            index,
            conditions,
            whole.copied().into(),
            of(Slot::Executions),
            of(Slot::Loops),
            of(Slot::Read),
            of(Slot::Kept),
            of(Slot::Estimated),
            of(Slot::Spills),
            if unknown { Cell::Null } else { bytes.into() },
            hidden(of(Slot::Outer)),
            hidden(of(Slot::OuterEstimated)),
            hidden(of(Slot::Misestimates)),
        ])?;
    }
    Ok(())
}

/// Node, table, index and conditions, as far as there are some.
fn words(subject: Option<&Subject>, names: &mut Wording) -> [Cell; 4] {
    let Some(subject) = subject else {
        return [Cell::Null, Cell::Null, Cell::Null, Cell::Null];
    };
    let mut named = |oid: u32| Cell::from(names.table(oid).filter(|_| oid != 0).as_deref());
    let (table, index) = (named(subject.relation), named(subject.index));
    let parts = scan::part_of(subject, names);
    let line = scan::line(&parts, &subject.code);
    let line = Some(line.as_str()).filter(|line| !line.is_empty());
    [subject.kind.name().into(), table, index, line.into()]
}
