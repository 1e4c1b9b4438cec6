//! Options of a foreign server and of its user mapping: where the console is, and who asks. A name that must be looked
//! up in the network is refused, since that may wait for longer than a collector may.

use core::net::IpAddr;
use std::path::PathBuf;

/// A name and its value.
type Option_ = (String, String);

/// Where the console is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Addresses to try, and the port.
    Tcp(Vec<IpAddr>, u16),
    /// A socket file.
    Unix(PathBuf),
}

/// All that is needed to ask.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Name of the foreign server.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// The console's database.
    pub database: String,
    /// Who asks.
    pub user: String,
    /// With which password.
    pub password: Option<String>,
    /// Nobody said which machine it is on.
    pub is_assumed: bool,
}

/// No password gets into a message by way of a debugging format.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {:?} as {}", self.name, self.place, self.user)
    }
}

/// What is wrong with an option, and what there is. Values are not repeated: one may be a password in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub hint: &'static str,
}

const SERVER: &str =
    "A server has the options host, port and dbname; user and password belong to the user mapping.";
const MAPPING: &str = "A user mapping has the options user and password.";
const HOST: &str =
    "Give an IP address, localhost, or the directory of its socket: names are not looked up.";
const PORT: &str = "A port is a number from 1 to 65535.";
const SHORT: &str = "It must not be empty, and not be longer than 1000 characters.";

const DEFAULT_PORT: u16 = 6432;
const LONGEST: usize = 1000;

fn unknown(name: &str, hint: &'static str) -> Refused {
    Refused { problem: format!("invalid option \"{name}\""), hint }
}

fn bad(name: &str, hint: &'static str) -> Refused {
    Refused { problem: format!("invalid value of option \"{name}\""), hint }
}

fn check_length((name, value): &Option_) -> Result<(), Refused> {
    let fits = !value.is_empty() && value.len() <= LONGEST && !value.contains('\0');
    if fits { Ok(()) } else { Err(bad(name, SHORT)) }
}

/// Checks the options of a server that is made or changed; gives what is doubtful about them: it should say where the
/// console is. A server of an older version need not, and a dump that holds one is to be restored.
pub fn check_server(options: &[Option_]) -> Result<Option<Refused>, Refused> {
    check_each(options)?;
    if options.iter().any(|option| option.0 == "host") {
        return Ok(None);
    }
    let problem = "the option \"host\" is missing: localhost will be asked".to_owned();
    Ok(Some(Refused { problem, hint: HOST }))
}

fn check_each(options: &[Option_]) -> Result<(), Refused> {
    for option in options {
        check_length(option)?;
        match option.0.as_str() {
            "host" => drop(hosts(&option.1)?),
            "port" => drop(port(&option.1)?),
            "dbname" => {}
            other => return Err(unknown(other, SERVER)),
        }
    }
    Ok(())
}

/// Checks the options of a user mapping.
pub fn check_mapping(options: &[Option_]) -> Result<(), Refused> {
    for option in options {
        match option.0.as_str() {
            "user" => check_length(option)?,
            "password" => check_length(option)?,
            other => return Err(unknown(other, MAPPING)),
        }
    }
    Ok(())
}

/// A directory, or addresses.
fn hosts(host: &str) -> Result<Result<PathBuf, Vec<IpAddr>>, Refused> {
    if host.starts_with('/') {
        return Ok(Ok(PathBuf::from(host)));
    }
    if host == "localhost" {
        return Ok(Err(vec![
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]),
        ]));
    }
    host.parse().map(|ip| Err(vec![ip])).map_err(|_| bad("host", HOST))
}

fn port(text: &str) -> Result<u16, Refused> {
    text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| bad("port", PORT))
}

impl Target {
    /// Why it did not answer, with what may be behind that.
    pub fn failure(&self, why: String) -> String {
        match self.is_assumed {
            true => format!("{why} (the option \"host\" is missing, so localhost was asked)"),
            false => why,
        }
    }

    /// From the options of a server and of the user mapping. A server of before 0.4.0 may have no host.
    pub fn of(name: &str, server: &[Option_], mapping: &[Option_]) -> Result<Self, Refused> {
        check_each(server)?;
        check_mapping(mapping)?;
        let of = |options: &[Option_], name: &str| {
            options.iter().find(|option| option.0 == name).map(|option| option.1.clone())
        };
        let port = of(server, "port").map_or(Ok(DEFAULT_PORT), |text| port(&text))?;
        let place = match hosts(of(server, "host").as_deref().unwrap_or("localhost"))? {
            Ok(folder) => Place::Unix(folder.join(format!(".s.PGSQL.{port}"))),
            Err(addresses) => Place::Tcp(addresses, port),
        };
        let user = of(mapping, "user").ok_or_else(|| Refused {
            problem: "the user mapping has no option \"user\"".to_owned(),
            hint: "Name a user that PgBouncer lists in stats_users.",
        })?;
        let database = of(server, "dbname").unwrap_or_else(|| "pgbouncer".to_owned());
        Ok(Self {
            name: name.to_owned(),
            place,
            database,
            user,
            password: of(mapping, "password"),
            is_assumed: of(server, "host").is_none(),
        })
    }
}
