package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"thor/broker"
	"thor/cmd/thor/internal/components"
	"thor/cmd/thor/internal/config"
	"thor/dnsagent"
	"thor/dnsagent/powerdns"
	"thor/dnsagent/provisioned"
	"thor/manager"
	"thor/nodeagent"
	"thor/nodeagent/control"
	"thor/nodeagent/join"
	"thor/nodeagent/local"
	"thor/nodeagent/secret"
	"thor/overlay"
	"thor/overlay/audit"
	"thor/subjects"
)

func newBroker() *cobra.Command {
	return newDaemon("broker", "Run the event server: an embedded NATS server that knows certificates", "thor-eventserver", buildBroker)
}

func buildBroker(d *daemon) (part, error) {
	bc := components.Broker(d.file, d.creds)
	bc.Log = d.log
	bc.Metrics = d.registerer()
	bc.Audit = d.audit
	bc.Version = versionString()
	if supervised() {
		bc.Restart = d.restart
	}
	b, err := broker.New(bc)
	if err == nil {
		d.health = b.Degraded
	}
	return b, err
}

func newManager() *cobra.Command {
	return newDaemon("manager", "Run a network manager: one is elected, the others stand by", "thor-manager", buildManager)
}

func buildManager(d *daemon) (part, error) {
	// It fails together with its machine, and only then. The active one stays where it is: while it
	// moves another could take over.
	var running atomic.Pointer[manager.Manager]
	err := d.join(func(c *overlay.Config) {
		c.NearFirst = true
		c.Stay = func() bool { m := running.Load(); return m != nil && m.Active() }
	})
	if err != nil {
		return nil, err
	}
	c := d.file.Manager.Config
	c.Overlay, c.Domain = d.net, d.file.Network.Domain
	c.Addresses = d.addresses(c.Addresses)
	c.Version = versionString()
	c.StateDir = d.file.Network.StateDir
	c.Log, c.Audit, c.Metrics = d.log, d.audit, d.registerer()
	m, err := manager.New(c)
	if err != nil {
		return nil, err
	}
	running.Store(m)
	if reg := d.registerer(); reg != nil {
		reg.MustRegister(siteMembers{status: func() *subjects.Status { return d.net.View().Status }, active: m.Active})
	}
	d.onReload = func() error { m.SetPriority(d.file.Manager.Priority); return nil }
	return m, nil
}

func newNode() *cobra.Command {
	return newDaemon("node", "Run the node agent: join under roles, check the services, drain", "thor-node", buildNode)
}

func buildNode(d *daemon) (part, error) {
	if err := d.join(); err != nil {
		return nil, err
	}
	roles, ps := components.NodeRoles(d.file, d.creds.Identity())
	if len(ps) > 0 {
		return nil, ps
	}
	key, err := localKey(d)
	if err != nil {
		return nil, err
	}
	if err := askProxies(d.file, roles, key); err != nil {
		return nil, err
	}
	a, err := nodeagent.New(nodeagent.Config{Overlay: d.net, Roles: roles, Log: d.log, Metrics: d.registerer()})
	if err != nil {
		return nil, err
	}
	lc, err := localServices(d, a, key)
	if err != nil {
		return nil, err
	}
	of := d.health
	d.health = func() []string { return append(of(), a.Reported()...) }
	d.reports(subjects.Agent, func(r *subjects.Report) { r.Checks = a.Reports() })
	programs := join.New(a, d.net, d.log)
	lc.SocketPages = programs.Pages()
	cc := control.Config{Programs: programs.Command}
	p, x, err := besideSubscribers(d, a, roles, &lc, &cc)
	if err != nil {
		return nil, err
	}
	if p, err = besideControl(d, p, cc); err != nil {
		return nil, err
	}
	here, err := local.New(lc)
	if err != nil {
		return nil, err
	}
	d.onSignal = func(s os.Signal) { drainBySignal(d, a, s) }
	d.onReload = func() error { return reloadRoles(d, a, x, lc.Key) }
	return beside{p, here}, nil
}

