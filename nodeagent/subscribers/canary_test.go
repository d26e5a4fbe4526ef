package subscribers_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"thor/overlay/subscriber"
	"thor/subjects"
)

func gathered(t *testing.T, r *prometheus.Registry) string {
	t.Helper()
	fs, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, f := range fs {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func metric(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	fs, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fs {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// What an operator may listen to, logs, metrics and the status never hold a
// digest, whatever happens to subscribers.
func TestNobodyElseEverSeesADigest(t *testing.T) {
	const canary = "c4na47"
	inBubble(t, func(t *testing.T, n *network) {
		var mu sync.Mutex
		var heard bytes.Buffer
		messages := 0
		op := n.b.Dial("ops", subjects.Operator)
		capture := func(m *nats.Msg) {
			mu.Lock()
			defer mu.Unlock()
			messages++
			fmt.Fprintf(&heard, "%s %s %v %s\n", m.Subject, m.Reply, m.Header, m.Data)
		}
		for _, s := range []string{"thor.>", "_INBOX.ops.>"} {
			if _, err := op.Subscribe(s, capture); err != nil {
				t.Fatal(err)
			}
		}
		if err := op.Flush(); err != nil {
			t.Fatal(err)
		}
		p1, ps := trio(n)
		for i := range 100 {
			k := fmt.Sprintf("user%d@example.net", i%25)
			p1.live.Push(n.store.change(k, fmt.Sprintf("%s%026d", canary, i), i%10 == 9))
		}
		n.within(5*time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
		seen := 0
		for i := range 25 {
			k := fmt.Sprintf("user%d@example.net", i)
			for _, p := range ps {
				if strings.HasPrefix(p.ha1(k), canary) {
					seen++
				}
			}
		}
		if seen < 20 {
			t.Fatalf("only %d profiles came through: no test of anything", seen)
		}
		ps["n4"] = n.proxy("n4")
		n.settled([]*peer{p1, ps["n1"], ps["n4"]}, "n1", "n2", "n3", "n4")
		ps["n1"].kill()
		n.store.setDown(true)
		p1.live.Push(n.store.change("user1@example.net", canary+"last", false))
		time.Sleep(10 * time.Second)
		n.store.setDown(false)
		// An operator that tries to get a profile gets none.
		ask := subscriber.Request{V: 1, Key: "user1@example.net"}
		for _, s := range []string{
			subjects.ProvisioningRequest("p1", subjects.VerbSubscriber, "sip_proxy", "n2"),
			subjects.ProvisioningRequest("p1", subjects.VerbSubscriber, "thor_operator", "ops"),
			"thor.node.p1.provisioning_server.subscriber", "thor.node.n2._.subscriber",
		} {
			_ = op.PublishRequest(s, "_INBOX.ops.x", ask.Encode())
		}
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if messages < 300 || !strings.Contains(heard.String(), "user1@example.net") {
			t.Fatalf("%d messages captured: no test of anything", messages)
		}
		places := map[string]string{"thor.>": heard.String(), "the log": n.log.String(), "the audit log": n.audit.String(), "the status": string(p1.node.View().Encoded)}
		for _, node := range []string{"n1", "n2", "n3", "n4"} {
			if want := fmt.Sprintf(`"who":%q,"act":"profile","what":"user`, node); !strings.Contains(n.audit.String(), want) {
				t.Errorf("the audit log lacks %s", want)
			}
		}
		for name, p := range ps {
			places["metrics of "+name] = gathered(t, p.metrics)
		}
		places["metrics of p1"] = gathered(t, p1.metrics)
		for where, text := range places {
			if text == "" {
				t.Errorf("%s is empty", where)
			}
			if i := strings.Index(text, canary); i >= 0 {
				t.Errorf("%s holds a digest: %s", where, text[max(0, i-200):min(len(text), i+50)])
			}
		}
	})
}
