package subjects_test

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"thor/subjects"
)

func TestBeatsGrowWithTheNetwork(t *testing.T) {
	for _, x := range []struct {
		pairs int
		want  time.Duration
	}{
		{0, time.Second},
		{1, time.Second},
		{500, time.Second},
		{501, 1500 * time.Millisecond},
		{1000, 2 * time.Second},
		{2000, 4 * time.Second},
		{2500, 5 * time.Second},
		{5000, 5 * time.Second},
		{20_000, 5 * time.Second},
	} {
		if got := subjects.BeatEvery(x.pairs); got != x.want {
			t.Errorf("%d pairs beat every %s, want %s", x.pairs, got, x.want)
		}
	}
	for pairs := 1; pairs <= 5000; pairs++ {
		if rate := float64(pairs) / subjects.BeatEvery(pairs).Seconds(); rate > 1000 {
			t.Fatalf("%d pairs are %.0f beats a second", pairs, rate)
		}
	}
}

func full() *subjects.Announcement {
	a := &subjects.Announcement{
		V: 1, Node: "node1", Role: "sip_proxy", Boot: "b1", Seq: 7, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		State: subjects.Up, Priority: 10, Weight: 50, Version: "1", Via: "broker1#5", Attrs: subjects.Attrs{"port": "5060"},
		Seen: &subjects.Mark{Epoch: 1, Generation: 2},
	}
	a.Name()
	return a
}

// The hash is of what the members say, and of nothing that every beat changes.
func TestHashOfAnAnnouncement(t *testing.T) {
	a := full()
	again := *a
	again.Seq, again.Via, again.Seen = 8, "broker2#1", nil
	again.Name()
	if again.Hash != a.Hash {
		t.Error("another seq, via and seen make another hash")
	}
	for name, change := range map[string]func(*subjects.Announcement){
		"boot":    func(a *subjects.Announcement) { a.Boot = "b2" },
		"address": func(a *subjects.Announcement) { a.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.2")} },
		"state":   func(a *subjects.Announcement) { a.State = subjects.Draining },
		"reason":  func(a *subjects.Announcement) { a.Reason = "x" },
		"weight":  func(a *subjects.Announcement) { a.Weight = 51 },
		"attr":    func(a *subjects.Announcement) { a.Attrs = subjects.Attrs{"port": "5061"} },
	} {
		other := full()
		change(other)
		if other.Name(); other.Hash == a.Hash {
			t.Errorf("another %s makes the same hash", name)
		}
	}
}

func TestShortBeatStandsForTheFullOne(t *testing.T) {
	a := full()
	a.Seq = 8
	subject := subjects.Presence(a.Role, a.Node)
	short, err := subjects.ParseAnnouncement(subject, a.Shorten().Encode())
	if err != nil {
		t.Fatal(err)
	}
	if !short.Short() || a.Short() {
		t.Fatal("which is short?")
	}
	if n := len(a.Shorten().Encode()); n > 160 {
		t.Errorf("%d bytes: %s", n, a.Shorten().Encode())
	}
	want := *a
	want.Seen = nil
	if got := short.Restore(full()); !reflect.DeepEqual(got, &want) {
		t.Errorf("restored %+v\nwant     %+v", got, &want)
	}
	if a.State = subjects.Leave; a.Shorten().Short() {
		t.Error("a leave is short")
	}
}

// What is read without a decoder means the same as with one.
func TestShortBeatsAreReadAlike(t *testing.T) {
	subject := subjects.Presence("sip_proxy", "node1")
	const good = `{"v":1,"node":"node1","role":"sip_proxy","boot":"b1","seq":7,"state":"up","via":"broker1#5","hash":"ab"}`
	for _, b := range []string{
		good,
		`{"v":1,"node":"node1","role":"sip_proxy","boot":"b1","seq":7,"state":"up","hash":"ab"}`,
		`{"v": 1, "hash":"ab","node":"node1","role":"sip_proxy","boot":"b1","seq":7,"state":"draining"}`,
		`{"v":1,"node":"node1","role":"sip_proxy","boot":"b\"1","seq":7,"state":"up","hash":"ab"}`,
		`{"v":1,"node":"node1","role":"sip_proxy","boot":"bé","seq":7,"state":"up","hash":"ab","later":{}}`,
	} {
		if _, err := subjects.ParseAnnouncement(subject, []byte(b)); err != nil {
			t.Errorf("%s: %v", b, err)
		}
	}
	for b, code := range map[string]subjects.Code{
		`{"v":1,"node":"node2","role":"sip_proxy","boot":"b1","seq":7,"state":"up","hash":"ab"}`:                              subjects.CodeForeign,
		`{"v":1,"node":"node1","role":"sip_proxy","boot":"b1","seq":07,"state":"up","hash":"ab"}`:                             subjects.CodeJSON,
		`{"v":1,"node":"node1","role":"sip_proxy","boot":"b1","seq":0,"state":"up","hash":"ab"}`:                              subjects.CodeRange,
		`{"v":1,"node":"node1","role":"sip_proxy","boot":"","seq":7,"state":"up","hash":"ab"}`:                                subjects.CodeRange,
		`{"v":1,"node":"node1","role":"sip_proxy","boot":"b1","seq":7,"state":"best","hash":"ab"}`:                            subjects.CodeState,
		`{"v":1,"node":"node1","role":"sip_proxy","boot":"b1","seq":7,"state":"up","hash":""}`:                                subjects.CodeAddress,
		`{"v":1,"node":"node1","role":"sip_proxy","boot":"b1","seq":7,"state":"up","weight":5,"hash":"ab"}`:                   subjects.CodeAddress,
		`{"v":1,"node":"node1","role":"sip_proxy","boot":"b1","seq":9007199254740993,"state":"up","hash":"ab"}`:               subjects.CodeRange,
		`{"v":1,"node":"node1","role":"sip_proxy","boot":"b1","seq":7,"state":"up","hash":"` + string(make([]byte, 9)) + `"}`: subjects.CodeJSON,
	} {
		if _, err := subjects.ParseAnnouncement(subject, []byte(b)); subjects.CodeOf(err) != code {
			t.Errorf("%s: %v, want %s", b, err, code)
		}
	}
}

func BenchmarkParseShortBeat(b *testing.B) {
	short := full().Shorten().Encode()
	for b.Loop() {
		if _, err := subjects.ParseAnnouncement("thor.role.sip_proxy.node1", short); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseFullAnnouncement(b *testing.B) {
	a := full().Encode()
	for b.Loop() {
		if _, err := subjects.ParseAnnouncement("thor.role.sip_proxy.node1", a); err != nil {
			b.Fatal(err)
		}
	}
}

func TestBeatsOfNeedAllManagers(t *testing.T) {
	short := subjects.Attrs{subjects.AttrBeats: subjects.ShortBeats}
	s := &subjects.Status{Roles: map[subjects.Role][]subjects.Member{subjects.Manager: {{Node: "m1", Attrs: short}, {Node: "m2", Attrs: short}}}}
	if got := s.BeatsOf(); got != 1000 {
		t.Errorf("%d ms, want 1000", got)
	}
	s.Roles[subjects.Manager][1].Attrs = subjects.Attrs{"state": "standby"}
	if got := s.BeatsOf(); got != 0 {
		t.Errorf("%d ms with a manager of another version, want none", got)
	}
}
