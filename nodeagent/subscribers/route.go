package subscribers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"thor/nodeagent/subscribers/screening"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// maxDiverts is how often a call may be diverted.
const maxDiverts = 5

// A request is what a proxy knows of a SIP request.
type request struct {
	from, to string // URIs: of the sender; of who is called or registers
	source   netip.Addr
	hop      hop // from outside: ignored
	route    bool
	invite   bool
}

// isProxy reports whether an address is one of the role's members.
func (c *Cache) isProxy(a netip.Addr) bool { return c.member(c.cfg.Role, a) }

func (c *Cache) member(r subjects.Role, a netip.Addr) bool {
	s := c.net.View().Status
	return s != nil && slices.ContainsFunc(s.Roles[r], func(m subjects.Member) bool { return slices.Contains(m.Addresses, a) })
}

// profileOf is the profile of an answer that has one.
func profileOf(a *Answer) (*subscriber.Profile, error) {
	var p subscriber.Profile
	if err := json.Unmarshal(a.Profile, &p); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnavailable, err)
	}
	return &p, nil
}

// addresses are those of nodes that are members, without doubles.
func (c *Cache) addresses(nodes ...subjects.NodeID) (out []netip.Addr) {
	s := c.net.View().Status
	if s == nil {
		return nil
	}
	for _, n := range nodes {
		m := s.Member(c.cfg.Role, n)
		if n != "" && m != nil && m.Address().IsValid() && !slices.Contains(out, m.Address()) {
			out = append(out, m.Address())
		}
	}
	return out
}

// passOn has a request that belongs to another node passed on as h says: to the owner,
// then to those that stand in for it. An owner that the network status has lost is not
// tried where the lookup, which follows the status a moment later, still names it: its
// heir answers as the heir then.
func (s *step) passOn(c *Cache, a *Answer, h hop) *step {
	s.do, s.next = doPass, c.addresses(append([]subjects.NodeID{a.Nodes.Owner()}, a.Nodes.Heirs()...)...)
	h.at, h.heir = a.Mark, len(c.addresses(a.Nodes.Owner())) == 0
	s.hop = h
	return s
}

// getPassed is getFor for a request that a proxy passed on to this node, which chose it
// by the status h.at. If this node knows an older one it waits for that, up to
// catchUp. What is not here then belongs elsewhere by the same status or a newer one.
func (c *Cache) getPassed(ctx context.Context, key string, use purpose, h hop) (*Answer, error) {
	key = fold(key)
	a, err := c.get(ctx, key, use)
	if behind := func() bool { return err == nil && !a.Here && h.at.After(a.Mark) }; behind() {
		if c.waiting.Add(1) <= mostWaiting {
			for end := time.Now().Add(catchUp); behind() && time.Now().Before(end) && ctx.Err() == nil; {
				time.Sleep(catchUpEvery)
				a, err = c.get(ctx, key, use)
			}
		}
		c.waiting.Add(-1)
	}
	c.metrics.read(a, err)
	return a, err
}

// strays reports whether a request that a proxy passed on to this node has to be refused,
// since its answer is elsewhere. By a newer status than that proxy's it is passed on
// again; marks only rise, so that ends.
func (h hop) strays(a *Answer) bool { return !a.Here && !a.Mark.After(h.at) }

// useOf is who answers for a key: at first the owner, then who was asked.
func useOf(h hop, first purpose) purpose {
	switch {
	case h.stage == stageOutside || h.stage == stageDivert:
		return first
	case h.heir:
		return forHeir
	}
	return forAny
}

// registration decides on a REGISTER.
func (c *Cache) registration(ctx context.Context, q request) (*step, error) {
	s := &step{proxy: c.isProxy(q.source)}
	h := q.hop
	if !s.proxy || h.stage != stageRegister {
		h = hop{origin: q.source}
	}
	a, err := c.getPassed(ctx, screening.Key(q.to), useOf(h, forRegister), h)
	switch {
	case errors.Is(err, errBadKey):
		return s.refused(errNotFound), nil
	case err != nil:
		return nil, err
	case h.stage == stageRegister && h.strays(a):
		return s.refused(errMoves), nil
	case !a.Here:
		return s.passOn(c, a, hop{stage: stageRegister, origin: h.origin}), nil
	case !a.Found || a.AliasOf != "":
		return s.refused(errNotFound), nil
	}
	p, err := profileOf(a)
	if err != nil {
		return nil, err
	}
	if r := screening.From(p, h.origin); r != nil {
		return s.refused(r), nil
	}
	if !s.prove(p) {
		return s.refused(errNoPassword), nil
	}
	if r := screening.Registers(p); r != nil {
		return s.refused(r), nil
	}
	s.do = doSave
	return s, nil
}

