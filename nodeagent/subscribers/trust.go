package subscribers

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"thor/overlay/subscriber"
	"thor/subjects"
)

// trustEvery is how long a peer that is trusted no more may still call.
const trustEvery = 5 * time.Second

// A trust is a subscriber.Trust in the form in which it is asked.
type trust struct {
	digest  string
	peers   []trustedPeer
	domains map[string]bool
	all     bool // domains has every domain
}

type trustedPeer struct {
	network          netip.Prefix
	blocked, transit bool
}

func newTrust(t *subscriber.Trust) *trust {
	x := &trust{digest: t.Digest, domains: make(map[string]bool), all: !t.MoreDomains}
	for _, p := range t.Peers {
		if n, err := netip.ParsePrefix(p.Network); err == nil {
			x.peers = append(x.peers, trustedPeer{n, p.Blocked, p.Transit})
		}
	}
	for _, d := range t.Domains {
		x.domains[d] = true
	}
	return x
}

// peer is the narrowest trusted network that has a, nil for none.
func (t *trust) peer(a netip.Addr) *trustedPeer {
	if t == nil {
		return nil
	}
	var best *trustedPeer
	for i := range t.peers {
		if p := &t.peers[i]; p.network.Contains(a) && (best == nil || p.network.Bits() > best.network.Bits()) {
			best = p
		}
	}
	return best
}

// foreign reports whether a domain is known to have no subscribers here. It is
// for when no provisioning server answers: it may be some seconds old.
func (t *trust) foreign(domain string) bool { return t != nil && t.all && !t.domains[domain] }

// followTrust asks every few seconds whom proxies trust. Without an answer what
// was told last holds.
func (c *Cache) followTrust(ctx context.Context) {
	select {
	case <-c.net.Ready():
	case <-ctx.Done():
		return
	}
	retry := syncRetry
	for {
		wait := trustEvery
		if err := c.askTrust(ctx); err != nil {
			wait, retry = retry, min(2*retry, trustEvery)
		} else {
			retry = syncRetry
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func (c *Cache) askTrust(ctx context.Context) error {
	if !well(c.net.View()) {
		return errors.New("not connected")
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	req := subscriber.TrustRequest{V: subjects.Version}
	if t := c.trust.Load(); t != nil {
		req.Have = t.digest
	}
	return c.askProvisioning(ctx, subjects.VerbTrust, req.Encode(), "", func(r *subjects.Reply) error {
		t, err := subscriber.ParseTrust(r.Data)
		if err != nil || t.Same {
			return err
		}
		c.trust.Store(newTrust(t))
		return nil
	})
}
