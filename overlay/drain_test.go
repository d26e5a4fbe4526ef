package overlay

import (
	"slices"
	"testing"

	"thor/subjects"
)

func TestDrainSet(t *testing.T) {
	joined := []subjects.Role{"media_relay", "sip_proxy", "xcap_server"}
	type step struct {
		drain bool
		role  subjects.Role
	}
	for _, c := range []struct {
		name    string
		steps   []step
		drained []subjects.Role // of those joined
		kept    []subjects.Role
	}{
		{"nothing", nil, nil, nil},
		{"one role", []step{{true, "sip_proxy"}}, []subjects.Role{"sip_proxy"}, []subjects.Role{"sip_proxy"}},
		{"one role, twice, and resumed", []step{{true, "sip_proxy"}, {true, "sip_proxy"}, {false, "sip_proxy"}}, nil, nil},
		{"a role that is not joined", []step{{true, "voicemail_server"}}, nil, []subjects.Role{"voicemail_server"}},
		{"all", []step{{true, subjects.Agent}}, joined, []subjects.Role{subjects.Agent}},
		{"all, resumed", []step{{true, "sip_proxy"}, {true, subjects.Agent}, {false, subjects.Agent}}, nil, nil},
		{"all, one resumed", []step{{true, subjects.Agent}, {false, "sip_proxy"}}, []subjects.Role{"media_relay", "xcap_server"}, []subjects.Role{"media_relay", "xcap_server"}},
	} {
		d := make(drainSet)
		for _, s := range c.steps {
			if s.drain {
				d.add(s.role)
			} else {
				d.remove(s.role, joined)
			}
		}
		var drained []subjects.Role
		for _, r := range joined {
			if d.has(r) {
				drained = append(drained, r)
			}
		}
		if !slices.Equal(drained, c.drained) || !slices.Equal(d.roles(), c.kept) {
			t.Errorf("%s: drained %v, kept %v", c.name, drained, d.roles())
		}
	}
}
