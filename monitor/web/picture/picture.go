// Package picture says what the web view shows: a network status as the values of a
// page, which package web sends as JSON. It is pure: time and tables are arguments.
//
// All text in a Picture that came from the network is masked (package view) and free
// of control characters; it is text, and the page uses it as text alone.
package picture

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"thor/monitor/view"
	"thor/subjects"
)

// Version is that of the JSON form.
const Version = 1

// A Head is what a Picture says of the network as a whole.
type Head struct {
	V          int        `json:"v"`
	Domain     string     `json:"domain"`
	Known      bool       `json:"known"` // false: no status is known, and the rest is empty
	Epoch      uint64     `json:"epoch"`
	Generation uint64     `json:"generation"`
	Manager    string     `json:"manager"`          // the active one; "": none
	Changed    time.Time  `json:"changed,omitzero"` // when this generation began
	At         *time.Time `json:"at,omitempty"`     // of a picture of the past
	Doubt      string     `json:"doubt,omitempty"`  // of a picture of the past: why it may be another one
	Myself     string     `json:"myself,omitempty"` // the node that shows it
	Flags      string     `json:"flags,omitempty"`  // what a command has behind it, as typed in a shell
	Healthy    bool       `json:"healthy"`          // no reasons
	Reasons    []string   `json:"reasons"`          // why it is degraded, in words for an operator
	Departed   []Departed `json:"departed"`         // nodes whose host name is still answered
	RoleNames  []string   `json:"role_names"`       // all that a picture has, sorted
	Lookups    []string   `json:"lookups"`          // those of them that have a lookup table
	Lost       int        `json:"lost"`             // members in all roles
	Held       int        `json:"held"`             // likewise
	Members    int        `json:"members"`          // likewise, without lost and held ones
	Sites      []Site     `json:"sites,omitempty"`  // by name; none in a network without sites
}

// A Site is what a picture says of one site.
type Site struct {
	Site      string    `json:"site"`
	Serving   int       `json:"serving"`
	Total     int       `json:"total"`
	Suspect   int       `json:"suspect"`
	Draining  int       `json:"draining"`
	Announced bool      `json:"announced,omitempty"` // no certificate names it
	Lost      int       `json:"lost,omitempty"`      // members that left since the whole site fell silent
	Since     time.Time `json:"since,omitzero"`      // when the first of them did
}

// A Departed node has no service any more.
type Departed struct {
	Node  string    `json:"node"`
	Until time.Time `json:"until"`
}

// A Role is what a picture says of one role.
type Role struct {
	Role           string   `json:"role"`
	Infrastructure bool     `json:"infrastructure"` // a role of thor's own
	Serving        int      `json:"serving"`        // up or suspect
	Total          int      `json:"total"`          // members, draining ones included
	Suspect        int      `json:"suspect"`
	Draining       int      `json:"draining"`
	Lost           int      `json:"lost"`
	Held           int      `json:"held"`
	Expected       int      `json:"expected"` // as [manager.expect] says; 0: nothing is
	Of             int      `json:"of"`       // how many there should be: those expected, or those known
	Short          bool     `json:"short"`    // fewer members than there should be
	Members        []Member `json:"members"`  // by node; lost and held ones among them
	Ring           *Ring    `json:"ring,omitempty"`
}

// A Member is one node in a role, or one that is missing there.
type Member struct {
	Node      string            `json:"node"`
	State     string            `json:"state"` // up, suspect, draining, lost or held
	Reason    string            `json:"reason,omitempty"`
	Addresses []string          `json:"addresses"`
	Priority  int               `json:"priority,omitempty"`
	Weight    int               `json:"weight,omitempty"`
	Since     time.Time         `json:"since,omitzero"` // of the state
	Until     time.Time         `json:"until,omitzero"` // of a held one: when it may return
	Version   string            `json:"version,omitempty"`
	Plain     bool              `json:"plain,omitempty"`  // a plain NATS client
	Active    bool              `json:"active,omitempty"` // the manager that leads
	Site      string            `json:"site,omitempty"`   // of a lost one: the site that fell silent
	Announced string            `json:"announced_site,omitempty"`
	Attrs     map[string]string `json:"attrs,omitempty"`
}

