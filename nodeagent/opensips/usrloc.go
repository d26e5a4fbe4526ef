package opensips

import (
	"context"
	"encoding/json"
	"net/http"

	"thor/nodeagent/registrar"
	"thor/nodeagent/rpc"
	"thor/overlay/subscriber"
)

// table is usrloc's name for where registrations are kept.
const table = "location"

// Online counts the subscribers that are registered, by domain. An OpenSIPS whose usrloc
// has use_domain off tells no domains.
func (c *Client) Online(ctx context.Context) (map[string]int, error) {
	var dump struct {
		Domains []struct {
			Name string
			AORs []struct{ AOR string }
		}
	}
	if err := c.call(ctx, &dump, "ul_dump", named{"brief": 1}); err != nil {
		return nil, err
	}
	out := make(map[string]int)
	for _, d := range dump.Domains {
		if d.Name != table {
			continue
		}
		for _, a := range d.AORs {
			registrar.Count(out, a.AOR)
		}
	}
	return out, nil
}

// A contact is what usrloc tells of one.
type contact struct {
	Address   string          `json:"Contact"`
	Expires   json.RawMessage // seconds, or a word such as "permanent"
	UserAgent string          `json:"User-agent"`
	Received  string
	Socket    string
}

// Contacts are where key is registered; none is no error.
func (c *Client) Contacts(ctx context.Context, key string) ([]subscriber.Contact, error) {
	var found struct{ Contacts []contact }
	err := c.call(ctx, &found, "ul_show_contact", named{"table_name": table, "aor": key})
	if no := rpc.Refused(err); no != nil && no.Code == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []subscriber.Contact
	for _, x := range found.Contacts {
		if s, ok := registrar.Contact(x).Meaning(); ok {
			out = append(out, s)
		}
	}
	return out, nil
}
