-- Where rows come from, and what is known about the time between them.

-- Every database that ever wrote history kept here. A dump restored into another database continues
-- under a new source that points to its predecessor.
CREATE TABLE perfmon.source_info (
    source pg_catalog.int8 PRIMARY KEY,
    database_name pg_catalog.text NOT NULL,
    system_identifier pg_catalog.text NOT NULL,
    server_version pg_catalog.int4 NOT NULL,
    created_at pg_catalog.timestamptz NOT NULL,
    predecessor pg_catalog.int8
);
SELECT pg_catalog.pg_extension_config_dump('perfmon.source_info'::pg_catalog.regclass, '');

-- Which of them this database is. Bound to the database's oid and never dumped, so that a copy of the
-- database does not write under the name of the original.
CREATE TABLE perfmon.own_source (
    only_row pg_catalog.bool PRIMARY KEY DEFAULT true CHECK (only_row),
    source pg_catalog.int8 NOT NULL,
    database_oid pg_catalog.oid NOT NULL,
    database_name pg_catalog.text NOT NULL
);

-- Time about which nothing, or less than usual, is known.
CREATE TABLE perfmon.gap (
    source pg_catalog.int8 NOT NULL,
    since pg_catalog.timestamptz NOT NULL,
    until pg_catalog.timestamptz NOT NULL,
    subject pg_catalog.text NOT NULL,
    kind pg_catalog.text NOT NULL CHECK (kind OPERATOR(pg_catalog.=) ANY (ARRAY[
        'server_down', 'missed', 'reset', 'evicted', 'standby', 'disabled', 'clock'])),
    detail pg_catalog.text,
    PRIMARY KEY (source, until, subject, kind)
);
SELECT pg_catalog.pg_extension_config_dump('perfmon.gap'::pg_catalog.regclass, '');

-- What changed around the database: settings, marks set by people.
CREATE TABLE perfmon.change (
    source pg_catalog.int8 NOT NULL,
    at pg_catalog.timestamptz NOT NULL,
    kind pg_catalog.text NOT NULL,
    name pg_catalog.text NOT NULL,
    old_value pg_catalog.text,
    new_value pg_catalog.text,
    PRIMARY KEY (source, at, kind, name)
);
SELECT pg_catalog.pg_extension_config_dump('perfmon.change'::pg_catalog.regclass, '');
