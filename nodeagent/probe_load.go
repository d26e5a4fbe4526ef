package nodeagent

import (
	"context"
	"errors"

	"thor/nodeagent/ng"
	"thor/nodeagent/weight"
)

// A loadProbe asks a service that can tell how much it carries.
type loadProbe struct {
	name  string
	alive func(context.Context) error
	count func(context.Context) (int, error)
	full  int // 0: the count is not asked for
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

// Probe asks one question: a service that counts is alive.
func (p *loadProbe) Probe(ctx context.Context) error {
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
