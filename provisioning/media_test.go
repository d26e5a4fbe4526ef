package provisioning_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"thor/overlay/media"
	"thor/provisioning"
	"thor/provisioning/push"
	"thor/subjects"
)

// mediaCall decodes the JSON string that an operation answers into out, and returns the
// code of a fault.
func mediaCall(t *testing.T, cfg provisioning.Config, op, params, auth string, out any) string {
	t.Helper()
	s, err := provisioning.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("POST", "/Sip", strings.NewReader(strings.Replace(request(op, params), authBlock, auth, 1))))
	if m := regexp.MustCompile(`<errorcode>(\d+)</errorcode>`).FindStringSubmatch(w.Body.String()); m != nil {
		return m[1]
	}
	var body struct {
		Body struct {
			Any struct {
				Return string `xml:"return"`
			} `xml:",any"`
		} `xml:"Body"`
	}
	if err := xml.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(body.Body.Any.Return), out); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return ""
}

// relays are two that carry three calls, one that fails, one that cannot be asked and
// one whose node does not answer.
func relays() *nodes {
	now := time.Now().Unix()
	at := func(n int) subjects.Member {
		return subjects.Member{Node: "relay", Version: "1.0", Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})}}
	}
	stream := func(packets, last int64) []media.Stream {
		return []media.Stream{{
			Type:   "audio",
			Caller: media.Side{Local: "192.0.2.1:31000", Remote: "10.0.0.1:4000", Packets: packets, Bytes: 172 * packets, Last: last},
			Callee: media.Side{Local: "192.0.2.1:31002", Remote: "10.0.0.2:5000"},
		}}
	}
	return &nodes{media: []push.NodeMedia{
		{Member: at(1), Relays: []media.Relay{
			{Role: subjects.MediaRelay, Uptime: 60, Sessions: 2, Streams: 4, ByteRate: 1000, Calls: []media.Call{
				{ID: "a@x", FromTag: "ft", ToTag: "tt", Created: now - 50, Streams: stream(7, now-1)},
				{ID: "b@x", FromTag: "f2", ToTag: "t2", Created: now - 500, Streams: stream(9, now-400)},
			}},
			{Role: subjects.MediaRelay, Fault: "does not answer"},
		}},
		{Member: at(2), Relays: []media.Relay{{Role: subjects.MediaRelay, Sessions: 1, Calls: []media.Call{{ID: "c@x", Created: now}}}}},
		{Member: at(3)},
		{Member: at(4), Err: errors.New("no responders")},
	}}
}

func TestMediaSummaryHasALineForEachRelay(t *testing.T) {
	cfg := config(t, unusedStore(t))
	cfg.Nodes = relays()
	var got []map[string]any
	if code := mediaCall(t, cfg, "getMediaSummary", "", authBlock, &got); code != "" || len(got) != 5 {
		t.Fatalf("%s %v", code, got)
	}
	first := got[0]
	if first["ip"] != "192.0.2.1" || first["uptime"] != 60.0 || first["bps_relayed"] != 8000.0 || first["session_count"] != 2.0 || first["status"] != "ok" || at(first, "stream_count", "all") != 4.0 {
		t.Errorf("%v", first)
	}
	for i, want := range []string{"ok", "does not answer", "ok", "the relay cannot be asked", "the node does not answer"} {
		if got[i]["status"] != want {
			t.Errorf("%d: %v, want %s", i, got[i]["status"], want)
		}
	}
}

func TestMediaSessionsAreThoseOfAllRelays(t *testing.T) {
	cfg := config(t, unusedStore(t))
	n := relays()
	cfg.Nodes = n
	var got []map[string]any
	if code := mediaCall(t, cfg, "getMediaSessions", "", authBlock, &got); code != "" || len(got) != 3 || !n.request.Calls {
		t.Fatalf("%s %v", code, got)
	}
	s := got[0]["streams"].([]any)[0].(map[string]any)
	if got[0]["call_id"] != "a@x" || got[0]["duration"].(float64) < 50 || s["status"] != "active" || s["caller_bytes"] != 7.0*172 || s["caller_local"] != "192.0.2.1:31000" || s["callee_remote"] != "10.0.0.2:5000" || s["end_time"] != 49.0 {
		t.Errorf("%v", got[0])
	}
	if s := got[1]["streams"].([]any)[0].(map[string]any); s["status"] != "idle" {
		t.Errorf("a stream without packets for minutes: %v", s)
	}
	if s, ok := got[2]["streams"].([]any); !ok || len(s) != 0 {
		t.Errorf("without streams: %v", got[2])
	}
}

func TestMediaTraceIsOfTheCallThatIsUp(t *testing.T) {
	cfg := config(t, unusedStore(t))
	n := relays()
	cfg.Nodes = n
	filter := func(ip, id, from, to string) string {
		return "<filter><nodeIp>" + ip + "</nodeIp><callId>" + id + "</callId><fromTag>" + from + "</fromTag><toTag>" + to + "</toTag></filter>"
	}
	for _, c := range []struct{ ip, id, from, to, code string }{
		{"192.0.2.1", "a@x", "ft", "tt", ""},
		{"192.0.2.1", "a@x", "ft", "", ""},
		{"192.0.2.1", "a@x", "tt", "ft", ""},
		{"203.0.113.1", "a@x", "ft", "tt", ""}, // a proxy's address
		{"192.0.2.2", "a@x", "ft", "tt", "1060"},
		{"192.0.2.1", "a@x", "other", "tt", "1060"},
		{"192.0.2.1", "ended@x", "ft", "tt", "1060"},
		{"192.0.2.1", "", "ft", "tt", "3"},
	} {
		var got map[string]any
		code := mediaCall(t, cfg, "getMediaTrace", filter(c.ip, c.id, c.from, c.to), authBlock, &got)
		if code != c.code || code == "" && (got["call_id"] != "a@x" || len(got["streams"].([]any)) != 1) {
			t.Errorf("%+v: code %q, %v", c, code, got)
		}
		if c.code == "" && n.request.CallID != c.id {
			t.Errorf("asked for %+v", n.request)
		}
	}
}

// A session does not say whose it is.
func TestMediaIsForAdministrators(t *testing.T) {
	cfg := config(t, populated(t))
	n := relays()
	cfg.Nodes = n
	for op, params := range map[string]string{"getMediaSummary": "", "getMediaSessions": "", "getMediaTrace": "<filter><callId>a@x</callId></filter>"} {
		var got any
		if code := mediaCall(t, cfg, op, params, customerAuth, &got); code != "2" || n.request != (media.Request{}) {
			t.Errorf("%s: code %q, %v", op, code, got)
		}
	}
	cfg.Nodes = &nodes{err: errors.New("not connected")}
	var got any
	if code := mediaCall(t, cfg, "getMediaSessions", "", authBlock, &got); code != "4" {
		t.Errorf("without a network: code %q", code)
	}
}
