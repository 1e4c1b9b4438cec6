//! Sequences and where they stand.

use std::collections::HashMap;

use perfmon_core::facts::Sequence;

use super::read;
use crate::pg::share;
use crate::probe::ProbeError;

/// Largest values of smallint, integer and bigint, in that order.
const LARGEST: [(&str, i64); 3] =
    [("int2", i16::MAX as i64), ("int4", i32::MAX as i64), ("int8", i64::MAX)];

/// Those whose position the caller may read. One without WAL is empty on a standby.
const SEQUENCES: &str = "
SELECT s.seqrelid, pg_catalog.format('%I.%I', n.nspname, c.relname),
    s.seqstart, s.seqmin, s.seqmax, s.seqincrement, s.seqcycle
FROM pg_catalog.pg_sequence s
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) s.seqrelid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relpersistence OPERATOR(pg_catalog.<>) 't'
    AND NOT (c.relpersistence OPERATOR(pg_catalog.=) 'u' AND pg_catalog.pg_is_in_recovery())
    AND pg_catalog.has_sequence_privilege(s.seqrelid, 'SELECT, USAGE')
ORDER BY n.nspname, c.relname";

/// Columns that sequences feed: as their owner (serial, identity), or by a default that names them. The
/// narrowest column comes first.
const FED: &str = "
SELECT f.sequence, pg_catalog.format('%I.%I.%I', n.nspname, c.relname, a.attname), t.typname
FROM (
    SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS attnum
    FROM pg_catalog.pg_depend d
    WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.refobjsubid OPERATOR(pg_catalog.>) 0
        AND (d.deptype OPERATOR(pg_catalog.=) 'a' OR d.deptype OPERATOR(pg_catalog.=) 'i')
    UNION ALL
    SELECT d.refobjid, b.adrelid, b.adnum::pg_catalog.int4
    FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_attrdef b ON b.oid OPERATOR(pg_catalog.=) d.objid
    WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass
        AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.deptype OPERATOR(pg_catalog.=) 'n'
) f
    JOIN pg_catalog.pg_sequence s ON s.seqrelid OPERATOR(pg_catalog.=) f.sequence
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) f.relation
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) f.relation
        AND a.attnum OPERATOR(pg_catalog.=) f.attnum
    JOIN pg_catalog.pg_type y ON y.oid OPERATOR(pg_catalog.=) a.atttypid
    JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) CASE
        WHEN y.typtype OPERATOR(pg_catalog.=) 'd' THEN y.typbasetype ELSE y.oid END
ORDER BY f.sequence, t.typlen, c.oid, a.attnum";

/// Reads them with the rights of the caller. One that may not be read, or that somebody holds, is left
/// out; none is waited for.
pub(crate) fn sequences() -> Result<Vec<Sequence>, ProbeError> {
    let mut fed: HashMap<u32, (String, Option<i64>)> = HashMap::new();
    read(FED, &[], |row| {
        if let (Some(sequence), Some(column), Some(kind)) = (row.oid(0), row.text(1), row.name(2)) {
            let most = LARGEST.iter().find(|(name, _)| *name == kind).map(|(_, most)| *most);
            fed.entry(sequence).or_insert((column, most));
        }
    })?;
    let mut found = Vec::new();
    read(SEQUENCES, &[], |row| {
        let Some(oid) = row.oid(0) else { return };
        let Some((last, called)) = share::sequence_position(oid) else { return };
        let (owned_by, column_max) = fed.remove(&oid).unzip();
        found.push(Sequence {
            name: row.text(1).unwrap_or_default(),
            last_value: called.then_some(last),
            start: row.int8(2).unwrap_or(1),
            min: row.int8(3).unwrap_or(1),
            max: row.int8(4).unwrap_or(i64::MAX),
            increment: row.int8(5).unwrap_or(1),
            cycle: row.is(6),
            owned_by,
            column_max: column_max.flatten(),
            before: None,
        });
    })?;
    Ok(found)
}
