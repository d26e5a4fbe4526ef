package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"thor/manager/election"
	"thor/subjects"
)

// A status that is too big for one key of the store has a head there, and its
// members in keys of their own, one for each part of a role's list.

// A splitHead is a status whose members are in other keys: those of the roles of
// Split, each in as many parts as Parts says, or one.
type splitHead struct {
	subjects.Status
	Split []subjects.Role       `json:"split"`
	Parts map[subjects.Role]int `json:"parts,omitempty"`
}

// keys are the keys of h but its own.
func (h *splitHead) keys() (out []string) {
	for _, role := range h.Split {
		for part := range max(h.Parts[role], 1) {
			out = append(out, subjects.RoleKey(role, part+1))
		}
	}
	return out
}

// encode returns what is stored under the head's key. Departed nodes that find no
// room are left out: they are told for a few minutes only.
func (h *splitHead) encode() []byte {
	for {
		b := subjects.Encode(h)
		if len(b) <= subjects.MaxStatusKey || len(h.Departed) == 0 {
			return b
		}
		h.Departed = h.Departed[:len(h.Departed)/2]
	}
}

var errSuperseded = errors.New("the store has a later status")

// storedRoles are the keys of roles as this manager wrote them last.
type storedRoles struct {
	status    *subjects.Status // whose lists they are
	parts     map[subjects.Role]int
	revisions map[string]uint64
	stale     []string // of roles or parts that are gone, to be deleted
}

// writeRoles stores the lists of s that have changed, and returns the head.
func (k *snapshotWriter) writeRoles(ctx context.Context, s *subjects.Status) (*splitHead, error) {
	if k.roles.parts == nil {
		k.roles.parts, k.roles.revisions = make(map[subjects.Role]int), make(map[string]uint64)
	}
	h := &splitHead{Status: *s, Split: s.RoleNames(), Parts: make(map[subjects.Role]int)}
	h.Roles = map[subjects.Role][]subjects.Member{}
	for _, role := range h.Split {
		if !k.roles.same(s, role) {
			messages := s.View(role).Messages()
			delete(k.roles.parts, role) // it is neither the old list nor the new one until all is written
			for i, b := range messages {
				if err := k.writeRole(ctx, subjects.RoleKey(role, i+1), b, s.Mark()); err != nil {
					return nil, err
				}
			}
			k.roles.parts[role] = len(messages)
		}
		if n := k.roles.parts[role]; n > 1 {
			h.Parts[role] = n
		}
	}
	k.roles.status = s
	return h, nil
}

// same reports whether the store has the list of role in s.
func (r *storedRoles) same(s *subjects.Status, role subjects.Role) bool {
	if r.status == nil || r.parts[role] == 0 || r.status.Lookup[role] != s.Lookup[role] {
		return false
	}
	return slices.EqualFunc(r.status.Roles[role], s.Roles[role], func(a, b subjects.Member) bool { return a.Equal(&b) })
}

// writeRole stores a part by compare-and-set, and only over an older one.
func (k *snapshotWriter) writeRole(ctx context.Context, key string, data []byte, mark subjects.Mark) error {
	revision, known := k.roles.revisions[key]
	if !known {
		e, err := k.bucket.Get(ctx, key)
		if err != nil {
			return err
		}
		if e != nil {
			if revision = e.Revision; e.Held && !mark.After(markOf(e.Value)) {
				return errSuperseded
			}
		}
	}
	revision, err := k.bucket.Replace(ctx, key, data, revision, 0)
	if err != nil {
		delete(k.roles.revisions, key)
		return fmt.Errorf("write %s: %w", key, err)
	}
	k.roles.revisions[key] = revision
	return nil
}

// markOf is the mark of a stored status, head or list; zero if it is none.
func markOf(value []byte) subjects.Mark {
	var have struct{ Epoch, Generation uint64 }
	if json.Unmarshal(value, &have) != nil {
		return subjects.Mark{}
	}
	return subjects.Mark{Epoch: have.Epoch, Generation: have.Generation}
}

// outdate notes the keys of the head that was stored before which the new one, nil
// if the status is in one key again, does not have.
func (k *snapshotWriter) outdate(before []byte, now *splitHead) {
	var old splitHead
	if json.Unmarshal(before, &old) != nil {
		return
	}
	var keep []string
	if now != nil {
		keep = now.keys()
	}
	for _, key := range old.keys() {
		if !slices.Contains(keep, key) && !slices.Contains(k.roles.stale, key) {
			k.roles.stale = append(k.roles.stale, key)
		}
	}
}

// deleteStale deletes the keys that no head names any more, unless a successor has
// written them.
func (k *snapshotWriter) deleteStale(ctx context.Context, mark subjects.Mark) error {
	for len(k.roles.stale) > 0 {
		key := k.roles.stale[0]
		e, err := k.bucket.Get(ctx, key)
		if err != nil {
			return err
		}
		if e != nil && e.Held && !markOf(e.Value).After(mark) {
			if err := k.bucket.Release(ctx, key, e.Revision); err != nil {
				return fmt.Errorf("delete %s: %w", key, err)
			}
		}
		delete(k.roles.revisions, key)
		k.roles.stale = k.roles.stale[1:]
	}
	return nil
}

// readStatus reads the status that was written last; nil if there is none. The
// lists of one that is split may be of a little later.
func readStatus(ctx context.Context, b *election.Bucket) (*subjects.Status, []byte, error) {
	e, err := b.Get(ctx, subjects.StatusKey)
	if err != nil || e == nil || !e.Held {
		return nil, nil, err
	}
	s, err := subjects.ParseStatus(e.Value)
	if err != nil {
		return nil, nil, err
	}
	var h splitHead
	if err := json.Unmarshal(e.Value, &h); err != nil || len(h.Split) == 0 {
		encoded, _ := subjects.SplitFull(e.Value)
		return s, encoded, err
	}
	s = s.Clone()
	for _, role := range h.Split {
		for part := range max(h.Parts[role], 1) {
			e, err := b.Get(ctx, subjects.RoleKey(role, part+1))
			if err != nil {
				return nil, nil, err
			}
			if e == nil || !e.Held {
				return nil, nil, fmt.Errorf("key %s is missing", subjects.RoleKey(role, part+1))
			}
			v, err := subjects.ParseRoleView(e.Value)
			if err != nil {
				return nil, nil, err
			}
			s.Roles[role] = append(s.Roles[role], v.Members...)
		}
	}
	return s, s.Encode(), s.Check()
}
