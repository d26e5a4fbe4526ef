package broker_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker/brokertest"
	"thor/subjects"
)

// records stores n events as a manager does.
func records(t *testing.T, net *brokertest.Net, n int) {
	t.Helper()
	m := net.Brokers[0].Dial(append(net.Options("m1", subjects.Manager), nats.CustomInboxPrefix(subjects.JetStreamPrefix("m1")))...)
	for i := range n {
		r := subjects.Record{Boot: "b00t", Number: uint64(i + 1), Event: &subjects.Event{V: 1, Time: time.Now(), Kind: subjects.EventJoin, Node: "n1"}}
		for _, x := range r.Messages() {
			msg := &nats.Msg{Subject: x.Subject, Data: x.Data, Header: nats.Header{}}
			for k, v := range x.Header {
				msg.Header.Set(k, v)
			}
			ack, err := m.RequestMsg(msg, soon)
			if err != nil {
				t.Fatal(err)
			}
			var stored struct{ Stream string }
			if err := json.Unmarshal(ack.Data, &stored); err != nil || stored.Stream != subjects.HistoryStream {
				t.Fatalf("%s: %v", ack.Data, err)
			}
		}
	}
}

func TestOperatorsAndMonitorsReadTheHistoryInBatches(t *testing.T) {
	n := brokertest.Start(t)
	n.AwaitJetStream(1)
	records(t, n, 3)
	for _, role := range []subjects.Role{subjects.Operator, subjects.Monitor} {
		nc, _ := dialStrict(t, n, "x1", role)
		answers, err := nc.SubscribeSync(subjects.JetStreamPrefix("x1") + ".h")
		if err != nil {
			t.Fatal(err)
		}
		q := subjects.HistoryRequest{Seq: 1, Batch: 100, MaxBytes: subjects.MaxHistoryBytes}
		if err := nc.PublishRequest(subjects.HistoryGet, answers.Subject, q.Encode()); err != nil {
			t.Fatal(err)
		}
		var reader subjects.RecordReader
		for i := range 4 {
			m, err := answers.NextMsg(soon)
			if err != nil {
				t.Fatalf("%s: answer %d: %v", role, i, err)
			}
			if i == 3 {
				if m.Header.Get("Status") != "204" {
					t.Errorf("%s: the end is %v", role, m.Header)
				}
				break
			}
			r, err := reader.Add(m.Header.Get("Nats-Subject"), m.Header.Get, m.Data)
			if err != nil || r.Event == nil || r.Number != uint64(i+1) {
				t.Errorf("%s: record %d: %+v, %v", role, i, r, err)
			}
		}
	}
}

// JetStream sends all that is asked for at once, and holds it until it is read: a few
// words must not make it hold the whole history many times over.
func TestRequestsForTooMuchHistoryAreRefused(t *testing.T) {
	n := brokertest.Start(t)
	n.AwaitJetStream(1)
	records(t, n, 3)
	nc, v := dialStrict(t, n, "x1", subjects.Monitor)
	answers, err := nc.SubscribeSync(subjects.JetStreamPrefix("x1") + ".h")
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`{"seq":1,"batch":1000000000,"max_bytes":1099511627776}`, `{"seq":1,"batch":500}`, `{"seq":1,"batch":501,"max_bytes":1000}`,
		`{"seq":1,"batch":10,"max_bytes":524289}`, `{"multi_last":["thor.history.>"],"batch":10,"max_bytes":1000}`, `{}`, ``, `x`,
	} {
		if err := nc.PublishRequest(subjects.HistoryGet, answers.Subject, []byte(q)); err != nil {
			t.Fatal(err)
		}
	}
	v.settle(t, nc)
	if m, err := answers.NextMsg(200 * time.Millisecond); err == nil {
		t.Errorf("answered: %v %s", m.Header, m.Data)
	}
	if err := nc.PublishRequest(subjects.HistoryGet, answers.Subject, []byte(`{"seq":2}`)); err != nil {
		t.Fatal(err)
	}
	if m, err := answers.NextMsg(soon); err != nil || m.Header.Get("Nats-Sequence") != "2" {
		t.Errorf("one record: %v, %v", m, err)
	}
}

