# Shared by the scripts in this folder; to be sourced, never run.
# Says where things live, which server is used, and as which user it runs. It must never change anything on its own.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
pgrx_version=0.18.1
rust_minimum=1.95
majors_supported="15 16 17 18"

# pgrx 0.18 links its own copy of a linker workaround; without this every dependency is compiled twice.
export CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND=1
# A wrong cargo-pgrx of the user stays as it is: ours then lies in target/tools.
export PATH="$root/target/tools/bin:$PATH"

started=$SECONDS
say() { printf '==> [%3ds] %s\n' "$((SECONDS - started))" "$*"; }
note() { printf '    %s\n' "$*"; }
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# The operating-system user of every server that we start: PostgreSQL refuses to run as root.
server_user() { if is_root; then echo "${PERFMON_OS_USER:-postgres}"; else id -un; fi; }

# Runs a command as that user, from a directory that it can surely enter.
as_server_user() {
    if is_root; then
        (cd / && exec runuser -u "$(server_user)" -- "$@")
    else
        "$@"
    fi
}

# The installed server that is copied: PG_CONFIG, else the oldest supported Debian-style package with headers,
# else the first pg_config on PATH. Prints nothing when there is none.
find_pg_config() {
    local major candidate
    if [ -n "${PG_CONFIG:-}" ]; then
        echo "$PG_CONFIG"
        return
    fi
    for major in $majors_supported; do
        candidate=/usr/lib/postgresql/$major/bin/pg_config
        if [ -x "$candidate" ] && usable_pg_config "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    candidate=$(command -v pg_config || true)
    if [ -n "$candidate" ] && usable_pg_config "$candidate"; then echo "$candidate"; fi
}

# A pg_config counts when the server and its headers are there, not only the client library.
usable_pg_config() {
    [ -x "$("$1" --bindir)/postgres" ] && [ -f "$("$1" --includedir-server)/postgres.h" ]
}

pg_major() { "$1" --version | sed -E 's/^PostgreSQL ([0-9]+).*/\1/'; }

short_hash() { printf '%s' "$1" | cksum | cut -d' ' -f1; }

# Where servers keep their files: target/, or a folder in /var/tmp when the server's user cannot enter the clone
# (root's clone in /root, say).
state_dir() {
    local dir
    if [ -n "${PERFMON_STATE_DIR:-}" ]; then
        dir=$PERFMON_STATE_DIR
    else
        dir=$root/target
        mkdir -p "$dir"
        if is_root && ! as_server_user test -x "$dir"; then
            dir=/var/tmp/pg_perfmon-$(short_hash "$root")
            [ ! -L "$dir" ] || die "$dir is a link: remove it"
        fi
    fi
    mkdir -p "$dir"
    echo "$dir"
}

# A folder that only the server's user (and root) can enter: it holds sockets and data.
private_folder() {
    # In /tmp anybody may have put a link here before us.
    [ ! -L "$1" ] || die "$1 is a link: remove it"
    mkdir -p "$1"
    if is_root; then chown "$(server_user)" "$1"; fi
    chmod 700 "$1"
}

# The folder of a server's socket. A path over 107 bytes is refused by the kernel, so long ones lead to /tmp.
socket_dir() {
    local wanted=$1 dir
    dir=$wanted
    if [ ${#wanted} -gt 80 ]; then
        dir=/tmp/pg_perfmon-$(short_hash "$wanted")
        mkdir -p "$(dirname "$wanted")"
        ln -sfn "$dir" "$wanted"
    fi
    private_folder "$dir"
    echo "$dir"
}
