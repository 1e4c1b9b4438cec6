#!/usr/bin/env bash
# Makes a private copy of the installed PostgreSQL under target/, into which the extension is installed.
# PostgreSQL finds its libraries and share files relative to its own program, so a copy that keeps the layout works
# anywhere. The system's server is only read, never written to.
#
#   tools/private-server.sh prepare [TREE]    makes or refreshes the copy; prints its bin directory on the last line
#   tools/private-server.sh install [TREE] [cargo pgrx install arguments]
#                                             builds the extension and installs it into the copy
# TREE is a name for one copy (default pg): tests that install a test build use another.
source "$(dirname "$0")/lib.sh"

tree_dir() { echo "$(state_dir)/$1/$major"; }

# Changes when the server package was upgraded or another extension was added to it.
fingerprint() {
    {
        "$pg_config" --version
        stat -c '%n %Y' "$("$pg_config" --bindir)" "$("$pg_config" --pkglibdir)" "$("$pg_config" --sharedir)/extension"
    } | cksum
}

prepare() {
    local tree dir path
    tree=$(tree_dir "$1")
    if [ "$(cat "$tree/fingerprint" 2>/dev/null)" != "$(fingerprint)" ]; then
        say "copying PostgreSQL $major into $tree" >&2
        for path in --bindir --pkglibdir --sharedir; do
            dir=$("$pg_config" "$path")
            mkdir -p "$tree$dir"
            # A running server keeps the old files: they are replaced, never written over.
            cp -a --remove-destination "$dir/." "$tree$dir/"
        done
        # Only read by the compiler, so a link will do.
        for path in --includedir --includedir-server --localedir; do
            dir=$("$pg_config" "$path")
            if [ -e "$dir" ] && [ ! -e "$tree$dir" ]; then
                mkdir -p "$(dirname "$tree$dir")"
                ln -s "$dir" "$tree$dir"
            fi
        done
        fingerprint >"$tree/fingerprint"
    fi
    [ "$("$tree$bindir/pg_config" --sharedir)" = "$tree$("$pg_config" --sharedir)" ] ||
        die "this PostgreSQL does not find its files after a copy" \
            "$tree$bindir/pg_config --sharedir says $("$tree$bindir/pg_config" --sharedir)"
    # pgrx looks servers up in this file; ours leaves the user's own in ~/.pgrx alone.
    pgrx_home "$tree"
    echo "$tree$bindir"
}

pgrx_home() {
    local line
    line="pg$major = \"$1$bindir/pg_config\""
    mkdir -p "$1/pgrx"
    # Its time stamp decides whether the bindings are generated again.
    if ! grep -qxF "$line" "$1/pgrx/config.toml" 2>/dev/null; then
        printf '[configs]\n%s\n' "$line" >"$1/pgrx/config.toml"
    fi
}

# cargo pgrx writes over the library. A running server has it mapped, and would crash: it keeps the old file this way.
unmap() {
    if [ -f "$1" ]; then
        cp -p "$1" "$1.new"
        mv "$1.new" "$1"
    fi
}

install() {
    local tree copy
    tree=$(tree_dir "$1")
    prepare "$1" >/dev/null
    shift
    copy=$tree$bindir/pg_config
    say "building the extension for PostgreSQL $major (the first build takes some minutes)"
    unmap "$("$copy" --pkglibdir)/pg_perfmon.so"
    (cd "$root" && PGRX_HOME=$tree/pgrx cargo pgrx install --pg-config "$copy" \
        --no-default-features --features "pg$major" "$@")
}

pg_config=$(find_pg_config)
[ -n "$pg_config" ] || die "no PostgreSQL server with headers found" "run tools/setup.sh first, or set PG_CONFIG"
major=$(pg_major "$pg_config")
bindir=$("$pg_config" --bindir)

case "${1:-}" in
prepare) prepare "${2:-pg}" ;;
install)
    shift
    name=${1:-pg}
    [ $# -eq 0 ] || shift
    install "$name" "$@"
    ;;
*) die "usage: tools/private-server.sh prepare|install [TREE]" ;;
esac