// What happened stays: no certificate removes it or adds to it but a manager's.
func TestHistoryIsWrittenByManagersAndRemovedByNone(t *testing.T) {
	n := brokertest.Start(t)
	n.AwaitJetStream(1)
	records(t, n, 1)
	for _, role := range []subjects.Role{subjects.Operator, subjects.Monitor, subjects.Manager, "sip_proxy"} {
		nc, v := dialStrict(t, n, "x1", role)
		attacks := []string{
			"$JS.API.STREAM.DELETE.THOR_HISTORY", "$JS.API.STREAM.PURGE.THOR_HISTORY", "$JS.API.STREAM.MSG.DELETE.THOR_HISTORY", "$JS.API.STREAM.UPDATE.THOR_HISTORY",
			"$JS.API.STREAM.CREATE.THOR_HISTORY", "$JS.API.STREAM.RESTORE.THOR_HISTORY", "$JS.API.CONSUMER.CREATE.THOR_HISTORY", "$JS.API.CONSUMER.CREATE.THOR_HISTORY.x.thor.history.event",
		}
		if role != subjects.Manager {
			attacks = append(attacks, subjects.HistoryEvent, subjects.HistoryDelta, subjects.HistoryStatus)
		}
		if role == subjects.Manager || role == "sip_proxy" {
			attacks = append(attacks, subjects.HistoryGet)
		}
		for _, s := range attacks {
			if err := nc.Publish(s, []byte("{}")); err != nil {
				t.Fatal(err)
			}
			v.settle(t, nc)
			if !v.refused("publish", s) {
				t.Errorf("%s may publish %s", role, s)
			}
		}
	}
	nc, _ := dialStrict(t, n, "x1", subjects.Operator)
	info, err := nc.Request("$JS.API.STREAM.INFO.THOR_HISTORY", nil, soon)
	if err != nil {
		t.Fatal(err)
	}
	var is struct {
		Config struct {
			Storage    string        `json:"storage"`
			MaxAge     time.Duration `json:"max_age"`
			MaxBytes   int64         `json:"max_bytes"`
			DenyDelete bool          `json:"deny_delete"`
			DenyPurge  bool          `json:"deny_purge"`
		} `json:"config"`
		State struct{ Messages int } `json:"state"`
	}
	if err := json.Unmarshal(info.Data, &is); err != nil {
		t.Fatal(err)
	}
	if c := is.Config; c.Storage != "file" || c.MaxAge != 7*24*time.Hour || c.MaxBytes != 256<<20 || !c.DenyDelete || !c.DenyPurge || is.State.Messages != 1 {
		t.Errorf("%s", info.Data)
	}
}

// Who reads on and on is cut off, and connects again: client libraries close for good
// at an error that they do not know.
func TestWhoIsCutOffConnectsAgain(t *testing.T) {
	n := brokertest.Start(t)
	ended := make(chan string, 4)
	nc := n.Brokers[0].Dial(append(n.Options("x1", subjects.Monitor),
		func(o *nats.Options) error { o.AllowReconnect = true; return nil }, nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectHandler(func(*nats.Conn) { ended <- "connected again" }), nats.ClosedHandler(func(*nats.Conn) { ended <- "closed for good" }))...)
	q := subjects.HistoryRequest{Seq: 1, Batch: 1, MaxBytes: 1000}
	for range 100 {
		if nc.PublishRequest(subjects.HistoryGet, subjects.JetStreamPrefix("x1")+".h", q.Encode()) != nil {
			break
		}
	}
	select {
	case is := <-ended:
		if is != "connected again" {
			t.Errorf("%s: %v", is, nc.LastError())
		}
	case <-time.After(soon):
		t.Error("it was not cut off")
	}
}
