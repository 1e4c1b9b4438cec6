# The advised size of a pool, checked by experiment. Some clients work through a PgBouncer whose pool is as large as their
# number, and pool_size_advice() says how large it need be. Then the same clients work through pools of all sizes, in short
# rounds that take turns: the advised one must keep 95 % of the best throughput, and be no larger than 1.5 times the smallest
# that does. The loop is closed: a client thinks, and sends the next transaction when the last one is done.

poolsize_keeps=0.95
poolsize_most=1.5

# Clients, seconds of a round, rounds, and seconds in which the oversized pool is watched, ten samples in each.
poolsize_clients=${BENCH_POOLSIZE_CLIENTS:-48}
poolsize_seconds=${BENCH_POOLSIZE_SECONDS:-3}
poolsize_rounds=${BENCH_POOLSIZE_ROUNDS:-5}
poolsize_watched=${BENCH_POOLSIZE_WATCHED:-60}

poolsize_sizes() {
    local size
    for size in 1 2 3 4 5 6 7 8 9 10 12 14 16 18 20 24 32 48 64 96 "$1" "$poolsize_clients"; do
        if [ "$size" -le "$poolsize_clients" ]; then echo "$size"; fi
    done | sort -nu
}

# One transaction of each load, and the time that the client takes before the next.
poolsize_script() {
    local lines
    case "$1" in
    processors)
        lines=('SELECT sum(abalance) FROM pgbench_accounts WHERE aid BETWEEN :id AND :id + 20000;' '\sleep 10 ms')
        ;;
    points)
        lines=('BEGIN;' 'SELECT abalance FROM pgbench_accounts WHERE aid = :id;' '\sleep 5 ms'
            'SELECT bbalance FROM pgbench_branches WHERE bid = 1 + :id % 10;' 'COMMIT;' '\sleep 25 ms')
        ;;
    waits)
        lines=('\set ms random(10, 30)'
            'SELECT pg_sleep(:ms / 1000.0), abalance FROM pgbench_accounts WHERE aid = :id;' '\sleep 60 ms')
        ;;
    esac
    printf '%s\n' '\set id random(1, 900000)' "${lines[@]}" >"$work/load.sql"
}

poolsize_say() {
    case "$1" in
    processors) echo "statements that want a processor, more than there are" ;;
    points) echo "point selects, with the client thinking inside the transaction and outside" ;;
    waits) echo "statements that wait, as for a lock or a disk" ;;
    esac
}

# A PgBouncer in transaction mode: database size_N is a pool of N connections to database app.
poolsize_pooler() {
    local program size folder
    program=$(command -v pgbouncer || echo /usr/sbin/pgbouncer)
    [ -x "$program" ] || die "no PgBouncer" "apt-get install pgbouncer"
    folder=$(socket_dir "$work/pooler")
    {
        echo '[databases]'
        for ((size = 1; size <= poolsize_clients; size++)); do
            echo "size_$size = host=$sockets port=5432 dbname=app pool_size=$size"
        done
        printf '%s\n' '[pgbouncer]' 'listen_addr =' 'listen_port = 6432' "unix_socket_dir = $folder" 'auth_type = trust' \
            "auth_file = $folder/users" 'pool_mode = transaction' 'max_client_conn = 1000' 'server_idle_timeout = 1' \
            "logfile = $folder/log" "pidfile = $folder/pid"
    } | as_server_user tee "$folder/pgbouncer.ini" >/dev/null
    echo '"app" ""' | as_server_user tee "$folder/users" >/dev/null
    as_server_user "$program" -d "$folder/pgbouncer.ini" >/dev/null 2>&1 || die "PgBouncer did not start" "see $folder/log"
    pooler=$folder
    trap 'poolsize_end; stop' EXIT
}

poolsize_end() {
    local pid
    pid=$(cat "$pooler/pid" 2>/dev/null) || return 0
    kill "$pid" 2>/dev/null || true
}

poolsize_pgbench() {
    "$bin/pgbench" -h "$pooler" -p 6432 -U app -n -M simple -c "$poolsize_clients" -j 2 -T "$2" -f "$work/load.sql" "size_$1"
}

# Transactions a second through a pool of this size.
poolsize_tps() {
    local out
    out=$(poolsize_pgbench "$1" "$poolsize_seconds" 2>&1) || die "pgbench failed" "$out"
    sed -nE 's/^tps = ([0-9.]+).*/\1/p' <<<"$out"
}

# What is advised after watching the oversized pool: size, and what shows it.
poolsize_advice() {
    local clients since
    poolsize_pgbench "$poolsize_clients" "$((poolsize_watched + 10))" >/dev/null 2>&1 &
    clients=$!
    sleep 3
    since=$(sql postgres -c 'SELECT perfmon.snapshot()' -c 'SELECT clock_timestamp()' | tail -1)
    sleep "$poolsize_watched"
    sql postgres -F ' ' -c 'SELECT perfmon.snapshot()' -c "SELECT advised_size, round(busy_avg::numeric, 1), busy_p99,
        busy_peak, round(busy_load::numeric, 1), round(margin::numeric, 1), limited_by_cpus, quality
        FROM perfmon.pool_size_advice('$since', clock_timestamp()) WHERE level = 'pool' AND application = 'pgbench'" | tail -1
    wait "$clients" || true
}

