package broker_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/overlay/audit"
	"thor/subjects"
)

// written gets each entry of an audit log.
type written chan string

func (w written) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

func (w written) next(t *testing.T) string {
	t.Helper()
	select {
	case s := <-w:
		return s
	case <-time.After(soon):
		t.Fatal("no audit entry")
		return ""
	}
}

func TestRevocationListsAreAudited(t *testing.T) {
	n := brokertest.New(t)
	log := make(written, 16)
	file := filepath.Join(t.TempDir(), "crl.pem")
	n.Add("b1", func(c *broker.Config) { c.Audit, c.CRLFile = audit.To(log), file })
	operator := n.Dial("ops", subjects.Operator)
	n.Dial("n1", "sip_proxy")
	first := revoke(t, n, "n1")
	for range 2 { // known the second time, which is no act
		if r := publishList(t, operator, first); r.Code != "" {
			t.Fatalf("%s: %s", r.Code, r.Text)
		}
	}
	bad := bytes.Clone(first)
	bad[len(bad)-1] ^= 1
	publishList(t, operator, bad)
	n.Dial("n2", "sip_proxy")
	second := revoke(t, n, "n2")
	if err := os.WriteFile(file, second, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, wants := range [][]string{
		{`"who":"ops","act":"revoke"`, `number 2 with 1 revoked`, `"outcome":"ok"`},
		{`"who":"ops","act":"revoke"`, `"outcome":"refused","detail":"`},
		{`"who":"local"`, `number 3 with 2 revoked`, `"from":"` + file + `"`, `"outcome":"ok"`},
	} {
		got := log.next(t)
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("entry %d lacks %s: %s", i, want, got)
			}
		}
	}
	select {
	case more := <-log:
		t.Errorf("one more: %s", more)
	default:
	}
}

// The certificate of a host may be that of its broker and of its manager: what the
// manager is answered is no list for the broker.
func TestAnswersToOthersOfTheNodeAreNoLists(t *testing.T) {
	n := brokertest.New(t)
	log := make(written, 16)
	n.Add("b1", func(c *broker.Config) { c.Audit = audit.To(log) })
	answerer, asker, operator := n.Dial("m2", subjects.Manager), n.Dial("b1", subjects.Manager), n.Dial("o1", subjects.Operator)
	if _, err := answerer.Subscribe(subjects.StatusGet, func(m *nats.Msg) { _ = m.Respond([]byte("no list")) }); err != nil {
		t.Fatal(err)
	}
	flush(t, answerer)
	reply, err := subjects.NewAnswer("b1", subjects.StatusGet)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := asker.SubscribeSync(reply)
	if err != nil {
		t.Fatal(err)
	}
	if err := asker.PublishRequest(subjects.StatusGet, reply, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.NextMsg(soon); err != nil {
		t.Fatal(err)
	}
	if err := operator.Publish(subjects.PublishCRL("o1"), []byte("no list either")); err != nil {
		t.Fatal(err)
	}
	if e := log.next(t); !strings.Contains(e, `"who":"o1"`) {
		t.Errorf("first entry: %s", e)
	}
}
