-- What every object is for, where \d+ and tools show it. Functions: arguments, units, columns whose
-- meaning is not plain, errors, and where a formula comes from.

COMMENT ON SCHEMA perfmon IS
'pg_perfmon: performance history of this database. Start with perfmon.status() and perfmon.report().';

-- Where rows come from -----------------------------------------------------------------------------

COMMENT ON TABLE perfmon.source_info IS
'Every database whose history is kept here. A restored or copied database goes on under a new source that points to its predecessor.';
COMMENT ON COLUMN perfmon.source_info.source IS 'Random id below 2^53, the last argument of every reading function.';
COMMENT ON COLUMN perfmon.source_info.predecessor IS 'The source that this one continues.';
COMMENT ON TABLE perfmon.own_source IS
'Which source this database writes under. Bound to the database''s oid and never dumped.';
COMMENT ON TABLE perfmon.gap IS
'Time about which nothing, or less than usual, is known: read it through perfmon.gaps().';
COMMENT ON COLUMN perfmon.gap.subject IS 'What it concerns: a family of counters, or all.';
COMMENT ON COLUMN perfmon.gap.kind IS
'server_down, missed (no snapshot), reset (counters were reset, or lost with a restart or a crash before they were read), evicted, standby, disabled, or clock (the clock stepped).';
COMMENT ON TABLE perfmon.change IS
'What changed in the database and around it, and marks set by people: read it through perfmon.changes().';
COMMENT ON TABLE perfmon.setting IS
'Settings as last seen, so that a change can be told with the value before. Those that only superusers may see are left out.';
COMMENT ON TABLE perfmon.seen_object IS
'Extensions, tables and indexes as last seen, so that a change can be told with what was before. Not for reading.';

-- Packed history -----------------------------------------------------------------------------------

COMMENT ON TABLE perfmon.statement_minute IS
'pg_stat_statements, one row per interval, one packed column per counter. Read it through perfmon.top_statements(), statement_series() and statement_history().';
COMMENT ON TABLE perfmon.statement_hour IS 'perfmon.statement_minute, rolled up to UTC hours; what makes less than 0.1 % is summed under id 0.';
COMMENT ON TABLE perfmon.statement_day IS 'perfmon.statement_minute, rolled up to UTC days; what makes less than 0.1 % is summed under id 0.';
COMMENT ON TABLE perfmon.latency_minute IS
'Execution times that the hooks counted, one row per interval, one packed histogram per statement (by the ids of perfmon.statement). Read it through perfmon.top_statements(), statement_series(), latency_histogram() and latency_heatmap().';
COMMENT ON TABLE perfmon.latency_hour IS 'perfmon.latency_minute, rolled up to UTC hours: sums of buckets; what makes less than 0.1 % is summed under id 0.';
COMMENT ON TABLE perfmon.latency_day IS 'perfmon.latency_minute, rolled up to UTC days: sums of buckets; what makes less than 0.1 % is summed under id 0.';
COMMENT ON TABLE perfmon.relation_minute IS
'Tables and materialized views, one row per interval, packed. Read it through perfmon.tables() and relation_history().';
COMMENT ON TABLE perfmon.relation_hour IS 'perfmon.relation_minute, rolled up to UTC hours.';
COMMENT ON TABLE perfmon.relation_day IS 'perfmon.relation_minute, rolled up to UTC days.';
COMMENT ON TABLE perfmon.index_minute IS 'Indexes, one row per interval, packed. Read it through perfmon.index_history().';
COMMENT ON TABLE perfmon.index_hour IS 'perfmon.index_minute, rolled up to UTC hours.';
COMMENT ON TABLE perfmon.index_day IS 'perfmon.index_minute, rolled up to UTC days.';
COMMENT ON TABLE perfmon.database_minute IS
'pg_stat_database, one row per interval, packed. Read it through perfmon.databases() and database_history().';
COMMENT ON TABLE perfmon.database_hour IS 'perfmon.database_minute, rolled up to UTC hours.';
COMMENT ON TABLE perfmon.database_day IS 'perfmon.database_minute, rolled up to UTC days.';
COMMENT ON TABLE perfmon.io_minute IS
'pg_stat_io (PostgreSQL 16 and later), one row per interval, packed; home database only. Read it through perfmon.io_history().';
COMMENT ON TABLE perfmon.io_hour IS 'perfmon.io_minute, rolled up to UTC hours.';
COMMENT ON TABLE perfmon.io_day IS 'perfmon.io_minute, rolled up to UTC days.';
COMMENT ON TABLE perfmon.session_minute IS
'Per interval all processes by type, state and wait, summed over samples; in the home database only. Read perfmon.activity() and session_history().';
COMMENT ON TABLE perfmon.session_hour IS 'perfmon.session_minute, rolled up to UTC hours.';
COMMENT ON TABLE perfmon.session_day IS 'perfmon.session_minute, rolled up to UTC days.';
COMMENT ON TABLE perfmon.wait_minute IS
'Per interval sessions at work by statement, state and wait, summed over samples; in the home database only. Read perfmon.top_waits() and wait_history().';
COMMENT ON TABLE perfmon.wait_hour IS 'perfmon.wait_minute, rolled up to UTC hours.';
COMMENT ON TABLE perfmon.wait_day IS 'perfmon.wait_minute, rolled up to UTC days.';
COMMENT ON TABLE perfmon.pool_minute IS
'Per interval clients'' sessions by pool, database, user and in all: samples by number of sessions, sums over samples, and peaks; in the home database only. Read perfmon.pool_activity() and pool_history().';
COMMENT ON TABLE perfmon.pool_hour IS 'perfmon.pool_minute, rolled up to UTC hours.';
COMMENT ON TABLE perfmon.pool_day IS 'perfmon.pool_minute, rolled up to UTC days.';
COMMENT ON TABLE perfmon.server_minute IS
'WAL, checkpoints and the cost of the snapshot itself, one row per snapshot, packed. Read it through perfmon.intervals() and server_history().';
COMMENT ON TABLE perfmon.server_hour IS 'perfmon.server_minute, rolled up to UTC hours.';
COMMENT ON TABLE perfmon.failure_minute IS
'Failures that reached clients, one row per interval, packed by (user, statement or table, class and SQLSTATE); read perfmon.errors() and perfmon.error_series().';
COMMENT ON TABLE perfmon.failure_hour IS 'perfmon.failure_minute, rolled up to UTC hours.';
COMMENT ON TABLE perfmon.failure_day IS 'perfmon.failure_minute, rolled up to UTC days.';
COMMENT ON TABLE perfmon.route_minute IS
'Statements and transactions by (application, user, route) and bucket of their time, one row per interval, packed; read perfmon.routes().';
COMMENT ON TABLE perfmon.route_hour IS 'perfmon.route_minute, rolled up to UTC hours.';
COMMENT ON TABLE perfmon.route_day IS 'perfmon.route_minute, rolled up to UTC days.';
COMMENT ON TABLE perfmon.cluster_minute IS
'Per interval what clients of all databases executed, by bucket of its time; in the home database only. Read perfmon.cluster_history().';
COMMENT ON TABLE perfmon.cluster_hour IS 'perfmon.cluster_minute, rolled up to UTC hours.';
COMMENT ON TABLE perfmon.cluster_day IS 'perfmon.cluster_minute, rolled up to UTC days.';
COMMENT ON TABLE perfmon.host_minute IS
'Per interval what the machine did: processors, load, memory, control groups, the cache of ZFS; in the home database only. Gauges are added up once for each of samples. Read perfmon.host_series().';
COMMENT ON TABLE perfmon.host_hour IS 'perfmon.host_minute, rolled up to UTC hours.';
COMMENT ON TABLE perfmon.host_day IS 'perfmon.host_minute, rolled up to UTC days.';
COMMENT ON TABLE perfmon.pooler_minute IS
'Per interval what PgBouncers said, by (pooler, database, user): whether they answered, counters of databases, gauges of pools; in the home database only. Read perfmon.pooler_pools().';
COMMENT ON TABLE perfmon.pooler_hour IS 'perfmon.pooler_minute, rolled up to UTC hours.';
COMMENT ON TABLE perfmon.pooler_day IS 'perfmon.pooler_minute, rolled up to UTC days.';
COMMENT ON TABLE perfmon.disk_minute IS
'Per interval the room in file systems that the server writes to, and what their devices did; in the home database only. Read perfmon.disk_series().';
COMMENT ON TABLE perfmon.disk_hour IS 'perfmon.disk_minute, rolled up to UTC hours.';
COMMENT ON TABLE perfmon.disk_day IS 'perfmon.disk_minute, rolled up to UTC days.';
COMMENT ON TABLE perfmon.scan_minute IS
'What plans did in the executions that were looked into, one row per interval, packed; read perfmon.scan_evidence().';
COMMENT ON TABLE perfmon.scan_hour IS 'perfmon.scan_minute, rolled up to UTC hours.';
COMMENT ON TABLE perfmon.scan_day IS 'perfmon.scan_minute, rolled up to UTC days.';
COMMENT ON TABLE perfmon.server_day IS 'perfmon.server_minute, rolled up to UTC days.';

