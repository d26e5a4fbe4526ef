package subscribers_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"thor/nodeagent/subscribers"
	"thor/overlay"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// trio is a network of three proxies and a provisioning server.
func trio(n *network) (p1 *peer, proxies map[string]*peer) {
	p1 = n.server("p1")
	proxies = make(map[string]*peer)
	all := []*peer{p1}
	for _, name := range []string{"n1", "n2", "n3"} {
		proxies[name] = n.proxy(name)
		all = append(all, proxies[name])
	}
	n.settled(all, "n1", "n2", "n3")
	return p1, proxies
}

func TestAPushIsVisibleAtTheOwnerAndHeldByTheHeir(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		k := p1.keyOf("n1", "n2")
		p1.live.Push(n.store.change(k, "first", false))
		n.within(20*time.Millisecond, "the push is acknowledged", func() bool { return n.store.waiting() == 0 })
		if got := ps["n1"].ha1(k); got != "first" {
			t.Errorf("the owner says %s", got)
		}
		if reads := n.store.readsOf(k); reads != 2 { // owner and heir
			t.Errorf("%d reads of the database", reads)
		}
		for _, other := range []string{"n2", "n3"} {
			w := ps[other].get("/subscriber/" + k)
			if w.Code != 421 || w.Header().Get(subscribers.HeaderOwner) != "n1" {
				t.Errorf("%s says %d %s", other, w.Code, w.Body)
			}
		}
		p1.live.Push(n.store.change(k, "", true))
		n.within(20*time.Millisecond, "the deletion is acknowledged", func() bool { return n.store.waiting() == 0 })
		if got := ps["n1"].ha1(k); got != "404" {
			t.Errorf("the owner says %s of what is deleted", got)
		}
		p1.live.Push(n.store.change(k, "again", false))
		n.within(20*time.Millisecond, "it is back", func() bool { return n.store.waiting() == 0 })
		if got := ps["n1"].ha1(k); got != "again" {
			t.Errorf("the owner says %s", got)
		}
		n.store.setDown(true) // the heir has it already
		ps["n1"].kill()
		n.settled([]*peer{p1, ps["n2"], ps["n3"]}, "n2", "n3")
		if got := ps["n2"].ha1(k); got != "again" {
			t.Errorf("the heir says %s once it is the owner", got)
		}
	})
}

func TestMissesAreReadThroughAndUnknownNamesRemembered(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		k, none := p1.keyOf("n1", "n2"), "a"
		n.store.change(k, "x", false) // and nobody pushes
		for p1.at(none+"@example.net").Owner() != "n1" {
			none += "a"
		}
		none += "@example.net"
		done := make(chan string, 20)
		for range 20 {
			go func() { done <- ps["n1"].ha1(k) }()
		}
		for range 20 {
			if got := <-done; got != "x" {
				t.Errorf("read %s", got)
			}
		}
		for range 20 {
			if got := ps["n1"].ha1(none); got != "404" {
				t.Errorf("an unknown name is %s", got)
			}
		}
		if a, b := n.store.readsOf(k), n.store.readsOf(none); a > 3 || b != 1 { // the repair pushes k as well
			t.Errorf("%d and %d reads of the database for 20 reads here", a, b)
		}
		time.Sleep(11 * time.Second)
		ps["n1"].ha1(none)
		if b := n.store.readsOf(none); b != 2 {
			t.Errorf("the absence is believed for ever")
		}
	})
}

