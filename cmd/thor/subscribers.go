package main

import (
	"context"
	"fmt"
	"net/http"

	"thor/cmd/thor/internal/config"
	"thor/cmd/thor/internal/sdnotify"
	"thor/nodeagent"
	"thor/nodeagent/calls"
	"thor/nodeagent/control"
	"thor/nodeagent/kamailio"
	"thor/nodeagent/local"
	"thor/nodeagent/secret"
	"thor/nodeagent/sets/live"
	"thor/nodeagent/subscribers"
	"thor/nodeagent/subscribers/kept"
	"thor/nodeagent/work"
	"thor/subjects"
)

// besideSubscribers adds to p what a node does for subscribers: it keeps their
// profiles and gives them on the local HTTP service, and it tells who is
// registered with its Kamailio. The proxies are told of members.
func besideSubscribers(d *daemon, p part, roles []nodeagent.RoleConfig, lc *local.Config, cc *control.Config) (part, *proxies, error) {
	lc.Pages = map[string]http.Handler{calls.Pattern: calls.Handler(d.net)}
	if c := d.file.Node.Subscribers; c != nil {
		sc := *c
		sc.Overlay, sc.Audit = d.net, d.audit
		sc.Log, sc.Metrics = d.log, d.registerer()
		if sdnotify.Kept() {
			sc.Kept, sc.Restored = kept.Open(string(d.net.ID()), d.inherited.Stored(kept.Name), sdnotify.Keeper{}, d.log)
		}
		cache, err := subscribers.New(sc)
		if err != nil {
			return nil, nil, err
		}
		lc.Pages["/subscriber/"] = cache.Handler()
		cc.Changed = cache.Changed
		p = beside{p, cache}
	}
	clients, err := kamailios(d.file, lc.Key)
	if err != nil {
		return nil, nil, err
	}
	sets, err := live.New(d.net, setsOf(d.file, clients), d.log, d.registerer())
	if err != nil {
		return nil, nil, err
	}
	of := d.health
	d.health = func() []string { return append(of(), sets.Faults()...) }
	x := &proxies{kamailio.Handle(d.net, clients, d.log), work.Handle(d.net, counters(roles, clients), d.log), sets}
	return beside{beside{p, registrations{x.answers}}, x.sets}, x, nil
}

// proxies are the Kamailios of this machine, as those who are asked and those who are
// told, and what counts their work.
type proxies struct {
	answers *kamailio.Answers
	work    *work.Answers
	sets    *live.Keeper
}

// use takes the Kamailios of another file.
func (x *proxies) use(f *config.File, roles []nodeagent.RoleConfig, clients map[subjects.Role]*kamailio.Client) {
	x.sets.Use(setsOf(f, clients))
	x.work.Use(counters(roles, clients))
	x.answers.Use(clients) // which closes the former
}

// counters are how the work of the roles is counted: by their Kamailios, and by the
// services that their checks ask.
func counters(roles []nodeagent.RoleConfig, clients map[subjects.Role]*kamailio.Client) map[subjects.Role][]work.Counter {
	out := make(map[subjects.Role][]work.Counter)
	for role, c := range clients {
		out[role] = append(out[role], work.Counter{What: subjects.Dialogs, Count: c.Dialogs})
	}
	for _, r := range roles {
		for _, c := range r.Checks {
			switch {
			case c.Kind == nodeagent.RTPEngine:
				out[r.Role] = append(out[r.Role], work.RTPEngine(c.Target))
			case c.Kind == nodeagent.Kamailio && clients[r.Role] == nil:
				out[r.Role] = append(out[r.Role], work.Counter{What: subjects.Dialogs, Count: c.Proxy.Dialogs})
			}
		}
	}
	return out
}

// setsOf are the sets that the roles of the file have kept.
func setsOf(f *config.File, clients map[subjects.Role]*kamailio.Client) (out []live.Target) {
	for _, r := range f.Node.Roles {
		if c := clients[r.Role]; c != nil && r.Sets != nil {
			out = append(out, live.Target{Role: r.Role, URL: r.Kamailio, RPC: c, Sets: r.Sets})
		}
	}
	return out
}

// kamailios are those that the roles of the file have beside them.
func kamailios(f *config.File, key *secret.Key) (map[subjects.Role]*kamailio.Client, error) {
	out := make(map[subjects.Role]*kamailio.Client)
	for i, r := range f.Node.Roles {
		if r.Kamailio == "" {
			continue
		}
		c, err := kamailio.NewClient(r.Kamailio, key)
		if err != nil {
			return nil, config.Problems{f.Problem(fmt.Sprintf("node.role[%d].kamailio", i), "%v", err)}
		}
		out[r.Role] = c
	}
	return out, nil
}

// besideControl adds the control port to p, if the file has one.
func besideControl(d *daemon, p part, cc control.Config) (part, error) {
	if d.file.Node.Control == "" {
		return p, nil
	}
	cc.Listen, cc.Credentials, cc.View = d.file.Node.Control, d.creds, d.net.View
	cc.Log, cc.Metrics = d.log, d.registerer()
	c, err := control.New(cc)
	if err != nil {
		return nil, err
	}
	return beside{p, c}, nil
}

// localServices is what programs of the machine are told, and where.
func localServices(d *daemon, a *nodeagent.Agent, key *secret.Key) (local.Config, error) {
	n := d.file.Node
	gid, err := socketGroup(d.file)
	if err != nil {
		return local.Config{}, err
	}
	lc := n.Config
	lc.Source, lc.Fault = d.net, a.Fault
	lc.Group, lc.Inherited = gid, d.inherited.Listeners()
	lc.Log = d.log
	lc.Key = key
	if n.Subscribers != nil && lc.Key == nil && lc.Socket == "" {
		d.log.Warn().Msg("subscribers cannot be asked for: neither node.socket nor node.secret_file is set")
	}
	return lc, nil
}

// localKey is the secret that programs of the machine share with the agent; nil: there is
// none.
func localKey(d *daemon) (*secret.Key, error) {
	if d.file.Node.SecretFile == "" {
		return nil, nil
	}
	gid, err := socketGroup(d.file)
	if err != nil {
		return nil, err
	}
	k, err := secret.Load(d.file.Node.SecretFile, gid)
	if err != nil {
		return nil, config.Problems{d.file.Problem("node.secret_file", "%v", err)}
	}
	return k, nil
}

// askProxies gives the checks of proxies what asks them.
func askProxies(f *config.File, roles []nodeagent.RoleConfig, key *secret.Key) error {
	for i := range roles {
		for j := range roles[i].Checks {
			c := &roles[i].Checks[j]
			if c.Kind != nodeagent.Kamailio {
				continue
			}
			p, err := kamailio.NewClient(c.Target, key)
			if err != nil {
				return config.Problems{f.Problem(fmt.Sprintf("node.role[%d].check[%d].target", i, j), "%v", err)}
			}
			c.Proxy = p
		}
	}
	return nil
}

// socketGroup is the group of the file, or the usual one where the machine has
// it; -1: none.
func socketGroup(f *config.File) (int, error) {
	if f.Node.GroupName == "" {
		if gid, err := local.GroupID(local.DefaultGroup); err == nil {
			return gid, nil
		}
		return -1, nil
	}
	gid, err := local.GroupID(f.Node.GroupName)
	if err != nil {
		return -1, config.Problems{f.Problem("node.group", "%v", err)}
	}
	return gid, nil
}

// registrations are answered for as long as the network runs.
type registrations struct{ *kamailio.Answers }

func (r registrations) Run(ctx context.Context) error {
	<-ctx.Done()
	r.Close()
	return nil
}
