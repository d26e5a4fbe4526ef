package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"thor/overlay/check"
)

// A tcpProbe makes a connection and ends it.
type tcpProbe struct{ target string }

func (p *tcpProbe) Name() string { return "tcp connect " + p.target }
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
	url     *url.URL
	accepts func(code int) bool
	client  *http.Client
}

func newHTTPProbe(c *CheckConfig) (*httpProbe, error) {
	u, err := url.Parse(c.Target)
	if err != nil {
		return nil, err
	}
	accepts := func(code int) bool { return code >= 200 && code < 300 }
	if c.namesCodes() {
		accepts = c.accepts
	}
	return &httpProbe{url: u, accepts: accepts, client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig: c.tlsConfig(u.Hostname()),
		},
	}}, nil
}

// Name leaves out the query, which may hold a token.
func (p *httpProbe) Name() string {
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
	if p.accepts(a.StatusCode) {
		return nil
	}
	return &check.Fault{Text: fmt.Sprintf("answered %d", a.StatusCode)}
}
