package subscribers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

// A proxy chose the node to which it passed a request by the status that it knows. These
// tests are of what happens while that node knows another one.

// atMark is a hop with another mark.
func atMark(hop string, m subjects.Mark) string {
	before, _, _ := strings.Cut(hop, ";at=")
	return fmt.Sprintf("%s;at=%d.%d", before, m.Epoch, m.Generation)
}

// calleeHop is of a call of a stranger.
const calleeHop = "callee;caller=x%40far.example"

func (p *peer) mark() subjects.Mark { return p.node.View().Status.Mark() }

func TestAProxyThatKnowsLessIsWaitedFor(t *testing.T) {
	for _, stage := range []string{"register", "caller", "callee"} {
		t.Run(stage, func(t *testing.T) {
			calls(t, func(t *testing.T, n *network, p1 *peer, ps map[string]*peer, a, _ string) {
				n1, n2, n3 := ps["n1"], ps["n2"], ps["n3"]
				ask := func(p *peer, source, hop string) []string {
					switch stage {
					case "register":
						return p.script("register", "", "sip:"+a, source, hop, "")
					case "caller":
						return p.script("call", "sip:"+a, "sip:x@far.example", source, hop, "")
					}
					return p.script("call", "sip:x@far.example", "sip:"+a, source, hop, "")
				}
				hop := ask(n3, outside, "")[lineHop]
				if stage == "callee" { // it is known at the caller's node
					hop = atMark(calleeHop, n3.mark())
				}
				next := n2.mark()
				next.Generation += 100 // the leave of n1 is not the only change that may come
				if got := ask(n2, n3.address(), hop); got[lineRefusal] != "503 Owner Changes" {
					t.Errorf("by the same status: %q", got)
				}
				began := time.Now()
				if got := ask(n2, n3.address(), atMark(hop, next)); got[lineRefusal] != "503 Owner Changes" {
					t.Errorf("by a status that does not come: %q", got)
				}
				if took := time.Since(began); took < 400*time.Millisecond || took > time.Second {
					t.Errorf("waited for %v", took)
				}
				answer := make(chan []string)
				go func() { answer <- ask(n2, n3.address(), atMark(hop, next)) }()
				time.Sleep(20 * time.Millisecond)
				n1.stop() // leaves: n2 was the heir
				if got := <-answer; got[lineDo] == "refuse" || got[lineDo] == "pass" || got[lineDo] == "503" {
					t.Errorf("when the status came: %q", got)
				}
			})
		})
	}
}

// The status may stay away, and a proxy has few workers: of ten requests four wait.
func TestFewRequestsWaitAtOnce(t *testing.T) {
	calls(t, func(t *testing.T, n *network, p1 *peer, ps map[string]*peer, a, _ string) {
		n2, n3 := ps["n2"], ps["n3"]
		next := n2.mark()
		next.Generation += 100
		hop := atMark(n3.script("register", "", "sip:"+a, outside, "", "")[lineHop], next)
		took := make(chan time.Duration)
		for range 10 {
			go func() {
				began := time.Now()
				if got := n2.script("register", "", "sip:"+a, n3.address(), hop, ""); got[lineRefusal] != "503 Owner Changes" {
					t.Errorf("refused with %q", got)
				}
				took <- time.Since(began)
			}()
		}
		waited := 0
		for range 10 {
			if d := <-took; d >= 400*time.Millisecond {
				waited++
			}
		}
		if waited != 4 {
			t.Errorf("%d waited", waited)
		}
		if got := n2.script("register", "", "sip:"+a, n3.address(), hop, ""); got[lineRefusal] != "503 Owner Changes" {
			t.Errorf("then %q", got)
		}
	})
}

func TestWhatAProxyThatKnewLessPassedOnGoesFurther(t *testing.T) {
	calls(t, func(t *testing.T, n *network, p1 *peer, ps map[string]*peer, a, _ string) {
		n1, n2, n3 := ps["n1"], ps["n2"], ps["n3"]
		hop := n3.script("register", "", "sip:"+a, outside, "", "")[lineHop]
		older := n2.mark()
		older.Generation--
		to := n1.address() + "," + n2.address()
		got := n2.script("register", "", "sip:"+a, n3.address(), atMark(hop, older), "")
		expect(t, "a registration", got, map[int]string{lineDo: "pass", lineNext: to, lineHop: hop, lineProxy: "proxy"})
		before, _, _ := strings.Cut(hop, ";at=")
		expect(t, "of a proxy that names no status", n2.script("register", "", "sip:"+a, n3.address(), before, ""), map[int]string{lineDo: "pass", lineNext: to, lineHop: hop})
		expect(t, "at the owner", n1.script("register", "", "sip:"+a, n2.address(), got[lineHop], ""), map[int]string{lineDo: "save"})

		hop = n3.script("call", "sip:"+a, "sip:x@far.example", outside, "", "")[lineHop]
		expect(t, "a caller", n2.script("call", "sip:"+a, "sip:x@far.example", n3.address(), atMark(hop, older), ""), map[int]string{lineDo: "pass", lineNext: to, lineHop: hop})
		hop = atMark(calleeHop, n3.mark())
		expect(t, "a callee", n2.script("call", "sip:x@far.example", "sip:"+a, n3.address(), atMark(hop, older), ""), map[int]string{lineDo: "pass", lineNext: to, lineHop: hop})
	})
}

// The lookup follows the status a moment later, and rests after it did.
func TestAnOwnerThatTheStatusLostIsNotTried(t *testing.T) {
	seen := 0
	for _, pause := range []time.Duration{1, 10, 20, 30, 40} {
		calls(t, func(t *testing.T, n *network, p1 *peer, ps map[string]*peer, a, _ string) {
			n1, n2, n3 := ps["n1"], ps["n2"], ps["n3"]
			if err := n3.node.Drain(subjects.SIPProxy); err != nil {
				t.Fatal(err)
			}
			time.Sleep(pause * time.Millisecond)
			go n1.stop()
			n.within(time.Second, "the owner is gone", func() bool { return n3.node.View().Status.Member(subjects.SIPProxy, "n1") == nil })
			if n3.at(a).Owner() != "n1" {
				return
			}
			seen++
			got := n3.script("register", "", "sip:"+a, outside, "", "")
			expect(t, "at another node", got, map[int]string{lineDo: "pass", lineNext: n2.address()})
			if !strings.HasPrefix(got[lineHop], "register;heir;") {
				t.Errorf("the heir is told %q", got[lineHop])
			}
			expect(t, "at the heir", n2.script("register", "", "sip:"+a, n3.address(), got[lineHop], ""), map[int]string{lineDo: "save"})
		})
	}
	if seen == 0 {
		t.Error("the lookup was never behind the status: this shows nothing")
	}
}
