package join

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"thor/overlay"
	"thor/subjects"
)

// gather is how long changes of the network are taken together for a reader.
const gather = 20 * time.Millisecond

// encoded keeps the lines of the newest status, since many may follow the same roles.
type encoded struct {
	mu     sync.Mutex
	status *subjects.Status
	lines  map[subjects.Role][]byte
}

// line is what is told of role in s.
func (e *encoded) line(s *subjects.Status, role subjects.Role) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.status != s {
		e.status, e.lines = s, make(map[subjects.Role][]byte)
	}
	b := e.lines[role]
	if b == nil {
		members := s.Roles[role]
		if members == nil {
			members = []subjects.Member{}
		}
		l := membersLine{Role: role, Members: members, Epoch: s.Epoch, Generation: s.Generation}
		if t, ok := s.Lookup[role]; ok {
			l.Lookup = &t
		}
		b = append(subjects.Encode(l), '\n')
		e.lines[role] = b
	}
	return b
}

// membersPart is the part of a line that says who is there.
func membersPart(line []byte) []byte {
	return line[:bytes.LastIndex(line, []byte(`,"epoch":`))]
}

// follow tells w who is in the roles, nil: in all, and each change, until ctx ends or w
// takes no more. It says nothing before there is a status.
func (s *Service) follow(ctx context.Context, w *writer, roles []subjects.Role) error {
	told := make(map[subjects.Role][]byte)
	first, current := true, false
	for v := range s.network.Watch(ctx) {
		if v.Status == nil {
			continue
		}
		if now := confirmed(v); first || now != current {
			first, current = false, now
			if err := w.say(networkLine{now}); err != nil {
				return err
			}
		}
		changed := len(told) == 0
		for _, role := range wanted(v.Status, roles, told) {
			line := s.encoded.line(v.Status, role)
			if was, ok := told[role]; ok && bytes.Equal(was, membersPart(line)) {
				continue
			}
			told[role] = membersPart(line)
			if err := w.raw(line); err != nil {
				return err
			}
			changed = true
		}
		if changed {
			var l toldLine
			l.Told.Epoch, l.Told.Generation = v.Status.Epoch, v.Status.Generation
			if err := w.say(l); err != nil {
				return err
			}
		}
		select {
		case <-time.After(gather):
		case <-ctx.Done():
		}
	}
	return nil
}

func confirmed(v *overlay.View) bool { return v.Connected && !v.Stale && !v.FromDisk }

// wanted are the roles to tell of: those asked for, or all of the status and those that
// were told before.
func wanted(s *subjects.Status, roles []subjects.Role, told map[subjects.Role][]byte) []subjects.Role {
	if roles != nil {
		return roles
	}
	all := make(map[subjects.Role]struct{}, len(s.Roles))
	for r := range s.Roles {
		all[r] = struct{}{}
	}
	for r := range told {
		all[r] = struct{}{}
	}
	return slices.Sorted(maps.Keys(all))
}
