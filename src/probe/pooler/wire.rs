//! A connection to the console of a pooler, by the protocol of PostgreSQL: simple queries only, as such consoles know no
//! others. One deadline holds for all of it, no thread is started, no name is looked up, and interrupts are served while
//! it waits. It must never put a password, or what the other side sent, into an error unless that is its own message.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use perfmon_core::pooler::{Place, Table, Target};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{ErrorResponseBody, Header, Message};
use postgres_protocol::message::frontend;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

/// How often interrupts are looked for.
const SLICE: Duration = Duration::from_millis(50);
/// Whoever sends more is no pooler.
const MOST_BYTES: usize = 16 << 20;

/// Why there is no answer, in words.
pub(super) type Failed = String;

/// A connection.
pub(super) struct Console {
    socket: std::fs::File,
    deadline: Instant,
    buffer: BytesMut,
    received: usize,
}

fn told(error: &io::Error) -> Failed {
    match error.kind() {
        ErrorKind::TimedOut => "it did not answer in time".to_owned(),
        ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        ErrorKind::InvalidData | ErrorKind::InvalidInput => "it speaks another protocol".to_owned(),
        _ => error.to_string(),
    }
}

impl Console {
    /// Connects and logs in.
    pub(super) fn open(target: &Target, deadline: Instant) -> Result<Self, Failed> {
        let socket = connect(&target.place, deadline).map_err(|error| told(&error))?;
        let mut console =
            Self { socket: socket.into(), deadline, buffer: BytesMut::new(), received: 0 };
        console.log_in(target)?;
        Ok(console)
    }

    /// The answer to one command. One that is refused leaves the connection as it was.
    pub(super) fn ask(&mut self, command: &str) -> Result<Table, Failed> {
        self.send(|out| frontend::query(command, out))?;
        let mut table = Table::default();
        let mut refused = None;
        loop {
            let message = self.receive();
            match message.map_err(|why| refused.clone().unwrap_or(why))? {
                Message::RowDescription(body) => {
                    let names = body.fields().map(|field| Ok(field.name().to_owned())).collect();
                    table.columns = names.map_err(|error| told(&error))?;
                }
                Message::DataRow(body) => {
                    let text = |range: Option<std::ops::Range<usize>>| {
                        range.map(|range| {
                            String::from_utf8_lossy(&body.buffer()[range]).into_owned()
                        })
                    };
                    let row = body.ranges().map(|range| Ok(text(range))).collect();
                    table.rows.push(row.map_err(|error| told(&error))?);
                }
                Message::ErrorResponse(body) => refused = Some(said(&body)),
                Message::ReadyForQuery(_) => return refused.map_or(Ok(table), Err),
                _ => {}
            }
        }
    }

    fn log_in(&mut self, target: &Target) -> Result<(), Failed> {
        let parameters = [
            ("user", target.user.as_str()),
            ("database", target.database.as_str()),
            ("application_name", "pg_perfmon"),
        ];
        self.send(|out| frontend::startup_message(parameters, out))?;
        let no_password = || "it asks for a password, and the user mapping has none".to_owned();
        let password = || target.password.as_deref().ok_or_else(no_password);
        let mut scram: Option<ScramSha256> = None;
        loop {
            match self.receive()? {
                Message::AuthenticationCleartextPassword => {
                    let password = password()?;
                    self.send(|out| frontend::password_message(password.as_bytes(), out))?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let password = password()?.as_bytes();
                    let hash = md5_hash(target.user.as_bytes(), password, body.salt());
                    self.send(|out| frontend::password_message(hash.as_bytes(), out))?;
                }
                Message::AuthenticationSasl(body) => {
                    let known = body.mechanisms().any(|name| Ok(name == SCRAM_SHA_256));
                    if !known.unwrap_or(false) {
                        return Err("it asks for a kind of login that is not known".to_owned());
                    }
                    let began =
                        ScramSha256::new(password()?.as_bytes(), ChannelBinding::unsupported());
                    let first = began.message().to_owned();
                    self.send(|out| frontend::sasl_initial_response(SCRAM_SHA_256, &first, out))?;
                    scram = Some(began);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let scram = scram.as_mut().ok_or("it speaks another protocol")?;
                    scram.update(body.data()).map_err(|_| "the login failed")?;
                    let next = scram.message().to_owned();
                    self.send(|out| frontend::sasl_response(&next, out))?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let scram = scram.as_mut().ok_or("it speaks another protocol")?;
                    scram
                        .finish(body.data())
                        .map_err(|_| "it does not know the password itself")?;
                }
                Message::ErrorResponse(body) => return Err(said(&body)),
                Message::ReadyForQuery(_) => return Ok(()),
                Message::AuthenticationOk
                | Message::ParameterStatus(_)
                | Message::BackendKeyData(_)
                | Message::NoticeResponse(_) => {}
                _ => return Err("it asks for a kind of login that is not known".to_owned()),
            }
        }
    }

