// Package rpc calls the SIP proxies of this machine by JSON-RPC 2.0 over HTTP. What the
// methods are, packages kamailio and opensips know.
//
// An error says in one line which program refused what. It wraps a check.Fault, whose text
// is the same for the same fault, and holds no word of the program's own.
package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"thor/overlay/check"
)

// maxAnswer is the greatest answer in bytes that is read: a list of 500,000
// subscribers.
const maxAnswer = 32 << 20

// A Client calls one program. Its methods may be called from any goroutine.
type Client struct {
	// Program stands before errors.
	Program string
	// Sign gives the header that proves a body; nil: the program asks for no proof.
	Sign func(body string) (name, value string)
	// Forbidden says why the program may answer 403.
	Forbidden string

	url  string
	http *http.Client
}

// New is for the program that is called at a URL such as example.
func New(program, location, example string) (*Client, error) {
	u, err := url.Parse(location)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, fmt.Errorf("%s: not a URL like %s", program, example)
	case u.User != nil:
		return nil, fmt.Errorf("%s: the URL holds a user: let it listen on loopback", program)
	}
	return &Client{Program: program, Forbidden: "refused", url: location, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		// Programs end idle connections when they like, which a request may meet.
		Transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: 2 * time.Second, DisableCompression: true},
	}}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// An Error is what a program says instead of a result.
type Error struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return fmt.Sprintf("%d %.200q", e.Code, e.Message) }

// Unwrap is the fault that it is for a check.
func (e *Error) Unwrap() error { return &check.Fault{Text: fmt.Sprintf("refuses with %d", e.Code)} }

// Call runs method and decodes its result. params is a list or an object.
func (c *Client) Call(ctx context.Context, result any, method string, params any) error {
	if err := c.call(ctx, result, method, params); err != nil {
		return fmt.Errorf("%s %s: %w", c.Program, method, err)
	}
	return nil
}

func (c *Client) call(ctx context.Context, result any, method string, params any) error {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header["X-Idempotency-Key"] = nil // is not sent: net/http may ask again if the program just ended the idle connection
	if c.Sign != nil {
		q.Header.Set(c.Sign(string(body)))
	}
	a, err := c.http.Do(q)
	if err != nil {
		return err
	}
	defer func() { _ = a.Body.Close() }() // what was read is whole or the decoder says so
	b, err := io.ReadAll(io.LimitReader(a.Body, maxAnswer+1))
	switch {
	case err != nil:
		return err
	case len(b) > maxAnswer:
		return &check.Fault{Text: fmt.Sprintf("the answer is longer than %d bytes", maxAnswer)}
	case a.StatusCode == http.StatusForbidden:
		return &check.Fault{Text: c.Forbidden}
	case len(b) == 0:
		return &check.Fault{Text: fmt.Sprintf("no answer (HTTP %d)", a.StatusCode)}
	}
	var r struct {
		Result json.RawMessage `json:"result"`
		Error  *Error          `json:"error"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return &strange{fmt.Sprintf("HTTP %d, not JSON", a.StatusCode), err}
	}
	if r.Error != nil {
		return r.Error
	}
	if err := json.Unmarshal(r.Result, result); err != nil {
		return &strange{"result", err}
	}
	return nil
}

// strange is an answer that is not of the form that is known.
type strange struct {
	what string
	err  error
}

func (s *strange) Error() string { return s.what + ": " + s.err.Error() }

func (s *strange) Unwrap() []error {
	return []error{&check.Fault{Text: "no valid answer", Cause: s.err}, s.err}
}

// Refused is the program's own error in err; nil: it is another one.
func Refused(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
