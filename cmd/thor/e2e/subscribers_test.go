//go:build e2e

package e2e_test

import (
	"crypto/md5"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"thor/nodeagent/subscribers"
)

// ha1 asks a node agent, as a program of its machine would.
func (n *network) ha1(node, key string) (status int, text, owner string) {
	return n.header(node, "/subscriber/"+key+"/ha1", subscribers.HeaderOwner)
}

func digest(user, domain, password string) string {
	return fmt.Sprintf("%x", md5.Sum([]byte(user+":"+domain+":"+password)))
}

// home is the node that serves key.
func (n *network) home(t *testing.T, key string) (node string) {
	t.Helper()
	eventually(t, 10*time.Second, "some node serves "+key, func() bool {
		for i := 1; i <= 3; i++ {
			node = fmt.Sprintf("node%d", i)
			if status, _, _ := n.ha1(node, key); status == http.StatusOK || status == http.StatusNotFound {
				return true
			}
		}
		return false
	})
	return node
}

// What a SOAP client changes is at the subscriber's node before the answer, and
// survives the death of node and server in between.
func TestChangesReachTheSubscribersNode(t *testing.T) {
	need(t, "mariadbd", "mariadb-server")
	n := startNetwork(t, "127.95", "--nodes", "3")
	c := n.soap(t)
	c.must(t, "Sip", "addDomain", "<domain><domain>example.com</domain></domain>")
	var took []time.Duration
	late := 0 // reads after the answer that gave what was before
	nodes := make(map[string]string)
	for i := range 200 {
		user := fmt.Sprintf("user%d", i%20)
		op, password := "updateAccount", fmt.Sprintf("secret%d", i)
		key := user + "@example.com"
		if i < 20 {
			op = "addAccount"
			nodes[key] = n.home(t, key)
		}
		node := nodes[key]
		c.must(t, "Sip", op, account(user, "example.com", "<password>"+password+"</password>"))
		answered := time.Now()
		tick := time.NewTicker(time.Millisecond) // asking all the time would slow down who is to be quick
		for want := digest(user, "example.com", password); ; <-tick.C {
			status, text, _ := n.ha1(node, key)
			if status == http.StatusOK && text == want {
				break
			}
			if late++; time.Since(answered) > 10*time.Second {
				t.Fatalf("%s at %s: %d %.6s…", key, node, status, text)
			}
		}
		took = append(took, time.Since(answered))
		tick.Stop()
	}
	slices.Sort(took)
	t.Logf("from the SOAP answer until a read on the socket gives it: p50 %v, p99 %v, max %v, n=%d", took[99], took[197], took[199], len(took))
	if late > 0 {
		t.Errorf("%d reads gave what was before a change that was answered", late)
	}
	n.survive(t, c)
}

// survive kills the owner, and then the server, around a change.
func (n *network) survive(t *testing.T, c *soapClient) {
	t.Helper()
	const key = "user7@example.com"
	node := n.home(t, key)
	n.kill9(t, node)
	c.must(t, "Sip", "updateAccount", account("user7", "example.com", "<password>meanwhile</password>"))
	want := digest("user7", "example.com", "meanwhile")
	eventually(t, 15*time.Second, "the next node gives the new password", func() bool {
		for i := 1; i <= 3; i++ {
			if status, text, _ := n.ha1(fmt.Sprintf("node%d", i), key); status == http.StatusOK {
				return text == want
			}
		}
		return false
	})
	n.control(t, "start", node)
	eventually(t, 20*time.Second, "the owner is back and gives it", func() bool {
		status, text, _ := n.ha1(node, key)
		return status == http.StatusOK && text == want
	})
	c.must(t, "Sip", "updateAccount", account("user7", "example.com", "<password>last</password>"))
	n.kill9(t, "provisioning1") // perhaps before it told anybody
	eventually(t, 5*time.Second, "the server has ended", func() bool { return !n.runs(t, "provisioning1") })
	n.control(t, "start", "provisioning1")
	eventually(t, 30*time.Second, "the change made right before the server's death arrives", func() bool {
		status, text, _ := n.ha1(node, key)
		return status == http.StatusOK && text == digest("user7", "example.com", "last")
	})
}
