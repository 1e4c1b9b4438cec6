-- History: one row per interval and family, one packed column per counter.
--
-- A row covers (since, until]. Of a packed column, NULL means all zero where the column's bit in
-- "known" is set, and unknown where it is not. The parents are partitioned by source and hold no key:
-- below them, tables made at run time per source are partitioned by time and carry the keys. That is
-- the layout that pg_dump can restore beside live rows. Columns of a released parent never change;
-- later counters go into "more". Packing: crates/perfmon-core; names and order: its module "family".

-- pg_stat_statements: one entry per (user, queryid, toplevel) of this database. Times in microseconds.
CREATE TABLE perfmon.statement_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    total_calls pg_catalog.int8,
    total_exec_us pg_catalog.int8,
    total_rows pg_catalog.int8,
    total_blks_read pg_catalog.int8,
    total_wal_bytes pg_catalog.int8,
    nested_exec_us pg_catalog.int8,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    calls pg_catalog.bytea,
    exec_us pg_catalog.bytea,
    exec_sq pg_catalog.bytea,
    rows pg_catalog.bytea,
    plans pg_catalog.bytea,
    plan_us pg_catalog.bytea,
    shared_blks_hit pg_catalog.bytea,
    shared_blks_read pg_catalog.bytea,
    shared_blks_dirtied pg_catalog.bytea,
    shared_blks_written pg_catalog.bytea,
    local_blks_hit pg_catalog.bytea,
    local_blks_read pg_catalog.bytea,
    local_blks_dirtied pg_catalog.bytea,
    local_blks_written pg_catalog.bytea,
    temp_blks_read pg_catalog.bytea,
    temp_blks_written pg_catalog.bytea,
    shared_blk_read_us pg_catalog.bytea,
    shared_blk_write_us pg_catalog.bytea,
    local_blk_read_us pg_catalog.bytea,
    local_blk_write_us pg_catalog.bytea,
    temp_blk_read_us pg_catalog.bytea,
    temp_blk_write_us pg_catalog.bytea,
    wal_records pg_catalog.bytea,
    wal_fpi pg_catalog.bytea,
    wal_bytes pg_catalog.bytea,
    wal_buffers_full pg_catalog.bytea,
    jit_functions pg_catalog.bytea,
    jit_generation_us pg_catalog.bytea,
    jit_inlining_count pg_catalog.bytea,
    jit_inlining_us pg_catalog.bytea,
    jit_optimization_count pg_catalog.bytea,
    jit_optimization_us pg_catalog.bytea,
    jit_emission_count pg_catalog.bytea,
    jit_emission_us pg_catalog.bytea,
    jit_deform_count pg_catalog.bytea,
    jit_deform_us pg_catalog.bytea,
    parallel_workers_to_launch pg_catalog.bytea,
    parallel_workers_launched pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Execution times as the hooks counted them, by the ids of the statements' dictionary. "histograms" holds packed
-- histograms in pieces of as many bytes as "lengths" says, so that one is fetched with few of the others;
-- "overall" is the sum of all that clients sent.
CREATE TABLE perfmon.latency_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    total_calls pg_catalog.int8,
    nested_calls pg_catalog.int8,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    lengths pg_catalog.bytea,
    histograms pg_catalog.bytea,
    overall pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Tables and materialized views, their TOAST tables folded in.
CREATE TABLE perfmon.relation_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    seq_scan pg_catalog.bytea,
    seq_tup_read pg_catalog.bytea,
    idx_scan pg_catalog.bytea,
    idx_tup_fetch pg_catalog.bytea,
    n_tup_ins pg_catalog.bytea,
    n_tup_upd pg_catalog.bytea,
    n_tup_del pg_catalog.bytea,
    n_tup_hot_upd pg_catalog.bytea,
    n_tup_newpage_upd pg_catalog.bytea,
    n_live_tup pg_catalog.bytea,
    n_dead_tup pg_catalog.bytea,
    n_mod_since_analyze pg_catalog.bytea,
    n_ins_since_vacuum pg_catalog.bytea,
    vacuum_count pg_catalog.bytea,
    autovacuum_count pg_catalog.bytea,
    analyze_count pg_catalog.bytea,
    autoanalyze_count pg_catalog.bytea,
    vacuum_us pg_catalog.bytea,
    autovacuum_us pg_catalog.bytea,
    analyze_us pg_catalog.bytea,
    autoanalyze_us pg_catalog.bytea,
    heap_blks_read pg_catalog.bytea,
    heap_blks_hit pg_catalog.bytea,
    idx_blks_read pg_catalog.bytea,
    idx_blks_hit pg_catalog.bytea,
    toast_blks_read pg_catalog.bytea,
    toast_blks_hit pg_catalog.bytea,
    tidx_blks_read pg_catalog.bytea,
    tidx_blks_hit pg_catalog.bytea,
    table_bytes pg_catalog.bytea,
    toast_bytes pg_catalog.bytea,
    index_bytes pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Indexes.
