package manager

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

const n1 = "thor.role.sip_proxy.n1"

// badMessages is one message of each kind that a hostile, broken or newer client
// can send, with the reason for which it is dropped.
var badMessages = []struct {
	name, subject, data string
	code                subjects.Code
}{
	{"empty", n1, "", subjects.CodeEmpty},
	{"not JSON", n1, "hello", subjects.CodeJSON},
	{"cut off", n1, good(1)[:40], subjects.CodeJSON},
	{"a list", n1, "[" + good(1) + "]", subjects.CodeJSON},
	{"null", n1, "null", subjects.CodeJSON},
	{"two objects", n1, good(1) + good(2), subjects.CodeJSON},
	{"NaN", n1, good(1, `"weight":NaN`), subjects.CodeJSON},
	{"a key twice", n1, good(1, `"node":"n1"`), subjects.CodeJSON},
	{"a key twice, inside", n1, good(1, `"attrs":{"a":1,"a":2}`), subjects.CodeJSON},
	{"lists in lists", n1, strings.Repeat("[", 4000), subjects.CodeJSON},
	{"objects in objects", n1, good(1, `"x":`+strings.Repeat(`{"a":`, 1000)+"1"+strings.Repeat("}", 1000)), subjects.CodeJSON},
	{"just too deep", n1, good(1, `"x":`+strings.Repeat("[", 16)+strings.Repeat("]", 16)), subjects.CodeJSON},
	{"not UTF-8", n1, good(1, "\"reason\":\"\xff\xfe\""), subjects.CodeUTF8},
	{"8 KiB and more", n1, good(1, `"x":"`+strings.Repeat("y", 8<<10)+`"`), subjects.CodeTooLarge},
	{"64 KiB and more", n1, good(1, `"x":"`+strings.Repeat("y", 70<<10)+`"`), subjects.CodeTooLarge},
	{"a number for a name", n1, `{"v":1,"node":7}`, subjects.CodeType},
	{"a word for a number", n1, good(1, `"weight":"much"`), subjects.CodeType},
	{"a fraction", n1, good(1, `"weight":1.5`), subjects.CodeType},
	{"a negative seq", n1, `{"v":1,"node":"n1","role":"sip_proxy","seq":-1,"addresses":["10.0.0.1"]}`, subjects.CodeType},
	{"a huge number", n1, good(1, `"priority":1e400`), subjects.CodeType},
	{"an integer above 2^64", n1, `{"v":1,"node":"n1","role":"sip_proxy","seq":99999999999999999999,"addresses":["10.0.0.1"]}`, subjects.CodeType},
	{"an attribute that is a list", n1, good(1, `"attrs":{"a":[1]}`), subjects.CodeType},
	{"a mark of three", n1, good(1, `"seen":[1,2,3]`), subjects.CodeType},
	{"no version", n1, `{"node":"n1"}`, subjects.CodeVersion},
	{"the next major version", n1, `{"v":2,"node":"n1","role":"sip_proxy","addresses":["10.0.0.1"]}`, subjects.CodeVersion},
	{"a wildcard for a node", n1, `{"v":1,"node":"*","role":"sip_proxy","addresses":["10.0.0.1"]}`, subjects.CodeName},
	{"$ in a role", n1, `{"v":1,"node":"n1","role":"$JS","addresses":["10.0.0.1"]}`, subjects.CodeName},
	{"a role of two tokens", n1, `{"v":1,"node":"n1","role":"a.b","addresses":["10.0.0.1"]}`, subjects.CodeName},
	{"an unknown role of ours", "thor.role.thor_king.n1", `{"v":1,"node":"n1","role":"thor_king","addresses":["10.0.0.1"]}`, subjects.CodeName},
	{"the operators' role", "thor.role.thor_operator.n1", `{"v":1,"node":"n1","role":"thor_operator","addresses":["10.0.0.1"]}`, subjects.CodeName},
	{"a node named as a service", "thor.role.sip_proxy.proxy", `{"v":1,"node":"proxy","role":"sip_proxy","addresses":["10.0.0.1"]}`, subjects.CodeName},
	{"a subject without node", "thor.role.sip_proxy", good(1), subjects.CodeName},
	{"a subject with more", n1 + ".x", good(1), subjects.CodeName},
	{"another node", "thor.role.sip_proxy.n2", good(1), subjects.CodeForeign},
	{"another role", "thor.role.media_relay.n1", good(1), subjects.CodeForeign},
	{"no address", n1, `{"v":1,"node":"n1","role":"sip_proxy","addresses":[]}`, subjects.CodeAddress},
	{"address 0.0.0.0", n1, `{"v":1,"node":"n1","role":"sip_proxy","addresses":["0.0.0.0"]}`, subjects.CodeAddress},
	{"a multicast address", n1, `{"v":1,"node":"n1","role":"sip_proxy","addresses":["ff02::1"]}`, subjects.CodeAddress},
	{"IPv4 in IPv6", n1, `{"v":1,"node":"n1","role":"sip_proxy","addresses":["::ffff:10.0.0.1"]}`, subjects.CodeAddress},
	{"an address with a zone", n1, `{"v":1,"node":"n1","role":"sip_proxy","addresses":["fe80::1%eth0"]}`, subjects.CodeAddress},
	{"an address twice", n1, `{"v":1,"node":"n1","role":"sip_proxy","addresses":["10.0.0.1","10.0.0.1"]}`, subjects.CodeAddress},
	{"no address at all", n1, `{"v":1,"node":"n1","role":"sip_proxy","addresses":["localhost"]}`, subjects.CodeType},
	{"an unknown state", n1, good(1, `"state":"dancing"`), subjects.CodeState},
	{"a state that is the manager's to give", n1, good(1, `"state":"suspect"`), subjects.CodeState},
	{"a weight above its range", n1, good(1, `"weight":65536`), subjects.CodeRange},
	{"a seq above 2^53", n1, `{"v":1,"node":"n1","role":"sip_proxy","boot":"a","seq":9007199254740993,"addresses":["10.0.0.1"]}`, subjects.CodeRange},
	{"terminal escapes", n1, good(1, `"reason":"\u001b[2J\u001b]0;x\u0007"`), subjects.CodeText},
	{"a line break", n1, good(1, `"version":"1\n2"`), subjects.CodeText},
	{"text that runs backwards", n1, good(1, `"reason":"\u202egnorw"`), subjects.CodeText},
	{"a reason without end", n1, good(1, `"reason":"`+strings.Repeat("x", 300)+`"`), subjects.CodeText},
	{"escapes in an attribute's name", n1, good(1, `"attrs":{"\u001b[2J":1}`), subjects.CodeText},

	{"DISCONNECT, empty", subjects.Disconnect, "", subjects.CodeJSON},
	{"DISCONNECT, not JSON", subjects.Disconnect, "\x00", subjects.CodeJSON},
	{"DISCONNECT, wrong type", subjects.Disconnect, `{"client":{"id":"one"}}`, subjects.CodeJSON},
	{"DISCONNECT, too deep", subjects.Disconnect, strings.Repeat(`{"a":`, 20_000), subjects.CodeJSON},
	{"revoked, empty", subjects.RevokedNode, "", subjects.CodeEmpty},
	{"revoked, a wildcard", subjects.RevokedNode, `{"v":1,"node":"*","serial":"01"}`, subjects.CodeName},
	{"revoked, another version", subjects.RevokedNode, `{"v":3,"node":"n1"}`, subjects.CodeVersion},
	{"a broker of another's notice", "thor.broker.b1", `{"v":1,"broker":"b2","alone":true}`, subjects.CodeForeign},
}

