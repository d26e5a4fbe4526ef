// Package asterisk asks an Asterisk by its REST interface (ARI): whether it lives, whether
// modules run, how many channels it has. It was written by the documentation of Asterisk 20
// and 23, and is tested against a fake that answers as these say (package asterisktest);
// no Asterisk has answered it yet.
package asterisk

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"thor/nodeagent/password"
	"thor/overlay/check"
)

// maxAnswer is the greatest answer in bytes that is read: a list of some 30,000 channels.
const maxAnswer = 32 << 20

// A Client asks one Asterisk. Its methods may be called from any goroutine.
type Client struct {
	base *url.URL
	user string
	file string
	http *http.Client
}

// New is for the ARI at a URL such as "http://127.0.0.1:8088/ari", as user with the password
// in file, which is read for each question.
func New(location, user, file string, t *tls.Config) (*Client, error) {
	if err := CheckURL(location); err != nil {
		return nil, err
	}
	u, err := url.Parse(location)
	if err != nil {
		return nil, err
	}
	return &Client{base: u, user: user, file: file, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10, TLSClientConfig: t},
	}}, nil
}

// CheckURL tells why location is no URL of an ARI. The password travels in the clear, so
// that another host must have https.
func CheckURL(location string) error {
	u, err := url.Parse(location)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" {
		return fmt.Errorf("%q is not a URL like \"http://127.0.0.1:8088/ari\"", location)
	}
	if u.User != nil {
		return errors.New("holds a user: that is auth_user, and its password in password_file")
	}
	if addr, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (err != nil || !addr.IsLoopback()) {
		return errors.New("is not on loopback: the password would be sent in the clear, use https")
	}
	return nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ping asks whether Asterisk lives.
func (c *Client) Ping(ctx context.Context) error {
	var a struct{ Ping string }
	if err := c.get(ctx, &a, "asterisk", "ping"); err != nil {
		return err
	}
	if a.Ping != "pong" {
		return &check.Fault{Text: "answered something other than pong", Cause: fmt.Errorf("%.100q", a.Ping)}
	}
	return nil
}

// Running asks whether a module, such as app_voicemail.so, is loaded and runs.
func (c *Client) Running(ctx context.Context, module string) error {
	var a struct{ Status string }
	err := c.get(ctx, &a, "asterisk", "modules", module)
	var refused *status
	switch {
	case errors.As(err, &refused) && int(*refused) == http.StatusNotFound:
		return &check.Fault{Text: module + " is not loaded", Cause: err}
	case err != nil:
		return err
	case a.Status != "Running":
		return &check.Fault{Text: module + " is loaded, but does not run", Cause: fmt.Errorf("%.100q", a.Status)}
	}
	return nil
}

// Channels is how many channels there are.
func (c *Client) Channels(ctx context.Context) (int, error) {
	var list []struct {
		ID string `json:"id"`
	}
	if err := c.get(ctx, &list, "channels"); err != nil {
		return 0, err
	}
	return len(list), nil
}

// A status is a refusal by HTTP.
type status int

func (s *status) Error() string { return fmt.Sprintf("HTTP %d", int(*s)) }

// Unwrap is the fault that it is for a check.
func (s *status) Unwrap() error {
	if int(*s) == http.StatusUnauthorized {
		return &check.Fault{Text: "refuses the user and the password"}
	}
	return &check.Fault{Text: fmt.Sprintf("answered %d", int(*s))}
}

// get asks for one resource.
func (c *Client) get(ctx context.Context, v any, path ...string) error {
	secret, err := password.Read(c.file)
	if err != nil {
		return &check.Fault{Text: "the password file cannot be read", Cause: err}
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath(path...).String(), nil)
	if err != nil {
		return err
	}
	q.SetBasicAuth(c.user, secret)
	q.Header.Set("User-Agent", "thor")
	a, err := c.http.Do(q)
	if err != nil {
		return err
	}
	defer func() { _ = a.Body.Close() }() // what was read is whole or the decoder says so
	if a.StatusCode != http.StatusOK {
		s := status(a.StatusCode)
		return fmt.Errorf("GET %s: %w", strings.Join(path, "/"), &s)
	}
	b, err := io.ReadAll(io.LimitReader(a.Body, maxAnswer))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return &check.Fault{Text: "no valid answer", Cause: err}
	}
	return nil
}