func TestOwnerKilledBetweenCommitAndPush(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		k := p1.keyOf("n1", "n2")
		p1.live.Push(n.store.change(k, "old", false))
		n.within(time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
		ps["n1"].kill()
		p1.live.Push(n.store.change(k, "new", false))
		time.Sleep(50 * time.Millisecond)
		if n.store.waiting() != 1 {
			t.Error("acknowledged although the owner is dead")
		}
		n.settled([]*peer{p1, ps["n2"], ps["n3"]}, "n2", "n3")
		n.within(5*time.Second, "the next owner and heir hold it", func() bool { return n.store.waiting() == 0 })
		n.store.setDown(true)
		if got := ps["n2"].ha1(k); got != "new" {
			t.Errorf("the heir says %s", got)
		}
		n.store.setDown(false)
		ps["n1"] = n.proxy("n1")
		n.settled([]*peer{p1, ps["n1"], ps["n2"], ps["n3"]}, "n1", "n2", "n3")
		time.Sleep(2 * time.Second) // handed over at leisure
		n.store.setDown(true)
		if got := ps["n1"].ha1(k); got != "new" {
			t.Errorf("the owner says %s after its restart", got)
		}
	})
}

func TestServerRestartedWithPendingPushes(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		k := p1.keyOf("n1", "n2")
		p1.live.Push(n.store.change(k, "old", false))
		n.within(time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
		p1.kill()
		for i := range 50 {
			n.store.change(fmt.Sprintf("bulk%d@example.net", i), "bulk", false)
		}
		n.store.change(k, "new", false)
		n.server("p1")
		n.within(10*time.Second, "all is pushed", func() bool { return n.store.waiting() == 0 })
		if got := ps["n1"].ha1(k); got != "new" {
			t.Errorf("the owner says %s", got)
		}
	})
}

func TestPushesWaitForTheFirstMember(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1 := n.server("p1")
		n.within(10*time.Second, "it is a member", func() bool {
			s := p1.node.View().Status
			return s != nil && s.Member(subjects.ProvisioningServer, "p1") != nil
		})
		p1.live.Push(n.store.change("a@example.net", "x", false))
		time.Sleep(10 * time.Minute)
		if n.store.waiting() != 1 {
			t.Error("acknowledged by nobody")
		}
		n1 := n.proxy("n1")
		n.settled([]*peer{n1, p1}, "n1")
		n.within(5*time.Second, "it is pushed", func() bool { return n.store.waiting() == 0 })
		if got := n1.ha1("a@example.net"); got != "x" {
			t.Errorf("the only one says %s", got)
		}
	})
}

func TestWhoKeepsNothingIsNotWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, n1 := n.server("p1"), n.proxy("n1")
		plain := n.join("n2", subjects.SIPProxy)
		plain.member(subjects.SIPProxy, nil)
		plain.run()
		n.settled([]*peer{p1, n1}, "n1", "n2")
		for i := range 20 {
			p1.live.Push(n.store.change(fmt.Sprintf("user%d@example.net", i), "v", false))
		}
		n.within(time.Second, "all is acknowledged", func() bool { return n.store.waiting() == 0 })
	})
}

func TestANodeThatHangsHoldsUpNobodyElse(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1 := n.server("p1")
		n1, n2, hangs := n.proxy("n1"), n.proxy("n2"), n.join("n3", subjects.SIPProxy)
		hangs.node.Handle(subjects.Agent, subjects.VerbSubscriber, func(ctx context.Context, _ *overlay.Request) *subjects.Reply {
			<-ctx.Done()
			return nil
		})
		hangs.member(subjects.SIPProxy, subjects.Attrs{subscriber.Attr: "1"})
		hangs.run()
		n.settled([]*peer{p1, n1, n2}, "n1", "n2", "n3")
		others := func() (waiting int) {
			n.store.mu.Lock()
			defer n.store.mu.Unlock()
			for k := range n.store.pending {
				if l := p1.at(k); l.Owner() != "n3" && l.Heir() != "n3" {
					waiting++
				}
			}
			return waiting
		}
		push := func(from, to int) {
			for i := from; i < to; i++ {
				p1.live.Push(n.store.change(fmt.Sprintf("user%d@example.net", i), "v", false))
			}
		}
		push(0, 1000)
		if others() < 200 || n.store.waiting() < 400 {
			t.Fatal("no test of anything")
		}
		n.within(10*time.Second, "the others are told", func() bool { return others() == 0 })
		push(1000, 1100)
		n.within(time.Second, "and from now on at once", func() bool { return others() == 0 })
		if n.store.waiting() < 400 {
			t.Error("acknowledged for a node that hangs")
		}
		hangs.kill()
		n.settled([]*peer{p1, n1, n2}, "n1", "n2")
		n.within(10*time.Second, "without it all are told", func() bool { return n.store.waiting() == 0 })
	})
}

