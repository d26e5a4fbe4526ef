package subjects_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

var lossTime = time.Date(2026, 11, 24, 1, 2, 3, 4_000_000, time.UTC)

func lost(node subjects.NodeID, role subjects.Role, reason string) subjects.Lost {
	return subjects.Lost{Node: node, Role: role, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Since: lossTime, Reason: reason}
}

func heldOut(node subjects.NodeID, role subjects.Role, until time.Time) subjects.Held {
	return subjects.Held{Node: node, Role: role, Until: until, Reason: "left and came back too often"}
}

// randomLosses makes losses of a few pairs; a pair is in one list at most.
func randomLosses(r *rand.Rand) subjects.Losses {
	var l subjects.Losses
	l.ClearLosses()
	for _, role := range []subjects.Role{"media_relay", "sip_proxy"} {
		for n := range 6 {
			node := subjects.NodeID(fmt.Sprintf("n%d", n))
			switch r.IntN(4) {
			case 0:
				l.Lost = append(l.Lost, lost(node, role, []string{"silent", "connection lost"}[r.IntN(2)]))
			case 1:
				l.Held = append(l.Held, heldOut(node, role, lossTime.Add(time.Duration(r.IntN(3))*time.Second)))
			}
		}
	}
	return l
}

func statusWith(l subjects.Losses, generation uint64) *subjects.Status {
	return &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: generation, Manager: "m1", Time: lossTime, Losses: l}
}

// The bytes that a status is named by are those of a version that knows no losses.
func TestLossesAreNotInTheDigestOfAStatus(t *testing.T) {
	without := statusWith(subjects.Losses{}, 7).Encode()
	if with := statusWith(subjects.Losses{Lost: []subjects.Lost{lost("n1", "sip_proxy", "silent")}, Held: []subjects.Held{}}, 7).Encode(); !bytes.Equal(with, without) {
		t.Errorf("with losses\n%s\nwithout\n%s", with, without)
	}
	if strings.Contains(string(without), "lost") {
		t.Errorf("%s", without)
	}
}

func TestDeltasCarryLosses(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 500 {
		a, b := statusWith(randomLosses(r), 7), statusWith(randomLosses(r), 8)
		if i%5 == 0 {
			a.Losses = subjects.Losses{} // of a manager that keeps none
		}
		before := a.EncodeFull(a.Encode())
		d, err := subjects.ParseDelta(subjects.Diff(a, b).Encode())
		if err != nil {
			t.Fatal(err)
		}
		got, _, ok := a.Apply(d)
		if !ok {
			t.Fatal("the delta does not apply")
		}
		if !got.LossesKnown() { // nothing to tell of: the tick does
			got.ClearLosses()
		}
		if got.LossesDigest() != b.LossesDigest() {
			t.Fatalf("from %+v\nby %+v\ncame %+v\nwant %+v", a.Losses, d, got.Losses, b.Losses)
		}
		if !bytes.Equal(before, a.EncodeFull(a.Encode())) {
			t.Fatal("the status before was written to")
		}
		if d.Empty() != (d.Lost == nil && d.Held == nil) {
			t.Fatalf("Empty is %v of %+v", d.Empty(), d)
		}
	}
}

// A receiver of an earlier version reloads when Reload is set: changes that it
// does not know must not lead to that.
func TestLossesNeverMakeADeltaTooBig(t *testing.T) {
	many := subjects.Losses{Held: []subjects.Held{}}
	for n := range 200 {
		many.Lost = append(many.Lost, lost(subjects.NodeID(fmt.Sprintf("n%03d", n)), "sip_proxy", "connection lost"))
	}
	none := subjects.Losses{}
	none.ClearLosses()
	a, b := statusWith(none, 7), statusWith(many, 8)
	wire := subjects.Diff(a, b).Encode()
	d, err := subjects.ParseDelta(wire)
	if err != nil || d.Reload || d.Lost != nil {
		t.Fatalf("reload %v, err %v, %d bytes", d.Reload, err, len(wire))
	}
	got, _, ok := a.Apply(d)
	if !ok || got.LossesDigest() == b.LossesDigest() {
		t.Error("the digest of the losses does not show that some were left out")
	}
}

func TestFullEncodingComesApartAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	tricky := `","losses_digest":"`
	for range 200 {
		s := statusWith(randomLosses(r), 7)
		s.Roles = map[subjects.Role][]subjects.Member{"sip_proxy": {{
			Node: "n9", State: subjects.Suspect, Reason: tricky, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.9")},
			Attrs: subjects.Attrs{"a": "b", "losses_digest": "0123456789abcdef0123456789abcdef"},
		}}}
		for i := range s.Lost {
			s.Lost[i].Reason = tricky
		}
		proper := s.Encode()
		full := s.EncodeFull(proper)
		if !json.Valid(full) {
			t.Fatalf("no JSON: %s", full)
		}
		head, digest := subjects.SplitFull(full)
		if !bytes.Equal(head, proper) || digest != s.LossesDigest() {
			t.Fatalf("head\n%s\nwant\n%s\ndigest %s, want %s", head, proper, digest, s.LossesDigest())
		}
		got, err := subjects.ParseStatus(full)
		if err != nil || got.LossesDigest() != digest {
			t.Fatalf("%v, parsed losses have the digest %s, want %s", err, got.LossesDigest(), digest)
		}
		if head, digest := subjects.SplitFull(proper); !bytes.Equal(head, proper) || digest != "" {
			t.Fatalf("of an encoding without losses: %s %q", head, digest)
		}
	}
	s := statusWith(subjects.Losses{}, 7)
	if full := s.EncodeFull(s.Encode()); !bytes.Equal(full, s.Encode()) {
		t.Errorf("losses that are not known: %s", full)
	}
}

