//! What the console's SHOW commands say.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The console's own database, whose clients wait for no server.
const CONSOLE: &str = "pgbouncer";
/// Pools beyond that are left out: each is kept under its own name.
const MOST: usize = 2000;

/// A result as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Table {
    /// Whether it can be the answer to a command: it has these columns.
    fn answers(&self, command: &str, wanted: &[&str]) -> Result<(), String> {
        let missing = wanted.iter().find(|name| !self.columns.iter().any(|column| column == *name));
        if let Some(name) = missing {
            return Err(format!("its answer to {command} has no column {name}"));
        }
        Ok(())
    }

    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.rows.iter().map(|row| Line { columns: &self.columns, row })
    }
}

#[derive(Clone, Copy)]
struct Line<'a> {
    columns: &'a [String],
    row: &'a [Option<String>],
}

impl<'a> Line<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        let place = self.columns.iter().position(|column| column == name)?;
        self.row.get(place)?.as_deref()
    }

    fn full(&self, name: &str) -> Option<String> {
        self.text(name).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// The sum of those that are there; `None` if none is.
    fn sum(&self, names: &[&str]) -> Option<u64> {
        names.iter().filter_map(|name| self.number(name)).reduce(u64::saturating_add)
    }

    /// Seconds, and microseconds beyond them.
    fn us(&self, seconds: &str, more: &str) -> Option<u64> {
        let whole = self.number(seconds)?.saturating_mul(1_000_000);
        Some(whole.saturating_add(self.number(more).unwrap_or(0)))
    }
}

/// A line of SHOW POOLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pool {
    /// Database as clients call it.
    pub database: String,
    /// User.
    pub user: String,
    /// Clients that have a server connection, or could have one.
    pub clients_active: Option<u64>,
    /// Clients that sent something and wait for a server connection.
    pub clients_waiting: Option<u64>,
    /// How long the first of them has waited.
    pub max_wait_us: Option<u64>,
    /// Server connections in use.
    pub servers_active: Option<u64>,
    /// Server connections that could be used at once.
    pub servers_idle: Option<u64>,
    /// Server connections in any state.
    pub servers: Option<u64>,
    /// How long a client keeps a server connection.
    pub mode: Option<String>,
}

/// A line of SHOW STATS: since its start, all users together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Transactions.
    pub transactions: Option<u64>,
    /// Queries.
    pub queries: Option<u64>,
    /// Time in transactions, idle in them included.
    pub transaction_us: Option<u64>,
    /// Time in queries.
    pub query_us: Option<u64>,
    /// Time that clients waited for a server connection.
    pub wait_us: Option<u64>,
    /// From clients.
    pub received_bytes: Option<u64>,
    /// To clients.
    pub sent_bytes: Option<u64>,
}

/// A line of SHOW DATABASES.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Database {
    /// Where the server is: its host, if it is not a socket of the pooler's machine, and its port.
    pub host: Option<String>,
    /// See above.
    pub port: Option<u64>,
    /// Most server connections of a pool.
    pub pool_size: Option<u64>,
    /// As many more, for clients that waited for long.
    pub reserve: Option<u64>,
    /// Most server connections of the database, all of its pools together; 0: no limit.
    pub max_connections: Option<u64>,
    /// As the server calls it.
    pub database: Option<String>,
    /// The user as whom all clients get there, if it is one.
    pub force_user: Option<String>,
    /// It is paused or disabled: its clients get no server connection.
    pub is_stopped: bool,
}

/// What the server calls a database and a user that clients call otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The database.
    pub database: String,
    /// The user; `None` is each client's own.
    pub user: Option<String>,
    /// It is a database of another server.
    #[serde(default)]
    pub is_elsewhere: bool,
}

impl Alias {
    /// Database and user on the server, of what clients call `database` and `user`.
    pub fn resolve(alias: Option<&Self>, database: &str, user: &str) -> (String, String) {
        let own = || (database.to_owned(), user.to_owned());
        alias.map_or_else(own, |alias| {
            (alias.database.clone(), alias.user.clone().unwrap_or_else(|| user.to_owned()))
        })
    }
}

/// Most server connections that pools may have together; what has no limit is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// Of a database, as clients call it, all users together: max_db_connections.
    pub databases: BTreeMap<String, u32>,
    /// Of a user, all databases together: max_user_connections.
    pub users: BTreeMap<String, u32>,
}

/// What one look at the console gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Pools.
    pub pools: Vec<Pool>,
    /// Counters by database.
    pub stats: BTreeMap<String, Stats>,
    /// Databases by name.
    pub databases: BTreeMap<String, Database>,
    /// Limits beyond those of single pools.
    pub shared: Shared,
    /// Connections to servers.
    pub links: Vec<ServerLink>,
}

/// Whether servers at these places are this one, as far as that was ever told, by host and port as the pooler calls them.
pub type Places = BTreeMap<String, bool>;