-- Dictionaries -------------------------------------------------------------------------------------

COMMENT ON TABLE perfmon.statement_entry IS
'Statements by id: user, queryid, top level or nested. Granted to nobody; the view perfmon.statement shows it.';
COMMENT ON TABLE perfmon.statement_text IS
'Statement texts by queryid, kept once. Granted to nobody; the view perfmon.statement shows them to those who may see them.';
COMMENT ON COLUMN perfmon.statement_text.note IS 'Why there is no text, where there is none.';
COMMENT ON TABLE perfmon.object IS
'Names of tables, indexes, databases and kinds of I/O by id. relation: schema, table, kind; index: schema, index, table; database: (empty), name, (empty); io: backend type, object, context.';
COMMENT ON TABLE perfmon.prior IS
'The counters as last read, from which the next interval is made. Unlogged: lost by a crash, as the counters are. Not for reading.';
COMMENT ON TABLE perfmon.chore IS 'Notes of the extension''s own housekeeping. Not for reading.';

-- Views --------------------------------------------------------------------------------------------

COMMENT ON VIEW perfmon.statement IS
'Statements: join it to statement_history() by source and statement_id. Texts and queryids are shown to members of pg_read_all_stats (by inheritance) and to the statement''s own user, as pg_stat_statements does; else the text is <insufficient privilege> and the queryid NULL.';
COMMENT ON COLUMN perfmon.statement.statement_id IS 'Small id, unique within the source, never reused.';
COMMENT ON COLUMN perfmon.statement.toplevel IS 'False for statements run inside others, such as in functions.';
COMMENT ON COLUMN perfmon.statement.command IS 'Kind of command: SELECT, INSERT, CREATE INDEX, ...';
COMMENT ON COLUMN perfmon.statement.note IS 'Why there is no text, where there is none.';
COMMENT ON VIEW perfmon.statement_alias IS
'Ids of the same statement under two sources, for histories that were restored or copied. Numbers only.';
COMMENT ON VIEW perfmon.statement_missing IS
'How many statements of a source have no text (yet). A number only.';

-- Whether it works ---------------------------------------------------------------------------------

COMMENT ON FUNCTION perfmon.status() IS
'Is it working, and what is missing. One row per item: value in words, state ok, warning or error, and in hint the line that fixes it. Costs are means over the last 24 hours.';
COMMENT ON FUNCTION perfmon.snapshot() IS
'Takes one snapshot now and returns its id: the end of its interval in microseconds since 1970-01-01 UTC. Preloaded, a collector takes it and the call waits for its commit. Otherwise it is taken in the caller''s transaction, which must be read committed and not read only (25000, 25006), and fails at once with 55P03 while another one is being taken. Two snapshots make the first interval.';
COMMENT ON FUNCTION perfmon.grant_reader(text) IS
'Lets a role read everything but the texts of other users'' statements. Argument: name of the role, as in pg_roles. For the owner of the extension (else 42501); unknown role: 22023. Repeat it after an update of the extension.';
COMMENT ON FUNCTION perfmon.revoke_reader(text) IS
'Takes back what perfmon.grant_reader(role) gave. For the owner of the extension (else 42501); unknown role: 22023.';

-- What the hooks counted --------------------------------------------------------------------------

COMMENT ON FUNCTION perfmon.latency_since_start() IS
'Execution times of this database''s statements since the server started, from a histogram of every execution (in the executor, as pg_stat_statements counts; commands as a whole). One row per user, queryid and toplevel, longest total first; rest is true for the row of all that has no row of its own any more. Executions that read blocks from outside the server''s cache are apart (read_) from those that found all in it (cached_). Milliseconds. Percentiles and total_ms are at most error_ratio off, times below a microsecond and from an hour on excepted. queryid is NULL for other users'' statements unless the caller has pg_read_all_stats. 55000 without preloading. What is counted: pg_perfmon.capture; how many rows: pg_perfmon.max_statements.';
COMMENT ON FUNCTION perfmon.scans_since_start() IS
'What the nodes of plans did since the server started, in the executions of this database that were looked into: a share of all (pg_perfmon.scan_sample_rate), and each statement at least once in ten seconds in which it was executed. Counts are those of the samples, never scaled. node: seq_scan, index_scan, nested_loop and so on. Told are all scans of whole tables, every other node whose conditions threw away more rows than they kept, sorts and hash tables that wrote to disk, and nested loops of which an estimate was off by more than ten times; not those on the server''s own tables and on temporary ones. Of partitions, the table that the statement names stands for all. conditions: without constants; "index:" what the index found rows by, "join:" and "match:" conditions of joins, "sort:" and "group:" columns. statement_samples: executions of the statement that were looked into. samples: those in which the node did something. loops, rows_read (kept and thrown away) and rows_kept are sums over loops and parallel workers, as EXPLAIN ANALYZE counts them; rows_estimated: rows that the planner had expected in as many loops. spills: how often it wrote to disk; spilled_bytes: NULL where not known, as of hash joins. outer_rows, outer_rows_estimated and misestimates: of nested loops only. rest: all nodes that found no place. queryid is NULL unless the caller may see it by the rules of pg_stat_statements. Source: the executor''s counters. Errors: 55000 without preloading.';
COMMENT ON FUNCTION perfmon.errors_since_start() IS
'Errors that the server logged for clients of this database since it started, most frequent first, by user, statement (queryid; that which the client sent) and SQLSTATE. class tells errors of applications (error, deadlock) from cancelled, statement_timeout, lock_timeout, idle_in_transaction_timeout, idle_session_timeout, transaction_timeout, terminated, refused (connections; without a database) and login_failed (no session began: password, database or permission to connect). lost_ms: time of the failed statements since their message arrived. rest is true for what has no row of its own any more. queryid is NULL where it is unknown (syntax errors; compute_query_id or track_activities off), and for other users'' statements unless the caller has pg_read_all_stats. 55000 without preloading. Errors that log_min_messages keeps from the log are not counted.';

