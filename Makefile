# berth. `make help` lists the targets.

GO      ?= go
BIN     := bin
PROGRAMS := machined importd machinectl importctl
VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)
GOFLAGS_BUILD := -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
PREFIX  ?= /usr/local
SUITE   ?= sid
FUZZTIME ?= 10s

.PHONY: all build demo test test-unit test-root test-host conformance host-shell bench fuzz lint \
	install uninstall clean help setup

all: build

build: ## static binaries in bin/
	@mkdir -p $(BIN)
	@for p in $(PROGRAMS); do \
		CGO_ENABLED=0 $(GO) build $(GOFLAGS_BUILD) -o $(BIN)/$$p ./cmd/$$p || exit 1; \
	done

setup: ## install the Debian packages that demo and tests use
	@fixtures/setup.sh

demo: setup build ## the main job before your eyes: pull, list, start, run, power off, export
	@fixtures/demo.sh

test: setup test-unit test-root test-host ## every test that this machine can run
	@echo "make test: every test that this machine can run has passed; those it cannot are listed above as SKIP"

test-unit: ## vet and the tests of all packages, with the race detector
	$(GO) vet ./...
	@# A process under the race detector sleeps a second at its end, which workers
	@# would do for each transfer.
	GORACE=atexit_sleep_ms=0 $(GO) run ./fixtures/testsum -race -timeout 20m ./...

test-root: build ## whole programs on a plain host: real machines, real downloads
	BERTH_BIN=$(CURDIR)/$(BIN) $(GO) run ./fixtures/testsum -count=1 -timeout 20m ./importd ./fixtures/...
	@# Fifty clients at once for a minute, over each transport.
	BERTH_HAMMER=1m $(GO) run ./fixtures/testsum -count=1 -timeout 20m -run Hammer ./cmd/internal/machineapi

lint: ## gofumpt, vet, staticcheck, golangci-lint
	@fixtures/lint.sh

fuzz: ## every fuzz target for FUZZTIME
	@fixtures/fuzz.sh $(FUZZTIME)

host-shell: ## a root shell in a real systemd host: make host-shell SUITE=sid|trixie
	@$(GO) run ./fixtures/testhost/shell $(CURDIR) $(SUITE)

test-host: build ## berth on real systemd hosts, under the stock clients and systemd's own tests
	@# The packages whose tests boot hosts; one after the other, as each takes both
	@# cores.
	BERTH_HOSTS=yes $(GO) run ./fixtures/testsum -count=1 -timeout 40m -p 1 \
		$$(grep -rl --include='*_test.go' 'testhost/hosttest"' . | xargs -n1 dirname | sort -u)

conformance: build ## the same comparison with the stock daemons, recorded in docs/conformance.md
	BERTH_HOSTS=yes BERTH_UPDATE=yes $(GO) run ./fixtures/testsum -count=1 -timeout 40m ./fixtures/conformance

install: ## put berth into this system, or into DESTDIR (PREFIX, TOOLS: docs/installing.md)
	@test -x $(BIN)/importctl || $(MAKE) build
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" BIN="$(abspath $(BIN))" TOOLS="$(TOOLS)" INIT="$(INIT)" STOCK="$(STOCK)" packaging/install.sh

uninstall: ## take back what install did (same DESTDIR and PREFIX)
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" packaging/uninstall.sh

bench: setup ## berth beside systemd 262 on a real host, into docs/benchmarks.md; ROWS='import-tar zstd'
	$(GO) run ./fixtures/bench -o docs/benchmarks.md $(ROWS)

clean: ## remove what build made
	rm -rf $(BIN)

help: ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14
