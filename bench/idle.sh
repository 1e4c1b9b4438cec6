# What idle databases cost: the CPU of the whole server over a minute in which nobody does anything, with and without
# the extension preloaded.

idle_ms() {
    local before after
    sleep 20
    before=$(server_cpu_ms)
    sleep "${BENCH_IDLE_SECONDS:-60}"
    after=$(server_cpu_ms)
    awk -v a="$before" -v b="$after" 'BEGIN { print b - a }'
}

bench_idle() {
    local databases=${BENCH_DATABASES:-200} number with without seconds=${BENCH_IDLE_SECONDS:-60}
    say "idle: $databases databases with the extension, nobody connected, $seconds s each way, 5 s between snapshots"
    install_release
    make_server idle
    setting "shared_preload_libraries = 'pg_stat_statements,pg_perfmon'" "pg_perfmon.snapshot_interval = '5s'" \
        "autovacuum = off"
    start
    sql postgres -c 'CREATE DATABASE model'
    sql model -c 'CREATE EXTENSION pg_stat_statements' -c 'CREATE EXTENSION pg_perfmon'
    for ((number = 1; number < databases; number++)); do
        # A collector may be visiting the template: CREATE DATABASE waits for that by itself.
        echo "CREATE DATABASE idle_$number TEMPLATE model STRATEGY file_copy;"
    done | sql postgres
    sleep 30
    with=$(idle_ms)
    stop
    setting "shared_preload_libraries = 'pg_stat_statements'"
    start
    without=$(idle_ms)
    stop
    awk -v a="$without" -v b="$with" -v s="$seconds" -v n="$databases" \
        'BEGIN { printf "%d idle databases: %.3f %% of a core with, %.3f %% without (limit 0.3 %%)\n",
                 n, b / s / 10, a / s / 10 }'
}
