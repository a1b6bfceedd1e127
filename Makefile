# Moyai: what people type. `make help` lists it.
#
# Everything works from a clean clone with Go, git and make, with no network
# beyond the Go module proxy. Outputs go to bin/, demo/, bench/ and .cache/.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

GO ?= go
BIN := bin
CACHE := .cache
LINT_VERSION := v2.15.0
LINT := $(CACHE)/bin/golangci-lint-$(LINT_VERSION)

# gVisor's sandbox, for images that strangers bring. The name changes with what the
# script builds.
RUNSC := $(CACHE)/bin/runsc-20260905-moyai2

# The version a binary reports: the nearest tag, or the commit.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

# No -trimpath here: it would double the build cache against `go test`, which
# costs a newcomer minutes. Releases use it (`make release`).
LDFLAGS := -X main.version=$(VERSION)

# go-nvml wraps functions that NVIDIA deprecates: 200 lines of warnings that tell
# a newcomer nothing. The rest is Go's default.
export CGO_CFLAGS := -O2 -g -Wno-deprecated-declarations

.PHONY: help build cross release demo example-blender example-pytorch example-transcode test test-all runsc bench lint proto proto-check clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "%-18s %s\n", $$1, $$2}'

build: ## bin/moyai and what it starts: moyai-worker, moyai-egress, moyai-docker
	@mkdir -p $(BIN)
	$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/moyai ./cmd/moyai
	CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o $(BIN)/moyai-worker ./cmd/moyai-worker
	CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o $(BIN)/moyai-egress ./cmd/moyai-egress
	CGO_ENABLED=0 $(GO) build -ldflags '-s -w' -o $(BIN)/moyai-docker ./cmd/moyai-docker

# Where a provider runs WebAssembly programs, and containers too if it is Linux.
CROSS := windows/amd64 darwin/arm64 darwin/amd64 linux/arm64
CROSS_VET := ./internal/... ./compute/... ./provider/... ./client/... ./p2p/... ./cmd/...

cross: ## build and vet for other systems: bin/cross; the first time takes long
	@for target in $(CROSS); do \
		export GOOS=$${target%/*} GOARCH=$${target#*/} CGO_ENABLED=0; \
		out=$(BIN)/cross/$$GOOS-$$GOARCH; mkdir -p $$out; echo $$out; \
		$(GO) build -ldflags '-s -w $(LDFLAGS)' -o $$out/ ./cmd/moyai ./cmd/moyai-worker && $(GO) vet $(CROSS_VET) || exit 1; \
	done

release: ## reproducible, stripped binaries
	@mkdir -p $(BIN)
	$(GO) build -trimpath -ldflags '-s -w $(LDFLAGS)' -o $(BIN)/moyai ./cmd/moyai
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/moyai-worker ./cmd/moyai-worker
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/moyai-egress ./cmd/moyai-egress
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/moyai-docker ./cmd/moyai-docker

demo: build ## a whole network renders a picture: demo/out.png
	$(BIN)/moyai demo

# Real work in containers. The first run of each makes its image from Debian's
# packages, in .cache/images. KILL=1 cuts a provider's power in the middle.
EXAMPLE = ./scripts/container-deps.sh mmdebstrap && $(BIN)/moyai demo $(if $(KILL),--kill)

example-blender: build ## three providers render an animation: demo/blender/out.mp4
	$(EXAMPLE) blender

example-pytorch: build ## train a network, killed on the way: demo/pytorch/report.png
	$(EXAMPLE) pytorch

example-transcode: build ## three providers transcode a video: demo/transcode/out.mp4
	$(EXAMPLE) transcode

test: build ## what guards the project: vet, rules, units, an in-process network
	$(GO) vet ./...
	MOYAI_BIN=$(CURDIR)/$(BIN) $(GO) test -short -timeout 9m ./...

runsc: $(RUNSC) ## gVisor's sandbox, pinned: bin/runsc; some minutes, once
	@mkdir -p $(BIN)
	cp $(RUNSC) $(BIN)/runsc.new && mv $(BIN)/runsc.new $(BIN)/runsc

$(RUNSC):
	./scripts/gvisor.sh $@

test-all: build cross runsc ## test, and the slow ones: faults, restarts, large transfers
	$(GO) vet ./...
	MOYAI_BIN=$(CURDIR)/$(BIN) $(GO) test -timeout 40m ./...

bench: build ## measure everything README claims: bench/out.json
	MOYAI_BIN=$(CURDIR)/$(BIN) $(GO) run ./bench -bin $(BIN) -out bench/out.json

lint: $(LINT) ## golangci-lint, pinned
	$(LINT) run ./...

$(LINT):
	@mkdir -p $(CACHE)/bin
	GOBIN=$(CURDIR)/$(CACHE)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv $(CACHE)/bin/golangci-lint $@

proto: ## regenerate api/ from proto/
	./scripts/proto.sh

proto-check: ## fail if api/ is not what proto/ generates, or proto/ does not lint
	./scripts/proto.sh --check

clean: ## remove what the build and the demo wrote
	rm -rf $(BIN) demo bench/out.json bench/profiles
