//go:build e2e

package e2e_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A figure is one of those that calls are judged by.
type figure struct{ what, measured, must string }

// Calls live on when the proxy dies that has them, and when it is drained; new calls find
// another proxy, and another relay.
func TestCallsSurvive(t *testing.T) {
	s := newScene(t)
	fs := s.aProxyDies(t, 24, 3*time.Second, syscall.SIGKILL)
	s.restoreProxy(t, 2)
	fs = append(fs, s.aRelayDies(t, 16, 3*time.Second, syscall.SIGKILL)...)
	s.startRelay(t, 0)
	fs = append(fs, s.aProxyDrains(t, 10)...)
	fs = append(fs, s.aRelayDrains(t, 12)...)
	for _, f := range fs {
		t.Logf("%s: %s", f.what, f.measured)
	}
}

// TestBenchCalls prints the figures. It runs only when THOR_BENCH_CALLS says how many calls
// to have up.
func TestBenchCalls(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("THOR_BENCH_CALLS"))
	if err != nil || n < 2 {
		t.Skip("set THOR_BENCH_CALLS to a number of calls, or use just bench-calls")
	}
	const d = 20 * time.Second // of new calls
	var fs []figure
	defer func() { // whatever failed, the figures before it are not lost
		fmt.Printf("%-68s %-78s %s\n", "figure", "measured", "must be")
		for _, f := range fs {
			fmt.Printf("%-68s %-78s %s\n", f.what, f.measured, f.must)
		}
	}()
	s := newScene(t)
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} { // a machine that is gone refuses nothing
		fs = append(fs, s.aProxyDies(t, n, d, sig)...)
		s.restoreProxy(t, 2)
	}
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		fs = append(fs, s.aRelayDies(t, n/2, d, sig)...)
		_ = syscall.Kill(-s.relays[0].Process.Pid, syscall.SIGKILL)
		s.startRelay(t, 0)
		s.awaitMembers(t)
	}
	fs = append(fs, s.aProxyDrains(t, n/2)...)
	fs = append(fs, s.aRelayDrains(t, n/4)...)
}

const newCallsRate = 20 // a second

// newCalls places brief calls for about d.
func (s *scene) newCalls(t *testing.T, d time.Duration) *calling {
	t.Helper()
	c := s.call(t, "new calls", brief(s.domain), int(d.Seconds()*newCallsRate), newCallsRate, nil)
	c.await(t, 20*time.Second, "up", 5)
	return c
}

// grace is how long after a death new calls may fail.
const grace = 1500 * time.Millisecond

// ending is what happens to a program by a signal.
var ending = map[syscall.Signal]string{syscall.SIGKILL: "is killed (kill -9)", syscall.SIGSTOP: "stands still (SIGSTOP)"}

// A toll is what happened to new calls.
type toll struct {
	begun, inTime, failedEarly, failedLate int           // late: those that began after the grace
	longest                                time.Duration // to set one up that began after the death
}

// end waits for the end of all calls, and counts those that failed.
func (c *calling) end(t *testing.T, death time.Time) (o toll) {
	t.Helper()
	_ = c.cmd.Wait() // what failed is counted
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		b, ok := e["begins"]
		if !ok {
			continue
		}
		o.begun++
		up, wasUp := e["up"]
		_, done := e["done"]
		after := b.at.Sub(death)
		if wasUp && after > 0 {
			o.longest = max(o.longest, up.at.Sub(b.at))
		}
		if after > 0 && after < grace {
			o.inTime++
		}
		switch {
		case done:
		case after > grace:
			o.failedLate++
		default:
			o.failedEarly++
		}
	}
	return o
}

