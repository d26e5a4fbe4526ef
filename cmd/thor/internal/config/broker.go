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
	LameDuck         time.Duration `toml:"lame_duck"`         // time to let clients go at the end; default 2s
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
	set(&b.LameDuck, 2*time.Second)
	f.abs(&b.Store)
	f.abs(&b.CRL)
}
