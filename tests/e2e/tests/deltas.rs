//! Executions counted by the client are the truth: whatever happens to the server's counters, exact intervals
//! equal the client's count, others never exceed it, and every shortfall lies in a marked interval or gap.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::collections::HashMap;

#[path = "deltas/renamed.rs"]
mod renamed;

use perfmon_e2e::{Db, Random, Server, Stop, secs, seed, wait_until};

/// What was done to the counters between two snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Nothing,
    ResetAll,
    ResetOne,
    Churn,
    Restart,
    Crash,
    Immediate,
}

/// The time between two explicit snapshots, as the client saw it.
#[derive(Debug)]
struct Round {
    since: i64,
    until: i64,
    event: Event,
    calls: HashMap<i64, i64>,
}

struct Workload {
    server: Server,
    random: Random,
    texts: Vec<String>,
    ids: Vec<i64>,
    /// Calls of each statement since its entry was last reset, as far as the client can know.
    life: HashMap<i64, i64>,
    rounds: Vec<Round>,
    db: Option<Db>,
}

/// 256 different statements over one table: a choice of two columns at eight places.
fn text(i: usize) -> String {
    let columns: Vec<&str> = (0..8).map(|bit| if i >> bit & 1 == 1 { "b" } else { "a" }).collect();
    format!("SELECT {} FROM t WHERE a = 1", columns.join(", "))
}

impl Workload {
    fn new(server: Server, statements: usize) -> Self {
        let random = Random::new(seed());
        let mut db = server.new_db("app");
        db.run("CREATE TABLE t (a int, b int)");
        let texts: Vec<String> = (0..statements).map(text).collect();
        let ids = texts.iter().map(|s| db.queryid_of(s)).collect();
        db.snapshot();
        Self { server, random, texts, ids, life: HashMap::new(), rounds: vec![], db: Some(db) }
    }

    fn db(&mut self) -> &mut Db {
        if self.db.is_none() {
            self.server.wait_ready();
            self.db = Some(self.server.db("app"));
        }
        self.db.as_mut().unwrap()
    }

    fn work(&mut self, calls: &mut HashMap<i64, i64>, n: usize, of: usize) {
        for _ in 0..n {
            let i = self.random.below(of);
            let text = self.texts[i].clone();
            self.db().run(&text);
            *calls.entry(self.ids[i]).or_default() += 1;
            *self.life.entry(self.ids[i]).or_default() += 1;
        }
    }

    fn round(&mut self, event: Event) {
        let since = self.rounds.last().map_or(0, |r| r.until);
        let mut calls = HashMap::new();
        let n = self.random.below(60);
        self.work(&mut calls, n, 6);
        match event {
            Event::Nothing => {}
            Event::ResetAll => {
                self.db().run("SELECT pg_stat_statements_reset()");
                self.life.clear();
            }
            Event::ResetOne => self.reset_one(),
            Event::Churn => {
                for _ in 0..2 {
                    self.work(&mut calls, 150, self.texts.len());
                }
            }
            Event::Restart => {
                self.db = None;
                self.server.restart();
            }
            Event::Crash => {
                self.db = None;
                self.server.kill_postmaster();
                self.server.start();
                self.life.clear();
            }
            Event::Immediate => {
                self.db = None;
                self.server.stop(Stop::Immediate);
                self.server.start();
                self.life.clear();
            }
        }
        let after = self.random.below(40);
        self.work(&mut calls, after, 6);
        let until = self.db().snapshot();
        self.rounds.push(Round { since, until, event, calls });
    }

    fn reset_one(&mut self) {
        let Some((&id, _)) = self.life.iter().max_by_key(|(_, n)| **n).filter(|(_, n)| **n >= 20)
        else {
            return;
        };
        let sql = format!("SELECT pg_stat_statements_reset(0, 0, {id})");
        self.db().run(&sql);
        self.life.remove(&id);
    }

