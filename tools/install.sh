#!/usr/bin/env bash
# Builds the extension and installs it into the server that PG_CONFIG belongs to.
# It must never change a server's settings or restart it: it says what to do.
source "$(dirname "$0")/lib.sh"

[ -n "${PG_CONFIG:-}" ] || die "say which server: make install PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config"
[ -x "$PG_CONFIG" ] || die "there is no program $PG_CONFIG"
"$root/tools/setup.sh"
major=$(pg_major "$PG_CONFIG")
case " $majors_supported " in
*" $major "*) ;;
*) die "PostgreSQL $major is not supported; these are: $majors_supported" ;;
esac

libdir=$("$PG_CONFIG" --pkglibdir)
sharedir=$("$PG_CONFIG" --sharedir)/extension

# Built as the caller, copied with the rights that the folders need.
home=$root/target/pgrx-install
mkdir -p "$home"
printf '[configs]\npg%s = "%s"\n' "$major" "$PG_CONFIG" >"$home/config.toml.new"
cmp -s "$home/config.toml.new" "$home/config.toml" || mv "$home/config.toml.new" "$home/config.toml"
say "building for PostgreSQL $major (the first build takes some minutes)"
package=$root/target/package-$major
rm -rf "$package"
(cd "$root" && PGRX_HOME=$home cargo pgrx package --pg-config "$PG_CONFIG" --out-dir "$package" \
    --no-default-features --features "pg$major")

copy=""
if [ ! -w "$libdir" ] || [ ! -w "$sharedir" ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        copy="sudo -n"
    else
        die "the extension is built, but $libdir and $sharedir are not yours" \
            "run as root: cp $package$libdir/pg_perfmon.so $libdir/ && cp $package$sharedir/pg_perfmon* $sharedir/"
    fi
fi
# `install` makes a new file: a running server keeps the library that it has mapped.
$copy install -m 755 "$package$libdir/pg_perfmon.so" "$libdir/pg_perfmon.so"
$copy install -m 644 "$package$sharedir"/pg_perfmon* "$sharedir/"
say "installed into $libdir and $sharedir"
cat <<TEXT

    Now, in that server's postgresql.conf (add to what shared_preload_libraries already names):

        shared_preload_libraries = 'pg_stat_statements,pg_perfmon'

    then restart it, and in each database to be watched:

        CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
        CREATE EXTENSION pg_perfmon;
        SELECT * FROM perfmon.status();
TEXT
