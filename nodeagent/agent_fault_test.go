package nodeagent

import (
	"testing"
	"testing/synctest"
	"time"

	"thor/subjects"
)

// What the agent itself lacks is a failed check of all its roles, and mends.
func TestAFaultOfTheAgentIsAFailedCheckOfEveryRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		a := agentWith(t, n, CheckConfig{}, []*fakeProbe{{}}, []*fakeProbe{})
		a.Fault("http", "local http: address already in use")
		time.AfterFunc(5*time.Second, func() { a.Fault("lines", "local lines: address already in use") })
		time.AfterFunc(6*time.Second, func() { a.Fault("http", "") })
		time.AfterFunc(7*time.Second, func() { a.Fault("lines", "local lines: address already in use") })
		time.AfterFunc(8*time.Second, func() { a.Fault("lines", "") })
		time.AfterFunc(9*time.Second, func() {
			for _, s := range a.Status() {
				if s.State != subjects.Up || s.Reason != "" {
					t.Errorf("after it mended: %+v", s)
				}
			}
		})
		runFor(t, a, 10*time.Second)
		seen := make(map[string]int)
		for _, line := range n.Lines() {
			seen[line]++
		}
		for _, at := range []struct{ when, what string }{
			{"0s", "down: local http: address already in use"},
			{"6s", "down: local lines: address already in use"},
			{"8s", "up"},
			{"10s", "leave"},
		} {
			for _, role := range []string{"sip_proxy", "media_relay"} {
				if seen[at.when+" "+role+" "+at.what] != 1 {
					t.Errorf("%s %s is not announced %s once", at.when, role, at.what)
				}
			}
		}
		if said := n.Lines(); len(said) != 8 {
			t.Errorf("%q", said)
		}
	})
}
