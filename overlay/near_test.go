package overlay

import (
	"slices"
	"testing"
)

func TestABrokerElsewhereIsNotHome(t *testing.T) {
	list := []string{"tls://192.0.2.1:4222", "tls://192.0.2.2:4222"}
	near := func(h string) bool { return h == "192.0.2.2" }
	for name, c := range map[string]struct {
		d    *dialer
		home string
	}{
		"away":         {&dialer{list: list, near: near, newest: &greetedConn{url: list[0]}}, list[1]},
		"at home":      {&dialer{list: list, near: near, newest: &greetedConn{url: list[1]}}, ""},
		"none is near": {&dialer{list: list[:1], near: near, newest: &greetedConn{url: list[0]}}, ""},
		"not wanted":   {&dialer{list: list, newest: &greetedConn{url: list[0]}}, ""},
		"never up":     {&dialer{list: list, near: near}, ""},
	} {
		if got := c.d.home(); got != c.home {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A process that wants the broker of its own machine dials it first, unless it has just
// lost it; where all brokers are on one machine, or none is known to be here, the order
// stays random.
func TestTheBrokerOfTheOwnMachineIsDialledFirst(t *testing.T) {
	list := []string{"tls://192.0.2.1:4222", "tls://192.0.2.2:4222", "tls://host3.example.net:4222"}
	here := func(hosts ...string) func(string) bool {
		return func(h string) bool { return slices.Contains(hosts, h) }
	}
	for name, c := range map[string]struct {
		near   func(string) bool
		lost   string
		prefer string
		first  string // empty: each is first at some time
		last   string
	}{
		"by address":       {near: here("192.0.2.2"), first: list[1]},
		"by name":          {near: here("host3.example.net"), first: list[2]},
		"just lost":        {near: here("192.0.2.2"), lost: list[1], last: list[1]},
		"another was lost": {near: here("192.0.2.2"), lost: list[0], first: list[1], last: list[0]},
		"a better one":     {near: here("192.0.2.2"), lost: list[1], prefer: list[0], first: list[0], last: list[1]},
		"none is here":     {near: here()},
		"all are here":     {near: func(string) bool { return true }},
		"not wanted":       {},
	} {
		t.Run(name, func(t *testing.T) {
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
				if c.first != "" && got[0] != c.first || c.last != "" && got[2] != c.last {
					t.Fatalf("%q", got)
				}
			}
			if c.first == "" && c.last == "" && len(firsts) != len(list) {
				t.Errorf("first are only %v", firsts)
			}
		})
	}
}
