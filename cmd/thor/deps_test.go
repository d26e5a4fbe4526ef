package main_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The arrows of docs/packages.md. Each forbids an import, and says why.
var arrows = []struct {
	of     string   // packages, as a prefix below "thor/"; ends in "!" to mean that package alone
	never  []string // import path prefixes
	except []string
	why    string
}{
	{"subjects", []string{"."}, []string{"thor/subjects"}, "the wire's vocabulary is a contract: the standard library only"},
	{"identity", []string{"."}, []string{"thor/identity", "thor/subjects", "github.com/google/renameio"}, "certificates know names, and nothing else of thor"},
	{"overlay/lookup", []string{".", "net", "os", "time", "log", "sync"}, []string{"thor/subjects", "github.com/cespare/xxhash"}, "who serves a key is a pure function of the members"},
	{"overlay/audit", []string{"."}, []string{"thor/subjects", "github.com/coreos/go-systemd/v22/journal"}, "every daemon writes audit entries: they bring nothing along"},
	{"overlay/roam", []string{".", "net", "os", "log", "sync", "math/rand"}, nil, "when a process moves can be simulated, without a network"},
	{"overlay/track", []string{".", "net", "os", "log", "sync", "math/rand"}, []string{"thor/subjects"}, "observers of the status can be run by the thousand, without a network"},
	{"overlay/history", []string{".", "net", "os", "log", "sync", "math/rand"}, []string{"thor/subjects"}, "what was is a pure function of the records"},
	{"overlay/subscriber", []string{".", "net", "os", "time", "log", "sync"}, []string{"thor/subjects"}, "messages are a contract, and reading them does no I/O"},
	{"overlay/connlimit", []string{"."}, nil, "every listener may use it: it brings nothing along"},
	{"overlay/setting", []string{"."}, []string{"thor/subjects"}, "every Config uses it, also those of pure packages"},
	{"overlay", []string{"github.com/nats-io/nats-server"}, nil, "a third-party member must not carry a broker"},
	{"overlay!", []string{"github.com/rs/zerolog"}, nil, "a third-party member brings its own logging library"},
	{"manager/membership", []string{"github.com/", "net/http", "os", "log", "thor/overlay", "thor/identity"}, []string{"thor/overlay/setting"}, "the membership table decides; it does no I/O"},
	{"manager/core", []string{"github.com/", "golang.org/", "net/http", "os", "log", "math/rand", "thor/overlay", "thor/identity", "thor/manager"}, []string{"thor/overlay/lookup", "thor/manager/membership"}, "what a manager decides can be run by the thousand, without a network"},
	{"dnsagent/zone", []string{"github.com/nats-io", "os/", "net/http", "thor/overlay"}, []string{"thor/overlay/lookup", "thor/overlay/records", "thor/overlay/setting"}, "the zone is a pure function of the status"},
	{"dnsagent/packed", []string{".", "net", "os", "time", "log", "sync"}, []string{"net/netip", "thor/dnsagent/cookie", "thor/dnsagent/dnssec", "thor/dnsagent/zone", "thor/subjects", "github.com/miekg/dns"}, "an answer is a pure function of zone, question and draw"},
	{"dnsagent/cookie", []string{".", "net", "os", "time", "log", "sync"}, []string{"net/netip", "github.com/dchest/siphash"}, "whether a cookie is right is a pure function of it, the address and the time"},
	{"dnsagent/dnssec", []string{".", "net", "os", "time", "log"}, []string{"thor/dnsagent/zone", "thor/subjects", "github.com/miekg/dns"}, "signatures are made without I/O and without a clock"},
	{"dnsagent/transfer", []string{".", "net", "os", "time", "log", "sync"}, []string{"thor/dnsagent/zone", "github.com/miekg/dns"}, "what a transfer holds is a pure function of the zone"},
	{"dnsagent/limit", []string{".", "net", "os", "log"}, []string{"net/netip"}, "the limiter is told the time"},
	{"dnsagent/batch", []string{"."}, []string{"golang.org/x/sys/unix"}, "it moves packets, whatever is in them"},
	{"monitor/view", []string{"github.com/nats-io", "net/http", "thor/overlay"}, nil, "the picture is a pure function of the status"},
	{"monitor/web/picture", []string{".", "net", "os", "log", "sync"}, []string{"net/netip", "thor/monitor/view", "thor/overlay/lookup", "thor/subjects"}, "what the page shows is a pure function of status and tables"},
	{"monitor/web!", []string{"github.com/miekg/dns", "github.com/nats-io"}, nil, "the page is served; who asks name servers and the history is the daemon"},
	{"nodeagent", []string{"thor/manager", "thor/provisioning", "thor/dnsagent", "thor/dbagent", "thor/monitor", "thor/broker", "github.com/go-sql-driver"}, []string{"thor/dbagent/location"}, "agents meet on the bus; where a database is, location tells everybody"},
	{"nodeagent/sets!", []string{".", "net", "os", "time", "log", "sync"}, []string{"net/netip", "thor/overlay/setting", "thor/subjects"}, "what a set should hold is a pure function of the status"},
	{"nodeagent/weight", []string{".", "net", "os", "log", "sync"}, nil, "which weight is announced is a pure function of load and time"},
	{"dnsagent/powerdns/plan", []string{".", "net", "os", "log", "sync"}, []string{"thor/dnsagent/zone", "thor/subjects", "github.com/miekg/dns"}, "which rows a database should hold is a pure function of the zone and the rows there are"},
	{"dnsagent!", []string{"thor/dnsagent/powerdns", "github.com/go-sql-driver"}, nil, "an answer never waits for a database"},
	{"dnsagent", []string{"thor/manager", "thor/nodeagent", "thor/dbagent", "thor/monitor", "thor/broker"}, []string{"thor/dbagent/location"}, "agents meet on the bus; how a database is connected to, location tells everybody"},
	{"dbagent", []string{"thor/manager", "thor/nodeagent", "thor/dnsagent", "thor/monitor", "thor/broker"}, nil, "agents meet on the bus"},
	{"provisioning", []string{"thor/manager", "thor/nodeagent", "thor/dnsagent", "thor/dbagent", "thor/monitor", "thor/broker"}, []string{"thor/dbagent/location"}, "agents meet on the bus; where a database is, location tells everybody"},
	{"monitor", []string{"thor/manager", "thor/nodeagent", "thor/dnsagent", "thor/dbagent", "thor/broker", "github.com/go-sql-driver"}, nil, "agents meet on the bus"},
	{"provisioning/ngnpro", []string{"."}, []string{"thor/overlay/subscriber"}, "the records are a contract, and checking them does no I/O"},
	{"provisioning/allowance", []string{"."}, []string{"golang.org/x/net/publicsuffix"}, "who may do what is decided without I/O"},
	{"provisioning/push", []string{"thor/provisioning", "github.com/go-sql-driver"}, []string{"thor/provisioning/ngnpro", "thor/provisioning/push"}, "changes reach the nodes whatever stores them, and whatever protocol made them"},
	{"provisioning/login", []string{"thor/overlay", "thor/provisioning", "github.com/"}, []string{"thor/provisioning/ngnpro", "thor/provisioning/origin", "thor/provisioning/login"}, "who logs in is decided without a network, and whatever stores the parties"},
	{"provisioning/store", []string{"thor/provisioning"}, []string{"thor/provisioning/ngnpro", "thor/provisioning/allowance", "thor/provisioning/login", "thor/provisioning/store"}, "the store serves whatever protocol changes it"},
	{"provisioning/soap", []string{".", "net", "os"}, []string{"net/http"}, "the codec knows no operation, and does no I/O"},
	{"provisioning", []string{"thor/manager", "thor/nodeagent", "thor/dnsagent", "thor/monitor", "thor/broker"}, nil, "agents meet on the bus"},
	{"cmd/thor/internal/doctor!", []string{".", "net", "os"}, []string{"thor/identity", "thor/monitor/view", "thor/subjects"}, "the doctor judges facts; package gather does the I/O"},
	{"cmd/thor/internal/whatif", []string{".", "net", "os"}, []string{"thor/overlay/lookup", "thor/subjects"}, "what would move is a pure function of the status"},
	{"cmd/thor/e2e", []string{".", "net", "os"}, []string{"thor/cmd/thor/e2e", "thor/subjects", "github.com/anishathalye/porcupine"}, "the lab's schedule and its judge are pure, and know of thor no more than the wire"},
	{"manager", []string{"thor/nodeagent", "thor/dnsagent", "thor/dbagent", "thor/monitor", "thor/broker", "github.com/nats-io/nats-server", "github.com/go-sql-driver"}, nil, "the manager knows members only by what they say"},
}

