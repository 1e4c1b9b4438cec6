//! Tests of what the server says about itself.

#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use perfmon_core::facts::{HolderKind, Server};
    use pgrx::prelude::*;

    use crate::probe::environment::{environment, shown};

    fn run(sql: &str) {
        Spi::run(sql).unwrap();
    }

    fn one<T: FromDatum + IntoDatum>(sql: &str) -> Option<T> {
        Spi::connect(|c| c.select(sql, None, &[]).unwrap().first().get_one::<T>().unwrap())
    }

    fn has_transaction_id() -> bool {
        one::<bool>("SELECT pg_current_xact_id_if_assigned() IS NOT NULL").unwrap()
    }

    /// What is seen as a role, which has to exist.
    fn seen_by(role: &str) -> Server {
        one::<String>(&format!("SELECT set_config('role', '{role}', true)"));
        let server = environment().unwrap();
        one::<String>("SELECT set_config('role', 'none', true)");
        server
    }

    #[pg_test]
    fn environment_is_what_the_server_says() {
        let server = seen_by("pg_monitor");
        assert!(!has_transaction_id());
        assert_eq!(Some(server.version.clone()), one("SELECT current_setting('server_version')"));
        let major = one::<i32>("SELECT current_setting('server_version_num')::int / 10000");
        assert_eq!(Some(server.major as i32), major);
        let block = one::<i64>("SELECT current_setting('block_size')::bigint");
        assert_eq!((Some(server.block_bytes), server.in_recovery), (block, false));
        assert_eq!(server.checksums, one("SELECT current_setting('data_checksums')::bool"));
        let started = "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";
        assert_eq!(Some(server.started_us), one(started));
        let extensions = one::<i64>("SELECT count(*) FROM pg_extension");
        assert_eq!(Some(server.extensions.len() as i64), extensions);
        assert!(server.extensions.iter().any(|(name, _)| name == "pg_perfmon"));
        assert!(server.available_extensions.iter().any(|name| name == "plpgsql"));
        assert!(server.memory_bytes.unwrap() > 64 << 20 && server.cpus.unwrap() > 0);
        assert_eq!(server.standbys, Some(0));
        let horizon = server.horizon.unwrap();
        let age = one::<i64>("SELECT max(age(datfrozenxid))::bigint FROM pg_database");
        assert_eq!(Some(horizon.xid_age), age);
        let age = one::<i64>("SELECT max(mxid_age(datminmxid))::bigint FROM pg_database");
        assert_eq!(Some(horizon.mxid_age), age);
        assert!(!horizon.database.is_empty() && !horizon.mxid_database.is_empty());
    }

    #[pg_test]
    fn settings_are_those_of_a_new_session() {
        let before = one::<String>("SELECT reset_val FROM pg_settings WHERE name = 'work_mem'");
        run("SET work_mem = '77MB'");
        run("SET enable_seqscan = off");
        let server = seen_by("pg_monitor");
        let work_mem = server.setting("work_mem").unwrap();
        assert_eq!(work_mem.number, before.unwrap().parse().ok());
        assert_eq!((work_mem.unit.as_deref(), work_mem.needs_restart), (Some("kB"), false));
        assert_eq!(server.bytes("work_mem"), Some(4_194_304.0));
        assert_eq!(server.is_on("enable_seqscan"), Some(true));
        assert!(!server.setting("enable_seqscan").unwrap().is_set);
        let buffers = server.setting("shared_buffers").unwrap();
        assert!(buffers.needs_restart && !buffers.pending_restart);
        assert_eq!(Some(buffers.shown.clone()), one("SELECT current_setting('shared_buffers')"));
        let bytes = "SELECT pg_size_bytes(current_setting('shared_buffers'))";
        assert_eq!(server.bytes("shared_buffers").map(|b| b as i64), one(bytes));
        let cost = server.setting("random_page_cost").unwrap();
        assert_eq!((cost.number, cost.shown.as_str()), (Some(4.0), "4"));
        let libraries = server.setting("shared_preload_libraries").unwrap();
        assert!(libraries.is_set && libraries.shown.contains("pg_perfmon"));
        assert!(server.setting("pg_stat_statements.max").unwrap().needs_restart);
        assert_eq!(shown("16384", Some("8kB")), "131072kB");
        assert_eq!(shown("-1", Some("kB")), "-1");
        assert_eq!(shown("300", Some("s")), "300s");
        assert_eq!(shown("top", None), "top");
    }

    #[pg_test]
    fn an_ordinary_role_sees_what_it_may() {
        run("CREATE ROLE environment_reader");
        let server = seen_by("environment_reader");
        assert_eq!(server.holders, None, "sessions of others are hidden from it");
        assert_eq!(server.setting("shared_preload_libraries"), None);
        assert_eq!(
            server.number("max_connections").map(|n| n as i64),
            one("SELECT current_setting('max_connections')::bigint")
        );
        assert!(server.slots.is_some() && server.horizon.is_some());
        assert!(server.memory_bytes.is_some() && !server.available_extensions.is_empty());
    }

    #[pg_test]
    fn slots_and_who_will_come_back() {
        run("SELECT pg_create_physical_replication_slot('environment_away', true)");
        run("SELECT pg_create_physical_replication_slot('environment_new')");
        let server = seen_by("pg_monitor");
        run("SELECT pg_drop_replication_slot('environment_away')");
        run("SELECT pg_drop_replication_slot('environment_new')");
        let slots = server.slots.unwrap();
        let slot = |name: &str| slots.iter().find(|s| s.name == name).unwrap();
        assert!(!slot("environment_away").active);
        assert!(slot("environment_away").retained_bytes.is_some_and(|bytes| bytes >= 0));
        assert_eq!(slot("environment_new").retained_bytes, None, "it keeps nothing");
        assert_eq!(server.standbys, Some(1));
        // Neither holds rows, and this session does not count itself.
        assert!(server.holders.unwrap().iter().all(|h| h.kind != HolderKind::Slot));
    }
}