impl Database {
    fn place(&self) -> String {
        format!("{}:{}", self.host.as_deref().unwrap_or_default(), self.port.unwrap_or(0))
    }
}

impl Reading {
    /// From the answers to SHOW POOLS, SHOW STATS and SHOW DATABASES; or why they are none.
    pub fn of(pools: &Table, stats: &Table, databases: &Table) -> Result<Self, String> {
        pools.answers("SHOW POOLS", &["database", "user", "cl_waiting"])?;
        stats.answers("SHOW STATS", &["database"])?;
        databases.answers("SHOW DATABASES", &["name"])?;
        if pools.lines().any(|line| line.number("cl_waiting").is_none()) {
            return Err("its answer to SHOW POOLS has no number of clients that wait".to_owned());
        }
        let pools =
            pools.lines().filter_map(pool).filter(|pool| pool.database != CONSOLE).take(MOST);
        let named = |line: &Line<'_>, name: &str| line.full(name).filter(|name| name != CONSOLE);
        let stats =
            stats.lines().filter_map(|line| Some((named(&line, "database")?, stats_of(line))));
        let database = |line: Line<'_>| {
            let of = |name| line.number(name);
            let found = Database {
                host: line.full("host"),
                port: of("port"),
                pool_size: of("pool_size"),
                reserve: of("reserve_pool_size").or_else(|| of("reserve_pool")),
                max_connections: of("max_connections"),
                database: line.full("database"),
                force_user: line.full("force_user"),
                is_stopped: ["paused", "disabled"].into_iter().filter_map(of).any(|is| is > 0),
            };
            Some((named(&line, "name")?, found))
        };
        Ok(Self {
            pools: pools.collect(),
            stats: stats.take(MOST).collect(),
            databases: databases.lines().filter_map(database).take(MOST).collect(),
            shared: Shared::default(),
            links: Vec::new(),
        })
    }

    /// Takes in the answer to SHOW SERVERS, if it is one.
    #[must_use]
    pub fn with_links(self, table: &Table) -> Self {
        Self { links: servers(table).unwrap_or_default(), ..self }
    }

    /// Which places are this server: those to which a connection leads that ends in a backend of it, which `is_ours` knows by
    /// its process id and the name of its database. A single connection that is not found may have ended meanwhile, so that
    /// it changes nothing that was known before.
    pub fn places(&self, before: &Places, is_ours: impl Fn(u64, &str) -> bool) -> Places {
        let mut found: BTreeMap<String, (usize, bool)> = BTreeMap::new();
        for (name, database) in &self.databases {
            let own = self.links.iter().filter(|link| link.database.as_ref() == Some(name));
            let (connections, ours) = found.entry(database.place()).or_default();
            for pid in own.filter_map(|link| link.pid) {
                *connections += 1;
                *ours |= is_ours(pid, database.database.as_ref().unwrap_or(name));
            }
        }
        let judged = found.into_iter().filter_map(|(place, (connections, ours))| {
            let known = before.get(&place).copied();
            let is_here = match connections {
                _ if ours => Some(true),
                0 => known,
                1 => known.or(Some(false)),
                _ => Some(false),
            };
            Some((place, is_here?))
        });
        judged.collect()
    }

    /// Takes in what several pools share, from the answers to SHOW USERS and SHOW CONFIG, as far as there are any: of users,
    /// older versions tell only what holds for all that have no limit of their own.
    #[must_use]
    pub fn with_shared(mut self, users: &Table, config: &Table) -> Self {
        let setting = |name: &str| {
            let line = config.lines().find(|line| line.text("key") == Some(name))?;
            line.number("value")
        };
        let (of_all_databases, of_all_users) =
            (setting("max_db_connections"), setting("max_user_connections"));
        let own: BTreeMap<&str, u64> = users
            .lines()
            .filter_map(|line| Some((line.text("name")?, line.number("max_user_connections")?)))
            .collect();
        // 0 is no limit.
        let limit = |most: u64| u32::try_from(most).ok().filter(|most| *most > 0);
        for (name, found) in &self.databases {
            let most = found.max_connections.or(of_all_databases).and_then(limit);
            self.shared.databases.extend(most.map(|most| (name.clone(), most)));
        }
        for Pool { user, .. } in &self.pools {
            let most = own.get(user.as_str()).copied().or(of_all_users).and_then(limit);
            self.shared.users.extend(most.map(|most| (user.clone(), most)));
        }
        self
    }

    /// Databases that the server, which listens on a port, knows by another name, for another user, or not at all. Of a place of
    /// which nothing is told, the port alone says whether it may be this server.
    pub fn aliases(&self, own_port: u64, places: &Places) -> BTreeMap<String, Alias> {
        let alias = |(name, found): (&String, &Database)| {
            let database = found.database.clone().unwrap_or_else(|| name.clone());
            let user = found.force_user.clone();
            let is_here = places.get(&found.place()).copied();
            let is_here = is_here.unwrap_or(found.port.is_none_or(|port| port == own_port));
            let is_elsewhere = !is_here;
            let alias = Alias { is_elsewhere, database, user };
            let differs = alias.database != *name || alias.user.is_some() || is_elsewhere;
            differs.then(|| (name.clone(), alias))
        };
        self.databases.iter().filter_map(alias).collect()
    }

    /// Databases that are paused or disabled.
    pub fn stopped(&self) -> BTreeSet<String> {
        let stopped = self.databases.iter().filter(|(_, found)| found.is_stopped);
        stopped.map(|(name, _)| name.clone()).collect()
    }

    /// Most server connections that a pool of a database may have by its own size.
    pub fn pool_size(&self, database: &str) -> Option<u64> {
        let found = self.databases.get(database)?;
        found.pool_size.map(|size| size.saturating_add(found.reserve.unwrap_or(0)))
    }
}