func TestBadInputIsDroppedAndCounted(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		m.leads(1, 0, 1000)
		m.pass(2 * time.Second)
		before, status := m.rejected(), m.status() // nothing yet
		for _, c := range badMessages {
			m.take(&nats.Msg{Subject: c.subject, Data: []byte(c.data)}, time.Now())
			before[c.code]++
			if after := m.rejected(); !maps.Equal(after, before) {
				t.Errorf("%s: counted\n%v, want\n%v", c.name, after, before)
				before = after
			}
		}
		m.pass(2 * time.Second)
		if m.status() != status {
			t.Errorf("bad input changed the status to %s", m.status().Encoded)
		}
		if bytes.ContainsAny(m.log.Bytes(), "\x1b\x00") {
			t.Errorf("control characters in the log: %q", m.log)
		}
	})
}

// What a table refuses for the state that it is in.
func TestStaleInputIsDroppedAndCounted(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		m.vouch(t)
		take := func(data string) { m.take(&nats.Msg{Subject: n1, Data: []byte(data)}, time.Now()) }
		take(good(7))
		for i, data := range []string{
			good(7), good(6), good(0), `{"v":1,"node":"n1","role":"sip_proxy","addresses":["10.0.0.1"]}`,
		} {
			take(data)
			if got := m.rejected()[subjects.CodeReplay]; got != i+1 {
				t.Errorf("%s: counted %d times as %s", data, got, subjects.CodeReplay)
			}
		}
		if m.log.Len() != 0 {
			t.Errorf("replays, which are normal after a reconnect, are in the log: %s", m.log)
		}
	})
}

