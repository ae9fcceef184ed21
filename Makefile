# The one front door. `make` lists the targets.
#
# Needs a Rust toolchain and Python 3.11 or newer; everything else is installed into .venv.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
RUST := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)
N ?= 1000000
KILLS ?= 250
ROUNDS ?= 20
REGIONS_MINUTES ?= 3
REGIONS_SEED ?= regions
# The history that `make demo` replays; without one the demo makes up its own.
DEMO_DATA ?= $(firstword $(wildcard ../shared/data/goalscorers.csv))

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-22s %s\n", $$1, $$2 }'

# Set-up

.venv/python: pyproject.toml
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

.venv/rankwire: .venv/python pyproject.toml $(RUST)
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/maturin develop --release --locked --quiet >/dev/null
	touch $@

.PHONY: dev
dev: .venv/rankwire ## Install everything into .venv, with the extension built for speed

# Helm and kubectl, for checks of the chart.
.venv/tools/helm: .venv/python deploy/helm/get_helm.py
	$(BIN)/python deploy/helm/get_helm.py .venv/tools
	touch $@

.PHONY: helm
helm: .venv/tools/helm ## Put Helm and kubectl into .venv/tools

# Use

.PHONY: demo
demo: .venv/rankwire ## Replay a real history into a real server and watch it live
	$(BIN)/rankwire demo $(DEMO_DATA)

.PHONY: serve
serve: .venv/rankwire ## Run a server on this machine
	$(BIN)/rankwire serve

# Checks

.PHONY: test
test: test-rust test-models test-python ## Run all tests

.PHONY: test-rust
test-rust: ## Run the tests of the Rust crates
	cargo test --workspace --quiet

.PHONY: test-models
test-models: ## Short forms of verify-loom and verify-shuttle
	LOOM_MAX_PREEMPTIONS=1 $(MAKE) --no-print-directory verify-loom
	SHUTTLE_RUNS=500 $(MAKE) --no-print-directory verify-shuttle

.PHONY: test-python
test-python: .venv/rankwire .venv/tools/helm ## Run the tests of the server, and say which were left out
	$(BIN)/pytest -q -rs -n 3 --dist loadfile

.PHONY: lint
lint: .venv/rankwire ## Check style, types, layers and spelling
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest rankwire._core --allowlist python/stubtest-allowlist
	$(BIN)/lint-imports
	$(BIN)/codespell

.PHONY: fmt
fmt: .venv/python ## Format everything
	cargo fmt --all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: gate
gate: .venv/rankwire ## Count the instructions of hot paths, and fail if one takes 3 % more than it did
	$(BIN)/python loadtests/gate.py

.PHONY: gate-accept
gate-accept: .venv/rankwire ## Expect from now on what is counted now
	$(BIN)/python loadtests/gate.py --accept

.PHONY: ci
ci: lint test gate ## What every change must pass

.PHONY: verify
verify: .venv/rankwire verify-ranklist verify-hub verify-regions verify-terraform verify-drill loadtest-medium-short ## The long runs, about two hours (KILLS=250 for each storage setting)
	PROPTEST_CASES=20000 cargo test --workspace --release --quiet
	KILLS=$(KILLS) $(BIN)/pytest -q --timeout 7200 tests/failure
	ROUNDS=$(ROUNDS) $(BIN)/pytest -q --timeout 7200 tests/cluster

.PHONY: wheel
wheel: .venv/python ## Build the wheel and the source distribution into dist/, without paths of this machine
	rm -rf dist
	CARGO_TARGET_DIR=target/wheel RUSTFLAGS='--remap-path-prefix=$(HOME)=/home --remap-path-prefix=$(CURDIR)=/rankwire' $(BIN)/maturin build --release --locked --strip --quiet --out dist
	$(BIN)/maturin sdist --out dist >/dev/null

.PHONY: notices
notices: .venv/python ## Write THIRD-PARTY.txt, the licences of what is compiled in
	$(BIN)/python deploy/release/notices.py

# What is written by programs and kept in the repository; tests compare it.

