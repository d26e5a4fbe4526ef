package media

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"thor/subjects"
)

// The wire form of docs/wire.md.
const wire = `{"v":1,"relays":[{"role":"media_relay","uptime":7,"sessions":2,"streams":4,"byte_rate":17200,"calls":[{"id":"a@b","from_tag":"f","created":1796077925,` +
	`"streams":[{"type":"audio","caller":{"local":"192.0.2.1:30000","remote":"198.51.100.7:4000","packets":50,"bytes":8600,"last":1796077926},` +
	`"callee":{"local":"192.0.2.1:30002","remote":"198.51.100.8:4000","packets":49,"bytes":8428,"last":1796077926}}]}],"more":true},` +
	`{"role":"media_relay","sessions":0,"streams":0,"byte_rate":0,"fault":"no answer"}]}`

func TestTheWireForm(t *testing.T) {
	r, err := ParseReport([]byte(wire))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(r.Encode()); got != wire {
		t.Errorf("encoded again\n%s\nwant\n%s", got, wire)
	}
	if c := r.Relays[0].Calls[0]; c.ID != "a@b" || c.Streams[0].Callee.Packets != 49 || r.Relays[1].Fault != "no answer" {
		t.Errorf("%+v", r)
	}
	for _, want := range []Request{{V: 1}, {V: 1, Calls: true}, {V: 1, CallID: strings.Repeat("x", maxCallID)}} {
		got, err := ParseRequest(want.Encode())
		if err != nil || *got != want {
			t.Errorf("%+v: %+v %v", want, got, err)
		}
	}
}

func TestBounds(t *testing.T) {
	report := func(r Report) []byte {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	most := Report{V: 1, Relays: make([]Relay, maxRelays)}
	most.Relays[0].Calls = make([]Call, MaxCalls)
	if _, err := ParseReport(report(most)); err != nil {
		t.Error("the most that is allowed:", err)
	}
	for name, b := range map[string][]byte{
		"relays":            report(Report{V: 1, Relays: make([]Relay, maxRelays+1)}),
		"calls":             report(Report{V: 1, Relays: []Relay{{Calls: make([]Call, MaxCalls+1)}}}),
		"negative sessions": report(Report{V: 1, Relays: []Relay{{Sessions: -1}}}),
		"version":           report(Report{V: 2}),
		"nothing":           nil,
		"size":              []byte(`{"v":1,"relays":[{"fault":"` + strings.Repeat("x", maxMessage) + `"}]}`),
	} {
		if r, err := ParseReport(b); err == nil || r != nil {
			t.Errorf("%s: %v %v", name, r, err)
		}
	}
	for name, q := range map[string]Request{"a long Call-ID": {V: 1, CallID: strings.Repeat("x", maxCallID+1)}, "version": {V: 2}} {
		if r, err := ParseRequest(q.Encode()); err == nil || r != nil {
			t.Errorf("%s: %v %v", name, r, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(wire))
	f.Add([]byte(`{"v":1,"call_id":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseReport(b); err == nil {
			again, err := ParseReport(r.Encode())
			if err == nil && !bytes.Equal(again.Encode(), r.Encode()) {
				t.Errorf("%+v became %+v", r, again)
			}
			if err != nil && len(r.Encode()) <= subjects.MaxView {
				t.Errorf("%+v is not read again: %v", r, err)
			}
		}
		if r, err := ParseRequest(b); err == nil {
			if again, err := ParseRequest(r.Encode()); err != nil || *again != *r {
				t.Errorf("%+v became %+v: %v", r, again, err)
			}
		}
	})
}
