package overlay

import (
	"net/netip"
	"slices"
	"testing"

	"thor/subjects"
)

func hosts(of ...string) func(string) bool {
	return func(h string) bool { return slices.Contains(of, h) }
}

func in(s subjects.Site) func() subjects.Site { return func() subjects.Site { return s } }

// The brokers of a status, by what URLs may say of them: an address, an address and a port,
// a name of the domain, and a name that says nothing.
var brokersOfThree = []subjects.Member{
	{Node: "b1", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Site: "ams"},
	{Node: "b2", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.2")}, Site: "fra", Attrs: subjects.Attrs{subjects.AttrPort: "4222"}},
	{Node: "b3", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.2")}, AnnouncedSite: "lon", Attrs: subjects.Attrs{subjects.AttrPort: "4223"}},
	{Node: "b4", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.4")}, Site: "lon"},
}

func TestABrokerElsewhereIsNotHome(t *testing.T) {
	list := []string{"tls://192.0.2.1:4222", "tls://192.0.2.2:4222", "tls://192.0.2.2:4223", "tls://b4.example.net:4222"}
	odd := append(slices.Clone(list[:3]), "tls://lon.example.org:4222")
	greeted := func(url string, names ...string) map[string]subjects.NodeID {
		out := map[string]subjects.NodeID{url: "b1"}
		for _, n := range names {
			out[n] = "b4"
		}
		return out
	}
	for name, c := range map[string]struct {
		list  []string
		near  neighbourhood
		at    string
		homes []string
	}{
		"away":                                   {list, neighbourhood{machine: hosts("192.0.2.1")}, list[1], list[:1]},
		"at home":                                {list, neighbourhood{machine: hosts("192.0.2.1")}, list[0], nil},
		"none is near":                           {list[:1], neighbourhood{machine: hosts("192.0.2.2")}, list[0], nil},
		"not wanted":                             {list, neighbourhood{}, list[0], nil},
		"never up":                               {list, neighbourhood{machine: hosts("192.0.2.1")}, "", nil},
		"away from the site":                     {list, neighbourhood{site: in("lon"), brokers: brokersOfThree}, list[0], list[2:]},
		"in the site":                            {list, neighbourhood{site: in("lon"), brokers: brokersOfThree}, list[2], nil},
		"by port":                                {list, neighbourhood{site: in("fra"), brokers: brokersOfThree}, list[2], list[1:2]},
		"no status yet":                          {list, neighbourhood{site: in("lon")}, list[0], nil},
		"a site without brokers":                 {list, neighbourhood{site: in("par"), brokers: brokersOfThree}, list[0], nil},
		"without a site":                         {list, neighbourhood{site: in(""), brokers: brokersOfThree}, list[0], nil},
		"in the site, not on the machine":        {list, neighbourhood{site: in("fra"), machine: hosts("192.0.2.1"), brokers: brokersOfThree}, list[1], list[:1]},
		"neither in the site nor on the machine": {list, neighbourhood{site: in("fra"), machine: hosts("192.0.2.1"), brokers: brokersOfThree}, list[3], list[:2]},
		"the one in the site has not greeted yet":   {odd[1:], neighbourhood{site: in("ams"), brokers: brokersOfThree[:2], names: greeted(odd[1])}, odd[2], odd[1:2]},
		"it may be any that has not greeted":        {odd[1:], neighbourhood{site: in("lon"), brokers: brokersOfThree[3:], names: greeted(odd[1])}, odd[1], odd[2:]},
		"it is the one that has":                    {odd, neighbourhood{site: in("lon"), brokers: brokersOfThree[3:], names: greeted(odd[0], odd[3])}, odd[0], odd[3:]},
		"its name counts more than its address":     {odd, neighbourhood{site: in("ams"), brokers: brokersOfThree, names: greeted(odd[1], odd[0])}, odd[3], odd[1:2]},
		"none of those that greeted is in the site": {odd[:2], neighbourhood{site: in("ams"), brokers: brokersOfThree[:1], names: map[string]subjects.NodeID{odd[0]: "b9", odd[1]: "b2"}}, odd[1], nil},
	} {
		c.near.domain = "example.net"
		d := &dialer{list: c.list, near: c.near}
		if c.at != "" {
			d.newest = &greetedConn{url: c.at}
		}
		if got := d.homes(); !slices.Equal(got, c.homes) {
			t.Errorf("%s: %q, want %q", name, got, c.homes)
		}
	}
}

// The broker of the own machine is dialled first by a process that wants that, then those of
// the own site, unless it has just lost it; where all brokers are on one machine, or none is
// known to be near, the order stays random.
func TestNearBrokersAreDialledFirst(t *testing.T) {
	list := []string{"tls://192.0.2.1:4222", "tls://192.0.2.2:4222", "tls://host3.example.net:4222"}
	for name, c := range map[string]struct {
		near   neighbourhood
		lost   string
		prefer string
		order  []string // "": any of the others
	}{
		"by address":              {near: neighbourhood{machine: hosts("192.0.2.2")}, order: []string{list[1], "", ""}},
		"by name":                 {near: neighbourhood{machine: hosts("host3.example.net")}, order: []string{list[2], "", ""}},
		"just lost":               {near: neighbourhood{machine: hosts("192.0.2.2")}, lost: list[1], order: []string{"", "", list[1]}},
		"another was lost":        {near: neighbourhood{machine: hosts("192.0.2.2")}, lost: list[0], order: []string{list[1], list[2], list[0]}},
		"a better one":            {near: neighbourhood{machine: hosts("192.0.2.2")}, lost: list[1], prefer: list[0], order: []string{list[0], list[2], list[1]}},
		"none is here":            {near: neighbourhood{machine: hosts()}, order: []string{"", "", ""}},
		"all are here":            {near: neighbourhood{machine: func(string) bool { return true }}, order: []string{"", "", ""}},
		"not wanted":              {order: []string{"", "", ""}},
		"in the site":             {near: neighbourhood{site: in("fra"), brokers: brokersOfThree}, order: []string{list[1], "", ""}},
		"the site's was lost":     {near: neighbourhood{site: in("fra"), brokers: brokersOfThree}, lost: list[1], order: []string{"", "", list[1]}},
		"machine, then site":      {near: neighbourhood{site: in("fra"), machine: hosts("192.0.2.1"), brokers: brokersOfThree}, order: []string{list[0], list[1], list[2]}},
		"nothing in the site":     {near: neighbourhood{site: in("par"), brokers: brokersOfThree}, order: []string{"", "", ""}},
		"in no site":              {near: neighbourhood{site: in(""), brokers: []subjects.Member{{Node: "host3"}}}, order: []string{"", "", ""}},
		"before the first status": {near: neighbourhood{site: in("fra")}, order: []string{"", "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			c.near.domain = "example.net"
			firsts := map[string]bool{}
			for range 200 {
				d := &dialer{list: list, near: c.near, prefer: c.prefer}
				if c.lost != "" {
					d.newest = &greetedConn{url: c.lost}
				}
				got, err := d.order()
				if err != nil || len(got) != len(list) {
					t.Fatal(got, err)
				}
				firsts[got[0]] = true
				for i, want := range c.order {
					if want != "" && got[i] != want {
						t.Fatalf("%q", got)
					}
				}
			}
			if !slices.ContainsFunc(c.order, func(s string) bool { return s != "" }) && len(firsts) != len(list) {
				t.Errorf("first are only %v", firsts)
			}
		})
	}
}

// Who looks for a better broker looks at some of its site first, and at others too: all of a
// site may be cut off together.
func TestBrokersOfTheSiteAreLookedAtFirst(t *testing.T) {
	near := []string{"tls://b1.example.net:4222", "tls://b2.example.net:4222", "tls://b3.example.net:4222", "tls://b4.example.net:4222"}
	far := []string{"tls://192.0.2.11:4222", "tls://192.0.2.12:4222", "tls://192.0.2.13:4222"}
	var brokers []subjects.Member
	for _, n := range []subjects.NodeID{"b1", "b2", "b3", "b4"} {
		brokers = append(brokers, subjects.Member{Node: n, Site: "ams"})
	}
	d := &dialer{
		list: slices.Concat(far, near), newest: &greetedConn{url: far[0]},
		near: neighbourhood{site: in("ams"), domain: "example.net", brokers: brokers},
	}
	looked := map[string]bool{}
	for range 200 {
		got := d.others()
		if len(got) != len(near)+len(far)-1 || !slices.Contains(near, got[0]) || !slices.Contains(near, got[1]) {
			t.Fatalf("%q", got)
		}
		for _, u := range got[:lookAtOn] {
			looked[u] = true
		}
	}
	if len(looked) != len(near)+len(far)-1 {
		t.Errorf("looked only at %v", looked)
	}
}
