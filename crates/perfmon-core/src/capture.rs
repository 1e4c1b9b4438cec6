//! What the hooks count in shared memory, as pure logic over atomics: a table of entries that backends claim
//! without any lock, the small cache that each backend keeps of it, what one worker does to keep it from
//! filling up, and differences of what readers saw.
//!
//! Nothing here waits, allocates or fails on the way of an execution. Counters only grow and wrap; nobody
//! resets them, so that any number of readers can subtract.

pub mod by_key;
pub mod cache;
pub mod comment;
pub mod condition;
pub mod failure;
pub mod interval;
pub mod kept;
pub mod mailbox;
pub mod named;
pub mod plan;
pub mod reading;
pub mod route;
pub mod sample;
pub mod scan;
pub mod statement;
pub mod table;
pub mod tend;
#[cfg(test)]
mod tests;
pub mod whole;
