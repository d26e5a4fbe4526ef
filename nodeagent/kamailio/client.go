package kamailio

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

	"thor/nodeagent/secret"
)

// maxAnswer is the greatest answer in bytes that is read: a list of 500,000
// subscribers.
const maxAnswer = 32 << 20

// A Client calls one Kamailio. Its methods may be called from any goroutine.
type Client struct {
	url  string
	key  *secret.Key // nil: Kamailio asks for no proof
	http *http.Client
}

// NewClient is for the URL of jsonrpcs, such as "http://127.0.0.1:5060/RPC". Its
// calls prove by key that they come from this agent; nil: they prove nothing.
func NewClient(rpc string, key *secret.Key) (*Client, error) {
	u, err := url.Parse(rpc)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("kamailio: not a URL like http://127.0.0.1:5060/RPC")
	case u.User != nil:
		return nil, errors.New("kamailio: the URL holds a user: let Kamailio listen on loopback")
	}
	return &Client{url: rpc, key: key, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		// Kamailio ends idle connections when it likes, which a request may meet.
		Transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: 2 * time.Second, DisableCompression: true},
	}}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// An rpcError is what Kamailio says instead of a result.
type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *rpcError) Error() string { return fmt.Sprintf("%d %.200q", e.Code, e.Message) }

// call runs method and decodes its result.
func (c *Client) call(ctx context.Context, result any, method string, params ...any) error {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": append([]any{}, params...)})
	if err != nil {
		return err
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header["X-Idempotency-Key"] = nil // is not sent: net/http may ask again if Kamailio just ended the idle connection
	if c.key != nil {
		proof, _ := c.key.Sign(secret.RPC, string(body), time.Now())
		q.Header.Set(secret.Header, proof)
	}
	a, err := c.http.Do(q)
	if err != nil {
		return fmt.Errorf("kamailio %s: %w", method, err)
	}
	defer func() { _ = a.Body.Close() }() // what was read is whole or the decoder says so
	b, err := io.ReadAll(io.LimitReader(a.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("kamailio %s: %w", method, err)
	case len(b) > maxAnswer:
		return fmt.Errorf("kamailio %s: the answer is longer than %d bytes", method, maxAnswer)
	case a.StatusCode == http.StatusForbidden:
		return fmt.Errorf("kamailio %s: refused: its secret is another, or it has just started", method)
	case len(b) == 0:
		return fmt.Errorf("kamailio %s: no answer (HTTP %d)", method, a.StatusCode)
	}
	var r struct {
		Result json.RawMessage `json:"result"`
		Error  *rpcError       `json:"error"`
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("kamailio %s: HTTP %d, not JSON: %w", method, a.StatusCode, err)
	}
	if r.Error != nil {
		return fmt.Errorf("kamailio %s: %w", method, r.Error)
	}
	if err := json.Unmarshal(r.Result, result); err != nil {
		return fmt.Errorf("kamailio %s: result: %w", method, err)
	}
	return nil
}
