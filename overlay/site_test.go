package overlay_test

import (
	"testing"
	"time"

	"thor/broker/brokertest"
	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// What the certificate says of the site is announced, without a word in the configuration; what
// that says is announced where the certificate says nothing.
func TestTheSiteIsAnnounced(t *testing.T) {
	net := brokertest.Start(t)
	heard := make(chan *subjects.Announcement, 100)
	hear(t, net.Brokers[0].Dial(net.Options("m1", subjects.Manager)...), heard)
	certified := tlsConfig(t, net, "n1", "sip_proxy")
	c, err := identity.Load(net.Issue(identity.Request{
		Node: "n1", Roles: []subjects.Role{"sip_proxy"}, Site: "ams", Addresses: certified.Credentials.Identity().Addresses,
	}))
	if err != nil {
		t.Fatal(err)
	}
	certified.Credentials = c
	configured := tlsConfig(t, net, "n2", "sip_proxy")
	configured.Site = "fra"
	for _, x := range []struct {
		cfg  overlay.Config
		node subjects.NodeID
		want subjects.Site
	}{{certified, "n1", "ams"}, {configured, "n2", "fra"}, {tlsConfig(t, net, "n3", "sip_proxy"), "n3", ""}} {
		n, _ := run(t, x.cfg)
		mustJoin(t, n, overlay.Member{Role: "sip_proxy"})
		for {
			if a := next(t, heard, 20*time.Second); a.Node == x.node {
				if a.Site != x.want {
					t.Errorf("%s", a.Encode())
				}
				break
			}
		}
	}
}
