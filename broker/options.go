package broker

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/nats-io/nats-server/v2/server"

	"thor/subjects"
)

// options are those of a nats-server that speaks to clients and to other
// brokers with certificates, and to no others: no monitoring port, no leaf
// nodes, gateways, websockets or MQTT.
// port is that of the client listener, 0 without one.
func (b *Broker) options(port int) (*server.Options, error) {
	c := &b.cfg
	o := &server.Options{
		// JetStream knows its peers by the hash of this name: a name that changed
		// with each start would add a dead peer and raise the quorum.
		ServerName:                 string(b.id.Node),
		NoSigs:                     true, // signals belong to the program
		DisableJetStreamBanner:     true,
		DontListen:                 c.Listen == "",
		SystemAccount:              AccountSystem,
		Accounts:                   accounts(c.carries()),
		CustomClientAuthentication: b.gate,
		CustomRouterAuthentication: routeGate{b.gate},
		MaxConn:                    c.MaxConnections + 1, // its own
		MaxSubs:                    c.MaxSubscriptions,
		MaxPayload:                 maxPayload,
		MaxPending:                 c.MaxPending,
		PingInterval:               c.PingInterval,
		MaxPingsOut:                maxPings,
		AuthTimeout:                authTimeout,
		WriteDeadline:              clientWriteTime,
		LameDuckDuration:           max(c.LameDuck, 2), // also if it is not used
		LameDuckGracePeriod:        max(c.LameDuck, 2) / 2,
		JetStream:                  c.carries() && b.storable(),
		StoreDir:                   c.StoreDir,
		JetStreamMaxMemory:         c.MemoryLimit,
		JetStreamMaxStore:          c.DiskLimit,
	}
	if site := c.site(); site != "" {
		o.Tags = []string{siteTag + string(site)}
	}
	if c.spreads() {
		o.JetStreamUniqueTag = siteTag
	}
	if c.Listen != "" {
		if err := b.listenClients(o, port); err != nil {
			return nil, err
		}
	}
	if c.ClusterListen != "" {
		if err := b.listenRoutes(o); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// listenClients describes the port of the front to nats-server, which knows
// nothing of TLS: the front has done that.
func (b *Broker) listenClients(o *server.Options, port int) (err error) {
	c := &b.cfg
	if o.Host, _, err = splitPort(c.Listen); err != nil {
		return fmt.Errorf("broker: listen address: %w", err)
	}
	o.Port = port
	if o.ClientAdvertise, err = advertised(c.Advertise, o.Host, o.Port); err != nil {
		return fmt.Errorf("broker: advertised address: %w", err)
	}
	return nil
}

func (b *Broker) listenRoutes(o *server.Options) (err error) {
	c := &b.cfg
	r := &o.Cluster
	if r.Host, r.Port, err = splitPort(c.ClusterListen); err != nil {
		return fmt.Errorf("broker: cluster listen address: %w", err)
	}
	if r.Advertise, err = advertised(c.ClusterAdvertise, r.Host, r.Port); err != nil {
		return fmt.Errorf("broker: advertised cluster address: %w", err)
	}
	if r.Port == 0 {
		r.Port = server.RANDOM_PORT
	}
	for _, route := range c.Routes {
		u, err := routeURL(route)
		if err != nil {
			return fmt.Errorf("broker: route %w", err)
		}
		o.Routes = append(o.Routes, u)
	}
	r.Name = b.id.Domain
	r.TLSConfig = b.routeTLS()
	r.TLSTimeout = tlsTimeout
	r.AuthTimeout = authTimeout
	r.PingInterval = c.PingInterval
	r.MaxPingsOut = maxPings
	r.WriteDeadline = routeWriteTime
	r.Compression.Mode = server.CompressionOff // where it is not asked for no memory is counted for it
	if c.CompressRoutes {
		r.Compression.Mode = server.CompressionS2Auto // from 50 and 100 ms on harder
	}
	// Of brokers known by hearsay; those of Routes are tried for ever, a second after
	// the last attempt ended: with ConnectBackoff the pause grows to 30 s, and a
	// healed network stays apart as long.
	r.ConnectRetries = 10
	o.ReconnectErrorReports = routeReports
	return nil
}

// advertised is never empty: nats-server would tell clients of every address it
// can find on the machine.
func advertised(configured, host string, port int) (string, error) {
	if configured != "" {
		var err error
		if host, port, err = splitAdvertise(configured, port); err != nil {
			return "", err
		}
	}
	if port == 0 {
		return host, nil // nats-server adds the port it was given
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// accounts makes the account of all members and the system account, and lets
// out of the latter: the ends of the members' connections, and, for operators,
// the request that lists the servers. Where JetStream does not run, requests to it go to the
// brokers where it does; elsewhere nats-server sees to that.
func accounts(jetStream bool) []*server.Account {
	sys, thor := server.NewAccount(AccountSystem), server.NewAccount(AccountMembers)
	const disconnects = "$SYS.ACCOUNT." + AccountMembers + ".DISCONNECT"
	const servers = pingServers
	err := errors.Join(
		sys.AddStreamExport(disconnects, []*server.Account{thor}),
		thor.AddMappedStreamImport(sys, disconnects, subjects.Disconnect),
		sys.AddServiceExportWithResponse(servers, server.Streamed, []*server.Account{thor}),
		thor.AddServiceImport(sys, servers, servers),
	)
	if !jetStream {
		const all = "$JS.API.>"
		err = errors.Join(err, sys.AddServiceExport(all, nil), thor.AddServiceImport(sys, all, all))
	}
	if err != nil {
		panic("broker: accounts: " + err.Error()) // constants only: they are right or wrong for good
	}
	return []*server.Account{sys, thor}
}

// checkServer refuses to run a server to which a client could connect without
// being asked who he is. nats-server adds such a user by itself in some setups.
func checkServer(o *server.Options) error {
	switch {
	case o.NoAuthUser != "" || len(o.Users) > 0 || len(o.Nkeys) > 0 || o.AuthCallout != nil:
		return errors.New("broker: nats-server has users of its own")
	case o.HTTPPort != 0 || o.HTTPSPort != 0 || o.ProfPort != 0:
		return errors.New("broker: nats-server has a monitoring port")
	case o.LeafNode.Port != 0 || o.Gateway.Port != 0 || o.Websocket.Port != 0 || o.MQTT.Port != 0:
		return errors.New("broker: nats-server has a port that is not for clients or brokers")
	case o.TLSConfig != nil || o.ProxyProtocol:
		return errors.New("broker: nats-server would accept from others than the front")
	case o.Cluster.Port != 0 && o.Cluster.TLSConfig == nil:
		return errors.New("broker: nats-server would accept routes without TLS")
	}
	return nil
}
