package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"thor/broker"
	"thor/cmd/thor/internal/config"
	"thor/dnsagent"
	"thor/dnsagent/zone"
	"thor/identity"
	"thor/manager"
	"thor/manager/membership"
	"thor/nodeagent"
	"thor/nodeagent/kamailio"
	"thor/nodeagent/local"
	"thor/nodeagent/secret"
	"thor/overlay"
	"thor/overlay/audit"
	"thor/subjects"
)

func newBroker() *cobra.Command {
	return newDaemon("broker", "Run the event server: an embedded NATS server that knows certificates", "thor-eventserver",
		func(d *daemon) (part, error) {
			bc := brokerConfig(d.file, d.creds)
			bc.Log, bc.Metrics, bc.Audit = d.log, d.registerer(), d.audit
			return broker.New(bc)
		})
}

func brokerConfig(f *config.File, creds *identity.Credentials) broker.Config {
	c := f.Broker
	return broker.Config{
		Credentials: creds,
		Listen:      c.Listen, Advertise: c.Advertise,
		ClusterListen: c.ClusterListen, ClusterAdvertise: c.ClusterAdvertise,
		Routes: c.Routes, StoreDir: c.Store, CRLFile: c.CRL, LameDuck: c.LameDuck,
		Addresses: addresses(creds.Identity(), c.Addresses), Version: versionString(),
		ProcessMemory: c.Limits.Memory, MaxConnections: c.Limits.Connections, NodeConnections: c.Limits.NodeConnections, NodeSubscriptions: c.Limits.NodeSubscriptions,
		MaxPending: c.Limits.Pending, Unauthenticated: c.Limits.Unauthenticated, UnauthenticatedBySource: c.Limits.BySource, Handshakes: c.Limits.Handshakes,
	}
}

// addresses are the configured ones, or all of the certificate.
func addresses(id *identity.Identity, configured []netip.Addr) []netip.Addr {
	if len(configured) > 0 || id == nil {
		return configured
	}
	return id.Addresses
}

func newManager() *cobra.Command {
	return newDaemon("manager", "Run a network manager: one is elected, the others stand by", "thor-manager",
		func(d *daemon) (part, error) {
			if err := d.join(); err != nil {
				return nil, err
			}
			c := d.file.Manager
			m, err := manager.New(manager.Config{
				Overlay: d.net, Domain: d.file.Network.Domain, Priority: c.Priority,
				Addresses: d.addresses(c.Addresses), Version: versionString(), StateDir: d.file.Network.State,
				Membership: membership.Config{
					Domain: d.file.Network.Domain, Dead: c.Dead, Grace: c.Grace, DepartedFor: c.Departed,
					DisableDamping: c.Damping != nil && !*c.Damping,
				},
				Lookup: roleMap(c.Lookup),
				Log:    d.log, Metrics: d.registerer(),
			})
			if err != nil {
				return nil, err
			}
			d.onReload = func() error { m.SetPriority(d.file.Manager.Priority); return nil }
			return m, nil
		})
}

// roleMap is m by role; the names have been checked.
func roleMap(m map[string]int) map[subjects.Role]int {
	out := make(map[subjects.Role]int, len(m))
	for r, n := range m {
		out[subjects.Role(r)] = n
	}
	return out
}

func newNode() *cobra.Command {
	return newDaemon("node", "Run the node agent: join under roles, check the services, drain", "thor-node",
		func(d *daemon) (part, error) {
			if err := d.join(); err != nil {
				return nil, err
			}
			roles, ps := nodeRoles(d.file, d.creds.Identity())
			if len(ps) > 0 {
				return nil, ps
			}
			a, err := nodeagent.New(nodeagent.Config{Overlay: d.net, Roles: roles, Log: d.log, Metrics: d.registerer()})
			if err != nil {
				return nil, err
			}
			lc, err := localServices(d, a)
			if err != nil {
				return nil, err
			}
			p, online, err := besideSubscribers(d, a, &lc)
			if err != nil {
				return nil, err
			}
			here, err := local.New(lc)
			if err != nil {
				return nil, err
			}
			d.onSignal = func(s os.Signal) { drainBySignal(d, a, s) }
			d.onReload = func() error { return reloadRoles(d, a, online, lc.Key) }
			return beside{p, here}, nil
		})
}

// reloadRoles makes the roles of the file what the agent announces, and their
// Kamailios those that are asked.
func reloadRoles(d *daemon, a *nodeagent.Agent, online *kamailio.Answers, key *secret.Key) error {
	roles, ps := nodeRoles(d.file, d.creds.Identity())
	if len(ps) > 0 {
		return ps
	}
	clients, err := kamailios(d.file, key)
	if err != nil {
		return err
	}
	if err := a.Reconfigure(roles); err != nil {
		return err
	}
	online.Use(clients)
	return nil
}

// beside is a part with services that live as long: it is ready, and ends, when
// the first does.
type beside struct {
	part
	service interface{ Run(context.Context) error }
}

func (b beside) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error { return b.service.Run(ctx) })
	err := b.part.Run(ctx)
	cancel()
	return errors.Join(err, g.Wait())
}

// drainBySignal is maintenance without the network: SIGUSR1 drains, SIGUSR2 resumes.
func drainBySignal(d *daemon, a *nodeagent.Agent, s os.Signal) {
	do, word, act := a.Drain, "drained by signal", audit.Drain
	if s == syscall.SIGUSR2 {
		do, word, act = a.Resume, "resumed by signal", audit.Resume
	}
	err := do()
	d.audit.Write(signalled(act, "all roles of "+string(d.net.ID()), err))
	if err != nil {
		d.log.Error().Err(err).Msg("signal not obeyed")
		return
	}
	d.log.Info().Msg(word)
}

