//! pg_stat_statements of this database, read by a direct call of its C function: no planner, no
//! executor, no text. It must never reset anything and never ask for texts (see `texts`).

use std::collections::HashMap;

use perfmon_core::family::STATEMENT;
use perfmon_core::frame::{Epoch, Key, Reading};
use pgrx::pg_sys;

use super::{Columns, ProbeError, Probed, count, label, lineage, reading, scaled, times_io};
use crate::pg::fmgr::{self, ResultSet, Row};
use crate::pg::{catalog, clock};

/// What one look at pg_stat_statements found.
pub(crate) struct Statements {
    pub(crate) probed: Probed,
    /// Entries of all databases, against which the capacity counts.
    pub(crate) entries: u64,
    /// pg_stat_statements.max, if the server says.
    pub(crate) capacity: Option<u64>,
}

/// The extension as this database has it.
pub(super) struct Source {
    /// `pg_stat_statements(boolean)`.
    pub(super) entries: pg_sys::Oid,
    /// `pg_stat_statements_info()`, since version 1.9.
    info: Option<pg_sys::Oid>,
    version: String,
}

/// Finds pg_stat_statements through the catalogs, whatever its schema, and only C functions that are
/// its members: a function of that name made by somebody else is not called.
pub(super) fn source() -> Result<Source, ProbeError> {
    let loaded = fmgr::is_preloaded("pg_stat_statements");
    let Some(extension) = catalog::extension(c"pg_stat_statements") else {
        if !loaded {
            return Err(ProbeError::missing(
                "pg_stat_statements is neither loaded when the server starts nor installed in this database",
                "Add pg_stat_statements to shared_preload_libraries, restart the server, and CREATE EXTENSION pg_stat_statements",
            ));
        }
        return Err(ProbeError::missing(
            "the extension pg_stat_statements is not installed in this database",
            "CREATE EXTENSION pg_stat_statements",
        ));
    };
    if !loaded {
        return Err(ProbeError::missing(
            "pg_stat_statements is installed but not loaded when the server starts",
            "Add pg_stat_statements to shared_preload_libraries and restart the server.",
        ));
    }
    let Some(entries) = fmgr::member_function(extension, c"pg_stat_statements", 1) else {
        return Err(ProbeError::missing(
            "this version of the extension pg_stat_statements is too old",
            "ALTER EXTENSION pg_stat_statements UPDATE",
        ));
    };
    Ok(Source {
        entries,
        info: fmgr::member_function(extension, c"pg_stat_statements_info", 0),
        version: catalog::extension_version(extension).unwrap_or_default(),
    })
}

impl Source {
    fn info(&self) -> Info {
        let Some(function) = self.info else {
            return Info::default();
        };
        // SAFETY: a member of pg_stat_statements of that name returns (dealloc bigint, stats_reset
        // timestamptz) in all its versions, and is never null.
        unsafe {
            fmgr::call_record(function, |value| Info {
                evictions: value(1).map(count),
                reset: value(2).map(clock::unix_us),
            })
        }
    }

    /// Calls the function for all entries.
    pub(super) fn rows(&self, with_text: bool) -> Result<ResultSet, ProbeError> {
        // SAFETY: the function takes one boolean, by its number of arguments and its home.
        unsafe { ResultSet::call(self.entries, &[pg_sys::Datum::from(with_text)]) }
            .ok_or_else(|| ProbeError::unexpected("pg_stat_statements returned no set"))
    }
}

/// pg_stat_statements_info.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Info {
    evictions: Option<u64>,
    reset: Option<i64>,
}

/// How a column of the function becomes one of the family.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Count,
    /// Milliseconds that are counted while statements run.
    Time,
    /// Milliseconds that are counted only under track_io_timing.
    IoTime,
    /// Counted only under pg_stat_statements.track_planning.
    Planning,
    PlanningTime,
    /// A numeric that is zero whenever no WAL record was written.
    WalBytes,
}

