//go:build e2e

package e2e_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/identity"
)

var update = flag.Bool("update", false, "write the golden files of the outside face anew")

// What others' scripts, dashboards and programs rely on, recorded from a whole
// network: the names of the metrics, the subjects and forms of messages, the
// forms of the commands' output. Values are left out, names are kept.
func TestOutsideIsAsRecorded(t *testing.T) {
	need(t, "mariadbd", "mariadb-server")
	need(t, "kamailio", "kamailio")
	n := startNetwork(t, "127.94", "--nodes", "2")
	forms := n.hearForms(t)
	c := n.soap(t)
	c.must(t, "Sip", "addDomain", "<domain><domain>example.com</domain></domain>")
	c.must(t, "Sip", "addAccount", account("alice", "example.com", "<password>x</password>"))
	n.run(t, "drain", "node2")
	n.run(t, "resume", "node2")
	n.run(t, "lookup", "sip_proxy", "alice@example.com")
	eventually(t, 30*time.Second, "every kind of message was heard", func() bool { return forms.has(heardKinds...) })

	names := n.metricNames(t)
	asRecorded(t, "metrics.txt", names)
	documented(t, names)
	forms.addTo(golden(t, "messages.txt")) // optional fields come by chance; package subjects tests that none goes
	asRecorded(t, "messages.txt", forms.text())
	asRecorded(t, "output.txt", n.outputForms(t))
}

// heardKinds are subjects that a network with an operator at work must use.
var heardKinds = []string{
	"thor.status", "thor.status.delta", "thor.role.sip_proxy", "thor.role.sip_proxy.<node>",
	"thor.event", "thor.node.<node>._.drain.<node>", "thor.node.<node>._.resume.<node>",
}

func asRecorded(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "outside", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := golden(t, name)
	gone, added := missing(want, got), missing(got, want)
	if len(gone)+len(added) > 0 {
		t.Errorf("%s has changed (-update writes it anew):\n- %s\n+ %s", file, strings.Join(gone, "\n- "), strings.Join(added, "\n+ "))
	}
}

func golden(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "outside", name))
	if err != nil && !*update {
		t.Fatal(err)
	}
	return string(b)
}

// missing returns the lines of a that b lacks.
func missing(a, b string) (lines []string) {
	in := make(map[string]bool)
	for l := range strings.Lines(b) {
		in[l] = true
	}
	for l := range strings.Lines(a) {
		if !in[l] {
			lines = append(lines, strings.TrimSuffix(l, "\n"))
		}
	}
	return lines
}

func fetch(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(b)
}

// byChance are metrics without a value, and so without a name, in a network in
// which no guard was active, no member came or went and no subscriber moved.
var byChance = []string{"thor_guard_active", "thor_member_changes_total", "thor_subscribers_handed_over_total"}

// metricNames are the HELP and TYPE lines of all processes' metrics, thor's own.
func (n *network) metricNames(t *testing.T) string {
	all := make(map[string]bool)
	for _, address := range n.HTTP {
		for l := range strings.Lines(fetch(t, http.DefaultClient, strings.TrimSuffix(address, "/")+"/metrics")) {
			if !strings.HasPrefix(l, "# ") {
				continue
			}
			if name := strings.SplitN(l, " ", 4)[2]; strings.HasPrefix(name, "thor_") && !slices.Contains(byChance, name) {
				all[l] = true
			}
		}
	}
	return sorted(all)
}

// documented compares the types with those of the page of metrics.
func documented(t *testing.T, names string) {
	page, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(names) {
		if w := strings.Fields(l); w[1] == "TYPE" && !strings.Contains(string(page), fmt.Sprintf("| `%s` | %s |", w[2], w[3])) {
			t.Errorf("docs/metrics.md does not say that %s is a %s", w[2], w[3])
		}
	}
}

func sorted(lines map[string]bool) string {
	var l []string
	for s := range lines {
		l = append(l, s)
	}
	slices.Sort(l)
	return strings.Join(l, "")
}

// outputForms are the forms of what the commands for scripts print.
func (n *network) outputForms(t *testing.T) string {
	var out strings.Builder
	for _, args := range []string{"status", "members", "members sip_proxy", "lookup sip_proxy alice@example.com", "version"} {
		words := append(strings.Fields(args), "-o", "json")
		all := make(map[string]bool)
		formOf([]byte(n.run(t, words...)), func(path string) { all["  "+path+"\n"] = true })
		fmt.Fprintf(&out, "thor %s\n%s", strings.Join(words, " "), sorted(all))
	}
	return out.String()
}

// forms collects the forms of messages by subject.
type forms struct {
	mu   sync.Mutex
	seen map[string]map[string]bool // subject -> "path type\n"
}

func (n *network) hearForms(t *testing.T) *forms {
	t.Helper()
	creds, err := identity.Load(identity.Files{Cert: n.Operator.Cert, Key: n.Operator.Key, CA: n.Operator.CA})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(strings.Join(n.Brokers, ","), nats.Secure(creds.ClientTLS()), nats.TLSHandshakeFirst(), nats.IgnoreDiscoveredServers())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	f := &forms{seen: make(map[string]map[string]bool)}
	if _, err := nc.Subscribe("thor.>", func(m *nats.Msg) {
		subject := plain(m.Subject)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.seen[subject] == nil {
			f.seen[subject] = make(map[string]bool)
		}
		formOf(m.Data, func(path string) { f.seen[subject]["  "+path+"\n"] = true })
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *forms) has(subjects ...string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range subjects {
		if f.seen[s] == nil {
			return false
		}
	}
	return true
}

// addTo adds recorded forms to those heard.
func (f *forms) addTo(recorded string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	subject := ""
	for l := range strings.Lines(recorded) {
		if !strings.HasPrefix(l, " ") {
			subject = strings.TrimSpace(l)
		} else if f.seen[subject] != nil {
			f.seen[subject][l] = true
		}
	}
}

func (f *forms) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out strings.Builder
	for _, s := range heardKinds { // others come by chance
		fmt.Fprintf(&out, "%s\n%s", s, sorted(f.seen[s]))
	}
	return out.String()
}

var (
	instance = regexp.MustCompile(`^(node|broker|manager|dns|database|provisioning)[0-9]+$|^operator$`)
	role     = regexp.MustCompile(`^(thor_[a-z]+|sip_proxy|provisioning_server)$`)
)

// plain replaces the names of this network's nodes in a subject.
func plain(subject string) string {
	tokens := strings.Split(subject, ".")
	for i, s := range tokens {
		if instance.MatchString(s) {
			tokens[i] = "<node>"
		}
	}
	return strings.Join(tokens, ".")
}

// formOf tells add each path of a JSON document with the type there; keys that
// name nodes or roles are replaced.
func formOf(doc []byte, add func(string)) {
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		if len(doc) > 0 {
			add(". text")
		}
		return
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, in := range v {
				if instance.MatchString(k) {
					k = "<node>"
				} else if role.MatchString(k) {
					k = "<role>"
				}
				if strings.HasSuffix(path, ".attrs") {
					k = "<attribute>"
				}
				walk(path+"."+k, in)
			}
			if len(v) == 0 {
				add(path + " object")
			}
		case []any:
			for _, in := range v {
				walk(path+"[]", in)
			}
			if len(v) == 0 {
				add(path + " array")
			}
		default:
			add(fmt.Sprintf("%s %T", path, v))
		}
	}
	walk("", v)
}
