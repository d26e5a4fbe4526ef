# thor: one verb a recipe. `.ci/run` installs what they need.

go_tools := `go env GOPATH` / "bin"

# what upgrades are measured from until there is a release: docs/lab.md says why this one
former := "be6001c4eff1"

# list the recipes
default:
    @just --list

# a whole network on this machine
up *ARGS:
    go run ./cmd/thor up {{ ARGS }}

# build dist/thor, which needs no library
build:
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o dist/thor ./cmd/thor

# unit and loopback tests
test:
    go test ./...

# formatting, vet, staticcheck, and the justfile itself
lint:
    test -z "$(gofmt -l .)"
    {{ go_tools }}/gofumpt -l . | (! grep .)
    go vet ./...
    {{ go_tools }}/staticcheck ./...
    {{ go_tools }}/staticcheck -tags 'e2e boot' ./cmd/thor/e2e
    {{ go_tools }}/staticcheck -tags man ./cmd/thor
    just --fmt --check
    /usr/bin/python3 -m pyflakes deploy/python
    shellcheck .ci/run .ci/fuzz .ci/sbom deploy/*.sh deploy/debian/* cmd/thor/e2e/testdata/*.sh

# the main job on real Kamailio, rtpengine, SIPp and MariaDB
e2e:
    go test -tags e2e -count=1 -timeout 30m -run 'Test[^B]' -v ./cmd/thor/e2e/...

# twelve faults in network namespaces, judged by the invariants; needs root (docs/lab.md)
lab SEED="1":
    THOR_LAB=12 THOR_LAB_KINDS=quick THOR_LAB_SEED={{ SEED }} go test -tags e2e -count=1 -timeout 10m -v -run 'TestLab' ./cmd/thor/e2e

# the same for hours: N rounds of all kinds of faults; the trace is dist/lab.jsonl
lab-long N="200" SEED="":
    mkdir -p dist
    THOR_LAB={{ N }} THOR_LAB_SEED={{ SEED }} THOR_LAB_TRACE=$PWD/dist/lab.jsonl go test -tags e2e -count=1 -timeout 24h -v -run 'TestLab$' ./cmd/thor/e2e

# a network of the build of commit FROM becomes one of this build, with faults between
lab-upgrade FROM="HEAD~20" SEED="1":
    THOR_LAB_FORMER={{ FROM }} THOR_LAB_SEED={{ SEED }} go test -tags e2e -count=1 -timeout 15m -v -run 'TestLabUpgrade' ./cmd/thor/e2e

# the same one program at a time and without faults; ORDER is managers or members, those that come first
lab-upgrade-rolling ORDER="managers" FROM=former:
    THOR_LAB_FORMER={{ FROM }} THOR_LAB_ORDER={{ ORDER }} go test -tags e2e -count=1 -timeout 15m -v -run 'TestLabUpgrade' ./cmd/thor/e2e

# nine hosts in three sites, 80 ms from one to another: N faults of sites
lab-sites N="12" SEED="1":
    mkdir -p dist
    THOR_LAB={{ N }} THOR_LAB_SITES=1 THOR_LAB_SEED={{ SEED }} THOR_LAB_TRACE=$PWD/dist/lab-sites.jsonl go test -tags e2e -count=1 -timeout 3h -v -run 'TestLab$' ./cmd/thor/e2e

# how exact the delay, the loss and the cuts between sites of the lab are, and what they cost
lab-sites-selftest:
    THOR_LAB_SITES=1 go test -tags e2e -count=1 -timeout 5m -v -run 'TestLabSites$' ./cmd/thor/e2e

# certificates and their authority are renewed under load
lab-rotation N="9" SEED="1":
    THOR_LAB={{ N }} THOR_LAB_LOAD=25 THOR_LAB_KINDS="authority changes,all certificates are renewed,certificate is renewed" THOR_LAB_SEED={{ SEED }} go test -tags e2e -count=1 -timeout 15m -v -run 'TestLab$' ./cmd/thor/e2e

# deb and rpm packages for amd64 and arm64 in dist, and python3-thor as a deb
packages:
    NFPM={{ go_tools }}/nfpm deploy/package.sh

# the packages: deb beside rpm, the rpm in a root of its own, the deb in a booted Debian, and in three that Ansible makes a network of; needs root
boot-test: packages
    go test -tags 'e2e boot' -count=1 -timeout 25m -run 'TestPackage|TestAnsible' -v ./cmd/thor/e2e

# every fuzz target for so many seconds
fuzz SECONDS="10" PACKAGES="./...":
    .ci/fuzz {{ SECONDS }} {{ quote(PACKAGES) }}

# every fuzz target for a minute; by hand, or in a stage that has an hour
fuzz-long SECONDS="60" PACKAGES="./...": (fuzz SECONDS PACKAGES)

# dist/thor.cdx.json, the modules in dist/thor with their versions (CycloneDX)
sbom: build
    PATH="{{ go_tools }}:$PATH" .ci/sbom dist/thor.cdx.json dist/thor

# versions of all that is built with: the language, its modules, the tools of CI
versions:
    go version
    go list -m -f '{{ "{{" }}if not .Main}}{{ "{{" }}.Path}} {{ "{{" }}.Version}}{{ "{{" }}end}}' all
    sed -nE 's/^\s*(tool \S+|npm install -g) (\S+@\S+)$/\2/p' .ci/run

# the picture of README, docs/monitor.svg: screens of thor monitor in a real thor up; needs root
picture: build
    rm -rf dist/screens && mkdir -p dist/screens
    cmd/picture/record.sh dist/thor dist/screens
    go run ./cmd/picture dist/screens/*.ansi > docs/monitor.svg

# readings of the structure: lines, widest types, interfaces, unused names, repeated passages
shape *ARGS:
    go run ./cmd/shape {{ ARGS }}

# so many seeds of the simulation of whole networks, others each day
sim SEEDS="2000":
    go test -count=1 -timeout 60m -v -run '^(TestWorlds|TestPlansOfThePast|TestScene.*)$' ./manager/sim -from $(($(date +%s) / 86400))000000 -seeds {{ SEEDS }}

# the same for long: every broken seed, and how often each fault, guard and transition occurred
sim-long SEEDS="100000":
    go test -count=1 -timeout 6h -v -run 'TestWorlds$' ./manager/sim -from $(($(date +%s) / 86400))000000 -seeds {{ SEEDS }} -all

# break the code in one place at a time: what do unit tests and simulation notice? by hand, not in CI (docs/mutants.md)
mutants *ARGS:
    go run ./cmd/mutants {{ ARGS }}

# so many seeds of ten virtual minutes of the election on a real NATS server
bubble SEEDS="100":
    go test -count=1 -timeout 60m -run TestNeverTwoLeadUnderRandomFaults ./manager/election -seeds {{ SEEDS }}

# the race detector, slow
race:
    go test -race ./subjects ./overlay/... ./manager/... ./dnsagent/... ./nodeagent/... ./monitor/...

# time to detection and their kin beside serf, as a table and as JSON; ROWS is a regular expression
bench N="50" ROWS="":
    THOR_BENCH={{ N }} THOR_BENCH_ROWS={{ quote(ROWS) }} go test -tags e2e -count=1 -timeout 120m -v -run TestBench ./cmd/thor/e2e

# what N calls see of dead and drained proxies and relays: real Kamailio, rtpengine and SIPp; needs root
bench-calls N="200":
    THOR_BENCH_CALLS={{ N }} go test -tags e2e -count=1 -timeout 30m -v -run TestBenchCalls ./cmd/thor/e2e

# how the network behaves with N members: joins, changes, losses, a broker killed, what it uses at rest
scale N="1000" SAMPLES="20":
    THOR_SCALE={{ N }} THOR_SCALE_SAMPLES={{ SAMPLES }} go test -tags e2e -count=1 -timeout 30m -v -run TestScale ./cmd/thor/e2e

# what one process pays in networks of so many servers (numbers with commas), without a network: docs/scale.md
bench-paper SIZES="5000,20000,100000":
    THOR_BENCH_PAPER={{ SIZES }} go test -tags e2e -count=1 -timeout 30m -v -run 'TestBenchPaper$' ./cmd/thor/e2e

# what goes from site to site at rest, for so many seconds, with LOAD nodes of four roles: the lab's three sites, root; COMPRESS="" is without compress_routes
bench-wan SECONDS="60" LOAD="75" COMPRESS="yes":
    THOR_BENCH_WAN={{ SECONDS }} THOR_LAB_LOAD={{ LOAD }} THOR_LAB_COMPRESS={{ COMPRESS }} go test -tags e2e -count=1 -timeout 15m -v -run 'TestBenchWAN$' ./cmd/thor/e2e

# speed of the provisioning server on a real database, for so many seconds
bench-provisioning SECONDS="30":
    THOR_BENCH_PROVISIONING={{ SECONDS }} go test -tags e2e -count=1 -timeout 20m -v -run TestBenchProvisioning ./cmd/thor/e2e

# so many faults of a Galera cluster: when provisioning writes elsewhere, what is lost; needs root
bench-galera N="20":
    THOR_BENCH_GALERA={{ N }} go test -tags e2e -count=1 -timeout 60m -v -run TestBenchGalera ./cmd/thor/e2e

# the terminal monitor with 1,000 members: processor time at rest, and from so many keys to the picture
bench-monitor KEYS="200":
    THOR_BENCH_MONITOR={{ KEYS }} go test -tags e2e -count=1 -timeout 15m -v -run TestBenchMonitor ./cmd/thor/e2e

# how soon the web page shows a death, N times, and what 1,000 members cost it: real Chromium
bench-web N="50":
    THOR_BENCH_WEB={{ N }} go test -tags e2e -count=1 -timeout 30m -v -run TestBenchWeb ./cmd/thor/e2e

# the pictures of the web view, docs/pictures/web-*.png, from a network that is broken on purpose
pictures:
    mkdir -p docs/pictures
    THOR_PICTURES=$PWD/docs/pictures go test -tags e2e -count=1 -timeout 5m -v -run 'TestWebPictures|TestWebViewOfSites' ./cmd/thor/e2e

# from a committed change to the subscriber's node, and what a read there costs
bench-push N="1000":
    go test -count=1 -run '^$' -bench 'Push|Hit' -benchtime {{ N }}x ./nodeagent/subscribers | grep -v '^ '

# what silent connections, many connections and subscriptions, and the front cost a broker
bench-flood:
    THOR_BENCH_FLOOD=1 go test -count=1 -timeout 20m -v -run TestBenchFlood ./broker

# the figures of the subscriber lookup, as a table
bench-lookup:
    THOR_BENCH=1 go test -count=1 -timeout 10m -v -run 'TestFigures|TestOnlyTheMember' ./overlay/lookup

# the name server beside NSD and Knot on one core, dnsperf on the other: CPU time per answer, bursts, junk, changes
bench-dns RUNS="9":
    THOR_BENCH_DNS={{ RUNS }} go test -count=1 -timeout 30m -v -run 'TestBenchDNS|TestAnswersFromTheSocketAreFair' ./dnsagent
    THOR_BENCH_POWERDNS=200 THOR_BENCH_POWERDNS_MEMBERS=200 go test -count=1 -timeout 10m -v -run TestBenchPowerDNS ./dnsagent/powerdns

# from a changed membership to PowerDNS' answer, with 20 to 5,000 members, so many changes of each
bench-powerdns CHANGES="200":
    THOR_BENCH_POWERDNS={{ CHANGES }} go test -count=1 -timeout 30m -v -run TestBenchPowerDNS ./dnsagent/powerdns

# what CI runs
ci: test bubble lint sbom e2e lab boot-test fuzz
