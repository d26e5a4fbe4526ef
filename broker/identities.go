package broker

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"thor/identity"
	"thor/subjects"
)

const (
	flushTime    = time.Second            // for the own connection to pass a word on; a client waits no longer for it
	repeatTime   = 200 * time.Millisecond // between two answers to managers that ask for all words
	maxWords     = 65_536                 // certificates that are remembered
	insiderValid = 24 * time.Hour         // of an in-process identity that names no end
)

// An identityPublisher tells managers what the certificates say with which clients, and the
// broker itself, connect.
//
// The word about a connection is published on the broker's own connection and
// flushed before nats-server lets the client in. So the server has put it into
// the queue to each manager, and into that of each route, before it reads the
// client's first message; all messages of the members' account take the same
// route between two brokers, in order. A manager that was not subscribed then
// asks for all words.
//
// A word is kept after its connection has ended, until the certificate expires:
// the node may be a member that died, whose certificate may still be revoked.
type identityPublisher struct {
	node subjects.NodeID
	log  zerolog.Logger

	ready chan struct{} // closed when own is set
	own   *nats.Conn    // the broker's own connection

	mu    sync.Mutex
	words map[certificate]*subjects.Identity
	asked chan struct{} // holds one token: a manager wants all words
}

// A certificate is identified by its serial, its issuer and, for identities that have
// none of these, its node.
type certificate struct {
	node           subjects.NodeID
	serial, issuer string
}

func newIdentityPublisher(node subjects.NodeID, log zerolog.Logger) *identityPublisher {
	return &identityPublisher{
		node: node, log: log, ready: make(chan struct{}),
		words: make(map[certificate]*subjects.Identity), asked: make(chan struct{}, 1),
	}
}

// start lets clients in: from now on words can be published.
func (w *identityPublisher) start(own *nats.Conn) {
	w.own = own
	close(w.ready)
}

// tell publishes what id says and returns when nats-server has it in its queues,
// or could not within a second. Then managers, whose members wait, ask for it.
func (w *identityPublisher) tell(id *identity.Identity) {
	word, fresh := w.note(id, time.Now())
	if word == nil {
		return
	}
	err := w.own.Publish(subjects.IdentityOf(w.node), word.Encode())
	if err == nil {
		err = w.own.FlushTimeout(flushTime)
	}
	if err != nil && fresh {
		w.log.Error().Err(err).Str("peer", string(id.Node)).Msg("identity not published")
	}
}

// note remembers what id says. fresh is true if it was not known.
func (w *identityPublisher) note(id *identity.Identity, now time.Time) (word *subjects.Identity, fresh bool) {
	word = &subjects.Identity{
		V: subjects.Version, Broker: w.node, Node: id.Node, Serial: id.Serial, Issuer: id.Issuer, NotAfter: id.NotAfter.UTC(),
		Roles: id.Roles, Addresses: id.Addresses, Bounds: id.Bounds, Site: id.Site,
	}
	if id.NotAfter.IsZero() {
		word.NotAfter = now.Add(insiderValid).UTC().Truncate(time.Second)
	}
	if word.Serial == "" { // an identity without a certificate, inside this process
		word.Serial = hex.EncodeToString([]byte(id.Node))[:2]
	}
	if err := word.Check(); err != nil {
		w.log.Error().Err(err).Str("peer", string(id.Node)).Msg("identity cannot be published")
		return nil, false
	}
	key := certificate{word.Node, word.Serial, word.Issuer}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, known := w.words[key]
	if !known && len(w.words) >= maxWords {
		w.prune(now)
	}
	w.words[key] = word
	return word, !known
}

// prune makes room: expired words go, and if there are none the one that ends
// first. The caller holds w.mu.
func (w *identityPublisher) prune(now time.Time) {
	maps.DeleteFunc(w.words, func(_ certificate, x *subjects.Identity) bool { return now.After(x.NotAfter) })
	if len(w.words) < maxWords {
		return
	}
	var first certificate
	var end time.Time
	for k, x := range w.words {
		if end.IsZero() || x.NotAfter.Before(end) {
			first, end = k, x.NotAfter
		}
	}
	delete(w.words, first)
}

// all are the words of certificates that have not expired, by node and serial.
func (w *identityPublisher) all(now time.Time) []*subjects.Identity {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []*subjects.Identity
	for _, x := range w.words {
		if !now.After(x.NotAfter) {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, (*subjects.Identity).Compare)
	return out
}

// repeat makes answer publish all words.
func (w *identityPublisher) repeat() {
	select {
	case w.asked <- struct{}{}:
	default:
	}
}

// answer publishes all words whenever managers ask, until ctx ends. Questions
// that come closely together get one answer.
func (w *identityPublisher) answer(ctx context.Context) error {
	if _, err := w.own.Subscribe(subjects.IdentityGet, func(*nats.Msg) { w.repeat() }); err != nil {
		return fmt.Errorf("broker: subscribe %s: %w", subjects.IdentityGet, err)
	}
	w.repeat() // managers that were here before this broker
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.asked:
		}
		for _, x := range w.all(time.Now()) {
			if err := w.own.Publish(subjects.IdentityOf(w.node), x.Encode()); err != nil {
				break // its reconnection repeats them
			}
		}
		pause.Reset(repeatTime)
	}
}
