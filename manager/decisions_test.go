package manager_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"thor/broker/brokertest"
	"thor/subjects"
)

// An operator forgets a member that failed. A standby does not obey, and the loss
// does not come back when another manager leads.
func TestAnOperatorForgetsALostMember(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		m1 := candidate(t, b, "m1", "")
		time.Sleep(3 * time.Second)
		candidate(t, b, "m2", "")
		n1 := member(t, b, "n1", subjects.SIPProxy)
		member(t, b, "n2", subjects.SIPProxy)
		op := join(t, b, "op1", subjects.Operator)
		op.run(t)
		time.Sleep(20 * time.Second)
		ask := func(manager subjects.NodeID, verb string, data []byte) *subjects.Reply {
			t.Helper()
			r, err := op.node.Ask(t.Context(), subjects.RequestFrom("op1", manager, subjects.Manager, verb), data)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		forget := (&subjects.ForgetRequest{V: 1, Node: "n1"}).Encode()
		if r := ask("m1", subjects.VerbForget, forget); r.Code != subjects.ErrorFailed || !strings.Contains(r.Text, "is up as sip_proxy") {
			t.Errorf("of a member that is up: %+v", r)
		}
		n1.kill()
		lost := func() *subjects.Lost { return op.node.View().Status.FindLost(subjects.SIPProxy, "n1") }
		within(t, 30*time.Second, "n1 is lost", func() bool { return lost() != nil })
		if r := ask("m2", subjects.VerbForget, forget); r.Code != subjects.ErrorBehind {
			t.Errorf("of a standby: %+v", r)
		}
		r := ask("m1", subjects.VerbForget, forget)
		var done subjects.ForgetReply
		if err := json.Unmarshal(r.Data, &done); r.Code != "" || err != nil || len(done.Roles) != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		within(t, 3*time.Second, "n1 is forgotten", func() bool { return lost() == nil })
		if r := ask("m1", subjects.VerbConfirm, nil); r.Code != "" || string(r.Data) != `{"v":1,"members":0}` {
			t.Errorf("confirm: %+v", r)
		}
		if r := ask("m1", subjects.VerbHold, []byte(`{"v":7}`)); r.Code != subjects.ErrorBad {
			t.Errorf("a malformed hold: %+v", r)
		}
		m1.stop()
		within(t, 30*time.Second, "m2 leads", func() bool { return op.node.View().Status.Manager == "m2" })
		time.Sleep(20 * time.Second)
		if lost() != nil {
			t.Errorf("it is lost again: %+v", lost())
		}
	})
}
