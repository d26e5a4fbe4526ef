package broker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/identity"
	"thor/subjects"
)

// Four brokers with JetStream in three sites: no bucket has two copies in one site.
func TestCopiesLieInDifferentSites(t *testing.T) {
	t.Parallel()
	n := brokertest.New(t)
	at := map[string]subjects.Site{"b1": "ams", "b2": "ams", "b3": "fra", "b4": "lon"}
	ports := brokertest.Ports(t, len(at))
	var routes []string
	for _, p := range ports {
		routes = append(routes, "tls://"+p)
	}
	for i, p := range ports {
		node := fmt.Sprintf("b%d", i+1)
		n.Prepare(node, func(c *broker.Config) {
			c.ClusterListen, c.Routes = p, routes
			c.Site, c.JetStreamSites = at[node], []string{"ams", "ams", "fra", "lon"}
		})
	}
	brokertest.StartAll(n.Brokers...)
	n.AwaitJetStream(3)
	js, err := jetstream.New(n.Dial("op1", subjects.Operator))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{subjects.BucketStream(subjects.ElectionBucket), subjects.BucketStream(subjects.StatusBucket), subjects.HistoryStream} {
		brokertest.Eventually(t, 20*time.Second, "the copies of "+name, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			s, err := js.Stream(ctx, name)
			if err != nil {
				return err
			}
			c := s.CachedInfo().Cluster
			if c == nil || c.Leader == "" || len(c.Replicas) != 2 {
				return fmt.Errorf("not yet: %+v", c)
			}
			used := map[subjects.Site]bool{at[c.Leader]: true}
			for _, p := range c.Replicas {
				used[at[p.Name]] = true
			}
			if len(used) != 3 {
				t.Fatalf("%s is at %s and %+v", name, c.Leader, c.Replicas)
			}
			return nil
		})
	}
}

func TestSitesOfABrokerAreChecked(t *testing.T) {
	inAms := &identity.Identity{Domain: "example.net", Node: "b1", Roles: []subjects.Role{subjects.EventServer}, Site: "ams"}
	for _, c := range []struct {
		edit func(*broker.Config)
		want string
	}{
		{func(*broker.Config) {}, ""},
		{func(c *broker.Config) { c.Site = "ams" }, ""},
		{func(c *broker.Config) { c.Site = "fra" }, "site fra, and the certificate says ams"},
		{func(c *broker.Config) { c.JetStreamSites = []string{"ams", "fra", "lon"} }, ""},
		{func(c *broker.Config) { c.JetStreamSites = []string{"fra", "lon", "par"} }, ""},
		{func(c *broker.Config) { c.WithoutJetStream = true }, "without_jetstream: a broker that stands alone"},
		{func(c *broker.Config) { c.JetStreamSites = []string{"ams", "L"} }, `"L" is not a site`},
	} {
		cfg := broker.Config{Identity: inAms, StoreDir: "x"}
		c.edit(&cfg)
		got := fmt.Sprint(cfg.Validate())
		if (got == "[]") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s, want %q", got, c.want)
		}
	}
}

// A broker of a site that is to hold no copies carries messages, those to JetStream too, and
// nothing is wrong with it; nor with one that is told so.
func TestABrokerWithoutJetStreamCarriesMessages(t *testing.T) {
	t.Parallel()
	n := brokertest.New(t)
	at := []subjects.Site{"ams", "fra", "lon", "par", "ams"}
	ports := brokertest.Ports(t, 2*len(at))
	var routes []string
	for _, p := range ports[:len(at)] {
		routes = append(routes, "tls://"+p)
	}
	for i, site := range at {
		n.Prepare(fmt.Sprintf("b%d", i+1), func(c *broker.Config) {
			c.Listen, c.ClusterListen, c.Routes = ports[len(at)+i], ports[i], routes
			c.Site, c.JetStreamSites, c.WithoutJetStream = site, []string{"ams", "fra", "lon"}, i == 4
		})
	}
	brokertest.StartAll(n.Brokers...)
	n.AwaitJetStream(3)
	for i, b := range n.Brokers[3:] {
		if is := b.JetStream(); is != broker.JetStreamNone || len(b.Degraded()) > 0 {
			t.Errorf("%s: %q, %q", b.Node, is, b.Degraded())
		}
		key := subjects.BucketKey(subjects.StatusBucket, subjects.StatusKey)
		said := fmt.Sprintf("through %s", b.Node)
		m := b.Dial(n.Options(fmt.Sprintf("m%d", i), subjects.Manager)...)
		if reply, err := m.Request(key, []byte(said), 5*time.Second); err != nil || strings.Contains(string(reply.Data), "error") {
			t.Fatalf("%s: %v, %+v", b.Node, err, reply)
		}
		js, err := jetstream.New(b.Dial(n.Options("op1", subjects.Operator)...))
		if err != nil {
			t.Fatal(err)
		}
		s, err := js.Stream(t.Context(), subjects.BucketStream(subjects.StatusBucket))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.GetLastMsgForSubject(t.Context(), key); err != nil || string(got.Data) != said {
			t.Errorf("%s: %+v, %v", b.Node, got, err)
		}
		for _, r := range append(s.CachedInfo().Cluster.Replicas, &jetstream.PeerInfo{Name: s.CachedInfo().Cluster.Leader}) {
			if r.Name == "b4" || r.Name == "b5" {
				t.Errorf("%s has a copy", r.Name)
			}
		}
	}
}

func TestWhatASiteWouldCostIsWarnedOf(t *testing.T) {
	for _, c := range []struct {
		site  subjects.Site
		alone bool
		sites string
		want  []string
	}{
		{"ams", false, "ams fra lon", nil},
		{"ams", false, "ams ams fra fra lon", nil},
		{"par", false, "ams fra lon", nil},
		{"", false, "", nil},
		{"ams", true, "", nil},
		{"ams", false, "", []string{"fewer than 3 sites"}},
		{"ams", false, "ams fra fra", []string{"fewer than 3 sites", "the loss of site fra would leave 1 of 3"}},
		{"ams", false, "ams ams fra lon", []string{"the loss of site ams would leave 2 of 4"}},
		{"ams", false, "ams ams ams fra lon", []string{"the loss of site ams would leave 2 of 5"}},
	} {
		cfg := broker.Config{Site: c.site, ClusterListen: "192.0.2.1:6222", JetStreamSites: strings.Fields(c.sites)}
		if c.alone {
			cfg.ClusterListen = ""
		}
		got := cfg.Warnings()
		if len(got) != len(c.want) {
			t.Errorf("%s in %q: %v", c.site, c.sites, got)
			continue
		}
		for i, w := range c.want {
			if !strings.Contains(got[i].Text, w) {
				t.Errorf("%s in %q: %v, want %q", c.site, c.sites, got[i], w)
			}
		}
	}
}