.PHONY: manifests
manifests: .venv/rankwire .venv/tools/helm ## Render deploy/kubernetes from the chart, and the settings in its schema
	$(BIN)/python deploy/helm/render.py

.PHONY: dashboards
dashboards: .venv/rankwire ## Write the dashboards of Grafana from their source
	$(BIN)/python deploy/observability/source/dashboards.py

# Each way to check the ranked list by itself; docs/verification.md says what it can find. Model
# checkers and sanitizers need builds of their own, which go below target/.

RANKLIST := cargo test --quiet -p rankwire-ranklist
HISTORY ?= 10000000
FUZZ_SECONDS ?= 300
SHUTTLE_RUNS ?= 100000

.PHONY: verify-ranklist
verify-ranklist: verify-properties verify-history verify-loom verify-shuttle verify-asan verify-fuzz verify-doubles ## All of the following

.PHONY: verify-properties
verify-properties: ## Random histories against a plain model and the canonical shape
	PROPTEST_CASES=20000 $(RANKLIST) --release --lib
	$(RANKLIST) --release --test million -- --ignored

.PHONY: verify-history
verify-history: ## Histories of four threads, HISTORY=10000000 operations, checked for linearizability
	RANKWIRE_HISTORY=$(HISTORY) $(RANKLIST) --release --test linearizability -- --nocapture

.PHONY: verify-loom
verify-loom: ## All interleavings of the concurrent parts, up to a bound
	CARGO_TARGET_DIR=target/loom RUSTFLAGS='--cfg loom' $(RANKLIST) --release --lib sync:: -- --test-threads=1

.PHONY: verify-shuttle
verify-shuttle: ## Random schedules of whole lists (SHUTTLE_RUNS=100000)
	SHUTTLE_RUNS=$(SHUTTLE_RUNS) CARGO_TARGET_DIR=target/shuttle RUSTFLAGS='--cfg shuttle' $(RANKLIST) --release --lib --test schedules

.PHONY: verify-asan
verify-asan: ## The tests under AddressSanitizer, leaks included
	CARGO_TARGET_DIR=target/asan RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=address' $(RANKLIST) --lib --tests --target x86_64-unknown-linux-gnu

.PHONY: verify-fuzz
verify-fuzz: ## Coverage-guided fuzzing, FUZZ_SECONDS=300 for each target; needs a nightly toolchain
	command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked --quiet
	cd rust/ranklist
	for target in history differences; do
		cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=2048 -len_control=0
	done

.PHONY: verify-hub
verify-hub: ## Fuzzing of all that the live door reads, FUZZ_SECONDS=300 for each target
	command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked --quiet
	cd rust/hub
	for target in handshake frames commands_json commands_protobuf delta; do
		cargo +nightly fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=4096
	done

.PHONY: verify-doubles
verify-doubles: ## Whether each check notices a list that was broken on purpose
	rust/ranklist/check-doubles

.PHONY: verify-regions
verify-regions: .venv/rankwire ## Three regions under random faults for REGIONS_MINUTES=3, drawn by REGIONS_SEED
	REGIONS_MINUTES=$(REGIONS_MINUTES) REGIONS_SEED=$(REGIONS_SEED) $(BIN)/pytest -q --timeout 7200 tests/regions/test_chaos.py tests/regions/test_namespaces.py

.PHONY: verify-terraform
verify-terraform: .venv/rankwire ## All tests of deploy/terraform, and the DNS part made for real; needs Terraform
	VERIFY_TERRAFORM=1 $(BIN)/pytest -q -rs tests/deploy

.PHONY: verify-drill
verify-drill: .venv/rankwire ## Lose a region behind DNS, under load, and measure what that takes
	command -v pdns_server >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends pdns-server pdns-backend-bind; }
	VERIFY_DRILL=1 $(BIN)/pytest -q tests/regions/test_drill.py

.PHONY: verify-drain
verify-drain: .venv/rankwire ## Stop one of two nodes under 6,000 sockets, and let connections reach their age
	VERIFY_DRAIN=1 $(BIN)/pytest -q -s --timeout 900 tests/realtime/test_drain_nodes.py tests/realtime/test_connection_age.py

