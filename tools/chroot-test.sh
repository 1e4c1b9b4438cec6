#!/usr/bin/env bash
# Builds and tests with another PostgreSQL: in a Debian root directory made on the spot, thrown away at the end.
# Runs in mount and process namespaces of its own, so nothing stays mounted or running however it ends. It must never
# write outside its directory, save cargo's download cache, which it shares.
#
#   tools/chroot-test.sh MAJOR SUITE     for example: 17 trixie
#
# PERFMON_CHROOT=DIR makes the root directory there, keeps it, and uses it again the next time: packages and dependencies are there
# then, and only what is of the project is built anew.
#
# The 17 of trixie comes with TimescaleDB's Apache edition. PERFMON_E2E_FILTER and PERFMON_WITHOUT_REGRESS are heeded as by
# tools/test.sh.
source "$(dirname "$0")/lib.sh"

major=${1:?major version} suite=${2:?Debian suite}

# The first archive that apt uses here and that is no security archive.
mirror() {
    { cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } |
        sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb +(\[[^]]*\] +)?([^ ]+) .*/\2/p' |
        grep -E '/debian/?$' | head -1
}

# Packages beside those that tools/setup.sh finds missing by itself.
extra_packages() {
    case "$1" in
    17) echo "postgresql-17-timescaledb" ;;
    esac
}

outside() {
    is_root || die "needs root: it makes a root directory and enters it by chroot"
    if ! command -v debootstrap >/dev/null; then
        say "installing debootstrap"
        apt-get update -q >/dev/null
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends debootstrap debian-archive-keyring \
            </dev/null >/dev/null
    fi
    unshare --mount --pid --fork true 2>/dev/null ||
        die "THIS MACHINE PERMITS NO MOUNT NAMESPACES: PostgreSQL $major was NOT tested" \
            "run as real root, or in a container with CAP_SYS_ADMIN"
    if [ -n "${PERFMON_CHROOT:-}" ]; then
        target=$PERFMON_CHROOT
        mkdir -p "$target"
    else
        target=$(mktemp -d /var/tmp/pg_perfmon-root-XXXXXX)
        trap 'rm -rf --one-file-system "$target"' EXIT
    fi
    trap 'exit 130' INT TERM
    unshare --mount --propagation private --pid --fork --kill-child "$0" "$major" "$suite" inside-namespaces "$target"
}

make_root() {
    local scripts=/usr/share/debootstrap/scripts script=$suite archive
    archive=$(mirror)
    [ -n "$archive" ] || die "found no Debian archive in /etc/apt"
    # Older releases of debootstrap do not know the newest suites; all of them are made like sid.
    [ -e "$scripts/$script" ] || script=sid
    say "making a Debian $suite root in $target"
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$target" "$archive" "$scripts/$script" \
        >"$target.log" 2>&1 || { tail -20 "$target.log" >&2; rm -f "$target.log"; die "debootstrap failed"; }
    rm -f "$target.log"
    # It becomes "/", which every user must be able to enter.
    chmod 755 "$target"
    cp /etc/resolv.conf "$target/etc/resolv.conf"
    # A chroot must start no services.
    printf '#!/bin/sh\nexit 101\n' >"$target/usr/sbin/policy-rc.d"
    chmod 755 "$target/usr/sbin/policy-rc.d"
    touch "$target/made"
}

# The sources as they are now, as new to cargo as if all of them had changed: what was built may be of other ones.
bring_sources() {
    mkdir -p "$target/src"
    find "$target/src" -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} +
    tar -C "$root" --exclude=./target --exclude=./.git -cf - . | tar -C "$target/src" -xmf -
}