func TestImportArrows(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "thor/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		for _, a := range arrows {
			of, alone := strings.CutSuffix("thor/"+a.of, "!")
			if f[0] != of && (alone || !strings.HasPrefix(f[0], of+"/")) || strings.HasSuffix(f[0], "test") {
				continue
			}
			for _, imp := range f[1:] {
				if forbidden(imp, a.never) && !slices.ContainsFunc(a.except, func(x string) bool { return imp == x || strings.HasPrefix(imp, x+"/") }) {
					t.Errorf("%s imports %s: %s", f[0], imp, a.why)
				}
			}
		}
	}
}

// forbidden: "." stands for everything that is not the standard library.
func forbidden(imp string, never []string) bool {
	for _, n := range never {
		if n == "." {
			first, _, _ := strings.Cut(imp, "/")
			if strings.Contains(first, ".") || first == "thor" {
				return true
			}
			continue
		}
		if imp == n || strings.HasPrefix(imp, strings.TrimSuffix(n, "/")+"/") {
			return true
		}
	}
	return false
}

func TestOnlyTheirUsersImportServerAndDriver(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "thor/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		for _, imp := range f[1:] {
			switch {
			case strings.HasPrefix(imp, "github.com/nats-io/nats-server") && !strings.HasPrefix(f[0], "thor/broker"):
				t.Errorf("%s imports %s: only the broker embeds the server", f[0], imp)
			case strings.HasPrefix(imp, "github.com/go-sql-driver") && !strings.HasPrefix(f[0], "thor/dbagent") && !strings.HasPrefix(f[0], "thor/provisioning/store") && f[0] != "thor/dnsagent/powerdns":
				t.Errorf("%s imports %s: only the locator, the store and the output to PowerDNS speak SQL", f[0], imp)
			case strings.HasPrefix(imp, "thor/deploy/"):
				t.Errorf("%s imports %s: examples are read, not run", f[0], imp)
			case imp == "testing" && !strings.HasPrefix(f[0], "thor/broker/brokertest") && f[0] != "thor/provisioning/store/mariadbtest":
				t.Errorf("%s imports testing outside of tests", f[0])
			}
		}
	}
}

func TestThePageOfPackagesNamesEachOne(t *testing.T) {
	page, err := os.ReadFile("../../docs/packages.md")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "list", "thor/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		name := strings.TrimPrefix(strings.TrimSpace(line), "thor/")
		if !strings.HasSuffix(name, "test") && !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/packages.md does not say what %s is", name)
		}
	}
}
