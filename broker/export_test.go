package broker

import (
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"thor/identity"
)

// Server is the embedded nats-server of a running broker.
func (b *Broker) Server() *server.Server { return b.srv.Load() }

// Allowed are the patterns that id may publish and subscribe to.
func Allowed(id *identity.Identity) (pub, sub []string) {
	for _, g := range grants() {
		if g.act == publish {
			pub = append(pub, g.expand(id, false)...)
		} else {
			sub = append(sub, g.expand(id, false)...)
		}
	}
	return pub, sub
}

// Templates are the subjects of the table, with <node> and <role> in them.
func Templates() []string {
	var out []string
	for _, g := range grants() {
		if !slices.Contains(out, g.subject) {
			out = append(out, g.subject)
		}
	}
	return out
}

// Permissions is what nats-server gets to enforce.
func Permissions(id *identity.Identity) *server.Permissions { return permissions(id, false) }

// Permit puts another table into force, before Run.
func (b *Broker) Permit(f func(*identity.Identity) *server.Permissions) {
	b.gate.permit = func(id *identity.Identity, self bool) *server.Permissions {
		if self {
			return permissions(id, self)
		}
		return f(id)
	}
}

// Hurry lifts the limits of rates from clients that connect from now on.
func (b *Broker) Hurry() { b.front.rates = func(*identity.Identity) *rates { return nil } }

// Own is a connection with what the broker itself may do.
func (b *Broker) Own() (*nats.Conn, error) { return b.connect() }

// Peers are the brokers that routes lead to, sorted.
func (b *Broker) Peers() []string { return slices.Sorted(maps.Keys(remoteNames(b.srv.Load()))) }

// Spared is how many peers stay whose authority is not ours any more.
func (b *Broker) Spared() (n int) {
	b.gate.mu.Lock()
	defer b.gate.mu.Unlock()
	for _, p := range b.gate.peers {
		if !p.untrusted.IsZero() {
			n++
		}
	}
	return n
}

// Distrust is how long connections outlive the departure of their authority.
func (b *Broker) Distrust(d time.Duration) {
	b.gate.mu.Lock()
	defer b.gate.mu.Unlock()
	b.gate.patience = d
}
