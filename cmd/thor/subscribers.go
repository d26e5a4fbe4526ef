package main

import (
	"net/http"

	"thor/cmd/thor/internal/config"
	"thor/cmd/thor/internal/sdnotify"
	"thor/nodeagent"
	"thor/nodeagent/calls"
	"thor/nodeagent/control"
	"thor/nodeagent/local"
	"thor/nodeagent/secret"
	"thor/nodeagent/subscribers"
	"thor/nodeagent/subscribers/kept"
)

// besideSubscribers adds to a what a node does for subscribers: it keeps their
// profiles and gives them on the local HTTP service, and it tells who is
// registered with its SIP proxies. These are told of members.
func besideSubscribers(d *daemon, a *nodeagent.Agent, roles []nodeagent.RoleConfig, lc *local.Config, cc *control.Config) (part, *proxies, error) {
	var p part = a
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
	x, err := newProxies(d, a, roles, lc.Key)
	if err != nil {
		return nil, nil, err
	}
	return beside{beside{p, registrations{x.answers}}, x.sets}, x, nil
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