# The toolchain of this machine, at the same paths; programs from crates that lie elsewhere are copied.
mount_toolchain() {
    local path
    for path in "$sysroot" "$cargo_home"; do
        mkdir -p "$target$path"
        mount --bind "$path" "$target$path"
    done
    for path in cargo-nextest cargo-pgrx; do
        path=$(command -v "$path" || true)
        case "$path" in "" | "$cargo_home"/*) ;; *) cp "$path" "$target/usr/local/bin/" ;; esac
    done
    mount -t proc proc "$target/proc"
    mount --rbind /dev "$target/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$target/dev/shm"
}

# The server that this machine's own tests use, with the extension in it, so that pg_upgrade has something to start
# from. Of the libraries it needs, only those that the new release no longer has are brought along.
bring_older_server() {
    local tree="" candidate missing round
    for candidate in "$root"/target/pg/*/; do
        [ -n "$(find "$candidate" -name pg_perfmon.so -print -quit)" ] || continue
        [ "$(basename "$candidate")" -lt "$major" ] && tree=${candidate%/}
    done
    if [ -z "$tree" ]; then
        note "no older server with the extension in target/pg: pg_upgrade from one is not tested"
        return
    fi
    say "bringing PostgreSQL $(basename "$tree") along, to upgrade from"
    rm -rf "$target/opt/older" "$target/opt/older-libs"
    mkdir -p "$target/opt/older-libs"
    cp -a "$tree" "$target/opt/older"
    older_bin=/opt/older${tree:+/usr/lib/postgresql/$(basename "$tree")/bin}
    for round in 1 2 3; do
        missing=$(in_root bash -c "for f in $older_bin/postgres $older_bin/initdb $older_bin/pg_ctl $older_bin/pg_dump \
            $older_bin/../lib/*.so /opt/older-libs/*; do LD_LIBRARY_PATH=/opt/older-libs ldd \$f 2>/dev/null || true; done" |
            sed -n 's/^[[:space:]]*\([^ ]*\) => not found$/\1/p' | sort -u)
        [ -n "$missing" ] || return 0
        for candidate in $missing; do
            candidate=$(find /usr/lib /lib -name "$candidate" -print -quit)
            if [ -n "$candidate" ]; then cp -L "$candidate" "$target/opt/older-libs/"; fi
        done
    done
    note "still missing: $missing"
}

in_root() {
    chroot "$target" env -i HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" CI="${CI:-}" DEBIAN_FRONTEND=noninteractive \
        PATH="$sysroot/bin:$cargo_home/bin:/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin" CARGO_HOME="$cargo_home" \
        PERFMON_PROFILE=dev PERFMON_MAJOR="$major" PERFMON_E2E_ARGS="${PERFMON_E2E_ARGS:-}" \
        PERFMON_WITHOUT_REGRESS="${PERFMON_WITHOUT_REGRESS:-}" PERFMON_E2E_FILTER="${PERFMON_E2E_FILTER:-}" \
        ${older_bin:+PERFMON_OLD_PG_BIN=$older_bin LD_LIBRARY_PATH=/opt/older-libs} "$@"
}

older_bin=""

inside_namespaces() {
    local extra
    sysroot=$(rustc --print sysroot)
    cargo_home=${CARGO_HOME:-$HOME/.cargo}
    if [ -e "$target/made" ]; then
        say "using the Debian root in $target again"
    else
        make_root
    fi
    bring_sources
    mount_toolchain
    say "installing PostgreSQL $major in it"
    if ! in_root bash -c "cd /src && tools/setup.sh --tests"; then
        # The rest can be tested without PostgreSQL's source, if only that is missing.
        PERFMON_WITHOUT_REGRESS=1
        in_root bash -c "cd /src && tools/setup.sh --tests"
    fi
    extra=$(extra_packages "$major")
    if [ -n "$extra" ]; then
        in_root apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends $extra </dev/null >/dev/null
        say "beside it: $extra"
    fi
    bring_older_server
    say "building and testing with PostgreSQL $major"
    in_root bash -c "cd /src && tools/test.sh e2e"
    say "PostgreSQL $major on Debian $suite: done"
}

if [ "${3:-}" = inside-namespaces ]; then
    target=$4
    inside_namespaces
else
    outside
fi
