package manager

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

var identityPrefix = subjects.IdentityOf("")

// identity takes a broker's identity message.
func (m *Manager) identity(msg *nats.Msg, now time.Time) error {
	if msg.Subject == subjects.IdentityGet {
		return nil // another manager asks
	}
	w, err := subjects.ParseIdentity(msg.Subject, msg.Data)
	if err != nil {
		return err
	}
	m.core.Identity(w, m.revoked(w), now)
	return nil
}

// revoked reports whether the certificate of w stands in a revocation list.
func (m *Manager) revoked(w *subjects.Identity) bool {
	return m.cfg.Overlay.Revocations().Serial(w.Serial, w.Issuer)
}

// noteRevocations finds out whether there is a newer revocation list.
func (m *Manager) noteRevocations(now time.Time) {
	if v := m.cfg.Overlay.Revocations().Version(); v != m.lists {
		m.lists = v
		m.core.RevokeCertificates(m.revoked, now)
	}
}

// loadIdentities feeds the core what was known of certificates at the last end.
func (m *Manager) loadIdentities(now time.Time) {
	ws, err := m.facts.load()
	if err != nil {
		m.log.Error().Err(err).Msg("stored certificates of members unusable")
	}
	m.lists = m.cfg.Overlay.Revocations().Version()
	for _, w := range ws {
		m.core.Identity(w, m.revoked(w), now)
	}
	m.core.FactsStored()
}

// storeIdentities stores what is known of certificates at the end.
func (m *Manager) storeIdentities() {
	if facts, changed := m.core.Facts(); changed {
		m.facts.put(facts)
	}
	m.facts.work.Wait()
}

// A factsFile keeps on disk what is known of certificates, so that a member that
// is dead can be told by its revoked certificate after a restart of everything.
type factsFile struct {
	path string // "" keeps nothing

	work    sync.WaitGroup
	mu      sync.Mutex
	writing bool
	next    []*subjects.Identity // to be written when the write under way ends
	err     error                // to be reported
	failing bool                 // the last write failed, and that was reported
}

const factsName = "certificates.json"

// factsOnDisk is the content of the file.
type factsOnDisk struct {
	V          int               `json:"v"`
	Identities []json.RawMessage `json:"identities"`
}

// load returns what was kept. What cannot be read is left out and told.
func (f *factsFile) load() (out []*subjects.Identity, err error) {
	if f.path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var d factsOnDisk
	if err == nil {
		err = json.Unmarshal(b, &d)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.path, err)
	}
	for _, raw := range d.Identities {
		var head struct {
			Broker subjects.NodeID `json:"broker"`
		}
		if e := json.Unmarshal(raw, &head); e != nil {
			err = e
			continue
		}
		w, e := subjects.ParseIdentity(subjects.IdentityOf(head.Broker), raw)
		if e != nil {
			err = fmt.Errorf("read %s: %w", f.path, e)
			continue
		}
		out = append(out, w)
	}
	return out, err
}

// put writes ws in a goroutine of its own: a disk that hangs must not hold up
// the loop. Of those that come meanwhile only the newest is written.
func (f *factsFile) put(ws []*subjects.Identity) {
	if f.path == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = append(make([]*subjects.Identity, 0, len(ws)), ws...)
	if !f.writing {
		f.writing = true
		f.work.Go(f.run)
	}
}

func (f *factsFile) run() {
	for {
		f.mu.Lock()
		ws := f.next
		f.next = nil
		if ws == nil {
			f.writing = false
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		err := f.write(ws)
		f.mu.Lock()
		if err != nil && !f.failing {
			f.err = err
		}
		f.failing = err != nil
		f.mu.Unlock()
	}
}

// fault is why the first of the latest writes failed, once.
func (f *factsFile) fault() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.err
	f.err = nil
	return err
}

func (f *factsFile) write(ws []*subjects.Identity) error {
	d := factsOnDisk{V: subjects.Version, Identities: make([]json.RawMessage, 0, len(ws))}
	for _, w := range ws {
		d.Identities = append(d.Identities, w.Encode())
	}
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(f.path)
	if b = append(b, '\n'); err == nil && bytes.Equal(old, b) {
		return nil
	}
	return writeState(f.path, b)
}