// prove has the sender prove to be p.
func (s *step) prove(p *subscriber.Profile) bool {
	s.user = p.Username
	s.realm = p.Domain
	s.ha1 = p.HA1
	return p.HA1 != ""
}

// call decides on any other request outside dialogs.
func (c *Cache) call(ctx context.Context, q request) (*step, error) {
	s := &step{proxy: c.isProxy(q.source)}
	h := q.hop
	switch {
	case h.stage == stageDivert:
		s.proxy = false
		return c.callee(ctx, s, q, h)
	case s.proxy && h.stage == stageOutside && q.route:
		s.do = doRoute
		return s, nil
	case s.proxy && h.stage == stageFind:
		s.do = doServe
		return s, nil
	case s.proxy && h.stage == stageCallee:
		return c.callee(ctx, s, q, h)
	case s.proxy && h.stage == stageCaller:
		return c.caller(ctx, s, q, h)
	}
	h = hop{origin: q.source}
	if p := c.trust.Load().peer(q.source); p != nil && !s.proxy {
		if p.blocked {
			return s.refused(errPeer), nil
		}
		h.caller, h.known = screening.Key(q.from), p.transit
		return c.callee(ctx, s, q, h)
	}
	return c.caller(ctx, s, q, h)
}

// caller has the caller authenticated, where that is known.
func (c *Cache) caller(ctx context.Context, s *step, q request, h hop) (*step, error) {
	from := screening.Key(q.from)
	if user, domain, _ := strings.Cut(from, "@"); user == "" && domain != "" {
		from = "_@" + domain // who uses a domain has to have a name in it
	}
	account := h.account
	if account == "" {
		account = from
	}
	use := useOf(h, forAny)
	for range 2 {
		a, err := c.getPassed(ctx, account, use, h)
		_, domain, _ := strings.Cut(account, "@")
		switch {
		case errors.Is(err, errBadKey), errors.Is(err, errUnavailable) && c.trust.Load().foreign(domain),
			err == nil && a.Here && !a.Found && !a.Served: // a stranger
			h.caller = from
			return c.callee(ctx, s, q, hop{caller: from, origin: h.origin})
		case err != nil:
			return nil, err
		case h.stage == stageCaller && account == h.account && h.strays(a):
			return s.refused(errMoves), nil
		case !a.Here:
			return s.passOn(c, a, hop{stage: stageCaller, account: account, origin: h.origin}), nil
		case !a.Found:
			return s.refused(errImpostor), nil
		case a.AliasOf == "":
			return c.proven(ctx, s, q, h, from, a)
		}
		account, use = a.AliasOf, forAny
		h.at = subjects.Mark{} // it says where the alias belongs
	}
	return s.refused(errImpostor), nil
}

// proven goes on for a caller whose account is here.
func (c *Cache) proven(ctx context.Context, s *step, q request, h hop, from string, a *Answer) (*step, error) {
	p, err := profileOf(a)
	if err != nil {
		return nil, err
	}
	if from != a.Key && !slices.Contains(p.Aliases, from) {
		return s.refused(errImpostor), nil
	}
	if r := screening.From(p, h.origin); r != nil {
		return s.refused(r), nil
	}
	if !s.prove(p) {
		return s.refused(errNoPassword), nil
	}
	if r := screening.Calls(p, screening.Key(q.to)); r != nil {
		return s.refused(r), nil
	}
	return c.callee(ctx, s, q, hop{caller: from, known: true, origin: h.origin})
}

