package nodeagent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"

	"thor/overlay/check"
)

// An rtpengineProbe sends rtpengine's ng protocol a ping: a cookie and a bencoded
// dictionary over UDP.
type rtpengineProbe struct {
	target string
	cookie string // of the check; the probe's number follows
	seq    int
	udp    dialogue
}

func (p *rtpengineProbe) name() string { return "rtpengine ping " + p.target }
func (p *rtpengineProbe) Close()       { p.udp.close() }

func (p *rtpengineProbe) Probe(ctx context.Context) error {
	// rtpengine answers a cookie that it knows out of its memory.
	p.seq++
	cookie := fmt.Sprintf("%s-%d", p.cookie, p.seq)
	return p.udp.ask(ctx,
		func(netip.AddrPort) []byte { return []byte(cookie + " d7:command4:pinge") },
		func(b []byte) (match, error) {
			got, body, _ := bytes.Cut(b, []byte(" "))
			switch {
			case string(got) != cookie && bytes.HasPrefix(got, []byte(p.cookie+"-")):
				return other, nil
			case string(got) != cookie || !bytes.HasPrefix(body, []byte("d")):
				return foreign, nil
			case bytes.Contains(body, []byte("6:result4:pong")):
				return final, nil
			}
			return final, &check.Fault{Text: "answered something other than pong", Cause: fmt.Errorf("%.100q", body)}
		})
}

// A tcpProbe makes a connection and ends it.
type tcpProbe struct{ target string }

func (p *tcpProbe) name() string { return "tcp connect " + p.target }
func (p *tcpProbe) Close()       {}

func (p *tcpProbe) Probe(ctx context.Context) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", p.target)
	if err == nil {
		_ = c.Close() // nothing was written that could be lost
	}
	return err
}

// An httpProbe asks with GET, on a new connection each time, and follows no
// redirection: that answer is the service's own.
type httpProbe struct {
	url    *url.URL
	expect []int // that count as alive; empty: 200 to 299
	client *http.Client
}

func newHTTPProbe(c *CheckConfig) (*httpProbe, error) {
	u, err := url.Parse(c.Target)
	if err != nil {
		return nil, err
	}
	return &httpProbe{url: u, expect: c.Expect, client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig: c.tlsConfig(u.Hostname()),
		},
	}}, nil
}

// name leaves out the query, which may hold a token.
func (p *httpProbe) name() string {
	return "http get " + (&url.URL{Scheme: p.url.Scheme, Host: p.url.Host, Path: p.url.Path}).String()
}

func (p *httpProbe) Close() { p.client.CloseIdleConnections() }

func (p *httpProbe) Probe(ctx context.Context) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url.String(), nil)
	if err != nil {
		return err
	}
	q.Header.Set("User-Agent", "thor")
	a, err := p.client.Do(q)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the whole text would hold the query
		}
		return err
	}
	_ = a.Body.Close() // unread: the connection is not used again
	switch {
	case len(p.expect) == 0 && a.StatusCode >= 200 && a.StatusCode < 300, slices.Contains(p.expect, a.StatusCode):
		return nil
	}
	return &check.Fault{Text: fmt.Sprintf("answered %d", a.StatusCode)}
}