// reloadRoles makes the roles of the file what the agent announces, and their
// proxies those that are asked and told.
func reloadRoles(d *daemon, a *nodeagent.Agent, x *proxies, key *secret.Key) error {
	roles, ps := components.NodeRoles(d.file, d.creds.Identity())
	if len(ps) > 0 {
		return ps
	}
	if err := askProxies(d.file, roles, key); err != nil {
		return err
	}
	of, err := sipProxies(d.file, key)
	if err != nil {
		return err
	}
	if err := a.Reconfigure(roles); err != nil {
		return err
	}
	x.use(d.file, roles, of)
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
	do := a.Drain
	word := "drained by signal"
	act := audit.Drain
	if s == syscall.SIGUSR2 {
		do = a.Resume
		word = "resumed by signal"
		act = audit.Resume
	}
	err := do()
	d.audit.Write(signalled(act, "all roles of "+string(d.net.ID()), err))
	if err != nil {
		d.log.Error().Err(err).Msg("signal not obeyed")
		return
	}
	d.log.Info().Msg(word)
}

func newDNS() *cobra.Command {
	return withDNSTools(newDaemon("dns", "Run a name server that answers from the network status", "thor-dns", buildNameServer))
}

func buildNameServer(d *daemon) (part, error) {
	if err := d.join(); err != nil {
		return nil, err
	}
	c := nameServer(d)
	c.Source, c.NSID, c.Site = d.net, string(d.net.ID()), d.net.Site()
	c.Log, c.Metrics = d.log, d.registerer()
	writer, err := d.addPowerDNS(&c)
	if err != nil {
		return nil, err
	}
	s, err := dnsagent.New(c)
	if err != nil {
		return nil, config.Problems{d.file.Problem("dns", "%v", err)}
	}
	d.reports(string(subjects.DNSManager), func(r *subjects.Report) { r.Zone = s.Report() })
	var member atomic.Pointer[overlay.Membership]
	records, err := d.followRecords(s, &member)
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(c.Listen[0]) // checked by config
	m, err := d.net.Join(overlay.Member{
		Role: subjects.DNSManager, Addresses: d.addresses(d.file.DNS.Addresses), Version: versionString(),
		Attrs: subjects.Attrs{subjects.AttrZone: s.ZoneDigest(), subjects.AttrPort: port},
	})
	if err != nil {
		return nil, err
	}
	member.Store(m)
	d.onReload = func() error { return reloadZone(d, s, m) }
	var p part = announced{s, m}
	if writer != nil {
		p = beside{p, powerDNSState{writer, m}}
	}
	if records != nil {
		p = beside{p, records}
	}
	return p, nil
}

// recordsFile is the file of the state directory that keeps the provisioned records.
const recordsFile = "records.json"

// followRecords has the name server serve the provisioned records, and its member
// announce the zone's digest; nil if the file says that there are none.
func (d *daemon) followRecords(s *dnsagent.Agent, member *atomic.Pointer[overlay.Membership]) (*provisioned.Follower, error) {
	if d.file.DNS.FileOnly {
		return nil, nil
	}
	return provisioned.New(provisioned.Config{
		Node: d.net, Log: d.log, File: filepath.Join(d.file.Network.StateDir, recordsFile),
		Take: func(lines []string) error {
			if err := s.SetRecords(lines); err != nil {
				return err
			}
			if m := member.Load(); m != nil {
				m.Update(func(m *overlay.Member) { m.Attrs[subjects.AttrZone] = s.ZoneDigest() })
			}
			return nil
		},
	})
}

// nameServer is what the file says of the name server.
func nameServer(d *daemon) dnsagent.Config {
	c := d.file.DNS.Server
	c.Zone = d.file.DNS.Zone(d.file.Network.Domain)
	return c
}

// addPowerDNS adds the database of a PowerDNS, if there is one, to where the zone goes.
func (d *daemon) addPowerDNS(c *dnsagent.Config) (*powerdns.Writer, error) {
	pc, ps := components.PowerDNS(d.file)
	switch {
	case len(ps) > 0:
		return nil, ps
	case pc == nil:
		return nil, nil
	}
	pc.Log, pc.Metrics = d.log, d.registerer()
	w, err := powerdns.New(*pc)
	if err != nil {
		return nil, config.Problems{d.file.Problem("dns.powerdns", "%v", err)}
	}
	c.Outputs = append(c.Outputs, w)
	of := d.health
	d.health = func() []string { return append(of(), w.Faults()...) }
	return w, nil
}

// reloadZone takes over the file and those it names, and announces the zone's digest.
func reloadZone(d *daemon, s *dnsagent.Agent, m *overlay.Membership) error {
	if err := s.Reload(nameServer(d)); err != nil {
		return err
	}
	m.Update(func(m *overlay.Member) {
		m.Addresses = d.addresses(d.file.DNS.Addresses)
		m.Attrs[subjects.AttrZone] = s.ZoneDigest()
	})
	return nil
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