// aProxyDies has n calls up, and a fifth more that the callee ends, and kills one of three
// proxies. At once each of the n is re-INVITEd, and then all are ended.
func (s *scene) aProxyDies(t *testing.T, n int, d time.Duration, how syscall.Signal) []figure {
	t.Helper()
	byCallee := n / 5
	all := n + byCallee
	m := newMedia(t, all)
	defer m.end()
	c := s.call(t, "calls that stay", callerOf("stays", s.domain, ""), n, newCallsRate, m.part(0, n))
	e := s.call(t, "calls that the callee ends", callerOf("ends", s.domain, ""), byCallee, newCallsRate, m.part(n, all))
	c.await(t, 60*time.Second, "up", n)
	e.await(t, 60*time.Second, "up", byCallee)
	m.flowing(t, "media of all calls flows")
	at := []int{s.dialogs(t, 1), s.dialogs(t, 2), s.dialogs(t, 3)}
	t.Logf("dialogs of the three proxies: %v", at)
	if sum := at[0] + at[1] + at[2]; sum != all || at[1] == 0 {
		t.Errorf("%d calls are up, the proxies count %v", all, at)
	}
	before := m.mark()
	fresh := s.newCalls(t, d)
	death := time.Now()
	s.endProxy(t, 2, how)
	c.goOnAll("up")
	c.await(t, 60*time.Second, "again", n)
	t.Logf("%6d ms  from the death until all re-INVITEs were answered", time.Since(death).Milliseconds())
	m.flowing(t, "media of all calls flows after the re-INVITEs")
	l := m.lost(t, before)
	for _, h := range s.ends.take() {
		s.ends.goOn(h)
		<-time.After(pace)
	}
	for _, h := range c.calls("again") {
		if was := c.of(h.call, "up").relay; was != h.relay {
			t.Errorf("the media of %s was at %s, and is at %s", h.call, was, h.relay)
		}
	}
	c.goOnAll("again")
	c.await(t, 60*time.Second, "done", n)
	e.await(t, 60*time.Second, "done", byCallee)
	o := fresh.end(t, death)
	again, done, ended := c.count("again"), c.count("done"), e.count("done")
	if again != n || done != n || ended != byCallee || c.count("aborted")+e.count("aborted") > 0 {
		t.Errorf("of %d calls %d re-INVITEs and %d BYEs of the caller were answered, of %d others %d were ended by the callee", n, again, done, byCallee, ended)
	}
	if l.streams != all || l.lost > 0 {
		t.Error(l)
	}
	if o.failedLate > 0 || o.begun < int(d.Seconds())*newCallsRate*9/10 || o.inTime == 0 {
		t.Errorf("new calls: %+v", o)
	}
	return []figure{
		{
			fmt.Sprintf("%d calls up, a proxy with %d of them %s: answered 200", all, at[1], ending[how]),
			fmt.Sprintf("re-INVITE %d of %d, BYE %d of %d, BYE of the callee %d of %d", again, n, done, n, ended, byCallee), "all",
		},
		{"media interrupted by it", fmt.Sprintf("%d calls (%d of %d packets lost, longest gap %s)", l.interrupted, l.lost, l.sent, l.longest), "0"},
		{
			fmt.Sprintf("%d new calls, 20 a second, meanwhile: failed after 1.5 s", o.begun),
			fmt.Sprintf("%d (%d before; longest setup %d ms)", o.failedLate, o.failedEarly, o.longest.Milliseconds()), "0",
		},
	}
}

// aRelayDies has n calls up and kills one of two relays. The calls are re-INVITEd, by which those
// of the dead relay get the other one.
func (s *scene) aRelayDies(t *testing.T, n int, d time.Duration, how syscall.Signal) []figure {
	t.Helper()
	m := newMedia(t, n)
	defer m.end()
	c := s.call(t, "calls that stay", callerOf("stays", s.domain, ""), n, newCallsRate, m)
	c.await(t, 60*time.Second, "up", n)
	m.flowing(t, "media of all calls flows")
	dead, there := netip.MustParseAddr(relayAt(0)), 0
	for _, h := range c.calls("up") {
		if h.relay.Addr() == dead {
			there++
		}
	}
	if there == 0 || there == n {
		t.Fatalf("%d of %d calls at one of two relays", there, n)
	}
	fresh := s.newCalls(t, d)
	death := time.Now()
	if err := syscall.Kill(-s.relays[0].Process.Pid, how); err != nil {
		t.Fatal(err)
	}
	fresh.await(t, 20*time.Second, "up", fresh.count("up")+newCallsRate)
	c.goOnAll("up")
	c.await(t, 60*time.Second, "again", n)
	m.flowing(t, "media of all calls flows through the other relay")
	for _, h := range c.calls("again") {
		if h.relay.Addr() == dead {
			t.Errorf("%s has a dead relay after its re-INVITE", h.call)
		}
		if was := c.of(h.call, "up").relay; was.Addr() != dead && was != h.relay {
			t.Errorf("the media of %s was at %s, and is at %s", h.call, was, h.relay)
		}
	}
	c.goOnAll("again")
	c.await(t, 60*time.Second, "done", n)
	o := fresh.end(t, death)
	var last time.Duration // after the death a call began that got the dead relay
	others := 0
	for _, h := range fresh.calls("up") {
		after := fresh.of(h.call, "begins").at.Sub(death)
		switch {
		case h.relay.Addr() == dead:
			last = max(last, after)
		case after > 0:
			others++
		}
	}
	if done := c.count("done"); done != n || o.failedLate > 0 || last > grace || o.longest > grace || others < newCallsRate {
		t.Errorf("%d of %d calls done; new calls %+v, the last one with the dead relay after %s, %d with the other", done, n, o, last, others)
	}
	return []figure{
		{
			fmt.Sprintf("%d new calls, 20 a second, while a relay %s: use the other", o.begun, ending[how]),
			fmt.Sprintf("after %d ms, setup at most %d ms (failed %d, later %d)", last.Milliseconds(), o.longest.Milliseconds(), o.failedEarly, o.failedLate), "1,500 ms",
		},
		{fmt.Sprintf("%d calls of the dead relay go on by a re-INVITE", there), fmt.Sprintf("%d of %d", c.count("again")-(n-there), there), "-"},
	}
}