// NewHead is the head of s, which may be nil. reasons are why the network is degraded.
func NewHead(s *subjects.Status, reasons []string) Head {
	h := Head{V: Version, Reasons: clean(reasons), Departed: []Departed{}, RoleNames: []string{}, Lookups: []string{}}
	h.Healthy = len(reasons) == 0
	if s == nil {
		return h
	}
	h.Known, h.Domain, h.Manager = true, text(s.Domain, 253), name(s.Manager)
	h.Epoch, h.Generation, h.Changed = s.Epoch, s.Generation, s.Time
	for _, d := range s.Departed {
		h.Departed = append(h.Departed, Departed{name(d.Node), d.Until})
	}
	for _, r := range s.AllRoles() {
		h.RoleNames = append(h.RoleNames, text(string(r), 63))
		h.Members += len(s.Roles[r])
		if _, ok := s.Lookup[r]; ok {
			h.Lookups = append(h.Lookups, text(string(r), 63))
		}
	}
	for _, x := range view.Sites(s) {
		h.Sites = append(h.Sites, Site{
			Site: site(x.Site), Serving: x.Serving, Total: x.Total, Suspect: x.Suspect, Draining: x.Draining, Announced: !x.Certified, Lost: x.Lost, Since: x.Since,
		})
	}
	h.Lost, h.Held = len(s.Lost), len(s.Held)
	return h
}

// NewRole is what s says of one role. ring may be nil.
func NewRole(s *subjects.Status, role subjects.Role, expected int, ring *Ring) Role {
	r := Role{Role: text(string(role), 63), Infrastructure: role.Infrastructure(), Expected: expected, Members: []Member{}, Ring: ring}
	for i := range s.Roles[role] {
		r.add(&s.Roles[role][i], role == subjects.Manager && s.Roles[role][i].Node == s.Manager)
	}
	for _, l := range s.Lost {
		if l.Role == role {
			r.Lost++
			r.Members = append(r.Members, Member{
				Node: name(l.Node), State: string(subjects.StateLost), Reason: text(l.Reason, subjects.MaxReason), Addresses: addresses(l.Addresses), Since: l.Since,
				Site: site(l.SilentSite()),
			})
		}
	}
	for _, h := range s.Held {
		if h.Role == role {
			r.Held++
			r.Members = append(r.Members, Member{
				Node: name(h.Node), State: string(subjects.StateHeld), Reason: text(h.Reason, subjects.MaxReason), Addresses: []string{}, Until: h.Until,
			})
		}
	}
	slices.SortStableFunc(r.Members, func(a, b Member) int { return cmp.Compare(a.Node, b.Node) })
	r.Of = max(expected, r.Total+r.Lost+r.Held)
	r.Short = r.Total < r.Of // a drain is a wish
	return r
}

func (r *Role) add(m *subjects.Member, active bool) {
	r.Total++
	if m.Serves() {
		r.Serving++
	}
	switch m.State {
	case subjects.Suspect:
		r.Suspect++
	case subjects.Draining:
		r.Draining++
	}
	out := Member{
		Node: name(m.Node), State: text(string(m.State), 16), Reason: text(m.Reason, subjects.MaxReason), Addresses: addresses(m.Addresses),
		Priority: m.Priority, Weight: m.Weight, Since: m.Since, Version: text(m.Version, 64), Plain: m.Plain, Active: active,
		Site: site(m.Site), Announced: site(m.AnnouncedSite),
	}
	if len(m.Attrs) > 0 {
		out.Attrs = make(map[string]string, len(m.Attrs))
		for k, v := range m.Attrs {
			out.Attrs[text(k, 63)] = subjects.Printable(view.MaskAttr(k, v), subjects.MaxAttrValue)
		}
	}
	r.Members = append(r.Members, out)
}

func addresses(as []netip.Addr) []string {
	out := make([]string, len(as))
	for i, a := range as {
		out[i] = subjects.Printable(a.String(), 64)
	}
	return out
}

func name(n subjects.NodeID) string { return subjects.Printable(string(n), 63) }

func site(at subjects.Site) string { return subjects.Printable(string(at), subjects.MaxSite) }

// text is foreign text, masked first: a cut could take away the "@" by which a
// password is known.
func text(s string, max int) string { return subjects.Printable(view.Mask(s), max) }

// maxReason is room for the longest sentence that package view makes of a reason.
const maxReason = 4 * subjects.MaxReason

func clean(reasons []string) []string {
	out := make([]string, len(reasons))
	for i, r := range reasons {
		out[i] = subjects.Printable(r, maxReason)
	}
	return out
}
