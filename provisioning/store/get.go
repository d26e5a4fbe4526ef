package store

import (
	"context"

	"thor/provisioning/ngnpro"
)

// pick is the record among those found for which is holds, or missing.
func pick[R any](found []R, err error, is func(*R) bool, missing error) (*R, error) {
	if err != nil {
		return nil, err
	}
	for i := range found {
		if is(&found[i]) {
			return &found[i], nil
		}
	}
	return nil, missing
}

// Get reads a domain.
func (s domains) Get(ctx context.Context, v ngnpro.Viewer, domain string) (*ngnpro.SipDomain, error) {
	var q ngnpro.SipDomainQuery
	q.Filter.Domain = domain
	_, found, err := s.Find(ctx, v, &q)
	return pick(found, err, func(d *ngnpro.SipDomain) bool { return d.Domain == domain },
		ngnpro.ErrDomainNotFound.With("there is no SIP domain %s", domain))
}

// Get reads a peer.
func (s peers) Get(ctx context.Context, v ngnpro.Viewer, ip string) (*ngnpro.TrustedPeer, error) {
	var q ngnpro.TrustedPeerQuery
	q.Filter.IP = ip
	_, found, err := s.Find(ctx, v, &q)
	return pick(found, err, func(p *ngnpro.TrustedPeer) bool { return p.IP == ip }, ngnpro.ErrPeerNotFound)
}

// Get reads a range.
func (s ranges) Get(ctx context.Context, v ngnpro.Viewer, id ngnpro.EnumRangeID) (*ngnpro.EnumRange, error) {
	var q ngnpro.EnumRangeQuery
	q.Filter.Prefix, q.Filter.TLD = id.Prefix, id.TLD
	_, found, err := s.Find(ctx, v, &q)
	return pick(found, err, func(r *ngnpro.EnumRange) bool { return r.ID == id }, ngnpro.ErrRangeNotFound)
}

// Get reads an entry.
func (s phonebook) Get(ctx context.Context, v ngnpro.Viewer, id ngnpro.SipID, uri string) (*ngnpro.PhonebookEntry, error) {
	found, err := s.Find(ctx, v, id, &ngnpro.PhonebookEntry{URI: uri}, nil)
	return pick(found, err, func(e *ngnpro.PhonebookEntry) bool { return e.URI == uri }, ngnpro.ErrEntryNotFound)
}
