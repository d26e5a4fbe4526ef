// Package limit bounds the answers that one network gets. Queries whose sender is
// forged make a name server send its answers to a victim: above a rate such a
// network gets no more.
//
// The table has a fixed size. Networks that share a place in it, which takes more
// busy networks than it has room for, share their rate too.
package limit

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// Bits of the networks: the least that are routed apart, and so the least that a
// victim can be.
const (
	bits4 = 24
	bits6 = 56
)

const (
	ways    = 4       // places in which a network may be
	sets    = 1 << 14 // of ways
	tagBits = 16
	unit    = 4096 * time.Nanosecond // of the times in the table: its 48 bits last for 36 years
	timeMax = 1<<(64-tagBits) - 1
)

// A Limiter counts by the time at which a network has used up its rate: an answer
// moves it on, and it may be at most a second ahead. Its methods may be called from
// any goroutine, and do not block.
type Limiter struct {
	seed  maphash.Seed
	each  uint64 // of an answer
	ahead uint64
	table [sets * ways]atomic.Uint64 // tag of a network, and its time
}

// New is for so many answers a second, at least one, to each network. A network that
// got none for a second may have them at once.
func New(perSecond int) *Limiter {
	second := uint64(time.Second / unit)
	return &Limiter{seed: maphash.MakeSeed(), each: max(second/uint64(perSecond), 1), ahead: second}
}

// Allow counts an answer to addr, and reports whether it may be sent. now never goes
// back, and is at least 0.
func (l *Limiter) Allow(addr netip.Addr, now time.Duration) bool {
	h := l.hash(addr)
	tag := h>>(64-tagBits) | 1 // 0 is an empty place
	set := l.table[h%sets*ways:][:ways]
	at := uint64(now / unit)
	p := l.place(set, tag, at)
	for {
		v := p.Load()
		t := v & timeMax
		if v>>(64-tagBits) != tag && t <= at {
			t = 0 // of a network that has its whole rate
		}
		t = max(t, at)
		if t-at >= l.ahead {
			return false
		}
		if p.CompareAndSwap(v, tag<<(64-tagBits)|(t+l.each)&timeMax) {
			return true
		}
	}
}

// place is where the network of tag is counted: where it was, or in place of one that
// has its whole rate, or with another one.
func (l *Limiter) place(set []atomic.Uint64, tag, at uint64) *atomic.Uint64 {
	var free *atomic.Uint64
	for i := range set {
		v := set[i].Load()
		if v>>(64-tagBits) == tag {
			return &set[i]
		}
		if free == nil && v&timeMax <= at {
			free = &set[i]
		}
	}
	if free == nil {
		return &set[tag/2%ways]
	}
	return free
}

func (l *Limiter) hash(addr netip.Addr) uint64 {
	a := addr.As16()
	keep := 16 - (128-bits6)/8
	if addr.Is4() || addr.Is4In6() {
		keep = 16 - (32-bits4)/8
	}
	clear(a[keep:])
	return maphash.Bytes(l.seed, a[:])
}