COMMENT ON FUNCTION perfmon.errors(timestamptz, timestamptz, bigint) IS
'What failed in a time window, most frequent first: one row for each class, SQLSTATE, user and statement. Arguments: since and until (default: the last hour), source. class: error, statement_timeout, lock_timeout, transaction_timeout and deadlock count as errors of statements; cancelled (on request), idle_in_transaction_timeout, idle_session_timeout, refused (too many connections, or the server takes none), login_failed (no session began: password, role, database or permission to connect) and terminated do not, nor does autovacuum_cancelled (autovacuum gave way to a lock; table_name is its table). condition: the standard name of the SQLSTATE, NULL for those of applications. statement_id and query: the statement that the client sent, where known; texts are shown as in top_statements(). user_name NULL and statement_id NULL: what found no place of its own, or has neither. What belongs to no database, such as refused connections, is in the home database. errors: how often it reached a client; what a function or block caught does not count. per_hour: over the time that intervals cover. lost_ms: from the arrival of the message to the error, all of it. share_ratio: of all rows. last_seen: within a second. quality: lower bound where the server was restarted in between.
No rows and a notice without preloading. Errors: 22023 for bad arguments. Source: emit_log_hook.';
COMMENT ON FUNCTION perfmon.error_series(timestamptz, timestamptz, interval, bigint) IS
'Errors over time, one row per step, for graphs. Arguments and steps as in statement_series(). executions: top-level statements that were executed to their end, but for BEGIN, COMMIT, ROLLBACK, SAVEPOINT and the like, SET and DISCARD. errors: statements that failed, timeouts and deadlocks included, cancellations not. error_ratio: errors over executions, errors and cancellations together. lost_ms: time of all failures. The classes apart as in errors(). rollbacks, rollbacks_per_s and rollback_ratio (of all transactions) come from pg_stat_database and say nothing about errors. changes: as in statement_series(). NULL where nothing is known: without preloading (a notice says so), or while log_min_messages hides errors.
Errors: 22023 for bad arguments.';
COMMENT ON FUNCTION perfmon.routes(timestamptz, timestamptz, bigint) IS
'Statements and transactions by application (application_name), user and route, most time first. Arguments: since and until (default: the last hour), source. route: what a comment in the form of sqlcommenter at the end or the start of a statement says: its key route, else controller#action; NULL without one. "(all other routes)": what found no place within pg_perfmon.max_routes. calls: top-level statements executed to their end, but for those that begin and end transactions or set something. Percentiles are of execution times (in the executor; commands as a whole), from a histogram with a relative error of at most 5 %; max_ms is the upper end of its bucket. errors, cancelled and error_ratio as in error_series(). transactions: those in which at least one statement was counted, under the route of the last; statements_per_transaction counts failed ones too. transaction_*_ms: from the arrival of the first message to the end; of a SELECT outside of a transaction block, the time of its execution.
No rows and a notice without preloading. Errors: 22023 for bad arguments.';

-- Reading ------------------------------------------------------------------------------------------

COMMENT ON FUNCTION perfmon.report(timestamptz, timestamptz, text, bigint) IS
'The story of a time window as a DBA would tell it: a rating out of ten with its formula, how much time could be saved, the top bottlenecks with cause, evidence, remedy and the statement to run, load, trend as a chart, time by kind of command, top statements, the plans of those that take most time with what in them cost the time and since when, better forms of statements (see rewrite_hints()), tables read most by sequential scans, changes, gaps, and what to do in which order. Arguments: since and until (default: the last hour), format markdown (at most 100 columns wide, but for SQL) or json (schema pg_perfmon.report/1, docs/report.schema.json), source (NULL: this database and those it continues; another one is not judged, since its catalog is not here). Statement texts and statements to run are for members of pg_read_all_stats. Says so where there is too little data. Errors: 22023 for arguments that cannot be right.';

COMMENT ON FUNCTION perfmon.top_statements(timestamptz, timestamptz, text, int, bigint) IS
'Statements that did most in a time window, largest first. Arguments: since and until (default: the last hour; NULL is the default), order_by one of total_time, mean_time, calls, rows, plan_time, io_time, shared_blks_hit, shared_blks_read, temp_blks_written, wal_bytes, p95, p99; max_rows (NULL: all); source (NULL: this database and those it continues).
Whole intervals that end in (since, until] are taken, nothing is pro-rated. Times in milliseconds, blocks in server blocks (8 kB), wal in bytes. calls_per_s: calls over the time that the intervals cover. stddev_exec_ms: from the sums of times and squared times; NULL where rounding leaves nothing; from the histogram of execution times where pg_stat_statements has none.
p50_ms to p99_ms: the time within which that share of executions ended, max_ms the longest, from histograms that the hooks fill at the end of each execution, added up over the window; at most percentile_error_ratio off between a microsecond and an hour. timed_calls: the executions in them. cached_calls and cached_p95_ms: those that found all blocks in the server''s cache; read_calls and read_p95_ms: those that read some. All NULL where nothing was counted (without preloading, with pg_perfmon.capture off); a notice names the line that turns it on. share_ratio: of the execution time of all top-level statements; NULL for nested ones. cache_hit_ratio: hits over hits and reads of shared buffers. quality: exact; lower bound (something may be missing); doubtful (the entry may have been evicted and come back). statement_id 0: all statements too small to be kept apart in hours and days.
Without pg_stat_statements the list is that of the histograms, and what only pg_stat_statements counts is NULL. Unknown is NULL. Errors: 22023 for arguments that cannot be right. Source: pg_stat_statements; hooks.';

COMMENT ON FUNCTION perfmon.statement_series(int, timestamptz, timestamptz, interval, bigint) IS
'One statement over time, one row per step, for graphs. Arguments: statement_id as in top_statements(); since and until (default: the last hour); step (NULL: one that gives at most 400 points; days and months begin in the session''s time zone, other steps are aligned to 1970-01-01 UTC); source.
time is the start of the step. An interval counts in the step in which it ends. NULL where nothing is known (a gap), 0 where the statement did not run. Rates divide by the time covered, covered_ratio is its share of the step. active_ratio: execution time over time, that is how many were running on average. Percentiles as in top_statements(), from the buckets of the step. changes: how many changes were noticed in the step, and the first of them by name (marks, settings, extensions, tables, indexes; perfmon.changes() has them all); NULL where none was.
Errors: 22023 for an unknown statement, a step that is not positive or makes more than 100,000 points.';

