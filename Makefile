# Countersign: make demo shows it at work, make test passes the tests.

TOOL     = go tool -modfile=tools.mod
FUZZTIME = 20s
# The fuzz targets to run, a regular expression.
FUZZ     = .
# A folder with PDFs (pdf/) and mails (mail/) to try the readers on; not needed.
CORPUS  ?= ../shared/corpus
# The file sizes and rounds of the signing benchmark; 50KB,1MB and 3 take seconds.
BENCH   ?= 50KB,1MB,10MB,100MB
ROUNDS  ?= 15
# The number of times the kill test kills the daemon.
KILLS   ?= 200

.PHONY: build demo test deps check fuzz bench corpus corpus-there judge kill clean

build:
	go build -o bin/ ./cmd/countersign

demo: build
	bin/countersign demo

test:
	scripts/deps check
	go test -race -shuffle=on -timeout 30m ./...
	go test -count=1 -run 'TestMemory|TestHostile|TestDamage|FuzzWriter' ./signing # not with the race detector, which takes many times the memory

deps:
	scripts/deps install

check:
	test -z "$$($(TOOL) gofumpt -l . | tee /dev/stderr)"
	go vet ./...
	go vet -tags judge ./signing/judge
	$(TOOL) staticcheck ./...
	$(TOOL) staticcheck -tags judge ./signing/judge
	go fix -diff ./...
	go mod tidy -diff
	go mod verify

# Fuzzes each target that FUZZ matches for FUZZTIME.
fuzz:
	@set -e; for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' | grep -E '$(FUZZ)' || true); do \
	  go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 2s $$p; done; done

# Signing against its floor, file sizes as in BENCH, and its memory; then all others.
bench:
	go run ./signing/bench -sizes $(BENCH) -rounds $(ROUNDS)
	go test -run '^$$' -bench . -benchmem ./...

corpus-there:
	@test -d "$(CORPUS)"

# Runs the readers over real PDFs and mails and prints what became of them.
corpus:
	@test -d "$(CORPUS)" || { echo "there is no folder $(CORPUS); give one with PDFs and mails: make corpus CORPUS=DIR" >&2; exit 1; }
	CORPUS=$(abspath $(CORPUS)) go test -count=1 -v -run Corpus ./...

# Lets pyHanko, EU DSS and the PDF tools judge what we sign; prints how often each one
# passed it. Needs Python, Java and the network the first time. JUDGE_FILES=200 tries
# more combinations.
judge:
	scripts/deps judge
	scripts/judges
	cd signing/judge && go test -tags judge -count=1 -timeout 30m

# Kills the daemon KILLS times over the contract flow and compares what people got.
kill:
	KILLS=$(KILLS) go test -count=1 -v -timeout 30m -run TestKill ./cmd/countersign

clean:
	rm -rf bin
