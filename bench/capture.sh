# What the hooks add to one statement: instructions, which no noise touches, and the ratio of transactions a second.
# BENCH_CAPTURE_PARTS=instructions measures those alone, in minutes; times leaves them out. BENCH_ROUNDS=135 narrows the interval
# of the ratio to half a per cent, in eleven minutes.
# The instructions of an execution are those of our own library, and of what it calls, the rest of the hook chain
# excepted; two runs of different length are subtracted, so that what is done once falls out.

capture_limit=350
capture_ratio=0.98
# All executions looked into, all under their plan: what a whole transaction may have more instructions for that.
capture_sampled_ratio=1.05
capture_sampled=(-c pg_perfmon.scan_sample_rate=1 -c pg_perfmon.plan_min_duration=0)
# The core on which servers and pgbench are kept, where they are.
capture_core=

# Runs pgbench -S with $1 transactions on a server under callgrind, with the further options; prints instructions in our
# hooks, and of the whole process.
capture_count() {
    local transactions=$1 folder=$work/callgrind main tries
    shift
    rm -rf "$folder"
    mkdir -p "$folder"
    private_folder "$folder"
    as_server_user valgrind --quiet --tool=callgrind --callgrind-out-file="$folder/out.%p" \
        "$bin/postgres" -D "$data" "$@" >>"$work/valgrind.log" 2>&1 &
    main=$!
    for ((tries = 0; ; tries++)); do
        if sql postgres -c 'SELECT 1' >/dev/null 2>&1; then break; fi
        [ $tries -lt 600 ] || die "the server did not start under valgrind" "see $work/valgrind.log"
        sleep 0.2
    done
    "$bin/pgbench" -h "$sockets" -U postgres -n -S -M prepared --random-seed=7 -c 1 -t "$transactions" postgres >/dev/null 2>&1
    as_server_user "$bin/pg_ctl" -D "$data" -m fast -w -t 120 stop >/dev/null
    wait "$main" || true
    # The busiest process is the one behind pgbench.
    capture_sum "$(ls -S "$folder"/out.* | while read -r file; do
        echo "$(sed -n 's/^\(summary\|totals\): *\([0-9]*\).*/\2/p' "$file" | head -1) $file"
    done | sort -rn | head -1 | cut -d' ' -f2)"
}

# Adds up a profile: own instructions of pg_perfmon.so, and those of the functions that it calls elsewhere, but for
# the next hook (in another library, or the server's standard_ function).
capture_sum() {
    awk '
        function name(text,    id) {
            match(text, /^\([0-9]+\)/)
            id = kind substr(text, 1, RLENGTH)
            if (length(text) > RLENGTH) names[id] = substr(text, RLENGTH + 2)
            return names[id]
        }
        /^ob=/ { kind = "o"; object = name(substr($0, 4)); own = object ~ /pg_perfmon\.so$/; next }
        /^cob=/ { kind = "o"; callee = name(substr($0, 5)); elsewhere = callee !~ /pg_perfmon\.so$/; next }
        /^cfn=/ { kind = "f"; called = name(substr($0, 5)); next }
        /^fn=/ { kind = "f"; name(substr($0, 4)); next }
        /^calls=/ { inside = 1; next }
        /^(summary|totals):/ { if (!total) total = $2; next }
        /^[0-9+*-]/ {
            if (inside) {
                chained = callee ~ /(pg_stat_statements|auto_explain)\.so$/ || called ~ /^standard_/
                if (own && elsewhere && !chained) sum += $2
                inside = 0; callee = ""; elsewhere = 0
            } else if (own) sum += $2
        }
        END { printf "%.0f %.0f\n", sum, total }
    ' "$1"
}

# Instructions of one transaction, in our hooks and in all: the libraries, then options of the server.
capture_instructions() {
    local short long libraries=$1
    shift
    command -v valgrind >/dev/null || die "valgrind is not installed" "apt-get install valgrind"
    setting "shared_preload_libraries = '$libraries'"
    read -r -a short < <(capture_count 1000 "$@")
    read -r -a long < <(capture_count 5000 "$@")
    awk -v a="${short[0]}" -v b="${long[0]}" -v c="${short[1]}" -v d="${long[1]}" \
        'BEGIN { printf "%.0f %.0f\n", (b - a) / 4000, (d - c) / 4000 }'
}

# Lower end of the 95 % interval of the median, the median, and the upper end, of numbers on standard input.
capture_interval() {
    sort -g | awk '{ v[NR] = $1 } END {
        k = int((NR - 1.96 * sqrt(NR)) / 2); if (k < 1) k = 1
        printf "%.4f %.4f %.4f\n", v[k], (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2, v[NR + 1 - k]
    }'
}

