package provisioning

import (
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"thor/provisioning/origin"
)

// A conn from an address in a state since a second of the test.
type standIn struct {
	name, addr string
	state      http.ConnState
	since      int
}

// Which connection makes room does not depend on the order in which a server
// sees states, unlike in the tests with real connections.
func TestVictim(t *testing.T) {
	const idle, silent, active = http.StateIdle, http.StateNew, http.StateActive
	for name, c := range map[string]struct {
		open []standIn
		want string
	}{
		"longest idle of a host": {[]standIn{{"b", "192.0.2.1", idle, 2}, {"a", "192.0.2.1", idle, 1}, {"c", "192.0.2.1", idle, 3}}, "a"},
		"larger host of a site":  {[]standIn{{"a", "192.0.2.1", idle, 1}, {"b", "192.0.2.2", idle, 2}, {"c", "192.0.2.2", idle, 3}}, "b"},
		"larger site": {[]standIn{
			{"a", "192.0.2.1", idle, 1},
			{"b", "192.0.2.1", idle, 2},
			{"c", "198.51.100.1", idle, 3},
			{"d", "198.51.100.2", idle, 4},
			{"e", "198.51.100.3", idle, 5},
		}, "c"},
		"idle before silent":            {[]standIn{{"a", "192.0.2.1", silent, 1}, {"b", "192.0.2.1", silent, 2}, {"c", "192.0.2.2", idle, 3}}, "c"},
		"silent of a host with more":    {[]standIn{{"a", "192.0.2.1", silent, 1}, {"b", "192.0.2.1", silent, 2}, {"c", "192.0.2.1", active, 3}}, "a"},
		"silent of a host with no more": {[]standIn{{"a", "192.0.2.1", silent, 1}}, ""},
		"never one with a request":      {[]standIn{{"a", "192.0.2.1", active, 1}, {"b", "192.0.2.1", active, 2}, {"c", "192.0.2.1", active, 3}}, ""},
	} {
		l := newBoundedListener(nil, quota{all: 10, prefix: 10, addr: 10}, nil)
		names := make(map[*boundedConn]string)
		from := func(s standIn) *boundedConn {
			a := netip.MustParseAddr(s.addr)
			b := &boundedConn{Conn: &net.TCPConn{}, of: l, addr: origin.Host(a), prefix: origin.Site(a), state: s.state, since: time.Unix(int64(s.since), 0)}
			names[b] = s.name
			return b
		}
		for _, s := range c.open {
			if !l.admit(from(s)) {
				t.Fatalf("%s: %s not admitted", name, s.name)
			}
		}
		newcomer := from(standIn{"new", "203.0.113.1", silent, 9})
		if got := names[l.victim(newcomer, func(*boundedConn) bool { return true })]; got != c.want {
			t.Errorf("%s: %q makes room, want %q", name, got, c.want)
		}
	}
}
