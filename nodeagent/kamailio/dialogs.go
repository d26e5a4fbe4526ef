package kamailio

import (
	"context"
	"errors"
	"strings"
)

// Dialogs is the number of dialogs that have begun and not ended, which Kamailio
// counts if it has loaded the module dialog.
func (c *Client) Dialogs(ctx context.Context) (int, error) {
	var n struct {
		Starting   int  `json:"starting"`
		Connecting int  `json:"connecting"`
		Answering  int  `json:"answering"`
		Ongoing    *int `json:"ongoing"`
	}
	err := c.call(ctx, &n, "dlg.stats_active")
	var refused *rpcError
	switch {
	case errors.As(err, &refused) && strings.EqualFold(refused.Message, methodNotFound):
		return 0, errors.New("kamailio counts no dialogs: load its module dialog, and call dlg_manage() for each INVITE")
	case err != nil:
		return 0, err
	case n.Ongoing == nil:
		return 0, errors.New("kamailio dlg.stats_active: no number in the answer")
	}
	return n.Starting + n.Connecting + n.Answering + *n.Ongoing, nil
}

// methodNotFound is what Kamailio says, with the code 500.
const methodNotFound = "Method Not Found"
