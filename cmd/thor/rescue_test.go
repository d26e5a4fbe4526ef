package main

import (
	"strings"
	"testing"

	"thor/subjects"
)

func TestWhomARescueDoesWithout(t *testing.T) {
	peer := func(n subjects.NodeID, heard bool) subjects.RescuePeer {
		return subjects.RescuePeer{Node: n, Heard: heard}
	}
	for _, c := range []struct {
		name string
		seen subjects.RescueReply
		dead string
		err  string
	}{
		{"two of three", subjects.RescueReply{Broker: "b1", Peers: []subjects.RescuePeer{peer("b2", false), peer("b3", false)}}, "b2, b3", ""},
		{"three of five", subjects.RescueReply{Broker: "b1", Peers: []subjects.RescuePeer{peer("b2", true), peer("b3", false), peer("b4", false), peer("b5", false)}}, "b3, b4, b5", ""},
		{"a leader", subjects.RescueReply{Broker: "b1", Leader: "b2", Peers: []subjects.RescuePeer{peer("b2", true), peer("b3", false)}}, "", "nothing is to be rescued"},
		{"a leader that has not found out", subjects.RescueReply{Broker: "b1", Leader: "b1", Peers: []subjects.RescuePeer{peer("b2", false), peer("b3", false)}}, "", "try again"},
		{"all are heard", subjects.RescueReply{Broker: "b1", Peers: []subjects.RescuePeer{peer("b2", true), peer("b3", true)}}, "", "hears all brokers"},
		{"a name is not known", subjects.RescueReply{Broker: "b1", Peers: []subjects.RescuePeer{peer("b2", false), peer("", false)}}, "", "name them"},
	} {
		err := led(&c.seen, false)
		var dead []subjects.NodeID
		if err == nil {
			dead, err = unheard(&c.seen)
		}
		if c.err == "" && (err != nil || words(dead) != c.dead) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %q, %v; want %q, %q", c.name, words(dead), err, c.dead, c.err)
		}
	}
	three := subjects.RescueReply{Broker: "b1", Leader: "b2", Peers: []subjects.RescuePeer{peer("b2", true), peer("b3", false)}}
	if err := led(&three, true); err != nil {
		t.Errorf("a broker that was stopped for good is named, JetStream leads: %v", err)
	}
	lost := subjects.RescueReply{Broker: "b1", Leader: "b1", Peers: []subjects.RescuePeer{peer("b2", false), peer("b3", false)}}
	if err := led(&lost, true); err == nil {
		t.Error("the leader has lost its majority, and is taken for one")
	}
}
