package membership_test

import (
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// What makes an observer miss messages without end, such as a flood, does not
// hold back a removal that a broker's word has proven.
func TestMissedMessagesDelayAProvenRemovalOnce(t *testing.T) {
	table := membership.New(membership.Config{})
	say := func(node subjects.NodeID, seq uint64, at time.Duration) {
		a := &subjects.Announcement{V: 1, Node: node, Role: "sip_proxy", Boot: "a", Seq: seq, Via: "b1#" + string(node), Addresses: addresses("10.0.0.1")}
		if err := table.Announce(a, t0.Add(at)); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Duration(0)
	for seq := uint64(1); at < 5*time.Second; at += time.Second {
		say("n1", seq, at)
		say("n2", seq, at)
		table.Advance(t0.Add(at))
		seq++
	}
	table.Disconnect(membership.Disconnect{Node: "n1", Boot: "a", Via: "b1#n1", Reason: "Client Closed"}, t0.Add(at))
	closed := at
	for seq := uint64(100); fill(t, table).Member("sip_proxy", "n1") != nil; seq++ {
		if at += 20 * time.Millisecond; at-closed > 2700*time.Millisecond {
			t.Fatal("it is still there after 2.7 s")
		}
		say("n2", seq, at)
		table.Missed(t0.Add(at))
		table.Advance(t0.Add(at))
	}
	if at-closed < 2500*time.Millisecond { // a beat is a second apart, and may take the second way only
		t.Errorf("gone after %v: what was missed may have shown that it lives", at-closed)
	}
}
