//! How soon a queue at a pooler is found, and with which numbers.

use std::thread;

use perfmon_e2e::{Db, POOLER_PASSWORD, secs, wait_until};

use super::{kinds, start};

#[test]
fn a_queue_is_found_after_two_visits_with_its_numbers_and_ends_with_it() {
    let Some((_server, pooler, mut db)) = start("scram-sha-256") else { return };
    pooler.declare(&mut db, pooler.dir().to_str().unwrap(), POOLER_PASSWORD);
    let mut holders = [pooler.client("alice"), pooler.client("alice")];
    holders.iter_mut().for_each(|holder| holder.run("SELECT 1"));
    // Nobody waited for a while.
    for _ in 0..3 {
        db.snapshot();
    }
    holders.iter_mut().for_each(|holder| holder.run("BEGIN"));
    let waiters: Vec<Db> = (0..3).map(|_| pooler.client("alice")).collect();
    let waiters: Vec<_> = waiters
        .into_iter()
        .map(|mut waiter| {
            thread::spawn(move || {
                waiter.run("SELECT 1");
                waiter
            })
        })
        .collect();
    wait_until("three clients wait", secs(30), || {
        db.val::<bool>(
            "SELECT count(*) FILTER (WHERE state = 'waiting') = 3 FROM perfmon.pooler_clients()",
        )
    });
    db.snapshot();
    assert_eq!(kinds(&db.evaluate()), Vec::<String>::new(), "a moment says nothing");
    db.snapshot();
    let found = db.evaluate();
    let waiting = found.iter().find(|f| f.kind == "pooler_clients_waiting").unwrap();
    assert_eq!(waiting.object, "front database app, user alice");
    assert!(waiting.title.starts_with("3 clients on average wait"), "{waiting:?}");
    assert!(waiting.evidence.contains("clients_waiting_now"), "{waiting:?}");
    let cause = waiting.cause.as_deref().unwrap();
    assert!(cause.starts_with("2 of at most 2 server connections"), "{cause}");
    holders.iter_mut().for_each(|holder| holder.run("COMMIT"));
    waiters.into_iter().for_each(|waiter| drop(waiter.join().unwrap()));
    db.snapshot();
    assert_eq!(kinds(&db.evaluate()), Vec::<String>::new());
}
