package subscribers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"thor/nodeagent/subscribers"
	"thor/overlay/audit"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// audited collects what a proxy's audit log says.
func audited(t *testing.T, out *buffer) func(*subscribers.Config) {
	return func(cfg *subscribers.Config) {
		l, err := audit.Open(audit.Config{Stderr: out, Node: string(cfg.Overlay.ID())})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Audit = l
	}
}

// A node that lost its memory while provisioning is dead takes up the profiles of
// its subscribers from their heirs, and of no others.
func TestAfterARebootTheHeirAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		var log buffer
		prov, a, b := n.server("prov1"), n.proxy("p1"), n.proxy("p2", audited(t, &log))
		c := n.proxy("p3", audited(t, &log))
		n.settled([]*peer{prov, a, b, c}, "p1", "p2", "p3")
		mine, gone, others := a.keyOf("p1", "p2"), "", a.keyOf("p2", "p3")
		n.push(prov, mine, "digest", false)
		for i := range 200 {
			if k := fmt.Sprintf("gone%d@example.net", i); a.at(k).Owner() == "p1" {
				gone = k
				break
			}
		}
		n.push(prov, gone, "x", false)
		n.push(prov, gone, "", true)
		n.push(prov, others, "secret", false)
		prov.kill()
		a.kill()
		a = n.proxy("p1") // nothing was kept
		n.within(60*time.Second, "the node serves again", func() bool {
			for _, p := range []*peer{a, b, c} {
				l, _, err := p.node.Lookup("sip_proxy", mine)
				if err != nil || l.Owner() != "p1" || l.Heir() != "p2" {
					return false
				}
			}
			return true
		})
		n.within(5*time.Second, "the heir's profile is given, as what may be old", func() bool { return a.ha1(mine) == "digest?" })
		n.within(5*time.Second, "the heir's word that it is deleted is given", func() bool { return a.ha1(gone) == "404?" })
		if got := a.ha1("other@example.net"); got != "503" && got != "421" {
			t.Errorf("what no node holds: %s", got)
		}
		ask := func(p *peer, of subjects.NodeID, key string) *subjects.Reply {
			t.Helper()
			q := subscriber.Request{V: 1, Key: key}
			r, err := p.node.Ask(t.Context(), subjects.ProfileRequest(of, subjects.SIPProxy, p.name), q.Encode())
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		for _, x := range []struct {
			why string
			of  subjects.NodeID
			key string
		}{
			{"a key of the heir itself", "p2", others},
			{"the same of its heir", "p3", others},
			{"another spelling", "p2", strings.ToUpper(mine)},
			{"a node that is not the heir", "p3", mine},
		} {
			if r := ask(a, x.of, x.key); r.Code == "" || strings.Contains(string(r.Data), "ha1") {
				t.Errorf("%s: %+v", x.why, r)
			}
		}
		as := subjects.ProfileRequest("p2", subjects.SIPProxy, "p1")
		q := subscriber.Request{V: 1, Key: mine}
		if r, err := c.node.Ask(t.Context(), as, q.Encode()); err == nil {
			t.Errorf("one node asks as another: %+v", r)
		}
		refused := 0
		for range 1500 {
			if r := ask(a, "p2", mine); r.Code != "" {
				refused++
			}
		}
		if refused < 100 {
			t.Errorf("%d of 1,500 questions at once are refused", refused)
		}
		b.stop()
		c.stop()
		acts := make(map[string]int)
		for line := range bytes.Lines([]byte(log.String())) {
			var e struct{ Who, Act, Outcome string }
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			acts[e.Who+" "+e.Act+" "+e.Outcome]++
		}
		if acts["p1 profile ok"] == 0 || acts["p1 profile refused"] == 0 || strings.Contains(log.String(), "digest") {
			t.Errorf("audit: %v\n%.2000s", acts, log.String())
		}
	})
}

// What an earlier process held is given up for the heir's newer revision.
func TestTheHeirIsAskedAboutWhatWasKept(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		k := &keeper{t: t, held: make(map[string]*os.File)}
		prov, a, b := n.server("prov1"), n.proxy("p1", keeps(n, k)), n.proxy("p2")
		n.settled([]*peer{prov, a, b}, "p1", "p2")
		key := a.keyOf("p1", "p2")
		n.push(prov, key, "old", false)
		a.kill()
		n.settled([]*peer{prov, b}, "p2")
		n.push(prov, key, "new", false) // acknowledged by who owns it meanwhile
		prov.kill()
		a = n.proxy("p1", keeps(n, k))
		n.settled([]*peer{a, b}, "p1", "p2")
		n.within(10*time.Second, "the node serves again", func() bool { return a.at(key).Owner() == "p1" && b.at(key).Owner() == "p1" })
		if got := a.ha1(key); got != "new?" {
			t.Errorf("a change that was acknowledged meanwhile: %s", got)
		}
	})
}