/// Columns of the family and the names that versions of the function give them, the newest first.
#[rustfmt::skip]
static COLUMNS: &[(&str, &[&str], Unit)] = &[
    ("calls", &["calls"], Unit::Count),
    ("exec_us", &["total_exec_time"], Unit::Time),
    ("rows", &["rows"], Unit::Count),
    ("plans", &["plans"], Unit::Planning),
    ("plan_us", &["total_plan_time"], Unit::PlanningTime),
    ("shared_blks_hit", &["shared_blks_hit"], Unit::Count),
    ("shared_blks_read", &["shared_blks_read"], Unit::Count),
    ("shared_blks_dirtied", &["shared_blks_dirtied"], Unit::Count),
    ("shared_blks_written", &["shared_blks_written"], Unit::Count),
    ("local_blks_hit", &["local_blks_hit"], Unit::Count),
    ("local_blks_read", &["local_blks_read"], Unit::Count),
    ("local_blks_dirtied", &["local_blks_dirtied"], Unit::Count),
    ("local_blks_written", &["local_blks_written"], Unit::Count),
    ("temp_blks_read", &["temp_blks_read"], Unit::Count),
    ("temp_blks_written", &["temp_blks_written"], Unit::Count),
    ("shared_blk_read_us", &["shared_blk_read_time", "blk_read_time"], Unit::IoTime),
    ("shared_blk_write_us", &["shared_blk_write_time", "blk_write_time"], Unit::IoTime),
    ("local_blk_read_us", &["local_blk_read_time"], Unit::IoTime),
    ("local_blk_write_us", &["local_blk_write_time"], Unit::IoTime),
    ("temp_blk_read_us", &["temp_blk_read_time"], Unit::IoTime),
    ("temp_blk_write_us", &["temp_blk_write_time"], Unit::IoTime),
    ("wal_records", &["wal_records"], Unit::Count),
    ("wal_fpi", &["wal_fpi"], Unit::Count),
    ("wal_bytes", &["wal_bytes"], Unit::WalBytes),
    ("wal_buffers_full", &["wal_buffers_full"], Unit::Count),
    ("jit_functions", &["jit_functions"], Unit::Count),
    ("jit_generation_us", &["jit_generation_time"], Unit::Time),
    ("jit_inlining_count", &["jit_inlining_count"], Unit::Count),
    ("jit_inlining_us", &["jit_inlining_time"], Unit::Time),
    ("jit_optimization_count", &["jit_optimization_count"], Unit::Count),
    ("jit_optimization_us", &["jit_optimization_time"], Unit::Time),
    ("jit_emission_count", &["jit_emission_count"], Unit::Count),
    ("jit_emission_us", &["jit_emission_time"], Unit::Time),
    ("jit_deform_count", &["jit_deform_count"], Unit::Count),
    ("jit_deform_us", &["jit_deform_time"], Unit::Time),
    ("parallel_workers_to_launch", &["parallel_workers_to_launch"], Unit::Count),
    ("parallel_workers_launched", &["parallel_workers_launched"], Unit::Count),
];

/// Where the columns of this installation's function lie.
struct Layout {
    userid: usize,
    dbid: usize,
    toplevel: Option<usize>,
    queryid: usize,
    calls: usize,
    mean: usize,
    stddev: usize,
    min: usize,
    max: usize,
    wal_records: Option<usize>,
    born: Option<usize>,
    /// (where in COLUMNS, where in the row).
    mapped: Vec<(usize, usize)>,
}

