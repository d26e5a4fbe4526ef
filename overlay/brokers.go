package overlay

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// A brokerList is the URLs to dial: those of the configuration, or those that the
// DNS has for a domain.
type brokerList struct {
	urls      []string
	domain    string // "" unless the DNS is asked
	lookupSRV func(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

func newBrokerList(configured []string) brokerList {
	b := brokerList{urls: configured, lookupSRV: net.DefaultResolver.LookupSRV}
	if len(configured) == 1 {
		b.domain, _ = strings.CutPrefix(configured[0], srvPrefix)
		if b.domain == configured[0] {
			b.domain = ""
		}
	}
	return b
}

// resolve is the list to dial now.
func (b *brokerList) resolve(ctx context.Context) ([]string, error) {
	if b.domain == "" {
		return b.urls, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	_, found, err := b.lookupSRV(ctx, "eventserver", "tcp", b.domain)
	if err != nil {
		return nil, fmt.Errorf("find brokers: %w", err)
	}
	urls := make([]string, 0, len(found))
	for _, s := range found {
		if host := strings.TrimSuffix(s.Target, "."); host != "" { // RFC 2782: "." is "no such service"
			urls = append(urls, "tls://"+net.JoinHostPort(host, strconv.Itoa(int(s.Port))))
		}
	}
	if len(urls) == 0 {
		return nil, fmt.Errorf("find brokers: no SRV records of _eventserver._tcp.%s", b.domain)
	}
	return urls, nil
}

// reconnectDelay is the wait after all brokers of the list failed for the
// round-th time in a row: 50 to 250 ms at first, after many rounds up to 2 s. It
// is random over the whole range, so that members that lost the same broker
// spread out. chance(d) is uniform in [0, d).
func reconnectDelay(round int, chance func(time.Duration) time.Duration) time.Duration {
	const (
		least = 50 * time.Millisecond
		first = 250 * time.Millisecond
		most  = 2 * time.Second
	)
	top := first
	for ; round > 4 && top < most; round -= 2 {
		top *= 2
	}
	return least + chance(min(top, most)-least)
}
