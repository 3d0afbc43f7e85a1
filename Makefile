# `make` explains the targets.

VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT      ?= $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS     := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
FUZZTIME    ?= 1m
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.DEFAULT_GOAL := help
.PHONY: help run build test e2e e2e-long bench fuzz lint docs

help: ## Show the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-10s %s\n", $$1, $$2 }'

run: ## Run the server with its defaults: 127.0.0.1:5000, data in ./data
	go run ./cmd/entrepot

build: ## Build bin/entrepot, static, with version and commit
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/entrepot ./cmd/entrepot

test: ## Vet, formatting, macOS vet, and all tests with the race detector
	go vet ./...
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not gofmt-ed: $$unformatted"; exit 1; }
	GOOS=darwin go vet ./...
	go test -race ./...
	go test -run 'Alloc|Hot' ./cache ./metrics ./proxy # the race detector would falsify these

e2e: ## Real daemons and clients against the real binary (installs them; root on Debian; under 20 minutes)
	cd e2e && go vet ./... && go run ./tools/install && go test -count=1 -p 2 -timeout 40m ./...

e2e-long: ## The same with full sizes and counts
	cd e2e && go run ./tools/install && E2E_LONG=1 go test -count=1 -p 1 -timeout 4h -v ./...

bench: ## The table of docs/benchmarks.md: beside nginx and distribution (Linux, two cores, under 10 minutes; E2E_LONG=1 for full sizes)
	cd e2e && go test -run '^$$' -bench . -benchtime 1x -timeout 2h ./bench

fuzz: ## Each fuzz target for FUZZTIME (one minute)
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

lint: ## staticcheck, at the version named above
	go run $(STATICCHECK) ./...

docs: ## Write the generated pages of docs anew: configuration, commands, metrics
	go run ./cmd/entrepot config --markdown > docs/configuration.md.new
	mv docs/configuration.md.new docs/configuration.md
	UPDATE=1 go test -count=1 -run '^TestCommandsPageIsCurrent$$' ./cmd/entrepot
	UPDATE=1 go test -count=1 -run '^TestThePageOfMetricsIsCurrent$$' ./metrics