.PHONY: verify-autoscale
verify-autoscale: .venv/rankwire ## Scale real nodes by real load through the metrics server; a real Prometheus beside it
	VERIFY_AUTOSCALE=1 $(BIN)/pytest -q -rs -s --timeout 900 tests/autoscale

.PHONY: verify-chart
verify-chart: .venv/rankwire .venv/tools/helm ## All 7,680 combinations of the chart's switches, each object checked strictly
	VERIFY_CHART=1 $(BIN)/pytest -q -rs --timeout 7200 tests/deploy/test_chart.py

.PHONY: verify-wheel
verify-wheel: wheel .venv/rankwire ## Install the wheel, and the source distribution, into empty environments and use them
	VERIFY_WHEEL=$(CURDIR)/dist $(BIN)/pytest -q -rs --timeout 900 tests/release

.PHONY: verify-container
verify-container: .venv/rankwire ## Build the image and run it, and all of compose.yaml but Grafana; needs root
	for tool in buildah crun debootstrap promtool; do
		command -v $$tool >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends buildah crun debootstrap prometheus; }
	done
	tests/deploy/container/build-image target/container
	VERIFY_CONTAINER=$(CURDIR)/target/container $(BIN)/pytest -q -rs --timeout 600 tests/deploy/test_container_run.py tests/deploy/test_compose_run.py

# Kubernetes' own API server, controllers and client libraries, built from their Go modules.
KUBERNETES_BIN ?= $(CURDIR)/target/kubernetes

.PHONY: verify-kubernetes
verify-kubernetes: .venv/rankwire .venv/tools/helm ## The chart and the autoscaler in a real Kubernetes without machines; needs Go and root
	tests/kubernetes/build.sh $(KUBERNETES_BIN)
	KUBERNETES_BIN=$(KUBERNETES_BIN) unshare --net sh -euc 'ip link set lo up; ip route add local 10.77.0.0/16 dev lo; exec $(BIN)/pytest -q -rs tests/kubernetes'

# Benchmarks. Each ends with one JSON line; `ratio` says how many times better ours is.

.venv/bench: .venv/rankwire
	command -v wrk redis-server >/dev/null || { apt-get update -qq && apt-get install -y -qq wrk redis-server; }
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq postgresql; }
	touch $@

.PHONY: bench-http
bench-http: .venv/bench ## Durable submits over HTTP, beside a raw echo and FastAPI with Redis
	$(BIN)/python loadtests/bench_http.py

.PHONY: bench-commit
bench-commit: .venv/bench ## Durable submits on SQLite and on PostgreSQL, and what limits the latter
	$(BIN)/python loadtests/bench_commit.py

.PHONY: bench-apply
bench-apply: .venv/bench ## How fast a node takes in what another one commits
	$(BIN)/python loadtests/bench_apply.py

.PHONY: bench-repair
bench-repair: .venv/bench ## Bytes and rounds until two regions know what differs, beside telling everything
	$(BIN)/python loadtests/bench_repair.py

.PHONY: bench-ranklist
bench-ranklist: .venv/bench ## Score moves a second on one core, beside Redis and a classic skip list
	$(BIN)/python loadtests/bench_ranklist.py

.PHONY: bench-ranklist-10m
bench-ranklist-10m: .venv/bench ## The same at 10,000,000 members, and what a rank takes
	$(BIN)/python loadtests/bench_ranklist_10m.py

.PHONY: bench-memory
bench-memory: .venv/bench ## Bytes a member, and bytes of small boards, beside Redis
	$(BIN)/python loadtests/bench_memory.py --million

.PHONY: bench-threads
bench-threads: .venv/bench ## Reads beside a writer, and moves of several writers, on all cores
	$(BIN)/python loadtests/bench_threads.py

.PHONY: bench-snapshot
bench-snapshot: .venv/bench ## Memory while a snapshot is held for a minute at full speed
	$(BIN)/python loadtests/bench_snapshot.py --seconds 60