    /// Compares the history with what the client did. `always_exact` are the events that may excuse nothing.
    fn check(&mut self, always_exact: &[Event]) {
        let ids = self.ids.clone();
        let rounds = std::mem::take(&mut self.rounds);
        let db = self.db();
        let (history, intervals, gaps) = (db.history(), db.intervals(), db.gaps());
        let mut exact_rounds = 0;
        for round in &rounds[1..] {
            let inside = |t: i64| t > round.since && t <= round.until;
            let rows: Vec<_> = intervals.iter().filter(|i| inside(i.until)).collect();
            let holes: Vec<_> =
                gaps.iter().filter(|g| g.until > round.since && g.since < round.until).collect();
            let mut covered =
                rows.iter().map(|i| i.until - i.since).sum::<i64>() >= round.until - round.since;
            if always_exact.contains(&round.event) {
                // A server that was down lost nothing that ran.
                covered = !rows.is_empty();
            }
            let marked = !covered
                || rows.iter().any(|i| i.quality != "exact")
                || holes.iter().any(|g| {
                    // What other families lost is not about statements.
                    g.kind != "server_down" && ["all", "statement"].contains(&g.subject.as_str())
                });
            if always_exact.contains(&round.event) {
                assert!(!marked, "{round:?}\nis marked without need: {rows:?} {holes:?}");
            }
            for id in &ids {
                let truth = round.calls.get(id).copied().unwrap_or(0);
                let parts: Vec<_> =
                    history.iter().filter(|s| s.queryid == *id && inside(s.until)).collect();
                let stored: i64 = parts.iter().map(|s| s.calls).sum();
                assert!(stored <= truth, "{stored} stored, {truth} executed: {round:?}\n{parts:?}");
                let exact = !marked && parts.iter().all(|s| s.quality == "exact");
                assert!(
                    !exact || stored == truth,
                    "an unmarked shortfall: {stored} stored, {truth} executed of {id} in {round:?}\n{parts:?} {rows:?} {holes:?}"
                );
            }
            exact_rounds += usize::from(!marked);
        }
        println!("{exact_rounds} of {} rounds exact", rounds.len() - 1);
        assert!(
            exact_rounds * 4 >= rounds.len() || always_exact.is_empty(),
            "marks must stay the exception"
        );
    }
}

#[test]
fn nothing_but_work() {
    let mut w = Workload::new(Server::manual().start(), 6);
    for _ in 0..15 {
        w.round(Event::Nothing);
    }
    w.check(&[Event::Nothing]);
}

#[test]
fn clean_restarts_lose_and_double_nothing() {
    let mut w = Workload::new(Server::manual().start(), 6);
    for i in 0..9 {
        w.round(if i % 3 == 1 { Event::Restart } else { Event::Nothing });
    }
    w.check(&[Event::Nothing, Event::Restart]);
    assert!(w.db().gaps().iter().any(|g| g.kind == "server_down"), "the downtime is known");
}

#[test]
fn resets_are_noticed() {
    let mut w = Workload::new(Server::manual().start(), 6);
    for _ in 0..18 {
        let event =
            *w.random.pick(&[Event::Nothing, Event::ResetAll, Event::ResetOne, Event::Nothing]);
        w.round(event);
    }
    // A round after a reset of one entry still has it exact unless somebody resets again.
    w.check(&[Event::Nothing]);
}

#[test]
fn an_entry_that_was_reset_alone_and_outgrew_its_past_is_noticed() {
    const STATEMENTS: usize = 10;
    let mut w = Workload::new(Server::manual().start(), STATEMENTS);
    let mut outgrown = 0;
    for round in 0..12 {
        let since = w.db().snapshot();
        let (mut executed, mut reset) = ([0; STATEMENTS], [false; STATEMENTS]);
        for i in 0..STATEMENTS {
            let (id, text) = (w.ids[i], w.texts[i].clone());
            let mut run = |w: &mut Workload, times: usize| {
                (0..times).for_each(|_| w.db().run(&text));
                executed[i] += times as i64;
                *w.life.entry(id).or_default() += times as i64;
            };
            let before = w.random.below(4) + usize::from(round == 0);
            run(&mut w, before);
            reset[i] = round > 0 && w.random.below(2) == 0;
            let mut after = w.random.below(4) + 1;
            if reset[i] {
                w.db().run(&format!("SELECT pg_stat_statements_reset(0, 0, {id})"));
                // Most have more calls than in the life before, but some have no more than a few.
                let had = w.life.insert(id, 0).unwrap_or(0);
                after += if w.random.below(5) == 0 { 0 } else { had as usize };
                outgrown += usize::from(after as i64 > had);
            }
            run(&mut w, after);
        }
        let until = w.db().snapshot();
        let history = w.db().history();
        for i in 0..STATEMENTS {
            let of = |s: &&perfmon_e2e::Statement| {
                s.queryid == w.ids[i] && s.until > since && s.until <= until
            };
            let parts: Vec<_> = history.iter().filter(of).collect();
            let stored: i64 = parts.iter().map(|s| s.calls).sum();
            let exact = parts.iter().all(|s| s.quality == "exact");
            let told = format!("round {round}: {stored} of {}: {parts:?}", executed[i]);
            match reset[i] {
                true => assert!(stored <= executed[i] && !exact, "{told}"),
                false => assert!(stored == executed[i] && exact, "{told}"),
            }
        }
        let marked = w.db().intervals().iter().any(|i| i.until == until && i.quality != "exact");
        assert_eq!(marked, reset.contains(&true), "round {round}: {reset:?}");
    }
    println!("{outgrown} entries outgrew their past");
    assert!(outgrown > 20);
}