// aProxyDrains drains a proxy that has n calls, which are re-INVITEd and ended when callers
// and callees know another one in its place. Then it is stopped.
func (s *scene) aProxyDrains(t *testing.T, n int) []figure {
	t.Helper()
	m := newMedia(t, n)
	defer m.end()
	c := s.call(t, "calls of one proxy", callerOf("stays", s.domain, proxyAt(1)), n, newCallsRate, m)
	c.await(t, 60*time.Second, "up", n)
	m.flowing(t, "media of all calls flows")
	if at := s.dialogs(t, 1); at != n {
		t.Errorf("%d calls of node1, it counts %d", n, at)
	}
	before := m.mark()
	drain := s.drain(t, "node1")
	fresh := s.newCalls(t, namesTTL+10*time.Second)
	began := time.Now()
	s.holdFor(t, namesTTL+time.Second, "node1 has its calls, and the drain waits", func() bool { return s.dialogs(t, 1) >= n && len(drain.ended) == 0 })
	c.goOnAll("up")
	c.await(t, 60*time.Second, "again", n)
	if at := s.dialogs(t, 1); at < n {
		t.Errorf("%d calls of node1 were re-INVITEd, it counts %d", n, at)
	}
	l := m.lost(t, before)
	for _, h := range c.calls("again") {
		if was := c.of(h.call, "up").relay; was != h.relay {
			t.Errorf("the media of %s was at %s, and is at %s", h.call, was, h.relay)
		}
	}
	c.goOnAll("again")
	c.await(t, 60*time.Second, "done", n)
	last := time.Now()
	drain.end(t, "dialogs of sip_proxy")
	waited := time.Since(last)
	s.control(t, "stop", "node1-sip")
	o := fresh.end(t, began)
	failed := n - c.count("done") + o.failedEarly + o.failedLate
	if failed > 0 || l.lost > 0 {
		t.Errorf("%d failed calls, of the new ones %+v; %s\n%s", failed, o, l, &drain.said)
	}
	return []figure{{
		fmt.Sprintf("drain of a proxy with %d calls, then stopped: failed calls", n),
		fmt.Sprintf("%d of %d and %d new ones; the drain ended %.1f s after the last BYE", failed, n, o.begun, waited.Seconds()), "0",
	}}
}

// aRelayDrains drains a relay that has some of n calls, which are re-INVITEd and ended meanwhile.
func (s *scene) aRelayDrains(t *testing.T, n int) []figure {
	t.Helper()
	m := newMedia(t, n)
	defer m.end()
	c := s.call(t, "calls that stay", callerOf("stays", s.domain, ""), n, newCallsRate, m)
	c.await(t, 60*time.Second, "up", n)
	m.flowing(t, "media of all calls flows")
	drained, there := netip.MustParseAddr(relayAt(1)), 0
	for _, h := range c.calls("up") {
		if h.relay.Addr() == drained {
			there++
		}
	}
	before, began := m.mark(), time.Now()
	drain := s.drain(t, "relay2")
	fresh := s.newCalls(t, 3*time.Second)
	c.goOnAll("up")
	c.await(t, 60*time.Second, "again", n)
	o := fresh.end(t, began)
	var last time.Duration // after which a new call got the relay
	for _, h := range fresh.calls("up") {
		if h.relay.Addr() == drained {
			last = max(last, fresh.of(h.call, "begins").at.Sub(began))
		}
	}
	l := m.lost(t, before)
	for _, h := range c.calls("again") {
		if was := c.of(h.call, "up").relay; was != h.relay {
			t.Errorf("the media of %s was at %s, and is at %s", h.call, was, h.relay)
		}
	}
	c.goOnAll("again")
	c.await(t, 60*time.Second, "done", n)
	drain.end(t, "session")
	failed := n - c.count("done") + o.failedEarly + o.failedLate
	if failed > 0 || l.lost > 0 || there == 0 || last > grace {
		t.Errorf("%d failed calls, of the new ones %+v, the last one with the relay after %s; %s; %d calls there\n%s", failed, o, last, l, there, &drain.said)
	}
	return []figure{{
		fmt.Sprintf("drain of a relay with %d calls, re-INVITEd: failed calls", there),
		fmt.Sprintf("%d of %d and %d new ones, which use the other after %d ms", failed, n, o.begun, last.Milliseconds()), "0",
	}}
}

// A draining is a thor drain --wait.
type draining struct {
	ended chan error
	said  bytes.Buffer // once ended
}

func (s *scene) drain(t *testing.T, node string) *draining {
	t.Helper()
	d := &draining{ended: make(chan error, 1)}
	cmd := exec.Command(thor, "drain", node, "--wait", "--timeout", "3m")
	cmd.Env = append(os.Environ(), "THOR_DIR="+s.dir)
	cmd.Stdout, cmd.Stderr = &d.said, &d.said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.ended <- cmd.Wait() }()
	return d
}

// end waits for the end, which has to come by itself, and after it counted something.
func (d *draining) end(t *testing.T, what string) {
	t.Helper()
	select {
	case err := <-d.ended:
		if err != nil || !strings.Contains(d.said.String(), what) {
			t.Errorf("thor drain --wait: %v\n%s", err, d.said.String())
		}
	case <-time.After(30 * time.Second):
		t.Fatal("thor drain --wait does not end")
	}
}
