package doctor

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/identity"
	"thor/subjects"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// lines are findings as "level text -> advice".
func lines(fs []Finding) string {
	var b strings.Builder
	for _, f := range fs {
		b.WriteString(string(f.Level) + " " + f.Text)
		if f.Advice != "" {
			b.WriteString(" -> " + f.Advice)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func contains(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%q is not in\n%s", w, got)
		}
	}
}

func valid() *identity.Identity {
	return &identity.Identity{Domain: "example.net", Node: "n1", NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(30 * 24 * time.Hour)}
}

func TestShortLivedCertificatesAreToldFromDyingOnes(t *testing.T) {
	for _, c := range []struct {
		name       string
		life, left time.Duration
		fault      string
	}{
		{"a month's, fresh", 720 * time.Hour, 700 * time.Hour, ""},
		{"a month's, in its last week", 720 * time.Hour, 160 * time.Hour, "expires in 6 days"},
		{"a day's, fresh", 24 * time.Hour, 23 * time.Hour, ""},
		{"a day's, old", 24 * time.Hour, 5 * time.Hour, "expires in 5h0m"},
		{"a year's, in its last month", 8760 * time.Hour, 600 * time.Hour, ""},
	} {
		id := &identity.Identity{Domain: "example.net", Node: "n1", NotAfter: noon.Add(c.left), NotBefore: noon.Add(c.left - c.life)}
		fs := certificate(id, noon)
		if fs[0].Level != OK || Faulty(fs) != (c.fault != "") || c.fault != "" && !strings.Contains(fs[1].Text, c.fault) {
			t.Errorf("%s: %+v", c.name, fs)
		}
	}
}

// What depends on something that does not work is not judged.
func TestTheReportEndsAtWhatNothingFurtherWorksWithout(t *testing.T) {
	refused := errors.New("connection refused")
	for _, c := range []struct {
		name string
		f    Facts
		want []string // the beginnings of the lines
	}{
		{"no certificate", Facts{Certificate: errors.New("n1.crt: no such file")}, []string{"fault n1.crt: no such file -> mend"}},
		{"no broker", Facts{Now: noon, Identity: valid(), Brokers: []Broker{{URL: "tls://a:1", Failed: Dial, Err: refused}}}, []string{
			"ok certificate of n1", "fault tls://a:1: connection refused -> is the broker running",
		}},
		{"no connection", Facts{Now: noon, Identity: valid(), Brokers: []Broker{{URL: "tls://a:1", Took: 7 * time.Millisecond}}, Network: &Network{Err: refused}}, []string{
			"ok certificate of n1", "ok tls://a:1 answers after 7 ms", "fault connection refused -> see the brokers' logs",
		}},
		{"no status", Facts{Now: noon, Identity: valid(), Network: &Network{Clocks: &Clocks{Pongs: []Pong{{Broker: "b1"}}}}}, []string{
			"ok certificate of n1", "ok brokers that see each other: b1", "fault connected, but no manager tells a status",
		}},
	} {
		got := strings.Split(strings.TrimSuffix(lines(Diagnose(&c.f)), "\n"), "\n")
		if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestEachStepToABrokerHasItsAdvice(t *testing.T) {
	err := errors.New("why")
	for want, b := range map[string]Broker{
		`fault "x" is no broker -> write it like`:                              {URL: "x", Failed: Parse, Err: err},
		"fault tls://a:1: why -> is the broker running":                        {URL: "tls://a:1", Failed: Dial, Err: err},
		"fault tls://a:1: why -> does the broker's certificate":                {URL: "tls://a:1", Failed: Handshake, Err: err},
		"fault tls://a:1: it ended the connection: why -> our certificate":     {URL: "tls://a:1", Failed: Accept, Err: err},
		"ok 2 brokers at _eventserver._tcp.example.net":                        {SRV: "example.net", Named: 2},
		"fault no SRV record at _eventserver._tcp.example.net: <nil> -> add":   {SRV: "example.net"},
		"fault no SRV record at _eventserver._tcp.example.net: why -> add it ": {SRV: "example.net", Named: 1, Err: err},
	} {
		if got := lines([]Finding{broker(&b)}); !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if Reached(nil) || Reached([]Broker{{Failed: Dial}, {Failed: Accept}}) || !Reached([]Broker{{Failed: Dial}, {}}) || !Reached([]Broker{{SRV: "x", Err: err}}) {
		t.Error("Reached")
	}
}

func TestSkewIsWhatTheNetworkCannotExplain(t *testing.T) {
	asked := noon
	came := asked.Add(2 * time.Second) // a slow answer
	for there, want := range map[time.Duration]time.Duration{
		time.Second: 0, 0: 0, 2 * time.Second: 0,
		-20 * time.Second: -20 * time.Second, 3600 * time.Second: 3598 * time.Second,
	} {
		if got := skew(asked.Add(there), asked, came); got != want {
			t.Errorf("%s: %s, want %s", there, got, want)
		}
	}
	contains(t, lines(clocks(&Clocks{Asked: asked, Pongs: []Pong{{"b2", asked.Add(-time.Hour), came}, {"b1", came, came}}})),
		"ok brokers that see each other: b1 b2\n", "fault the clock of broker b2 is 1h0m0s behind ours -> run NTP")
	contains(t, lines(clocks(&Clocks{})), "fault no broker answers")
	contains(t, lines(clocks(&Clocks{Err: errors.New("why")})), "fault cannot ask the brokers: why")
}

func TestTheBucketIsJudged(t *testing.T) {
	for want, b := range map[string]Bucket{
		"fault bucket thor_status: why -> JetStream needs a majority":                                  {Err: errors.New("why")},
		"note bucket thor_status holds no snapshot yet -> managers write it":                           {Empty: true},
		"fault the snapshot in bucket thor_status is damaged: why -> nats kv del thor_status snapshot": {Damaged: errors.New("why")},
		"ok bucket thor_status holds epoch 2, generation 7, written 1h5m ago":                          {Epoch: 2, Generation: 7, Age: 65 * time.Minute},
	} {
		if got := lines([]Finding{bucket(&b)}); !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestNameServersAreCompared(t *testing.T) {
	a, b, other := NameServer{Node: "ns1", Answer: "x"}, NameServer{Node: "ns2", Answer: "x"}, NameServer{Node: "ns3", Answer: "y"}
	gone := NameServer{Node: "ns4", Address: "192.0.2.1:53", Err: errors.New("timeout")}
	for _, c := range []struct {
		servers []NameServer
		agree   bool
		want    string
	}{
		{[]NameServer{a, b}, true, "ok the name servers agree: ns1 ns2\n"},
		{[]NameServer{other, a, b}, false, "fault the name servers answer differently: ns1 ns2 | ns3 -> "},
		{[]NameServer{a, gone}, true, "fault name server ns4 at 192.0.2.1:53: timeout -> see its log; is UDP port 53 open in the firewall?\nok the name servers agree: ns1\n"},
		{nil, true, ""},
	} {
		if got := lines(nameServers(c.servers)); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s, want %s", got, c.want)
		}
		if Agree(c.servers) != c.agree {
			t.Errorf("Agree of %+v", c.servers)
		}
	}
	st := &subjects.Status{Roles: map[subjects.Role][]subjects.Member{subjects.DNSManager: {
		{Node: "ns1", Attrs: subjects.Attrs{"zone": "d1"}}, {Node: "ns2", Attrs: subjects.Attrs{"zone": "d2"}}, {Node: "ns3"},
	}}}
	contains(t, lines(digests(st)), "fault the name servers have different zone configurations: ns1 | ns2 -> make [dns]")
	st.Roles[subjects.DNSManager][1].Attrs["zone"] = "d1"
	contains(t, lines(digests(st)), "ok the name servers have one zone configuration\n")
}

func TestRolesWithoutASpareAreNoted(t *testing.T) {
	up := subjects.Member{State: subjects.Up}
	st := &subjects.Status{Roles: map[subjects.Role][]subjects.Member{subjects.EventServer: {up, up, up}, subjects.Manager: {up}}}
	if Faulty(spares(st)) {
		t.Error("a note is a fault")
	}
	contains(t, lines(spares(st)), "ok 3 brokers up", "note 1 manager(s) up, and none to spare -> run 2 on different hosts", "note 0 name server(s) up")
	st.Roles[subjects.Manager][0].State = subjects.Suspect
	if !Faulty(spares(st)) {
		t.Error("no manager is no fault")
	}
}

func TestBrokersWithoutARouteToEachOtherAreNamed(t *testing.T) {
	broker := func(n subjects.NodeID, peers string) subjects.Member {
		return subjects.Member{Node: n, State: subjects.Up, Attrs: subjects.Attrs{subjects.AttrPeers: peers}}
	}
	for _, c := range []struct {
		b1, b2, b3 string // their peers
		want       []string
	}{
		{"b2,b3", "b1,b3", "b1,b2", nil},
		{"", "b1,b3", "b1,b2", nil}, // of an earlier version
		{"b2", "b1,b3", "b1,b2", []string{"partial brokers b1 and b3 have no route to each other -> "}},
		{"b3", "b3", "b1,b2", []string{"partial brokers b1 and b2 have no route to each other -> "}},
	} {
		fs := routes(&subjects.Status{Roles: map[subjects.Role][]subjects.Member{subjects.EventServer: {broker("b1", c.b1), broker("b2", c.b2), broker("b3", c.b3)}}})
		if len(fs) != len(c.want) || Degraded(fs) != (len(c.want) > 0) {
			t.Errorf("%q", lines(fs))
		}
		contains(t, lines(fs), c.want...)
	}
}

// A whole healthy network: no fault, every part judged.
func TestAHealthyNetwork(t *testing.T) {
	member := func(n subjects.NodeID) subjects.Member { return subjects.Member{Node: n, State: subjects.Up} }
	st := &subjects.Status{V: 1, Epoch: 3, Generation: 9, Manager: "m1", Roles: map[subjects.Role][]subjects.Member{
		subjects.EventServer: {member("b1"), member("b2"), member("b3")}, subjects.Manager: {member("m1"), member("m2")},
		subjects.DNSManager: {member("d1"), member("d2")},
	}}
	f := &Facts{Now: noon, Identity: valid(), Brokers: []Broker{{URL: "tls://b1:4222"}}, Network: &Network{
		Clocks: &Clocks{Pongs: []Pong{{Broker: "b1"}}}, Status: st, Connected: true,
		Bucket: &Bucket{Epoch: 3, Generation: 9}, NameServers: []NameServer{{Node: "d1"}, {Node: "d2"}},
	}}
	got := lines(Diagnose(f))
	if strings.Contains(got, "fault") || strings.Contains(got, "note") {
		t.Error(got)
	}
	contains(t, got, "ok status of epoch 3, generation 9 by m1", "ok 3 brokers up", "ok bucket", "ok the name servers agree: d1 d2")
	f.Network.Stale = true
	contains(t, lines(Diagnose(f)), "fault no active manager confirms the status -> see thor members")
}

// What is not heard has a level of its own, which decides the exit code.
func TestPartsThatAreNotHeardAreReported(t *testing.T) {
	f := &Facts{Now: noon, Identity: valid(), Network: &Network{Doubts: []string{"broker b2 is not heard"}}}
	fs := Diagnose(f)
	contains(t, lines(fs), "partial broker b2 is not heard -> ", "fault connected, but no manager tells a status")
	if !Degraded(fs) || !Faulty(fs) {
		t.Errorf("degraded %v, faulty %v", Degraded(fs), Faulty(fs))
	}
	f.Network.Doubts = nil
	if Degraded(Diagnose(f)) {
		t.Error("degraded without a reason")
	}
}
