//! What answers at the port of a pooler, and is none.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use perfmon_e2e::{Server, WINDOW};

/// A message of the protocol.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// Lets everybody in, and gives to each command the same answer, of one column and one row.
fn answer(mut socket: TcpStream, column: &str) -> std::io::Result<()> {
    let take = |socket: &mut TcpStream, kind: usize| -> std::io::Result<()> {
        let mut head = vec![0; kind + 4];
        socket.read_exact(&mut head)?;
        let length = u32::from_be_bytes(head[kind..].try_into().unwrap());
        socket.read_exact(&mut vec![0; length as usize - 4])
    };
    take(&mut socket, 0)?;
    let ready = packet(b'Z', b"I");
    socket.write_all(&[packet(b'R', &[0; 4]), ready.clone()].concat())?;
    loop {
        take(&mut socket, 1)?;
        let mut described = vec![0, 1];
        described.extend(column.as_bytes());
        described.extend([0; 7]);
        described.extend(25_u32.to_be_bytes());
        described.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
        let row = packet(b'D', &[0, 1, 0, 0, 0, 1, b'1']);
        let done = packet(b'C', b"SHOW\0");
        socket.write_all(&[packet(b'T', &described), row, done, ready.clone()].concat())?;
    }
}

/// The first bytes of other services are lengths of more than a gigabyte if they are taken for messages.
#[test]
fn what_is_no_pooler_is_told_at_once_and_costs_no_memory() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    for (name, greeting) in
        [("ssh", "SSH-2.0-OpenSSH_9.2p1\r\n"), ("http", "HTTP/1.1 400 Bad Request\r\n\r\n")]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            // Nobody hangs up here: what is no answer is known as such by what came.
            let mut open = Vec::new();
            for mut socket in listener.incoming().flatten() {
                let _ = socket.write_all(greeting.as_bytes());
                open.push(socket);
            }
        });
        db.run(&format!(
            "CREATE SERVER {name} FOREIGN DATA WRAPPER pg_perfmon_pgbouncer OPTIONS (host '127.0.0.1', port '{port}');
             CREATE USER MAPPING FOR CURRENT_USER SERVER {name} OPTIONS (user 'stats')"
        ));
    }
    db.snapshot();
    let status: String = db.val("SELECT string_agg(s::text, ' ') FROM perfmon.status() s");
    for name in ["ssh", "http"] {
        let told = status.split("PgBouncer ").find(|part| part.starts_with(name));
        assert!(told.is_some_and(|told| told.contains("it speaks another protocol")), "{status}");
    }
    let told: Vec<String> = db.list("SELECT c::text FROM perfmon.pooler_clients() c");
    assert_eq!(told.iter().filter(|row| row.contains("another protocol")).count(), 2, "{told:?}");
}

#[test]
fn an_answer_that_is_none_is_a_failure_with_its_reason() {
    let server = Server::manual().start();
    let mut db = server.new_db("app");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            // Whoever asked hangs up in the end.
            let _ = answer(socket, "whatever");
        }
    });
    db.run(&format!(
        "CREATE SERVER front FOREIGN DATA WRAPPER pg_perfmon_pgbouncer OPTIONS (host '127.0.0.1', port '{port}');
         CREATE USER MAPPING FOR CURRENT_USER SERVER front OPTIONS (user 'stats')"
    ));
    db.snapshot();
    db.snapshot();
    let status: String = db.val("SELECT string_agg(s::text, ' ') FROM perfmon.status() s");
    let why = "its answer to SHOW POOLS has no column database";
    assert!(status.contains("PgBouncer front") && status.contains(why), "{status}");
    let answered: i64 = db.val(&format!(
        "SELECT coalesce(sum(answered), 0)::bigint FROM perfmon.pooler_history({WINDOW})"
    ));
    assert_eq!(answered, 0);
    let told: Vec<String> = db.list("SELECT c::text FROM perfmon.pooler_clients() c");
    assert!(told.len() == 1 && told[0].contains("SHOW CLIENTS has no column database"), "{told:?}");
}
