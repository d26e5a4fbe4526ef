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
		{func(c *broker.Config) { c.JetStreamSites = []string{"fra", "lon", "par"} }, `"ams", is not among them`},
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
