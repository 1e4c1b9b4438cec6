//! PgBouncer, and whoever answers like it: where it is told to be, what its console says, and what happened between two
//! readings. Columns are found by their names, since every version has others: one that is not known is passed over, one
//! that is absent is unknown.

mod console;
mod kept;
mod moved;
mod options;
mod seen;
#[cfg(test)]
mod tests;

pub use console::{
    Alias, Client, Database, Places, Pool, Reading, ServerLink, Shared, Stats, Table, clients,
    servers,
};
pub use kept::{Kept, Known, Version, pause_us};
pub use moved::{Asked, Row, frame, rows};
pub use options::{Place, Target, check_mapping, check_server};
pub use seen::Seen;
