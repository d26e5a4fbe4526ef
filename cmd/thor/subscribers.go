package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"

	"thor/cmd/thor/internal/config"
	"thor/nodeagent/kamailio"
	"thor/nodeagent/local"
	"thor/nodeagent/subscribers"
	"thor/subjects"
)

// besideSubscribers adds to p what a node does for subscribers: it keeps their
// profiles and gives them on the local HTTP service, and it tells who is
// registered with its Kamailio.
func besideSubscribers(d *daemon, p part, lc *local.Config) (part, *kamailio.Answers, error) {
	if c := d.file.Node.Subscribers; c != nil {
		cache, err := subscribers.New(subscribers.Config{
			Overlay: d.net, Max: c.Max, Grace: c.Grace, Log: d.log, Metrics: d.registerer(),
		})
		if err != nil {
			return nil, nil, err
		}
		lc.Pages = map[string]http.Handler{"/subscriber/": cache.Handler()}
		p = beside{p, cache}
	}
	clients, err := kamailios(d.file)
	if err != nil {
		return nil, nil, err
	}
	a := kamailio.Handle(d.net, clients, d.log)
	return beside{p, registrations{a}}, a, nil
}

// kamailios are those that the roles of the file have beside them.
func kamailios(f *config.File) (map[subjects.Role]*kamailio.Client, error) {
	out := make(map[subjects.Role]*kamailio.Client)
	for i, r := range f.Node.Roles {
		if r.Kamailio == "" {
			continue
		}
		c, err := kamailio.NewClient(r.Kamailio)
		if err != nil {
			return nil, config.Problems{f.Problem(fmt.Sprintf("node.role[%d].kamailio", i), "%v", err)}
		}
		out[subjects.Role(r.Role)] = c
	}
	return out, nil
}

// registrations are answered for as long as the network runs.
type registrations struct{ *kamailio.Answers }

func (r registrations) Run(ctx context.Context) error {
	<-ctx.Done()
	r.Close()
	return nil
}

// keepsSubscribers is attrs with what has provisioning tell the node of changes.
func keepsSubscribers(attrs map[string]string) map[string]string {
	out := maps.Clone(attrs)
	if out == nil {
		out = make(map[string]string)
	}
	out[subjects.AttrSubscribers] = "cached"
	return out
}
