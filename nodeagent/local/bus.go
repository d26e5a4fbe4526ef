package local

import (
	"context"
	"encoding/json"
	"fmt"

	"thor/overlay"
	"thor/subjects"
)

// answerBus answers a subjects.LookupRequest that came over the network. The
// broker lets operators ask it. One key that fails fails the request: its text
// says which.
func (s *Server) answerBus(_ context.Context, r *overlay.Request) *subjects.Reply {
	refuse := func(code subjects.ErrorCode, text string) *subjects.Reply {
		return &subjects.Reply{V: subjects.Version, Code: code, Text: subjects.Printable(text, 300)}
	}
	q, err := subjects.ParseLookupRequest(r.Data)
	if err != nil {
		return refuse(subjects.ErrorBad, err.Error())
	}
	out := make([]subjects.LookupResult, len(q.Keys))
	for i, key := range q.Keys {
		if out[i], err = s.cfg.Source.Find(q.Role, key); err != nil {
			return refuse(subjects.ErrorFailed, fmt.Sprintf("%s: %s", key, reason(err)))
		}
	}
	data, err := json.Marshal(out)
	if err != nil {
		panic("local: encode answer: " + err.Error()) // strings and numbers only
	}
	return &subjects.Reply{V: subjects.Version, Data: data}
}