// A broker that is alone gives up its connection to n1, which may be at another one
// by now: n1 stays as it is. When it is not alone, its word is proof.
func TestWhatABrokerThatIsAloneGivesUpProvesNothing(t *testing.T) {
	for _, alone := range []bool{true, false} {
		inBubble(t, func(t *testing.T, m *lone) {
			m.vouch(t)
			m.leads(1, 0, 1000)
			take := func(subject, data string) { m.take(&nats.Msg{Subject: subject, Data: []byte(data)}, time.Now()) }
			for seq := 1; seq < 6; seq++ {
				take(n1, good(seq, `"via":"b1#7"`))
				m.pass(time.Second)
			}
			take("thor.broker.b1", fmt.Sprintf(`{"v":1,"broker":"b1","alone":%v}`, alone))
			take(subjects.Disconnect, `{"server":{"name":"b1"},"client":{"id":7,"user":"n1","name":"a"},"reason":"Stale Connection"}`)
			for seq := 1; seq < 4; seq++ { // another member is heard: this manager is not cut off itself
				m.pass(time.Second)
				take("thor.role.media_relay.n2", strings.NewReplacer(`"n1"`, `"n2"`, "sip_proxy", "media_relay").Replace(good(seq)))
			}
			if x := m.status().Status.Member(subjects.SIPProxy, "n1"); x == nil || (x.State == subjects.Up) != alone {
				t.Errorf("alone is %v: %+v", alone, x)
			}
		})
	}
}

// What a newer minor version adds, and what has no business in a beat, hurts not.
func TestStrangeButGoodInputIsTaken(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		m.vouch(t)
		flood := nats.Header{}
		for i := range 5000 {
			flood.Add(fmt.Sprintf("X-%d", i), strings.Repeat("y", 20))
		}
		flood.Set("Nats-Rollup", "all")
		nc := m.cfg.Overlay.Conn()
		sent := nc.Stats().OutMsgs
		for i, c := range []struct {
			name string
			msg  nats.Msg
		}{
			{"fields of a newer version", nats.Msg{Data: []byte(good(1, `"new":{"a":[1,{"b":null}]},"v2":true`))}},
			{"a flood of headers", nats.Msg{Data: []byte(good(2)), Header: flood}},
			{"a reply subject of JetStream", nats.Msg{Data: []byte(good(3)), Reply: "$JS.API.STREAM.DELETE.KV_thor_status"}},
			{"a reply subject of somebody else", nats.Msg{Data: []byte(good(4)), Reply: "_INBOX.m2.x"}},
			{"blanks", nats.Msg{Data: []byte(" \n" + good(5) + "\t ")}},
			{"characters of the world", nats.Msg{Data: []byte(good(6, `"reason":"prüfen 点検 🙂"`))}},
		} {
			c.msg.Subject = n1
			now := time.Now()
			m.take(&c.msg, now)
			if len(m.rejected()) != 0 {
				t.Fatalf("%s: rejected %v", c.name, m.rejected())
			}
			if i == 0 {
				m.step(now)
			}
		}
		// The same through the broker, which limits what headers may hold.
		c := m.broker.Dial("n1", subjects.SIPProxy)
		if err := c.PublishMsg(&nats.Msg{Subject: n1, Reply: "$JS.API.STREAM.DELETE.KV_thor_status", Header: flood, Data: []byte(good(9))}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		// Only its own announcements were sent meanwhile: nothing answers a beat.
		if n := nc.Stats().OutMsgs - sent; n > 3 {
			t.Errorf("%d messages sent", n)
		}
	})
}

