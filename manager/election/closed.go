package election

// A link is one connection of one process.
type link struct{ Boot, Via string }

const maxClosed = 4096 // remembered; a candidate needs those of its first seconds

// closedConns are the connections whose end was told, the newest of them. A lease may
// become known after the end of the connection it was written through.
type closedConns struct {
	set   map[link]struct{}
	order []link // as they came; at maxClosed the one at next is replaced
	next  int
}

func (e *closedConns) add(l link) {
	if e.has(l) {
		return
	}
	if e.set == nil {
		e.set = make(map[link]struct{})
	}
	e.set[l] = struct{}{}
	if len(e.order) < maxClosed {
		e.order = append(e.order, l)
		return
	}
	delete(e.set, e.order[e.next])
	e.order[e.next] = l
	e.next = (e.next + 1) % maxClosed
}

func (e *closedConns) has(l link) bool {
	_, ok := e.set[l]
	return ok
}
