package screening

import (
	"net/netip"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // so that time zones are the same on every machine

	"thor/overlay/subscriber"
)

// Groups with a meaning for proxies.
const (
	blocked         = "blocked"          // neither registers nor calls nor is called
	anonymousReject = "anonymous-reject" // is not called by who does not tell a name
)

// A Refusal is the answer to a request that the profile forbids.
type Refusal struct {
	Code   int
	Reason string // one line of plain letters
}

// The refusals.
var (
	ErrBlocked   = &Refusal{403, "Account Blocked"}
	ErrSource    = &Refusal{403, "Not From This Address"}
	ErrBarred    = &Refusal{403, "Destination Barred"}
	ErrRejected  = &Refusal{403, "Call Rejected"}
	ErrAnonymous = &Refusal{433, "Anonymity Disallowed"}
)

// inGroup reports whether s is in a group.
func inGroup(s *subscriber.Profile, group string) bool { return slices.Contains(s.Groups, group) }

// From is nil if s may register and call from an address. Without an ACL every
// address will do; an address that is not known is in no ACL.
func From(s *subscriber.Profile, a netip.Addr) *Refusal {
	if len(s.ACL) == 0 {
		return nil
	}
	for _, n := range s.ACL {
		if p, err := netip.ParsePrefix(n); err == nil && p.Contains(a.Unmap()) {
			return nil
		}
	}
	return ErrSource
}

// Registers is nil if s may register.
func Registers(s *subscriber.Profile) *Refusal {
	if inGroup(s, blocked) {
		return ErrBlocked
	}
	return nil
}

// Calls is nil if s may call a key or number.
func Calls(s *subscriber.Profile, dialled string) *Refusal {
	switch {
	case inGroup(s, blocked):
		return ErrBlocked
	case barred(s, dialled):
		return ErrBarred
	}
	return nil
}

// barred reports whether the user part of dialled, a number perhaps, begins with
// a barred prefix. "00" and "+" are the same, and what only separates digits
// does not count: +31-900 is 0031900.
func barred(s *subscriber.Profile, dialled string) bool {
	user, _, _ := strings.Cut(dialled, "@")
	user = number(user)
	for _, p := range s.Barring {
		if p = number(p); p != "" && strings.HasPrefix(user, p) {
			return true
		}
	}
	return false
}

// number is a user part in the form in which numbers are compared.
func number(s string) string {
	s = subscriber.Fold(s)
	plain := strings.Map(func(r rune) rune {
		if strings.ContainsRune("-.() /", r) {
			return -1
		}
		return r
	}, s)
	if strings.Trim(plain, "+0123456789*#") != "" {
		return s // a name
	}
	if rest, ok := strings.CutPrefix(plain, "00"); ok {
		return "+" + rest
	}
	return plain
}

// A Caller is who calls.
type Caller struct {
	Key string // user@domain, folded; "" for who does not tell
}

// Anonymous reports whether the caller does not tell a name.
func (c Caller) Anonymous() bool {
	user, domain, _ := strings.Cut(c.Key, "@")
	return user == "" || user == "anonymous" || domain == "anonymous.invalid"
}

// Accepts is nil if s is called by c at a time.
func Accepts(s *subscriber.Profile, c Caller, now time.Time) *Refusal {
	switch {
	case inGroup(s, blocked):
		return ErrBlocked
	case c.Anonymous() && inGroup(s, anonymousReject):
		return ErrAnonymous
	case slices.ContainsFunc(s.Reject, func(uri string) bool { return matches(uri, c.Key) }):
		return ErrRejected
	case s.Accept != nil && !accepted(s, c, now):
		return ErrRejected
	}
	return nil
}

// matches reports whether a URI, or one without user for a whole domain, is a key.
func matches(uri, key string) bool {
	k := Key(uri)
	if strings.HasPrefix(k, "@") {
		return strings.HasSuffix(key, k)
	}
	return k != "" && k == key
}

// Diverts is where the calls of s go for a reason (FUNC, FNOL, FBUS, FNOA, FUNV),
// "" for nowhere else. What s may not call itself it may not divert to.
func Diverts(s *subscriber.Profile, reason string) string {
	to := s.Diversions[reason]
	if to == "" || to != VoiceMailbox && barred(s, Key(to)) {
		return ""
	}
	return to
}

// VoiceMailbox is the diversion to the subscriber's own mailbox.
const VoiceMailbox = "<voice-mailbox>"
