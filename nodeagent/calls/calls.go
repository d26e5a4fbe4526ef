package calls

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"thor/nodeagent/sets"
	"thor/overlay"
	"thor/overlay/lookup"
	"thor/subjects"
)

// Pattern is where Handler is served, for http.ServeMux.
const Pattern = "GET /call"

// maxCallID is the greatest Call-ID in bytes.
const maxCallID = 1024

// triesOfSlots bounds the search for a slot that a node owns: 8 ms with 100 members. A node
// with 1/1,000 of all weight finds one but in 1 of 10^7 cases.
const triesOfSlots = 1 << 14

// A Source knows the status; an *overlay.Node is one.
type Source interface{ View() *overlay.View }

// A Call is what a proxy writes into Record-Route.
type Call struct {
	// Name is a name of a slot, "0hq3.sip-proxy.lookup.example.net".
	Name string `json:"name"`
	// Relays are those to use, in this order: as many as serve, two at most.
	Relays []Relay `json:"relays"`
}

// A Relay is one that serves.
type Relay struct {
	Node subjects.NodeID `json:"node"`
	// Set is the number of its own set in Kamailio's module rtpengine.
	Set int `json:"set"`
}

// Find is what the proxy of role at address writes for the call with that Call-ID. An error
// is that the role has no lookup table, or no members.
func Find(s *subjects.Status, role, relays subjects.Role, address netip.Addr, callID string) (*Call, error) {
	table, ok := s.Lookup[role]
	if !ok {
		return nil, fmt.Errorf("no lookup table of role %q", role)
	}
	roster, err := lookup.NewRoster(table.Bits, lookup.MembersFor(table, s.Roles[role]))
	if err != nil {
		return nil, err
	}
	slot, err := ownSlot(roster, nodeAt(s.Roles[role], address))
	if err != nil {
		return nil, err
	}
	return &Call{Name: lookup.Name(table.Bits, slot, role, s.Domain), Relays: chooseRelays(s.Roles[relays], callID)}, nil
}

// nodeAt is the node of the member at address; empty if there is none.
func nodeAt(ms []subjects.Member, address netip.Addr) subjects.NodeID {
	for i := range ms {
		if slices.ContainsFunc(ms[i].Addresses, func(a netip.Addr) bool { return a.Unmap() == address.Unmap() }) {
			return ms[i].Node
		}
	}
	return ""
}

// ownSlot is a slot that node owns: always the same one while it does, so that resolvers
// have few names to keep. A node that owns none, since it drains or is no member, gets one of
// another node, which hands requests on to it while it lives.
func ownSlot(r *lookup.Roster, node subjects.NodeID) (uint32, error) {
	mask := uint32(1)<<r.Bits() - 1
	first := uint32(lookup.Hash(node)) & mask
	if !r.Has(node) {
		_, _, _, err := r.At(first)
		return first, err
	}
	for i := range min(mask, triesOfSlots) {
		owner, _, _, err := r.At((first + i) & mask)
		if err != nil {
			return 0, err
		}
		if owner == node {
			return (first + i) & mask, nil
		}
	}
	return first, nil // its weight is far below that of the others
}

// chooseRelays are owner and heir of the call.
func chooseRelays(ms []subjects.Member, callID string) []Relay {
	out := []Relay{}
	r, err := lookup.NewRoster(lookup.DefaultBits, lookup.Members(ms))
	if err != nil {
		return out
	}
	owner, heir, _, err := r.At(uint32(lookup.Hash(callID) >> (64 - lookup.DefaultBits)))
	if err != nil {
		return out
	}
	for _, n := range []subjects.NodeID{owner, heir} {
		if n != "" {
			out = append(out, Relay{n, sets.RelaySet(n)})
		}
	}
	return out
}

// Handler answers GET /call?role=ROLE&address=ADDRESS&relays=ROLE&id=HEX, where HEX is the
// Call-ID, with a Call as JSON, or, to programs that accept text/plain and not JSON, with lines:
// the name, and the sets of the relays.
func Handler(source Source) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		address, aerr := netip.ParseAddr(strings.Trim(r.FormValue("address"), "[]"))
		id, ierr := hex.DecodeString(r.FormValue("id"))
		role, rerr := subjects.ParseRole(r.FormValue("role"))
		relays, lerr := subjects.ParseRole(r.FormValue("relays"))
		switch {
		case aerr != nil || rerr != nil || lerr != nil:
			http.Error(w, "role, address and relays have to be a role, its address and a role", http.StatusBadRequest)
			return
		case ierr != nil || len(id) == 0 || len(id) > maxCallID:
			http.Error(w, fmt.Sprintf("id has to be the Call-ID in hex, of at most %d bytes", maxCallID), http.StatusBadRequest)
			return
		}
		v := source.View()
		if v.Status == nil {
			http.Error(w, "no status yet", http.StatusServiceUnavailable)
			return
		}
		c, err := Find(v.Status, role, relays, address, string(id))
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		write(w, r, c)
	})
}

func write(w http.ResponseWriter, r *http.Request, c *Call) {
	if a := r.Header.Get("Accept"); strings.Contains(a, "text/plain") && !strings.Contains(a, "json") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		text := c.Name + "\n"
		for _, x := range c.Relays {
			text += fmt.Sprintln(x.Set)
		}
		_, _ = fmt.Fprint(w, text) // a client that hung up needs no answer
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(c)
}