#[test]
fn an_entry_that_was_reset_alone_is_told_from_the_others_of_its_user() {
    const STATEMENTS: usize = 4;
    let mut w = Workload::new(Server::manual().start(), STATEMENTS);
    let texts = w.texts.clone();
    let (reset, rest) = texts.split_first().unwrap();
    texts.iter().for_each(|text| w.db().run(text));
    let since = w.db().snapshot();
    // In it there is nothing left to count, in the others there is, but for one.
    w.db().run(reset);
    rest[1..].iter().for_each(|text| w.db().run(text));
    let id = w.ids[0];
    w.db().run(&format!("SELECT pg_stat_statements_reset(0, 0, {id})"));
    let until = w.db().snapshot();
    let history = w.db().history();
    let of = |id: i64| {
        let mut parts =
            history.iter().filter(|s| s.queryid == id && s.until > since && s.until <= until);
        let found = parts.next().map(|s| (s.calls, s.quality.clone()));
        assert!(parts.next().is_none());
        found
    };
    assert_eq!(of(id), Some((0, "lower bound".to_owned())));
    assert_eq!(of(w.ids[1]), None, "it did nothing");
    for id in &w.ids[2..] {
        assert_eq!(of(*id), Some((1, "exact".to_owned())));
    }
}

/// The server has an entry for it from its planning on, and shows it once it was executed.
#[test]
fn a_first_execution_during_a_snapshot_is_counted() {
    let server = Server::manual().start();
    let (mut db, mut client) = (server.new_db("app"), server.db("app"));
    db.snapshot();
    let id = db.queryid_of("SELECT pg_advisory_lock(7), 'first'");
    db.run("SELECT pg_advisory_lock(7)");
    let runs = std::thread::spawn(move || {
        client.run("SELECT pg_advisory_lock(7), 'first'");
    });
    wait_until("it waits", secs(30), || {
        db.val("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'advisory'")
    });
    db.snapshot();
    db.run("SELECT pg_advisory_unlock(7)");
    runs.join().unwrap();
    db.snapshot();
    assert_eq!(db.stored_calls(id), 1);
    let qualities: Vec<String> = db.intervals().into_iter().map(|one| one.quality).collect();
    assert!(qualities.iter().all(|quality| quality == "exact"), "{qualities:?}");
    assert!(db.gaps().is_empty(), "{:?}", db.gaps());
}

#[test]
fn evictions_are_noticed() {
    let mut w = Workload::new(Server::manual().conf("pg_stat_statements.max = 100").start(), 256);
    for _ in 0..15 {
        let event = *w.random.pick(&[Event::Nothing, Event::Churn]);
        w.round(event);
    }
    w.check(&[]);
}

#[test]
fn crashes_are_noticed() {
    let mut w = Workload::new(Server::manual().start(), 6);
    for i in 0..12 {
        w.round(match i % 6 {
            2 => Event::Crash,
            5 => Event::Immediate,
            _ => Event::Nothing,
        });
    }
    w.check(&[Event::Nothing]);
}

#[test]
fn everything_at_once() {
    let mut w = Workload::new(Server::manual().conf("pg_stat_statements.max = 100").start(), 256);
    for _ in 0..25 {
        let event = *w.random.pick(&[
            Event::Nothing,
            Event::Nothing,
            Event::ResetAll,
            Event::ResetOne,
            Event::Churn,
            Event::Restart,
            Event::Crash,
            Event::Immediate,
        ]);
        w.round(event);
    }
    w.check(&[]);
}

#[test]
fn not_preloaded_restarts_and_crashes() {
    let mut w = Workload::new(Server::unloaded().start(), 6);
    for i in 0..9 {
        w.round(match i {
            3 => Event::Restart,
            6 => Event::Crash,
            _ => Event::Nothing,
        });
    }
    w.check(&[Event::Nothing, Event::Restart]);
}

