-- Extensions, tables and indexes as last seen, so that a change can be told with what was before. Oids tell
-- a rename from a drop; they mean nothing in another database, whose first look therefore tells of no
-- change. "mark" is a hash of all that a definition may speak of, "shape" one of what the object is, whatever
-- it is called; definitions of different "form" (versions of the server and of ours) are not compared.
CREATE TABLE perfmon.seen_object (
    source pg_catalog.int8 NOT NULL,
    kind pg_catalog.text NOT NULL,
    object_oid pg_catalog.oid NOT NULL,
    name pg_catalog.text NOT NULL,
    definition pg_catalog.text,
    parent pg_catalog.text,
    table_oid pg_catalog.oid,
    mark pg_catalog.int8 NOT NULL,
    shape pg_catalog.int8 NOT NULL,
    form pg_catalog.int4 NOT NULL,
    PRIMARY KEY (source, kind, object_oid)
);
SELECT pg_catalog.pg_extension_config_dump('perfmon.seen_object'::pg_catalog.regclass, '');
