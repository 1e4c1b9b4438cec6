//! Every setting of the extension, defined once and read through typed getters.

use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

static SNAPSHOT_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(60);
static MAX_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(2);
static ENABLED: GucSetting<bool> = GucSetting::<bool>::new(true);
static DATABASE: GucSetting<Option<std::ffi::CString>> =
    GucSetting::<Option<std::ffi::CString>>::new(None);
static RETENTION: GucSetting<i32> = GucSetting::<i32>::new(30 * 24 * 60);
static RETENTION_HOURS: GucSetting<i32> = GucSetting::<i32>::new(365 * 24 * 60);
static RETENTION_DAYS: GucSetting<i32> = GucSetting::<i32>::new(-1);
static MAX_SIZE: GucSetting<i32> = GucSetting::<i32>::new(10 * 1024);
static EVALUATION_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(15 * 60);
static LOCK_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(100);
static STATEMENT_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(10_000);

/// Which executions the hooks count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, pgrx::PostgresGucEnum)]
pub(crate) enum Capture {
    /// None, and no errors.
    #[name = c"off"]
    Off,
    /// What clients send.
    #[name = c"top"]
    Top,
    /// What functions, triggers and commands run too.
    #[name = c"all"]
    All,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = ".data.perfmon"))]
static SCAN_SAMPLE_RATE: GucSetting<f64> = GucSetting::<f64>::new(0.01);
#[cfg_attr(target_os = "linux", unsafe(link_section = ".data.perfmon"))]
static CAPTURE: GucSetting<Capture> = GucSetting::<Capture>::new(Capture::Top);
/// The library was loaded by the postmaster; its children inherit that.
static PRELOADED: AtomicBool = AtomicBool::new(false);
static MAX_STATEMENTS: GucSetting<i32> = GucSetting::<i32>::new(5000);
static MAX_ROUTES: GucSetting<i32> = GucSetting::<i32>::new(500);

#[cfg_attr(target_os = "linux", unsafe(link_section = ".data.perfmon"))]
static PLAN_MIN_DURATION: GucSetting<i32> = GucSetting::<i32>::new(500);
static PLAN_CONSTANTS: GucSetting<bool> = GucSetting::<bool>::new(false);

/// What makes a pool, besides database and user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, pgrx::PostgresGucEnum)]
pub(crate) enum PoolGrouping {
    /// The application's name and the client's address.
    #[name = c"application_address"]
    ApplicationAddress,
    /// The application's name.
    #[name = c"application"]
    Application,
    /// The client's address.
    #[name = c"address"]
    Address,
    /// Nothing.
    #[name = c"user"]
    User,
}

static ACTIVITY_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(1000);
static POOL_GROUPING: GucSetting<PoolGrouping> =
    GucSetting::<PoolGrouping>::new(PoolGrouping::ApplicationAddress);

/// Settings of samples of what sessions do.
fn define_activity() {
    // SAFETY: the hook raises nothing and touches only what it is given.
    unsafe {
        GucRegistry::define_int_guc_with_hooks(
            c"pg_perfmon.activity_interval",
            c"Time between two samples of what sessions do.",
            c"From 100 milliseconds to 1 minute. 0 takes none.",
            &ACTIVITY_INTERVAL,
            0,
            60_000,
            GucContext::Sighup,
            GucFlags::UNIT_MS,
            Some(check_activity_interval),
            None,
            None,
        );
    }
    GucRegistry::define_enum_guc(
        c"pg_perfmon.pool_grouping",
        c"What makes a pool of sessions, besides database and user.",
        c"The application's name and the client's address, one of them, or nothing else.",
        &POOL_GROUPING,
        GucContext::Sighup,
        GucFlags::default(),
    );
}

/// Refuses what is neither off nor within bounds.
unsafe extern "C-unwind" fn check_activity_interval(
    value: *mut std::ffi::c_int,
    _extra: *mut *mut std::ffi::c_void,
    _source: pgrx::pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: the server hands in the value that it is about to set.
    let value = unsafe { *value };
    value == 0 || value >= 100
}

/// Time between two samples of what sessions do, microseconds; `None` if there are none.
pub(crate) fn activity_interval_us() -> Option<i64> {
    let interval = i64::from(ACTIVITY_INTERVAL.get()) * 1000;
    (interval > 0).then_some(interval)
}

/// Whether pools are told apart by the application's name, and by the client's address.
pub(crate) fn pool_grouping() -> (bool, bool) {
    match POOL_GROUPING.get() {
        PoolGrouping::ApplicationAddress => (true, true),
        PoolGrouping::Application => (true, false),
        PoolGrouping::Address => (false, true),
        PoolGrouping::User => (false, false),
    }
}