#[test]
fn scheduled_snapshots_under_load_lose_nothing() {
    let server = Server::builder().start();
    let mut db = server.new_db("app");
    db.run("CREATE TABLE t (a int, b int)");
    let ids: Vec<i64> = (0..4).map(|i| db.queryid_of(&text(i))).collect();
    db.snapshot();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let counts: Vec<i64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|i| {
                let (server, stop) = (&server, &stop);
                scope.spawn(move || {
                    let mut db = server.db("app");
                    let mut n = 0;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        db.run(&text(i));
                        n += 1;
                    }
                    n
                })
            })
            .collect();
        let before = db.intervals().len();
        wait_until("some scheduled intervals", secs(40), || db.intervals().len() >= before + 3);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    db.snapshot();
    for (id, n) in ids.iter().zip(&counts) {
        assert_eq!(db.stored_calls(*id), *n);
    }
    let marked: Vec<_> = db.history().into_iter().filter(|s| s.quality != "exact").collect();
    assert!(marked.is_empty(), "{marked:?}");
}

#[test]
fn counters_of_this_database_go_on_when_another_becomes_the_home() {
    const ROLLBACKS: i64 = 7;
    let server = Server::manual().start();
    let (mut app, mut other) = (server.new_db("app"), server.new_db("other"));
    let roll_back = |db: &mut Db| {
        (0..ROLLBACKS).for_each(|_| db.run("BEGIN; ROLLBACK"));
        // Reading a table leaves something to flush.
        db.run("SELECT pg_stat_force_next_flush() FROM pg_database");
    };
    let stored = |db: &mut Db, name: &str| -> i64 {
        db.val(&format!(
            "SELECT coalesce(sum(xact_rollback), 0)::int8 FROM perfmon.database_history() WHERE database_name = '{name}'"
        ))
    };
    let gap = |db: &mut Db| -> Vec<(i64, i64)> {
        let gaps = db.gaps().into_iter().filter(|gap| gap.subject == "database");
        gaps.inspect(|gap| assert_eq!(gap.kind, "missed")).map(|g| (g.since, g.until)).collect()
    };
    let is_home = |db: &mut Db| -> bool {
        db.val("SELECT value LIKE 'here:%' FROM perfmon.status() WHERE item = 'home database'")
    };
    let mut first = app.snapshot();
    wait_until("all databases are read", secs(20), || {
        first = app.snapshot();
        is_home(&mut app)
    });
    roll_back(&mut app);
    roll_back(&mut other);
    let last_of_all = app.snapshot();
    assert_eq!((stored(&mut app, "app"), stored(&mut app, "other")), (ROLLBACKS, ROLLBACKS));
    assert_eq!(gap(&mut app), []);

    server.append_conf(&["pg_perfmon.database = 'other'"]);
    server.reload();
    roll_back(&mut app);
    let mut last = app.snapshot();
    wait_until("this database alone is read", secs(20), || {
        last = app.snapshot();
        !is_home(&mut app)
    });
    assert_eq!(stored(&mut app, "app"), 2 * ROLLBACKS);
    let told = gap(&mut app);
    assert!(told.len() == 1 && told[0].0 >= last_of_all && told[0].1 <= last, "{told:?}");

    roll_back(&mut other);
    roll_back(&mut app);
    app.snapshot();
    assert_eq!(stored(&mut app, "app"), 3 * ROLLBACKS);
    server.append_conf(&["pg_perfmon.database = 'app'"]);
    server.reload();
    roll_back(&mut app);
    wait_until("all are read again", secs(20), || {
        last = app.snapshot();
        is_home(&mut app)
    });
    assert_eq!((stored(&mut app, "app"), stored(&mut app, "other")), (4 * ROLLBACKS, ROLLBACKS));
    let all = gap(&mut app);
    assert!(all.len() == 1 && all[0].0 == told[0].0 && all[0].1 <= last, "one gap: {all:?}");
    roll_back(&mut other);
    app.snapshot();
    assert_eq!(stored(&mut app, "other"), 2 * ROLLBACKS, "what is new goes on from where it stood");
    // Rates are of the time of which is known what a database did.
    let covered = "SELECT sum(d.length_ms) / 1000 FROM (SELECT DISTINCT time_end, length_ms FROM perfmon.database_history()) d";
    let covered_s: f64 = app.val(covered);
    let unread_s: f64 =
        app.val("SELECT sum(length_ms) / 1000 FROM perfmon.gaps() WHERE subject = 'database'");
    for (name, known_s) in [("app", covered_s), ("other", covered_s - unread_s)] {
        let known: f64 = app.val(&format!(
            "SELECT (xact_commit + xact_rollback) / tps FROM perfmon.databases() WHERE database_name = '{name}'"
        ));
        assert!((known / known_s - 1.0).abs() < 0.02, "{name}: {known} s, {known_s} s");
    }
    let intervals = app.intervals();
    let exact = |i: &&perfmon_e2e::Interval| i.until > first;
    assert!(intervals.iter().filter(exact).all(|i| i.quality == "exact"), "{intervals:?}");
}
