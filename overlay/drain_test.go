package overlay

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

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
				d.add(s.role, Drain{})
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
		kept := slices.Sorted(maps.Keys(d))
		if !slices.Equal(drained, c.drained) || !slices.Equal(kept, c.kept) {
			t.Errorf("%s: drained %v, kept %v", c.name, drained, kept)
		}
	}
}

// A drain of a role is that of the role, also where all are drained for another reason,
// and ends when it says so.
func TestDrainsEndByThemselves(t *testing.T) {
	now := time.Date(2026, 12, 1, 14, 0, 0, 0, time.UTC)
	d := make(drainSet)
	d.add(subjects.Agent, Drain{By: "op", Reason: "new kernel", Until: now.Add(time.Hour)})
	d.add("sip_proxy", Drain{Until: now.Add(time.Minute)})
	d.add("media_relay", Drain{})
	for role, want := range map[subjects.Role]string{
		"xcap_server": "drained by op until 2026-12-01 15:00:00Z: new kernel", "sip_proxy": "drained until 2026-12-01 14:01:00Z", "media_relay": DrainReason,
	} {
		if x, ok := d.of(role); !ok || x.text() != want {
			t.Errorf("%s: %q, want %q", role, x.text(), want)
		}
	}
	if next := d.expire(now); !next.Equal(now.Add(time.Minute)) || len(d) != 3 {
		t.Errorf("next %v of %v", next, d)
	}
	if next := d.expire(now.Add(time.Minute)); !next.Equal(now.Add(time.Hour)) || len(d) != 2 {
		t.Errorf("next %v of %v", next, d)
	}
	if next := d.expire(now.Add(2 * time.Hour)); !next.IsZero() || !d.has("media_relay") || d.has("xcap_server") {
		t.Errorf("next %v of %v", next, d)
	}
	long := Drain{By: strings.Repeat("n", 63), Reason: strings.Repeat("r", subjects.MaxDrainReason), Until: now}
	if text := long.text(); len(text) > subjects.MaxReason || !strings.HasSuffix(text, "rrr") {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}
