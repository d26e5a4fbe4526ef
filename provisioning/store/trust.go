package store

import (
	"context"
	"database/sql"

	"thor/overlay/subscriber"
	"thor/provisioning/ngnpro"
	"thor/subjects"
)

// Trust is whom proxies trust, and which domains are served.
func (s pushes) Trust(ctx context.Context) (x *subscriber.Trust, err error) {
	err = s.snapshot(ctx, "read trust", func(t *tx) error {
		x = &subscriber.Trust{V: subjects.Version}
		const peers = "SELECT ip, blocked, transit FROM sip_trusted ORDER BY ip LIMIT ?"
		err := t.rows(peers, []any{subscriber.MaxTrustedPeers + 1}, func(r *sql.Rows) error {
			var p subscriber.TrustedPeer
			if err := r.Scan(&p.Network, &p.Blocked, &p.Transit); err != nil {
				return err
			}
			n, err := ngnpro.PeerNetwork(p.Network)
			if err != nil {
				return nil // others wrote that
			}
			p.Network = n.String()
			x.Peers = append(x.Peers, p)
			return nil
		})
		if err != nil {
			return err
		}
		const domains = "SELECT domain FROM sip_domains ORDER BY domain LIMIT ?"
		return t.rows(domains, []any{subscriber.MaxServedDomains + 1}, func(r *sql.Rows) error {
			var d string
			err := r.Scan(&d)
			x.Domains = append(x.Domains, d)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if x.MorePeers = len(x.Peers) > subscriber.MaxTrustedPeers; x.MorePeers {
		x.Peers = x.Peers[:subscriber.MaxTrustedPeers]
	}
	if x.MoreDomains = len(x.Domains) > subscriber.MaxServedDomains; x.MoreDomains {
		x.Domains = x.Domains[:subscriber.MaxServedDomains]
	}
	return x, nil
}
