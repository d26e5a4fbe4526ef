package whatif

import (
	"errors"
	"math"
	"strings"
	"testing"

	"thor/overlay/lookup"
	"thor/subjects"
)

// network is a status of SIP proxies of the weight 100, each at its site if it has one
// ("n1@ams"), with their table.
func network(t *testing.T, nodes ...subjects.NodeID) *subjects.Status {
	t.Helper()
	s := &subjects.Status{V: 1, Epoch: 2, Generation: 5, Roles: map[subjects.Role][]subjects.Member{}, Lookup: map[subjects.Role]subjects.Lookup{}}
	for _, n := range nodes {
		name, site, _ := strings.Cut(string(n), "@")
		s.Put(subjects.SIPProxy, subjects.Member{Node: subjects.NodeID(name), Site: subjects.Site(site), State: subjects.Up, Weight: 100})
	}
	table, err := lookup.New(12, lookup.Members(s.Roles[subjects.SIPProxy]))
	if err != nil {
		t.Fatal(err)
	}
	s.Lookup[subjects.SIPProxy] = table.Name()
	return s
}

func change(t *testing.T, without, with []string) Change {
	t.Helper()
	c, err := Parse(without, nil, with)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheShareThatMovesIsThatOfTheMembersThatChange(t *testing.T) {
	s := network(t, "n1", "n2", "n3", "n4")
	for _, c := range []struct {
		name          string
		without, with []string
		share         float64 // that should move
		from, to      subjects.NodeID
	}{
		{"one of four leaves", []string{"n3"}, nil, 0.25, "n3", ""},
		{"a fifth joins", nil, []string{"n5:100"}, 0.2, "", "n5"},
		{"one gets no more", nil, []string{"n2:0"}, 0.25, "n2", ""},
		{"nothing changes", nil, []string{"n2:100"}, 0, "", ""},
		{"a fifth joins and leaves", nil, []string{"n5:100", "n5:0"}, 0, "", ""},
	} {
		p, err := New(subjects.SIPProxy, s, change(t, c.without, c.with))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if math.Abs(p.Share-c.share) > 0.04 || p.Slots != 4096 || p.Moved != int(math.Round(p.Share*4096)) || p.Epoch != 2 || p.Generation != 5 {
			t.Errorf("%s: %+v", c.name, p)
		}
		sum, last := 0, p.Slots
		for _, m := range p.Moves {
			if c.from != "" && m.From != c.from || c.to != "" && m.To != c.to || m.Slots > last {
				t.Errorf("%s: %+v", c.name, p.Moves)
			}
			sum, last = sum+m.Slots, m.Slots
		}
		if sum != p.Moved || p.Moves == nil {
			t.Errorf("%s: the moves are %d slots of %d", c.name, sum, p.Moved)
		}
	}
}

// Without a site its share moves, and nothing else, to nodes that hold the subscribers.
func TestWithoutASiteItsShareMovesAlone(t *testing.T) {
	s := network(t, "n1@ams", "n2@fra", "n3@ams", "n4@par", "n5@fra", "n6@par")
	c, err := Parse(nil, []string{"ams"}, nil)
	if err != nil || c.Empty() {
		t.Fatal(err)
	}
	p, err := New(subjects.SIPProxy, s, c)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range p.Moves {
		if m.From != "n1" && m.From != "n3" || m.To == "n1" || m.To == "n3" {
			t.Errorf("%+v", m)
		}
	}
	if math.Abs(p.Share-1.0/3) > 0.04 || p.Held != p.Moved {
		t.Errorf("%+v", p)
	}
	if p, err = New(subjects.SIPProxy, s, change(t, []string{"n1", "n3", "n2"}, nil)); err != nil || p.Held >= p.Moved || p.Held == 0 {
		t.Errorf("a node of another site too: %+v, %v", p, err)
	}
	if p, err = New(subjects.SIPProxy, s, change(t, nil, []string{"n1:50"})); err != nil || p.Held != p.Moved {
		t.Errorf("less weight: %+v, %v", p, err)
	}
	c.Sites = []subjects.Site{"lhr"}
	if _, err := New(subjects.SIPProxy, s, c); err == nil || err.Error() != "--without-site: the role has no member in lhr" {
		t.Errorf("no member: %v", err)
	}
	for _, bad := range []string{"AMS", ""} {
		if _, err := Parse(nil, []string{bad}, nil); err == nil || !strings.HasPrefix(err.Error(), "--without-site: ") {
			t.Errorf("site %q: %v", bad, err)
		}
	}
}

func TestNoPlanIsMadeOfWhatIsNotThere(t *testing.T) {
	s := network(t, "n1", "n2")
	if _, err := New(subjects.MediaRelay, s, change(t, nil, []string{"n9:1"})); !errors.Is(err, ErrNoTable) {
		t.Errorf("no table: %v", err)
	}
	if _, err := New(subjects.SIPProxy, s, change(t, []string{"n9"}, nil)); err == nil || err.Error() != "--without: n9 is not in the role" {
		t.Errorf("no member: %v", err)
	}
	s.Lookup[subjects.SIPProxy] = subjects.Lookup{Bits: 12, Digest: "0000000000000000"}
	if _, err := New(subjects.SIPProxy, s, change(t, []string{"n1"}, nil)); err == nil || !strings.Contains(err.Error(), "not the one that the status names") {
		t.Errorf("another table: %v", err)
	}
}

func TestAChangeIsParsedOrRefused(t *testing.T) {
	if c := change(t, []string{"n1"}, []string{"n2:0", "n3:65535"}); c.Empty() || len(c.Without) != 1 || c.With[1] != (lookup.Member{Node: "n3", Weight: 65535}) {
		t.Errorf("%+v", c)
	}
	if c := change(t, nil, nil); !c.Empty() {
		t.Errorf("%+v", c)
	}
	for _, bad := range []string{"n1", "n1:", "n1:x", "n1:-1", "n1:65536", "N1:5", ":5"} {
		if _, err := Parse(nil, nil, []string{bad}); err == nil || !strings.HasPrefix(err.Error(), "--with") {
			t.Errorf("--with %s: %v", bad, err)
		}
	}
	if _, err := Parse([]string{"N1"}, nil, nil); err == nil || !strings.HasPrefix(err.Error(), "--without: ") {
		t.Errorf("--without: %v", err)
	}
}