// callee decides what becomes of a call whose caller is as h says.
func (c *Cache) callee(ctx context.Context, s *step, q request, h hop) (*step, error) {
	key, use := screening.Key(q.to), useOf(h, forRegister)
	for range 2 {
		_, domain, _ := strings.Cut(key, "@")
		if addr, err := netip.ParseAddr(strings.Trim(domain, "[]")); err == nil {
			switch {
			case c.isProxy(addr):
				return s.refused(errNotFound), nil
			case h.known && c.member(subjects.VoicemailServer, addr):
				s.do = doRelay
				return s, nil
			}
		}
		a, err := c.getPassed(ctx, key, use, h)
		switch {
		case errors.Is(err, errBadKey):
			return s.refused(errNotFound), nil
		case errors.Is(err, errUnavailable) && c.trust.Load().foreign(domain),
			err == nil && a.Here && !a.Found && !a.Served:
			if !h.known {
				return s.refused(errRelay), nil
			}
			s.do = doRelay
			return s, nil
		case err != nil:
			return nil, err
		case h.stage == stageCallee && s.uri == "" && h.strays(a):
			return s.refused(errMoves), nil
		case !a.Here:
			return s.passOn(c, a, hop{stage: stageCallee, caller: h.caller, known: h.known, diverts: h.diverts}), nil
		case !a.Found:
			return s.refused(errNotFound), nil
		case a.AliasOf == "":
			return c.called(s, q, h, a)
		}
		key = a.AliasOf
		use = forRegister
		h.at = subjects.Mark{} // it says where the alias belongs
		s.uri = "sip:" + uriKey(a.AliasOf)
	}
	return s.refused(errNotFound), nil
}

// called decides by the profile of who is called, who is at home here.
func (c *Cache) called(s *step, q request, h hop, a *Answer) (*step, error) {
	p, err := profileOf(a)
	if err != nil {
		return nil, err
	}
	s.key = a.Key
	s.divert = hop{stage: stageDivert, caller: h.caller, known: true, diverts: h.diverts + 1}
	s.diverts = make(map[string]string)
	for _, r := range append(reasons, "FUNC") {
		if to := c.target(p, r); q.invite && to != "" {
			s.diverts[r] = to
		}
	}
	r, to := screening.Accepts(p, screening.Caller{Key: h.caller}, time.Now()), s.diverts["FUNC"]
	switch {
	case r == screening.ErrBlocked:
		return s.refused(r), nil
	case r != nil:
		to = s.diverts["FUNV"]
	}
	switch {
	case to != "" && h.diverts >= maxDiverts:
		return s.refused(errLoop), nil
	case to != "":
		s.do = doDivert
		s.uri = to
		s.refusal = r
		return s, nil
	case r != nil:
		return s.refused(r), nil
	}
	if h.diverts >= maxDiverts {
		s.diverts = nil
	}
	s.do, s.timeout = doServe, p.Timeout
	owner := a.Nodes.Owner()
	if h.heir {
		owner = ""
	}
	self := c.net.ID()
	s.next = c.addresses(slices.DeleteFunc(append([]subjects.NodeID{owner, a.Nodes.Previous()}, a.Nodes.Heirs()...), func(n subjects.NodeID) bool {
		return n == self || h.heir && n == a.Nodes.Owner()
	})...)
	s.hop = hop{stage: stageFind}
	return s, nil
}

// target is where p diverts to for a reason: the mailbox is at a voicemail server.
func (c *Cache) target(p *subscriber.Profile, reason string) string {
	to := screening.Diverts(p, reason)
	if to != screening.VoiceMailbox {
		return to
	}
	s := c.net.View().Status
	if p.Mailbox == "" || s == nil {
		return ""
	}
	for _, m := range s.Roles[subjects.VoicemailServer] {
		if a := m.Address(); m.State == subjects.Up && a.IsValid() {
			host := a.String()
			if a.Is6() {
				host = "[" + host + "]"
			}
			return "sip:" + p.Mailbox + "@" + host
		}
	}
	return ""
}

// uriKey is a key as it stands in a URI.
func uriKey(key string) string {
	i := strings.LastIndexByte(key, '@')
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()&=+$,/"
	var b strings.Builder
	for _, x := range []byte(key[:i]) {
		if strings.IndexByte(plain, x) >= 0 {
			b.WriteByte(x)
		} else {
			fmt.Fprintf(&b, "%%%02X", x)
		}
	}
	return b.String() + key[i:]
}