COMMENT ON FUNCTION perfmon.load_series(timestamptz, timestamptz, interval, bigint) IS
'All top-level statements together over time, one row per step, for graphs; reads row totals only, so it is quick over months. Arguments and steps as in statement_series(). active_ratio: execution time over time, that is how many were running on average. nested_exec_ms: time of statements inside others, contained in theirs and never added. p50_ms, p95_ms, p99_ms: of the timed_calls executions that the hooks counted (see top_statements()); NULL where they counted none. changes: as in statement_series(). NULL in gaps. Errors: 22023.';

COMMENT ON FUNCTION perfmon.latency_histogram(int, timestamptz, timestamptz, bigint) IS
'How many executions took how long in a time window, one row per range of times in which there were any, shortest first. Arguments: statement_id as in top_statements() (NULL, the default: all that clients sent); since and until (default: the last hour); source. An execution took low_ms or longer and less than high_ms (NULL: no end; from an hour on). Ranges are the same always and everywhere, so that rows of any two calls can be added. cached_calls found all blocks in the server''s cache, read_calls read some. No rows where nothing was counted. Errors: 22023.';
COMMENT ON FUNCTION perfmon.latency_heatmap(timestamptz, timestamptz, interval, int, bigint) IS
'How many executions took how long over time, for a heat map: one row per step and range of times in which there were any; a step in which nothing ran has one row of 0 calls without a range, one of which nothing is known has none. Arguments: since and until (default: the last hour), step as in statement_series(), statement_id (NULL, the default: all that clients sent), source. Ranges as in latency_histogram(). Changes are not told here, as a step has many rows: load_series() and statement_series() tell them by the same steps. Errors: 22023.';

COMMENT ON FUNCTION perfmon.commands(timestamptz, timestamptz, bigint) IS
'Top-level statements by kind of command, most time first. Arguments: since and until (default: the last hour), source. share_ratio: of all execution time. A statement is slow when its mean is above 100 ms: slow_statements counts them, slow_calls and slow_exec_ms are their calls and time, slow_ratio is their share of the command''s time. Errors: 22023. Source: pg_stat_statements.';

COMMENT ON FUNCTION perfmon.tables(timestamptz, timestamptz, bigint) IS
'Tables and materialized views used in a time window, by name: scans, rows, writes, sizes. Arguments: since and until (default: the last hour), source. n_live_tup, n_dead_tup, n_mod_since_analyze and sizes are the last known values, everything else is what happened in the window. rows_per_seq_scan: rows read per sequential scan; the server counts each worker of a parallel scan as a scan of its own. hot_update_ratio: updates that needed no index entry. dead_ratio: dead over dead and live rows. blks_read and blks_hit include indexes and TOAST. growth_bytes: last less first known total size. Sizes in bytes, read every few minutes. Errors: 22023. Source: pg_stat_all_tables, pg_statio_all_tables, file sizes.';

COMMENT ON FUNCTION perfmon.databases(timestamptz, timestamptz, bigint) IS
'This database, and in the home database all of them: transactions, rows, blocks, sessions, size. Arguments: since and until (default: the last hour), source. tps: commits and rollbacks per second covered, the collector''s own left out. rollback_ratio and deadlock_ratio: of all transactions. active_ratio: active time over time, that is how many sessions were active on average. Times in milliseconds, sizes in bytes; size and backends are the last known values. Errors: 22023. Source: pg_stat_database.';

COMMENT ON FUNCTION perfmon.intervals(timestamptz, timestamptz, bigint) IS
'The intervals recorded in a time window, in order: what they cover, how well, and what recording them cost. Arguments: since and until (default: the last hour), source. length_ms: true length by a monotonic clock (wall_clock: by the wall clock only); quiet_ms: of it, time at the start in which nobody used the database. completeness_ratio: execution time of top-level statements over the clients'' active time (active_ms); a statement is counted when it ends, so it may exceed 1. late: more than two intervals long. cpu_ms, wall_ms, wal_bytes, stored_bytes: cost of the snapshot. Where single intervals are no longer kept, hours or days are shown. Errors: 22023.';

COMMENT ON FUNCTION perfmon.gaps(timestamptz, timestamptz, bigint) IS
'Gaps that touch a time window, in order. Arguments: since and until (default: the last hour), source. kind: server_down, missed, reset (counters were reset, or lost with a restart or a crash before they were read), evicted, standby, disabled or clock. Only server_down says that the server was not there. Errors: 22023.';

COMMENT ON FUNCTION perfmon.changes(timestamptz, timestamptz, bigint) IS
'What changed in a time window, in order, with the time of the snapshot that saw it: it happened since the look before, usually within a minute, within five where temporary tables come and go all the time. Arguments: since and until (default: the last hour), source.
kind: setting, extension, table (materialized views and partitioned tables too), index, plan_flip (a statement''s plan took the place of another: see plan_flips()), or mark (see mark_change()). name: as it is written in a statement, with the schema. Created: old_value is NULL and new_value says how it is made; dropped: the other way round; altered: both; renamed: old_value is the name before, new_value says renamed to and the name. Partitions and children of one table that come or go together are one row, such as 12 partitions of public.events, and so is more than 50 of a kind. Left out: what belongs to an extension, to the system or to pg_perfmon, temporary tables, and what came and went between two snapshots; the same made anew under the same name is no change. Settings that only superusers may see are not recorded. Errors: 22023. Source: pg_settings, pg_extension, pg_class, pg_attribute, pg_index, pg_inherits.';

COMMENT ON FUNCTION perfmon.mark_change(text, text) IS
'Puts a mark on every trend: a release, a load test, anything that may explain a difference later. Returns its time, by the clock; it counts once the caller''s transaction commits. Arguments: label (1 to 200 characters, shown beside the line), note (any length, or NULL). perfmon.changes() shows it as kind mark, with the label as name and the note as new_value. For pg_monitor and the owner. Errors: 22023 for a label that is missing or too long, 25006 on a standby and in read-only transactions.';

COMMENT ON TABLE perfmon.plan IS
'Plans that statements were seen to have, as plans() shows them. Bounded: of each statement the 10 seen last and those of its flips, 5,000 in all, for pg_perfmon.retention. The view plan_shown masks the forms.';
COMMENT ON VIEW perfmon.plan_shown IS
'Plans for those who may see numbers: plan_text and plan_json are shown to members of pg_read_all_stats and to the user of the statement. Read by plans().';
COMMENT ON TABLE perfmon.plan_flip IS
'Plans that took the place of another, as plan_flips() shows them: the 10 newest of each statement, for pg_perfmon.retention.';

