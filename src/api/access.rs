//! Who may read: gives a role the numbers without the statements' texts, and takes them back. What a
//! reader gets is what pg_monitor was given, so that the list is kept in one place, but for what
//! writes.

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::rows::Cell;
use crate::error::Error;
use crate::recall::query::{self, Arg};
use crate::recall::words::Raw;
use crate::store;

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.grant_reader(role text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn grant_reader(role: Option<Vec<u8>>) -> Result<(), ErrorReport> {
    Ok(apply(role.map(Raw), "GRANT")?)
}

#[pg_extern(
    schema = "perfmon",
    sql = r#"
CREATE FUNCTION perfmon.revoke_reader(role text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#
)]
fn revoke_reader(role: Option<Vec<u8>>) -> Result<(), ErrorReport> {
    Ok(apply(role.map(Raw), "REVOKE")?)
}

/// What pg_monitor was given, as statements that give or take the same for another role.
const STATEMENTS: &str = "
    WITH member (classid, objid) AS (
        SELECT d.classid, d.objid
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e
            ON e.oid OPERATOR(pg_catalog.=) d.refobjid
            AND e.extname OPERATOR(pg_catalog.=) 'pg_perfmon'
        WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
            AND d.deptype OPERATOR(pg_catalog.=) 'e'
    ), target (what, acl) AS (
        SELECT pg_catalog.format('SCHEMA %I', n.nspname), n.nspacl
        FROM pg_catalog.pg_namespace n
        WHERE n.oid OPERATOR(pg_catalog.=) 'perfmon'::pg_catalog.regnamespace
        UNION ALL
        SELECT pg_catalog.format('TABLE perfmon.%I', c.relname), c.relacl
        FROM pg_catalog.pg_class c
        JOIN member m ON m.objid OPERATOR(pg_catalog.=) c.oid
            AND m.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
        UNION ALL
        SELECT pg_catalog.format('FUNCTION perfmon.%I(%s)', p.proname,
                   pg_catalog.pg_get_function_identity_arguments(p.oid)), p.proacl
        FROM pg_catalog.pg_proc p
        JOIN member m ON m.objid OPERATOR(pg_catalog.=) p.oid
            AND m.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
        WHERE p.proname OPERATOR(pg_catalog.<>) ALL (ARRAY[
            'snapshot', 'evaluate', 'mark_change', 'create_slo', 'drop_slo', 'declare_pool', 'drop_pool',
            'begin_run', 'end_run'])
    )
    SELECT CASE $2
        WHEN 'GRANT' THEN
            pg_catalog.format('GRANT %s ON %s TO %I', a.privilege_type, t.what, $1)
        ELSE pg_catalog.format('REVOKE %s ON %s FROM %I', a.privilege_type, t.what, $1)
        END
    FROM target t, LATERAL pg_catalog.aclexplode(t.acl) a
    WHERE a.grantee OPERATOR(pg_catalog.=) 'pg_monitor'::pg_catalog.regrole::pg_catalog.oid
    ORDER BY t.what";

/// The role that the extension's own script gives everything that a reader needs.
const MONITOR: &str = "pg_monitor";

fn apply(role: Option<Raw>, verb: &str) -> Result<(), Error> {
    const HINT: &str =
        "Give the role's name as it is written in pg_roles; PUBLIC is never given anything.";
    let Some(role) = role else {
        return Err(Error::argument("no role is named").detail("\"role\" is NULL.").hint(HINT));
    };
    let name = role.show();
    must_own()?;
    let known = query::value(
        "SELECT true FROM pg_catalog.pg_roles r
         WHERE r.rolname OPERATOR(pg_catalog.=) $1::pg_catalog.name",
        &[text(role.clone())],
    )?;
    if known == Cell::Null {
        return Err(Error::argument("unknown role")
            .detail(format!("There is no role \"{name}\"."))
            .hint(HINT));
    }
    if verb == "REVOKE" && name == MONITOR {
        return Err(Error::argument("pg_monitor keeps what the extension gives it")
            .detail("What a reader is given is what pg_monitor has.")
            .hint("Revoke pg_monitor from the roles that should not read."));
    }
    // A snapshot may be attaching tables, which touches the same catalog rows: one after the other.
    store::prior::lock(true);
    for row in query::rows(STATEMENTS, &[text(role.clone()), text(Raw::from(verb))])? {
        if let Some(Cell::Text(statement)) = row.into_iter().next() {
            run(statement)?;
        }
    }
    // A snapshot that attaches the first table to one of those whose rows of the catalog were changed here comes after this
    // transaction. Others, all but the first as a rule, need not wait for its end.
    if store::history::are_tables_expected() {
        store::prior::unlock();
    }
    Ok(())
}

/// GRANT by others than the owner only warns: say it as an error, and before anything is done.
fn must_own() -> Result<(), Error> {
    let owner = query::value(
        "SELECT pg_catalog.pg_has_role(e.extowner, 'USAGE')
         FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'pg_perfmon'",
        &[],
    )?;
    if owner == Cell::Bool(true) {
        return Ok(());
    }
    Err(Error::privilege("only the owner of pg_perfmon may say who reads")
        .detail("The history shows what all users of this database do.")
        .hint("Ask a superuser, or the role that installed the extension."))
}

fn text<'a>(raw: Raw) -> Arg<'a> {
    // SAFETY: text and bytea have the same representation; the bytes came from this database.
    unsafe { Arg::new(raw.0, pg_sys::TEXTOID) }
}

/// Runs one statement made by the server's own format().
fn run(statement: Raw) -> Result<(), Error> {
    let Ok(statement) = std::ffi::CString::new(statement.0) else {
        return Err(Error::internal("a statement holds a zero byte"));
    };
    Spi::connect_mut(|_client| {
        // SAFETY: connected to SPI; a C string that outlives the call, in the server's encoding.
        let code = unsafe { pg_sys::SPI_execute(statement.as_ptr(), false, 0) };
        if code < 0 {
            return Err(Error::internal(format!("could not run a statement: {code}")));
        }
        Ok(())
    })
}
