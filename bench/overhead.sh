# What a busy server pays: the same cluster, restarted with and without the extension, in turns A B B A, and vacuumed
# before each, so that drift of the machine and of the tables falls on both. The extension takes a snapshot every 5 s
# here, twelve times as often as by default.

overhead_round() {
    stop
    setting "shared_preload_libraries = '$1'"
    start
    sql postgres -c 'VACUUM' -c 'CHECKPOINT'
    "$bin/pgbench" -h "$sockets" -U postgres -n -S -M prepared -c 2 -j 1 -T 2 postgres >/dev/null 2>&1
    "$bin/pgbench" -h "$sockets" -U postgres -n $2 -M prepared -c 2 -j 1 -T "${BENCH_SECONDS:-15}" postgres 2>/dev/null |
        sed -nE 's/^tps = ([0-9.]+).*/\1/p'
}

bench_overhead() {
    local rounds=${BENCH_ROUNDS:-6} round script without with order way
    local -A libraries=([without]='pg_stat_statements' [with]='pg_stat_statements,pg_perfmon')
    say "overhead: pgbench at full speed, 2 clients, $rounds rounds of ${BENCH_SECONDS:-15} s each way"
    install_release
    make_server overhead
    setting "shared_preload_libraries = 'pg_stat_statements,pg_perfmon'" "pg_perfmon.snapshot_interval = '5s'" \
        "autovacuum = off" "synchronous_commit = off"
    start
    sql postgres -c 'CREATE EXTENSION pg_stat_statements' -c 'CREATE EXTENSION pg_perfmon'
    "$bin/pgbench" -h "$sockets" -U postgres -i -q -s 20 postgres >/dev/null 2>&1
    for script in "-S" "-N"; do
        : >"$work/with"
        : >"$work/without"
        for ((round = 1; round <= rounds; round++)); do
            if ((round % 2)); then order='without with'; else order='with without'; fi
            for way in $order; do overhead_round "${libraries[$way]}" "$script" >>"$work/$way"; done
            note "pgbench $script round $round: $(tail -1 "$work/without") tps without, $(tail -1 "$work/with") with"
        done
        without=$(median <"$work/without")
        with=$(median <"$work/with")
        awk -v a="$without" -v b="$with" -v s="$script" \
            'BEGIN { printf "pgbench %s: median %.0f tps without, %.0f with: %+.2f %%\n", s, a, b, (b / a - 1) * 100 }'
    done
    stop
}
