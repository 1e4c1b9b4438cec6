#!/usr/bin/env bash
# Every check and test of the project, by name. Each part can be run alone; none needs the network once set up.
#
#   tools/test.sh all | lint | majors | core | server | e2e | regress | soak | matrix
#
# PERFMON_WITHOUT_REGRESS=1 leaves out PostgreSQL's own regression suite and SQLsmith, where these cannot be had.
# PERFMON_E2E_FILTER names the cluster tests to run, as nextest filters them: 'binary(rewrites)'.
# PERFMON_PROFILE=dev lets the cluster tests use a debug build of the extension, which is made sooner.
source "$(dirname "$0")/lib.sh"

setup() {
    "$root/tools/setup.sh" --tests
    pg_config=$(find_pg_config)
    major=$(pg_major "$pg_config")
    features=(--no-default-features --features "pg$major")
}

# pgrx's build script asks this file which server's headers to read.
use_tree() {
    bin=$("$root/tools/private-server.sh" prepare "$1" | tail -1)
    export PGRX_HOME
    PGRX_HOME=$(state_dir)/$1/$major/pgrx
}

lint() {
    say "lint: rooms"
    tools/check-rooms
    say "lint: formatting"
    cargo fmt --all --check
    say "lint: clippy"
    use_tree pg
    cargo clippy --workspace --all-targets --locked "${features[@]}" -- -D warnings
    say "lint: licences and sources of dependencies"
    if cargo deny --version >/dev/null 2>&1; then
        cargo deny --all-features check licenses bans sources
    else
        note "cargo-deny is not installed (cargo install --locked cargo-deny): skipped"
    fi
}

# Pure logic and the demo's client: no server.
core() {
    say "tests without a server"
    cargo nextest run --locked -p perfmon-core -p perfmon-demo
}

# Tests that run inside a backend, in a tree of their own: they install a library with test functions.
server() {
    local args=("pg$major" --package pg_perfmon "${features[@]}") path=$PATH
    say "tests inside a server"
    use_tree pg-test
    # Its socket lies there too.
    args+=(--pgdata "$(socket_dir "$(state_dir)/test-pgdata")")
    if is_root; then
        # Only for this command: sudo need not be there where we are root already.
        path=$root/tools/shims:$PATH
        args+=(--runas "$(server_user)")
    fi
    PATH=$path cargo pgrx test "${args[@]}"
}

# What the tests of whole clusters start.
install_server() {
    local profile=(--release)
    [ "${PERFMON_PROFILE:-release}" = release ] || profile=()
    "$root/tools/private-server.sh" install pg "${profile[@]}"
    use_tree pg
}

# PostgreSQL's own regression suite and SQLsmith are among them.
e2e() {
    say "tests of whole clusters"
    local chosen=${PERFMON_E2E_FILTER:-} filter=()
    if [ -n "$chosen" ]; then
        note "PERFMON_E2E_FILTER: only $chosen"
        filter=(-E "$chosen")
    fi
    if [ -n "${PERFMON_WITHOUT_REGRESS:-}" ]; then
        note "PERFMON_WITHOUT_REGRESS: PostgreSQL's own regression suite and SQLsmith are NOT run"
        filter=(-E "(${chosen:-all()}) & not binary(regress)")
    else
        PERFMON_REGRESS_DIR=$("$root/tools/regress-source.sh")
        export PERFMON_REGRESS_DIR
    fi
    install_server
    PERFMON_PG_BIN=$bin cargo nextest run --config-file tests/nextest.toml --locked --no-fail-fast -p perfmon-e2e "${filter[@]}" ${PERFMON_E2E_ARGS:-}
}

# These two alone; the argument is how many statements SQLsmith sends, a second one names tests to run beside them.
regress() {
    say "PostgreSQL's own regression suite, and $1 statements of SQLsmith"
    PERFMON_REGRESS_DIR=$("$root/tools/regress-source.sh")
    export PERFMON_REGRESS_DIR
    install_server
    PERFMON_SQLSMITH=$1 PERFMON_PG_BIN=$bin cargo nextest run --config-file tests/nextest.toml --profile soak --locked --no-fail-fast --success-output=final \
        -p perfmon-e2e -E "binary(regress)${2:+ | $2}"
}

# Majors whose headers are not here are type-checked against the bindings that pgrx bundles.
majors() {
    local other
    for other in $majors_supported; do
        [ "$other" != "$major" ] || continue
        say "type-checking for PostgreSQL $other"
        DOCS_RS=1 RUSTC_WRAPPER=$root/tools/shims/rustc-bundled CARGO_TARGET_DIR=$root/target/majors \
            cargo check --quiet --lib --locked --no-default-features --features "pg$other"
    done
}

cd "$root"
case "${1:-}" in
all)
    setup
    lint
    majors
    core
    server
    e2e
    ;;
lint | majors | core | server | e2e)
    setup
    "$1"
    ;;
regress)
    setup
    regress 10000
    ;;
soak)
    setup
    PERFMON_EXECUTIONS=1000000 PERFMON_AGREE_SECONDS=600 regress 100000 \
        'binary(flat_memory) | test(average_sessions_agree)'
    ;;
matrix)
    setup
    majors
    "$root/tools/chroot-test.sh" 17 trixie
    "$root/tools/chroot-test.sh" 18 forky
    ;;
*) die "usage: tools/test.sh all|lint|majors|core|server|e2e|regress|soak|matrix" ;;
esac
