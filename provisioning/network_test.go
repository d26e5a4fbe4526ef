package provisioning_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"thor/overlay"
	"thor/overlay/media"
	"thor/provisioning"
	"thor/provisioning/ngnpro"
	"thor/provisioning/push"
	"thor/subjects"
)

type network struct{ st *subjects.Status }

func (n network) Watch(context.Context) <-chan *overlay.View {
	return views(&overlay.View{Status: n.st})
}

// views delivers the given ones, and then nothing.
func views(vs ...*overlay.View) <-chan *overlay.View {
	ch := make(chan *overlay.View, len(vs))
	for _, v := range vs {
		ch <- v
	}
	close(ch)
	return ch
}

// A starting network has the status of its last run, and then the present one or none.
type starting struct{ last, now *subjects.Status }

func (s starting) Watch(context.Context) <-chan *overlay.View {
	old := &overlay.View{Status: s.last, FromDisk: true, Stale: true}
	if s.now == nil {
		return views(old)
	}
	return views(&overlay.View{Stale: true}, old, &overlay.View{Status: s.now})
}

// Right after its start the server has the members of its last run only.
func TestStatusIsNotThatOfAnEarlierRun(t *testing.T) {
	last := &subjects.Status{V: subjects.Version, Domain: "example.net"}
	last.Put(subjects.SIPProxy, subjects.Member{Node: "gone", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.9")}, State: subjects.Up})
	cfg := config(t, populated(t))
	cfg.Network = starting{last, status()}
	got := networkCall(t, cfg, "getStatus", authBlock)
	if got["gone"] != nil || got["node1"] == nil {
		t.Errorf("the status is %v", got)
	}
	cfg.Network = starting{last, nil}
	s, err := provisioning.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("POST", "/Network", strings.NewReader(strings.ReplaceAll(request("getStatus", ""), ":Sip", ":Network"))))
	if b := w.Body.String(); w.Code != 500 || strings.Contains(b, "gone") || !strings.Contains(b, "no network manager has been heard") {
		t.Errorf("without a manager: %d %s", w.Code, b)
	}
}

type nodes struct {
	stats []push.NodeStatistics
	where map[string][]ngnpro.DeviceLocation
	asked []string
	err   error

	media   []push.NodeMedia
	request media.Request // the last one
}

func (n *nodes) Statistics(context.Context) ([]push.NodeStatistics, error) {
	return n.stats, n.err
}

func (n *nodes) Locations(_ context.Context, keys []string) (map[string][]ngnpro.DeviceLocation, error) {
	n.asked = keys
	return n.where, n.err
}

func (n *nodes) Media(_ context.Context, q media.Request, only func(*subjects.Member) bool) (out []push.NodeMedia, err error) {
	n.request = q
	for _, m := range n.media {
		if only == nil || only(&m.Member) {
			out = append(out, m)
		}
	}
	return out, n.err
}

func status() *subjects.Status {
	st := &subjects.Status{V: subjects.Version, Domain: "example.net"}
	m := func(node, ip string, attrs subjects.Attrs, prio int) subjects.Member {
		return subjects.Member{
			Node: subjects.NodeID(node), Addresses: []netip.Addr{netip.MustParseAddr(ip)}, State: subjects.Up, Version: "1.0", Attrs: attrs, Priority: prio,
		}
	}
	st.Put(subjects.SIPProxy, m("node1", "192.0.2.1", nil, 0))
	st.Put(subjects.SIPProxy, m("node2", "192.0.2.2", subjects.Attrs{"site": "b"}, 0))
	st.Put(subjects.Database, m("node1", "192.0.2.1", subjects.Attrs{"dburi": "mysql://thor:xxxxxx@192.0.2.1/thor"}, 10))
	st.Put(subjects.Manager, m("node1", "192.0.2.1", nil, 50))
	st.Put("secret_service", m("node3", "192.0.2.3", subjects.Attrs{"x": "y"}, 0))
	return st
}

// networkCall returns the JSON string that an operation of the Network port answers.
func networkCall(t *testing.T, cfg provisioning.Config, op, auth string) map[string]any {
	t.Helper()
	s, err := provisioning.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	body := strings.NewReplacer(":Sip", ":Network", authBlock, auth).Replace(request(op, ""))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("POST", "/Network", strings.NewReader(body)))
	var env struct {
		Return string `xml:"Body>getStatusResponse>return"`
		Stats  string `xml:"Body>getStatisticsResponse>return"`
	}
	if err := xml.Unmarshal(w.Body.Bytes(), &env); err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal([]byte(env.Return+env.Stats), &out); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return out
}

func at(v any, path ...string) any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

const customerAuth = `<auth><username>customer1</username><password>pw-customer1</password><admin>false</admin></auth>`

func TestStatusIsTheLiveOne(t *testing.T) {
	cfg := config(t, populated(t))
	cfg.Network = network{status()}
	out := networkCall(t, cfg, "getStatus", authBlock)
	if len(out) != 3 || at(out, "node1", "ip") != "192.0.2.1" || at(out, "node1", "version") != "1.0" || at(out, "node2", "site") != "b" {
		t.Errorf("%v", out)
	}
	if r, _ := json.Marshal(at(out, "node1", "roles")); string(r) != `["sip_proxy","thor_database","thor_manager"]` {
		t.Errorf("roles %s", r)
	}
	// Two roles announce a priority: the database's keeps the name.
	if at(out, "node1", "dburi") != "mysql://thor:xxxxxx@192.0.2.1/thor" || at(out, "node1", "priority") != 10.0 || at(out, "node1", "thor_manager.priority") != 50.0 {
		t.Errorf("%v", out["node1"])
	}
}