# Clusters that differ in the libraries only: $1 is with, without or twin.
capture_use() {
    data=$work/$1
    sockets=$work/run.$1
}

# Transactions a second of one short burst.
capture_burst() {
    capture_use "$1"
    shift
    ${capture_core:+taskset -c "$capture_core"} "$bin/pgbench" -h "$sockets" -U postgres -n -M prepared "$@" postgres 2>/dev/null | sed -nE 's/^tps = ([0-9.]+).*/\1/p'
}

# Starts a server anew, and keeps what is forked from here on where the clients run.
capture_restart() {
    capture_use "$1"
    stop
    start
    [ -z "$capture_core" ] || taskset -p -c "$capture_core" "$(head -1 "$data/postmaster.pid")" >/dev/null
}

capture_stop() {
    local way
    for way in with without twin; do
        capture_use $way
        stop
    done
}

# What a file of a ratio a line says of $1; leaves the low end.
capture_say() {
    local low middle high
    read -r low middle high < <(capture_interval)
    note "transactions a second, $1: median $middle, 95 % interval $low to $high"
    capture_low=$low
}

# Ratios of one session's transactions a second with and without the extension, in turns of some milliseconds, so that what
# else runs on the machine falls on both. The servers are started anew for each round, as the place of things in memory alone is
# worth some per cent: that is what rounds differ by. A third server, without the extension as well, shows what the measurement
# makes of two that are the same.
capture_turns() {
    local rounds=$1 round way with twin
    : >"$work/ratios"
    : >"$work/twins"
    for ((round = 1; round <= rounds; round++)); do
        for way in with without twin; do capture_restart $way; done
        read -r with twin < <(${capture_core:+taskset -c "$capture_core"} "$target/release/perfmon-bench" turns \
            --host "$work/run.without,$work/run.with,$work/run.twin") || true
        [ -n "${twin:-}" ] || { capture_stop; die "the servers could not be compared"; }
        echo "$with" >>"$work/ratios"
        echo "$twin" >>"$work/twins"
        note "round $round: ratio $with (another without: $twin)"
    done
    capture_stop
    capture_say "another without / without" <"$work/twins"
    capture_say "with / without" <"$work/ratios"
}

# Ratios of bursts with and without the extension: rounds, bursts in each, then pgbench's arguments. Bursts are short and alternate,
# and two of a quarter of a second differ by six per cent or so with nothing between them, so that many are needed.
capture_pairs() {
    local rounds=$1 bursts=$2 round burst way ratio order_now
    local -A tps
    shift 2
    : >"$work/ratios"
    for ((round = 1; round <= rounds; round++)); do
        : >"$work/bursts"
        for way in with without; do
            capture_restart $way
            capture_burst $way "$@" >/dev/null
        done
        for ((burst = 0; burst < bursts; burst++)); do
            # A B B A: which of the two comes first alternates.
            if ((burst % 2)); then order_now=(with without); else order_now=(without with); fi
            for way in "${order_now[@]}"; do tps[$way]=$(capture_burst $way "$@"); done
            awk -v a="${tps[with]}" -v b="${tps[without]}" 'BEGIN { printf "%.4f\n", a / b }' >>"$work/bursts"
        done
        ratio=$(median <"$work/bursts")
        echo "$ratio" >>"$work/ratios"
        note "round $round: ratio $ratio (last burst: ${tps[without]} tps without, ${tps[with]} with)"
    done
    capture_stop
    capture_say "with / without" <"$work/ratios"
}

# 100 scripts of 50 statements each, all different: what is selected is a choice of two columns at 13 places.
capture_scripts() {
    mkdir -p "$work/scripts"
    awk -v folder="$work/scripts" 'BEGIN {
        for (file = 0; file < 100; file++) {
            out = folder "/" file ".sql"
            print "\\set aid random(1, 100000)" >out
            for (i = 0; i < 50; i++) {
                n = file * 50 + i
                list = "aid"
                for (bit = 0; bit < 13; bit++) { list = list (n % 2 ? ", aid" : ", bid"); n = int(n / 2) }
                print "SELECT " list " FROM pgbench_accounts WHERE aid = :aid;" >out
            }
            close(out)
        }
    }'
}