func TestANoticeOfWhatIsNotThereDoesNoHarm(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		k := p1.keyOf("n1", "")
		p1.live.Push(n.store.change(k, "x", false))
		n.within(time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
		lie := subscriber.Notice{V: 1, Key: k, Revision: 1 << 50, From: "p1"}
		r, err := p1.node.Ask(t.Context(), subjects.AgentRequestFrom("p1", "n1", subjects.VerbSubscriber), lie.Encode())
		if err != nil || r.Code != subjects.ErrorFailed {
			t.Errorf("%+v %v", r, err)
		}
		time.Sleep(2 * time.Second)
		if got := ps["n1"].ha1(k); got != "x" {
			t.Errorf("then the owner says %s", got)
		}
		p1.live.Push(n.store.change(k, "y", false))
		n.within(time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
		if got := ps["n1"].ha1(k); got != "y" {
			t.Errorf("then the owner says %s", got)
		}
	})
}

func TestTwoServersRepeatEachOthersPushesHarmlessly(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		p2 := n.server("p2")
		n.within(10*time.Second, "both are members", func() bool { return len(ps["n1"].node.View().Status.Roles[subjects.ProvisioningServer]) == 2 })
		for i := range 200 {
			k := fmt.Sprintf("user%d@example.net", i%20)
			ns := n.store.change(k, fmt.Sprintf("v%d", i), false)
			for _, p := range []*peer{p1, p2} {
				p.live.Push(ns)
			}
		}
		n.within(5*time.Second, "all is acknowledged", func() bool { return n.store.waiting() == 0 })
		for i := 180; i < 200; i++ {
			k := fmt.Sprintf("user%d@example.net", i%20)
			if got, want := ps[string(p1.at(k).Owner())].ha1(k), fmt.Sprintf("v%d", i); got != want {
				t.Errorf("%s is %s, not %s", k, got, want)
			}
		}
	})
}

func TestNoticesOutOfOrderNeverGoBack(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		k := p1.keyOf("n1", "")
		first, second := n.store.change(k, "first", false)[0], n.store.change(k, "second", false)[0]
		for _, x := range []subscriber.Notice{second, first} {
			x.From = "p1"
			r, err := p1.node.Ask(t.Context(), subjects.AgentRequestFrom("p1", "n1", subjects.VerbSubscriber), x.Encode())
			if err != nil || r.Code != "" {
				t.Fatalf("%+v %v", r, err)
			}
			if h, err := subscriber.ParseHeld(r.Data); err != nil || h.Revision != second.Revision {
				t.Errorf("held %+v %v", h, err)
			}
			if got := ps["n1"].ha1(k); got != "second" {
				t.Errorf("the owner says %s", got)
			}
		}
	})
}

