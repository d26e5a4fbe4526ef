package main

import (
	"context"
	"fmt"

	"thor/cmd/thor/internal/config"
	"thor/nodeagent"
	"thor/nodeagent/kamailio"
	"thor/nodeagent/media"
	"thor/nodeagent/opensips"
	"thor/nodeagent/registrar"
	"thor/nodeagent/secret"
	"thor/nodeagent/sets/live"
	"thor/nodeagent/work"
	"thor/overlay/check"
	"thor/subjects"
)

// A sipProxy is a Kamailio or an OpenSIPS of this machine.
type sipProxy struct {
	proxyClient
	keeps live.Proxy
	url   string
}

// proxyClient is what asks it.
type proxyClient interface {
	registrar.Source
	nodeagent.Proxy
}

// newSIPProxy is for a proxy of that kind at url, which asks for no proof if key is nil.
func newSIPProxy(kind nodeagent.Kind, url string, key *secret.Key) (*sipProxy, error) {
	if kind == nodeagent.OpenSIPS {
		c, err := opensips.NewClient(url)
		if err != nil {
			return nil, err
		}
		return &sipProxy{c, live.OpenSIPS(c), url}, nil
	}
	c, err := kamailio.NewClient(url, key)
	if err != nil {
		return nil, err
	}
	return &sipProxy{c, live.Kamailio(c), url}, nil
}

// proxies are those of this machine, as those who are asked and those who are told, and
// what counts their work and asks relays for theirs.
type proxies struct {
	agent   *nodeagent.Agent
	answers *registrar.Answers
	work    *work.Answers
	media   *media.Answers
	sets    *live.Keeper
}

// newProxies makes what serves the proxies of the roles.
func newProxies(d *daemon, a *nodeagent.Agent, roles []nodeagent.RoleConfig, key *secret.Key) (*proxies, error) {
	of, err := sipProxies(d.file, key)
	if err != nil {
		return nil, err
	}
	sets, err := live.New(d.net, setsOf(d.file, of), d.log, d.registerer())
	if err != nil {
		return nil, err
	}
	before := d.health
	d.health = func() []string { return append(before(), sets.Faults()...) }
	return &proxies{
		a, registrar.Handle(d.net, sources(of), d.log), work.Handle(d.net, counters(a, roles, of), d.log),
		media.Handle(d.net, relays(roles), d.log), sets,
	}, nil
}

// use takes the proxies of another file.
func (x *proxies) use(f *config.File, roles []nodeagent.RoleConfig, of map[subjects.Role]*sipProxy) {
	x.sets.Use(setsOf(f, of))
	x.work.Use(counters(x.agent, roles, of))
	x.media.Use(relays(roles))
	x.answers.Use(sources(of)) // which closes the former
}

func sources(of map[subjects.Role]*sipProxy) map[subjects.Role]registrar.Source {
	out := make(map[subjects.Role]registrar.Source, len(of))
	for r, p := range of {
		out[r] = p
	}
	return out
}

// counters are how the work of the roles is counted: by their proxies, by the services
// that their checks ask, and by what programs say that have joined.
func counters(a *nodeagent.Agent, roles []nodeagent.RoleConfig, of map[subjects.Role]*sipProxy) map[subjects.Role][]work.Counter {
	out := make(map[subjects.Role][]work.Counter)
	for role, p := range of {
		out[role] = append(out[role], work.Counter{What: subjects.Dialogs, Count: p.Dialogs})
	}
	for _, r := range roles {
		seen := make(map[string]bool)
		for _, c := range r.Checks {
			key := string(c.Kind) + " " + c.Target
			if seen[key] { // one service, asked twice
				continue
			}
			seen[key] = true
			switch {
			case c.Kind == nodeagent.RTPEngine:
				out[r.Role] = append(out[r.Role], work.RTPEngine(c.Target))
			case c.Kind == nodeagent.Asterisk:
				out[r.Role] = append(out[r.Role], work.Counter{What: subjects.Channels, Count: channels(&c)})
			case c.Kind == nodeagent.Program:
				out[r.Role] = append(out[r.Role], work.Counter{What: subjects.Tasks, Count: func(context.Context) (int, error) { return a.ProgramWork(r.Role) }})
			case c.Proxy != nil && (of[r.Role] == nil || of[r.Role].url != c.Target):
				out[r.Role] = append(out[r.Role], work.Counter{What: subjects.Dialogs, Count: c.Proxy.Dialogs})
			}
		}
	}
	return out
}

// relays are where the rtpengines listen that the checks of the roles ask.
func relays(roles []nodeagent.RoleConfig) map[subjects.Role][]string {
	out := make(map[subjects.Role][]string)
	for _, r := range roles {
		for _, c := range r.Checks {
			if c.Kind == nodeagent.RTPEngine {
				out[r.Role] = append(out[r.Role], c.Target)
			}
		}
	}
	return out
}

// channels counts those of the Asterisk that c asks.
func channels(c *nodeagent.CheckConfig) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		x, err := c.ARI()
		if err != nil {
			return 0, err
		}
		defer x.Close()
		n, err := x.Channels(ctx)
		if err != nil {
			return 0, fmt.Errorf("asterisk: %s", check.Explain(err).Text)
		}
		return n, nil
	}
}

// setsOf are the sets that the roles of the file have kept.
func setsOf(f *config.File, of map[subjects.Role]*sipProxy) (out []live.Target) {
	for _, r := range f.Node.Roles {
		if p := of[r.Role]; p != nil && r.Sets != nil {
			out = append(out, live.Target{Role: r.Role, URL: p.url, Proxy: p.keeps, Sets: r.Sets})
		}
	}
	return out
}

// sipProxies are those that the roles of the file have beside them.
func sipProxies(f *config.File, key *secret.Key) (map[subjects.Role]*sipProxy, error) {
	out := make(map[subjects.Role]*sipProxy)
	for i, r := range f.Node.Roles {
		kind, url := r.Proxy()
		if url == "" {
			continue
		}
		p, err := newSIPProxy(kind, url, key)
		if err != nil {
			return nil, config.Problems{f.Problem(fmt.Sprintf("node.role[%d].%s", i, kind), "%v", err)}
		}
		out[r.Role] = p
	}
	return out, nil
}

// askProxies gives the checks of proxies what asks them.
func askProxies(f *config.File, roles []nodeagent.RoleConfig, key *secret.Key) error {
	for i := range roles {
		for j := range roles[i].Checks {
			c := &roles[i].Checks[j]
			if c.Kind != nodeagent.Kamailio && c.Kind != nodeagent.OpenSIPS {
				continue
			}
			p, err := newSIPProxy(c.Kind, c.Target, key)
			if err != nil {
				return config.Problems{f.Problem(fmt.Sprintf("node.role[%d].check[%d].target", i, j), "%v", err)}
			}
			c.Proxy = p
		}
	}
	return nil
}

// registrations are answered for as long as the network runs.
type registrations struct{ *registrar.Answers }

func (r registrations) Run(ctx context.Context) error {
	<-ctx.Done()
	r.Close()
	return nil
}