bench_capture() {
    local rounds=${BENCH_ROUNDS:-40}
    say "capture: instructions of the hooks in one prepared SELECT by primary key"
    install_release
    make_server capture
    setting "autovacuum = off" "pg_perfmon.enabled = off" "shared_preload_libraries = 'pg_stat_statements,pg_perfmon'"
    start
    sql postgres -c 'CREATE EXTENSION pg_stat_statements' -c 'CREATE EXTENSION pg_perfmon'
    "$bin/pgbench" -h "$sockets" -U postgres -i -q -s 1 postgres >/dev/null 2>&1
    stop
    case ${BENCH_CAPTURE_PARTS:-all} in
    instructions) capture_all_instructions ;;
    times) capture_times "$rounds" ;;
    *)
        capture_all_instructions
        capture_times "$rounds"
        ;;
    esac
}

capture_all_instructions() {
    local order
    local -a figures usual
    for order in pg_stat_statements,pg_perfmon pg_perfmon,pg_stat_statements pg_perfmon; do
        read -r -a figures < <(capture_instructions "$order")
        note "$order: ${figures[0]} instructions of ${figures[1]} in the whole transaction"
        if [ "$order" = pg_stat_statements,pg_perfmon ]; then
            usual=("${figures[@]}")
            if [ "${figures[0]}" -gt $capture_limit ]; then
                note "over the limit of $capture_limit"
                status=1
            fi
        fi
    done
    capture_sampling "${usual[1]}"
}

# The same with every execution looked into; $1 are the instructions of a transaction by default. The executor does some of
# that work, which is counted too.
capture_sampling() {
    local usual=$1 rows=("${capture_sampled[@]:0:2}")
    local -a figures
    read -r -a figures < <(capture_instructions pg_stat_statements,pg_perfmon "${rows[@]}")
    note "scan_sample_rate = 1: $(capture_share "${figures[@]}" "$usual")"
    read -r -a figures < <(capture_instructions pg_stat_statements,pg_perfmon "${capture_sampled[@]}")
    note "and plan_min_duration = 0: $(capture_share "${figures[@]}" "$usual")"
    awk -v a="${figures[1]}" -v b="$usual" -v limit=$capture_sampled_ratio 'BEGIN { exit a > b * limit }' || {
        note "over the limit of $capture_sampled_ratio"
        status=1
    }
}

# Instructions in our hooks, and of a whole transaction, beside those of one by default.
capture_share() {
    awk -v own="$1" -v all="$2" -v usual="$3" \
        'BEGIN { printf "%d instructions of %d in the whole transaction, which has %.4f of those by default\n", own, all, all / usual }'
}

# Transactions a second with and without the extension, on copies of the cluster that was measured.
capture_times() {
    local rounds=$1 way target=${CARGO_TARGET_DIR:-$root/target}
    (cd "$root" && cargo build --quiet --release -p perfmon-bench)
    for way in with without twin; do
        cp -a "$data" "$work/$way"
        private_folder "$work/run.$way"
    done
    for way in without twin; do
        capture_use $way
        setting "shared_preload_libraries = 'pg_stat_statements'" "unix_socket_directories = '$sockets'"
    done
    capture_use with
    setting "shared_preload_libraries = 'pg_stat_statements,pg_perfmon'" "unix_socket_directories = '$sockets'"
    # One client alternates with its backend: on a core of their own, transactions a second are what both cost, and not
    # where the scheduler puts them nor how long it takes to wake another core.
    say "capture: what pgbench -S -M prepared asks, in one session, $rounds rounds"
    if command -v taskset >/dev/null; then capture_core=$(($(nproc) - 1)); fi
    capture_turns "$rounds"
    note "limit of the low end: $capture_ratio"
    awk -v low="$capture_low" -v limit=$capture_ratio 'BEGIN { exit low < limit }' || status=1
    # The same by pgbench itself, whose runs scatter more. A run lasts for two seconds or so, since its session is a new one.
    say "capture: pgbench -S -M prepared, one client, $(((rounds + 3) / 4)) rounds"
    capture_pairs $(((rounds + 3) / 4)) 10 -S -c 1 -t 60000
    capture_core=
    say "capture: 64 clients, one statement"
    capture_pairs $(((rounds + 7) / 8)) 16 -S -c 64 -j 2 -t 300
    say "capture: 64 clients, 5,000 statements"
    capture_scripts
    # 96,000 executions in a burst, twenty of each statement. Most of it is planning, by each client anew; a session that
    # lasts for fewer is mostly one that meets memory for the first time.
    capture_pairs $(((rounds + 7) / 8)) 2 $(printf -- '-f %s ' "$work"/scripts/*.sql) -c 64 -j 2 -t 30
}
