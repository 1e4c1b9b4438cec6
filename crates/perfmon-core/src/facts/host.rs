//! The machine over the window, as the home database recorded it.

use crate::host::{DiskSeen, HostSeen};

/// The machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Host {
    /// The whole window.
    pub window: HostSeen,
    /// Single rows at the end of the window, oldest first.
    pub rows: Vec<HostRow>,
    /// File systems that the server wrote to.
    pub disks: Vec<HostDisk>,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct HostRow {
    /// Its end, microseconds since the Unix epoch.
    pub until_us: i64,
    /// Its length.
    pub length_us: i64,
    /// What it says.
    pub seen: HostSeen,
}

/// A file system.
#[derive(Debug, Clone, PartialEq)]
pub struct HostDisk {
    /// Where it is mounted.
    pub mount: String,
    /// Its device, where it has one.
    pub device: Option<String>,
    /// What of the server lies there, in words.
    pub uses: String,
    /// The whole window.
    pub window: DiskSeen,
    /// The last row of the window alone.
    pub last: DiskSeen,
    /// When that ended, microseconds since the Unix epoch.
    pub last_us: i64,
    /// What was used up to the window's end, as (microseconds since the Unix epoch, bytes), ascending.
    pub history: Vec<(i64, f64)>,
}
