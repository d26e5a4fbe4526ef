package monitor_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"thor/monitor"
	"thor/monitor/view"
	"thor/overlay"
	"thor/overlay/lookup"
	"thor/subjects"
)

// childMode makes this test binary run the monitor on its own terminal, as a
// program would, instead of the tests. To look at it by hand:
//
//	go test -c -o /tmp/monitor.test ./monitor && THOR_MONITOR_CHILD=live /tmp/monitor.test
const childMode = "THOR_MONITOR_CHILD"

func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		os.Exit(child(mode))
	}
	os.Exit(m.Run())
}

func child(mode string) int {
	events := make(chan subjects.Event, 16)
	for _, e := range sampleEvents() {
		events <- e
	}
	cfg := monitor.Config{
		Source: fixed(sampleView()), Events: events, Node: "m1", Once: mode == "once",
		Color: monitor.Color(os.Getenv("THOR_MONITOR_COLOR")),
	}
	if mode == "lost" {
		v := sampleView()
		v.Connected, v.Stale = false, true
		cfg.Source = fixed(v)
	}
	if mode == "desk" {
		desk(&cfg)
	}
	m, err := monitor.New(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := m.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// desk is what an operator's monitor has besides.
func desk(cfg *monitor.Config) {
	cfg.Flags = " --dir '/tmp/x y'"
	cfg.Past = func(context.Context, time.Time) ([]subjects.Event, string, error) {
		return []subjects.Event{{Time: time.Now().Add(-20 * time.Hour), Kind: subjects.EventLeave, Role: "sip_proxy", Node: "proxy7", Detail: "before the start"}}, "", nil
	}
	asked := 0
	cfg.Ask = func(_ context.Context, a *view.Answer, _ *subjects.Status) {
		asked++
		switch {
		case a.Of.NameServers:
			a.NameServers = []view.NameServer{{Node: "dns1", Zone: &subjects.ZoneReport{Serial: 1287, Digest: "00ff", Answered: uint64(asked) * 2000}}}
		case a.Of.Checks != "":
			a.Checks = []subjects.CheckReport{{Role: a.Of.Role, Name: "sip of " + string(a.Of.Checks), State: subjects.CheckPassing, TookMS: 1.5}}
		}
	}
	cfg.Act = func(_ context.Context, a view.Action) string {
		return fmt.Sprintf("done: %s %s %s", a.Verb, a.Node, a.Role)
	}
}

// A source is a list of views, delivered one after the other.
type source []*overlay.View

func fixed(views ...*overlay.View) source { return views }

func (s source) Watch(ctx context.Context) <-chan *overlay.View {
	ch := make(chan *overlay.View, len(s))
	for _, v := range s {
		ch <- v
	}
	context.AfterFunc(ctx, func() { close(ch) })
	return ch
}

func sampleView() *overlay.View {
	return &overlay.View{Status: sampleStatus(time.Now()), Received: time.Now(), Connected: true}
}

func sampleStatus(now time.Time) *subjects.Status {
	s := &subjects.Status{V: subjects.Version, Domain: "sipthor.net", Epoch: 3, Generation: 1287, Manager: "m1", Time: now.Add(-95 * time.Second)}
	put := func(role subjects.Role, node subjects.NodeID, addr string, up time.Duration, change func(*subjects.Member)) {
		m := subjects.Member{
			Node: node, Addresses: []netip.Addr{netip.MustParseAddr(addr)}, State: subjects.Up, Since: now.Add(-up), Weight: subjects.DefaultWeight,
		}
		if change != nil {
			change(&m)
		}
		s.Put(role, m)
	}
	priority := func(p int, uri string) func(*subjects.Member) {
		return func(m *subjects.Member) {
			m.Priority = p
			if uri != "" {
				m.Attrs = subjects.Attrs{"dburi": uri}
			}
		}
	}
	const day = 24 * time.Hour
	put("media_relay", "relay1", "81.23.228.129", 12*day, nil)
	put("media_relay", "relay2", "85.17.186.7", 3*time.Hour, nil)
	put("sip_proxy", "proxy1", "81.23.228.129", 12*day, nil)
	put("sip_proxy", "proxy2", "81.23.228.150", 95*time.Second, func(m *subjects.Member) {
		m.State, m.Reason = subjects.Suspect, "OPTIONS udp:81.23.228.150:5060 timed out 2 times"
	})
	put("sip_proxy", "proxy3", "85.17.186.7", 40*time.Minute, func(m *subjects.Member) {
		m.State, m.Reason = subjects.Draining, "drained by operator ops1"
	})
	put("thor_database", "db1", "10.0.0.131", 12*day, priority(10, "mysql://sipthor:s3cr3t@db1/sipthor"))
	put("thor_database", "db2", "10.0.0.132", 12*day, priority(50, "mysql://sipthor:s3cr3t@db2/sipthor"))
	s.Lookup = sampleLookup(s)
	put("thor_dnsmanager", "dns1", "81.23.228.150", 12*day, nil)
	put("thor_manager", "m1", "81.23.228.150", 12*day, priority(50, ""))
	put("thor_manager", "m2", "85.17.186.7", 12*day, priority(50, ""))
	put("thor_monitor", "m1", "81.23.228.150", 20*time.Second, nil)
	put("voicemail_server", "vm1", "2001:db8::25", 12*day, nil)
	return s
}

// sampleLookup is the table of the proxies.
func sampleLookup(s *subjects.Status) map[subjects.Role]subjects.Lookup {
	t, err := lookup.New(12, lookup.Members(s.Roles["sip_proxy"]))
	if err != nil {
		panic(err)
	}
	return map[subjects.Role]subjects.Lookup{"sip_proxy": {Bits: 12, Digest: t.Digest()}}
}

func sampleEvents() []subjects.Event {
	now := time.Now()
	return []subjects.Event{
		{Time: now.Add(-40 * time.Minute), Kind: subjects.EventUpdate, Role: "sip_proxy", Node: "proxy3", Detail: "draining: drained by operator ops1"},
		{Time: now.Add(-95 * time.Second), Kind: subjects.EventUpdate, Role: "sip_proxy", Node: "proxy2", Detail: "suspect: OPTIONS udp:81.23.228.150:5060 timed out 2 times"},
		{Time: now.Add(-20 * time.Second), Kind: subjects.EventJoin, Role: "thor_monitor", Node: "m1"},
	}
}
