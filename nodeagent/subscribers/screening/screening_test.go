package screening_test

import (
	"net/netip"
	"testing"
	"time"

	"thor/nodeagent/subscribers/screening"
	"thor/overlay/subscriber"
)

func TestKey(t *testing.T) {
	for uri, want := range map[string]string{
		"sip:Alice@Example.COM":                      "alice@example.com",
		"sips:alice:secret@example.com:5061;x=y?h=v": "alice@example.com",
		"alice@example.com":                          "alice@example.com",
		"sip:%61lice@example.com":                    "alice@example.com",
		"sip:%41lice@example.com":                    "alice@example.com",
		"sip:+31;phone-context=x@example.com":        "+31@example.com",
		"sip:example.com":                            "@example.com",
		"sip:example.com:5060;lr":                    "@example.com",
		"sip:a@[2001:DB8::1]:5060":                   "a@[2001:db8::1]",
		"tel:+31-20":                                 "+31-20@",
		"sip:a@example.com.":                         "a@example.com",
		"sip:a%0d%0ab@example.com":                   "",
		"":                                           "",
		"sip:a@b@example.com":                        "a@b@example.com",
	} {
		if got := screening.Key(uri); got != want {
			t.Errorf("%q: %q, want %q", uri, got, want)
		}
	}
}

func TestFrom(t *testing.T) {
	s := &subscriber.Profile{ACL: []string{"192.0.2.0/24", "2001:db8::/32"}}
	for a, want := range map[string]bool{"192.0.2.9": true, "::ffff:192.0.2.9": true, "192.0.3.1": false, "2001:db8::1": true, "::1": false} {
		if got := screening.From(s, netip.MustParseAddr(a)) == nil; got != want {
			t.Errorf("%s: %v", a, got)
		}
	}
	if screening.From(s, netip.Addr{}) == nil || screening.From(&subscriber.Profile{}, netip.Addr{}) != nil {
		t.Error("an unknown address")
	}
}

func TestBarring(t *testing.T) {
	s := &subscriber.Profile{Barring: []string{"+31900", "secret", "09"}}
	for dialled, want := range map[string]bool{
		"+31900123@x": true, "0031900123@x": true, "+31-900-123@x": true, "+31(900)1@x": true, "00 31 900@x": true,
		"+3190@x": false, "31900@x": false, "secretary@x": true, "se-cretary@x": false, "0912@x": true, "alice@x": false, "009@x": false,
	} {
		if got := screening.Calls(s, dialled) == screening.ErrBarred; got != want {
			t.Errorf("%s: %v", dialled, got)
		}
	}
	s.Diversions = map[string]string{"FUNC": "sip:0031900@x", "FBUS": "sip:bob@x", "FNOA": "<voice-mailbox>"}
	if screening.Diverts(s, "FUNC") != "" || screening.Diverts(s, "FBUS") != "sip:bob@x" || screening.Diverts(s, "FNOA") != "<voice-mailbox>" || screening.Diverts(s, "FNOL") != "" {
		t.Error("diversions")
	}
}

func TestBlocked(t *testing.T) {
	s := &subscriber.Profile{Groups: []string{"blocked"}}
	if screening.Registers(s) == nil || screening.Calls(s, "b@x") == nil || screening.Accepts(s, screening.Caller{Key: "b@x"}, time.Now()) == nil {
		t.Error("a blocked subscriber does something")
	}
	s.Groups = []string{"free-pstn"}
	if screening.Registers(s) != nil || screening.Calls(s, "b@x") != nil || screening.Accepts(s, screening.Caller{Key: "b@x"}, time.Now()) != nil {
		t.Error("one who is not blocked may not")
	}
}

func TestReject(t *testing.T) {
	s := &subscriber.Profile{Reject: []string{"sip:Bad@Example.net", "sip:spam.example"}, Groups: []string{"anonymous-reject"}}
	for k, want := range map[string]*screening.Refusal{
		"bad@example.net": screening.ErrRejected, "x@spam.example": screening.ErrRejected, "good@example.net": nil, "x@nospam.example": nil,
		"": screening.ErrAnonymous, "anonymous@anonymous.invalid": screening.ErrAnonymous, "@example.net": screening.ErrAnonymous,
	} {
		if got := screening.Accepts(s, screening.Caller{Key: k}, time.Now()); got != want {
			t.Errorf("%q: %v", k, got)
		}
	}
}