func TestWithoutAnybodyToAskWhatIsHeldIsServed(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		k, never := p1.keyOf("n1", "n2"), p1.keyOf("n1", "n3")
		p1.live.Push(n.store.change(k, "x", false))
		n.within(time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
		n.store.setDown(true)
		if got := ps["n1"].ha1(k); got != "x" {
			t.Errorf("held and nothing missed: %s", got)
		}
		if got := ps["n1"].ha1(never); got != "503" {
			t.Errorf("not held: %s", got)
		}
		time.Sleep(2 * time.Minute) // nobody can say what changed
		if got := ps["n1"].ha1(k); got != "x?" {
			t.Errorf("held, and nobody to be asked: %s", got)
		}
		p1.kill()
		n.within(20*time.Second, "the server is gone", func() bool {
			return len(ps["n1"].node.View().Status.Roles[subjects.ProvisioningServer]) == 0 ||
				ps["n1"].node.View().Status.Roles[subjects.ProvisioningServer][0].State == subjects.Suspect
		})
		start := time.Now()
		if got := ps["n1"].ha1(k); got != "x?" {
			t.Errorf("held, and no server: %s", got)
		}
		if d := time.Since(start); d > 1100*time.Millisecond {
			t.Errorf("that took %v", d)
		}
		n.store.setDown(false)
		n.store.change(k, "y", false)
		n.server("p1")
		n.within(35*time.Second, "it is known again", func() bool { return ps["n1"].ha1(k) == "y" })
	})
}

func TestWhoWasCutOffAsksWhatItMissed(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		n1 := ps["n1"]
		changed, same := p1.keyOf("n1", "n2"), p1.keyOf("n1", "n3")
		for _, k := range []string{changed, same} {
			p1.live.Push(n.store.change(k, "old", false))
		}
		n.within(time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
		time.Sleep(2 * time.Minute) // so that it knows how far it knows
		n1.line.set(true)
		n.within(10*time.Second, "it is cut off", func() bool { return !n1.node.View().Connected })
		time.Sleep(10 * time.Millisecond)
		p1.live.Push(n.store.change(changed, "new", false))
		if got := n1.ha1(changed); got != "old?" {
			t.Errorf("cut off it says %s", got)
		}
		n.store.mu.Lock()
		n.store.pending = make(map[string]uint64) // as if nobody had to push
		n.store.mu.Unlock()
		n1.line.set(false)
		n.within(10*time.Second, "connected again", func() bool { return n1.node.View().Connected })
		if got := n1.ha1(changed); got == "old" {
			t.Error("right after it is sure of what it missed the change of")
		}
		n.within(5*time.Second, "it knows", func() bool { return n1.ha1(changed) == "new" && n1.ha1(same) == "old" })
		before := n.store.readsOf(same)
		for range 10 {
			n1.ha1(same)
		}
		if after := n.store.readsOf(same); after != before {
			t.Errorf("what did not change was asked for %d times", after-before)
		}
	})
}

// A push that is acknowledged and one that is lost: what came last is doubted, even
// where what came before is newer than the last time that all was known.
func TestAnOlderOfTwoMissedRevisionsIsNotTakenForTheNewest(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		k := p1.keyOf("n1", "n2")
		p1.live.Push(n.store.change(k, "first", false))
		n.within(time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
		time.Sleep(2 * time.Minute) // so that it knows how far it knows
		p1.live.Push(n.store.change(k, "second", false))
		n.within(time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
		n.store.change(k, "third", false)
		n.store.mu.Lock()
		n.store.pending = make(map[string]uint64) // the notice is lost
		n.store.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if got := ps["n1"].ha1(k); got != "third" {
			t.Errorf("after it asked what changed it says %s", got)
		}
		reads := n.store.readsOf(k)
		time.Sleep(5 * time.Minute)
		if got := n.store.readsOf(k); got != reads {
			t.Errorf("the newest was asked for %d times more", got-reads)
		}
	})
}

