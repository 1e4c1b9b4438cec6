//! What the store takes on disk, by asking the file system: the server's own size functions wait for
//! every lock that someone holds.

use std::path::Path;

use super::sql;

/// Files of relations are split here.
const SEGMENT_BYTES: u64 = 1 << 30;

/// Bytes of all tables of the extension, with their indexes, TOAST tables and maps.
pub(crate) fn store_bytes() -> i64 {
    let paths = sql::read(
        "WITH own AS MATERIALIZED (
             SELECT c.oid, c.reltoastrelid FROM pg_catalog.pg_class c
             WHERE c.relnamespace OPERATOR(pg_catalog.=) 'perfmon'::pg_catalog.regnamespace
         )
         SELECT pg_catalog.pg_relation_filepath(f.oid) FROM (
             SELECT o.oid FROM own o
             UNION ALL
             SELECT o.reltoastrelid FROM own o
             UNION ALL
             SELECT i.indexrelid FROM own o
             JOIN pg_catalog.pg_index i ON i.indrelid OPERATOR(pg_catalog.=) o.reltoastrelid
         ) f (oid)
         WHERE f.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid",
        &[],
        |row| row.get::<String>(1),
    );
    let total: u64 = paths.into_iter().flatten().map(|path| relation_bytes(&path)).sum();
    i64::try_from(total).unwrap_or(i64::MAX)
}

/// Size of one file, 0 if there is none. A server process works in its data directory, to which
/// these paths are relative.
pub(super) fn file_bytes(path: &str) -> u64 {
    Path::new(path).metadata().map_or(0, |file| file.len())
}

fn relation_bytes(path: &str) -> u64 {
    let mut bytes = file_bytes(path);
    let mut segment = 1_u32;
    let mut last = bytes;
    while last >= SEGMENT_BYTES {
        last = file_bytes(&format!("{path}.{segment}"));
        bytes += last;
        segment += 1;
    }
    bytes + file_bytes(&format!("{path}_fsm")) + file_bytes(&format!("{path}_vm"))
}
