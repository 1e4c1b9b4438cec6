# What samples of activity cost: one sample of 500 sessions, and the launcher that takes one a second, beside the
# collector of pg_wait_sampling at the same rate. CPU is what the kernel accounts to the process, in nanoseconds.

activity_limit_ms=1
activity_limit_percent=0.2

# pg_wait_sampling from Debian's package, unpacked into our private copy of the server.
activity_other() {
    local major package folder
    [ ! -f "$("$bin/pg_config" --pkglibdir)/pg_wait_sampling.so" ] || return 0
    major=$(pg_major "$bin/pg_config")
    package=postgresql-$major-pg-wait-sampling
    folder=$(state_dir)/pg_wait_sampling
    mkdir -p "$folder"
    (cd "$folder" && apt-get download -qq "$package" >/dev/null 2>&1 && dpkg-deb -x "$package"_*.deb .) || return 1
    cp "$folder/usr/lib/postgresql/$major/lib/pg_wait_sampling.so" "$("$bin/pg_config" --pkglibdir)/"
    cp "$folder/usr/share/postgresql/$major/extension/"pg_wait_sampling* "$("$bin/pg_config" --sharedir)/extension/"
}

# CPU nanoseconds of the server's process of this title so far.
activity_cpu() {
    local pid
    pid=$(pgrep -P "$(head -1 "$data/postmaster.pid")" -f "$1" | head -1)
    [ -n "$pid" ] || die "no process called $1" "see $data/server.log"
    cut -d' ' -f1 "/proc/$pid/schedstat"
}

# activity_measure TITLE: percent of a core that the process takes.
activity_measure() {
    local before after seconds=${BENCH_ACTIVITY_SECONDS:-60}
    before=$(activity_cpu "$1")
    sleep "$seconds"
    after=$(activity_cpu "$1")
    awk -v a="$before" -v b="$after" -v s="$seconds" 'BEGIN { printf "%.4f", (b - a) / s / 1e7 }'
}

# 500 clients: 450 that do nothing, and 50 inside a statement.
activity_clients() {
    local script=$work/idle.sql tries
    echo '\sleep 3600 s' >"$script"
    echo 'SELECT pg_sleep(3600);' >"$work/busy.sql"
    "$bin/pgbench" -h "$sockets" -U postgres -n -c 450 -T 3600 -f "$script" postgres >/dev/null 2>&1 &
    clients=("$!")
    "$bin/pgbench" -h "$sockets" -U postgres -n -c 50 -T 3600 -f "$work/busy.sql" postgres >/dev/null 2>&1 &
    clients+=("$!")
    for ((tries = 0; ; tries++)); do
        # One more is the one that asks.
        [ "$(sql postgres -c "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")" -le 500 ] || break
        [ $tries -lt 100 ] || die "500 clients do not get in" "see $data/server.log"
        sleep 0.5
    done
}

activity_server() {
    make_server activity
    setting "shared_preload_libraries = '$1'" "max_connections = 600" "autovacuum = off" \
        "pg_perfmon.snapshot_interval = '60s'" "pg_perfmon.activity_interval = '1s'" \
        "pg_wait_sampling.history_period = 1000" "pg_wait_sampling.profile_period = 1000"
    start
}

bench_activity() {
    local seconds=${BENCH_ACTIVITY_SECONDS:-60} each own other='not available' clients
    say "activity: 500 clients, 50 of them inside a statement, a sample a second for $seconds s"
    install_release
    activity_server pg_stat_statements,pg_perfmon
    sql postgres -c 'CREATE EXTENSION pg_stat_statements' -c 'CREATE EXTENSION pg_perfmon'
    activity_clients
    own=$(activity_measure 'pg_perfmon launcher')
    each=$(sql postgres -c "SELECT substring(value FROM '([0-9.]+) ms each') FROM perfmon.status() WHERE item = 'samples of activity'")
    kill "${clients[@]}"
    stop
    if activity_other; then
        activity_server pg_stat_statements,pg_wait_sampling
        sql postgres -c 'CREATE EXTENSION pg_wait_sampling'
        activity_clients
        other="$(activity_measure 'pg_wait_sampling collector') %"
        kill "${clients[@]}"
        stop
    fi
    note "one sample: $each ms (limit $activity_limit_ms ms)"
    note "launcher: $own % of a core (limit $activity_limit_percent %); pg_wait_sampling's collector: $other"
    awk -v each="$each" -v own="$own" -v ms=$activity_limit_ms -v percent=$activity_limit_percent \
        'BEGIN { exit !(each < ms && own < percent) }' || { status=1; note "over the limit"; }
}
