# Size and speed of the history: the collector records a workload of 5,000 statements, PoWA beside it where it can
# be had; a month is made of that through the extension's own writer; then the questions are timed, warm and just
# after a restart. The build has the feature `bench`, and its own copy of the server.

# PoWA is only a yardstick: installed when that takes nobody's consent, else left out.
powa_available() {
    local library
    library=$("$(find_pg_config)" --pkglibdir)/powa.so
    [ -f "$library" ] && return
    command -v apt-get >/dev/null && { is_root || sudo -n true 2>/dev/null; } || return 1
    $(is_root && echo env || echo sudo -n env) DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 \
        --no-install-recommends "postgresql-$(pg_major "$(find_pg_config)")-powa" </dev/null >/dev/null 2>&1 || return 1
    [ -f "$library" ]
}

client() {
    local task=$1
    shift
    "$target/release/perfmon-bench" "$task" --host "$sockets" --figures "$work/figures" "$@"
}

restart() {
    stop
    start
}

bench_store() {
    local with_powa=no preload='pg_stat_statements,pg_perfmon' question small_active=50
    local days=${BENCH_DAYS:-30} target=${CARGO_TARGET_DIR:-$root/target}
    if powa_available; then
        with_powa=yes
        preload=pg_stat_statements,powa,pg_perfmon
    else
        note "PoWA is not here and cannot be installed: its figures are left out"
    fi
    bin=$("$root/tools/private-server.sh" prepare bench | tail -1)
    "$root/tools/private-server.sh" install bench --release --features bench >/dev/null
    (cd "$root" && cargo build --quiet --release -p perfmon-bench)
    make_server store
    setting "shared_preload_libraries = '$preload'" "pg_perfmon.snapshot_interval = '1h'" "autovacuum = off" \
        "pg_stat_statements.max = 6000" "pg_stat_statements.track_planning = off" "max_wal_size = '8GB'" \
        "log_checkpoints = off" "fsync = off"
    [ "$with_powa" = no ] || setting "powa.frequency = -1"
    # While recording, most tables must not fit, so that blocks are read.
    setting "shared_buffers = '32MB'"
    start
    sql postgres -c 'CREATE DATABASE bench' -c 'CREATE DATABASE small'
    for database in bench small; do
        sql "$database" -c 'CREATE EXTENSION pg_stat_statements' -c 'CREATE EXTENSION pg_perfmon'
    done
    if [ "$with_powa" = yes ]; then
        sql postgres -c 'CREATE DATABASE powa'
        sql powa -c 'CREATE EXTENSION powa CASCADE'
    fi
    client load --dbname bench
    client load --dbname small
    sql bench -c 'SELECT pg_stat_statements_reset()' >/dev/null
    say "store: recording ${BENCH_INTERVALS:-12} intervals"
    # shellcheck disable=SC2046 # words
    client record --dbname bench --postmaster "$(head -1 "$data/postmaster.pid")" \
        --intervals "${BENCH_INTERVALS:-12}" --executions "${BENCH_EXECUTIONS:-40000}" \
        $([ "$with_powa" = no ] || echo --powa powa)
    client record --dbname small --postmaster "$(head -1 "$data/postmaster.pid")" --active $small_active \
        --intervals 6 --executions 2000
    # From here on nothing is to be recorded.
    setting "shared_buffers = '512MB'" "pg_perfmon.enabled = off"
    restart
    say "store: making $days days of it"
    client fill --dbname bench --days "$days"
    client fill --dbname small --days 2 --active $small_active
    restart
    # Gigabytes were just written: the kernel takes them to the disk first, or it would do that while questions are timed.
    sync
    say "store: asking"
    client ask --dbname bench
    for question in 0 1 2 3 4 5; do
        restart
        client cold --dbname bench --question $question
    done
    say "store: snapshots by call, of the server's counters alone"
    setting "shared_preload_libraries = '${preload%,pg_perfmon}'" "shared_buffers = '32MB'"
    restart
    client call --dbname bench --intervals "${BENCH_INTERVALS:-12}" --executions "${BENCH_EXECUTIONS:-40000}"
    stop
    # Gigabytes; BENCH_KEEP=1 leaves them for a closer look.
    [ -n "${BENCH_KEEP:-}" ] || rm -rf "$data"
    say "store: figures"
    client table || status=1
}
