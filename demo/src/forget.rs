//! A program that leaves transactions open: its sessions read a product, and then nobody ends what was begun.

use crate::Options;
use crate::drive::PRODUCT;
use std::error::Error;
use std::time::{Duration, Instant};

/// How it shows.
const NAME: &str = "stock check";
/// As many as its pool has.
const SESSIONS: usize = 3;

/// Leaves a transaction open in each session until the time is up.
pub(crate) fn forget(options: &Options) -> Result<(), Box<dyn Error>> {
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let mut held = Vec::new();
    for product in 1..=SESSIONS as i64 {
        let mut client = options.connect(NAME)?;
        client.batch_execute("BEGIN")?;
        client.query(PRODUCT.sql, &[&product])?;
        held.push(client);
    }
    std::thread::sleep(until.saturating_duration_since(Instant::now()));
    Ok(())
}