    fn send(&mut self, fill: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<(), Failed> {
        let mut out = BytesMut::new();
        fill(&mut out).map_err(|error| told(&error))?;
        let mut rest = &out[..];
        while !rest.is_empty() {
            match self.socket.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) => self.wait(error, PollFlags::OUT)?,
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Message, Failed> {
        loop {
            self.distrust()?;
            if let Some(message) = Message::parse(&mut self.buffer).map_err(|error| told(&error))? {
                return Ok(message);
            }
            let mut part = [0_u8; 8192];
            match self.socket.read(&mut part) {
                Ok(0) => return Err(told(&ErrorKind::UnexpectedEof.into())),
                Ok(read) => {
                    self.received += read;
                    if self.received > MOST_BYTES {
                        return Err("it answers without an end".to_owned());
                    }
                    self.buffer.extend_from_slice(&part[..read]);
                }
                Err(error) => self.wait(error, PollFlags::IN)?,
            }
        }
    }

    /// What is no message has anything for a length, as the greeting of another service does: room for it must not be asked for.
    fn distrust(&self) -> Result<(), Failed> {
        let header = Header::parse(&self.buffer).map_err(|error| told(&error))?;
        let length = header.map_or(0, |header| usize::try_from(header.len()).unwrap_or(usize::MAX));
        if length > MOST_BYTES {
            return Err(told(&ErrorKind::InvalidData.into()));
        }
        Ok(())
    }

    /// Waits after a call that would have blocked; any other error stands.
    fn wait(&self, error: io::Error, flags: PollFlags) -> Result<(), Failed> {
        match error.kind() {
            ErrorKind::WouldBlock => {
                wait_for(&self.socket, flags, self.deadline).map_err(|error| told(&error))
            }
            ErrorKind::Interrupted => Ok(()),
            _ => Err(told(&error)),
        }
    }
}

/// The message of the other side, on one line and not too long.
fn said(body: &ErrorResponseBody) -> Failed {
    let message = body.fields().find(|field| Ok(field.type_() == b'M')).ok().flatten();
    let message = message.map(|field| String::from_utf8_lossy(field.value_bytes()).into_owned());
    let message = message.unwrap_or_else(|| "no message".to_owned());
    let message: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
    format!("it says: {message}")
}

fn connect(place: &Place, deadline: Instant) -> io::Result<OwnedFd> {
    match place {
        Place::Unix(path) => connect_unix(path, deadline),
        Place::Tcp(addresses, port) => {
            let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
            for address in addresses {
                match connect_tcp(SocketAddr::new(*address, *port), deadline) {
                    Ok(socket) => return Ok(socket),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// A socket whose queue is full does not tell when it has room again: it is tried anew.
fn connect_unix(path: &Path, deadline: Instant) -> io::Result<OwnedFd> {
    let address = net::SocketAddrUnix::new(path)?;
    loop {
        let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
        match net::connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
                pgrx::check_for_interrupts!();
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(ErrorKind::TimedOut.into());
                }
                std::thread::sleep(left.min(Duration::from_millis(10)));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn connect_tcp(address: SocketAddr, deadline: Instant) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, FLAGS, None)?;
    match net::connect(&socket, &address) {
        Ok(()) => return Ok(socket),
        Err(rustix::io::Errno::INPROGRESS | rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    wait_for(&socket, PollFlags::OUT, deadline)?;
    sockopt::socket_error(&socket)??;
    Ok(socket)
}

/// Waits until the socket is ready, in slices, so that whoever wants this process to end is heard.
fn wait_for(
    socket: &impl std::os::fd::AsFd,
    flags: PollFlags,
    deadline: Instant,
) -> io::Result<()> {
    loop {
        pgrx::check_for_interrupts!();
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let slice = left.min(SLICE);
        let slice = Timespec { tv_sec: 0, tv_nsec: i64::from(slice.subsec_nanos()).max(1) };
        let mut ready = [PollFd::new(socket, flags)];
        match crate::pg::signal::waiting(|| poll(&mut ready, Some(&slice))) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
