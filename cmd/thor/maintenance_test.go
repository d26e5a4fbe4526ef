package main

import (
	"testing"

	"thor/subjects"
)

func TestMaintenanceSaysWhatHappened(t *testing.T) {
	earlier := &subjects.Status{Roles: map[subjects.Role][]subjects.Member{}}
	earlier.Put("media_relay", subjects.Member{Node: "n1", State: subjects.Draining})
	earlier.Put("sip_proxy", subjects.Member{Node: "n1", State: subjects.Up})
	both := []subjects.Role{"media_relay", "sip_proxy"}
	drain, resume := maintenance{node: "n1", drains: true}, maintenance{node: "n1"}
	for _, c := range []struct {
		m       maintenance
		roles   []subjects.Role
		earlier *subjects.Status
		want    string
	}{
		{drain, both, earlier, "n1 drained: sip_proxy\nn1 was drained already: media_relay\n"},
		{resume, both, earlier, "n1 resumed: media_relay\nn1 was not drained: sip_proxy\n"},
		{drain, both, nil, "n1 drained: media_relay sip_proxy\n"},
		{resume, both[:1], earlier, "n1 resumed: media_relay\n"},
		{drain, nil, earlier, "n1 drained: it has no role now\n"},
		{drain, []subjects.Role{"fax_server"}, earlier, "n1 drained: fax_server\n"}, // joined meanwhile
	} {
		if got := c.m.outcome(c.roles, c.earlier); got != c.want {
			t.Errorf("%+v of %v: %q, want %q", c.m, c.roles, got, c.want)
		}
	}
}
