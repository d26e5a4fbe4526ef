package picture

import (
	"time"

	"thor/subjects"
)

// An Event is one of the history, or one that just happened.
type Event struct {
	Time       time.Time `json:"time"`
	Kind       string    `json:"event"`
	Role       string    `json:"role,omitempty"`
	Node       string    `json:"node,omitempty"`
	Cause      string    `json:"cause,omitempty"`
	By         string    `json:"by,omitempty"`
	Detail     string    `json:"detail,omitempty"`
	Epoch      uint64    `json:"epoch,omitempty"`
	Generation uint64    `json:"generation,omitempty"`
	Site       string    `json:"site,omitempty"` // of guard and guard_end: of which nothing is heard, or is again
}

// maxDetail is how much of an event's detail is shown, in bytes.
const maxDetail = 512

// NewEvent is e, fit to be shown.
func NewEvent(e *subjects.Event) Event {
	return Event{
		Time: e.Time, Kind: text(string(e.Kind), 32), Role: text(string(e.Role), 63), Node: name(e.Node), Cause: text(string(e.Cause), 63),
		By: name(e.By), Detail: text(e.Detail, maxDetail), Epoch: e.Epoch, Generation: e.Generation, Site: site(e.GuardedSite()),
	}
}
