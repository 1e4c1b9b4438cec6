#!/usr/bin/env bash
# Installs what building, testing and the demo need, and only what is missing. Quick when all is there.
# With --tests also what only tests need, and with --check it only says what is missing.
# It must never create or start a system cluster, touch a user's own cargo-pgrx of another version, or download
# anything other than through apt and cargo.
source "$(dirname "$0")/lib.sh"

check_only=no for_tests=no
for argument in "$@"; do
    case "$argument" in
    --check) check_only=yes ;;
    --tests) for_tests=yes ;;
    *) die "usage: tools/setup.sh [--check] [--tests]" ;;
    esac
done

# Runs a command with the rights to install packages.
sudo_prefix() { if is_root; then echo env; else echo "sudo -n env"; fi; }

may_install() { is_root || sudo -n true 2>/dev/null; }

# The distribution's own PostgreSQL when we support it, else the oldest supported one that apt offers.
server_major() {
    local own major
    if [ -n "${PG_CONFIG:-}" ]; then
        pg_major "$PG_CONFIG"
        return
    fi
    own=$(apt-cache depends postgresql 2>/dev/null | sed -nE 's/.*Depends: postgresql-([0-9]+)$/\1/p' | head -1)
    for major in $own $majors_supported; do
        case " $majors_supported " in *" $major "*) ;; *) continue ;; esac
        if apt-cache show "postgresql-$major" >/dev/null 2>&1; then
            echo "$major"
            return
        fi
    done
    echo 15
}

have_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] || compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null ||
        ldconfig -p 2>/dev/null | grep -q 'libclang.*\.so'
}

# Adds to `missing` the Debian packages for what is not there. SERVER stands for the major until apt was asked.
list_missing() {
    local pg_config
    missing=()
    command -v cc >/dev/null && [ -f /usr/include/stdio.h ] || missing+=(gcc libc6-dev)
    command -v make >/dev/null || missing+=(make)
    command -v pkg-config >/dev/null || missing+=(pkg-config)
    # kill and pgrep as programs, which tests and benchmarks call.
    command -v pgrep >/dev/null || missing+=(procps)
    command -v clang >/dev/null || missing+=(clang)
    have_libclang || missing+=(libclang-dev)
    if [ "$for_tests" = yes ] && [ -z "${PERFMON_WITHOUT_REGRESS:-}" ]; then
        command -v sqlsmith >/dev/null || missing+=(sqlsmith)
        # PostgreSQL's source is packed by it.
        command -v bzip2 >/dev/null || missing+=(bzip2)
    fi
    if [ "$for_tests" = yes ]; then
        [ -x /usr/sbin/pgbouncer ] || command -v pgbouncer >/dev/null || missing+=(pgbouncer)
    fi
    pg_config=$(find_pg_config)
    if [ -n "${PG_CONFIG:-}" ] && ! usable_pg_config "$PG_CONFIG"; then
        die "PG_CONFIG=$PG_CONFIG belongs to no server with headers" "install its server and development packages"
    fi
    if [ -z "$pg_config" ]; then
        missing+=(postgresql-SERVER postgresql-server-dev-SERVER)
    elif [ ! -f "$("$pg_config" --pkglibdir)/pg_stat_statements.so" ] || [ ! -x "$("$pg_config" --bindir)/pgbench" ]; then
        missing+=(postgresql-contrib)
    fi
}

# Debian's packages make and start a cluster upon installation; switched off for this one installation.
without_main_cluster() {
    local run file=/etc/postgresql-common/createcluster.conf
    run=$(sudo_prefix)
    if [ ! -f "$file" ]; then
        $run DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 \
            --no-install-recommends postgresql-common </dev/null >/dev/null
    fi
    $run cp -p "$file" "$file.before-perfmon"
    $run sed -i -E '/^[# ]*create_main_cluster/d; $ a create_main_cluster = false' "$file"
    local failed=0
    "$@" || failed=$?
    $run mv "$file.before-perfmon" "$file"
    return $failed
}

apt_install() {
    $(sudo_prefix) DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "$@" </dev/null >/dev/null
}

system_packages() {
    local packages
    list_missing
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        die "missing: ${missing[*]} (names of Debian's packages)" \
            "this system has no apt: install their like by its own package manager, then run this again"
    fi
    if [ "$check_only" = yes ] || ! may_install; then
        packages=${missing[*]}
        die "missing packages; as root run:" \
            "apt-get update && apt-get install -y ${packages//SERVER/$(server_major)}" "then run this again"
    fi
    say "asking apt for its newest lists"
    $(sudo_prefix) apt-get update -q >/dev/null || note "apt-get update complained; going on with the lists it has"
    packages=${missing[*]}
    packages=${packages//SERVER/$(server_major)}
    say "installing $packages"
    # shellcheck disable=SC2086 # a list of words
    case "$packages" in
    *postgresql*) without_main_cluster apt_install $packages ;;
    *) apt_install $packages ;;
    esac
    list_missing
    [ ${#missing[@]} -eq 0 ] || die "still missing after the installation: ${missing[*]}"
}

rust_toolchain() {
    local version
    command -v cargo >/dev/null || die "cargo is missing" "get Rust $rust_minimum or newer from https://rustup.rs"
    version=$(cargo --version | sed -E 's/^cargo ([0-9.]+).*/\1/')
    if [ "$(printf '%s\n' "$rust_minimum" "$version" | sort -V | head -1)" != "$rust_minimum" ]; then
        die "cargo $version is too old: $rust_minimum or newer is needed" "rustup update stable"
    fi
}

# What needs no TLS and no downloads of its own is built without them: fewer system libraries.
cargo_tools() {
    local have
    have=$(cargo pgrx --version 2>/dev/null | sed -E 's/^cargo-pgrx //' || true)
    if [ "$have" != "$pgrx_version" ]; then
        say "building cargo-pgrx $pgrx_version${have:+ (yours is $have, and stays)}: some minutes, once"
        # A tool that mostly waits for cargo: quick to build matters more than quick to run.
        CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
            cargo install cargo-pgrx --version "$pgrx_version" --locked --no-default-features --quiet \
            ${have:+--root "$root/target/tools"}
    fi
    if ! cargo nextest --version >/dev/null 2>&1; then
        say "building cargo-nextest: some minutes, once"
        cargo install cargo-nextest --locked --quiet
    fi
}

# Plain `cargo check` looks here; the scripts have a file of their own for each private server.
pgrx_config() {
    local pg_config home=${PGRX_HOME:-$HOME/.pgrx}
    if [ ! -f "$home/config.toml" ]; then
        pg_config=$(find_pg_config)
        say "telling pgrx of $pg_config"
        mkdir -p "$home"
        printf '[configs]\npg%s = "%s"\n' "$(pg_major "$pg_config")" "$pg_config" >"$home/config.toml"
    fi
}

system_packages
rust_toolchain
cargo_tools
pgrx_config
if [ "$for_tests" = yes ] && [ -z "${PERFMON_WITHOUT_REGRESS:-}" ]; then
    "$root/tools/regress-source.sh" >/dev/null
fi
say "set up: $("$(find_pg_config)" --version), $(cargo --version | cut -d' ' -f1,2), cargo-pgrx $pgrx_version"
