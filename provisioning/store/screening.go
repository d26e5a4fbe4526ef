package store

import (
	"context"
	"time"

	"thor/provisioning/ngnpro"
)

// screening is what happens to a subscriber's calls.
type screening struct{ *backend }

// change is one call that changes an account's profile.
func (s screening) change(ctx context.Context, act string, v ngnpro.Viewer, id ngnpro.SipID, f func(*profile)) (ns Notices, err error) {
	err = s.write(ctx, act, func(t *tx) error {
		ns, err = t.modify(v, id, func(x *accountRow) error { f(x.profile); return nil })
		return err
	})
	return ns, err
}

// profile reads an account's profile.
func (s screening) profile(ctx context.Context, act string, v ngnpro.Viewer, id ngnpro.SipID) (p *profile, err error) {
	err = s.look(ctx, act, func(t *tx) error {
		x, err := t.subscriber(v, id, unlocked)
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

// SetCallDiversions replaces all diversions.
func (s screening) SetCallDiversions(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, d *ngnpro.CallDiversions) (Notices, error) {
	is := make(map[string]string)
	for reason, target := range reasons(d) {
		if *target != nil {
			is[reason] = **target
		}
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
	return s.change(ctx, "set barring prefixes", v, id, func(p *profile) { p.Barring = prefixes })
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
	return s.change(ctx, "set reject members", v, id, func(p *profile) { p.Reject = members })
}

// RejectMembers are the callers whose calls are rejected.
func (s screening) RejectMembers(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) ([]string, error) {
	p, err := s.profile(ctx, "get reject members", v, id)
	if err != nil {
		return nil, err
	}
	return p.Reject, nil
}

// SetAcceptRules replaces the rules. A temporary one counts from now.
func (s screening) SetAcceptRules(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, r *ngnpro.AcceptRules) (Notices, error) {
	return s.change(ctx, "set accept rules", v, id, func(p *profile) {
		p.Persistent, p.Temporary = nil, nil
		for _, x := range r.Persistent {
			p.Persistent = append(p.Persistent, acceptRule{x.Start, x.Stop, x.Groups, x.Days})
		}
		if x := r.Temporary; x != nil {
			until := time.Now().Add(time.Duration(x.Duration) * time.Minute)
			p.Temporary = &temporary{Groups: x.Groups, Until: until.Unix()}
		}
	})
}

// AcceptRules are the rules that hold: of a temporary one, the minutes that are
// left, rounded up.
func (s screening) AcceptRules(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID) (r *ngnpro.AcceptRules, nonEmpty []string, err error) {
	err = s.snapshot(ctx, "get accept rules", func(t *tx) error {
		x, err := t.subscriber(v, id, unlocked)
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
