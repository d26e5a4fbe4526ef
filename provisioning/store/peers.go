package store

import (
	"context"
	"net/netip"

	"thor/provisioning/ngnpro"
)

// peers are hosts that are trusted by address.
type peers struct{ *backend }

var peerTable = newTable("sip_trusted", "",
	func(p *ngnpro.TrustedPeer) party { return partyOf(p.Customer, p.Reseller) },
	func(p *ngnpro.TrustedPeer) []field {
		return []field{
			{"ip", &p.IP, key},
			{"description", &p.Description, kept},
			{"call_limit", &p.CallLimit, kept},
			{"msteams", &p.MSTeams, kept},
			{"tenant", &p.Tenant, kept},
			{"carrier_name", &p.CarrierName, kept},
			{"originator", &p.Originator, kept},
			{"prefix", &p.Prefix, kept},
			{"strip", &p.Strip, kept},
			{"blocked", &p.Blocked, kept},
			{"enum_lookup", &p.EnumLookup, kept},
			{"transit", &p.Transit, kept},
			{"prepaid", &p.Prepaid, kept},
			{"tags", &p.Tags, kept},
			{"billing_id", &p.BillingID, kept},
			{"auth_token", &p.AuthToken, kept},
			{"owner_id", &p.Owner, kept},
			{"customer_id", &p.Customer, kept},
			{"reseller_id", &p.Reseller, kept},
			{"change_date", &p.ChangeDate, changed},
		}
	})

// projectPeer makes the proxies' rows of a peer anew.
func (t *tx) projectPeer(p *ngnpro.TrustedPeer, n netip.Prefix) error {
	if err := t.unprojectPeer(n); err != nil || or(p.Blocked, false) {
		return err
	}
	tags := or(p.Tags, "")
	const address = "INSERT INTO address (grp, ip_addr, ip, mask, tag, context_info) VALUES (1, ?, ?, ?, ?, ?)"
	if _, err := t.exec(address, n.Addr().String(), n.Addr().String(), n.Bits(), tags, tags); err != nil || !n.IsSingleIP() {
		return err
	}
	_, err := t.exec("INSERT INTO trusted (src_ip, proto, tag) VALUES (?, 'any', ?)", n.Addr().String(), tags)
	return err
}

func (t *tx) unprojectPeer(n netip.Prefix) error {
	if _, err := t.exec("DELETE FROM address WHERE ip_addr = ? AND mask = ?", n.Addr().String(), n.Bits()); err != nil || !n.IsSingleIP() {
		return err
	}
	_, err := t.exec("DELETE FROM trusted WHERE src_ip = ?", n.Addr().String())
	return err
}

// peer reads a peer that v sees.
func (t *tx) peer(v ngnpro.Viewer, ip string, l lock) (*ngnpro.TrustedPeer, error) {
	return peerTable.get(t, v, l, ngnpro.ErrPeerNotFound, ip)
}

// Add adds a peer.
func (s peers) Add(ctx context.Context, v ngnpro.Viewer, p *ngnpro.TrustedPeer) error {
	n, err := ngnpro.PeerNetwork(p.IP)
	if err != nil {
		return err
	}
	return s.write(ctx, "add trusted peer", func(t *tx) error {
		if err := t.as(v).hasPeers(); err != nil {
			return err
		}
		of, err := t.as(v).owner(p.Customer, p.Reseller, party{})
		if err != nil {
			return err
		}
		if err := t.as(v).changesPeer(n, &ngnpro.TrustedPeer{Blocked: new(true)}, p); err != nil {
			return err
		}
		x := *p
		x.Customer, x.Reseller = &of.customer, &of.reseller
		if _, err := peerTable.insert(t, &x); duplicate(err) {
			return ngnpro.ErrPeerExists
		} else if err != nil {
			return err
		}
		return t.projectPeer(&x, n)
	})
}

// Update changes what is given.
func (s peers) Update(ctx context.Context, v ngnpro.Viewer, p *ngnpro.TrustedPeer) error {
	n, err := ngnpro.PeerNetwork(p.IP)
	if err != nil {
		return err
	}
	return s.write(ctx, "update trusted peer", func(t *tx) error {
		if err := t.as(v).hasPeers(); err != nil {
			return err
		}
		x, err := t.peer(v, p.IP, forUpdate)
		if err != nil {
			return err
		}
		was := *x
		of, err := t.as(v).owner(p.Customer, p.Reseller, peerTable.party(x))
		if err != nil {
			return err
		}
		peerTable.merge(x, p)
		if err := t.as(v).changesPeer(n, &was, x); err != nil {
			return err
		}
		x.Customer, x.Reseller = &of.customer, &of.reseller
		if err := peerTable.update(t, x); err != nil {
			return err
		}
		return t.projectPeer(x, n)
	})
}

// Delete deletes a peer.
func (s peers) Delete(ctx context.Context, v ngnpro.Viewer, ip string) error {
	n, err := ngnpro.PeerNetwork(ip)
	if err != nil {
		return err
	}
	return s.write(ctx, "delete trusted peer", func(t *tx) error {
		if _, err := t.peer(v, ip, forUpdate); err != nil {
			return err
		}
		if _, err := t.exec("DELETE FROM sip_trusted WHERE ip = ?", ip); err != nil {
			return err
		}
		return t.unprojectPeer(n)
	})
}

// Get is one peer.
func (s peers) Get(ctx context.Context, v ngnpro.Viewer, ip string) (p *ngnpro.TrustedPeer, err error) {
	err = s.look(ctx, "get trusted peer", func(t *tx) error {
		p, err = t.peer(v, ip, unlocked)
		return err
	})
	return p, err
}

// Find lists peers.
func (s peers) Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.TrustedPeerQuery) (total int, ps []ngnpro.TrustedPeer, err error) {
	var l search
	f := &q.Filter
	l.of(v, f.Customer, f.Reseller)
	l.like("ip", f.IP)
	l.like("description", f.Description)
	l.like("tenant", f.Tenant)
	l.like("tags", f.Tags)
	l.like("billing_id", f.BillingID)
	l.flag("msteams", f.MSTeams)
	l.flag("blocked", f.Blocked)
	l.sort(q.OrderBy, map[string]string{"changeDate": "change_date", "ip": "ip", "description": "description"}, "ip")
	l.part(q.Range)
	return list(ctx, s.backend, "find trusted peers", peerTable, &l, asTheyAre)
}
