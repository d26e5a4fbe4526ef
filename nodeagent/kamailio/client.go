package kamailio

import (
	"context"
	"time"

	"thor/nodeagent/rpc"
	"thor/nodeagent/secret"
)

// A Client calls one Kamailio. Its methods may be called from any goroutine.
type Client struct{ *rpc.Client }

// NewClient is for the URL of jsonrpcs, such as "http://127.0.0.1:5060/RPC". Its
// calls prove by key that they come from this agent; nil: they prove nothing.
func NewClient(url string, key *secret.Key) (*Client, error) {
	c, err := rpc.New("kamailio", url, "http://127.0.0.1:5060/RPC")
	if err != nil {
		return nil, err
	}
	c.Forbidden = "refused: its secret is another, or it has just started"
	if key != nil {
		c.Sign = func(body string) (name, value string) {
			proof, _ := key.Sign(secret.RPC, body, time.Now())
			return secret.Header, proof
		}
	}
	return &Client{c}, nil
}

// call runs method and decodes its result.
func (c *Client) call(ctx context.Context, result any, method string, params ...any) error {
	return c.Call(ctx, result, method, append([]any{}, params...))
}
