//! Two servers or more side by side, each asked in turns what `pgbench -S -M prepared` asks: what an execution takes at one
//! of them against the others. A session lasts for all of it, and turns are short, so that what else happens on the machine
//! falls on all of them; runs of pgbench, which begin anew each time, differ by more than what is to be measured.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use crate::random::Random;
use crate::{Options, Outcome};

/// Executions before anything is measured, and their parts.
const WARM: (usize, usize) = (4, 5000);
/// Turns of each server, an even number: half of them go around one way, half the other. So nobody follows itself: it would
/// find in the processor what it left there, and only those at the ends of an order that is turned back each time would do so,
/// which is worth almost a per cent.
const TURNS: usize = 160;
/// Executions of a turn that are not measured, after the other server's, and those that are.
const FIRST: usize = 10;
const MEASURED: usize = 200;
/// Rows of pgbench's accounts at scale 1.
const ROWS: u64 = 100_000;

/// What pgbench makes of its script.
const STATEMENT: &[u8] = b"SELECT abalance FROM pgbench_accounts WHERE aid = $1;\0";

/// Prints a ratio for each server but the first: what the first takes for an execution, by what this one takes, which is
/// the ratio of their transactions a second.
pub(crate) fn compare(options: &Options) -> Outcome<()> {
    let hosts = options.host.split(',');
    let mut sessions = hosts.map(Session::open).collect::<Outcome<Vec<_>>>()?;
    let mut random = Random::new(u64::from(std::process::id()));
    for _ in 0..WARM.0 {
        for session in &mut sessions {
            session.drive(WARM.1, &mut random)?;
        }
    }
    let mut took = vec![Vec::with_capacity(TURNS); sessions.len()];
    let mut order = (0..sessions.len()).collect::<Vec<_>>();
    for turn in 0..TURNS {
        if turn == TURNS / 2 {
            order.reverse();
            // Who was last is the first now.
            sessions[order[order.len() - 1]].drive(MEASURED, &mut random)?;
        }
        for &at in &order {
            sessions[at].drive(FIRST, &mut random)?;
            let from = Instant::now();
            sessions[at].drive(MEASURED, &mut random)?;
            took[at].push(from.elapsed().as_secs_f64());
        }
    }
    let times = took.into_iter().map(usual).collect::<Vec<_>>();
    let (first, others) = times.split_first().ok_or("no server was named")?;
    let ratios = others.iter().map(|other| format!("{:.4}", first / other));
    writeln!(std::io::stdout(), "{}", ratios.collect::<Vec<_>>().join(" "))?;
    Ok(())
}

/// What a turn takes as a rule. Something else on the machine makes turns longer, seldom shorter.
fn usual(mut turns: Vec<f64>) -> f64 {
    turns.sort_by(f64::total_cmp);
    let kept = &turns[turns.len() / 10..turns.len() * 3 / 4];
    kept.iter().sum::<f64>() / kept.len() as f64
}

/// A session with the statement prepared. It speaks to its server without a library, so that the server's part of the time is
/// as large as can be.
struct Session {
    stream: UnixStream,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Session {
    fn open(folder: &str) -> Outcome<Session> {
        let stream = UnixStream::connect(Path::new(folder).join(".s.PGSQL.5432"))?;
        let mut session = Session { stream, request: Vec::new(), reply: vec![0; 8192] };
        // Version 3.0 of the protocol.
        let mut hello = 196_608_u32.to_be_bytes().to_vec();
        hello.extend(b"user\0postgres\0database\0postgres\0application_name\0pgbench\0\0");
        session.request.extend(length(&hello).to_be_bytes());
        session.request.append(&mut hello);
        session.ask()?;
        session.message(b'P', &[b"s\0", STATEMENT, &[0, 0]]);
        session.message(b'S', &[]);
        session.ask()?;
        Ok(session)
    }

    /// Executes the statement so often, with other rows each time, by the messages that pgbench sends.
    fn drive(&mut self, executions: usize, random: &mut Random) -> Outcome<()> {
        for _ in 0..executions {
            let row = random.between(1, ROWS).to_string();
            let row = row.as_bytes();
            let size = u32::try_from(row.len())?.to_be_bytes();
            // No format codes, one value; no formats of results.
            self.message(b'B', &[b"\0s\0", &[0, 0, 0, 1], &size, row, &[0, 0]]);
            self.message(b'D', &[b"P\0"]);
            self.message(b'E', &[&[0, 0, 0, 0, 0]]);
            self.message(b'S', &[]);
            self.ask()?;
        }
        Ok(())
    }

    fn message(&mut self, kind: u8, parts: &[&[u8]]) {
        let size = parts.iter().map(|part| length(part) - 4).sum::<u32>() + 4;
        self.request.push(kind);
        self.request.extend(size.to_be_bytes());
        for part in parts {
            self.request.extend(*part);
        }
    }

    /// Sends what was written, and reads until the server is ready for more.
    fn ask(&mut self) -> Outcome<()> {
        self.stream.write_all(&self.request)?;
        self.request.clear();
        let (mut filled, mut at) = (0, 0);
        loop {
            let got = self.stream.read(&mut self.reply[filled..])?;
            if got == 0 {
                return Err("the server closed the connection, or said more than fits".into());
            }
            filled += got;
            while let Some([kind, a, b, c, d]) = self.reply[at..filled].first_chunk() {
                let end = at + 1 + u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                match kind {
                    b'E' => {
                        let text = String::from_utf8_lossy(&self.reply[at + 5..end.min(filled)]);
                        return Err(text.replace('\0', " ").into());
                    }
                    b'Z' if end <= filled => return Ok(()),
                    _ if end > filled => break,
                    _ => at = end,
                }
            }
        }
    }
}

/// What a message says of its length: these bytes, and the four that say it.
fn length(bytes: &[u8]) -> u32 {
    bytes.len() as u32 + 4
}
