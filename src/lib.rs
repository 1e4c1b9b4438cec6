//! pg_perfmon watches a PostgreSQL database from the inside.
//!
//! The rooms and what each must never do are described in `docs/architecture.md`.
#![deny(unsafe_op_in_unsafe_fn)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

#[cfg(not(panic = "unwind"))]
compile_error!("errors pass through Rust frames by unwinding: build with panic = \"unwind\"");

use pgrx::prelude::*;

// Its only callers yet are tests.
mod advise;
mod api;
mod error;
mod judge;
mod pg;
mod probe;
mod recall;
mod settings;
mod store;
mod watch;
mod worker;

pgrx::pg_module_magic!(name, version);

/// The one schema of the extension; made by it, so that nobody else can own it.
#[pg_schema]
mod perfmon {}

extension_sql_file!("../sql/schema/10_source.sql", name = "source", requires = [perfmon]);
extension_sql_file!("../sql/schema/15_machine.sql", name = "machine", requires = ["source"]);
extension_sql_file!("../sql/schema/20_history.sql", name = "history", requires = ["machine"]);
extension_sql_file!("../sql/schema/30_dictionary.sql", name = "dictionary", requires = ["history"]);
extension_sql_file!("../sql/schema/40_prior.sql", name = "prior", requires = ["dictionary"]);
extension_sql_file!("../sql/schema/45_setting.sql", name = "setting", requires = ["prior"]);
extension_sql_file!("../sql/schema/46_finding.sql", name = "finding", requires = ["setting"]);
extension_sql_file!(
    "../sql/schema/47_seen_object.sql",
    name = "seen_object",
    requires = ["finding"]
);
extension_sql_file!(
    "../sql/schema/48_objective.sql",
    name = "objective",
    requires = ["seen_object"]
);
extension_sql_file!("../sql/schema/48_pool.sql", name = "pool", requires = ["objective"]);
extension_sql_file!("../sql/schema/49_plan.sql", name = "plan", requires = ["pool"]);
extension_sql_file!("../sql/schema/50_views.sql", name = "views", requires = ["plan"]);
extension_sql_file!("../sql/schema/55_session.sql", name = "session", requires = ["views"]);
extension_sql_file!(
    "../sql/schema/91_comments.sql",
    name = "comments",
    requires = [
        "session",
        activity,
        assert_run,
        assert_slo,
        begin_run,
        blocking,
        blocking_now,
        changes,
        commands,
        compare_runs,
        create_slo,
        database_history,
        disk_history,
        disk_series,
        host_history,
        host_series,
        host_status,
        databases,
        declare_pool,
        drop_pool,
        deadlocks,
        drop_slo,
        end_run,
        error_series,
        errors,
        errors_since_start,
        cluster_history,
        failure_history,
        evaluate,
        finding_history,
        gaps,
        grant_reader,
        idle_in_transaction,
        index_history,
        index_hygiene,
        intervals,
        io_history,
        latency_heatmap,
        latency_histogram,
        latency_since_start,
        load_series,
        long_transactions,
        mark_change,
        pgbouncer_validator,
        plan_flips,
        plans,
        pooler_clients,
        pooler_history,
        pooler_pools,
        pool_activity,
        pool_history,
        pool_saturation,
        pool_size_advice,
        predicates,
        process_limits,
        relation_history,
        report,
        revoke_reader,
        rewrite_hints,
        route_history,
        routes,
        run_report,
        scans_since_start,
        scan_evidence,
        scan_history,
        seq_scans,
        server_history,
        session_history,
        recent_activity,
        top_waits,
        wait_history,
        why_queued,
        xmin_horizon,
        set_threshold,
        slo_status,
        slow_statements,
        snapshot,
        statement_history,
        statement_series,
        status,
        tables,
        thresholds,
        top_statements,
    ]
);
extension_sql_file!("../sql/schema/90_access.sql", name = "access", finalize);

/// Called by the server when the library is loaded, preloaded or not.
#[allow(non_snake_case)]
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    error::without_traces();
    settings::define();
    worker::init();
    watch::init();
}

/// Set-up of the server that `cargo pgrx test` starts.
#[cfg(test)]
pub mod pg_test {
    /// Nothing to prepare.
    pub fn setup(_options: Vec<&str>) {}

    /// Settings of the test server.
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![
            "shared_preload_libraries = 'pg_stat_statements,pg_perfmon'",
            // The tests write history themselves.
            "pg_perfmon.enabled = off",
        ]
    }
}
