package allowance_test

import (
	"net/netip"
	"strings"
	"testing"

	"thor/provisioning/allowance"
)

func parse(t *testing.T, domains, groups, peers string) allowance.Allowance {
	t.Helper()
	a, err := allowance.Parse(map[string]string{allowance.Domains: domains, allowance.Groups: groups, allowance.Peers: peers})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestWhatIsNotAllowedIsRefused(t *testing.T) {
	var none allowance.Allowance
	if none.Claims("example.com", false) || none.Loosens(allowance.Limits{Quota: 1}, allowance.Limits{}) ||
		none.Trusts([]netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}) {
		t.Error("nothing allows something")
	}
	for _, g := range []string{"free-pstn", "anything", "*", "trunking"} {
		if _, ok := none.Changes(nil, []string{g}); ok {
			t.Errorf("group %s is given by who has no allowance", g)
		}
	}
	for _, g := range []string{"blocked", "quota", "prepaid", "deny-password-change"} {
		if _, ok := none.Changes([]string{g}, nil); ok {
			t.Errorf("group %s is taken away by who has no allowance", g)
		}
		if _, ok := none.Changes(nil, []string{g}); !ok {
			t.Errorf("group %s is not given", g)
		}
	}
	if _, ok := none.Changes([]string{"free-pstn", "x"}, []string{"x", "voicemail"}); !ok {
		t.Error("what is had may not be echoed, given up, or joined by one's own choice")
	}
}

func TestDomains(t *testing.T) {
	for _, c := range []struct {
		allowed, domain string
		reserved, want  bool
	}{
		{"example.com", "example.com", false, true},
		{"example.com", "a.example.com", false, false},
		{"example.com", "xample.com", false, false},
		{"*.example.com", "a.b.example.com", false, true},
		{"*.example.com", "example.com", false, false},
		{"*.example.com", "badexample.com", false, false},
		{"*", "example.org", false, true},
		{"*", "com", true, false},
		{"*.net, com", "com", true, true},
		{"A.example\tB.example", "b.example", false, true},
		{"", "example.com", false, false},
	} {
		if got := parse(t, c.allowed, "", "").Claims(c.domain, c.reserved); got != c.want {
			t.Errorf("%q allows %s (reserved %v): %v", c.allowed, c.domain, c.reserved, got)
		}
	}
}

func TestNobodyGivesMoreThanHeHas(t *testing.T) {
	for _, c := range []struct{ of, within, want string }{
		{"a.example|x|5", "*.example|*|5", ""},
		{"*.a.example||", "*.example||", ""},
		{"*.example||", "*.a.example||", allowance.Domains},
		{"*||", "*.example||", allowance.Domains},
		{"*.example||", "example||", allowance.Domains},
		{"example||", "*.example||", allowance.Domains},
		{"|free-pstn|", "|voicemail|", allowance.Groups},
		{"|*|", "|free-pstn|", allowance.Groups},
		{"||6", "||5", allowance.Peers},
		{"||", "||", ""},
	} {
		a, b := strings.Split(c.of, "|"), strings.Split(c.within, "|")
		if got := parse(t, a[0], a[1], a[2]).Within(parse(t, b[0], b[1], b[2])); got != c.want {
			t.Errorf("%s within %s: %q, want %q", c.of, c.within, got, c.want)
		}
	}
}

func TestReservedNames(t *testing.T) {
	for d, reserved := range map[string]bool{
		"com": true, "co.uk": true, "localhost": true, "192.0.2.1": true, "sip.net.example.org": true, "net.example.org": true,
		"node1.sip.net.example.org": true, "example.org": false, "example.com": false, "xnet.example.org": false, "a.co.uk": false,
	} {
		if got := allowance.Reserved(d, "net.example.org"); (got != "") != reserved {
			t.Errorf("%s: %q", d, got)
		}
	}
}

func TestLimitsAreLoosenedByWhoGivesThePSTN(t *testing.T) {
	l := func(q, c int, p bool) allowance.Limits { return allowance.Limits{Quota: q, CallLimit: c, Prepaid: p} }
	none, pstn := allowance.Allowance{}, parse(t, "", "free-pstn", "")
	for _, c := range []struct {
		was, is allowance.Limits
		want    bool
	}{
		{l(10, 0, false), l(0, 0, false), false},
		{l(10, 0, false), l(11, 0, false), false},
		{l(10, 0, false), l(9, 0, false), true},
		{l(0, 2, false), l(0, 0, false), false},
		{l(0, 0, true), l(0, 0, false), false},
		{l(0, 0, false), l(5, 1, true), true},
	} {
		if none.Loosens(c.was, c.is) != c.want || !pstn.Loosens(c.was, c.is) {
			t.Errorf("%v to %v", c.was, c.is)
		}
	}
}

func TestPeersCountInSum(t *testing.T) {
	p := func(ss ...string) (out []netip.Prefix) {
		for _, s := range ss {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	a := parse(t, "", "", "256")
	for _, c := range []struct {
		peers []netip.Prefix
		want  bool
	}{
		{p("192.0.2.0/24"), true},
		{p("192.0.2.0/24", "198.51.100.1/32"), false},
		{p("192.0.2.0/25", "198.51.100.0/25"), true},
		{p("0.0.0.0/0"), false},
		{p("2001:db8::/56"), true},
		{p("2001:db8::1/128", "192.0.2.0/25"), true},
		{p("2001:db8::/48"), false},
		{p("::/0", "::/0", "::/0", "::/0"), false},
	} {
		if a.Trusts(c.peers) != c.want {
			t.Errorf("%v: %v", c.peers, !c.want)
		}
	}
}