func TestRequestsForTheSnapshotCannotMakeAManagerSpeakElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		m.leads(3, 0, 1000)
		nc := m.cfg.Overlay.Conn()
		synctest.Wait() // what it sends by itself at this moment
		sent := nc.Stats().OutMsgs
		for _, reply := range []string{"", "$JS.API.STREAM.DELETE.KV_thor_status", "thor.status", "thor.role.sip_proxy", "$KV.thor_election.manager"} {
			m.answer(&nats.Msg{Subject: subjects.StatusGet, Reply: reply, Data: []byte(`{"v":1}`)})
		}
		if n := nc.Stats().OutMsgs - sent; n != 0 {
			t.Fatalf("%d messages sent", n)
		}
		op := m.broker.Dial("op", subjects.Operator)
		for data, code := range map[string]subjects.ErrorCode{
			"":                                 "",
			`{"v":1,"at_least":[3,1]}`:         "",
			`{"v":1,"at_least":[3,999]}`:       subjects.ErrorBehind,
			`{"v":1,"at_least":[3,1e99]}`:      subjects.ErrorBad,
			"\x1b[2J":                          subjects.ErrorBad,
			strings.Repeat("x", 100<<10):       subjects.ErrorBad,
			`{"v":7}`:                          subjects.ErrorBad,
			`{"v":1,"at_least":[1,2],"new":0}`: "",
			`{"v":1,"roles":["sip_proxy"]}`:    "",
			`{"v":1,"roles":[""]}`:             subjects.ErrorBad,
		} {
			inbox := op.NewRespInbox()
			s, err := op.SubscribeSync(inbox)
			if err := errors.Join(err, op.Flush()); err != nil {
				t.Fatal(err)
			}
			m.answer(&nats.Msg{Subject: subjects.StatusGet, Reply: inbox, Data: []byte(data)})
			r, err := s.NextMsg(time.Second)
			if err != nil {
				t.Fatalf("%.40q: %v", data, err)
			}
			if got := subjects.ErrorCode(r.Header.Get(subjects.HeaderError)); got != code {
				t.Errorf("%.40q: answered %q %q", data, got, r.Data)
			}
		}
	})
}

// A status is packed once for all who ask for it.
func TestASnapshotIsPackedOnceForAllWhoAsk(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		m.leads(3, 0, 1000)
		first := m.status()
		if a, b := first.Chunks(&subjects.SnapshotRequest{}), first.Chunks(&subjects.SnapshotRequest{}); &a[0] != &b[0] || !bytes.Equal(a[0].Data, first.Encoded) {
			t.Error("packed twice, or something else")
		}
		m.vouch(t)
		m.take(&nats.Msg{Subject: n1, Data: []byte(good(1))}, time.Now())
		m.pass(time.Second)
		if second := m.status(); second == first || !bytes.Equal(second.Chunks(&subjects.SnapshotRequest{})[0].Data, second.Encoded) {
			t.Errorf("the next generation is answered with %s", second.Chunks(&subjects.SnapshotRequest{})[0].Data)
		}
	})
}

// Ten thousand bad messages a second cost one line a second, in the log and in
// the history.
func TestAFloodOfBadMessagesIsOneLineASecond(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		events := m.heard(subjects.Events)
		m.leads(1, 0, 1000)
		m.pass(time.Second)
		m.log.Reset()
		*events = nil
		for range 5 {
			for range 10_000 {
				m.take(&nats.Msg{Subject: n1, Data: []byte("\x1b]0;x")}, time.Now())
			}
			m.pass(time.Second)
		}
		if n := strings.Count(m.log.String(), "message dropped"); n > 6 || n < 5 {
			t.Errorf("%d lines", n)
		}
		if !strings.Contains(m.log.String(), `"more":9999`) {
			t.Errorf("the lines do not tell how many: %s", m.log)
		}
		if n := len(*events); n > 6 {
			t.Errorf("%d events", n)
		}
		if n := m.rejected()[subjects.CodeJSON]; n != 50_000 {
			t.Errorf("counted %d", n)
		}
	})
}

// What a broker cuts off is in the history.
func TestACutIsAnEvent(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		events := m.heard(subjects.Events)
		m.leads(3, 0, 1000)
		c := subjects.Cut{V: 1, Node: "n1", Reason: "too many announcements", Refused: 60}
		m.take(&nats.Msg{Subject: subjects.CutNode, Data: c.Encode()}, time.Now())
		m.pass(time.Second)
		es := parsed[subjects.Event](t, *events)
		if !slices.ContainsFunc(es, func(e subjects.Event) bool {
			return e.Kind == subjects.EventCut && e.Node == "n1" && strings.Contains(e.Detail, "60 s")
		}) {
			t.Errorf("events %+v", es)
		}
		m.take(&nats.Msg{Subject: subjects.CutNode, Data: []byte(`{"v":1,"node":"N 1"}`)}, time.Now())
		if len(m.rejected()) != 1 {
			t.Errorf("a name that is none: %v", m.rejected())
		}
	})
}

// A claim that waits from a manager's first step on has brokers asked now and
// then, and not as fast as the manager runs.
func TestAClaimOfTheFirstMomentIsNoStorm(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		m.take(&nats.Msg{Subject: n1, Data: []byte(good(1))}, time.Now())
		nc := m.cfg.Overlay.Conn()
		synctest.Wait()
		sent := nc.Stats().OutMsgs
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			m.step(time.Now())
		}
		if n := nc.Stats().OutMsgs - sent; n < 2 || n > 20 { // of a thousand steps; what it says as a member and asks of others is among them
			t.Errorf("sent %d messages in a second", n)
		}
	})
}