impl Layout {
    fn of(set: &ResultSet) -> Result<Self, ProbeError> {
        let column = |name: &str| {
            set.position(name).ok_or_else(|| {
                ProbeError::missing(
                    format!("this version of pg_stat_statements has no column {name}"),
                    "ALTER EXTENSION pg_stat_statements UPDATE",
                )
            })
        };
        let mapped = COLUMNS
            .iter()
            .enumerate()
            .filter_map(|(which, (_, names, unit))| {
                let at = names.iter().find_map(|name| set.position(name))?;
                (set.attributes()[at].type_oid == type_of(*unit)).then_some((which, at))
            })
            .collect();
        Ok(Self {
            userid: column("userid")?,
            dbid: column("dbid")?,
            toplevel: set.position("toplevel"),
            queryid: column("queryid")?,
            calls: column("calls")?,
            mean: column("mean_exec_time")?,
            stddev: column("stddev_exec_time")?,
            min: column("min_exec_time")?,
            max: column("max_exec_time")?,
            wal_records: set.position("wal_records"),
            born: set.position("stats_since"),
            mapped,
        })
    }
}

/// The type in which the function gives a column, which decides how its datum is read.
fn type_of(unit: Unit) -> pg_sys::Oid {
    match unit {
        Unit::Count | Unit::Planning => pg_sys::INT8OID,
        Unit::Time | Unit::IoTime | Unit::PlanningTime => pg_sys::FLOAT8OID,
        Unit::WalBytes => pg_sys::NUMERICOID,
    }
}

/// Everything read so far, as a structure of arrays.
#[derive(Default)]
struct Entries {
    keys: Vec<Key>,
    users: Vec<u32>,
    columns: Vec<Vec<u64>>,
    squares: Vec<u64>,
    floors: Vec<u64>,
    ceilings: Vec<u64>,
    born: Vec<i64>,
    /// Some are of users whose statements this role may not see.
    hides: bool,
    /// Of all databases.
    total: u64,
}

impl Entries {
    /// Room for all rows at once: growing step by step would touch twice the memory.
    fn with_capacity(rows: usize, columns: usize) -> Self {
        let empty = || Vec::with_capacity(rows);
        Self {
            keys: Vec::with_capacity(rows),
            users: Vec::with_capacity(rows),
            columns: std::iter::repeat_with(empty).take(columns).collect(),
            squares: empty(),
            floors: empty(),
            ceilings: empty(),
            ..Self::default()
        }
    }

    fn add(&mut self, layout: &Layout, row: &Row<'_>, own: u32) {
        self.total += 1;
        if row.oid(layout.dbid) != Some(own) {
            return;
        }
        let (Some(user), Some(queryid)) = (row.oid(layout.userid), row.int8(layout.queryid)) else {
            self.hides = true;
            return;
        };
        let toplevel = layout.toplevel.is_none_or(|at| row.boolean(at).unwrap_or(true));
        self.keys.push(Key(queryid as u64, u64::from(user) * 2 + u64::from(toplevel)));
        self.users.push(user);
        let earlier = self.keys.len() - 1;
        for (values, &(which, at)) in self.columns.iter_mut().zip(&layout.mapped) {
            let value = match COLUMNS[which].2 {
                Unit::Count | Unit::Planning => count(row.int8(at).unwrap_or(0)),
                Unit::Time | Unit::IoTime | Unit::PlanningTime => {
                    scaled(row.float8(at).unwrap_or(0.0), 1e3)
                }
                Unit::WalBytes => wal_bytes(layout, row, at),
            };
            // Most columns hold nothing but zeros: these are written in one go, once it is known.
            if values.is_empty() {
                if value == 0 {
                    continue;
                }
                values.resize(earlier, 0);
            }
            values.push(value);
        }
        let calls = row.int8(layout.calls).unwrap_or(0).max(0) as f64;
        let mean = row.float8(layout.mean).unwrap_or(0.0);
        let stddev = row.float8(layout.stddev).unwrap_or(0.0);
        // 1 ms² is 1000 times 1000 µs².
        self.squares.push(scaled((stddev * stddev + mean * mean) * calls, 1e3));
        self.floors.push(scaled(row.float8(layout.min).unwrap_or(0.0), 1e6));
        self.ceilings.push(scaled(row.float8(layout.max).unwrap_or(0.0), 1e6));
        if let Some(at) = layout.born {
            self.born.push(clock::unix_us(row.int8(at).unwrap_or(0)));
        }
    }
}

