-- From 0.5.0 to 0.6.0. Once 0.6.0 is released this file is frozen; a test holds what it makes against a fresh
-- installation.

-- Texts that were taken from clients' messages when a statement failed.
DELETE FROM perfmon.statement_text WHERE pg_catalog.starts_with(note, 'from an error');
