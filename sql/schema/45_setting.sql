-- Settings as last seen, so that a change can be told with the value before. Values that only
-- superusers may see are not read.
CREATE TABLE perfmon.setting (
    source pg_catalog.int8 NOT NULL,
    name pg_catalog.text NOT NULL,
    value pg_catalog.text NOT NULL,
    seen_at pg_catalog.timestamptz NOT NULL,
    PRIMARY KEY (source, name)
);
SELECT pg_catalog.pg_extension_config_dump('perfmon.setting'::pg_catalog.regclass, '');
