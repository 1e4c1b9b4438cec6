//! How a server is made: its settings before the first start.

use super::Server;
use super::template::template;
use crate::Programs;

/// Settings of a server before its first start.
#[derive(Debug, Clone)]
pub struct Builder {
    pub(super) preload: String,
    pub(super) conf: Vec<String>,
    pub(super) extension: bool,
    pub(super) programs: Programs,
}

impl Builder {
    /// Libraries to preload, separated by commas.
    pub fn preload(mut self, libraries: &str) -> Self {
        self.preload = libraries.to_owned();
        self
    }

    /// One more line of postgresql.conf.
    pub fn conf(mut self, line: &str) -> Self {
        self.conf.push(line.to_owned());
        self
    }

    /// The programs of another server than the one under test.
    pub fn programs(mut self, programs: Programs) -> Self {
        self.programs = programs;
        self
    }

    /// Time between snapshots.
    pub fn interval(self, interval: &str) -> Self {
        self.conf(&format!("pg_perfmon.snapshot_interval = '{interval}'"))
    }

    /// A server without pg_perfmon's library, for tests of the harness itself.
    pub fn plain(mut self) -> Self {
        self.extension = false;
        self.preload("pg_stat_statements")
    }

    /// Makes the cluster and starts it.
    pub fn start(self) -> Server {
        let server = self.make();
        server.start();
        server
    }

    /// Makes the cluster from the template, not yet started.
    pub fn make(self) -> Server {
        let server = Server::empty(self.programs.clone());
        if self.extension {
            server.require_extension();
        }
        let template = template(&server.programs);
        let copied = server.programs.run(
            "cp",
            &["-a", "--reflink=auto", template.to_str().unwrap(), server.data.to_str().unwrap()],
        );
        copied.success();
        self.write_conf(&server);
        server
    }

    /// Makes a streaming standby of a running server, not yet started.
    pub fn make_standby_of(self, primary: &Server) -> Server {
        let server = Server::empty(self.programs.clone());
        let from = primary.dir.to_str().unwrap();
        let to = server.data.to_str().unwrap();
        let args = ["-h", from, "-U", "postgres", "-D", to, "-R", "-c", "fast", "-X", "stream"];
        server.programs.run("pg_basebackup", &args).success();
        self.write_conf(&server);
        server
    }

    fn write_conf(&self, server: &Server) {
        server.append_conf(&[
            format!("shared_preload_libraries = '{}'", self.preload),
            format!("unix_socket_directories = '{}'", server.dir.display()),
        ]);
        server.append_conf(&self.conf);
    }
}
