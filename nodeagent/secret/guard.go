package secret

import (
	"sync"
	"time"
)

// Window is how far the time of a nonce may be from the receiver's, which has
// the same clock: a request that waited in a full queue is answered still.
const Window = 10 * time.Second

// A Guard accepts each signed request once. Its methods may be called from any
// goroutine.
type Guard struct {
	key *Key

	mu       sync.Mutex
	since    time.Time // nonces of before are refused
	seen     map[string]struct{}
	previous map[string]struct{} // seen of the window before
	turned   time.Time
}

// NewGuard is for one key.
func NewGuard(k *Key) *Guard { return &Guard{key: k, seen: make(map[string]struct{})} }

// Since has requests that were signed before t refused: until then the port was
// free, and another program may have received them there to repeat them here.
func (g *Guard) Since(t time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.since = t
}

// Accept reports whether header proves text, for the first time and of now, and
// returns the nonce.
func (g *Guard) Accept(kind Kind, header, text string, now time.Time) (nonce string, ok bool) {
	nonce, mac, at, ok := split(header)
	if !ok || at.Before(now.Add(-Window)) || at.After(now.Add(Window)) || !g.key.Check(kind, nonce, text, mac) {
		return "", false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if at.Before(g.since) {
		return "", false
	}
	if now.Sub(g.turned) > 2*Window { // longer than any nonce is good for
		g.previous = g.seen
		g.seen = make(map[string]struct{})
		g.turned = now
	}
	_, before := g.previous[nonce]
	if _, is := g.seen[nonce]; is || before {
		return "", false
	}
	g.seen[nonce] = struct{}{}
	return nonce, true
}