fn wal_bytes(layout: &Layout, row: &Row<'_>, at: usize) -> u64 {
    if layout.wal_records.is_some_and(|records| row.int8(records) == Some(0)) {
        return 0;
    }
    // SAFETY: the layout takes this column only if its type is numeric.
    unsafe { row.bytes(at) }.and_then(fmgr::numeric_to_u64).unwrap_or(0)
}

/// Reads the counters of all statements of this database.
pub(crate) fn statements() -> Result<Statements, ProbeError> {
    let source = source()?;
    let mut before = source.info();
    let mut look = read(&source)?;
    let mut after = source.info();
    if before != after {
        // Entries went away under our eyes. Once is enough: what moves again is found out next time,
        // because the count from before the read is the one that is kept.
        before = after;
        look = read(&source)?;
        after = source.info();
    }
    let (at, layout, entries) = look;
    let reset = after.reset.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let identity = format!("{} reset={reset} version={}", lineage(), source.version);
    let epoch = Epoch { identity, began: after.reset };
    Ok(Statements {
        entries: entries.total,
        capacity: fmgr::setting(c"pg_stat_statements.max").and_then(|max| max.parse().ok()),
        probed: finish(epoch, at, before.evictions, &layout, entries),
    })
}

fn read(source: &Source) -> Result<(i64, Layout, Entries), ProbeError> {
    let at = clock::wall_us();
    let mut set = source.rows(false)?;
    let layout = Layout::of(&set)?;
    let mut entries = Entries::with_capacity(set.len(), layout.mapped.len());
    // SAFETY: set once, when this process connected to its database.
    let own = unsafe { pg_sys::MyDatabaseId }.to_u32();
    while let Some(row) = set.next_row() {
        entries.add(&layout, &row, own);
    }
    let n = entries.keys.len();
    entries.columns.iter_mut().for_each(|values| values.resize(n, 0));
    Ok((at, layout, entries))
}

fn finish(
    epoch: Epoch,
    at: i64,
    evictions: Option<u64>,
    layout: &Layout,
    entries: Entries,
) -> Probed {
    let (io, planning) = (times_io(), fmgr::is_on(c"pg_stat_statements.track_planning"));
    let mut columns = Columns::new(&STATEMENT);
    columns.put("exec_sq", entries.squares);
    for (values, &(which, _)) in entries.columns.into_iter().zip(&layout.mapped) {
        let (name, _, unit) = COLUMNS[which];
        let counted = match unit {
            Unit::IoTime => io,
            Unit::Planning | Unit::PlanningTime => planning,
            Unit::Count | Unit::Time | Unit::WalBytes => true,
        };
        columns.put_timing(name, values, counted);
    }
    let mut names: HashMap<u32, (String, u64)> = HashMap::new();
    // Mostly the same user again.
    let mut last = None;
    let mut label_of = |user: u32| match last {
        Some((same, label)) if same == user => label,
        _ => {
            let (_, label) = names.entry(user).or_insert_with(|| {
                let name = fmgr::role_name(pg_sys::Oid::from_u32(user));
                let hash = label([name.as_str()]);
                (name, hash)
            });
            last = Some((user, *label));
            *label
        }
    };
    let labels = entries.users.iter().map(|&user| label_of(user)).collect();
    let keys = entries.keys.clone();
    let users = entries.users;
    let reading = Reading {
        labels,
        columns: columns.values,
        born: layout.born.map(|_| entries.born),
        hides: entries.hides,
        floors: vec![entries.floors],
        ceilings: vec![entries.ceilings],
        evictions,
        ..reading(&STATEMENT, epoch, at, entries.keys)
    };
    let name = Box::new(move |position: usize| {
        let key = keys[position];
        let user = names.get(&users[position]).map(|(name, _)| name.clone()).unwrap_or_default();
        let toplevel = if key.1 % 2 == 1 { "t" } else { "f" };
        [user, (key.0 as i64).to_string(), toplevel.to_owned()]
    });
    Probed { reading, name }
}