fn pool(line: Line<'_>) -> Option<Pool> {
    // Versions differ in the names of servers that are neither at work nor free.
    const OTHER: [&str; 7] = [
        "sv_active",
        "sv_idle",
        "sv_used",
        "sv_tested",
        "sv_login",
        "sv_active_cancel",
        "sv_being_canceled",
    ];
    Some(Pool {
        database: line.full("database")?,
        user: line.full("user")?,
        clients_active: line.number("cl_active"),
        clients_waiting: line.number("cl_waiting"),
        max_wait_us: line.us("maxwait", "maxwait_us"),
        servers_active: line.number("sv_active"),
        servers_idle: line.sum(&["sv_idle", "sv_used"]),
        servers: line.sum(&OTHER),
        mode: line.full("pool_mode"),
    })
}

fn stats_of(line: Line<'_>) -> Stats {
    // Before 1.8, transactions were called requests.
    let of = |name| line.number(name);
    Stats {
        transactions: of("total_xact_count").or_else(|| of("total_requests")),
        queries: of("total_query_count"),
        transaction_us: of("total_xact_time"),
        query_us: of("total_query_time"),
        wait_us: of("total_wait_time"),
        received_bytes: of("total_received"),
        sent_bytes: of("total_sent"),
    }
}

/// A line of SHOW CLIENTS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// Database as clients call it.
    pub database: Option<String>,
    /// User.
    pub user: Option<String>,
    /// What it is at.
    pub state: Option<String>,
    /// Where it comes from.
    pub address: Option<String>,
    /// See above.
    pub port: Option<u64>,
    /// As it calls itself.
    pub application: Option<String>,
    /// How long it has waited for a server connection, if it does.
    pub wait_us: Option<u64>,
    /// Which it is.
    pub pointer: Option<String>,
    /// The server connection that it has.
    pub link: Option<String>,
}

/// Clients, without those of the console; or why there are none.
pub fn clients(table: &Table) -> Result<Vec<Client>, String> {
    table.answers("SHOW CLIENTS", &["database", "user", "state"])?;
    // Of others PgBouncer tells the time since their last request.
    let waits = |line: &Line<'_>| line.full("state").is_some_and(|s| s.starts_with("waiting"));
    let client = |line: Line<'_>| Client {
        database: line.full("database"),
        user: line.full("user"),
        state: line.full("state"),
        address: line.full("addr"),
        port: line.number("port"),
        application: line.full("application_name"),
        wait_us: line.us("wait", "wait_us").filter(|_| waits(&line)),
        pointer: line.full("ptr"),
        link: line.full("link"),
    };
    let all = table.lines().map(client);
    Ok(all.filter(|client| client.database.as_deref() != Some(CONSOLE)).collect())
}

/// A line of SHOW SERVERS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerLink {
    /// Database as clients call it.
    pub database: Option<String>,
    /// Which it is.
    pub pointer: Option<String>,
    /// The client that has it.
    pub link: Option<String>,
    /// Where the server is: its port, and address, or `unix`.
    pub address: Option<String>,
    /// See above.
    pub port: Option<u64>,
    /// Where the connection comes from.
    pub local_port: Option<u64>,
    /// The server's process.
    pub pid: Option<u64>,
}

/// Server connections; or why there are none.
pub fn servers(table: &Table) -> Result<Vec<ServerLink>, String> {
    table.answers("SHOW SERVERS", &["ptr", "link"])?;
    let server = |line: Line<'_>| ServerLink {
        database: line.full("database"),
        pointer: line.full("ptr"),
        link: line.full("link"),
        address: line.full("addr"),
        port: line.number("port"),
        local_port: line.number("local_port"),
        pid: line.number("remote_pid").filter(|pid| *pid > 0),
    };
    Ok(table.lines().map(server).collect())
}
