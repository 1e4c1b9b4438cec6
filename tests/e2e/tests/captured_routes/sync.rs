//! What fails at a Sync is of the statement that was executed last, whatever was sent between the two.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::{route, unseen};
use perfmon_e2e::Server;

/// A session that sends messages one by one, as no client library here does.
struct Wire(UnixStream);

impl Wire {
    fn connect(server: &Server, application: &str) -> Self {
        let mut wire = Self(UnixStream::connect(server.dir().join(".s.PGSQL.5432")).unwrap());
        let names = format!("user\0postgres\0database\0app\0application_name\0{application}\0\0");
        wire.send(b"", &[&196_608_u32.to_be_bytes(), names.as_bytes()].concat());
        assert_eq!(wire.codes(), [""; 0]);
        wire
    }

    fn send(&mut self, kind: &[u8], body: &[u8]) {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        self.0.write_all(&[kind, &length, body].concat()).unwrap();
    }

    fn parse(&mut self, name: &str, sql: &str) {
        self.send(b"P", format!("{name}\0{sql}\0\0\0").as_bytes());
    }

    fn bind(&mut self, name: &str) {
        self.send(b"B", format!("\0{name}\0\0\0\0\0\0\0").as_bytes());
    }

    /// So many rows; 0 for all.
    fn execute(&mut self, rows: u8) {
        self.send(b"E", &[0, 0, 0, 0, rows]);
    }

    fn sends(&mut self, sql: &str) {
        self.parse("", sql);
        self.bind("");
        self.execute(0);
    }

    /// SQLSTATEs of the errors up to the message that the server waits.
    fn codes(&mut self) -> Vec<String> {
        let mut codes = Vec::new();
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
            let mut body = vec![0; length - 4];
            self.0.read_exact(&mut body).unwrap();
            match head[0] {
                b'E' => {
                    let fields = String::from_utf8_lossy(&body).into_owned();
                    let code = fields.split('\0').find_map(|field| field.strip_prefix('C'));
                    codes.push(code.unwrap().to_owned());
                }
                b'Z' => return codes,
                _ => {}
            }
        }
    }
}

const WRITES: &str = "INSERT INTO u VALUES (1), (2), (3) RETURNING k /*route='x'*/";
const FIRST: &str = "INSERT INTO log VALUES (1) /*route='first'*/";
const CALLS: &str = "SELECT puts() /*route='x'*/";

/// What is sent before a Sync, the SQLSTATE, and how often what is of the route was executed to its end, and failed.
type Form = (fn(&mut Wire), &'static str, (i64, i64));

const FORMS: &[Form] = &[
    (|wire| wire.sends(WRITES), "23505", (1, 1)),
    (
        |wire| {
            wire.parse("", WRITES);
            wire.bind("");
            wire.execute(1);
            wire.execute(0);
        },
        "23505",
        (1, 1),
    ),
    (
        |wire| {
            wire.sends(WRITES);
            wire.parse("next", "SELECT 1");
        },
        "23505",
        (1, 1),
    ),
    (
        |wire| {
            wire.sends(WRITES);
            wire.parse("next", "SELECT 1");
            wire.send(b"D", b"Snext\0");
        },
        "23505",
        (1, 1),
    ),
    (
        |wire| {
            wire.sends(WRITES);
            wire.sends("");
        },
        "23505",
        (1, 1),
    ),
    (
        |wire| {
            wire.sends(WRITES);
            wire.parse("next", "SELECT 2 /*route='unread'*/");
            wire.bind("next");
        },
        "23505",
        (1, 1),
    ),
    // What asks for a statement that is not there is none of the route.
    (
        |wire| {
            wire.sends("INSERT INTO log VALUES (1) /*route='x'*/");
            wire.bind("nothing");
        },
        "26000",
        (1, 0),
    ),
    (
        |wire| {
            wire.sends("INSERT INTO log VALUES (1) /*route='x'*/");
            wire.parse("next", "SELECT 1");
            wire.bind("nothing");
        },
        "26000",
        (1, 0),
    ),
    // A SELECT comes to its end only after what is deferred.
    (|wire| wire.sends(CALLS), "23505", (0, 1)),
    (
        |wire| {
            wire.sends(FIRST);
            wire.sends(CALLS);
        },
        "23505",
        (0, 1),
    ),
    (
        |wire| {
            wire.sends(FIRST);
            wire.sends(CALLS);
            wire.parse("next", "SELECT 1");
        },
        "23505",
        (0, 1),
    ),
    (
        |wire| {
            wire.sends("SELECT puts() /*route='first'*/");
            wire.sends("INSERT INTO log VALUES (1) /*route='x'*/");
        },
        "23505",
        (1, 1),
    ),
];

#[test]
fn what_fails_at_a_sync_is_of_the_statement_before() {
    let server = Server::manual().start();
    server.new_db("app").run(
        "CREATE TABLE u (k int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO u VALUES (1);
         CREATE TABLE log (a int);
         CREATE FUNCTION puts() RETURNS int LANGUAGE sql AS 'INSERT INTO u VALUES (1) RETURNING k'",
    );
    let mut watcher = unseen(&server, "app");
    watcher.snapshot();
    let mut before = (0, 0);
    for (at, (form, code, expected)) in FORMS.iter().enumerate() {
        let mut wire = Wire::connect(&server, "wire");
        for _ in 0..2 {
            form(&mut wire);
            wire.send(b"S", b"");
            assert_eq!(wire.codes(), [*code], "{at}");
            // A name that was given stays while its message is not undone.
            wire.send(b"C", b"Snext\0");
            wire.send(b"S", b"");
            assert_eq!(wire.codes(), [""; 0], "{at}");
        }
        watcher.snapshot();
        let (calls, errors, _, _) = route(&mut watcher, "x");
        let found = (calls - before.0, errors - before.1);
        assert_eq!(found, (2 * expected.0, 2 * expected.1), "{at}");
        before = (calls, errors);
    }
    assert_eq!(route(&mut watcher, "first").1, 0);
    assert_eq!(route(&mut watcher, "unread").1, 0);
}
