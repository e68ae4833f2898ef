# The entry points. A machine needs Rust, Python 3 and make; everything else is prepared below .local/.

.DEFAULT_GOAL := help
SHELL := /bin/sh

ARGS ?=
ARCH ?= arm64
# Of `make package`: shared/otlp for spans.
FEATURES ?=
# .ci/run sets it to --locked.
LOCKED ?=
TARGET := $(or $(CARGO_TARGET_DIR),target)
# MEASURED=webhooks for the one that is worked on.
MEASURED ?= $(FUNCTIONS)
# Of $$package, into $$profile: some functions catch a panic per message.
choose_profile = case $$package in normalizer|sales-replies) profile=release-unwind ;; *) profile=release ;; esac
FUNCTIONS := $(notdir $(patsubst %/,%,$(dir $(wildcard functions/*/Cargo.toml))))

.PHONY: help tools build run contract measure-backfill measure-cost measure-load measure-noisy measure-sale test otlp permissions fuzz-api check bench bench-gates bench-normalize bench-programs bootstraps peers FORCE lint style supply-chain package clean

help:
	@echo 'make run               the whole service on this machine; ARGS=--once ends after the comparison'
	@echo 'make measure-backfill  what a backfill costs, and what it does to live sales; ARGS="--orders 50000"'
	@echo 'make measure-load      how long sales take from the till to the sales domain, at a steady pace; ARGS="--rates 1,2,4"'
	@echo 'make measure-noisy     what a crowd at one tenant does to the sales of another; ARGS="--crowd 300"'
	@echo 'make measure-sale      what a live sale asks of AWS; ARGS="--sales 100"'
	@echo 'make measure-cost      requests to AWS for a sale, a delivery, an order, a page, in dollars; fails above infra/local/budget.json'
	@echo 'make contract          tries a consumer of our sales events, or is one; ARGS=--help'
	@echo 'make test              every test, with the local stack'
	@echo 'make otlp              spans over OTLP, which no other build links, and that no other does'
	@echo 'make permissions       what the roles allow against what the last make test did, as a table'
	@echo 'make fuzz-api          generated requests against the running API; ARGS="--max-examples 25" for fewer'
	@echo 'make check             format, clippy, docs and the tests that need no stack'
	@echo 'make bench             every function beside an empty one and peers in Python and Node, and what normalizing costs; ARGS=--quick'
	@echo 'make bench-normalize   what normalizing an order costs, in bare parses; fails above two'
	@echo 'make bench-gates       instructions, size and requests of every function against infra/bench/budget.json'
	@echo 'make lint              template.yaml for AWS, SAM and what is unsafe; the rules of Prometheus against their tests'
	@echo 'make supply-chain      licences, sources, known holes and unused dependencies of what we link'
	@echo 'make package           release packages of the functions; ARCH=arm64 (default) or x86_64'
	@echo 'make clean             removes everything that was built or prepared'

tools:
	@infra/local/prepare venv infra/local/requirements.txt

build:
	cargo build $(LOCKED) --workspace --bins

# The program is started directly: cargo would choose other features for this one package and build half of it again.
run: tools build
	@$(TARGET)/debug/local $(ARGS)

measure-backfill measure-cost measure-load measure-noisy measure-sale: tools build
	@$(TARGET)/debug/local $@ $(ARGS)

# It needs no stack: the queues are somebody else's.
contract: build
	@$(TARGET)/debug/contract $(ARGS)

# All targets at once, so that the functions exist before the first test wants to deploy them.
test: tools
	@infra/local/prepare-promtool
	cargo build $(LOCKED) --workspace --all-targets
	@rm -f .local/stacks/*/permissions.jsonl
	cargo test $(LOCKED) --workspace
	@$(MAKE) --no-print-directory permissions

# One test and what it stands on, with the features of the whole workspace and one more: what `make test` has built is built
# once. Without that feature none of it is linked.
otlp:
	cargo test $(LOCKED) --workspace --features shared/otlp --test otlp
	@! cargo tree $(LOCKED) --workspace --edges normal,build --prefix none | grep '^opentelemetry'

# What the functions did on the stacks of the last `make test` is what their roles allow, no more and no less.
permissions:
	@.local/venv/bin/python infra/local/emulator/permissions.py template.yaml .local/stacks

# All targets, as for `test`: after it there is nothing left to build. The command line of schemathesis is the rest of ours.
fuzz-api: tools
	@infra/local/prepare fuzz infra/local/requirements-fuzz.txt
	cargo build $(LOCKED) --workspace --all-targets
	@$(TARGET)/debug/local --port 0 --calm --sales 5 --exec .local/fuzz/bin/st --config-file infra/local/schemathesis.toml \
		run schemas/openapi.json $(or $(ARGS),--max-examples 250 --max-time 300)

# Of `check`, what `test` does not do as well.
style:
	cargo fmt --all --check
	cargo clippy $(LOCKED) --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' cargo doc $(LOCKED) --workspace --no-deps

check: style
	cargo test $(LOCKED) --workspace --lib --bins
	cargo test $(LOCKED) --workspace --doc

# Itself with the profile of the function that normalizes.
$(TARGET)/release-unwind/bench: FORCE
	cargo build $(LOCKED) --profile release-unwind --package bench

bench-normalize: $(TARGET)/release-unwind/bench
	@$< normalize $(filter --quick,$(ARGS))

# Everything that is measured, and what measures it.
bench-programs: $(TARGET)/release-unwind/bench bootstraps

bench: bench-normalize bootstraps peers
	@$(TARGET)/release-unwind/bench functions --target $(TARGET) $(ARGS)

bench-gates: bench-programs
	@$(TARGET)/release-unwind/bench functions --gates --target $(TARGET) $(ARGS)

# What others would have written, where there is what it runs on; without it, the rest is measured.
peers:
	@infra/local/prepare peers infra/bench/peers/requirements.txt || echo 'SKIPPED: the peers for Python.'
	@infra/bench/prepare-node || echo 'SKIPPED: the peer for Node.'

# One by one: built together, every function would link what only one of them needs.
bootstraps:
	@set -e; for package in reference-empty reference-floor $(MEASURED); do $(choose_profile); \
		cargo build $(LOCKED) --profile $$profile --package $$package; \
	done

# None of them needs a network or an account.
lint:
	@infra/local/prepare lint infra/local/requirements-lint.txt
	@infra/local/prepare checkov infra/local/requirements-checkov.txt
	.local/lint/bin/cfn-lint --regions us-east-1 --template template.yaml
	SAM_CLI_TELEMETRY=0 .local/lint/bin/sam validate --lint --template template.yaml
	.local/checkov/bin/checkov --config-file infra/local/checkov.yaml --file template.yaml
	@infra/local/prepare-promtool
	cd infra/dashboards && PATH="$(CURDIR)/.local/promtool/usr/bin:$$PATH" && promtool check rules prometheus-rules.yaml && promtool test rules prometheus-rules-tests.yaml

# The list of known holes is fetched, and where it cannot be, that is said and nothing else.
supply-chain:
	@infra/local/prepare-cargo cargo-machete 0.9.2
	@infra/local/prepare-cargo cargo-deny 0.20.2
	.local/cargo/bin/cargo-machete
	.local/cargo/bin/cargo-deny $(LOCKED) check bans licenses sources
	@if .local/cargo/bin/cargo-deny fetch db; then .local/cargo/bin/cargo-deny $(LOCKED) check --disable-fetch advisories; \
		else echo 'SKIPPED: advisories. The advisory database cannot be reached from here.'; fi

# One by one: built together, every function would link what only one of them needs.
package:
	@infra/local/prepare package infra/local/requirements-package.txt
	@set -e; export PATH="$(CURDIR)/.local/package/bin:$$PATH"; for package in $(FUNCTIONS); do $(choose_profile); \
		cargo lambda build $(LOCKED) --profile $$profile --output-format zip \
			$(if $(FEATURES),--features $(FEATURES)) $(if $(filter x86_64,$(ARCH)),--x86-64,--arm64) --package $$package; \
	done
	@echo 'package sizes in bytes ($(ARCH)):'
	@cd $(TARGET)/lambda && wc -c $(addsuffix /bootstrap.zip,$(FUNCTIONS))

clean:
	rm -rf .local
	cargo clean
