package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"thor/identity"
)

const metricsPage = "../../docs/metrics.md"

// A metric is one that a daemon has, whether or not it has a value yet.
type metric struct {
	name, help, kind string
	labels           []string
	daemons          []string
}

// everything is a file of each daemon with all that has metrics.
var everything = map[string]string{
	"broker":   "[broker]\nlisten = \"192.0.2.1:4222\"\ncluster_listen = \"192.0.2.1:6222\"\nroutes = [\"tls://192.0.2.1:6222\", \"tls://192.0.2.2:6222\", \"tls://192.0.2.3:6222\"]\n",
	"manager":  "[manager]\n",
	"dns":      "[dns]\nlisten = [\"192.0.2.1:53\"]\n[dns.powerdns]\nuri = \"mysql://pdns@192.0.2.1/pdns\"\n",
	"database": "[database]\nuri = \"mysql://thor@192.0.2.1/thor\"\n",
	"node": "[node]\nsecret_file = \"\"\ncontrol = \"192.0.2.1:25061\"\n[node.subscribers]\n[[node.role]]\nrole = \"sip_proxy\"\nkamailio = \"http://127.0.0.1:5060/RPC\"\n" +
		"[node.role.sets]\ndispatcher_file = \"dispatcher.list\"\n[[node.role.sets.dispatcher]]\ngroup = 1\nmembers = \"media_relay\"\n[[node.role.check]]\nkind = \"tcp\"\ntarget = \"192.0.2.1:5060\"\n",
	"web":          "[web]\n",
	"provisioning": "[provisioning]\nlisten = \"192.0.2.1:9200\"\nurl = \"https://192.0.2.1:9200\"\n",
}

var builders = map[string]func(*daemon) (part, error){
	"broker": buildBroker, "manager": buildManager, "node": buildNode, "dns": buildNameServer, "database": buildDatabase, "provisioning": buildProvisioning, "web": buildWeb,
}

// registryOf are the metrics of a daemon that does not run.
func registryOf(t *testing.T, ca *identity.Authority, section string) *prometheus.Registry {
	t.Helper()
	d := restingDaemon(t, ca, section, everything[section])
	p, err := builders[section](d)
	if err != nil {
		t.Fatalf("%s: %v", section, err)
	}
	d.measurePart(p)
	return d.metrics
}

var descForm = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: "(.*?)"(?:, unit: "[^"]*")?, constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// allMetrics are those of all daemons, by name.
func allMetrics(t *testing.T) []metric {
	t.Helper()
	ca := testAuthority(t)
	all := make(map[string]*metric)
	for section := range builders {
		reg := registryOf(t, ca, section)
		kinds := kindsOf(t, reg)
		descs := make(chan *prometheus.Desc)
		go func() { reg.Describe(descs); close(descs) }()
		for d := range descs {
			x := descForm.FindStringSubmatch(d.String())
			if x == nil {
				t.Fatalf("not a description: %s", d)
			}
			if !strings.HasPrefix(x[1], "thor_") {
				continue // Go's and the process's own
			}
			m := all[x[1]]
			if m == nil {
				m = &metric{name: x[1], help: strings.ReplaceAll(x[2], `\"`, `"`), labels: labelsOf(x[3], x[4])}
				all[x[1]] = m
			}
			m.kind = cmp.Or(kinds[m.name], m.kind)
			if !slices.Contains(m.daemons, section) {
				m.daemons = append(m.daemons, section)
			}
		}
	}
	var out []metric
	for _, m := range all {
		if m.kind == "" {
			m.kind = kindByName(m.name)
		}
		slices.Sort(m.daemons)
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return out
}

// kindByName is the kind of a metric that has no value before something happens. The
// end-to-end tests compare the page with a whole network.
func kindByName(name string) string {
	switch {
	case strings.HasSuffix(name, "_total"):
		return "counter"
	case name == "thor_provisioning_call_seconds", name == "thor_nodeagent_set_change_seconds":
		return "histogram"
	}
	return "gauge"
}

func labelsOf(constant, variable string) (out []string) {
	for pair := range strings.SplitSeq(constant, ",") {
		if name, _, ok := strings.Cut(pair, "="); ok {
			out = append(out, name)
		}
	}
	for name := range strings.SplitSeq(variable, ",") {
		if name != "" {
			out = append(out, name)
		}
	}
	return out
}

// kindsOf are the kinds of metrics that have a value.
func kindsOf(t *testing.T, reg *prometheus.Registry) map[string]string {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, f := range all {
		out[f.GetName()] = strings.ToLower(f.GetType().String())
	}
	return out
}

// The page of metrics is made of what the daemons register: -update writes it.
func TestThePageOfMetricsIsUpToDate(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Metrics\n\n<!-- go test ./cmd/thor -run TestThePageOfMetrics -update writes this page: do not edit it. -->\n\n" +
		"Each daemon serves `/metrics` for Prometheus, `/livez`, `/readyz` and a page for people at `/`, on an address of its own: `http` of its section (docs/configuration.md),\n" +
		"on loopback unless set. `deploy/prometheus` has a scrape example and alarms, `deploy/grafana` a dashboard. Metrics of Go (`go_…`) and of the process (`process_…`) come with them.\n\n" +
		"`/livez` answers 200 while the process answers at all. `/readyz` answers 200 once the daemon does its job, else 503; its JSON has the reasons. A daemon that is degraded is still ready:\n" +
		"it serves what it knows.\n\n| metric | type | labels | daemons | meaning |\n|---|---|---|---|---|\n")
	for _, m := range allMetrics(t) {
		daemons := strings.Join(m.daemons, ", ")
		if len(m.daemons) == len(builders) {
			daemons = "all"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", m.name, m.kind, strings.Join(m.labels, ", "), daemons, m.help)
	}
	if *update {
		if err := os.WriteFile(metricsPage, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(metricsPage); err != nil || string(got) != b.String() {
		t.Errorf("%s is out of date (%v): go test ./cmd/thor -run TestThePageOfMetrics -update", metricsPage, err)
	}
}

// Names, types and help texts are as Prometheus wants them.
func TestMetricsPassTheLinters(t *testing.T) {
	var all []*dto.MetricFamily
	var text bytes.Buffer
	for _, m := range allMetrics(t) {
		f := family(m)
		all = append(all, f)
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	problems, err := promlint.NewWithMetricFamilies(all).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is missing: Debian package prometheus")
		}
		t.Skip("promtool is missing: Debian package prometheus")
	}
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = &text
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// family is m with one value.
func family(m metric) *dto.MetricFamily {
	kind := dto.MetricType(dto.MetricType_value[strings.ToUpper(m.kind)])
	one, n := 1.0, uint64(1)
	v := new(dto.Metric)
	for _, l := range m.labels {
		value := "x"
		v.Label = append(v.Label, &dto.LabelPair{Name: &l, Value: &value})
	}
	switch kind {
	case dto.MetricType_COUNTER:
		v.Counter = &dto.Counter{Value: &one}
	case dto.MetricType_HISTOGRAM:
		v.Histogram = &dto.Histogram{SampleCount: &n, SampleSum: &one, Bucket: []*dto.Bucket{{CumulativeCount: &n, UpperBound: &one}}}
	default:
		v.Gauge = &dto.Gauge{Value: &one}
	}
	return &dto.MetricFamily{Name: &m.name, Help: &m.help, Type: &kind, Metric: []*dto.Metric{v}}
}
