//! A real PgBouncer before a private server: Debian's package, run as the server's user.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::{Db, Server, secs, wait_for, wait_until};

/// The password of every user of it.
pub const POOLER_PASSWORD: &str = "canary-of-the-pooler";

/// A PgBouncer; killed on drop.
pub struct PgBouncer {
    child: Child,
    pid: i32,
    dir: PathBuf,
    port: u16,
}

impl PgBouncer {
    /// Starts one that pools database `app` of the server for the users postgres and alice, with `stats` for its
    /// console; `None`, with a word about it, where none is installed.
    pub fn start(server: &Server, auth: &str, lines: &[&str]) -> Option<Self> {
        Self::sized(server, 2, auth, lines)
    }

    /// The same with pools of another size than 2.
    #[allow(clippy::print_stderr)]
    pub fn sized(server: &Server, size: u32, auth: &str, lines: &[&str]) -> Option<Self> {
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"];
        let Some(program) = program.iter().find(|path| Path::new(path).exists()) else {
            eprintln!("SKIPPED: pgbouncer is not installed");
            return None;
        };
        let dir = server.dir().join("pgbouncer");
        server.programs.make_dir(&dir);
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let ini = format!(
            "[databases]\napp = host={server} port=5432 dbname=app pool_size={size}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir = {dir}\n\
             auth_type = {auth}\nauth_file = {dir}/users.txt\nstats_users = stats\npool_mode = transaction\n\
             logfile = {dir}/log\npidfile = {dir}/pid\nignore_startup_parameters = extra_float_digits\n\
             server_idle_timeout = 0\n{lines}\n",
            server = server.dir().display(),
            dir = dir.display(),
            lines = lines.join("\n"),
        );
        std::fs::write(dir.join("pgbouncer.ini"), ini).unwrap();
        let users = ["postgres", "alice", "stats"];
        let users: Vec<String> =
            users.iter().map(|user| format!("\"{user}\" \"{POOLER_PASSWORD}\"\n")).collect();
        std::fs::write(dir.join("users.txt"), users.concat()).unwrap();
        let mut command = server.programs.command(program);
        command.arg(dir.join("pgbouncer.ini")).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let pid = wait_for("PgBouncer's process", secs(30), || {
            std::fs::read_to_string(dir.join("pid")).ok()?.trim().parse().ok()
        });
        let started = Self { child, pid, dir, port };
        wait_until("PgBouncer", secs(30), || started.try_connect("stats", "pgbouncer").is_ok());
        Some(started)
    }

    /// Directory of its socket.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid.to_string()]).status();
        assert!(sent.unwrap().success());
    }

    fn try_connect(&self, user: &str, database: &str) -> Result<Db, postgres::Error> {
        let mut config = postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(user).password(POOLER_PASSWORD);
        config.dbname(database).application_name("true_client").connect(postgres::NoTls).map(Db)
    }

    /// A client of it.
    pub fn client(&self, user: &str) -> Db {
        self.client_of(user, "app")
    }

    /// A client of a database as it calls it.
    pub fn client_of(&self, user: &str, database: &str) -> Db {
        self.try_connect(user, database).unwrap()
    }

    /// What declares it in a database, with this password.
    pub fn declare(&self, db: &mut Db, host: &str, password: &str) {
        db.run(&format!(
            "CREATE SERVER front FOREIGN DATA WRAPPER pg_perfmon_pgbouncer
                 OPTIONS (host '{host}', port '{}');
             CREATE USER MAPPING FOR CURRENT_USER SERVER front OPTIONS (user 'stats', password '{password}')",
            self.port
        ));
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        for name in ["CONT", "KILL"] {
            let _ =
                Command::new("kill").args([&format!("-{name}"), &self.pid.to_string()]).status();
        }
        // Whoever started it for another user stops with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
