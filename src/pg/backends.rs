//! The processes of the server as its shared memory has them, without SQL and without a connection to any database.

use std::collections::HashMap;
use std::ffi::{CStr, c_char};

use perfmon_core::activity::{Application, Kind, Session, State, group};
use pgrx::pg_sys;

use super::{catalog, clock, fmgr};

/// What a process is doing beside its status.
#[derive(Clone, Copy)]
struct Process {
    pid: i32,
    wait: u32,
    /// It works for another one.
    helps: bool,
    /// It has one of the places that max_connections allows, and no status was found of it.
    is_untold: bool,
}

/// All processes but this one, as they are now.
pub(crate) fn sessions(into: &mut Vec<Session>) {
    // SAFETY: a variable of this process.
    gather(into, unsafe { pg_sys::MyProcPid });
}

/// All processes, as they are now.
pub(crate) fn everybody() -> Vec<Session> {
    let mut all = Vec::new();
    gather(&mut all, 0);
    all
}

fn gather(into: &mut Vec<Session>, but: i32) {
    into.clear();
    // SAFETY: the calls forget what this process saw before and make a copy of the status of all processes. That comes first, as
    // states pass quickly, and the less time others had to find out that a processor is taken the better.
    let count = unsafe {
        pg_sys::pgstat_clear_backend_activity_snapshot();
        pg_sys::pgstat_fetch_stat_numbackends()
    };
    let mut processes = processes();
    // SAFETY: the entries of the copy stay valid until the next one.
    unsafe {
        for index in 1..=count {
            let Some(local) = super::dbstat::backend(index).as_ref() else { continue };
            let status = &local.backendStatus;
            if status.st_procpid > 0 && status.st_procpid != but {
                let found =
                    processes.binary_search_by_key(&status.st_procpid, |process| process.pid);
                let process = found.ok().and_then(|at| processes.get_mut(at));
                into.push(session(status, process.as_deref().copied()));
                process.into_iter().for_each(|process| process.is_untold = false);
            }
        }
    }
    // Up to 17 a client has no status until it has said who it is; it takes a place all the same.
    let untold = processes.iter().filter(|process| process.is_untold && process.pid != but);
    into.extend(untold.map(|process| Session::starting(process.pid, process.wait)));
}

/// Every process that is known to the others, by its number.
fn processes() -> Vec<Process> {
    // SAFETY: set when the server starts.
    let places = unsafe { pg_sys::MaxConnections };
    let places = usize::try_from(places).unwrap_or(0);
    // SAFETY: the array lies in shared memory as long as the server runs, and has as many entries as it says. Others
    // write to what is read here; each is one word, read once, of which any value is valid.
    let mut all: Vec<Process> = unsafe {
        let header = &*pg_sys::ProcGlobal;
        (0..header.allProcCount as usize)
            .filter_map(|at| {
                let process = header.allProcs.add(at);
                // Not the field `pid`, which up to 16 stays when the process has gone.
                let pid = (&raw const (*process).procLatch.owner_pid).read_volatile();
                (pid > 0).then(|| {
                    let leader = (&raw const (*process).lockGroupLeader).read_volatile();
                    Process {
                        pid,
                        wait: (&raw const (*process).wait_event_info).read_volatile(),
                        helps: !leader.is_null() && leader != process,
                        // Those of clients come first; others take none of these.
                        is_untold: at < places,
                    }
                })
            })
            .collect()
    };
    all.sort_unstable_by_key(|process| process.pid);
    all
}

/// # Safety
/// A copy of a process's status, with the texts to which it points.
unsafe fn session(status: &pg_sys::PgBackendStatus, process: Option<Process>) -> Session {
    // SAFETY: by the caller's word.
    let application = unsafe { application(status.st_appname) };
    let kind = kind(status.st_backendType, process.is_some_and(|p| p.helps), &application);
    let time = |at: pg_sys::TimestampTz| if at == 0 { 0 } else { clock::unix_us(at) };
    Session {
        pid: status.st_procpid,
        kind,
        state: state(status.st_state),
        database: status.st_databaseid.to_u32(),
        user: status.st_userid.to_u32(),
        application,
        address: address(&status.st_clientaddr),
        wait: process.map_or(0, |process| process.wait),
        queryid: status.st_query_id as i64,
        started: time(status.st_proc_start_timestamp),
        transaction: time(status.st_xact_start_timestamp),
        since: time(status.st_state_start_timestamp),
    }
}