// Rules of the subscriber in Amsterdam, two hours ahead of UTC on these days.
func TestAcceptRules(t *testing.T) {
	rule := func(days int, start, stop string, groups ...string) subscriber.AcceptRule {
		return subscriber.AcceptRule{Days: days, Start: start, Stop: stop, Groups: groups}
	}
	const every, weekday, weekend = 127, 31, 96
	friend, stranger := "f@x", "s@x"
	for _, c := range []struct {
		what   string
		rules  []subscriber.AcceptRule
		caller string
		at     string // UTC
		want   bool
	}{
		{"office hours", []subscriber.AcceptRule{rule(weekday, "09:00", "17:00", "everybody")}, stranger, "2026-06-01T07:00:00Z", true},
		{"before them", []subscriber.AcceptRule{rule(weekday, "09:00", "17:00", "everybody")}, stranger, "2026-06-01T06:59:00Z", false},
		{"after them", []subscriber.AcceptRule{rule(weekday, "09:00", "17:00", "everybody")}, stranger, "2026-06-01T15:00:00Z", false},
		{"a day without rules", []subscriber.AcceptRule{rule(weekday, "09:00", "17:00", "everybody")}, stranger, "2026-06-06T19:00:00Z", true},
		{"at night nobody", []subscriber.AcceptRule{rule(every, "23:00", "07:00", "nobody")}, friend, "2026-06-01T21:00:00Z", false},
		{"in the morning", []subscriber.AcceptRule{rule(every, "23:00", "07:00", "nobody")}, friend, "2026-06-01T04:59:00Z", false},
		{"by day", []subscriber.AcceptRule{rule(every, "23:00", "07:00", "nobody")}, friend, "2026-06-01T05:00:00Z", true},
		{"friends", []subscriber.AcceptRule{rule(every, "00:00", "24:00", "friends")}, friend, "2026-06-01T12:00:00Z", true},
		{"no friend", []subscriber.AcceptRule{rule(every, "00:00", "24:00", "friends")}, stranger, "2026-06-01T12:00:00Z", false},
		{"the weekend goes first", []subscriber.AcceptRule{rule(every, "00:00", "24:00", "everybody"), rule(weekend, "00:00", "24:00", "friends")}, stranger, "2026-06-06T12:00:00Z", false},
		{"in either order", []subscriber.AcceptRule{rule(weekend, "00:00", "24:00", "friends"), rule(every, "00:00", "24:00", "everybody")}, stranger, "2026-06-06T12:00:00Z", false},
		{"Sunday night lasts into Monday", []subscriber.AcceptRule{rule(64, "22:00", "06:00", "nobody")}, friend, "2026-06-08T03:00:00Z", false},
		{"Monday night does not", []subscriber.AcceptRule{rule(64, "22:00", "06:00", "nobody")}, friend, "2026-06-09T03:00:00Z", true},
	} {
		now, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		s := &subscriber.Profile{Timezone: "Europe/Amsterdam", Accept: &subscriber.Accept{
			Persistent: c.rules, Members: map[string][]string{"friends": {"sip:F@X"}},
		}}
		if got := screening.Accepts(s, screening.Caller{Key: c.caller}, now) == nil; got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
		s.Accept.Temporary = &subscriber.TemporaryAccept{Groups: []string{"nobody"}, Until: now.Unix() + 1}
		if screening.Accepts(s, screening.Caller{Key: c.caller}, now) == nil {
			t.Errorf("%s: a temporary rule does not decide", c.what)
		}
		if got := screening.Accepts(s, screening.Caller{Key: c.caller}, now.Add(time.Second)) == nil; got != c.want {
			t.Errorf("%s: a temporary rule decides after its end", c.what)
		}
	}
}
