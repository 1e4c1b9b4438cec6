-- The absolute counters as last read, one row per family, replaced by every snapshot. Unlogged: no
-- WAL, kept by a clean restart, emptied by a crash, exactly like the counters themselves. The collector
-- bounds it by truncation, so autovacuum has nothing to do here. Never dumped.
CREATE UNLOGGED TABLE perfmon.prior (
    subject pg_catalog.text PRIMARY KEY,
    payload pg_catalog.bytea NOT NULL
) WITH (autovacuum_enabled = off, toast.autovacuum_enabled = off);
ALTER TABLE perfmon.prior ALTER COLUMN payload SET STORAGE EXTERNAL;

-- Housekeeping's own notes (a drop that readers hold up, how far a clean-up got). Never dumped.
CREATE TABLE perfmon.chore (
    name pg_catalog.text PRIMARY KEY,
    at pg_catalog.timestamptz NOT NULL,
    since pg_catalog.timestamptz,
    detail pg_catalog.text
);