CREATE TABLE perfmon.index_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    idx_scan pg_catalog.bytea,
    idx_tup_read pg_catalog.bytea,
    idx_tup_fetch pg_catalog.bytea,
    idx_blks_read pg_catalog.bytea,
    idx_blks_hit pg_catalog.bytea,
    index_bytes pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- pg_stat_database: this database, in the home database all of them.
CREATE TABLE perfmon.database_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    numbackends pg_catalog.bytea,
    xact_commit pg_catalog.bytea,
    xact_rollback pg_catalog.bytea,
    blks_read pg_catalog.bytea,
    blks_hit pg_catalog.bytea,
    tup_returned pg_catalog.bytea,
    tup_fetched pg_catalog.bytea,
    tup_inserted pg_catalog.bytea,
    tup_updated pg_catalog.bytea,
    tup_deleted pg_catalog.bytea,
    conflicts pg_catalog.bytea,
    temp_files pg_catalog.bytea,
    temp_bytes pg_catalog.bytea,
    deadlocks pg_catalog.bytea,
    checksum_failures pg_catalog.bytea,
    blk_read_us pg_catalog.bytea,
    blk_write_us pg_catalog.bytea,
    session_us pg_catalog.bytea,
    active_us pg_catalog.bytea,
    idle_in_transaction_us pg_catalog.bytea,
    sessions pg_catalog.bytea,
    sessions_abandoned pg_catalog.bytea,
    sessions_fatal pg_catalog.bytea,
    sessions_killed pg_catalog.bytea,
    parallel_workers_to_launch pg_catalog.bytea,
    parallel_workers_launched pg_catalog.bytea,
    database_bytes pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- pg_stat_io by (backend type, object, context); filled in the home database only.
CREATE TABLE perfmon.io_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    reads pg_catalog.bytea,
    read_bytes pg_catalog.bytea,
    read_us pg_catalog.bytea,
    writes pg_catalog.bytea,
    write_bytes pg_catalog.bytea,
    write_us pg_catalog.bytea,
    writebacks pg_catalog.bytea,
    writeback_us pg_catalog.bytea,
    extends pg_catalog.bytea,
    extend_bytes pg_catalog.bytea,
    extend_us pg_catalog.bytea,
    hits pg_catalog.bytea,
    evictions pg_catalog.bytea,
    reuses pg_catalog.bytea,
    fsyncs pg_catalog.bytea,
    fsync_us pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Failures by (user, statement or table, class and SQLSTATE), counted by the hooks.
CREATE TABLE perfmon.failure_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    executions pg_catalog.int8,
    errors pg_catalog.int8,
    cancelled pg_catalog.int8,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    failures pg_catalog.bytea,
    lost_us pg_catalog.bytea,
    last_s pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Statements and transactions by (application, user, route) and bucket of their time, counted by the hooks.
CREATE TABLE perfmon.route_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    statements pg_catalog.bytea,
    transactions pg_catalog.bytea,
    errors pg_catalog.bytea,
    cancelled pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- What plans did in the executions that were looked into, by (statement, table, node and its conditions), counted by
-- the hooks.
CREATE TABLE perfmon.scan_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    executions pg_catalog.bytea,
    loops pg_catalog.bytea,
    rows_read pg_catalog.bytea,
    rows_kept pg_catalog.bytea,
    rows_estimated pg_catalog.bytea,
    spills pg_catalog.bytea,
    spilled_bytes pg_catalog.bytea,
    outer_rows pg_catalog.bytea,
    outer_rows_estimated pg_catalog.bytea,
    misestimates pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- What clients of all databases executed, by bucket of its time, counted by the hooks; in the home database only.
CREATE TABLE perfmon.cluster_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    cached pg_catalog.bytea,
    read pg_catalog.bytea,
    executions pg_catalog.bytea,
    errors pg_catalog.bytea,
    cancelled pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Processes by what they are for, do and wait for, summed over samples; in the home database only.
CREATE TABLE perfmon.session_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    samples pg_catalog.int8,
    sampled_us pg_catalog.int8,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    sessions pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Sessions at work by statement, state and wait, summed over samples; in the home database only.
CREATE TABLE perfmon.wait_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    samples pg_catalog.int8,
    sampled_us pg_catalog.int8,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    sessions pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Clients' sessions by pool, database and user, and by how many there were: samples, sums over samples, peaks; in the
