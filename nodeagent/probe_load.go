package nodeagent

import (
	"context"
	"errors"
	"net/url"
	"slices"

	"thor/nodeagent/asterisk"
	"thor/nodeagent/ng"
	"thor/nodeagent/weight"
)

// A loadProbe asks a service that can tell how much it carries.
type loadProbe struct {
	name  string
	alive func(context.Context) error
	count func(context.Context) (int, error)
	first func(context.Context) error // what must pass before; nil: nothing
	full  int                         // 0: the count is not asked for
	close func()

	share int
	known bool
}

func (p *loadProbe) Name() string { return p.name }

func (p *loadProbe) Close() {
	if p.close != nil {
		p.close()
	}
}

// Probe asks whether the service lives, or how much it carries: one that counts is alive.
func (p *loadProbe) Probe(ctx context.Context) error {
	if p.first != nil {
		if err := p.first(ctx); err != nil {
			return err
		}
	}
	if p.full == 0 {
		return p.alive(ctx)
	}
	n, err := p.count(ctx)
	if err == nil {
		p.share, p.known = weight.Share(n, p.full), true
	}
	return err
}

// Share implements check.Measurer.
func (p *loadProbe) Share() (percent int, ok bool) { return p.share, p.known }

func newRTPEngineProbe(c *CheckConfig) *loadProbe {
	x := ng.New(c.Target)
	what := "ping"
	if c.Full > 0 {
		what = "statistics"
	}
	return &loadProbe{
		name: "rtpengine " + what + " " + c.Target, alive: x.Ping, full: c.Full, close: x.Close,
		count: func(ctx context.Context) (int, error) {
			s, err := x.Statistics(ctx)
			return s.Sessions, err
		},
	}
}

func newProxyProbe(c *CheckConfig) (*loadProbe, error) {
	if c.Proxy == nil {
		return nil, errors.New("nothing asks the RPC at " + c.Target)
	}
	return &loadProbe{
		name: string(c.Kind) + " rpc " + c.Target, full: c.Full, count: c.Proxy.Dialogs,
		alive: func(ctx context.Context) error {
			_, err := c.Proxy.UpSince(ctx)
			return err
		},
	}, nil
}

// ARI asks the Asterisk of c. It is told the password, so that its certificate is always
// verified: by the system's authorities where c names none.
func (c *CheckConfig) ARI() (*asterisk.Client, error) {
	host := ""
	if u, err := url.Parse(c.Target); err == nil {
		host = u.Hostname()
	}
	t := c.tlsConfig(host)
	t.InsecureSkipVerify = false
	return asterisk.New(c.Target, c.AuthUser, c.PasswordFile, t)
}

func newAsteriskProbe(c *CheckConfig) (*loadProbe, error) {
	x, err := c.ARI()
	if err != nil {
		return nil, err
	}
	modules := slices.Clone(c.Modules)
	return &loadProbe{
		name: "asterisk ari " + c.Target, alive: x.Ping, count: x.Channels, full: c.Full, close: x.Close,
		first: func(ctx context.Context) error {
			for _, m := range modules {
				if err := x.Running(ctx, m); err != nil {
					return err
				}
			}
			return nil
		},
	}, nil
}
