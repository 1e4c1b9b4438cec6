-- Sizes of pools that nobody but their programs know. What is NULL matches any. People declare them: they are part of a
-- dump, and an update of the extension leaves them as they are.
CREATE TABLE perfmon.pool_declared (
    name pg_catalog.text PRIMARY KEY,
    size pg_catalog.int4 NOT NULL,
    database_name pg_catalog.text,
    user_name pg_catalog.text,
    application pg_catalog.text,
    client_address pg_catalog.text,
    note pg_catalog.text,
    created_at pg_catalog.timestamptz NOT NULL
);
SELECT pg_catalog.pg_extension_config_dump('perfmon.pool_declared'::pg_catalog.regclass, '');