# poolsize_sweep ADVISED: lines "round size tps".
poolsize_sweep() {
    local round size sizes
    sizes=$(poolsize_sizes "$1")
    for ((round = 1; round <= poolsize_rounds; round++)); do
        # Every other round goes the other way, so that a machine that gets slower favours nobody.
        for size in $(if ((round % 2)); then echo "$sizes"; else sort -rn <<<"$sizes"; fi); do
            echo "$round $size $(poolsize_tps "$size")"
        done
    done
}

# poolsize_judge ADVISED: the table, and whether the advice holds. What a round had on average is taken out of its numbers. Of the
# medians over rounds, running medians of three sizes count (at the upper end by Tukey's rule): these leave what rises as it
# is, and take away a size that was lucky, which else were the best.
poolsize_judge() {
    awk -v advised="$1" -v keeps="$poolsize_keeps" -v most="$poolsize_most" '
        function middle(a, b, c) { return a > b ? (b > c ? b : (a > c ? c : a)) : (a > c ? a : (b > c ? c : b)) }
        function median(size,    n, i, j, v, t) {
            n = 0
            for (i = 1; i <= rounds; i++) v[++n] = tps[i, size] / (sum[i] / sizes) * (all / rounds / sizes)
            for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j - 1] > v[j]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
            return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
        }
        { tps[$1, $2] = $3; sum[$1] += $3; all += $3; if ($1 > rounds) rounds = $1 }
        $1 == 1 { size[++sizes] = $2 }
        END {
            for (i = 1; i <= sizes; i++) raw[i] = median(size[i])
            for (i = 2; i < sizes; i++) of[i] = middle(raw[i - 1], raw[i], raw[i + 1])
            of[1] = raw[1]
            of[sizes] = middle(raw[sizes], of[sizes - 1], 3 * of[sizes - 1] - 2 * of[sizes - 2])
            for (i = 1; i <= sizes; i++) if (of[i] > best) best = of[i]
            for (i = sizes; i >= 1; i--) if (of[i] >= keeps * best) smallest = size[i]
            printf "    %6s %10s %10s %8s\n", "size", "tps", "smoothed", "of best"
            for (i = 1; i <= sizes; i++) {
                mark = (size[i] == advised ? "  advised" : "") (size[i] == smallest ? "  smallest" : "")
                printf "    %6d %10.0f %10.0f %7.1f %%%s\n", size[i], raw[i], of[i], 100 * of[i] / best, mark
                if (size[i] == advised) kept = of[i] / best
            }
            held = kept >= keeps && advised <= most * smallest
            printf "    advised %d: %.1f %% of the best throughput, %.2f times the smallest size that keeps %.0f %%: %s\n",
                advised, 100 * kept, advised / smallest, 100 * keeps, held ? "holds" : "MISSED"
            exit !held
        }'
}

bench_poolsize() {
    local load advice size average p99 peak busy margin cpus quality
    awk -v cpus="$(nproc)" '$1 > cpus / 2 { exit 1 }' /proc/loadavg ||
        note "the machine is busy ($(cut -d' ' -f1 /proc/loadavg) processes at a time): what else wants processors decides with"
    say "poolsize: $poolsize_clients clients through PgBouncer, $poolsize_rounds rounds of $poolsize_seconds s a size"
    install_release
    make_server poolsize
    setting "shared_preload_libraries = 'pg_stat_statements,pg_perfmon'" "max_connections = $((2 * poolsize_clients + 100))" \
        "autovacuum = off" "pg_perfmon.snapshot_interval = '1h'" "pg_perfmon.activity_interval = '100ms'"
    start
    sql postgres -c 'CREATE EXTENSION pg_stat_statements' -c 'CREATE EXTENSION pg_perfmon' -c 'CREATE ROLE app LOGIN' \
        -c 'CREATE DATABASE app OWNER app'
    "$bin/pgbench" -h "$sockets" -U app -i -q -s 10 app 2>/dev/null
    poolsize_pooler
    for load in ${BENCH_POOLSIZE_LOADS:-processors points waits}; do
        say "$load: $(poolsize_say "$load")"
        poolsize_script "$load"
        advice=$(poolsize_advice)
        read -r size average p99 peak busy margin cpus quality <<<"$advice"
        [ -n "$quality" ] && [ "$size" -gt 0 ] || die "no advice: $advice" "watch for longer: BENCH_POOLSIZE_WATCHED"
        note "busy with a pool of $poolsize_clients: $average on average, $p99 in 99 % of samples, $peak at most"
        note "advice: $size, for a load of $busy and $margin for chance; limited by processors: $cpus; quality: $quality"
        poolsize_sweep "$size" | poolsize_judge "$size" || { status=1; note "the advice misses"; }
    done
    poolsize_end
    trap stop EXIT
    stop
}
