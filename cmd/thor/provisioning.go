package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"thor/cmd/thor/internal/components"
	"thor/cmd/thor/internal/config"
	"thor/overlay"
	"thor/provisioning"
	"thor/provisioning/login"
	"thor/provisioning/push"
	"thor/provisioning/store"
	"thor/subjects"
)

func newProvisioning() *cobra.Command {
	return newDaemon("provisioning", "Run the provisioning server: SOAP clients change subscribers, in the database first and then on their nodes", "NGNPro", buildProvisioning)
}

func buildProvisioning(d *daemon) (part, error) {
	if err := d.join(); err != nil {
		return nil, err
	}
	return newProvisioner(d)
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
	var err error
	if p.store, err = newStore(d); err != nil {
		return nil, err
	}
	pc := c.Push
	pc.Overlay, pc.Store = d.net, p.store.Pushes
	pc.Log, pc.Metrics = d.log, d.registerer()
	pc.Audit = d.audit
	if p.live, err = push.New(pc); err != nil {
		return nil, err
	}
	sc := c.Server
	sc.Store, sc.Network = p.store, d.net
	sc.Nodes, sc.Pusher, sc.Apex = p.live, p.live, d.apex
	sc.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return d.creds.Certificate(), nil }
	sc.Log, sc.Metrics = d.log, d.registerer()
	sc.Audit = d.audit
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
	_, port, _ := net.SplitHostPort(sc.Listen) // checked by config
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

// newStore is the store on the configured database, or on the announced one.
func newStore(d *daemon) (*store.Store, error) {
	sc := d.file.Provisioning.Store
	sc.Domain, sc.Log, sc.Unserved = d.creds.Identity().Domain, d.log, d.unservedRecord
	sc.Source = store.NewAnnounced(d.net, subjects.ProvisioningServer)
	if db := d.file.Provisioning.Database; db != nil {
		sc.Source = store.Fixed{DSN: db.URI, PasswordFile: db.PasswordFile}
		var err error
		if sc.Roots, err = components.Roots(db.CA); err != nil {
			return nil, config.Problems{d.file.Problem("provisioning.database.ca", "%v", err)}
		}
	}
	return store.New(sc)
}