func TestHandOverWhenProxiesComeAndGo(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		var ks []string
		for i := range 300 {
			k := fmt.Sprintf("user%d@example.net", i)
			ks = append(ks, k)
			p1.live.Push(n.store.change(k, "v", false))
		}
		n.within(5*time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
		// held wants each key at its owner and, after that one's death, at its heir,
		// without any database.
		held := func(what string) {
			t.Helper()
			time.Sleep(10 * time.Second)
			n.store.setDown(true)
			defer n.store.setDown(false)
			for _, k := range ks {
				l := p1.at(k)
				if got := ps[string(l.Owner())].ha1(k); got != "v" {
					t.Fatalf("%s: the owner %s of %s says %s", what, l.Owner(), k, got)
				}
			}
		}
		ps["n4"] = n.proxy("n4")
		all := []*peer{p1, ps["n1"], ps["n2"], ps["n3"], ps["n4"]}
		n.settled(all, "n1", "n2", "n3", "n4")
		moved := ""
		for _, k := range ks {
			if p1.at(k).Owner() == "n4" {
				moved = k
			}
		}
		old := string(p1.at(moved).Heir()) // the joiner's heir is who owned it before
		if got := ps[old].ha1(moved); got != "v" {
			t.Errorf("the owner before says %s right after", got)
		}
		held("join")
		if err := ps["n4"].node.Drain("sip_proxy"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if l := p1.at(moved); l.Owner() == "n4" || l.Previous() != "n4" {
			t.Fatalf("%+v", l)
		}
		if got := ps["n4"].ha1(moved); got != "v" {
			t.Errorf("who drains says %s of what resides there", got)
		}
		for _, p := range []string{"n1", "n2", "n3", "n4"} {
			l := p1.at(moved)
			owner, heir := ps[string(l.Owner())].node.Identity().Addresses[1].String(), ps[string(l.Heir())].node.Identity().Addresses[1].String()
			register, any := ps[p].get("/subscriber/"+moved+"/ha1?for=register"), ps[p].get("/subscriber/"+moved+"/ha1")
			switch p {
			case string(l.Owner()):
				if register.Body.String() != "v" || register.Header().Get(subscribers.HeaderOwner) != "" {
					t.Errorf("the owner says %d %v to who registers", register.Code, register.Header())
				}
			default:
				if register.Code != 421 || register.Body.String() != owner+"\n"+heir+"\n" {
					t.Errorf("%s says %d %q to who registers", p, register.Code, register.Body)
				}
				if any.Header().Get(subscribers.HeaderOwner) != string(l.Owner()) || any.Header().Get(subscribers.HeaderAddress) != owner {
					t.Errorf("%s does not name the owner: %d %v", p, any.Code, any.Header())
				}
			}
			if got := ps[p].get("/subscriber/" + moved + "/ha1?for=heir"); p != "n4" && (got.Code == 200) != (p == string(l.Owner()) || p == string(l.Heir())) {
				t.Errorf("%s, asked as an heir: %d", p, got.Code)
			}
		}
		held("drain")
		time.Sleep(2 * time.Minute)
		p1.live.Push(n.store.change(moved, "w", false))
		n.within(time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
		if got := ps["n4"].ha1(moved); got != "w" {
			t.Errorf("who drains says %s after a change", got)
		}
		p1.live.Push(n.store.change(moved, "v", false))
		ps["n4"].stop()
		n.settled(all[:4], "n1", "n2", "n3")
		held("leave")
		ps["n3"].kill()
		n.settled(all[:3], "n1", "n2")
		held("death")
		w := ps["n1"].get("/subscriber/" + p1.keyOf("n2", ""))
		if w.Code != 421 || w.Header().Get(subscribers.HeaderGeneration) == "" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
	})
}

// A provisioning server that ends delivers what its last calls changed.
func TestTheLastPushesAreDelivered(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		var ks []string
		for i := range 40 {
			k := fmt.Sprintf("user%d@example.net", i)
			ks = append(ks, k)
			p1.live.Push(n.store.change(k, "old", false))
		}
		n.within(time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
		for _, k := range ks {
			p1.live.Push(n.store.change(k, "new", false))
		}
		p1.stop()
		if left := n.store.waiting(); left > 0 {
			t.Errorf("%d pushes were not acknowledged", left)
		}
		for _, k := range ks {
			if got := ps[string(ps["n1"].at(k).Owner())].ha1(k); got != "new" {
				t.Errorf("%s: the owner says %s", k, got)
			}
		}
	})
}