func TestBadLossesAreRefused(t *testing.T) {
	l := lost("n1", "sip_proxy", "silent")
	h := heldOut("n1", "sip_proxy", lossTime)
	with := func(f func(*subjects.Losses)) subjects.Losses {
		x := subjects.Losses{Lost: []subjects.Lost{l}, Held: []subjects.Held{h}}
		f(&x)
		return x
	}
	for name, c := range map[string]struct {
		losses subjects.Losses
		code   subjects.Code
	}{
		"fine":           {with(func(*subjects.Losses) {}), ""},
		"no node":        {with(func(x *subjects.Losses) { x.Lost[0].Node = "" }), subjects.CodeName},
		"no role":        {with(func(x *subjects.Losses) { x.Held[0].Role = "" }), subjects.CodeName},
		"none known":     {with(func(x *subjects.Losses) { x.Lost[0].Addresses = nil }), ""},
		"bad address":    {with(func(x *subjects.Losses) { x.Lost[0].Addresses = []netip.Addr{netip.IPv4Unspecified()} }), subjects.CodeAddress},
		"long reason":    {with(func(x *subjects.Losses) { x.Held[0].Reason = strings.Repeat("x", 500) }), subjects.CodeText},
		"lost twice":     {with(func(x *subjects.Losses) { x.Lost = append(x.Lost, l) }), subjects.CodeJSON},
		"held twice":     {with(func(x *subjects.Losses) { x.Held = append(x.Held, h) }), subjects.CodeJSON},
		"more than kept": {with(func(x *subjects.Losses) { x.Lost = slices.Repeat(x.Lost, subjects.MaxLost+1) }), subjects.CodeRange},
	} {
		s := statusWith(c.losses, 7)
		if _, err := subjects.ParseStatus(s.EncodeFull(s.Encode())); subjects.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
		if len(c.losses.Lost) != 1 || len(c.losses.Held) != 1 {
			continue
		}
		none := subjects.Losses{}
		none.ClearLosses()
		if _, err := subjects.ParseDelta(subjects.Diff(statusWith(none, 6), s).Encode()); subjects.CodeOf(err) != c.code {
			t.Errorf("%s, in a delta: %v, want %q", name, err, c.code)
		}
	}
}

func TestDecisionsAreChecked(t *testing.T) {
	for in, want := range map[string]subjects.Code{
		`{"v":1,"node":"n1"}`:                      "",
		`{"v":1,"node":"n1","role":"sip_proxy"}`:   "",
		`{"v":1}`:                                  subjects.CodeName,
		`{"v":1,"node":"a.b"}`:                     subjects.CodeName,
		`{"v":2,"node":"n1"}`:                      subjects.CodeVersion,
		`{"v":1,"node":"n1","role":"\u001b[31mx"}`: subjects.CodeName,
		``: subjects.CodeEmpty,
	} {
		if _, err := subjects.ParseForgetRequest([]byte(in)); subjects.CodeOf(err) != want {
			t.Errorf("forget %s: %v, want %q", in, err, want)
		}
	}
	for in, want := range map[string]subjects.Code{
		``: "", `{"v":1}`: "", `{"v":1,"role":"sip_proxy"}`: "", `{"v":2}`: subjects.CodeVersion, `{"v":1,"role":"` + strings.Repeat("x", 99) + `"}`: subjects.CodeName,
	} {
		if _, err := subjects.ParseGuardRequest([]byte(in)); subjects.CodeOf(err) != want {
			t.Errorf("guard %s: %v, want %q", in, err, want)
		}
	}
	for _, verb := range []string{subjects.VerbForget, subjects.VerbConfirm, subjects.VerbHold} {
		if !subjects.NeedsSender(verb) {
			t.Errorf("%s needs no sender", verb)
		}
	}
}

func TestExpectedMembersTravelInAnAttribute(t *testing.T) {
	s := statusWith(subjects.Losses{}, 7)
	want := map[subjects.Role]int{"sip_proxy": 3, "media_relay": 12}
	s.Put(subjects.Manager, subjects.Member{Node: "m1", Attrs: subjects.Attrs{subjects.AttrExpect: subjects.FormatExpected(want)}})
	s.Put(subjects.Manager, subjects.Member{Node: "m2", Attrs: subjects.Attrs{subjects.AttrExpect: "sip_proxy=9"}}) // not active
	if got := s.Expected(); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	s.Put(subjects.Manager, subjects.Member{Node: "m1", Attrs: subjects.Attrs{subjects.AttrExpect: "x sip_proxy=-1 a.b=3 media_relay=4 =5 xcap_server="}})
	if got := s.Expected(); !maps.Equal(got, map[subjects.Role]int{"media_relay": 4}) {
		t.Errorf("of a malformed attribute: %v", got)
	}
	s.Manager = ""
	if got := s.Expected(); len(got) != 0 || (*subjects.Status)(nil).Expected() != nil {
		t.Errorf("without an active manager: %v", got)
	}
}
