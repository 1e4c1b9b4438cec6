//! The machine, or the part of it that this server may use: a container counts as a machine. Reads small files of
//! /proc and /sys, and asks file systems for their room; what they say is core's to tell.

use std::fs;
use std::io::Read;

use perfmon_core::host::{Files, Machine, Place, Space, disks};

use pgrx::pg_sys;

use crate::pg::describe;
use crate::pg::scan::{self, Moment};

/// No file that is read is as long as that.
const LONGEST: u64 = 4 << 20;

/// The files of this machine.
struct Here;

impl Files for Here {
    fn text(&self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        fs::File::open(path).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn link(&self, path: &str) -> Option<String> {
        fs::read_link(path).ok()?.into_os_string().into_string().ok()
    }

    fn space(&self, path: &str) -> Option<Space> {
        let found = rustix::fs::statvfs(path).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        // Some file systems have no bounds, and say so by none at all.
        (found.f_blocks > 0).then(|| Space {
            size: bytes(found.f_blocks),
            used: bytes(found.f_blocks.saturating_sub(found.f_bfree)),
            available: bytes(found.f_bavail),
        })
    }
}

/// Processors and memory, without the file systems.
pub(crate) fn machine() -> Machine {
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    Machine::read(&Here, 1_000_000 / ticks)
}

/// Processors that this process may keep busy at least, in whole ones.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn processors(machine: &Machine) -> Option<i64> {
    let cores = machine.cores().map(|cores| (cores.floor() as i64).max(1));
    cores.or_else(|| i64::try_from(std::thread::available_parallelism().ok()?.get()).ok())
}

/// All of it, with the file systems that the server writes to.
pub(crate) fn whole() -> Machine {
    Machine { disks: disks(&Here, &places()), ..machine() }
}

/// The server's directories. Its processes work in the first.
fn places() -> Vec<Place> {
    let Some(data) =
        std::env::current_dir().ok().and_then(|path| path.into_os_string().into_string().ok())
    else {
        return Vec::new();
    };
    let place =
        |what: &str, path: String, is_in_use| Place { what: what.to_owned(), path, is_in_use };
    let mut found = vec![
        place("data directory", data.clone(), true),
        place("WAL", format!("{data}/pg_wal"), false),
    ];
    let own = [pg_sys::DEFAULTTABLESPACE_OID, pg_sys::GLOBALTABLESPACE_OID];
    let mut spaces: Vec<(String, u32)> = Vec::new();
    scan::rows(pg_sys::TableSpaceRelationId, None, &Moment::now(), |row| {
        // SAFETY: the fixed part of a row of pg_tablespace.
        let space = unsafe { row.form::<pg_sys::FormData_pg_tablespace>() };
        if !own.contains(&space.oid) {
            spaces.push((describe::quoted(&describe::name(&space.spcname)), space.oid.to_u32()));
        }
    });
    spaces.sort();
    found.extend(spaces.into_iter().map(|(name, oid)| {
        place(&format!("tablespace {name}"), format!("{data}/pg_tblspc/{oid}"), false)
    }));
    found
}