COMMENT ON FUNCTION perfmon.plans(int, bigint) IS
'Plans that a statement was seen to have, the one seen last first; of all statements with NULL. A plan is recorded when an execution takes pg_perfmon.plan_min_duration, and of the 200 statements with most time since the last snapshot whatever they take: 8 executions of each are looked at between two snapshots. Columns: plan_id (the same for the same kinds of nodes, tables, columns of indexes and order of joins; costs, workers, names of indexes, and how many partitions there are do not count), is_current (the plan seen last), first_seen, last_seen, calls, mean_ms and max_ms (of the executions known to have had the plan: not all were looked at, and slow ones more often), sampled_calls and sampled_mean_ms (of those looked at whatever they took: an unbiased mean), cost (as estimated when it was printed), heaviest_node and heaviest_cost_ratio (the node with most of the estimated cost of its own, and its part, from 0 to 1), has_constants, plan_text and plan_json (as EXPLAIN prints them; constants are ? unless pg_perfmon.plan_constants was on; NULL when nothing was printed yet, and plan_json when it is longer than 64 kB), from_source. Readers without pg_read_all_stats see the forms of their own statements only. Errors: 22023. Source: the plans of the executions themselves.';

COMMENT ON FUNCTION perfmon.plan_flips(timestamptz, timestamptz, bigint) IS
'Plans that took the place of another in a window, oldest first. Columns: time (when the plan after was seen first), statement_id, last_seen_before (when the plan before was seen last), and of the plans before and after: id, calls, mean_ms, sampled_calls, sampled_mean_ms, heaviest_node and plan_text as in plans(), all of them up to now; from_source. Plans that are used side by side, for other parameters or in other sessions, are no flip; nor is a partition more or less. perfmon.changes() shows flips as kind plan_flip. Errors: 22023. Source: the plans of the executions themselves.';

COMMENT ON TABLE perfmon.slo IS
'Objectives of this database, as create_slo() declared them. A target that is NULL is not promised. Judged by slo_status().';
COMMENT ON COLUMN perfmon.slo.source IS 'The source under which it was declared: statement_id is one of its ids.';
COMMENT ON COLUMN perfmon.slo.period IS 'The time over which it is judged when nobody names another.';
COMMENT ON TABLE perfmon.run IS
'Test runs and deployments: begun_at and ended_at are the ends of snapshots, so that a run is whole intervals. ended_at is NULL while it goes on. Read by run_report().';

COMMENT ON FUNCTION perfmon.create_slo(
    text, float8, float8, float8, float8, float8, float8, float8, text, text, text, int, bool, bigint,
    interval, text) IS
'Declares an objective: what is promised of the executions of this database, of one user, one application name, one statement, or (in the home database) of the whole server. Arguments: name (1 to 200 characters, unique); targets: p95_ms and p99_ms, another percentile (a share such as 0.999) with percentile_ms, error_ratio (a share such as 0.005), throughput_per_second (at least), availability_ratio (at least, such as 0.999); without any, p95 200 ms, p99 500 ms and errors 0.5 %. Scope: at most one of username, application, statement_id and cluster; database may only name this one. min_executions (default 100): with fewer, percentiles and errors are not judged; throughput and availability are, by time. period (default 1 hour): the time over which it is judged when nobody names another. For pg_monitor and the owner. Errors: 22023 for what cannot be meant, a statement that is not known among it, 42710 for a name that is taken, 55000 for another database and for cluster outside of the home database, 25006 on a standby and in read-only transactions.';
COMMENT ON FUNCTION perfmon.drop_slo(text) IS
'Takes an objective back. For pg_monitor and the owner. Errors: 42704 when there is none of that name, 25006 on a standby and in read-only transactions.';
COMMENT ON FUNCTION perfmon.slo_status(timestamptz, timestamptz, bigint) IS
'Whether the objectives were kept: one row for each promise. Arguments: since (default NULL: each objective over its own period before until), until (default now), source. target, actual: in unit (ms, ratio, per_s); actual_low, actual_high: between them it surely lies (the error of a histogram bucket, at most 5 %; what is not known of an availability). status: met, missed, no_data (nothing, or less than 80 % of the time of an availability, is known, or nothing was executed), too_few (fewer executions than min_executions); no_data and too_few do not pass. Percentiles are of summed buckets; one of rank ceil(q n). Executions are those that clients sent, without what only begins or ends transactions, SET and DISCARD (times of the cluster include these). errors: those that reached clients over all that clients tried. availability: share of the known time in which the server was up and no more than the promised share of answers came late (the objective''s own percentiles, else p95 200 ms; a single late answer among others does not make an interval bad); only time without a server and late answers count against it, quiet time counts as available. budget_left_ratio: share of the error budget (1 - percentile, error_ratio, 1 - availability_ratio) that is left, negative when overspent. burn_rate_short, burn_rate_long: how fast the budget was spent in the last 5 minutes and the last hour before until, 1 being as fast as allowed. bad_minutes: time of intervals in which it was not kept. Windows over 25 hours are read by the hour. Errors: 22023. Source of burn rates and windows: Site Reliability Workbook, chapter 5.';
COMMENT ON FUNCTION perfmon.assert_slo(text, timestamptz, timestamptz, bigint) IS
'The same rows as slo_status() if all promises were kept, else an error that ends a script: P0004 (assert_failure), whose detail is the table of target, actual and status, whose hint says where to look. Promises about which nothing can be said are not kept. Arguments: name (default NULL: all objectives), since and until as of slo_status(), source. In CI: psql -v ON_ERROR_STOP=1 -c "SELECT perfmon.snapshot()" -c "SELECT * FROM perfmon.assert_slo()". Errors: P0004; 42704 for an unknown name, 55000 when no objective is declared, 22023.';
COMMENT ON FUNCTION perfmon.begin_run(text, text) IS
'Begins a test run or a deployment: takes a snapshot, so that the run is whole intervals, and returns its time. Arguments: name (1 to 200 characters; it may be used again once its run has ended), note. For pg_monitor and the owner. Errors: 22023 for a name that is missing or too long, 55000 when a run of that name has not ended, those of snapshot().';
COMMENT ON FUNCTION perfmon.end_run(text) IS
'Ends the run of that name: takes a snapshot and returns its time. For pg_monitor and the owner. Errors: 22023, 55000 when no run of that name is going on, those of snapshot().';
COMMENT ON FUNCTION perfmon.run_report(text, text, text) IS
'The report of the latest run of that name: outcome, objectives, latency, statements over slow_statement_p95_ms with their likely cause, reads and writes apart, errors, and what was changed meanwhile. A run that has not ended is reported up to the last snapshot, and said to be unfinished; other runs during the same time are named. Arguments: name, format (markdown or json: schema pg_perfmon.run/1), baseline (name of another run to compare with, or NULL). Errors: 42704 for an unknown run, 22023.';
COMMENT ON FUNCTION perfmon.compare_runs(text, text) IS
'Two runs number by number: objectives, then the p95 of statements, most slowed down first. what: objective or statement; subject: its name or id; verdict: better, worse, same (less than 10 % apart), new, gone, or NULL where it cannot be told. Arguments: baseline and name of the runs. Errors: 42704 for an unknown run.';

