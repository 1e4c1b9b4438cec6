#!/usr/bin/env bash
# Writes the reference part of docs/manual.md from the catalog: every function, view, table and setting with its
# COMMENT. What stands outside the two marks is written by hand and stays.
source "$(dirname "$0")/lib.sh"

manual=$root/docs/manual.md
"$root/tools/private-server.sh" install pg
bin=$("$root/tools/private-server.sh" prepare pg | tail -1)
work=$(state_dir)/reference
rm -rf "$work"
private_folder "$work"
sockets=$(socket_dir "$work/run")
data=$work/data
as_server_user "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null
as_server_user "$bin/pg_ctl" -D "$data" -l "$work/log" -w start >/dev/null \
    -o "-c listen_addresses= -c unix_socket_directories=$sockets -c shared_preload_libraries=pg_stat_statements,pg_perfmon"
trap 'as_server_user "$bin/pg_ctl" -D "$data" -m immediate stop >/dev/null; rm -rf "$work"' EXIT

"$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$sockets" -U postgres -d postgres -f - >"$work.md" <<'SQL'
CREATE EXTENSION pg_stat_statements;
CREATE EXTENSION pg_perfmon;
SELECT E'### Functions';
SELECT format(E'\n#### `%s(%s)`\n\n%s%s', p.proname,
              (SELECT string_agg(a.name || ' ' || format_type(a.type, NULL), ', ' ORDER BY a.n)
                 FROM unnest(p.proargnames, coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargmodes)
                      WITH ORDINALITY AS a (name, type, mode, n)
                WHERE coalesce(a.mode, 'i') IN ('i', 'b', 'v') AND a.type IS NOT NULL),
              obj_description(p.oid, 'pg_proc'),
              coalesce(E'\n\nColumns: ' || (SELECT string_agg(format('`%s` %s', a.name, format_type(a.type, NULL)), ', ' ORDER BY a.n)
                 FROM unnest(p.proargnames, p.proallargtypes, p.proargmodes) WITH ORDINALITY AS a (name, type, mode, n)
                WHERE a.mode = 't') || '.', E'\n\nReturns ' || format_type(p.prorettype, NULL) || '.'))
  FROM pg_proc p WHERE p.pronamespace = 'perfmon'::regnamespace ORDER BY p.proname COLLATE "C", p.oid;
SELECT E'\n### Views and tables\n\nAll in schema `perfmon`.';
SELECT format(E'\n#### `%s` (%s)\n\n%s\n\nColumns: %s.', c.relname, CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END,
              obj_description(c.oid, 'pg_class'),
              (SELECT string_agg(format('`%s` %s', a.attname, format_type(a.atttypid, NULL)), ', ' ORDER BY a.attnum)
                 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
  FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
 WHERE c.relnamespace = 'perfmon'::regnamespace AND c.relkind IN ('r', 'p', 'v')
 ORDER BY c.relkind = 'v' DESC, c.relname COLLATE "C";
SELECT E'\n### Settings\n\n| Setting | Default | Change needs | |\n|---|---|---|---|';
SELECT format('| `%s` | `%s%s` | %s | %s %s |', name, coalesce(nullif(boot_val, ''), ' '),
              CASE WHEN boot_val <> '-1' THEN ' ' || unit END,
              CASE context WHEN 'sighup' THEN 'reload' WHEN 'postmaster' THEN 'restart' ELSE context END,
              short_desc, coalesce(extra_desc, ''))
  FROM pg_settings WHERE name LIKE 'pg\_perfmon.%' ORDER BY name COLLATE "C";
SQL

awk -v part="$work.md" '
/<!-- reference: begin/ { print; print ""; while ((getline line < part) > 0) print line; print ""; skip = 1 }
/<!-- reference: end/ { skip = 0 }
!skip { print }' "$manual" >"$work.new"
rm -f "$work.md"
mv "$work.new" "$manual"
say "wrote the reference into docs/manual.md"
