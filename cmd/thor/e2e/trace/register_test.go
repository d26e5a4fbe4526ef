package trace_test

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"thor/cmd/thor/e2e/trace"
)

// op is an operation from one second to another.
func op(called, returned float64, o trace.Op) trace.Line {
	o.Client, o.Key, o.Called = "a", "lease", sec(called)
	return trace.Line{At: sec(returned), Op: &o}
}

func TestRegisters(t *testing.T) {
	stored := func(called, returned float64, expected, revision uint64) trace.Line {
		return op(called, returned, trace.Op{Expected: expected, Revision: revision, Result: trace.OK})
	}
	get := func(called, returned float64, revision uint64, value string) trace.Line {
		return op(called, returned, trace.Op{Get: true, Revision: revision, Value: value, Result: trace.OK})
	}
	for name, c := range map[string]struct {
		lines []trace.Line
		reads bool
		want  porcupine.CheckResult
	}{
		"one after the other":           {[]trace.Line{stored(1, 2, 0, 1), stored(3, 4, 1, 2)}, false, porcupine.Ok},
		"two replace the same revision": {[]trace.Line{stored(1, 2, 0, 1), stored(3, 4, 1, 2), stored(3, 4, 1, 3)}, false, porcupine.Illegal},
		"one replaces what was gone":    {[]trace.Line{stored(1, 2, 0, 1), stored(3, 4, 1, 2), stored(5, 6, 2, 3), stored(7, 8, 2, 4)}, false, porcupine.Illegal},
		"a stale read counts":           {[]trace.Line{stored(1, 2, 0, 1), stored(3, 4, 1, 2), get(5, 6, 1, "")}, true, porcupine.Illegal},
		"or not":                        {[]trace.Line{stored(1, 2, 0, 1), stored(3, 4, 1, 2), get(5, 6, 1, "")}, false, porcupine.Ok},
		"a read beside a write":         {[]trace.Line{stored(1, 2, 0, 1), stored(3, 6, 1, 2), get(4, 5, 1, "")}, true, porcupine.Ok},
		"a conflict proves nothing": {[]trace.Line{
			stored(1, 2, 0, 1), op(3, 4, trace.Op{Expected: 1, Value: "x", Result: trace.Conflict}), stored(5, 6, 1, 2),
		}, false, porcupine.Ok},
		"unless it was stored": {[]trace.Line{
			stored(1, 2, 0, 1), op(3, 4, trace.Op{Expected: 1, Value: "x", Result: trace.Conflict}), get(5, 6, 2, "x"), stored(7, 8, 1, 3),
		}, false, porcupine.Illegal},
		"an unknown write that is never seen": {[]trace.Line{
			stored(1, 2, 0, 1), op(3, 5, trace.Op{Expected: 1, Value: "x", Result: trace.Unknown}), stored(6, 7, 1, 2),
		}, false, porcupine.Ok},
		"an unknown write that is seen": {[]trace.Line{
			stored(1, 2, 0, 1), op(3, 5, trace.Op{Expected: 1, Value: "x", Result: trace.Unknown}), get(8, 9, 2, "x"), stored(10, 11, 2, 3),
		}, true, porcupine.Ok},
		"an unknown write that is seen, and lost": {[]trace.Line{
			stored(1, 2, 0, 1), op(3, 5, trace.Op{Expected: 1, Value: "x", Result: trace.Unknown}), get(8, 9, 2, "x"), stored(10, 11, 1, 3),
		}, false, porcupine.Illegal},
		"a value that expired":          {[]trace.Line{stored(1, 2, 0, 1), op(8, 9, trace.Op{Revision: 2, Expires: true, Result: trace.OK})}, false, porcupine.Ok},
		"a value that was lost":         {[]trace.Line{stored(1, 2, 0, 1), stored(8, 9, 0, 2)}, false, porcupine.Illegal},
		"a write that the trace missed": {[]trace.Line{stored(1, 2, 0, 1), stored(8, 9, 5, 6)}, false, porcupine.Ok},
	} {
		t.Run(name, func(t *testing.T) {
			rs := trace.CheckRegisters(c.lines, c.reads, 10*time.Second)
			if len(rs) != 1 || rs[0].Result != c.want {
				t.Errorf("%v, want %v", rs, c.want)
			}
		})
	}
}

func TestLivesOfABucketAreJudgedApart(t *testing.T) {
	lines := []trace.Line{
		op(1, 2, trace.Op{Bucket: 1, Expected: 0, Revision: 7, Result: trace.OK}),
		op(3, 4, trace.Op{Bucket: 2, Expected: 0, Revision: 1, Result: trace.OK}),
	}
	for _, r := range trace.CheckRegisters(lines, true, time.Second) {
		if r.Result != porcupine.Ok || r.Ops != 1 {
			t.Error(r)
		}
	}
}
