package store

import (
	"context"
	"regexp"
	"slices"
	"time"

	"thor/provisioning/ngnpro"
)

// screening is what happens to a subscriber's calls.
type screening struct{ *backend }

// voiceMailbox is the diversion that leads to the subscriber's mailbox.
const voiceMailbox = "<voice-mailbox>"

// change is one call that changes an account's profile.
func (s screening) change(ctx context.Context, act string, v ngnpro.Viewer, id ngnpro.SipID, f func(*profile)) (ns Notices, err error) {
	err = s.write(ctx, act, func(t *tx) error {
		ns, err = t.modify(v, foldID(id), func(x *accountRow) error { f(x.profile); return nil })
		return err
	})
	return ns, err
}

// profile reads an account's profile.
func (s screening) profile(ctx context.Context, act string, v ngnpro.Viewer, id ngnpro.SipID) (p *profile, err error) {
	err = s.look(ctx, act, func(t *tx) error {
		x, err := t.subscriber(v, foldID(id), false)
		if err == nil {
			p = x.profile
		}
		return err
	})
	return p, err
}

// reasons are the members of diversions by their names on the wire.
func reasons(d *ngnpro.CallDiversions) map[string]**string {
	return map[string]**string{"FUNC": &d.All, "FNOL": &d.NotOnline, "FBUS": &d.Busy, "FNOA": &d.NoAnswer, "FUNV": &d.Unavailable}
}

// SetCallDiversions replaces all diversions. The words for the mailbox may come
// without their brackets.
func (s screening) SetCallDiversions(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, d *ngnpro.CallDiversions) (Notices, error) {
	var c check
	is := make(map[string]string)
	for reason, target := range reasons(d) {
		switch to := or(*target, ""); to {
		case "":
		case voiceMailbox, "voice-mailbox":
			is[reason] = voiceMailbox
		default:
			c.uri("diversions."+reason, to)
			is[reason] = to
		}
	}
	if c.err != nil {
		return nil, c.err
	}
	return s.change(ctx, "set diversions", v, id, func(p *profile) { p.Diversions = is })
}

// CallDiversions are the diversions that are set.
func (s screening) CallDiversions(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (*ngnpro.CallDiversions, error) {
	p, err := s.profile(ctx, "get diversions", v, id)
	if err != nil {
		return nil, err
	}
	d := &ngnpro.CallDiversions{}
	for reason, target := range reasons(d) {
		if to, ok := p.Diversions[reason]; ok {
			*target = &to
		}
	}
	return d, nil
}

// SetBarringPrefixes replaces the prefixes that may not be called.
func (s screening) SetBarringPrefixes(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, prefixes []string) (Notices, error) {
	var c check
	c.count("prefixes", len(prefixes))
	is := groupSet(prefixes)
	for _, x := range is {
		c.word("prefixes", x, maxName)
	}
	if c.err != nil {
		return nil, c.err
	}
	return s.change(ctx, "set barring prefixes", v, id, func(p *profile) { p.Barring = is })
}

// BarringPrefixes are the prefixes that may not be called.
func (s screening) BarringPrefixes(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) ([]string, error) {
	p, err := s.profile(ctx, "get barring prefixes", v, id)
	if err != nil {
		return nil, err
	}
	return p.Barring, nil
}

// SetRejectMembers replaces the callers whose calls are rejected.
func (s screening) SetRejectMembers(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, members []string) (Notices, error) {
	var c check
	c.count("members", len(members))
	is := groupSet(members)
	for _, x := range is {
		c.uri("members", x)
	}
	if c.err != nil {
		return nil, c.err
	}
	return s.change(ctx, "set reject members", v, id, func(p *profile) { p.Reject = is })
}

// RejectMembers are the callers whose calls are rejected.
func (s screening) RejectMembers(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) ([]string, error) {
	p, err := s.profile(ctx, "get reject members", v, id)
	if err != nil {
		return nil, err
	}
	return p.Reject, nil
}

var timeOfDay = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$`)

const maxAcceptMinutes = 366 * 24 * 60

func checkAccept(r *ngnpro.AcceptRules) error {
	var c check
	groups := func(gs []string) {
		c.count("rules.groups", len(gs))
		for _, g := range gs {
			c.word("rules.groups", g, maxName)
		}
	}
	c.count("rules.persistent", len(r.Persistent))
	for _, x := range r.Persistent {
		if !timeOfDay.MatchString(x.Start) || !timeOfDay.MatchString(x.Stop) {
			c.fail("rules.persistent has a time that is not HH:MM")
		}
		c.number("rules.persistent.days", &x.Days, 0, 127)
		groups(x.Groups)
	}
	if r.Temporary != nil {
		c.number("rules.temporary.duration", &r.Temporary.Duration, 0, maxAcceptMinutes)
		groups(r.Temporary.Groups)
	}
	return c.err
}

// SetAcceptRules replaces the rules. A temporary one counts from now; without a
// duration there is none.
func (s screening) SetAcceptRules(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, r *ngnpro.AcceptRules) (Notices, error) {
	if err := checkAccept(r); err != nil {
		return nil, err
	}
	return s.change(ctx, "set accept rules", v, id, func(p *profile) {
		p.Persistent, p.Temporary = nil, nil
		for _, x := range r.Persistent {
			p.Persistent = append(p.Persistent, acceptRule{x.Start, x.Stop, slices.Clone(x.Groups), x.Days})
		}
		if x := r.Temporary; x != nil && x.Duration > 0 {
			until := time.Now().Add(time.Duration(x.Duration) * time.Minute)
			p.Temporary = &temporary{Groups: slices.Clone(x.Groups), Until: until.Unix()}
		}
	})
}

// AcceptRules are the rules that hold: of a temporary one, the minutes that are
// left, rounded up.
func (s screening) AcceptRules(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (r *ngnpro.AcceptRules, nonEmpty []string, err error) {
	err = s.snapshot(ctx, "get accept rules", func(t *tx) error {
		x, err := t.subscriber(v, foldID(id), false)
		if err != nil {
			return err
		}
		r = &ngnpro.AcceptRules{}
		for _, y := range x.profile.Persistent {
			r.Persistent = append(r.Persistent, ngnpro.AcceptRule{Start: y.Start, Stop: y.Stop, Groups: y.Groups, Days: y.Days})
		}
		if y := x.profile.Temporary; y != nil && !y.expired(time.Now()) {
			left := time.Until(time.Unix(y.Until, 0))
			r.Temporary = &ngnpro.TemporaryAccept{Groups: y.Groups, Duration: int((left + time.Minute - 1) / time.Minute)}
		}
		nonEmpty, err = t.phonebookGroups(x.id)
		return err
	})
	return r, nonEmpty, err
}
