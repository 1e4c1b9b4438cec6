//! What SQL can call. Each function checks its arguments, asks a room, and returns rows; judgement and
//! arithmetic live in the core crate. Nothing may depend on this room.

mod access;
mod activity;
mod args;
#[cfg(feature = "bench")]
mod bench;
mod captured;
mod checks;
mod cluster;
mod commands;
mod errors;
mod evidence;
mod findings;
mod history;
mod host;
mod hygiene;
mod judged;
mod known;
mod latency;
mod live;
mod locks;
mod marks;
mod objectives;
mod objects;
mod past;
mod plans;
mod pool_size;
mod poolers;
mod pools;
mod processes;
mod report;
mod rewrites;
mod routes;
mod rows;
mod runs;
mod saturation;
mod scans;
mod series;
mod since_start;
mod snapshot;
mod statements;
mod status;
mod times;
