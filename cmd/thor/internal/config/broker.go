package config

import (
	"fmt"
	"net/netip"
	"time"
)

// Broker configures the event server.
type Broker struct {
	Listen           string        `toml:"listen"`            // host:port for clients
	Advertise        string        `toml:"advertise"`         // host:port in the certificate; default: listen
	ClusterListen    string        `toml:"cluster_listen"`    // host:port for other brokers; empty is standalone
	ClusterAdvertise string        `toml:"cluster_advertise"` // default: cluster_listen
	Routes           []string      `toml:"routes"`            // every broker's "tls://HOST:PORT"
	Store            string        `toml:"store"`             // JetStream's directory; default: state
	CRL              string        `toml:"crl"`               // PEM or DER file, re-read when it changes
	Addresses        []netip.Addr  `toml:"addresses"`         // to announce; default: the certificate's
	LameDuck         time.Duration `toml:"lame_duck"`         // time to let clients go at the end; default that of broker.Config, 2s

	Limits BrokerLimits `toml:"limits"` // what clients may use
}

// BrokerLimits bound what clients of the event server use. Zero is the default
// of broker.Config, where each is described.
type BrokerLimits struct {
	Memory            int64 `toml:"memory"`                    // bytes the process may use; default: its limit
	Connections       int   `toml:"max_connections"`           // default: what fits in memory
	NodeConnections   int   `toml:"node_connections"`          // of one node
	NodeSubscriptions int   `toml:"node_subscriptions"`        // of one node
	Pending           int64 `toml:"max_pending"`               // bytes that wait for one slow client
	Unauthenticated   int   `toml:"unauthenticated"`           // connections without a certificate yet
	BySource          int   `toml:"unauthenticated_by_source"` // the same, of one address
	Handshakes        int   `toml:"handshakes"`                // of TLS, under way at once
}

func (l *BrokerLimits) check(f *File) {
	for key, v := range map[string]int64{
		"memory": l.Memory, "max_connections": int64(l.Connections), "node_connections": int64(l.NodeConnections),
		"node_subscriptions": int64(l.NodeSubscriptions), "max_pending": l.Pending, "unauthenticated": int64(l.Unauthenticated),
		"unauthenticated_by_source": int64(l.BySource), "handshakes": int64(l.Handshakes),
	} {
		if v < 0 {
			f.d.add("broker.limits."+key, "%d is negative", v)
		}
	}
}

func (b *Broker) check(f *File) {
	if f.require("broker.listen", b.Listen) {
		f.hostPort("broker.listen", b.Listen)
	}
	for key, v := range map[string]string{
		"broker.advertise": b.Advertise, "broker.cluster_listen": b.ClusterListen, "broker.cluster_advertise": b.ClusterAdvertise,
	} {
		if v != "" {
			f.hostPort(key, v)
		}
	}
	b.Limits.check(f)
	for i, r := range b.Routes {
		f.checkURL(fmt.Sprintf("broker.routes[%d]", i), r)
	}
	if b.ClusterListen == "" && len(b.Routes) > 0 {
		f.d.add("broker.routes", "needs cluster_listen too")
	}
	if b.ClusterListen != "" && len(b.Routes) == 1 {
		f.d.add("broker.routes", "a cluster of one never elects a leader: list 3 brokers, or leave out cluster_listen to stand alone")
	}
	if b.ClusterListen != "" && len(b.Routes) == 0 && !f.failed("broker.routes") {
		f.d.add("broker.routes", "is missing: list every broker of the cluster")
	}
}

func (b *Broker) fill(f *File) {
	set(&b.Store, f.Network.State)
	set(&b.Advertise, b.Listen)
	set(&b.ClusterAdvertise, b.ClusterListen)
	f.abs(&b.Store)
	f.abs(&b.CRL)
}
