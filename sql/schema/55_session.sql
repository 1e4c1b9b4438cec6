-- Waits for locks as samples saw them, a row for each session that waited and each that was in its way. "seen" is
-- when the wait was seen last, "ended" when it was first seen no more; until then it is NULL. Kept by the home
-- database for all of the server, and by every other one for its own sessions, whose relations only it can name. Names
-- instead of oids; no texts. "gid" is what a prepared transaction is called, which has no process (0).
CREATE TABLE perfmon.lock_wait (
    source pg_catalog.int8 NOT NULL,
    began pg_catalog.timestamptz NOT NULL,
    process_id pg_catalog.int4 NOT NULL,
    blocker_process_id pg_catalog.int4 NOT NULL,
    seen pg_catalog.timestamptz NOT NULL,
    ended pg_catalog.timestamptz,
    database_name pg_catalog.text NOT NULL,
    user_name pg_catalog.text NOT NULL,
    application pg_catalog.text NOT NULL,
    queryid pg_catalog.int8 NOT NULL,
    lock_type pg_catalog.text NOT NULL,
    relation_name pg_catalog.text,
    lock_mode pg_catalog.text,
    held_mode pg_catalog.text,
    blocker_database_name pg_catalog.text NOT NULL,
    blocker_user_name pg_catalog.text NOT NULL,
    blocker_application pg_catalog.text NOT NULL,
    blocker_state pg_catalog.text NOT NULL,
    blocker_queryid pg_catalog.int8 NOT NULL,
    head_process_id pg_catalog.int4 NOT NULL,
    head_database_name pg_catalog.text NOT NULL,
    head_user_name pg_catalog.text NOT NULL,
    head_application pg_catalog.text NOT NULL,
    head_state pg_catalog.text NOT NULL,
    head_queryid pg_catalog.int8 NOT NULL,
    head_transaction_began pg_catalog.timestamptz,
    chain_depth pg_catalog.int4 NOT NULL,
    blocker_gid pg_catalog.text,
    head_gid pg_catalog.text,
    PRIMARY KEY (source, began, process_id, blocker_process_id)
);
SELECT pg_catalog.pg_extension_config_dump('perfmon.lock_wait'::pg_catalog.regclass, '');
-- Those that go on are asked for at each snapshot, and are few.
CREATE INDEX lock_wait_open ON perfmon.lock_wait (source) WHERE ended IS NULL;

-- Deadlocks, a row for each session that took part; member 0 is the one that the server ended. "number" counts
-- deadlocks since the server started.
CREATE TABLE perfmon.deadlock (
    source pg_catalog.int8 NOT NULL,
    at pg_catalog.timestamptz NOT NULL,
    number pg_catalog.int8 NOT NULL,
    member pg_catalog.int4 NOT NULL,
    process_id pg_catalog.int4 NOT NULL,
    waits_for_process_id pg_catalog.int4,
    database_name pg_catalog.text NOT NULL,
    user_name pg_catalog.text NOT NULL,
    application pg_catalog.text NOT NULL,
    queryid pg_catalog.int8 NOT NULL,
    lock_type pg_catalog.text,
    relation_name pg_catalog.text,
    PRIMARY KEY (source, at, number, member)
);
SELECT pg_catalog.pg_extension_config_dump('perfmon.deadlock'::pg_catalog.regclass, '');

-- Idle times of a second and more inside transactions, by the statement after which the sessions idled. "idle_us" is
-- what of them lies in the interval; "returned_us" and "gone_us" are the whole lengths of those that ended in it, with
-- the client going on or with the session's end; "open" are those that go on, and "open_us" how long they do.
-- "longest_returned_us" is the longest from which a client came back, NULL in rows of 0.11.0 and before.
-- "sessions" tells sessions apart, but not which they were; of more than 64 the rest is left out.
CREATE TABLE perfmon.idle_transaction (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    database_name pg_catalog.text NOT NULL,
    user_name pg_catalog.text NOT NULL,
    application pg_catalog.text NOT NULL,
    queryid pg_catalog.int8 NOT NULL,
    sessions pg_catalog.text NOT NULL,
    idle_us pg_catalog.int8 NOT NULL,
    longest_us pg_catalog.int8 NOT NULL,
    resumed pg_catalog.int8 NOT NULL,
    finished pg_catalog.int8 NOT NULL,
    gone pg_catalog.int8 NOT NULL,
    returned_us pg_catalog.int8 NOT NULL,
    gone_us pg_catalog.int8 NOT NULL,
    open pg_catalog.int8 NOT NULL,
    open_us pg_catalog.int8 NOT NULL,
    longest_returned_us pg_catalog.int8,
    PRIMARY KEY (source, until, database_name, user_name, application, queryid)
);
SELECT pg_catalog.pg_extension_config_dump('perfmon.idle_transaction'::pg_catalog.regclass, '');
