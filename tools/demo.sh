#!/usr/bin/env bash
# The demo: a private server with the extension, a shop with flaws and pgbench as its clients, and what it tells.
# It must never touch a server that it did not start.
#
#   tools/demo.sh run     sets up, builds, starts, loads, drives for DEMO_SECONDS (60), prints the report
#   tools/demo.sh stop    stops the server; its data stay until the next run
source "$(dirname "$0")/lib.sh"

seconds=${DEMO_SECONDS:-60}
# PERFMON_PROFILE=dev takes debug builds, to try the demo itself.
profile=${PERFMON_PROFILE:-release}

server_running() { as_server_user "$bin/pg_ctl" -D "$data" status >/dev/null 2>&1; }

stop_server() {
    if [ -d "$data" ] && server_running; then
        as_server_user "$bin/pg_ctl" -D "$data" -m fast -w stop >/dev/null
    fi
}

sql() {
    local database=$1
    shift
    "$bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$sockets" -p "$port" -U postgres -d "$database" "$@"
}

# What the data were made by: another schema or another shop needs new ones. The generated script's order varies.
maker() {
    cat "$("$bin/pg_config" --sharedir)"/extension/pg_perfmon--*.sql "$root/demo/src/shop.rs" \
        "$root/tools/demo.sh" | sort | cksum
}

make_cluster() {
    say "making a new cluster in $data"
    rm -rf "$data"
    private_folder "$data"
    as_server_user "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null
    as_server_user tee -a "$data/postgresql.conf" >/dev/null <<CONF

# added by tools/demo.sh
listen_addresses = ''
unix_socket_directories = '$sockets'
port = $port
shared_preload_libraries = 'pg_stat_statements,pg_perfmon'
pg_perfmon.snapshot_interval = '5s'
track_io_timing = on
shared_buffers = '256MB'
CONF
}

start_server() {
    say "starting PostgreSQL $("$bin/pg_config" --version | cut -d' ' -f2) on a socket in $sockets"
    if ! as_server_user "$bin/pg_ctl" -D "$data" -l "$data/server.log" -w -t 60 start >/dev/null; then
        tail -20 "$data/server.log" >&2
        die "the server did not start" "its log: $data/server.log"
    fi
}

make_databases() {
    local database
    for database in shop pgbench; do
        sql postgres -c "CREATE ROLE $database LOGIN" -c "CREATE DATABASE $database OWNER $database"
        sql "$database" -c 'CREATE EXTENSION pg_stat_statements' -c 'CREATE EXTENSION pg_perfmon'
    done
    # A program of its own, with as many connections as it may have.
    sql postgres -c 'CREATE ROLE export LOGIN CONNECTION LIMIT 12'
    say "loading the shop"
    "$client" load --host "$sockets" --port "$port"
    say "loading pgbench's tables"
    "$bin/pgbench" -h "$sockets" -p "$port" -U pgbench -i -q -s 10 pgbench 2>/dev/null
}

drive() {
    local bench
    # Three transactions that nobody ends: open before all that is told, and until it is.
    "$client" forget --host "$sockets" --port "$port" --seconds "$((seconds + 600))" 2>/dev/null &
    forgetful=$!
    trap 'kill "$forgetful" 2>/dev/null || true' EXIT
    # What is promised of the shop; it stays promised in the data of the run before.
    sql shop -o /dev/null -c "SELECT perfmon.create_slo('shop', p95_ms => 200, p99_ms => 500, error_ratio => 0.005,
        availability_ratio => 0.999) WHERE NOT EXISTS (SELECT 1 FROM perfmon.slo WHERE name = 'shop')"
    # The report is about the traffic: what went before ends with this snapshot.
    snapshots
    since=$(sql postgres -At -c 'SELECT now()')
    say "driving the shop (10 connections), a stock check (3), an export (12) and pgbench (4) for $seconds s"
    "$bin/pgbench" -h "$sockets" -p "$port" -U pgbench -n -c 4 -j 1 -R 100 -T "$seconds" pgbench \
        >"$demo/pgbench.out" 2>&1 &
    bench=$!
    "$client" drive --host "$sockets" --port "$port" --seconds "$seconds" \
        --seed "$SECONDS" >"$demo/shop.out"
    wait "$bench" || die "pgbench failed" "$(tail -3 "$demo/pgbench.out")"
}

snapshots() {
    local database
    for database in shop pgbench; do sql "$database" -o /dev/null -c 'SELECT perfmon.snapshot()'; done
}

tell() {
    local database
    snapshots
    say "what the shop's own client counted"
    cat "$demo/shop.out"
    for database in shop pgbench; do
        say "SELECT perfmon.report('$since') in database $database"
        sql "$database" -At -c "SELECT perfmon.report('$since')"
    done
    say "SELECT … FROM perfmon.idle_in_transaction('$since') in database shop"
    sql shop -P border=1 -P pager=off -c "SELECT application, meaning, times, sessions, open, longest_ms, query
        FROM perfmon.idle_in_transaction('$since')"
    say "SELECT … FROM perfmon.pool_saturation('$since') in database shop"
    sql shop -P border=1 -P pager=off -c "SELECT level, user_name, application, saturation, saturation_ratio, limited_by,
        connections_limit, open_peak, idle_ratio, in_transaction_ratio, queue_cause, refused
        FROM perfmon.pool_saturation('$since') ORDER BY saturation_ratio DESC NULLS LAST LIMIT 10"
    say "SELECT * FROM perfmon.slo_status('$since') in database shop"
    sql shop -P border=1 -P pager=off -c "SELECT slo_name, objective, target, actual, unit, status, executions,
        budget_left_ratio, burn_rate_long, detail FROM perfmon.slo_status('$since')"
    say "SELECT * FROM perfmon.status() in database shop"
    sql shop -P border=1 -P pager=off -c 'SELECT * FROM perfmon.status()'
}

run() {
    "$root/tools/setup.sh"
    locate
    local release=(--release)
    client=$root/target/release/perfmon-demo
    if [ "$profile" != release ]; then release=() client=$root/target/debug/perfmon-demo; fi
    "$root/tools/private-server.sh" install pg "${release[@]}"
    say "building the shop's client"
    (cd "$root" && cargo build "${release[@]}" --locked -p perfmon-demo)
    stop_server
    if [ "$(cat "$demo/maker" 2>/dev/null)" = "$(maker)" ]; then
        say "using the data of the run before"
        start_server
    else
        make_cluster
        start_server
        make_databases
        maker >"$demo/maker"
    fi
    drive
    tell
    say "the server is up"
    note "connect: $bin/psql -h $sockets -p $port -U postgres shop"
    note "log:     $data/server.log"
    note "stop:    make demo-stop"
}

# Where this demo's files are; the tree is made by then.
locate() {
    bin=$("$root/tools/private-server.sh" prepare pg | tail -1)
    demo=$(state_dir)/demo
    data=$demo/data
    mkdir -p "$demo"
    sockets=$(socket_dir "$demo/run")
    port=5432
    case "$demo" in
    "$root"/*) ;;
    *) note "the server's user cannot enter $root; its files are in $demo" ;;
    esac
}

case "${1:-}" in
run) run ;;
stop)
    locate
    stop_server
    say "stopped"
    ;;
*) die "usage: tools/demo.sh run|stop" ;;
esac
