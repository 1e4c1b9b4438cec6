-- Names behind the small ids that history rows hold. Identity is by name, never by oid. Ids are handed
-- out by the collector as the highest known plus one and never reused; 0 means "all others".

CREATE TABLE perfmon.statement_entry (
    source pg_catalog.int8 NOT NULL,
    statement_id pg_catalog.int4 NOT NULL,
    user_name pg_catalog.text NOT NULL,
    queryid pg_catalog.int8 NOT NULL,
    toplevel pg_catalog.bool NOT NULL,
    first_seen pg_catalog.timestamptz NOT NULL,
    PRIMARY KEY (source, statement_id),
    UNIQUE (source, queryid, user_name, toplevel)
);
SELECT pg_catalog.pg_extension_config_dump('perfmon.statement_entry'::pg_catalog.regclass, '');

-- Texts, once per queryid. "query" is NULL, with a note, where it was redacted or badly encoded.
CREATE TABLE perfmon.statement_text (
    source pg_catalog.int8 NOT NULL,
    queryid pg_catalog.int8 NOT NULL,
    command pg_catalog.text,
    query pg_catalog.text,
    note pg_catalog.text,
    first_seen pg_catalog.timestamptz NOT NULL,
    PRIMARY KEY (source, queryid)
);
SELECT pg_catalog.pg_extension_config_dump('perfmon.statement_text'::pg_catalog.regclass, '');

-- relation: schema, table, kind of table; index: schema, index, table; database: '', name, '';
-- io: backend type, object, context; failure: user, statement_id (of autovacuum the table), class and SQLSTATE;
-- route: application, user, route; scan: statement_id, table, node with its conditions (JSON);
-- session: backend type, state, wait; wait: database, user, queryid with state and wait; pool: database, user, what it is of.
CREATE TABLE perfmon.object (
    source pg_catalog.int8 NOT NULL,
    family pg_catalog.text NOT NULL,
    object_id pg_catalog.int4 NOT NULL,
    name1 pg_catalog.text NOT NULL,
    name2 pg_catalog.text NOT NULL,
    name3 pg_catalog.text NOT NULL,
    first_seen pg_catalog.timestamptz NOT NULL,
    PRIMARY KEY (source, family, object_id),
    UNIQUE (source, family, name1, name2, name3)
);
SELECT pg_catalog.pg_extension_config_dump('perfmon.object'::pg_catalog.regclass, '');
