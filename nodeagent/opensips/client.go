// Package opensips speaks to an OpenSIPS by its management interface: JSON-RPC of the
// module mi_http, as OpenSIPS 3.4 to 4.0 have it. It was written by their documentation
// and source, and is tested against a fake that answers as these say (package
// opensipstest); no OpenSIPS has run it yet.
package opensips

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"thor/nodeagent/rpc"
	"thor/overlay/check"
)

// A Client calls one OpenSIPS. Its methods may be called from any goroutine.
type Client struct {
	*rpc.Client

	mu    sync.Mutex
	newer map[string]bool // methods that this OpenSIPS knows by their names of 4.0
}

// NewClient is for the URL of mi_http, such as "http://127.0.0.1:8888/mi". It asks for no
// proof: let it listen on loopback, where every user of the machine can call it.
func NewClient(url string) (*Client, error) {
	c, err := rpc.New("opensips", url, "http://127.0.0.1:8888/mi")
	if err != nil {
		return nil, err
	}
	c.Forbidden = "refused with HTTP 403"
	return &Client{Client: c, newer: make(map[string]bool)}, nil
}

// named are parameters by their names.
type named map[string]any

// newNames are those of OpenSIPS 4.0, MODULE:COMMAND, of the methods that are called here.
var newNames = map[string]string{
	"ds_reload": "dispatcher:reload", "ds_set_state": "dispatcher:set_state", "ds_list": "dispatcher:list",
	"ul_dump": "usrloc:dump", "ul_show_contact": "usrloc:show_contact",
	"rtpengine_reload": "rtpengine:reload", "rtpengine_enable": "rtpengine:enable", "rtpengine_show": "rtpengine:show",
	"address_reload": "permissions:address_reload", "address_dump": "permissions:address_dump",
}

// Codes of JSON-RPC 2.0 with which OpenSIPS refuses (mi/mi.h).
const (
	unknownMethod = -32601
	ambiguous     = -32001
	unknownParams = -32602
)

// call runs method, by its old name or its new one, whichever this OpenSIPS knows.
func (c *Client) call(ctx context.Context, result any, method string, params any) error {
	if params == nil {
		params = []any{}
	}
	newName := newNames[method]
	c.mu.Lock()
	newer := c.newer[method]
	c.mu.Unlock()
	first, second := method, newName
	if newer {
		first, second = newName, method
	}
	err := c.Call(ctx, result, first, params)
	if no := rpc.Refused(err); no == nil || no.Code != unknownMethod && no.Code != ambiguous || second == "" {
		return err
	}
	again := c.Call(ctx, result, second, params)
	if no := rpc.Refused(again); no != nil && no.Code == unknownMethod {
		return &check.Fault{Text: fmt.Sprintf("opensips does not know %s: load its module", method), Cause: again}
	}
	c.mu.Lock()
	c.newer[method] = !newer
	c.mu.Unlock()
	return again
}

// without calls method again with fewer parameters where this OpenSIPS does not know the
// last one.
func (c *Client) without(ctx context.Context, method string, params named, last string) error {
	var ignored any
	err := c.call(ctx, &ignored, method, params)
	if no := rpc.Refused(err); no == nil || no.Code != unknownParams {
		return err
	}
	delete(params, last)
	return c.call(ctx, &ignored, method, params)
}

// UpSince is when OpenSIPS was started, in its own words: another one after a restart.
func (c *Client) UpSince(ctx context.Context) (string, error) {
	var r struct {
		UpSince string `json:"Up since"`
	}
	if err := c.call(ctx, &r, "uptime", nil); err != nil {
		return "", err
	}
	if r.UpSince == "" {
		return "", &check.Fault{Text: "opensips uptime: does not tell Up since"}
	}
	return r.UpSince, nil
}

// Dialogs is the number of dialogs that have begun and not ended, which OpenSIPS counts if
// it has loaded the module dialog.
func (c *Client) Dialogs(ctx context.Context) (int, error) {
	var n map[string]any
	if err := c.call(ctx, &n, "get_statistics", []any{[]string{"dialog:"}}); err != nil {
		return 0, err
	}
	sum := 0
	for _, name := range []string{"dialog:active_dialogs", "dialog:early_dialogs"} {
		v, ok := n[name].(float64)
		if !ok || v < 0 {
			return 0, &check.Fault{Text: "opensips counts no dialogs: load its module dialog, and call create_dialog() for each INVITE"}
		}
		sum += int(v)
	}
	return sum, nil
}

// Busy reports whether err is a refusal to reload that passes.
func Busy(err error) bool {
	no := rpc.Refused(err)
	return no != nil && strings.Contains(strings.ToLower(no.Message), "in progress")
}