/// # Safety
/// NULL, or a text that ends with a zero.
unsafe fn application(name: *const c_char) -> Application {
    let mut application = [0; 64];
    if !name.is_null() {
        // SAFETY: by the caller's word.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        let length = name.len().min(application.len());
        application[..length].copy_from_slice(&name[..length]);
    }
    application
}

fn kind(of: pg_sys::BackendType::Type, helps: bool, application: &Application) -> Kind {
    use pg_sys::BackendType as T;
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    match of {
        T::B_WAL_SUMMARIZER => return Kind::WalSummarizer,
        T::B_SLOTSYNC_WORKER => return Kind::SlotSync,
        #[cfg(feature = "pg18")]
        T::B_IO_WORKER => return Kind::IoWorker,
        _ => {}
    }
    match of {
        T::B_BACKEND => Kind::Client,
        T::B_BG_WORKER if application.starts_with(b"pg_perfmon ") => Kind::Own,
        T::B_BG_WORKER if helps => Kind::Parallel,
        T::B_BG_WORKER => Kind::Worker,
        T::B_WAL_SENDER => Kind::WalSender,
        T::B_AUTOVAC_LAUNCHER => Kind::AutovacuumLauncher,
        T::B_AUTOVAC_WORKER => Kind::AutovacuumWorker,
        T::B_BG_WRITER => Kind::BackgroundWriter,
        T::B_CHECKPOINTER => Kind::Checkpointer,
        T::B_WAL_WRITER => Kind::WalWriter,
        T::B_ARCHIVER => Kind::Archiver,
        T::B_STARTUP => Kind::Startup,
        T::B_WAL_RECEIVER => Kind::WalReceiver,
        _ => Kind::Other,
    }
}

fn state(of: pg_sys::BackendState::Type) -> State {
    use pg_sys::BackendState as S;
    match of {
        S::STATE_IDLE => State::Idle,
        S::STATE_RUNNING => State::Active,
        S::STATE_IDLEINTRANSACTION => State::InTransaction,
        S::STATE_IDLEINTRANSACTION_ABORTED => State::Aborted,
        S::STATE_FASTPATH => State::FastPath,
        S::STATE_DISABLED => State::Disabled,
        _ => State::Unknown,
    }
}

/// The address of a client; a socket of this machine has none.
fn address(of: &pg_sys::SockAddr) -> group::Address {
    // The bytes behind the family: for version 4 a port and the address, for version 6 a port, a flow and the address.
    let data: &[c_char] = &of.addr.__ss_padding;
    let part = |from: usize, length: usize| -> Vec<u8> {
        data.iter().skip(from).take(length).map(|byte| *byte as u8).collect()
    };
    match i32::from(of.addr.ss_family) {
        libc::AF_INET => group::address(&part(2, 4)),
        libc::AF_INET6 => group::address(&part(6, 16)),
        _ => group::LOCAL,
    }
}

/// Says to others who look at the status of all processes that this one is ours.
pub(crate) fn call_oneself(name: &CStr) {
    // SAFETY: copies the text into this process's own status.
    unsafe { pg_sys::pgstat_report_appname(name.as_ptr()) };
}

/// Looks up names behind numbers in the catalogs and remembers them; inside a transaction only.
#[derive(Default)]
pub(crate) struct Names {
    databases: HashMap<u32, String>,
    users: HashMap<u32, String>,
    waits: HashMap<u32, String>,
}

impl perfmon_core::activity::rows::Lookup for Names {
    fn database(&mut self, oid: u32) -> String {
        if oid == 0 {
            return String::new();
        }
        let name =
            self.databases.entry(oid).or_insert_with(|| catalog::name_of_database(oid.into()));
        name.clone()
    }

    fn user(&mut self, oid: u32) -> String {
        if oid == 0 {
            return String::new();
        }
        self.users.entry(oid).or_insert_with(|| fmgr::role_name(oid.into())).clone()
    }

    fn wait(&mut self, wait: u32) -> String {
        self.waits.entry(wait).or_insert_with(|| wait_name(wait)).clone()
    }
}

/// Class and event of a wait.
fn wait_name(wait: u32) -> String {
    // SAFETY: both give NULL or a text that lives on; it is copied.
    let (class, event) = unsafe {
        let text = |text: *const c_char| {
            if text.is_null() { String::new() } else { fmgr::utf8(CStr::from_ptr(text).to_bytes()) }
        };
        (text(pg_sys::pgstat_get_wait_event_type(wait)), text(pg_sys::pgstat_get_wait_event(wait)))
    };
    perfmon_core::activity::wait::name(&class, &event)
}
