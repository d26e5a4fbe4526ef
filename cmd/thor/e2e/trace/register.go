package trace

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// A Register is the judgement of I3 on one key during one life of its bucket.
type Register struct {
	Key    string
	Bucket int
	Ops    int // that were judged
	Result porcupine.CheckResult
}

func (r Register) String() string {
	return fmt.Sprintf("%s, life %d of the bucket: %d operations, %s", r.Key, r.Bucket, r.Ops, r.Result)
}

// CheckRegisters judges whether the operations on each key could have been done one
// after the other, each at some moment between its call and its return: I3. Direct
// reads are answered by any copy of a bucket and count only if reads is set: then a
// bucket that was cut in two is expected to fail.
func CheckRegisters(lines []Line, reads bool, within time.Duration) (out []Register) {
	type part struct {
		key    string
		bucket int
	}
	parts := make(map[part][]*Line)
	for i := range lines {
		if o := lines[i].Op; o != nil {
			k := part{o.Key, o.Bucket}
			parts[k] = append(parts[k], &lines[i])
		}
	}
	for k, ops := range parts {
		h := operations(ops, reads)
		out = append(out, Register{k.key, k.bucket, len(h), porcupine.CheckOperationsTimeout(register, h, within)})
	}
	slices.SortFunc(out, func(a, b Register) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Bucket, b.Bucket)) })
	return out
}

// unknownRevision is the state of a register before the first operation.
const unknownRevision = ^uint64(0)

// missed is the result of a write that the trace does not hold.
const missed = "missed"

// register is a value that is replaced by compare-and-set on its revision.
var register = porcupine.Model{
	Init: func() any { return unknownRevision },
	Step: func(state, input, output any) (bool, any) {
		now, op := state.(uint64), input.(*Op)
		switch {
		case output == missed:
			return true, op.Revision
		case op.Get:
			return now == unknownRevision || now == op.Revision, op.Revision
		default:
			return now == unknownRevision || now == op.Expected, op.Revision
		}
	},
}

// operations turns lines into a history. A write of unknown outcome that is never seen
// is left out, since it may as well not have happened; one that is seen was stored, at
// the latest when it was first seen. Without that rule the search has no end. A
// conflict counts as unknown: a leader that has lost its majority, or its office, refuses
// by what it holds, for a write that is never committed or while its successor stores.
// A revision that was replaced but whose write is not in the trace, such as the mark of
// an expired lease, was stored at some time before; and so it was with the end of one
// that expired without a trace.
func operations(lines []*Line, reads bool) (out []porcupine.Operation) {
	seen := sightings(lines)
	known := make(map[uint64]bool)
	for _, l := range lines {
		if l.Op.Result == OK && !l.Op.Get {
			known[l.Op.Revision] = true
		}
	}
	for _, s := range seen {
		known[s.revision] = true
	}
	first := lines[0].Op.Called
	for _, l := range lines {
		op, end := l.Op, l.At
		if op.Get && (!reads || op.Result != OK) {
			continue
		}
		if op.Result != OK {
			s, ok := seen[op.Value]
			if !ok {
				continue
			}
			stored := *op
			stored.Revision, stored.Result = s.revision, OK
			op, end = &stored, max(s.at, op.Called)
		}
		if before := op.Expected; op.Result == OK && !op.Get && !known[before] && (before > 0 || op.Expires) {
			known[before] = before > 0 // it may expire again and again
			out = append(out, porcupine.Operation{Input: &Op{Revision: before}, Call: int64(first), Output: missed, Return: int64(end)})
		}
		out = append(out, porcupine.Operation{Input: op, Call: int64(op.Called), Output: op.Result, Return: int64(end)})
	}
	return out
}

type sighting struct {
	at       Moment
	revision uint64
}

// sightings are the first reads of each value.
func sightings(lines []*Line) map[string]sighting {
	seen := make(map[string]sighting)
	for _, l := range lines {
		if o := l.Op; o.Get && o.Result == OK && o.Value != "" {
			if s, known := seen[o.Value]; !known || l.At < s.at {
				seen[o.Value] = sighting{l.At, o.Revision}
			}
		}
	}
	return seen
}
