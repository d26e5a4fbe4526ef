package overlay

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"thor/subjects"
)

// A View is what this process knows of the network. It is never written to
// after it was handed out.
type View struct {
	// Status is the newest status received, nil when nothing is known yet. With
	// Config.Roles it is the part that is about these roles: its Only names them.
	Status *subjects.Status
	// Encoded is Status as it is on the wire, without its losses.
	Encoded []byte
	// Received is when Status came, by this host's clock.
	Received time.Time
	// Stale says that for Config.StaleAfter no active manager confirmed that
	// Status is the current one, or that none has done so yet. It is no reason
	// to drop anything: the network may be well and only this process cut off.
	Stale bool
	// Connected says whether there is a connection to a broker.
	Connected bool
	// Connection counts the connections so far, the present one included. Between
	// two views of different numbers messages to this process may have been lost.
	Connection int
	// BrokerAlone says that the broker of the connection has told that it has no
	// connection to any other: what is said there does not reach this process.
	BrokerAlone bool
	// FromDisk says that Status is of an earlier run and still unconfirmed.
	FromDisk bool
}

// Mark is the mark of the view's status, zero when there is none.
func (v *View) Mark() subjects.Mark {
	if v.Status == nil {
		return subjects.Mark{}
	}
	return v.Status.Mark()
}

// alike reports whether v and o say the same but for the status.
func (v *View) alike(o *View) bool {
	return v.Stale == o.Stale && v.Connected == o.Connected && v.Connection == o.Connection && v.BrokerAlone == o.BrokerAlone && v.FromDisk == o.FromDisk
}

// address is the address to show of a member, the zero value if the status has
// lost it: then the lookup table is about to follow.
func (v *View) address(role subjects.Role, node subjects.NodeID) netip.Addr {
	if m := v.Status.Member(role, node); m != nil {
		return m.Address()
	}
	return netip.Addr{}
}

// watchers are channels that hold the latest of something, such as those that
// Watch gave out. The zero value is ready.
type watchers[T any] struct {
	mu  sync.Mutex
	chs map[chan T]struct{}
}

// add makes a channel that is closed when ctx ends. It holds what current gives
// now, unless that is nothing yet.
func (w *watchers[T]) add(ctx context.Context, current func() (T, bool)) <-chan T {
	ch := make(chan T, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.chs == nil {
		w.chs = make(map[chan T]struct{})
	}
	w.chs[ch] = struct{}{}
	if v, ok := current(); ok {
		ch <- v // under the lock, so that a later one cannot come first
	}
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.chs, ch)
		close(ch)
	})
	return ch
}

// send replaces what each channel holds by v. Only its callers fill channels,
// so that room is certain after taking the old one out.
func (w *watchers[T]) send(v T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.chs {
		select {
		case <-ch:
		default:
		}
		ch <- v
	}
}