// nodeRoles are the roles of the file, with the problems of reading what they
// refer to. id may be nil.
func nodeRoles(f *config.File, id *identity.Identity) (out []nodeagent.RoleConfig, ps config.Problems) {
	for i, r := range f.Node.Roles {
		rc := nodeagent.RoleConfig{
			Role: subjects.Role(r.Role), Addresses: addresses(id, r.Addresses), Priority: r.Priority, Weight: r.Weight,
			Version: r.Version, Attrs: r.Attrs,
		}
		if f.Node.Subscribers != nil && rc.Role == subjects.SIPProxy {
			rc.Attrs = keepsSubscribers(rc.Attrs)
		}
		for j, c := range r.Checks {
			roots, err := rootsOf(c.CA)
			if err != nil {
				ps = append(ps, f.Problem(fmt.Sprintf("node.role[%d].check[%d].ca", i, j), "%v", err))
			}
			rc.Checks = append(rc.Checks, nodeagent.CheckConfig{
				Kind: nodeagent.Kind(c.Kind), Target: c.Target, Transport: c.Transport, Command: c.Command, Expect: c.Expect, Roots: roots,
				Interval: c.Interval, Timeout: c.Timeout, Rise: c.Rise, Fall: c.Fall,
			})
		}
		out = append(out, rc)
	}
	return out, ps
}

// rootsOf reads the CA of a service; no file is nil.
func rootsOf(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}

func newDNS() *cobra.Command {
	return newDaemon("dns", "Run a name server that answers from the network status", "thor-dns",
		func(d *daemon) (part, error) {
			if err := d.join(); err != nil {
				return nil, err
			}
			zc := zoneConfig(d.file)
			s, err := dnsagent.New(dnsagent.Config{
				Zone: zc, Listen: d.file.DNS.Listen, Source: d.net, NSID: string(d.net.ID()), Log: d.log, Metrics: d.registerer(),
			})
			if err != nil {
				return nil, config.Problems{d.file.Problem("dns", "%v", err)}
			}
			_, port, _ := net.SplitHostPort(d.file.DNS.Listen[0]) // checked by config
			m, err := d.net.Join(overlay.Member{
				Role: subjects.DNSManager, Addresses: d.addresses(d.file.DNS.Addresses), Version: versionString(),
				Attrs: subjects.Attrs{"zone": s.ZoneDigest(), subjects.AttrPort: port},
			})
			if err != nil {
				return nil, err
			}
			d.onReload = func() error { return reloadZone(d, s, m) }
			return announced{s, m}, nil
		})
}

// reloadZone serves the zone of the file, and announces its digest.
func reloadZone(d *daemon, s *dnsagent.Agent, m *overlay.Membership) error {
	if err := s.Reconfigure(zoneConfig(d.file)); err != nil {
		return err
	}
	m.Update(func(m *overlay.Member) {
		m.Addresses = d.addresses(d.file.DNS.Addresses)
		m.Attrs["zone"] = s.ZoneDigest()
	})
	return nil
}

func zoneConfig(f *config.File) zone.Config {
	zc := zone.DefaultConfig(f.Network.Domain)
	zc.NameServers, zc.Static = f.DNS.NS, f.DNS.Static
	zc.Slice = f.DNS.Slice
	zc.Slices = make(map[subjects.Role]int)
	for r, n := range f.DNS.Slices {
		zc.Slices[subjects.Role(r)] = n
	}
	d := f.DNS
	zc.Primary, zc.Contact = d.Primary, d.Contact
	zc.TTL = zone.TTLs{
		Role: d.TTL, Host: d.TTLHost, NAPTR: d.TTLNAPTR, NS: d.TTLNS, SOA: d.TTLSOA, Static: d.TTLStatic, Negative: d.TTLNegative,
	}
	zc.Timers = zone.Timers{Refresh: d.Refresh, Retry: d.Retry, Expire: d.Expire}
	zc.Services = services(d, zc.Services)
	return zc
}

// services are those of the file, in its order so that a problem finds its line,
// and the defaults of roles that it does not name.
func services(d *config.DNS, defaults []zone.Service) []zone.Service {
	out := make([]zone.Service, 0, len(d.Services)+len(defaults))
	named := make(map[subjects.Role]bool)
	for _, s := range d.Services {
		service := zone.Service{Role: subjects.Role(s.Role), Host: s.Host}
		for _, v := range s.SRV { // config has checked the numbers
			service.SRV = append(service.SRV, zone.SRV{
				Name: v.Name, Port: uint16(v.Port), Priority: uint16(v.Priority), NAPTR: v.NAPTR, Order: uint16(v.Order),
			})
		}
		named[service.Role] = true
		out = append(out, service)
	}
	if d.Defaults != nil && !*d.Defaults {
		return out
	}
	return append(out, slices.DeleteFunc(defaults, func(s zone.Service) bool { return named[s.Role] })...)
}

// announced is a part that is a member as long as it runs.
type announced struct {
	part
	m *overlay.Membership
}

func (a announced) Run(ctx context.Context) error {
	err := a.part.Run(ctx)
	if err != nil { // a part that failed does no service: say so before the process ends
		a.m.Update(func(m *overlay.Member) { m.State, m.Reason = subjects.Down, "the daemon failed" })
	}
	return err
}