.PHONY: bench-restart
bench-restart: .venv/bench ## Seconds until ready with N members (N=1000000) on SQLite and PostgreSQL, beside Redis
	$(BIN)/python loadtests/bench_restart.py --members $(N)

.PHONY: bench-fanout
bench-fanout: .venv/bench ## Deliveries of live views a CPU second, beside bare send(), and their latency
	$(BIN)/python loadtests/bench_fanout.py

.PHONY: bench-idle
bench-idle: .venv/bench ## Memory and processor time of idle watchers
	$(BIN)/python loadtests/bench_idle.py

.PHONY: bench-storm
bench-storm: .venv/bench ## How 17,900 watchers come back at once, and what those who stay notice
	$(BIN)/python loadtests/bench_storm.py

.PHONY: bench-ws-submit
bench-ws-submit: .venv/bench ## Durable submits over WebSocket, beside HTTP
	$(BIN)/python loadtests/bench_ws_submit.py

.PHONY: bench-live-bytes
bench-live-bytes: .venv/bench ## Bytes a watcher and second of 18,750 watchers of a game
	$(BIN)/python loadtests/bench_live_bytes.py

.PHONY: bench-units
bench-units: .venv/bench ## What each thing costs a server, for `rankwire ops capacity`; writes units.json
	$(BIN)/python loadtests/bench_units.py

.PHONY: bench-predictions
bench-predictions: .venv/bench ## What the capacity model predicts of a load, beside what a server does
	$(BIN)/python loadtests/bench_predictions.py

.PHONY: bench-traffic
bench-traffic: .venv/bench ## What watching the reads costs, as a share of a request's processor time
	$(BIN)/python loadtests/bench_traffic.py

# Others, beside us. Centrifugo's version is pinned so that results can be compared; its binary says
# which one it is.
CENTRIFUGO_VERSION := v6.9.1

.venv/tools/centrifugo: .venv/python
	mkdir -p .venv/tools
	GOBIN=$(CURDIR)/.venv/tools CGO_ENABLED=0 go install github.com/centrifugal/centrifugo/v6@$(CENTRIFUGO_VERSION)
	touch $@

.PHONY: centrifugo
centrifugo: .venv/tools/centrifugo ## Build Centrifugo into .venv/tools for `make compare`; needs Go

.PHONY: compare
compare: .venv/bench ## Rankwire beside FastAPI over Redis, Centrifugo and redis-server, in one run
	if command -v go >/dev/null; then $(MAKE) --no-print-directory centrifugo; else echo 'no Go toolchain: the comparison with Centrifugo is left out' >&2; fi
	$(BIN)/python loadtests/compare.py

# Whole games on this machine: a cluster, all its players, and a verdict. loadtests/README.md says more.
RESULTS ?= build/results
SCENARIO ?= medium
FACTOR ?= 0.01

.PHONY: loadtest
loadtest: .venv/bench ## Play a scenario, S=steady, and judge it; the result goes to RESULTS=build/results
	$(BIN)/python loadtests/play.py $(or $(S),$(error S=NAME is needed, a file of loadtests/scenarios)) --output $(RESULTS)

.PHONY: loadtest-medium
loadtest-medium: ## 75,000 sockets and 50,000 games a minute, for ten minutes
	$(MAKE) --no-print-directory loadtest S=medium

.PHONY: loadtest-medium-short
loadtest-medium-short: ## The same load, all of it within three minutes
	$(MAKE) --no-print-directory loadtest S=medium-short

.PHONY: loadtest-large
loadtest-large: .venv/bench ## What this machine carries of 1,000,000 users, step by step, and the fleet for all of it
	$(BIN)/python loadtests/large.py

.PHONY: loadtest-locust
loadtest-locust: .venv/rankwire ## Locust's users against a server of their own (SCENARIO=medium FACTOR=0.01)
	$(BIN)/python loadtests/run_locust.py --scenario $(SCENARIO) --factor $(FACTOR)

.PHONY: clean
clean: ## Remove what was built
	cargo clean
	rm -rf .venv build dist
