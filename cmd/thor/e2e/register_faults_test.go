//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

// refusals: a wrong password, and names without an account, at owners and others.
func (p *proof) refusals(t *testing.T) {
	t.Helper()
	wrong := slices.Clone(p.sample)
	for i := range wrong {
		wrong[i].password = "wrong"
	}
	p.sipp.register(t, "a wrong password", wrong, "401", "401")
	var unknown []subscriber
	for i := range 12 {
		unknown = append(unknown, subscriber{name: fmt.Sprintf("nobody%d", i), password: "x", entry: address(fmt.Sprintf("node%d", i%3+1))})
	}
	p.sipp.register(t, "unknown names", unknown, "404", "")
	p.flowsOf(t, "refusals", 2*len(wrong)+len(unknown))
}

// changes of passwords, and deletions, count from the SOAP answer on.
func (p *proof) changes(t *testing.T) {
	t.Helper()
	const changed, deleted = 30, 6
	ph := newRegistrant(t, phonesAre)
	var took []time.Duration
	accepted := 0 // of the old password after the answer
	until := func(s subscriber, refused string) {
		began := time.Now()
		for {
			got := ph.register(t, s)
			if d := time.Since(began); got == refused {
				took = append(took, d)
				return
			} else if got != "200" || d > 5*time.Second {
				t.Fatalf("%s: %s after %s, want %s", s.name, got, d, refused)
			}
			accepted++
		}
	}
	report := func(what string) {
		slices.Sort(took)
		t.Logf("%s refused after the SOAP answer: n %d  median %.1f ms  p99 %.1f ms; accepted meanwhile %d times", what, len(took),
			ms(took[len(took)/2]), ms(took[(len(took)-1)*99/100]), accepted)
		if accepted > 0 {
			t.Errorf("%s accepted %d times after the SOAP answer", what, accepted)
		}
		if took[len(took)-1] > time.Second {
			t.Errorf("%s refused after %s", what, took[len(took)-1])
		}
		took, accepted = nil, 0
	}
	old := slices.Clone(p.sample[:changed])
	for i := range old {
		p.sample[i].password = fmt.Sprintf("newer-%d", i)
		p.soap.must(t, "Sip", "updateAccount", account(old[i].name, sipDomain, "<password>"+p.sample[i].password+"</password>"))
		until(old[i], "401")
	}
	report("old passwords")
	p.sipp.register(t, "old passwords", old, "401", "401")
	p.sipp.register(t, "new passwords", p.sample[:changed], "401", "200")
	gone := p.sample[changed : changed+deleted]
	for _, s := range gone {
		p.soap.must(t, "Sip", "deleteAccount", sipID(s.name, sipDomain))
		until(s, "404")
	}
	report("deleted accounts")
	p.sipp.register(t, "deleted accounts", gone, "404", "")
	p.sample = slices.Delete(p.sample, changed, changed+deleted)
	p.flowsOf(t, "changes", 6*changed)
}

// fault: without its database provisioning says so, in time.
func (p *proof) fault(t *testing.T) {
	t.Helper()
	began := time.Now()
	_, err := p.soap.call("Sip", "addAccount", account("late", sipDomain, "<password>x</password>"))
	took := time.Since(began)
	if err == nil || !strings.Contains(err.Error(), "<errorcode>4</errorcode>") || took > 5*time.Second {
		t.Errorf("addAccount without a database: %v after %s", err, took)
	}
	t.Logf("%6d ms  addAccount gets its fault", took.Milliseconds())
}

// heirs: node3 dies, while no server could tell the heirs of its subscribers.
func (p *proof) heirs(t *testing.T) {
	t.Helper()
	p.kill9(t, "node3")
	p.kill9(t, "node3-sip")
	eventually(t, 15*time.Second, "the dead node has left, every node and Kamailio knows", func() bool {
		if p.status().Member(subjects.SIPProxy, "node3") != nil {
			return false
		}
		for _, node := range []string{"node1", "node2"} {
			for _, s := range p.sample {
				if status, _ := p.onSocket(t, node, "/subscriber/"+s.key()+"/ha1"); status != 200 && status != 421 {
					t.Fatalf("%s at %s: %d", s.key(), node, status)
				} else if _, a := p.onSocket(t, node, "/subscriber/"+s.key()+"/ha1"); a == address("node3") {
					return false
				}
			}
		}
		return true
	})
	theirs := slices.DeleteFunc(slices.Clone(p.sample), func(s subscriber) bool { return s.owner != "node3" })
	for i := range theirs {
		theirs[i].entry = address(fmt.Sprintf("node%d", i%2+1))
	}
	p.sipp.register(t, "the dead node's, at their heirs, without a database", theirs, "401", "200")
	p.flowsOf(t, "at heirs", 2*len(theirs))
	p.ring(t, "at its heir")
}

// recover: the database and the node come back.
func (p *proof) recover(t *testing.T) {
	t.Helper()
	p.control(t, "start", "mariadb", "node3", "node3-sip")
	late := subscriber{name: "late", password: "x", entry: address("node1")}
	eventually(t, 30*time.Second, "an account can be added again", func() bool {
		_, err := p.soap.call("Sip", "addAccount", account(late.name, sipDomain, "<password>x</password>"))
		return err == nil
	})
	eventually(t, 30*time.Second, "the node is back", func() bool {
		m := p.status().Member(subjects.SIPProxy, "node3")
		if m == nil || m.State != subjects.Up {
			return false
		}
		for _, s := range p.sample { // the others may answer for it a little longer
			status, _ := p.onSocket(t, "node3", "/subscriber/"+s.key()+"/ha1")
			if s.owner == "node3" && status != http.StatusOK || status >= 500 {
				return false
			}
		}
		return true
	})
	p.messages(t, "at its heir, while its own node was dead") // which has not heard of it since
	p.sipp.register(t, "all, after everything is back", append(slices.Clone(p.sample), late), "401", "200")
	p.flowsOf(t, "after everything is back", 2*len(p.sample))
}
