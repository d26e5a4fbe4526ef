package broker

import (
	"math"
	"slices"
	"strings"
	"time"

	"thor/identity"
	"thor/subjects"
)

// A rate is what one connection may send of a class of messages: so much a
// second, and more at once after a pause.
type rate struct {
	messages float64 // a second, and burstSeconds as many at once
	bytes    float64 // a second
	burst    float64 // bytes at once; 0: burstSeconds as many as in a second
	largest  int     // bytes of one message without its headers; 0: max_payload alone
}

const (
	burstSeconds = 10
	// nodeShare is how many connections' worth all connections of a node may send
	// together. It is above 1 so that a connection which floods is cut before the
	// others of its node meet the node's limit.
	nodeShare = 2
	// nodeMost is where that limit ends all connections of a node that send.
	// Below, it ends those that have used a part of their own, quietShare: what
	// floods comes from them, and the others go on.
	nodeMost   = 2 * nodeShare
	quietShare = 0.25
)

// most is how many bytes of r may come at once.
func (r rate) most() float64 {
	if r.burst > 0 {
		return r.burst
	}
	return r.bytes * burstSeconds
}

// A traffic is a class of what clients send.
type traffic uint8

const (
	announcements traffic = iota
	requests
	answers
	notices
	histories
	others
	controls // SUB, UNSUB, PING, PONG
	numTraffic
)

// A limit is a row of the table of what a certificate may send.
type limit struct {
	class     traffic
	name      string
	match     []string // subjects; a trailing ".>" stands for all below
	rate      rate
	proxies   rate // of nodes that serve subscribers; zero: as the others
	trusted   rate // of the services that answer all members; zero: as the others
	operators rate // zero: as the others
	why       string
}

// limits is the one table of rates. Its first row that matches counts. What a
// certificate may send at once goes through the routes that carry the healing
// too, and to managers: it is little, or brokers take each other for dead, and
// managers for slow readers.
func limits() []limit {
	return []limit{
		{
			class: announcements, name: "announcement",
			match: []string{"thor.role.*.*", subjects.StatusGet},
			rate:  rate{messages: 50, bytes: 256 << 10, burst: 512 << 10, largest: subjects.MaxAnnouncement},
			why:   "a member announces itself once a second; a node has at most 16 roles",
		},
		{
			class: requests, name: "request",
			match:   []string{"thor.node.*.provisioning_server.>"},
			rate:    rate{messages: 100, bytes: 64 << 10, burst: 512 << 10, largest: 64 << 10},
			proxies: rate{messages: 1000, bytes: 1 << 20, burst: 4 << 20, largest: 64 << 10},
			why:     "an heir of 20,000 subscribers fetches 10,000 profiles at once and the rest within 10 s",
		},
		{
			class: answers, name: "answer",
			match:   []string{"_ANSWER.>", "_INBOX.>"},
			rate:    rate{messages: 50, bytes: 128 << 10, burst: 640 << 10},
			proxies: rate{messages: 500, bytes: 2 << 20, burst: 4 << 20},
			trusted: rate{messages: 10_000, bytes: 32 << 20},
			why:     "a node answers operators, a proxy's each notice; a provisioning server answers all heirs",
		},
		{
			class: notices, name: "notice",
			match:     []string{"thor.node.*._.>"},
			rate:      rate{messages: 100, bytes: 128 << 10, burst: 1 << 20},
			proxies:   rate{messages: 1000, bytes: 2 << 20, burst: 4 << 20},
			trusted:   rate{messages: 1000, bytes: 2 << 20},
			operators: rate{messages: 100, bytes: 2 << 20},
			why:       "20,000 changed subscribers are announced to owner, heir and remote within 60 s",
		},
		{
			class: histories, name: "history",
			match: []string{subjects.HistoryGet},
			rate:  rate{messages: 5, bytes: 2 << 10, largest: subjects.MaxHistoryRequest},
			why:   "the history is read in pages; each is an answer of up to 512 KiB that the broker holds until it is read",
		},
		{
			class: others, name: "other",
			match:     []string{">"},
			rate:      rate{messages: 200, bytes: 128 << 10, burst: 1 << 20},
			operators: rate{messages: 200, bytes: 2 << 20},
			why:       "requests of operators and locators, revocation lists",
		},
		{
			class: controls, name: "control",
			rate: rate{messages: 200, bytes: math.Inf(1)},
			why:  "subscriptions and pings; the burst is a reconnection with 1,000 subscriptions",
		},
	}
}

// rates are the table made for one certificate: nil limits nothing.
type rates [numTraffic]rate

// ratesOf is what the certificate of id may send; nil for brokers and managers,
// which publish to all.
func ratesOf(id *identity.Identity) *rates {
	if id.Has(subjects.EventServer) || id.Has(subjects.Manager) {
		return nil
	}
	trusted := slices.ContainsFunc(id.Roles, func(r subjects.Role) bool {
		return r == subjects.ProvisioningServer || r == subjects.Database
	})
	p := new(rates)
	for _, l := range limits() {
		switch {
		case trusted && l.trusted.messages > 0:
			p[l.class] = l.trusted
		case id.Has(subjects.Operator) && l.operators.messages > 0:
			p[l.class] = l.operators
		case id.Has(subjects.SIPProxy) && l.proxies.messages > 0:
			p[l.class] = l.proxies
		default:
			p[l.class] = l.rate
		}
	}
	return p
}

func (t traffic) String() string {
	for _, l := range limits() {
		if l.class == t {
			return l.name
		}
	}
	return "unknown"
}

// classify finds the class of a subject. It is called for each message, so it
// does not go through the table; TestClassesAreThoseOfTheTable compares them.
func classify(subject []byte) traffic {
	s := string(subject) // does not escape
	switch {
	case strings.HasPrefix(s, "thor.role."):
		if strings.Count(s, ".") == 3 {
			return announcements
		}
	case s == subjects.StatusGet:
		return announcements
	case strings.HasPrefix(s, "thor.node."):
		_, rest, _ := strings.Cut(s[len("thor.node."):], ".")
		switch {
		case strings.HasPrefix(rest, "provisioning_server."):
			return requests
		case strings.HasPrefix(rest, "_."):
			return notices
		}
	case s == subjects.HistoryGet:
		return histories
	case strings.HasPrefix(s, "_ANSWER."), strings.HasPrefix(s, "_INBOX."):
		return answers
	}
	return others
}

// A meter is a token bucket of messages and bytes. The zero value is full.
type meter struct {
	used  [2]float64 // messages and bytes above what the rate has restored
	since time.Time
}

// take counts one message and reports whether it is within share times r.
func (b *meter) take(r rate, share float64, size int, now time.Time) bool {
	dt := now.Sub(b.since).Seconds()
	b.since = now
	if dt < 0 {
		dt = 0
	}
	b.used[0] = max(0, b.used[0]-dt*r.messages*share) + 1
	b.used[1] = max(0, b.used[1]-dt*r.bytes*share) + float64(size)
	return b.within(r, share)
}

// within reports whether what was taken last is within share times r.
func (b *meter) within(r rate, share float64) bool {
	return b.used[0] <= r.messages*share*burstSeconds && b.used[1] <= r.most()*share
}

// allow is take for what is not counted when it is refused.
func (b *meter) allow(r rate, now time.Time) bool {
	next := *b
	if !next.take(r, 1, 0, now) {
		return false
	}
	*b = next
	return true
}
