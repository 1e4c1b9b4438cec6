#!/usr/bin/env bash
# Fetches PostgreSQL's own regression suite, of which packages hold only the driver, from Debian's source package of the
# server, and prints where it is. Kept for the next time, so that only the first run needs the network. It must never
# change the system's own lists of packages: it works with lists and a configuration of its own.
#
# PERFMON_REGRESS_DIR names a src/test/regress of one's own instead, of the same major version.
source "$(dirname "$0")/lib.sh"

# What apt would be asked for this machine's servers, as sources of source packages: those of its entries that the
# server's package is offered by. Signatures are checked by the keys that those name.
source_entries() {
    local archives
    archives=$(apt-cache policy "postgresql-$major" | sed -nE 's/^ +-?[0-9]+ ([a-z]+:\/\/[^ ]+) .*/\1/p' | sort -u)
    [ -n "$archives" ] || die "apt offers no postgresql-$major here, and so no source of it" "$hint"
    # In paragraphs, one field a line; and in lines.
    { cat /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
        awk -v wanted="$archives" '
        BEGIN { RS = ""; FS = "\n"; n = split(wanted, archive, "\n") }
        {
            # Without comments, which may stand between fields.
            stanza = ""
            found = 0
            for (i = 1; i <= NF; i++) {
                if ($i ~ /^#/) continue
                if ($i ~ /^Types:/) $i = "Types: deb-src"
                if ($i ~ /^URIs:/) for (k = 1; k <= n; k++) {
                    if (index($i, archive[k] "/") || index($i " ", archive[k] " ")) found = 1
                }
                stanza = stanza $i "\n"
            }
            if (found) print stanza
        }' >"$lists/source.sources"
    { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } |
        sed -nE 's/^deb +/deb-src /p' | grep -F "$archives" >"$lists/source.list" || true
}

apt_options() {
    printf '%s\n' -o "Dir::Etc::sourcelist=$lists/source.list" -o "Dir::Etc::sourceparts=$lists" \
        -o "Dir::State::lists=$lists/lists" -o "Dir::Cache=$lists/cache" -o APT::Sandbox::User=root
}

# The source of the very release, else of the newest one that can be had: an archive may keep the older sources only.
# A few tests then fail, without the extension as with it.
download() {
    local versions version options
    mkdir -p "$lists/lists/partial" "$lists/cache/archives/partial"
    source_entries
    mapfile -t options < <(apt_options)
    apt-get "${options[@]}" update -q >"$lists/log" 2>&1 || note "apt-get update complained; see $lists/log" >&2
    version=$(dpkg-query -W -f '${source:Version}' "postgresql-$major" 2>/dev/null || true)
    versions=$(apt-cache "${options[@]}" showsrc --only-source "postgresql-$major" 2>/dev/null |
        sed -n 's/^Version: //p' | sort -Vr | grep -vxF "${version:-none}" || true)
    for version in $version $versions; do
        say "fetching the source of postgresql-$major $version" >&2
        if (cd "$lists" && apt-get "${options[@]}" source -qq --download-only --tar-only --only-source \
            "postgresql-$major=$version") >>"$lists/log" 2>&1; then
            got=$version
            return
        fi
        note "it cannot be had" >&2
    done
    tail -5 "$lists/log" >&2
    die "the source of PostgreSQL $major, which holds its regression suite, cannot be had" "$hint"
}

unpack() {
    local archive
    archive=$(find "$lists" -maxdepth 1 -name "postgresql-${major}_*.orig.tar.*" -print -quit)
    [ -n "$archive" ] || die "apt left no archive in $lists"
    mkdir -p "$dir.new"
    tar -xf "$archive" -C "$dir.new" --strip-components=4 --wildcards '*/src/test/regress/*'
    [ -f "$dir.new/parallel_schedule" ] || die "no regression suite in $archive"
    # The server's user reads it.
    chmod -R a+rX "$dir.new"
    rm -rf "$dir" "$lists"
    mv "$dir.new" "$dir"
    echo "$got" >"$dir/version"
}

hint="set PERFMON_REGRESS_DIR to src/test/regress of a source tree, or PERFMON_WITHOUT_REGRESS=1 to leave its tests out"
if [ -n "${PERFMON_REGRESS_DIR:-}" ]; then
    [ -f "$PERFMON_REGRESS_DIR/parallel_schedule" ] || die "no parallel_schedule in PERFMON_REGRESS_DIR"
    echo "$PERFMON_REGRESS_DIR"
    exit
fi
pg_config=$(find_pg_config)
[ -n "$pg_config" ] || die "no PostgreSQL server with headers found" "run tools/setup.sh first, or set PG_CONFIG"
major=$(pg_major "$pg_config")
release=$("$pg_config" --version | sed -E 's/^PostgreSQL ([^ ]+).*/\1/')
dir=$(state_dir)/regress-$release
lists=$dir.apt
got=""
if [ ! -f "$dir/version" ]; then
    command -v apt-get >/dev/null || die "this system has no apt, by which PostgreSQL's source is fetched" "$hint"
    rm -rf "$dir" "$dir.new" "$lists"
    mkdir -p "$lists"
    download
    unpack
fi
note "PostgreSQL $release is tested with the suite of $(cat "$dir/version")" >&2
echo "$dir"