func TestCustomersSeeOnlyPublicRolesWithoutAttributes(t *testing.T) {
	cfg := config(t, populated(t))
	cfg.Network = network{status()}
	out := networkCall(t, cfg, "getStatus", customerAuth)
	if len(out) != 2 || len(out["node1"].(map[string]any)) != 3 || len(out["node2"].(map[string]any)) != 3 {
		t.Errorf("%v", out)
	}
	if r, _ := json.Marshal(at(out, "node1", "roles")); string(r) != `["sip_proxy","thor_database"]` {
		t.Errorf("roles %s", r)
	}
}

func TestStatusBeforeTheFirstOneIsEmpty(t *testing.T) {
	cfg := config(t, populated(t))
	cfg.Network = network{}
	if out := networkCall(t, cfg, "getStatus", authBlock); len(out) != 0 {
		t.Errorf("%v", out)
	}
}

func someNodes() *nodes {
	one := map[string]map[string]int{"online_accounts": {"example.com": 2, "example.net": 1}, "online_devices": {"example.com": 3}}
	two := map[string]map[string]int{"online_accounts": {"example.com": 5}}
	return &nodes{stats: []push.NodeStatistics{
		{Node: "node1", Role: subjects.SIPProxy, Address: netip.MustParseAddr("192.0.2.1"), Sections: one},
		{Node: "node2", Role: subjects.SIPProxy, Address: netip.MustParseAddr("192.0.2.2"), Sections: two},
	}}
}

func TestStatisticsAddUp(t *testing.T) {
	cfg := config(t, populated(t))
	cfg.Nodes = someNodes()
	out := networkCall(t, cfg, "getStatistics", authBlock)
	for want, path := range map[float64][]string{
		7: {"summary", "sip_proxy", "online_accounts", "example.com"},
		1: {"summary", "sip_proxy", "total_accounts", "example.net"},
		2: {"192.0.2.1", "sip_proxy", "online_accounts", "example.com"},
		5: {"192.0.2.2", "sip_proxy", "online_accounts", "example.com"},
		3: {"summary", "sip_proxy", "online_devices", "example.com"},
	} {
		if at(out, path...) != want {
			t.Errorf("%v: %v, want %v", path, at(out, path...), want)
		}
	}
}

func TestStatisticsOfCustomersAreOfTheirDomains(t *testing.T) {
	cfg := config(t, populated(t))
	cfg.Nodes = someNodes()
	out := networkCall(t, cfg, "getStatistics", customerAuth)
	if b, _ := json.Marshal(out); strings.Contains(string(b), "example.net") || !strings.Contains(string(b), "example.com") {
		t.Errorf("%s", b)
	}
}

func TestStatisticsWithoutNodesAreThoseOfTheDatabase(t *testing.T) {
	cfg := config(t, populated(t))
	cfg.Nodes = &nodes{err: errors.New("not connected")}
	out := networkCall(t, cfg, "getStatistics", authBlock)
	if at(out, "summary", "sip_proxy", "total_accounts", "example.com") != 1.0 || at(out, "summary", "sip_proxy", "online_accounts") == nil {
		t.Errorf("%v", out)
	}
}

func TestDeviceLocationsComeInTheOrderAsked(t *testing.T) {
	n := &nodes{where: map[string][]ngnpro.DeviceLocation{
		"alice@example.com": {{Address: "10.0.0.1", Port: 5060, PublicAddress: "192.0.2.9", PublicPort: 1024, Expires: 60, UserAgent: "A & B", Transport: "udp"}},
		"alice@example.net": {{Address: "10.9.9.9"}},
	}}
	cfg := config(t, populated(t))
	cfg.Nodes = n
	s, err := provisioning.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	id := func(d string) string { return "<item><username>Alice</username><domain>" + d + "</domain></item>" }
	body := strings.Replace(request("getSipDeviceLocations", "<sipIds>"+id("example.net")+id("example.com")+"</sipIds>"), authBlock, customerAuth, 1)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader(body)))
	var env struct {
		Item []struct {
			Locations []struct {
				Address   string `xml:"address"`
				Port      int    `xml:"publicPort"`
				UserAgent string `xml:"userAgent"`
			} `xml:"locations>item"`
		} `xml:"Body>getSipDeviceLocationsResponse>return>item"`
	}
	if err := xml.Unmarshal(w.Body.Bytes(), &env); err != nil {
		t.Fatal(err)
	}
	// The customer sees example.com alone, and no node is queried about the other.
	if len(env.Item) != 2 || len(env.Item[0].Locations) != 0 || len(env.Item[1].Locations) != 1 || env.Item[1].Locations[0].UserAgent != "A & B" {
		t.Errorf("%+v", env)
	}
	if len(n.asked) != 1 || n.asked[0] != "alice@example.com" {
		t.Errorf("asked for %v", n.asked)
	}
}
