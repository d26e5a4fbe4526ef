package main

import (
	"context"
	"maps"
	"net/http"

	"thor/nodeagent/kamailio"
	"thor/nodeagent/local"
	"thor/nodeagent/subscribers"
	"thor/subjects"
)

// besideSubscribers adds to p what a node does for subscribers: it keeps their
// profiles and gives them on the local HTTP service, and it tells who is
// registered with its Kamailio.
func besideSubscribers(d *daemon, p part, lc *local.Config) (part, error) {
	if c := d.file.Node.Subscribers; c != nil {
		cache, err := subscribers.New(subscribers.Config{
			Overlay: d.net, Max: c.Max, Grace: c.Grace, Log: d.log, Metrics: d.registerer(),
		})
		if err != nil {
			return nil, err
		}
		lc.Pages = map[string]http.Handler{"/subscriber/": cache.Handler()}
		p = beside{p, cache}
	}
	clients := make(map[subjects.Role]*kamailio.Client)
	for _, r := range d.file.Node.Roles {
		if r.Kamailio == "" {
			continue
		}
		c, err := kamailio.NewClient(r.Kamailio)
		if err != nil {
			return nil, err
		}
		clients[subjects.Role(r.Role)] = c
	}
	if len(clients) > 0 {
		p = beside{p, registrations{kamailio.Handle(d.net, clients, d.log)}}
	}
	return p, nil
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