-- home database only.
CREATE TABLE perfmon.pool_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    samples pg_catalog.int8,
    sampled_us pg_catalog.int8,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    open_samples pg_catalog.bytea,
    busy_samples pg_catalog.bytea,
    active_samples pg_catalog.bytea,
    idle_samples pg_catalog.bytea,
    in_transaction_samples pg_catalog.bytea,
    active pg_catalog.bytea,
    idle pg_catalog.bytea,
    in_transaction pg_catalog.bytea,
    aborted pg_catalog.bytea,
    fastpath pg_catalog.bytea,
    disabled pg_catalog.bytea,
    starting pg_catalog.bytea,
    on_cpu pg_catalog.bytea,
    on_lock pg_catalog.bytea,
    on_client pg_catalog.bytea,
    on_io pg_catalog.bytea,
    opened pg_catalog.bytea,
    open_peak pg_catalog.bytea,
    busy_peak pg_catalog.bytea,
    active_peak pg_catalog.bytea,
    idle_peak pg_catalog.bytea,
    in_transaction_peak pg_catalog.bytea,
    on_lock_peak pg_catalog.bytea,
    more pg_catalog.bytea,
    load_samples pg_catalog.bytea
) PARTITION BY LIST (source);

-- Cluster totals and what pg_perfmon itself cost; one row per snapshot, so the list of intervals.
CREATE TABLE perfmon.server_minute (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    length_us pg_catalog.int8 NOT NULL,
    quiet_us pg_catalog.int8 NOT NULL,
    quality pg_catalog.int2 NOT NULL,
    flags pg_catalog.int2 NOT NULL,
    n pg_catalog.int4 NOT NULL,
    known pg_catalog.int8 NOT NULL,
    snapshots pg_catalog.int8,
    visit_cpu_us pg_catalog.int8,
    visit_wall_us pg_catalog.int8,
    visit_wal_bytes pg_catalog.int8,
    stored_bytes pg_catalog.int8,
    active_us pg_catalog.int8,
    covered_exec_us pg_catalog.int8,
    ids pg_catalog.bytea,
    qualities pg_catalog.bytea,
    wal_records pg_catalog.bytea,
    wal_fpi pg_catalog.bytea,
    wal_bytes pg_catalog.bytea,
    wal_buffers_full pg_catalog.bytea,
    wal_write pg_catalog.bytea,
    wal_sync pg_catalog.bytea,
    wal_write_us pg_catalog.bytea,
    wal_sync_us pg_catalog.bytea,
    checkpoints_timed pg_catalog.bytea,
    checkpoints_req pg_catalog.bytea,
    checkpoints_done pg_catalog.bytea,
    restartpoints_timed pg_catalog.bytea,
    restartpoints_req pg_catalog.bytea,
    restartpoints_done pg_catalog.bytea,
    checkpoint_write_us pg_catalog.bytea,
    checkpoint_sync_us pg_catalog.bytea,
    buffers_checkpoint pg_catalog.bytea,
    slru_written pg_catalog.bytea,
    buffers_clean pg_catalog.bytea,
    maxwritten_clean pg_catalog.bytea,
    buffers_backend pg_catalog.bytea,
    buffers_backend_fsync pg_catalog.bytea,
    buffers_alloc pg_catalog.bytea,
    statement_deallocs pg_catalog.bytea,
    statements_vanished pg_catalog.bytea,
    statement_entries pg_catalog.bytea,
    statement_capacity pg_catalog.bytea,
    more pg_catalog.bytea
) PARTITION BY LIST (source);

-- Packed bytes do not compress further: EXTERNAL keeps the server from trying. Hours and days are
-- like minutes.
DO $$
DECLARE
    family pg_catalog.text;
    level pg_catalog.text;
    packed pg_catalog.name;
BEGIN
    FOREACH family IN ARRAY ARRAY[
        'statement', 'latency', 'relation', 'index', 'database', 'io', 'failure', 'route', 'scan',
        'cluster', 'host', 'disk', 'pooler', 'session', 'wait', 'pool', 'server'] LOOP
        FOR packed IN
            SELECT a.attname
            FROM pg_catalog.pg_attribute a
            WHERE a.attrelid OPERATOR(pg_catalog.=)
                    pg_catalog.format('perfmon.%I', pg_catalog.concat(family, '_minute'))::pg_catalog.regclass
                AND a.atttypid OPERATOR(pg_catalog.=) 'pg_catalog.bytea'::pg_catalog.regtype
            ORDER BY a.attnum
        LOOP
            EXECUTE pg_catalog.format('ALTER TABLE perfmon.%I ALTER COLUMN %I SET STORAGE EXTERNAL',
                pg_catalog.concat(family, '_minute'), packed);
        END LOOP;
        FOREACH level IN ARRAY ARRAY['_hour', '_day'] LOOP
            EXECUTE pg_catalog.format(
                'CREATE TABLE perfmon.%I (LIKE perfmon.%I INCLUDING ALL) PARTITION BY LIST (source)',
                pg_catalog.concat(family, level), pg_catalog.concat(family, '_minute'));
        END LOOP;
        FOREACH level IN ARRAY ARRAY['_minute', '_hour', '_day'] LOOP
            PERFORM pg_catalog.pg_extension_config_dump(
                pg_catalog.format('perfmon.%I', pg_catalog.concat(family, level))::pg_catalog.regclass, '');
        END LOOP;
    END LOOP;
END
$$;
