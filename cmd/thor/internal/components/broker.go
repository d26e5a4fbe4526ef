package components

import (
	"thor/broker"
	"thor/cmd/thor/internal/config"
	"thor/identity"
)

func Broker(f *config.File, creds *identity.Credentials) broker.Config {
	c := f.Broker
	return broker.Config{
		Credentials: creds,
		Listen:      c.Listen, Advertise: c.Advertise,
		ClusterListen: c.ClusterListen, ClusterAdvertise: c.ClusterAdvertise,
		Routes: c.Routes, StoreDir: c.Store, CRLFile: c.CRL, LameDuck: c.LameDuck,
		Addresses:     Addresses(creds.Identity(), c.Addresses),
		ProcessMemory: c.Limits.Memory, MaxConnections: c.Limits.Connections, NodeConnections: c.Limits.NodeConnections, NodeSubscriptions: c.Limits.NodeSubscriptions,
		MaxPending: c.Limits.Pending, Unauthenticated: c.Limits.Unauthenticated, UnauthenticatedBySource: c.Limits.BySource, Handshakes: c.Limits.Handshakes,
	}
}
