//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"thor/nodeagent/subscribers"
)

// Provisioning is dead. A node agent that is killed knows its subscribers again;
// one that lost its memory has them from their heirs. Real phones register.
func TestSubscribersOutliveARestart(t *testing.T) {
	need(t, "mariadbd", "mariadb-server")
	need(t, "kamailio", "kamailio")
	n := startNetwork(t, "127.97", "--nodes", "3", "--damping=false", "--restart-after", "300ms")
	c := n.soap(t)
	c.must(t, "Sip", "addDomain", "<domain><domain>"+sipDomain+"</domain></domain>")
	var mine []subscriber // of node1
	for i := 0; len(mine) < 8; i++ {
		s := subscriber{name: fmt.Sprintf("u%d", i), password: fmt.Sprintf("first-%d", i)}
		c.must(t, "Sip", "addAccount", account(s.name, sipDomain, "<password>"+s.password+"</password>"))
		if s.owner = n.home(t, s.key()); s.owner != "node1" {
			continue
		}
		s.password = fmt.Sprintf("second-%d", i)
		c.must(t, "Sip", "updateAccount", account(s.name, sipDomain, "<password>"+s.password+"</password>"))
		s.entry = "127.97.20.1"
		if len(mine)%2 == 1 {
			s.entry = "127.97.20.2"
		}
		mine = append(mine, s)
	}
	for _, s := range mine {
		eventually(t, 10*time.Second, "the new password is at the owner", func() bool {
			status, text, _ := n.ha1("node1", s.key())
			return status == http.StatusOK && text == digest(s.name, sipDomain, s.password)
		})
	}
	n.control(t, "stop", "provisioning1", "mariadb")
	for _, how := range []string{"killed", "killed again", "rebooted"} {
		before := n.pid(t, "node1")
		if how == "rebooted" { // as after the reboot of a machine, no supervisor has anything
			n.control(t, "stop", "node1")
			n.control(t, "start", "node1")
		} else {
			n.kill9(t, "node1")
			eventually(t, 10*time.Second, "the agent is started again", func() bool { return n.runsAnew(t, "node1", before) })
		}
		began := time.Now()
		eventually(t, 20*time.Second, "every node knows that it is back", func() bool {
			for i := 1; i <= 3; i++ {
				status, _, owner := n.ha1(fmt.Sprintf("node%d", i), mine[0].key())
				if i == 1 && status != http.StatusOK || i > 1 && (status != http.StatusMisdirectedRequest || owner != "node1") {
					return false
				}
			}
			return true
		})
		t.Logf("%s: serves its subscribers after %d ms", how, time.Since(began).Milliseconds())
		phone := newRegistrant(t, "127.97.40.1")
		for _, s := range mine {
			status, text, stale := n.header("node1", "/subscriber/"+s.key()+"/ha1", subscribers.HeaderStale)
			if status != http.StatusOK || text != digest(s.name, sipDomain, s.password) || stale != "1" {
				t.Errorf("%s: %s at its owner: %d, stale %q", how, s.name, status, stale)
			}
			if got := phone.register(t, s); got != "200" {
				t.Errorf("%s: %s registers through %s: %s", how, s.name, s.entry, got)
			}
			s.password = "wrong"
			if got := phone.register(t, s); got != "401" {
				t.Errorf("%s: %s with a wrong password: %s", how, s.name, got)
			}
		}
	}
	n.control(t, "start", "mariadb", "provisioning1")
	eventually(t, 60*time.Second, "provisioning is back, and what the node holds is current", func() bool {
		for _, s := range mine {
			if _, _, stale := n.header("node1", "/subscriber/"+s.key()+"/ha1", subscribers.HeaderStale); stale != "" {
				return false
			}
		}
		return true
	})
}
