package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/doctor/gather"
	"thor/monitor/view"
	"thor/monitor/web"
	"thor/overlay"
	"thor/overlay/audit"
	"thor/overlay/history"
	"thor/overlay/lookup"
	"thor/overlay/subscriber"
	"thor/subjects"
)

const (
	webPast   = 15 * time.Second // for the status of a time
	webBefore = 2 * time.Hour    // of events that a page has from before the start
	webAsk    = 5 * time.Second  // for where a subscriber is registered
	webRetry  = 10 * time.Second // until the history is asked for again that could not be read
)

func newWeb() *cobra.Command {
	return newDaemon("web", "Run the web view: the network in the browser, read-only", "", buildWeb)
}

func buildWeb(d *daemon) (part, error) {
	if err := d.join(); err != nil {
		return nil, err
	}
	v := &webView{d: d}
	c := d.file.Web.Config
	c.Network, c.Myself = d.net, d.net.ID()
	c.Log, c.Metrics = d.log, d.registerer()
	c.Reasons, c.Broker, c.Serial = v.reasons, v.broker, askSerial
	c.Past, c.History = v.past, v.history
	if !web.Loopback(c.Listen) {
		c.TLS, c.Names = d.creds.OperatorTLS(), v.names
		if d.creds.Identity().Has(subjects.ProvisioningServer) {
			c.Registered = v.registered
		}
	}
	var err error
	if v.Server, err = web.New(c); err != nil {
		return nil, err
	}
	if err := v.join(c.Listen); err != nil {
		return nil, err
	}
	return beside{v.Server, v}, nil
}

// A webView feeds the server of the page with what it shows besides the status.
type webView struct {
	*web.Server
	d    *daemon
	look atomic.Pointer[lookout] // nil before the first connection
}

// join makes the view a member, if its certificate has an address to announce.
func (v *webView) join(listen string) error {
	as := v.d.net.Identity().Addresses
	if len(as) == 0 {
		return nil
	}
	_, port, _ := net.SplitHostPort(listen) // checked by config
	_, err := v.d.net.Join(overlay.Member{
		Role: subjects.Monitor, Addresses: as[:1], Version: versionString(), Attrs: subjects.Attrs{subjects.AttrPort: port},
	})
	return err
}

// Run listens to what happens until ctx ends.
func (v *webView) Run(ctx context.Context) error {
	select {
	case <-v.d.net.Ready():
	case <-ctx.Done():
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	var telling sync.WaitGroup
	defer telling.Wait()
	defer cancel()
	s := v.session()
	events, err := s.events(ctx)
	if err != nil {
		return err
	}
	look, err := s.lookOut(ctx)
	if err != nil {
		return err
	}
	v.look.Store(look)
	telling.Go(func() { v.tellPast(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-events:
			v.Happened(&e)
		}
	}
}

// tellPast gives the page what happened before it was there.
func (v *webView) tellPast(ctx context.Context) {
	for failed := false; ; failed = true {
		events, _, err := v.history(ctx, time.Now().Add(-webBefore))
		if err == nil {
			v.HappenedBefore(events)
			return
		}
		if !failed && ctx.Err() == nil {
			v.d.log.Info().Err(err).Msg("the history cannot be read, retrying")
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(webRetry):
		}
	}
}

// session is the daemon's connection as commands use it.
func (v *webView) session() *session {
	return &session{Node: v.d.net, deadline: time.Now().Add(webPast)}
}

// past is the status of a time.
func (v *webView) past(ctx context.Context, at time.Time) (*subjects.Status, string, error) {
	return v.session().statusAt(ctx, at)
}

// history is what happened since a time.
func (v *webView) history(ctx context.Context, since time.Time) ([]subjects.Event, time.Time, error) {
	begins, _, err := v.d.net.HistoryBegins(ctx)
	if err != nil {
		return nil, begins, err
	}
	e := history.Events{Since: since}
	if _, err = v.d.net.ReadHistory(ctx, since.Add(-pastMargin), func(x *subjects.Record) bool { e.Add(x); return true }); err != nil {
		return nil, begins, err
	}
	return e.All(), begins, nil
}

// reasons are those of thor status.
func (v *webView) reasons(n *overlay.View) (out []string) {
	if l := v.look.Load(); l != nil {
		out = l.reasons(n.Status)
	}
	_, reasons := view.Health(n.Status, time.Now(), n.Stale, n.Connected)
	return append(out, reasons...)
}

func (v *webView) broker() string {
	if nc := v.d.net.Conn(); nc != nil && v.d.net.Connected() {
		return nc.ConnectedServerName()
	}
	return ""
}

// names are the hosts that the certificate is for.
func (v *webView) names() (out []string) {
	leaf := v.d.creds.Certificate().Leaf
	for _, ip := range leaf.IPAddresses {
		out = append(out, ip.String())
	}
	return append(out, leaf.DNSNames...)
}

// registered asks the nodes that serve key in role where it is registered. Who wanted to know is audited.
func (v *webView) registered(ctx context.Context, by subjects.NodeID, role subjects.Role, key string) ([]web.Registered, error) {
	key, nodes, err := v.registrars(role, key)
	if err != nil {
		return nil, err
	}
	v.d.audit.Write(audit.Given(audit.Locations, by, subjects.Operator, key, audit.OK, ""))
	ctx, cancel := context.WithTimeout(ctx, webAsk)
	defer cancel()
	question := subscriber.LocationsRequest{V: subjects.Version, Keys: []string{key}}
	var out []web.Registered
	for _, n := range nodes {
		r, err := v.d.net.Ask(ctx, subjects.AgentRequest(n, subjects.VerbLocations), question.Encode())
		if err == nil && r.Code != "" {
			err = errors.New(r.Text)
		}
		if err != nil {
			return nil, fmt.Errorf("%s does not tell: %w", n, err)
		}
		got, err := subscriber.ParseLocations(r.Data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		for _, c := range got.Contacts[key] {
			out = append(out, web.Registered{Node: n, Contact: c})
		}
	}
	return out, nil
}

// registrars are the nodes that a subscriber registers with: its owner, and one that drains and was it before.
func (v *webView) registrars(role subjects.Role, key string) (string, []subjects.NodeID, error) {
	found, err := v.d.net.Find(role, key)
	if err != nil {
		return "", nil, err
	}
	k, err := lookup.Normalise(key)
	if err != nil {
		return "", nil, err
	}
	nodes := []subjects.NodeID{found.Owner}
	if found.Previous != "" {
		nodes = append(nodes, found.Previous)
	}
	return k, nodes, nil
}

// askSerial asks the name server m for the serial of its zone.
func askSerial(ctx context.Context, m *subjects.Member, domain string) (uint32, error) {
	var q dns.Msg
	q.SetQuestion(dns.Fqdn(domain), dns.TypeSOA)
	r, _, err := new(dns.Client).ExchangeContext(ctx, &q, gather.AddressOf(m, nil))
	if err != nil {
		return 0, err
	}
	for _, rr := range r.Answer {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa.Serial, nil
		}
	}
	return 0, fmt.Errorf("it answers %s without a serial", dns.RcodeToString[r.Rcode])
}
