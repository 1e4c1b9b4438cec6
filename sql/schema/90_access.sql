-- Who may do what. PUBLIC gets nothing; pg_monitor reads everything (it includes pg_read_all_stats, and
-- so the texts); perfmon.grant_reader() gives a role what pg_monitor has here, but for what writes. The
-- dictionaries of statements are granted to nobody: the view perfmon.statement masks them.

REVOKE ALL ON SCHEMA perfmon FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA perfmon FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA perfmon FROM PUBLIC;

GRANT USAGE ON SCHEMA perfmon TO pg_monitor;

GRANT SELECT ON
    perfmon.source_info, perfmon.own_source, perfmon.gap, perfmon.change, perfmon.object, perfmon.chore,
    perfmon.statement_minute, perfmon.statement_hour, perfmon.statement_day,
    perfmon.latency_minute, perfmon.latency_hour, perfmon.latency_day,
    perfmon.relation_minute, perfmon.relation_hour, perfmon.relation_day,
    perfmon.index_minute, perfmon.index_hour, perfmon.index_day,
    perfmon.database_minute, perfmon.database_hour, perfmon.database_day,
    perfmon.io_minute, perfmon.io_hour, perfmon.io_day,
    perfmon.failure_minute, perfmon.failure_hour, perfmon.failure_day,
    perfmon.route_minute, perfmon.route_hour, perfmon.route_day,
    perfmon.cluster_minute, perfmon.cluster_hour, perfmon.cluster_day,
    perfmon.host_minute, perfmon.host_hour, perfmon.host_day,
    perfmon.disk_minute, perfmon.disk_hour, perfmon.disk_day,
    perfmon.pooler_minute, perfmon.pooler_hour, perfmon.pooler_day,
    perfmon.scan_minute, perfmon.scan_hour, perfmon.scan_day,
    perfmon.server_minute, perfmon.server_hour, perfmon.server_day,
    perfmon.statement, perfmon.statement_alias, perfmon.statement_missing,
    perfmon.threshold, perfmon.slo, perfmon.run, perfmon.finding_shown, perfmon.findings,
    perfmon.plan_shown, perfmon.plan_flip
TO pg_monitor;

GRANT EXECUTE ON FUNCTION
    perfmon.snapshot(),
    perfmon.evaluate(),
    perfmon.thresholds(),
    perfmon.finding_history(timestamptz, timestamptz, bigint),
    perfmon.slow_statements(timestamptz, timestamptz, bigint),
    perfmon.index_hygiene(bigint),
    perfmon.seq_scans(timestamptz, timestamptz, bigint),
    perfmon.rewrite_hints(timestamptz, timestamptz, bigint),
    perfmon.scan_evidence(timestamptz, timestamptz, bigint),
    perfmon.predicates(timestamptz, timestamptz, bigint),
    perfmon.mark_change(text, text),
    perfmon.plans(int, bigint),
    perfmon.plan_flips(timestamptz, timestamptz, bigint),
    perfmon.create_slo(
        text, float8, float8, float8, float8, float8, float8, float8, text, text, text, int, bool, bigint,
        interval, text),
    perfmon.drop_slo(text),
    perfmon.slo_status(timestamptz, timestamptz, bigint),
    perfmon.assert_slo(text, timestamptz, timestamptz, bigint),
    perfmon.begin_run(text, text),
    perfmon.end_run(text),
    perfmon.run_report(text, text, text),
    perfmon.compare_runs(text, text),
    perfmon.status(),
    perfmon.latency_since_start(),
    perfmon.errors_since_start(),
    perfmon.scans_since_start(),
    perfmon.errors(timestamptz, timestamptz, bigint),
    perfmon.error_series(timestamptz, timestamptz, interval, bigint),
    perfmon.routes(timestamptz, timestamptz, bigint),
    perfmon.report(timestamptz, timestamptz, text, bigint),
    perfmon.top_statements(timestamptz, timestamptz, text, int, bigint),
    perfmon.statement_series(int, timestamptz, timestamptz, interval, bigint),
    perfmon.load_series(timestamptz, timestamptz, interval, bigint),
    perfmon.latency_histogram(int, timestamptz, timestamptz, bigint),
    perfmon.latency_heatmap(timestamptz, timestamptz, interval, int, bigint),
    perfmon.commands(timestamptz, timestamptz, bigint),
    perfmon.tables(timestamptz, timestamptz, bigint),
    perfmon.databases(timestamptz, timestamptz, bigint),
    perfmon.intervals(timestamptz, timestamptz, bigint),
    perfmon.gaps(timestamptz, timestamptz, bigint),
    perfmon.changes(timestamptz, timestamptz, bigint),
    perfmon.statement_history(timestamptz, timestamptz, bigint),
    perfmon.relation_history(timestamptz, timestamptz, bigint),
    perfmon.index_history(timestamptz, timestamptz, bigint),
    perfmon.database_history(timestamptz, timestamptz, bigint),
    perfmon.io_history(timestamptz, timestamptz, bigint),
    perfmon.failure_history(timestamptz, timestamptz, bigint),
    perfmon.route_history(timestamptz, timestamptz, bigint),
    perfmon.cluster_history(timestamptz, timestamptz, bigint),
    perfmon.host_status(),
    perfmon.host_series(timestamptz, timestamptz, interval, bigint),
    perfmon.disk_series(timestamptz, timestamptz, interval, bigint),
    perfmon.host_history(timestamptz, timestamptz, bigint),
    perfmon.disk_history(timestamptz, timestamptz, bigint),
    perfmon.pooler_clients(),
    perfmon.pooler_pools(timestamptz, timestamptz, bigint),
    perfmon.pooler_history(timestamptz, timestamptz, bigint),
    perfmon.scan_history(timestamptz, timestamptz, bigint),
    perfmon.server_history(timestamptz, timestamptz, bigint)
TO pg_monitor;
