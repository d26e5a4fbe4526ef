package election

import "sync"

// A link is one connection of one process.
type link struct{ boot, via string }

const maxClosed = 4096 // remembered; a candidate needs those of its first seconds

// closedConns are the connections whose end was told, the newest of them. A lease may
// become known after the end of the connection it was written through.
type closedConns struct {
	mu     sync.Mutex
	set    map[link]struct{}
	order  []link // as they came; at maxClosed the one at next is replaced
	next   int
	holder link
}

// add notes an end and reports whether it is the holder's.
func (e *closedConns) add(l link) (holder bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, known := e.set[l]; !known {
		if e.set == nil {
			e.set = make(map[link]struct{})
		}
		e.set[l] = struct{}{}
		if len(e.order) < maxClosed {
			e.order = append(e.order, l)
		} else {
			delete(e.set, e.order[e.next])
			e.order[e.next] = l
			e.next = (e.next + 1) % maxClosed
		}
	}
	return l == e.holder
}

// watch says whose end add is to report.
func (e *closedConns) watch(l link) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.holder = l
}

func (e *closedConns) has(l link) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, ok := e.set[l]
	return ok
}
