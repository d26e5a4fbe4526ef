package kamailio

import (
	"context"
	"encoding/json"
	"strings"

	"thor/nodeagent/registrar"
	"thor/nodeagent/rpc"
	"thor/overlay/subscriber"
)

// table is usrloc's name for where registrations are kept.
const table = "location"

// Online counts the subscribers that are registered, by domain.
func (c *Client) Online(ctx context.Context) (map[string]int, error) {
	var dump struct {
		Domains []struct {
			Domain struct {
				Domain string
				AoRs   []struct{ AoR string }
			}
		}
	}
	if err := c.call(ctx, &dump, "ul.dump", "brief"); err != nil {
		return nil, err
	}
	out := make(map[string]int)
	for _, d := range dump.Domains {
		if d.Domain.Domain != table {
			continue
		}
		for _, a := range d.Domain.AoRs {
			registrar.Count(out, a.AoR)
		}
	}
	return out, nil
}

// A contact is what usrloc tells of one.
type contact struct {
	Address   string
	Expires   json.RawMessage // seconds, or a word such as "permanent"
	UserAgent string          `json:"User-Agent"`
	Received  string
	Socket    string
}

// Contacts are where key is registered; none is no error.
func (c *Client) Contacts(ctx context.Context, key string) ([]subscriber.Contact, error) {
	var found struct {
		Contacts []struct{ Contact contact }
	}
	err := c.call(ctx, &found, "ul.lookup", table, key)
	if no := rpc.Refused(err); no != nil && (no.Code == 404 || strings.Contains(no.Message, "not found")) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []subscriber.Contact
	for i := range found.Contacts {
		if s, ok := registrar.Contact(found.Contacts[i].Contact).Meaning(); ok {
			out = append(out, s)
		}
	}
	return out, nil
}