/// Settings of plans.
fn define_plans() {
    GucRegistry::define_int_guc(
        c"pg_perfmon.plan_min_duration",
        c"Executions that take this long have their plan recorded.",
        c"Those of the statements that take most time are looked at now and then too, however quick they are. \
          0 looks at every execution, and prints without a limit of rate; -1 records no plans. Can be set for roles and databases.",
        &PLAN_MIN_DURATION,
        -1,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_bool_guc(
        c"pg_perfmon.plan_constants",
        c"Keep the constants in recorded plans.",
        c"Off, they are masked. Constants are data of the application.",
        &PLAN_CONSTANTS,
        GucContext::Suset,
        GucFlags::default(),
    );
}

/// Shortest execution, nanoseconds, whose plan is looked at. Read in hooks: a plain look at the variable. With plans
/// switched off no execution takes so long.
#[inline]
pub(crate) fn plan_min_ns() -> u64 {
    // SAFETY: a variable of this process, which has one thread.
    let ms = unsafe { *PLAN_MIN_DURATION.as_ptr() };
    (i64::from(ms) as u64).wrapping_mul(1_000_000)
}

/// Whether sessions that have nothing else set record no plans.
pub(crate) fn plans_are_off() -> bool {
    PLAN_MIN_DURATION.get() < 0
}

/// Whether the constants in plans are kept.
pub(crate) fn plan_constants() -> bool {
    // SAFETY: as above.
    unsafe { *PLAN_CONSTANTS.as_ptr() }
}

/// Settings of the hooks.
fn define_capture() {
    GucRegistry::define_enum_guc(
        c"pg_perfmon.capture",
        c"Which executions are counted in histograms of their times.",
        c"off: none but their number, and of errors that there were some. top: those that clients send. all: those of functions and triggers too. \
          Can be set for roles and databases.",
        &CAPTURE,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_float_guc(
        c"pg_perfmon.scan_sample_rate",
        c"Share of the executions whose plan is looked into when they end.",
        c"For what its scans read and kept, what spilled, and estimates that were off. Rows are counted for them, times are \
          not. Besides, each statement is looked into at least every ten seconds in which it is executed. 0: none.",
        &SCAN_SAMPLE_RATE,
        0.0,
        1.0,
        GucContext::Suset,
        GucFlags::default(),
    );
    // SAFETY: a variable of the server that is set before libraries are loaded.
    if unsafe { pgrx::pg_sys::process_shared_preload_libraries_in_progress } {
        PRELOADED.store(true, Ordering::Relaxed);
        // The server refuses to define such a setting later, and without preloading nothing uses it.
        GucRegistry::define_int_guc(
            c"pg_perfmon.max_statements",
            c"Most statements whose execution times are counted apart.",
            c"Each takes 2 kB of shared memory. When they are used up, the coldest are counted with the rest of their database.",
            &MAX_STATEMENTS,
            100,
            1_000_000,
            GucContext::Postmaster,
            GucFlags::default(),
        );
        GucRegistry::define_int_guc(
            c"pg_perfmon.max_routes",
            c"Most routes of applications that are counted apart.",
            c"A route is a user, an application name, and what a comment of the statement names. Each takes 2 kB of shared memory. When they are used up, the coldest are counted with the rest of their database.",
            &MAX_ROUTES,
            20,
            100_000,
            GucContext::Postmaster,
            GucFlags::default(),
        );
    }
}

/// Registers the settings and reserves their prefix.
pub(crate) fn define() {
    define_capture();
    define_plans();
    define_activity();
    GucRegistry::define_bool_guc(
        c"pg_perfmon.enabled",
        c"Take snapshots on schedule.",
        c"Off, the time is recorded as a gap. Explicit calls of perfmon.snapshot() still work.",
        &ENABLED,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_perfmon.snapshot_interval",
        c"Time between two snapshots of a database.",
        c"From 5 seconds to 1 hour. Databases that nobody used are not visited.",
        &SNAPSHOT_INTERVAL,
        5,
        3600,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"pg_perfmon.max_workers",
        c"Most collectors that run at the same time.",
        c"Each takes one of max_worker_processes for some milliseconds.",
        &MAX_WORKERS,
        1,
        16,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"pg_perfmon.database",
        c"Home database, which keeps what belongs to the whole cluster.",
        c"Empty means the database with the lowest oid that has the extension.",
        &DATABASE,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"pg_perfmon.retention",
        c"How long rows of single intervals are kept.",
        c"Whole days are dropped at once.",
        &RETENTION,
        24 * 60,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_MIN,
    );
    GucRegistry::define_int_guc(
        c"pg_perfmon.retention_hours",
        c"How long hourly rows are kept.",
        c"Whole months are dropped at once. -1 keeps them for good.",
        &RETENTION_HOURS,
        -1,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_MIN,
    );
    GucRegistry::define_int_guc(
        c"pg_perfmon.retention_days",
        c"How long daily rows are kept.",
        c"Whole years are dropped at once. -1, the default, keeps them for good.",
        &RETENTION_DAYS,
        -1,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_MIN,
    );
    GucRegistry::define_int_guc(
        c"pg_perfmon.max_size",
        c"Most disk space that the history of one database may take.",
        c"Oldest single intervals go first, then hours; days and today are never dropped.",
        &MAX_SIZE,
        16,
        i32::MAX,
        GucContext::Sighup,
        GucFlags::UNIT_MB,
    );
    GucRegistry::define_int_guc(
        c"pg_perfmon.evaluation_interval",
        c"Longest time between two evaluations of the findings.",
        c"They come more often, up to once a minute, where they take little: at most half a hundredth of a processor.",
        &EVALUATION_INTERVAL,
        60,
        24 * 3600,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"pg_perfmon.lock_timeout",
        c"Longest wait of a collector for any lock.",
        c"What could not be read is recorded as a gap.",
        &LOCK_TIMEOUT,
        1,
        10_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"pg_perfmon.statement_timeout",
        c"Longest time that one transaction of a collector may take.",
        c"A snapshot that takes longer is given up and recorded as a gap.",
        &STATEMENT_TIMEOUT,
        100,
        600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    // SAFETY: a constant C string; called once, from _PG_init, after all settings are defined.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"pg_perfmon".as_ptr()) };
}

/// Whether scheduled snapshots are on.
pub(crate) fn enabled() -> bool {
    ENABLED.get()
}

/// Time between snapshots, microseconds.
pub(crate) fn snapshot_interval_us() -> i64 {
    i64::from(SNAPSHOT_INTERVAL.get()) * 1_000_000
}

/// Most collectors at once.
pub(crate) fn max_workers() -> usize {
    usize::try_from(MAX_WORKERS.get()).unwrap_or(1)
}

/// Name of the home database, if one is named.
pub(crate) fn home_database() -> Option<String> {
    DATABASE.get().map(|s| s.to_string_lossy().into_owned()).filter(|s| !s.is_empty())
}

/// Retention in microseconds of single intervals, hours and days; `None` keeps for good.
pub(crate) fn retention_us() -> [Option<i64>; 3] {
    [RETENTION.get(), RETENTION_HOURS.get(), RETENTION_DAYS.get()]
        .map(|minutes| (minutes >= 0).then(|| i64::from(minutes) * 60_000_000))
}

/// Bound of the store, bytes.
pub(crate) fn max_size_bytes() -> i64 {
    i64::from(MAX_SIZE.get()) << 20
}

/// Longest time between two evaluations, microseconds.
pub(crate) fn evaluation_interval_us() -> i64 {
    i64::from(EVALUATION_INTERVAL.get()) * 1_000_000
}

/// Lock timeout of collectors, milliseconds.
pub(crate) fn lock_timeout_ms() -> i32 {
    LOCK_TIMEOUT.get()
}

/// Statement timeout of collectors, milliseconds.
pub(crate) fn statement_timeout_ms() -> i32 {
    STATEMENT_TIMEOUT.get()
}

/// Which executions the hooks count. Read in hooks: a plain look at the variable.
#[inline]
pub(crate) fn capture() -> Capture {
    // SAFETY: a variable of this process, which has one thread.
    match unsafe { *CAPTURE.as_ptr() } {
        0 => Capture::Off,
        1 => Capture::Top,
        _ => Capture::All,
    }
}

/// Share of the executions that are looked into. Read in hooks: a plain look at the variable.
#[inline]
pub(crate) fn scan_sample_ratio() -> f64 {
    // SAFETY: a variable of this process, which has one thread.
    unsafe { *SCAN_SAMPLE_RATE.as_ptr() }
}

/// Whether the hooks may be there: a library that was not preloaded has none.
pub(crate) fn preloaded() -> bool {
    PRELOADED.load(Ordering::Relaxed)
}

/// Values of compute_query_id with which statements get no ids.
pub(crate) const IDS_OFF: [&str; 4] = ["off", "false", "no", "0"];

/// Routes that are counted apart.
pub(crate) fn max_routes() -> usize {
    usize::try_from(MAX_ROUTES.get()).unwrap_or(0)
}

/// Statements that are counted apart.
pub(crate) fn max_statements() -> usize {
    usize::try_from(MAX_STATEMENTS.get()).unwrap_or(0)
}

/// Whether the server keeps errors from the hook on its log while `log_min_messages` is this.
pub(crate) fn hides_errors(log_min_messages: &str) -> bool {
    ["log", "fatal", "panic"].iter().any(|level| level.eq_ignore_ascii_case(log_min_messages))
}