COMMENT ON FUNCTION perfmon.statement_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval and statement that did something, with every counter of pg_stat_statements. Arguments: since and until (default: the last hour), source. Times in milliseconds, exec_sq_ms2 is the sum of squared execution times in square milliseconds. NULL is unknown, as for counters that this version of the server does not have. Join perfmon.statement on statement_id and source = from_source for names. Errors: 22023.';
COMMENT ON FUNCTION perfmon.relation_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval and table, with every counter of pg_stat_all_tables and pg_statio_all_tables and its sizes. Arguments: since and until (default: the last hour), source. NULL is unknown. Errors: 22023.';
COMMENT ON FUNCTION perfmon.index_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval and index, with every counter of pg_stat_all_indexes and pg_statio_all_indexes and its size. Arguments: since and until (default: the last hour), source. NULL is unknown. Errors: 22023.';
COMMENT ON FUNCTION perfmon.database_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval and database, with every counter of pg_stat_database and its size. Arguments: since and until (default: the last hour), source. Times in milliseconds. NULL is unknown. Errors: 22023.';
COMMENT ON FUNCTION perfmon.failure_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval and kind of failure, as the hooks counted them. Arguments: since and until (default: the last hour), source. object: the id of the statement, of autovacuum_cancelled the table; kind: class and SQLSTATE (00000 where only the class is known). Times in milliseconds; last_s: when it happened last, seconds since 1970-01-01 UTC. NULL is unknown. Errors: 22023 for bad arguments.';
COMMENT ON FUNCTION perfmon.scan_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval and node of a plan, as the hooks counted it in the executions that were looked into; see scan_evidence(). Arguments: since and until (default: the last hour), source. scan_id 0: all nodes that were not counted apart. statement: the statement_id. node: kind, index and conditions as JSON; of kind execution are all executions of the statement that were looked into. Errors: 22023 for bad arguments.';
COMMENT ON FUNCTION perfmon.predicates(timestamptz, timestamptz, bigint) IS
'By which columns and expressions of which tables statements look rows up, join, sort and group (GROUP BY, DISTINCT): what an index would have to serve. Arguments: since and until (default: the last hour), source. usage: equality, range, pattern, containment, null, truth, join, sort or group; of an operator by its name. pattern: of usage pattern, what the pattern begins with: leading_wildcard, which no btree finds, or fixed_beginning; from the pattern in the text, else from the first character of those that executions sought (nothing else of a pattern is looked at); NULL where neither tells. samples, rows_read and rows_kept: of the nodes of plans that applied it, in the executions that were looked into (see scan_evidence()); NULL for what only the text of a statement says. kept_ratio: the selectivity seen; alone: no other condition stood beside it, so that this is its own. Only of the database''s own source. Errors: 22023 for bad arguments, 55000 for another database''s source.';
COMMENT ON FUNCTION perfmon.scan_evidence(timestamptz, timestamptz, bigint) IS
'What the plans of statements read for nothing, from their own executions: one row for each statement, table and node, what read most first. Arguments: since and until (default: the last hour), source. Counts are those of the executions that were looked into (statement_samples; samples: those in which the node did something), as EXPLAIN ANALYZE tells them; see scans_since_start() for which nodes are told and what the columns mean. calls: executions of the statement by pg_stat_statements. rows_read_per_call and rows_kept_per_call: per execution that was looked into. rows_read_scaled: rows_read_per_call times calls, an estimate. table_share_ratio: of a sequential scan, its part of all rows that sequential scans of the table read in the window by the server''s own counters (its partitions and children together), an estimate too; NULL for another source. filter_columns: what rows are thrown away by. Source: the executor''s counters. Errors: 22023 for bad arguments.';
COMMENT ON FUNCTION perfmon.route_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval, route and bucket of the histogram, as the hooks counted them. Arguments: since and until (default: the last hour), source. route_id 0: all routes that were not counted apart. bucket 0: under 1 microsecond; bucket b from 1 on: up to about 1.104 to the power of b microseconds; 255: errors and cancellations, which have no time. Errors: 22023 for bad arguments.';
COMMENT ON FUNCTION perfmon.host_status() IS
'The machine now, as far as the server may use it: one row for each of cpu, load, memory, swap, arc (the cache of ZFS) and disk; name is machine or container (the control group that allows least, where it allows less than the machine has), of a disk where it is mounted. used and total: in unit; of a disk, total is what the server may use, so without what is kept for the administrator. used_ratio: used over total. cpu: of the last recorded interval of this database (NULL in all databases but the home database); everything else is read at the call. Memory is used that could not be had without taking it from somebody: MemTotal less MemAvailable, without what the cache of ZFS would give back; of a control group, its usage less inactive files. File systems of other machines (NFS and the like) are not asked, but for that of the data directory. No rows where there is no /proc. For readers. Errors: none.';
COMMENT ON FUNCTION perfmon.host_series(timestamptz, timestamptz, interval, bigint) IS
'The machine over time, as the home database records it; no values in other databases. Arguments: since and until (default: the last hour), step as in statement_series(), source. cpu_ratio: share of the processors'' time that the server may use that was used: of the control group''s quota where there is one, else machine_cpu_ratio; cpu_peak_ratio: the highest of one interval. machine_cpu_ratio: user_ratio + system_ratio + steal_ratio, shares of the time of the processors that the server may run on, from /proc/stat; iowait_ratio: idle while a disk was waited for; steal_ratio: taken by other guests of the same host. throttled_ms: time in which the control group was held back. load, load_peak: average and highest load of a minute. memory_ratio, memory_peak_ratio, memory_used_bytes, memory_bytes: of the control group''s limit where there is one, else of the machine, as in host_status(). arc_hit_ratio: share of reads found in the cache of ZFS, NULL where there is none. covered_ratio: share of the step that is recorded. NULL is unknown. Errors: 22023.';
COMMENT ON FUNCTION perfmon.disk_series(timestamptz, timestamptz, interval, bigint) IS
'File systems that the server writes to over time, one row for each step and file system, as the home database records them; none in other databases. Arguments: since and until (default: the last hour), step as in statement_series(), source. mount: where it is mounted; device: the whole block device under it, NULL where it has none (ZFS, NFS, overlay); uses: what of the server lies there (data directory, WAL, tablespaces). used_ratio: used over used and available, as df tells it; bytes are averages of the step. reads_per_s, writes_per_s, read_bytes_per_s, write_bytes_per_s, busy_ratio (share of the time in which at least one request was on its way), busy_peak_ratio (the highest of one interval), read_ms and write_ms (mean time of a request): of the whole device, whatever else uses it, from /proc/diskstats. covered_ratio: share of the step that is recorded. NULL is unknown. Errors: 22023.';
COMMENT ON FUNCTION perfmon.host_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval with the times of the machine''s processors, the control group''s use of its quota (group_cpu_ms of group_capacity_ms), load, memory, swap and the cache of ZFS. Arguments: since and until (default: the last hour), source. Gauges are averages of samples readings. NULL is unknown. Errors: 22023.';
COMMENT ON FUNCTION perfmon.disk_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval and file system with its room, and what its device did in watched_ms, the time in which its counters were known (0: it has none). Arguments: since and until (default: the last hour), source. Bytes of room are averages of space_samples readings. NULL is unknown. Errors: 22023.';
COMMENT ON FOREIGN DATA WRAPPER pg_perfmon_pgbouncer IS
'Names PgBouncers for pg_perfmon: a server has the options host (an IP address, localhost, or the directory of a socket; default localhost), port (default 6432) and dbname (default pgbouncer), its user mapping for the owner of the extension, or for PUBLIC, user and password. It has no tables. USAGE is granted to nobody.';
COMMENT ON FUNCTION perfmon.pgbouncer_validator(text[], oid) IS
'Checks options of the wrapper pg_perfmon_pgbouncer, its servers and user mappings; called by the server. Errors: 22023 for an option or a value that it does not know.';
COMMENT ON FUNCTION perfmon.pooler_pools(timestamptz, timestamptz, bigint) IS
'What PgBouncers said in the window, as the home database recorded it; no rows in other databases. Arguments: since and until (default: the last hour), source. One row for each pooler (database_name and user_name NULL: answered_ratio is the share of the times it was asked that it answered), for each of its databases (user_name NULL: transactions_per_s, queries_per_s, mean times, and clients_waiting from the time that clients waited, exactly) and for each pool (averages of samples, one for each interval: clients_active, clients_waiting, servers_active, servers_idle, servers in any state; peaks and max_wait_ms are the highest of the samples). pool_size: the least of pool_size and max_connections of the database, if told; used_peak_ratio: servers_peak over it. NULL is unknown: versions tell different columns. From SHOW POOLS, SHOW STATS and SHOW DATABASES. Errors: 22023.';
COMMENT ON FUNCTION perfmon.pooler_clients() IS
'Clients of the PgBouncers that foreign servers of pg_perfmon_pgbouncer in this database name, asked at the call (SHOW CLIENTS, SHOW SERVERS), and the backends of this server behind them: client_addr, client_port and application_name are the true client''s (NULL without the rights of pg_read_all_stats), wait_ms how long it waits for a server connection, server_pid, backend_state and transaction_ms those of the backend that it has now, NULL if it has none or one of another server. pins_server: the backend is idle in a transaction, so that the server connection is kept from others while nothing happens. problem: why a pooler did not answer, in a row of its own; each is waited for a second at most. A pid is believed only if the server''s port, and over TCP the client port, agree. Errors: none.';
COMMENT ON FUNCTION perfmon.pooler_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval and pooler, database or pool, as perfmon.pooler_pools() adds them up; gauges are sums over samples. Arguments: since and until (default: the last hour), source. watched_ms, wait_watched_ms: time in which counters, and the wait, were known. Errors: 22023.';
COMMENT ON FUNCTION perfmon.session_history(timestamptz, timestamptz, bigint) IS
'The plain rows of all processes by backend type, state and wait (class/event), in the home database: sessions is summed over the samples of the interval. Samples of an interval are column samples of perfmon.session_minute.';
COMMENT ON FUNCTION perfmon.wait_history(timestamptz, timestamptz, bigint) IS
'The plain rows of sessions at work, in the home database. waited is the queryid (* for statements that found no place of their own, 0 for one that is not known), the number of the state (2 active, 3 idle in transaction, 4 the same after an error, 5 fast path) and the wait (class/event); sessions is summed over the samples of the interval.';
COMMENT ON FUNCTION perfmon.pool_history(timestamptz, timestamptz, bigint) IS
'The plain rows of clients'' sessions by pool, database, user and server, in the home database. place below 255: how many samples found that many sessions (above 127 a sixteenth of an octave) open, busy, active, idle and in a transaction. place 255: sums over samples by state and wait, connections that came, and peaks.';
COMMENT ON FUNCTION perfmon.recent_activity(interval) IS
'The last samples of what sessions do, one row for each process at work in each, as long as shared memory holds them (32,768 rows): a client''s session inside a statement or a transaction, and any other process that does not wait for work. wait_class and wait_event are NULL where a session does not wait, which mostly means that it uses a processor. statement_id and query are known for statements of this database; state_ms and transaction_ms say since when it is in this state and in its transaction. Needs preloading (SQLSTATE 55000); a span of nothing is an error (22023). pg_perfmon.activity_interval is the time between two samples.';
COMMENT ON FUNCTION perfmon.activity(timestamptz, timestamptz, interval, bigint) IS
'Average number of processes at work by step, type, state and wait, as samples saw them, in the home database (SQLSTATE 55000 elsewhere): those that recent_activity() lists. average_sessions is the number found divided by samples; the average of client backends in state active is what pg_stat_database.active_time gives per second. share_ratio is the part of the step''s sum. A step in which nobody was at work is one row of zero, one without samples a row of NULL. quality is doubtful where samples were taken by snapshots only, without preloading.';
COMMENT ON FUNCTION perfmon.top_waits(timestamptz, timestamptz, int, bigint) IS
'What clients'' sessions and their parallel workers did and waited for, by statement, state and wait, most first, in the home database (SQLSTATE 55000 elsewhere). wait_class NULL is no wait. average_sessions is the number found divided by samples, session_ms that times the time covered, share_ratio the part of all sessions at work. Idle in transaction, the statement is the last one. statement_id and query are known for statements of this database.';
COMMENT ON FUNCTION perfmon.pool_activity(timestamptz, timestamptz, interval, bigint) IS
'Clients'' sessions by step, in the home database (SQLSTATE 55000 elsewhere): level server, database, user, or pool, which is database, user and, as pg_perfmon.pool_grouping says, application and client''s address (empty for a Unix socket). Only client backends count, as only they take one of max_connections. open is all of them, busy those inside a statement or a transaction, active those inside a statement, in_transaction those that wait for their client inside one. avg, min, p95, p99 and peak are over samples; numbers are exact up to 127, above that min, p95 and p99 are off by 3 %; peaks are always exact. on_cpu, on_lock, on_client and on_io are busy sessions that wait for nothing, a lock, their client, a file. opened are connections that a sample saw for the first time. monitoring marks pg_perfmon''s and Grafana''s own. counted_ and sessions_ columns are what pg_stat_database says of a database, and in sum of the server: exact, but a statement counts when it ends. quality is doubtful where samples were taken by snapshots only.';
COMMENT ON FUNCTION perfmon.cluster_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: what clients of all databases of the server executed, one row per interval and bucket of the histogram, as the hooks counted them (home database only: status() names it). Arguments: since and until (default: the last hour), source. cached, read: executions that found every block in the server''s cache, and those that read some; nested ones are in neither. bucket 0: under 1 microsecond; bucket b from 1 on: up to about 1.104 to the power of b microseconds; 255: executions, errors and cancelled, which have no time and stand as in error_series(): executed to their end but for what only begins or ends transactions or sets something, failed, and cancelled; NULL where the server''s settings hide errors. Errors: 22023 for bad arguments.';
COMMENT ON FUNCTION perfmon.io_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval and kind of I/O, with every counter of pg_stat_io (PostgreSQL 16 and later; home database only). Arguments: since and until (default: the last hour), source. Times in milliseconds. NULL is unknown. Errors: 22023.';
COMMENT ON FUNCTION perfmon.server_history(timestamptz, timestamptz, bigint) IS
'Plain rows of history: one per interval with the cluster''s WAL, checkpoint and background writer counters and the fill of pg_stat_statements. Arguments: since and until (default: the last hour), source. Times in milliseconds. NULL is unknown. Errors: 22023.';

