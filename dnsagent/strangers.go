package dnsagent

import (
	crand "crypto/rand"
	"fmt"
	"net/netip"
	"time"

	"thor/dnsagent/cookie"
)

// ReloadCookies reads the secrets for cookies anew. On an error the old ones stay.
func (a *Agent) ReloadCookies() error {
	if a.cfg.CookieFile == "" {
		if a.secrets.Load() == nil {
			var random [16]byte
			_, _ = crand.Read(random[:]) // never fails, see crypto/rand
			a.secrets.Store(&cookie.Secrets{cookie.New(random)})
		}
		return nil
	}
	s, err := readSecrets(a.cfg.CookieFile)
	if err != nil {
		return fmt.Errorf("read the secret for DNS cookies: %w", err)
	}
	a.secrets.Store(&s)
	return nil
}

func readSecrets(path string) (cookie.Secrets, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s, err := cookie.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// allow counts an answer by UDP to a client that has proved nothing.
func (a *Agent) allow(client netip.Addr, now time.Time) bool {
	for _, e := range a.exempt {
		if e.Contains(client) {
			return true
		}
	}
	return a.limiter.Allow(client, now.Sub(a.begun))
}
