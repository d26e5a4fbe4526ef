package kamailio

import (
	"context"
	"strings"

	"thor/nodeagent/rpc"
	"thor/overlay/check"
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
	switch no := rpc.Refused(err); {
	case no != nil && strings.EqualFold(no.Message, methodNotFound):
		return 0, &check.Fault{Text: "kamailio counts no dialogs: load its module dialog, and call dlg_manage() for each INVITE"}
	case err != nil:
		return 0, err
	case n.Ongoing == nil:
		return 0, &check.Fault{Text: "kamailio dlg.stats_active: no number in the answer"}
	}
	return n.Starting + n.Connecting + n.Answering + *n.Ongoing, nil
}

// methodNotFound is what Kamailio says, with the code 500.
const methodNotFound = "Method Not Found"
