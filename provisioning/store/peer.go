package store

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"

	"thor/provisioning/ngnpro"
)

// peers are hosts that are trusted by address.
type peers struct{ *backend }

const peerColumns = "ip, description, call_limit, msteams, tenant, carrier_name, originator, prefix, strip, blocked, enum_lookup, transit, prepaid," +
	" tags, billing_id, auth_token, owner_id, customer_id, reseller_id, change_date"

func newPeer() *ngnpro.TrustedPeer {
	return &ngnpro.TrustedPeer{
		Description: new(string), CallLimit: new(int), MSTeams: new(bool), Tenant: new(string), CarrierName: new(string), Originator: new(string),
		Prefix: new(string), Strip: new(int), Blocked: new(bool), EnumLookup: new(bool), Transit: new(bool), Prepaid: new(bool), Tags: new(string),
		BillingID: new(string), AuthToken: new(string), Owner: new(int), Customer: new(int), Reseller: new(int),
	}
}

func scanPeer(scan func(...any) error) (*ngnpro.TrustedPeer, error) {
	p := newPeer()
	return p, scan(&p.IP, p.Description, p.CallLimit, p.MSTeams, p.Tenant, p.CarrierName, p.Originator, p.Prefix, p.Strip, p.Blocked, p.EnumLookup,
		p.Transit, p.Prepaid, p.Tags, p.BillingID, p.AuthToken, p.Owner, p.Customer, p.Reseller, &p.ChangeDate)
}

// peerAddress is an address, or a network in CIDR form, as it is kept.
func peerAddress(s string) (string, netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" && !a.Is4In6() {
		return a.String(), netip.PrefixFrom(a, a.BitLen()), nil
	}
	if n, err := netip.ParsePrefix(s); err == nil && n == n.Masked() && !n.Addr().Is4In6() {
		if n.IsSingleIP() {
			return n.Addr().String(), n, nil
		}
		return n.String(), n, nil
	}
	return "", netip.Prefix{}, ngnpro.ErrInvalid.With("ip is neither an address nor a network such as 192.0.2.0/24")
}

func checkPeer(p *ngnpro.TrustedPeer) error {
	var c check
	c.opt("description", p.Description, maxURI)
	c.opt("tenant", p.Tenant, maxLabel)
	c.opt("carrierName", p.CarrierName, maxLabel)
	c.opt("originator", p.Originator, maxLabel)
	c.opt("prefix", p.Prefix, maxName)
	c.opt("tags", p.Tags, maxName)
	c.opt("billingId", p.BillingID, maxName)
	c.opt("authToken", p.AuthToken, maxLabel)
	c.number("callLimit", p.CallLimit, 0, maxNumber)
	c.number("strip", p.Strip, 0, 64)
	c.number("owner", p.Owner, 0, maxNumber)
	return c.err
}

// savePeer replaces the row of a peer, and what the proxies see of it.
func (t *tx) savePeer(p *ngnpro.TrustedPeer, n netip.Prefix) error {
	const q = "REPLACE INTO sip_trusted (ip, description, call_limit, msteams, tenant, carrier_name, originator, prefix, strip, blocked, enum_lookup," +
		" transit, prepaid, tags, billing_id, auth_token, owner_id, customer_id, reseller_id, change_date)" +
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP())"
	if _, err := t.exec(q, p.IP, *p.Description, *p.CallLimit, *p.MSTeams, *p.Tenant, *p.CarrierName, *p.Originator, *p.Prefix, *p.Strip, *p.Blocked,
		*p.EnumLookup, *p.Transit, *p.Prepaid, *p.Tags, *p.BillingID, *p.AuthToken, *p.Owner, *p.Customer, *p.Reseller); err != nil {
		return err
	}
	if err := t.unprojectPeer(n); err != nil || *p.Blocked {
		return err
	}
	const address = "INSERT INTO address (grp, ip_addr, ip, mask, tag, context_info) VALUES (1, ?, ?, ?, ?, ?)"
	if _, err := t.exec(address, n.Addr().String(), n.Addr().String(), n.Bits(), *p.Tags, *p.Tags); err != nil || !n.IsSingleIP() {
		return err
	}
	_, err := t.exec("INSERT INTO trusted (src_ip, proto, tag) VALUES (?, 'any', ?)", n.Addr().String(), *p.Tags)
	return err
}

func (t *tx) unprojectPeer(n netip.Prefix) error {
	if _, err := t.exec("DELETE FROM address WHERE ip_addr = ? AND mask = ?", n.Addr().String(), n.Bits()); err != nil || !n.IsSingleIP() {
		return err
	}
	_, err := t.exec("DELETE FROM trusted WHERE src_ip = ?", n.Addr().String())
	return err
}

// peer reads a peer that v sees, locked.
func (t *tx) peer(v ngnpro.Viewer, ip string) (*ngnpro.TrustedPeer, error) {
	p, err := scanPeer(t.q.QueryRowContext(t.ctx, "SELECT "+peerColumns+" FROM sip_trusted WHERE ip = ? FOR UPDATE", ip).Scan)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !v.Sees(*p.Customer, *p.Reseller) {
		return nil, ngnpro.ErrPeerNotFound
	}
	return p, err
}