func TestWhoIsNotResponsibleForgetsAndIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		k := p1.keyOf("n1", "n2")
		p1.live.Push(n.store.change(k, "secret", false))
		n.within(time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
		ask := func(p *peer, role subjects.Role, as subjects.NodeID) string {
			q := subscriber.Request{V: 1, Key: k}
			r, err := p.node.Ask(t.Context(), subjects.ProvisioningRequest("p1", subjects.VerbSubscriber, role, as), q.Encode())
			if err != nil {
				return err.Error()
			}
			return string(r.Code)
		}
		if got := ask(ps["n1"], "sip_proxy", "n1"); got != "" {
			t.Errorf("the owner gets %s", got)
		}
		if got := ask(ps["n3"], "sip_proxy", "n3"); got != string(subjects.ErrorForbidden) {
			t.Errorf("a third node gets %q", got)
		}
		// The store knows no case, the lookup does: some spelling is always in one's own share.
		for _, spelling := range []string{strings.ToUpper(k[:1]) + k[1:], strings.ToUpper(k)} {
			for _, name := range []string{"n1", "n2", "n3"} {
				q := subscriber.Request{V: 1, Key: spelling}
				r, err := ps[name].node.Ask(t.Context(), subjects.ProvisioningRequest("p1", subjects.VerbSubscriber, "sip_proxy", subjects.NodeID(name)), q.Encode())
				if err != nil || r.Code == "" || len(r.Data) > 0 {
					t.Errorf("%s gets %q: %v %v", name, spelling, r, err)
				}
			}
		}
		relay := n.join("r1", subjects.MediaRelay)
		relay.run()
		<-relay.node.Ready()
		if got := ask(relay, "media_relay", "r1"); got != string(subjects.ErrorForbidden) {
			t.Errorf("another role gets %q", got)
		}
		if got := ask(ps["n3"], "sip_proxy", "n1"); got == "" || got == string(subjects.ErrorForbidden) {
			t.Errorf("under another name: %q, and the broker was to refuse", got)
		}
		// A request whose answer would reach others than the asker.
		nc := n.b.Dial("n1", subjects.SIPProxy)
		q := subscriber.Request{V: 1, Key: k}
		for _, reply := range []string{"_INBOX.n3.steal", "_ANSWER.n3.provisioning_server.steal", "_INBOX.n1.plain"} {
			heard, err := n.b.Dial(strings.Split(reply, ".")[1], subjects.SIPProxy).SubscribeSync(reply)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if err := nc.PublishRequest(subjects.ProvisioningRequest("p1", subjects.VerbSubscriber, "sip_proxy", "n1"), reply, q.Encode()); err != nil {
				t.Fatal(err)
			}
			for {
				m, err := heard.NextMsg(time.Second)
				if err != nil {
					break
				}
				if r, err := subjects.ParseReply(m.Data); err != nil || r.Code != subjects.ErrorForbidden || len(r.Data) > 0 {
					t.Errorf("%s: %s %v", reply, m.Data, err)
				}
			}
		}
	})
}

func TestTheCacheIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1 := n.server("p1")
		n1 := n.proxy("n1", func(c *subscribers.Config) { c.Max = 10 })
		n.settled([]*peer{n1, p1}, "n1")
		for i := range 50 {
			p1.live.Push(n.store.change(fmt.Sprintf("user%d@example.net", i), "v", false))
		}
		n.within(5*time.Second, "pushed", func() bool { return n.store.waiting() == 0 })
		for i := range 50 {
			if got := n1.ha1(fmt.Sprintf("user%d@example.net", i)); got != "v" {
				t.Errorf("user %d: %s", i, got)
			}
		}
		m := metric(t, n1.metrics, "thor_subscribers_held")
		if e := metric(t, n1.metrics, "thor_subscribers_evictions_total"); m != 10 || e < 80 {
			t.Errorf("%v held, %v evicted", m, e)
		}
	})
}
