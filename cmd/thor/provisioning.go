package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"thor/cmd/thor/internal/components"
	"thor/cmd/thor/internal/config"
	"thor/dbagent/location"
	"thor/overlay"
	"thor/provisioning"
	"thor/provisioning/login"
	"thor/provisioning/push"
	"thor/provisioning/store"
	"thor/subjects"
)

func newProvisioning() *cobra.Command {
	return newDaemon("provisioning", "Run the provisioning server: SOAP clients change subscribers, in the database first and then on their nodes", "NGNPro",
		func(d *daemon) (part, error) {
			if err := d.join(); err != nil {
				return nil, err
			}
			return newProvisioner(d)
		})
}

// A provisioner is a provisioning server with its store, and a member of the
// network.
type provisioner struct {
	*provisioning.Server
	store  *store.Store
	live   *push.Pusher
	member *overlay.Membership
	certs  *pair // nil: the node's own
	c      *config.Provisioning
}

func newProvisioner(d *daemon) (*provisioner, error) {
	c := d.file.Provisioning
	p := &provisioner{c: c}
	source, ps := databaseSource(d.file, d.net)
	if len(ps) > 0 {
		return nil, ps
	}
	var err error
	if p.store, err = newStore(d.file, d.creds.Identity().Domain, source, d.log); err != nil {
		return nil, err
	}
	if p.live, err = push.New(push.Config{
		Overlay: d.net, Store: p.store.Pushes, Cleared: components.RoleList(c.Cleared), Log: d.log, Metrics: d.registerer(), Audit: d.audit,
	}); err != nil {
		return nil, err
	}
	sc := provisioning.Config{
		Listen: c.Listen, URL: c.URL, Store: p.store, Network: d.net, Nodes: p.live, Pusher: p.live,
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return d.creds.Certificate(), nil },
		Log:         d.log, Metrics: d.registerer(), Audit: d.audit,
	}
	if c.TLSCertificate != "" {
		p.certs = &pair{cert: c.TLSCertificate, key: c.TLSKey}
		if err := p.certs.load(); err != nil {
			return nil, config.Problems{d.file.Problem("provisioning.tls_certificate", "%v", err)}
		}
		sc.Certificate = p.certs.get
	}
	if sc.Admins, err = p.admins(); err != nil {
		return nil, config.Problems{d.file.Problem("provisioning.admin_password_file", "%v", err)}
	}
	if p.Server, err = provisioning.New(sc); err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(c.Listen) // checked by config
	p.member, err = d.net.Join(overlay.Member{
		Role: subjects.ProvisioningServer, Addresses: components.Addresses(d.creds.Identity(), c.Addresses), Priority: c.Priority,
		Version: versionString(), Attrs: subjects.Attrs{"port": port},
		State: subjects.Down, Reason: noDatabase,
	})
	if err != nil {
		return nil, err
	}
	d.onReload = func() error { return p.reload(d.file.Provisioning) }
	connected := d.health
	d.health = func() []string {
		reasons := connected()
		if p.store.Database().Name() == "" {
			reasons = append(reasons, noDatabase)
		}
		return reasons
	}
	return p, nil
}

const noDatabase = "no database is usable"

// Run ends the server first, then the pushes of its last calls, then the store,
// which both need.
func (p *provisioner) Run(ctx context.Context) error {
	liveCtx, endLive := context.WithCancel(context.WithoutCancel(ctx))
	defer endLive()
	storeCtx, endStore := context.WithCancel(context.WithoutCancel(ctx))
	defer endStore()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer endLive()
		return p.Server.Run(ctx)
	})
	g.Go(func() error {
		defer endStore()
		return p.live.Run(liveCtx)
	})
	g.Go(func() error {
		defer endLive() // without a store nothing is left to do
		return p.store.Run(storeCtx)
	})
	g.Go(func() error {
		select {
		case <-p.Ready():
			p.member.Update(func(m *overlay.Member) { m.State, m.Reason = subjects.Up, "" })
		case <-ctx.Done():
		}
		return nil
	})
	err := g.Wait()
	if err != nil {
		p.member.Update(func(m *overlay.Member) { m.State, m.Reason = subjects.Down, "the daemon failed" })
	}
	return err
}

func (p *provisioner) admins() ([]login.Admin, error) {
	if p.c.Admin == "" {
		return nil, nil
	}
	a, err := login.ReadAdmin(p.c.Admin, p.c.AdminPasswordFile)
	return []login.Admin{a}, err
}

// reload reads password and certificate again. What is bad is not taken.
func (p *provisioner) reload(c *config.Provisioning) error {
	if (c.TLSCertificate == "") != (p.certs == nil) {
		return errors.New("provisioning.tls_certificate: to begin or to end using one needs a restart")
	}
	p.c = c
	as, err := p.admins()
	if err == nil {
		err = p.SetAdmins(as)
	}
	if p.certs != nil {
		p.certs.cert, p.certs.key = c.TLSCertificate, c.TLSKey
		err = errors.Join(err, p.certs.load())
	}
	return err
}

// A pair is a certificate of a public authority, read from files.
type pair struct {
	cert, key string
	now       atomic.Pointer[tls.Certificate]
}

func (p *pair) load() error {
	c, err := components.KeyPair(p.cert, p.key)
	if err == nil {
		p.now.Store(c)
	}
	return err
}

func (p *pair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.now.Load(), nil }

// databaseSource is the configured database, or the one that n hears announced.
func databaseSource(f *config.File, n store.Node) (store.Source, config.Problems) {
	d := f.Provisioning.Database
	if d == nil {
		return store.NewAnnounced(n, subjects.ProvisioningServer), nil
	}
	dsn, err := location.Parse(d.URI)
	if err != nil {
		return nil, config.Problems{f.Problem("provisioning.database.uri", "%v", err)}
	}
	return store.Fixed{DSN: dsn, PasswordFile: d.PasswordFile}, nil
}

func newStore(f *config.File, domain string, source store.Source, log zerolog.Logger) (*store.Store, error) {
	c := f.Provisioning
	sc := store.Config{Source: source, Domain: domain, Log: log, Proxy: store.Proxy(c.Proxy), ForgetPasswords: !*c.ClearPasswords}
	if c.Database != nil {
		roots, err := components.Roots(c.Database.CA)
		if err != nil {
			return nil, config.Problems{f.Problem("provisioning.database.ca", "%v", err)}
		}
		sc.Roots = roots
	}
	return store.New(sc)
}