// checked is what v gives of a peer, with the address as it is kept.
func checked(v ngnpro.Viewer, p *ngnpro.TrustedPeer) (ip string, n netip.Prefix, err error) {
	if ip, n, err = peerAddress(p.IP); err != nil {
		return ip, n, err
	}
	if !v.Admin && n.Bits() < narrow(n.Addr()) {
		return ip, n, ngnpro.ErrForbidden.With("a network wider than /%d is for administrators", narrow(n.Addr()))
	}
	return ip, n, checkPeer(p)
}

// narrow is the widest network, in bits, that others than administrators may
// have proxies trust: whatever comes from it is not authenticated.
func narrow(a netip.Addr) int {
	if a.Is4() {
		return 24
	}
	return 48
}

// Add adds a peer. Networks wider than /24, or /48 of IPv6, are for
// administrators.
func (s peers) Add(ctx context.Context, v ngnpro.Viewer, p *ngnpro.TrustedPeer) error {
	ip, n, err := checked(v, p)
	if err != nil {
		return err
	}
	return s.write(ctx, "add trusted peer", func(t *tx) error {
		of, err := t.owner(v, p.Customer, p.Reseller, party{})
		if err != nil {
			return err
		}
		// Whoever is first has the row; the values follow.
		if _, err := t.exec("INSERT INTO sip_trusted (ip, change_date) VALUES (?, UTC_TIMESTAMP())", ip); err != nil {
			if duplicate(err) {
				return ngnpro.ErrPeerExists
			}
			return err
		}
		x := newPeer()
		mergePeer(x, p)
		if err := mayTransit(v, false, *x.Transit); err != nil {
			return err
		}
		if !*x.Blocked {
			if err := t.mayTrust(v, n); err != nil {
				return err
			}
		}
		x.IP, *x.Customer, *x.Reseller = ip, of.customer, of.reseller
		return t.savePeer(x, n)
	})
}

// Update changes what is given. Wide networks are for administrators,
// as with AddTrustedPeer.
func (s peers) Update(ctx context.Context, v ngnpro.Viewer, p *ngnpro.TrustedPeer) error {
	ip, n, err := checked(v, p)
	if err != nil {
		return err
	}
	return s.write(ctx, "update trusted peer", func(t *tx) error {
		x, err := t.peer(v, ip)
		if err != nil {
			return err
		}
		of, err := t.owner(v, p.Customer, p.Reseller, party{*x.Customer, *x.Reseller})
		if err != nil {
			return err
		}
		was, transit := *x.Blocked, *x.Transit
		mergePeer(x, p)
		if err := mayTransit(v, transit, *x.Transit); err != nil {
			return err
		}
		if was && !*x.Blocked {
			if err := t.mayTrust(v, n); err != nil {
				return err
			}
		}
		*x.Customer, *x.Reseller = of.customer, of.reseller
		return t.savePeer(x, n)
	})
}

func mergePeer(x, p *ngnpro.TrustedPeer) {
	set(x.Description, p.Description)
	set(x.CallLimit, p.CallLimit)
	set(x.MSTeams, p.MSTeams)
	set(x.Tenant, p.Tenant)
	set(x.CarrierName, p.CarrierName)
	set(x.Originator, p.Originator)
	set(x.Prefix, p.Prefix)
	set(x.Strip, p.Strip)
	set(x.Blocked, p.Blocked)
	set(x.EnumLookup, p.EnumLookup)
	set(x.Transit, p.Transit)
	set(x.Prepaid, p.Prepaid)
	set(x.Tags, p.Tags)
	set(x.BillingID, p.BillingID)
	set(x.AuthToken, p.AuthToken)
	set(x.Owner, p.Owner)
}

// Delete deletes a peer.
func (s peers) Delete(ctx context.Context, v ngnpro.Viewer, ip string) error {
	ip, n, err := peerAddress(ip)
	if err != nil {
		return err
	}
	return s.write(ctx, "delete trusted peer", func(t *tx) error {
		if _, err := t.peer(v, ip); err != nil {
			return err
		}
		if _, err := t.exec("DELETE FROM sip_trusted WHERE ip = ?", ip); err != nil {
			return err
		}
		return t.unprojectPeer(n)
	})
}

// Find lists peers.
func (s peers) Find(ctx context.Context, v ngnpro.Viewer, q *ngnpro.TrustedPeerQuery) (total int, ps []ngnpro.TrustedPeer, err error) {
	var l list
	f := &q.Filter
	l.visible(v, "customer_id", "reseller_id")
	address := f.IP
	if ip, _, err := peerAddress(address); err == nil { // stored in its one form
		address = ip
	}
	l.like("ip", "filter.ip", address)
	l.like("description", "filter.description", f.Description)
	l.like("tenant", "filter.tenant", f.Tenant)
	l.like("tags", "filter.tags", f.Tags)
	l.like("billing_id", "filter.billingId", f.BillingID)
	l.flag("msteams", f.MSTeams)
	l.flag("blocked", f.Blocked)
	l.equal("customer_id", f.Customer)
	l.equal("reseller_id", f.Reseller)
	l.sort(q.OrderBy, map[string]string{"changeDate": "change_date", "ip": "ip", "description": "description"}, "ip")
	l.part(q.Range)
	err = s.snapshot(ctx, "find trusted peers", func(t *tx) error {
		ps = nil
		total, err = t.find(&l, peerColumns, "sip_trusted", func(r *sql.Rows) error {
			p, err := scanPeer(r.Scan)
			ps = append(ps, *p)
			return err
		})
		return err
	})
	return total, ps, err
}
