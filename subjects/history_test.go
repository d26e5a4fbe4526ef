package subjects_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

// send takes r over the wire.
func send(t *testing.T, x *subjects.RecordReader, r *subjects.Record) *subjects.Record {
	t.Helper()
	var got *subjects.Record
	for _, m := range r.Messages() {
		if got != nil {
			t.Fatal("the record is whole before its last message")
		}
		var err error
		got, err = x.Add(m.Subject, func(k string) string { return m.Header[k] }, m.Data)
		if err != nil {
			t.Fatal(err)
		}
	}
	if got == nil {
		t.Fatal("the record is not whole")
	}
	return got
}

// bigStatus does not compress well.
func bigStatus(members int) *subjects.Status {
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 3, Generation: 17, Manager: "m1", Roles: map[subjects.Role][]subjects.Member{}}
	addr := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	for i := range members {
		s.Put("sip_proxy", subjects.Member{
			Node: subjects.NodeID(fmt.Sprintf("n%05d", i)), State: subjects.Up, Weight: 100, Addresses: addr,
			Attrs: subjects.Attrs{"x": subjects.Digest(fmt.Append(nil, i))},
		})
	}
	s.ClearLosses()
	return s
}

func TestRecordsArriveAsTheyWere(t *testing.T) {
	at := time.Date(2026, 11, 30, 1, 2, 3, 4_567_000, time.UTC)
	empty := &subjects.Status{V: 1, Domain: "example.net", Epoch: 3, Generation: 16}
	var x subjects.RecordReader
	for _, members := range []int{1, 100, 15_000} {
		s := bigStatus(members)
		r := &subjects.Record{Boot: "b00t", Number: 7, Status: s, At: at}
		got := send(t, &x, r)
		if !bytes.Equal(got.Status.EncodeFull(got.Status.Encode()), s.EncodeFull(s.Encode())) || !got.At.Equal(at) || got.Number != 7 || got.Parts != len(r.Messages()) {
			t.Errorf("status of %d: number %d, %d parts, at %s", members, got.Number, got.Parts, got.At)
		}
		d := send(t, &x, &subjects.Record{Boot: "b00t", Number: 20, Delta: subjects.Diff(empty, s)})
		if next, _, ok := empty.Apply(d.Delta); !ok || !bytes.Equal(next.Encode(), s.Encode()) {
			t.Errorf("the delta to %d members does not lead to their status", members)
		}
	}
	if n := len((&subjects.Record{Boot: "b", Number: 1, Status: bigStatus(15_000)}).Messages()); n < 2 {
		t.Errorf("%d message: no record was in parts", n)
	}
	e := &subjects.Event{V: 1, Time: at, Kind: subjects.EventGap, Missing: 3, Since: at.Add(-time.Minute)}
	if got := send(t, &x, &subjects.Record{Boot: "b00t", Number: 1, Event: e}).Event; *got != *e {
		t.Errorf("%+v, want %+v", got, e)
	}
}

// A manager that did not hear that its record was stored begins anew, and another
// one may write meanwhile.
func TestRecordInPartsMayBeginAnew(t *testing.T) {
	var x subjects.RecordReader
	r := &subjects.Record{Boot: "b00t", Number: 7, Status: bigStatus(15_000)}
	first := r.Messages()[0]
	for range 2 {
		if got, err := x.Add(first.Subject, func(k string) string { return first.Header[k] }, first.Data); got != nil || err != nil {
			t.Fatal(got, err)
		}
		send(t, &x, &subjects.Record{Boot: "other", Number: 9, Status: bigStatus(15_000)})
	}
	send(t, &x, r)
}

func TestRecordsThatAreNone(t *testing.T) {
	id := map[string]string{"Nats-Msg-Id": "b/1"}
	for _, c := range []struct {
		subject string
		header  map[string]string
		data    string
	}{
		{subjects.HistoryEvent, nil, `{"v":1}`},
		{subjects.HistoryEvent, map[string]string{"Nats-Msg-Id": "b/0"}, `{"v":1}`},
		{subjects.HistoryEvent, id, `{"v":2}`},
		{subjects.HistoryDelta, id, `{"v":1,"changes":[{"op":"join"}]}`},
		{subjects.HistoryStatus, id, `{"v":1,"domain":"d"}`}, // without its time
		{"thor.history.other", id, `{"v":1}`},
		{subjects.HistoryStatus, map[string]string{"Nats-Msg-Id": "b/1", "Thor-Chunk": "2/1"}, "x"},
	} {
		var x subjects.RecordReader
		r, err := x.Add(c.subject, func(k string) string { return c.header[k] }, []byte(c.data))
		if err == nil || subjects.CodeOf(err) == "" {
			t.Errorf("%s %v %s: %v, %v", c.subject, c.header, c.data, r, err)
		}
	}
}

func TestEventNamesItsKindForOlderReadersToo(t *testing.T) {
	for _, b := range []string{`{"v":1,"event":"join"}`, `{"v":1,"kind":"join"}`, `{"v":1,"kind":"join","event":"other"}`} {
		if e, err := subjects.ParseEvent([]byte(b)); err != nil || e.Kind != subjects.EventJoin {
			t.Errorf("%s: %v, %v", b, e, err)
		}
	}
	b := string((&subjects.Event{V: 1, Kind: subjects.EventJoin}).Encode())
	if !strings.Contains(b, `"kind":"join"`) || !strings.Contains(b, `"event":"join"`) {
		t.Error(b)
	}
}

// TestEventKindsAreListed compares the list with the constants.
func TestEventKindsAreListed(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "manager.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(f, func(x ast.Node) bool {
		v, ok := x.(*ast.ValueSpec)
		if !ok || len(v.Names) != 1 || !strings.HasPrefix(v.Names[0].Name, "Event") {
			return true
		}
		lit, ok := v.Values[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		n++
		if !slices.Contains(subjects.EventKinds(), subjects.EventKind(strings.Trim(lit.Value, `"`))) {
			t.Errorf("%s is not in EventKinds", v.Names[0].Name)
		}
		return true
	})
	if all := subjects.EventKinds(); n != len(all) || len(all) != len(slices.Compact(slices.Sorted(slices.Values(all)))) {
		t.Errorf("%d constants, EventKinds are %v", n, all)
	}
}

// Times that RFC 3339 has no form for come from operators, and end no process.
func TestAnyTimeCanBeAskedFor(t *testing.T) {
	epoch, offset := time.Unix(0, 0), time.FixedZone("", 24*3600)
	for _, c := range []struct{ start, want time.Time }{
		{time.Date(2026, 11, 30, 0, 0, 0, 0, offset), time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)},
		{time.Date(-1, 12, 31, 23, 50, 0, 0, time.UTC), epoch},
		{time.Time{}, epoch},
	} {
		q := subjects.HistoryRequest{Start: &c.start, Batch: 1, MaxBytes: 1}
		got, err := subjects.ParseHistoryRequest(q.Encode())
		if err != nil || !got.Start.Equal(c.want) {
			t.Errorf("%v: %v %v, want %s", c.start, got, err, c.want)
		}
	}
}
