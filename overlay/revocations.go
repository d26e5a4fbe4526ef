package overlay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"thor/identity"
	"thor/subjects"
)

const (
	listsFile = "revocations.pem"
	askLists  = 10 * time.Minute // brokers are asked for lists so often; new ones they publish
)

// revocationLists keep the lists of the certificate's authorities current, and
// end the connection to a broker that is revoked. Only known may be used outside
// the loop.
type revocationLists struct {
	creds    *identity.Credentials // nil: nothing is known
	id       subjects.NodeID
	log      *slog.Logger
	conn     *connection
	requests *requester
	msgs     chan<- *nats.Msg
	store    store
	working  *sync.WaitGroup

	none    identity.Revocations // without creds
	writeMu sync.Mutex           // orders writes of listsFile

	nextAsk time.Time // zero: never
	dirty   bool      // the disk has older ones
	query   *openRequest
}

func (r *revocationLists) known() *identity.Revocations {
	if r.creds != nil {
		return r.creds.Revocations()
	}
	return &r.none
}

// load takes up the lists of an earlier run.
func (r *revocationLists) load() {
	if r.creds == nil || r.store.dir == "" {
		return
	}
	data, err := os.ReadFile(filepath.Join(r.store.dir, listsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		_, err = r.known().Update(data, r.creds.Authorities())
	}
	if err != nil && !errors.Is(err, identity.ErrCRLRollback) {
		r.log.Error("saved revocation lists refused", cause(err))
	}
}

// advance does what is due.
func (r *revocationLists) advance(online bool, now time.Time) {
	if r.dirty {
		r.save()
	}
	if online && !now.Before(r.nextAsk) {
		r.ask(now)
	}
}

// ask asks the brokers for lists that this process does not hold.
func (r *revocationLists) ask(now time.Time) {
	if r.creds == nil {
		return
	}
	r.nextAsk = now.Add(askLists)
	q := subjects.ListRequest{V: subjects.Version}
	for _, der := range r.known().DER() {
		sum := sha256.Sum256(der)
		q.Held = append(q.Held, hex.EncodeToString(sum[:]))
	}
	next, err := r.requests.send(context.Background(), subjects.AskCRL(r.id), q.Encode(), r.msgs)
	r.query = r.query.replace(next)
	if err != nil {
		r.log.Debug("ask for revocation lists", cause(err)) // the next connection asks again
	}
}

// receive handles a list that came by the network. Its sender does not matter:
// the authority's signature and the rising number do.
func (r *revocationLists) receive(m *nats.Msg) {
	if r.creds == nil || m.Subject == subjects.CRLGet || unheard(m) {
		return
	}
	changed, err := r.known().Update(m.Data, r.creds.Authorities())
	if err != nil && !errors.Is(err, identity.ErrCRLRollback) && r.conn.once("list") {
		r.log.Error("revocation list refused", cause(err))
	}
	if changed {
		r.log.Info("revocation list in force", slog.Int("lists", len(r.known().Lists())))
		r.dirty = true
		r.leaveRevoked()
	}
}

// save writes the lists in a goroutine of its own.
func (r *revocationLists) save() {
	r.dirty = false
	if r.store.dir == "" {
		return
	}
	held := r.known().PEM()
	r.working.Go(func() {
		r.writeMu.Lock()
		defer r.writeMu.Unlock()
		if err := r.store.write(listsFile, held); err != nil {
			r.log.Error("revocation lists not stored: they are asked for again", cause(fmt.Errorf("save revocation lists: %w", err)))
		}
	})
}

// leaveRevoked ends the connection to a broker whose certificate is revoked.
func (r *revocationLists) leaveRevoked() {
	l := r.conn.state()
	if !l.up {
		return
	}
	cs, ok := r.conn.tlsState()
	if !ok {
		return // in process
	}
	if _, err := r.creds.VerifyBroker(cs); errors.Is(err, identity.ErrRevoked) {
		r.log.Error("certificate of the broker revoked, leaving it", cause(err), slog.String("peer", l.via))
		_ = l.nc.ForceReconnect() // fails only when closed; it is told nothing more
	}
}
