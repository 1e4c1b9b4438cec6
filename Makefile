# Everything that can be done with a clone. Each target sets up what it needs first.
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-stop install test test-core test-server test-e2e test-regress test-soak lint majors bench bench-activity bench-capture bench-poolsize bench-store test-matrix reference

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what building and testing need (apt when root or sudo, else it says what to install)
	@tools/setup.sh --tests

demo: ## private server, real workload, report; leaves the server up
	@tools/demo.sh run

demo-stop: ## stop the demo's server
	@tools/demo.sh stop

install: ## build and install into your server: make install PG_CONFIG=/path/to/pg_config
	@tools/install.sh

test: ## lint, then every test
	@tools/test.sh all

lint: ## formatting, clippy, the edges between rooms, licences of dependencies
	@tools/test.sh lint

majors: ## type-check every supported major
	@tools/test.sh majors

test-core: ## tests that need no server (seconds)
	@tools/test.sh core

test-server: ## tests inside one server
	@tools/test.sh server

test-e2e: ## tests that start and break whole clusters
	@tools/test.sh e2e

test-regress: ## PostgreSQL's own regression suite and SQLsmith, without the hooks and with them
	@tools/test.sh regress

test-soak: ## the same with 100,000 statements of SQLsmith, a million executions in one backend, and ten minutes of pgbench under samples (45 minutes)
	@tools/test.sh soak

test-matrix: ## type-check 16; build and test 17 and 18 in Debian roots made on the spot (needs root)
	@tools/test.sh matrix

bench: ## what the extension costs a busy server, and 200 idle databases
	@bench/run overhead idle

bench-activity: ## what samples of activity cost with 500 sessions, beside pg_wait_sampling
	@bench/run activity

bench-capture: ## what the hooks add to a statement: instructions (callgrind) and transactions a second
	@bench/run capture

bench-poolsize: ## whether the advised size of a pool keeps the throughput of the best, behind a PgBouncer (a quarter of an hour)
	@bench/run poolsize

bench-store: ## size and speed of the history
	@bench/run store

reference: ## write the reference part of the manual from the catalog
	@tools/reference.sh