-- Findings ----------------------------------------------------------------------------------------

COMMENT ON TABLE perfmon.finding IS
'What is or was wrong, one row for each stretch of time in which a problem stood. Granted to nobody; read perfmon.findings and perfmon.finding_history().';
COMMENT ON TABLE perfmon.threshold IS
'Thresholds that differ from their defaults: read perfmon.thresholds(), change with perfmon.set_threshold().';
COMMENT ON VIEW perfmon.finding_shown IS
'All findings of all sources kept here, open and resolved; the statement to run is shown to members of pg_read_all_stats. Columns as in perfmon.findings.';
COMMENT ON VIEW perfmon.findings IS
'What is wrong in this database now, worst first, as of the last evaluation (perfmon.evaluate(), or the collector at least every pg_perfmon.evaluation_interval).';
COMMENT ON COLUMN perfmon.findings.finding_id IS
'Identity: the same problem has the same id tomorrow (a hash of kind, source, object and subject).';
COMMENT ON COLUMN perfmon.findings.severity IS 'info, warning or critical.';
COMMENT ON COLUMN perfmon.findings.object IS 'What it is about, as the server quotes it: a table, an index, statement 17, setting work_mem, server.';
COMMENT ON COLUMN perfmon.findings.subject IS 'Which part of the object, where it can have several problems of a kind; else empty.';
COMMENT ON COLUMN perfmon.findings.evidence IS
'Array of {metric, value, unit, threshold, samples}: what was measured, the threshold that it crossed (perfmon.thresholds()), and how many executions, scans or intervals stand behind it.';
COMMENT ON COLUMN perfmon.findings.saved_ms_per_hour IS 'Execution time that the remedy would save at most, ms per hour; NULL when unknown.';
COMMENT ON COLUMN perfmon.findings.saved_bytes IS 'Disk space that the remedy would free; NULL when unknown.';
COMMENT ON COLUMN perfmon.findings.outage_at IS 'When the problem becomes an outage at the present pace; NULL when it does not or that is unknown.';
COMMENT ON COLUMN perfmon.findings.share_ratio IS 'Share of the execution time of all top-level statements that the object takes.';
COMMENT ON COLUMN perfmon.findings.statement IS 'What to run; NULL where there is no such statement, or another finding has it, which the remedy names. Nothing here runs it.';
COMMENT ON COLUMN perfmon.findings.effort IS 'low (one statement), medium (a restart, a window, a test) or high (work on the application).';
COMMENT ON COLUMN perfmon.findings.reference IS 'Where the rule or its threshold comes from.';
COMMENT ON COLUMN perfmon.findings.last_seen IS 'Last time it was written; while nothing changes, at most hourly, unless perfmon.evaluate() is called.';
COMMENT ON FUNCTION perfmon.evaluate() IS
'Judges the last hour now, opens, refreshes and resolves findings, and returns the number of open ones; every finding has the numbers of now afterwards. The collector does the same by itself, but writes hourly what stands as it stood. Errors: 55000 when there is no history yet or library and SQL objects differ, 55P03 when another session evaluates for longer than five seconds, 25006 in a read-only transaction.';
COMMENT ON FUNCTION perfmon.finding_history(timestamptz, timestamptz, bigint) IS
'Findings that stood at some time between since and until, by when they were opened; resolved_at is NULL while they are open. Columns as in perfmon.findings. Errors: 22023 for bad arguments.';
COMMENT ON FUNCTION perfmon.thresholds() IS
'All thresholds: the value in force, the default, the range, which detector compares with it, what it decides, and where the default comes from. Units stand at the end of the names.';
COMMENT ON FUNCTION perfmon.set_threshold(text, float8) IS
'Sets a threshold for this database; NULL puts the default back. Takes effect with the next evaluation or report. Errors: 22023 for an unknown name or a value out of range, 25006 in a read-only transaction. Granted to nobody but the owner.';
COMMENT ON FUNCTION perfmon.slow_statements(timestamptz, timestamptz, bigint) IS
'Statements whose mean execution time is over the thresholds, worst first, with what the time went into and the likely cause. read_ms, write_ms, temp_ms and jit_ms are parts of total_exec_ms, other_ms the rest; plan_ms comes on top. NULL where the server does not measure (track_io_timing, pg_stat_statements.track_planning). plan_id, plan_since (when it took the place of another plan, else when it was seen first), plan_heaviest_node, plan_heaviest_cost_ratio and plan_text: of the plans that the statement has in use, the one that took most time, as in plans(); without one plan_note says why, with the line that turns plans on. Errors: 22023 for bad arguments.';
COMMENT ON FUNCTION perfmon.seq_scans(timestamptz, timestamptz, bigint) IS
'Large tables that are read by sequential scans for a few of their rows, and the statements that most likely do it (those whose text looks rows of the table up and that touch at least half of its blocks per execution). trend_ratio is rows read in the second half of the window over the first. wasted_ms is the execution time spent on rows thrown away, an estimate. Scans are as the server counts them: each worker of a parallel scan is one. statement is the index that serves most of that time of the table, or, for a statement that it does not serve, the one that this lacks. Where executions of the statement were looked into (samples, at least 2), what they showed stands for what is likely: rows_read_per_call and rows_kept_per_call of the table, filter_columns, rows_kept and rows_read_per_row_kept; and one that does not scan the table is not told. table_share_ratio: the statement''s part of all rows that sequential scans of the table read, an estimate from the samples. Errors: 22023 for bad arguments.';
COMMENT ON FUNCTION perfmon.rewrite_hints(timestamptz, timestamptz, bigint) IS
'Statements that could be written in a better way, worst first. Arguments: since and until (default: the last hour), source. kind is that of the finding. expression is what is written and better_form what to write instead, both as the server deparses them, with parameters in place of constants; better_form is NULL where an index (statement) or the remedy in words is all. same_meaning: the better form gives the same rows whatever is stored; reason says why, or what to look at first (NULLs, units, rounding). saved_ms_per_hour is an upper bound, NULL where nothing is promised; plan_ms_per_plan is NULL while pg_stat_statements.track_planning is off. Only statements whose text the caller may read, and only where tables are large and the statement takes time (thresholds rewrite_...). Errors: 22023 for bad arguments, 55000 for the history of another database. Source: the server''s parser and analyser, pg_stat_statements, the catalog.';
COMMENT ON FUNCTION perfmon.index_hygiene(bigint) IS
'Indexes that cost more than they give (unused_index over the whole history, duplicate_index, redundant_index, write_heavy_index), are broken (invalid_index, bloated_index) or are lacking (foreign_key_without_index), worst first, as the catalog is now. index_scans are those of the history, which history_days says the length of; saved_bytes is what the remedy frees; statement is what to run, quoted by the server. Never proposes to drop what enforces a constraint, is a replica identity or clusters a table. Errors: 22023 for an unknown source, 55000 for that of another database.';
