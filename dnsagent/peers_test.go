package dnsagent

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/compare"
	"thor/subjects"
)

// ask asks name servers that are compared.
func askAll(t *testing.T, of *server, servers ...*server) ([]compare.Answers, string) {
	t.Helper()
	var list []compare.Server
	for i, s := range servers {
		list = append(list, compare.Server{Name: fmt.Sprintf("dns%d", i+1), Address: s.addr})
	}
	all := compare.Ask(t.Context(), of.apex, list, compare.Questions(of.Zone()), 0)
	var out []string
	for _, d := range compare.Servers(all) {
		out = append(out, fmt.Sprintf("%s %s", d.Kind, d.Where))
	}
	return all, strings.Join(out, ", ")
}

func TestNameServersOfOneZoneDoNotDiffer(t *testing.T) {
	st := manyProxies(t, 250)
	keys := withKeys(t, 1)
	change := func(c *Config) {
		keys(c)
		c.Zone.Static = []string{"www CNAME proxy", "@ MX 10 node01"}
	}
	one, two := start(t, st, change), start(t, st, change)
	all, differences := askAll(t, one, one, two)
	if differences != "" || len(all[0].Sets) < 20 {
		t.Errorf("%s; %d sets", differences, len(all[0].Sets))
	}
	seen := 0
	for _, page := range []string{"", "2.", "3."} {
		seen += len(all[1].Sets[compare.Question{Name: "proxy." + page + "all.sipthor.net.", Type: dns.TypeA}])
	}
	if seen != 253 {
		t.Errorf("%d members were compared", seen)
	}

	withKeys(t, 1)(&two.cfg)
	if err := two.Reload(two.cfg); err != nil {
		t.Fatal(err)
	}
	if _, differences = askAll(t, one, one, two); differences != "keys dns2" {
		t.Errorf("other keys: %s", differences)
	}
	two.cfg.KeyFile, two.cfg.Zone.Static = one.cfg.KeyFile, []string{"www CNAME xcap", "@ MX 20 node01"}
	if err := two.Reload(two.cfg); err != nil {
		t.Fatal(err)
	}
	if _, differences = askAll(t, one, one, two); differences != "records dns2, records dns2" {
		t.Errorf("other static records: %s", differences)
	}
	next := st.Clone()
	next.Generation += 3
	one.show(t, next, nil)
	all, differences = askAll(t, one, one, two)
	if differences != "behind dns2" || all[1].Behind != 3 {
		t.Errorf("an older status: %s, %+v", differences, all[1])
	}
}

func TestLagIsCountedUntilTheServerHasCaughtUp(t *testing.T) {
	var p peers
	now := time.Unix(1000, 0)
	at := func(behind uint32, lag time.Duration, err error) compare.Answers {
		return compare.Answers{Server: compare.Server{Name: "dns2"}, Behind: behind, Lag: lag, Err: err}
	}
	lost := fmt.Errorf("timeout")
	for i, step := range []struct {
		answers compare.Answers
		want    time.Duration
	}{
		{at(0, 0, nil), 0},
		{at(0, 300*time.Millisecond, nil), 300 * time.Millisecond},
		{at(0, 0, lost), 0},                           // not known to be behind
		{at(2, 5*time.Second, nil), 5 * time.Second},  // since then
		{at(1, 5*time.Second, nil), 65 * time.Second}, // a minute later
		{at(0, 0, lost), 125 * time.Second},           // it has not caught up
		{at(0, 100*time.Millisecond, nil), time.Second / 10},
		{at(0, 0, nil), 0},
	} {
		all := []compare.Answers{step.answers}
		p.note(all, compare.Servers(all), now)
		if got := p.lag(now); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
		now = now.Add(time.Minute)
	}
}

// An agent finds the others in the status, and shows what differs.
func TestDifferencesAreShownAsMetrics(t *testing.T) {
	st := network2009(t)
	delete(st.Roles, subjects.DNSManager)
	other := start(t, st, nil)
	at := netip.MustParseAddrPort(other.addr)
	m := subjects.Member{Node: "other", State: subjects.Up, Addresses: []netip.Addr{at.Addr()}, Attrs: subjects.Attrs{subjects.AttrPort: fmt.Sprint(at.Port())}}
	mine := st.Clone()
	mine.Generation++
	mine.Put(subjects.DNSManager, m)
	s := startAs(t, mine, nil, func(a *Agent) { a.checkEvery = 10 * time.Millisecond })
	eventually(t, "the other is behind", func() bool { return s.value(t, "thor_dns_differences", "behind") == 1 })
	if lag := s.value(t, "thor_dns_lag_seconds"); lag <= 0 {
		t.Errorf("lag %v", lag)
	}
	other.show(t, mine, nil)
	eventually(t, "they are the same", func() bool {
		return s.value(t, "thor_dns_differences") == 0 && s.value(t, "thor_dns_lag_seconds") == 0
	})
	cfg := other.cfg
	cfg.Zone.Primary = "elsewhere.sipthor.net"
	if err := other.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the SOA differs", func() bool { return s.value(t, "thor_dns_differences", "records") == 1 })
}
