//! Sizes of files, by listing the server's directories instead of asking it: its size functions lock
//! each relation, and wait behind whoever holds it. It must never open a file.

use std::collections::HashMap;
use std::fs;

use crate::pg::classes;

/// What lies in one directory.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Bytes of all files.
    pub(super) total: u64,
    /// Bytes of each relation's files, all forks and segments, by file number.
    by_number: HashMap<u32, u64>,
}

impl Directory {
    /// Lists a directory; one that is not there is empty. Files that go away meanwhile count nothing.
    pub(super) fn list(path: &str) -> Self {
        let mut found = Self::default();
        let Ok(entries) = fs::read_dir(path) else {
            return found;
        };
        for (position, entry) in entries.flatten().enumerate() {
            if position % 512 == 511 {
                pgrx::check_for_interrupts!();
            }
            let Some(bytes) = entry.metadata().ok().filter(fs::Metadata::is_file).map(|m| m.len())
            else {
                continue;
            };
            found.total += bytes;
            if let Some(number) = entry.file_name().to_str().and_then(number) {
                *found.by_number.entry(number).or_default() += bytes;
            }
        }
        found
    }

    /// Bytes of a relation's files, if it has any here.
    pub(super) fn relation(&self, number: u32) -> Option<u64> {
        self.by_number.get(&number).copied()
    }
}

/// The file number in `1234`, `1234.2`, `1234_vm`, `1234_fsm.1`; temporary relations have none.
fn number(name: &str) -> Option<u32> {
    let end = name.find(['.', '_']).unwrap_or(name.len());
    name[..end].parse().ok()
}

/// Bytes of the relation whose first file is `path`, forks and segments included.
fn relation_at(path: &str) -> u64 {
    ["", "_fsm", "_vm", "_init"]
        .iter()
        .map(|fork| {
            let mut bytes = 0;
            for segment in 0_u32.. {
                let name = match segment {
                    0 => format!("{path}{fork}"),
                    n => format!("{path}{fork}.{n}"),
                };
                let Ok(file) = fs::metadata(name) else {
                    break;
                };
                bytes += file.len();
            }
            bytes
        })
        .sum()
}

/// Sizes of relations of this database, directories listed on first use.
#[derive(Default)]
pub(super) struct Sizes {
    directories: HashMap<String, Directory>,
}

impl Sizes {
    /// Bytes of a relation, or `None` when it is gone. One whose file is not where the catalog said a
    /// moment ago was just rewritten: where it lies now is asked again.
    pub(super) fn of(&mut self, class: &classes::Class) -> Option<u64> {
        if class.file != 0 {
            let path = classes::directory(class);
            let directory =
                self.directories.entry(path).or_insert_with_key(|path| Directory::list(path));
            if let Some(bytes) = directory.relation(class.file) {
                return Some(bytes);
            }
        }
        classes::path_now(class.oid).map(|path| relation_at(&path))
    }
}

/// Bytes of a database in all tablespaces.
pub(super) fn database(oid: u32) -> u64 {
    let default = pgrx::pg_sys::DEFAULTTABLESPACE_OID.to_u32();
    let mut total = Directory::list(&classes::database_path(oid, default)).total;
    let others = fs::read_dir("pg_tblspc").into_iter().flatten().flatten();
    for tablespace in others.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok()) {
        total += Directory::list(&classes::database_path(oid, tablespace)).total;
    }
    total
}
