//! Where the comment may stand that names a route.

use super::{route, unseen};
use perfmon_e2e::Server;

/// Statements that name the route `here`, as it stands in the manual.
const READ: &[&str] = &[
    "SELECT 1 /*route='here'*/",
    "SELECT 1 /*route='here'*/;",
    "SELECT 1 /*route='here'*/ ; ",
    "SELECT 1; /*route='here'*/",
    "SELECT 1; /*route='here'*/ ;\n",
    "SELECT 1\n/*route='here'*/\n\n                                        \t",
    "/*route='here'*/ SELECT 1",
    "/*route='here'*/SELECT 1;",
    "\n    /*route='here'*/ SELECT 1;",
    " \t\r\n/*route='here'*/\nSELECT 1",
    "/*+ SeqScan(t) */ SELECT 1 /*route='here'*/",
    "/*+ SeqScan(t) */ /*route='here'*/ SELECT 1;",
    "\n/*+ SeqScan(t) */\n/*route='here'*/ SELECT 1",
    "/*route='here'*/ /*+ SeqScan(t) */ SELECT 1;",
    "/* a remark */ /*route='here'*/ SELECT 1",
    "SELECT 1 /*route='here'*/ /* a remark */",
    "SELECT 1 /*route='here'*/ /* a remark */;",
    "/*route='here'*/ SELECT 1 /* a remark */",
    "/*route='there'*/ SELECT 1 /*route='here'*/",
    "-- a line\nSELECT 1 /*route='here'*/",
];

/// Those that do not.
const NOT_READ: &[&str] = &[
    "SELECT 1",
    "SELECT 1;",
    "\n    SELECT 1;",
    "SELECT /*route='middle'*/ 1",
    "-- a line\n/*route='below'*/ SELECT 1",
    "SELECT 1 /*route='above'*/ -- a line",
    "/*+ SeqScan(t) */ SELECT 1",
    "SELECT '/*route=''quoted''*/'",
];

#[test]
fn the_comment_may_stand_at_the_end_or_the_start() {
    let server = Server::manual().start();
    server.new_db("app");
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    let mut db = server.db("app");
    for (at, sql) in READ.iter().enumerate() {
        // Each by a name of its own, sent each way, and often enough that it is known.
        let sql = sql.replace("here", &format!("here {at}"));
        for _ in 0..3 {
            db.run(&sql);
            db.query(&sql, &[]).unwrap();
        }
    }
    db.run("SET application_name = 'without'");
    for sql in NOT_READ {
        for _ in 0..3 {
            db.run(sql);
            db.query(*sql, &[]).unwrap();
        }
    }
    watcher.snapshot();
    for (at, sql) in READ.iter().enumerate() {
        let (calls, errors, transactions, _) = route(&mut watcher, &format!("here {at}"));
        assert_eq!((calls, errors, transactions), (6, 0, 6), "{sql:?}");
    }
    let without = "SELECT coalesce(route, '') || ' ' || calls FROM perfmon.routes() WHERE application = 'without'";
    assert_eq!(watcher.list::<String>(without), [format!(" {}", 6 * NOT_READ.len())]);
}

/// Also where its planning and its parameters run functions.
#[test]
fn an_execute_has_the_route_of_its_own_message() {
    let server = Server::manual().start();
    server.new_db("app").run(
        "CREATE TABLE t (a int);
         CREATE FUNCTION fixed() RETURNS int IMMUTABLE LANGUAGE plpgsql AS
             'DECLARE n int; BEGIN SELECT count(*) INTO n FROM t; RETURN n; END';
         CREATE FUNCTION counted() RETURNS int LANGUAGE plpgsql AS
             'DECLARE n int; BEGIN SELECT count(*) INTO n FROM t; RETURN n; END'",
    );
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    let mut db = server.db("app");
    db.run("PREPARE p (int) AS SELECT fixed() + $1 /*route='prepared'*/");
    db.run("PREPARE w (int) AS INSERT INTO t SELECT fixed() + $1 /*route='prepared'*/");
    for _ in 0..3 {
        db.run("EXECUTE p (1) /*route='own'*/");
        db.run("EXECUTE p (counted()) /*route='own'*/");
        db.run("EXECUTE w (counted()) /*route='own'*/");
    }
    watcher.snapshot();
    let (calls, errors, transactions, _) = route(&mut watcher, "own");
    assert_eq!((calls, errors, transactions), (9, 0, 9));
    assert_eq!(route(&mut watcher, "prepared").0, 0);
}
