# Thin targets; what they do lies in scripts and crates.
.DEFAULT_GOAL := help
.PHONY: help run test test-full fuzz bench bench-probe fmt lint

CARGO ?= cargo
# ONCE=1: end when the quickstart's letters have arrived.
ONCE ?=
# What a benchmark is to do differently, such as ARGS='--reps 1'.
ARGS ?=

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## build, start the quickstart, send letters through it (ONCE=1: then end)
	@$(CARGO) build --locked -p posthouse-operator -p posthouse-node -p posthouse-tests --bins
	@ONCE=$(ONCE) examples/quickstart/run.sh

test: ## install what the tests need, run them all
	@.ci/setup
	@$(CARGO) build --locked --workspace --bins
	@$(CARGO) test --locked --workspace --no-fail-fast

test-full: ## what `make test` shows at small sizes, at the promised ones: 100,000 messages under kills, 50,000 for a dead hop (release)
	@.ci/setup
	@$(CARGO) build --locked --release -p posthouse-operator -p posthouse-node -p posthouse-tests --bins
	@POSTHOUSE_KILL_MESSAGES=100000 POSTHOUSE_DEAD_HOP_MESSAGES=50000 $(CARGO) test --locked --release -p posthouse-tests \
		--test killed --test scheduling --test bounds --test idle_connections -- --nocapture

fuzz: ## texts as manifests, octets as snapshots, what both sides of SMTP may be told, facts as reports, ten minutes each (nightly)
	@for target in manifests snapshot receiver sender address header dsn; do tests/fuzz/run $$target 600 || exit 1; done

bench: ## intake and end to end beside a tuned Postfix, in clear and under TLS, deliveries beside a dead next hop, an edit's way to three nodes (target/bench/*.json)
	@.ci/setup
	@$(CARGO) build --locked --release -p posthouse-operator -p posthouse-node --bins
	@$(CARGO) bench --locked -p posthouse-tests --bench relay -- $(ARGS)
	@$(CARGO) bench --locked -p posthouse-tests --bench relay -- --tls $(ARGS)
	@$(CARGO) bench --locked -p posthouse-tests --bench lanes -- $(ARGS)
	@$(CARGO) bench --locked -p posthouse-tests --bench propagation -- $(ARGS)

bench-probe: ## durable writes: redb, a log, Redis and Valkey (decision 0001)
	@.ci/setup
	@$(CARGO) bench --locked -p posthouse-tests --bench probe -- $(ARGS)

fmt: ## format
	@$(CARGO) fmt --all

lint: ## what clippy says
	@$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
