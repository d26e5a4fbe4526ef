//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// scale is one run of the scale test: its phases, in order, and what they print.
type scale struct {
	t       *testing.T
	f       *fleet
	samples int

	rows        []scaleRow
	busy        []string // phases in which the harness took more than half of the machine
	restBrokers float64  // cores
}

// say prints at once: whatever fails later, what was measured is not lost.
func (s *scale) say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// TestScale prints how a network of THOR_SCALE members behaves on this machine,
// with three brokers, three managers and a name server as processes of their own.
// Of the members fifty use the SDK; the others are light: a TLS connection with its
// own certificate, beats, pings, and a check of the status's mark and digest. They
// are in this process, whose use of the processor is told apart.
// THOR_SCALE_SAMPLES is how many samples a phase takes.
func TestScale(t *testing.T) {
	members, err := strconv.Atoi(os.Getenv("THOR_SCALE"))
	if err != nil || members < 100 {
		t.Skip("set THOR_SCALE to a number of members, at least 100, or use just scale")
	}
	s := &scale{t: t, samples: 20}
	if n, err := strconv.Atoi(os.Getenv("THOR_SCALE_SAMPLES")); err == nil {
		s.samples = n
	}
	network := startScale(t)
	preferMembers()
	s.f = newFleet(t, network, members)
	s.say("%d members, %d of them with the SDK; flap damping off; at most %d connections are made at once; load average of the machine at the beginning: %s",
		members, sdkMembers, dialsAtOnce, loadAverage())
	for _, p := range []struct {
		name string
		run  func()
	}{
		{"empty", s.empty}, {"join", s.join}, {"rest", s.rest}, {"change", s.change}, {"deltas", s.storm}, {"crash", s.crash}, {"freeze", s.freeze}, {"broker", s.brokerDies},
	} {
		if only := os.Getenv("THOR_SCALE_PHASES"); only == "" || slices.Contains(strings.Split(only, ","), p.name) {
			p.run()
		}
	}
	s.say("in all: %s", s.f.summary())
	s.table()
	for _, why := range s.f.faults[:min(10, len(s.f.faults))] {
		t.Errorf("fault: %s", why)
	}
}

// preferMembers lets the members have the processor before the daemons, where this
// process may decide it: each stands for a machine of its own, and one that answers a
// broker's ping late because thousands share a process would be given up. The daemons
// have sessions of their own, and so their own shares.
func preferMembers() {
	const weight = "-10" // of the sessions' nice values
	if err := os.WriteFile("/proc/self/autogroup", []byte(weight), 0o644); err != nil {
		fmt.Printf("the members share the processor evenly with the daemons: %v\n", err)
	}
}

func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	return strings.Join(strings.Fields(string(b))[:1], "")
}

// wait polls until cond; it reports whether that came in time.
func (s *scale) wait(within time.Duration, cond func() bool) (time.Duration, bool) {
	began := time.Now()
	for !cond() {
		if time.Since(began) > within {
			return time.Since(began), false
		}
		<-time.After(20 * time.Millisecond)
	}
	return time.Since(began), true
}

// join is the cold start: all members come at once.
func (s *scale) join() {
	f, before := s.f, s.f.net.use(s.t)
	began := time.Now()
	profiled := f.net.profile("join", 8*time.Second)
	f.join(s.t)
	const within = 200 * time.Second
	told := time.Duration(0)
	_, ok := s.wait(within, func() bool {
		if d := time.Since(began); d > told+10*time.Second {
			told = d
			s.say("  after %3.0f s: %d connected, %d listed, %d connections made, %d broken, %d dials failed, %d asked for the snapshot, %d had it", d.Seconds(),
				f.connected(), f.listed(f.view.View().Status), f.connects.Load(), f.breaks.Load(), f.failedDials.Load(), f.repairs.Load(), f.snapshots.Load())
		}
		return f.complete()
	})
	listed, took := 0, time.Since(began)
	if st := f.view.View().Status; st != nil {
		listed = f.listed(st)
	}
	if !ok {
		s.say("cold join: NOT reached within %s: %d of %d listed, %d connected; %s; %s", within, listed, len(f.light)+len(f.sdk), f.connected(),
			f.net.use(s.t).since(before).cores(took), f.summary())
		s.t.FailNow()
	}
	generation := f.view.View().Mark().Generation
	behind := 0
	_, ok = s.wait(within, func() bool { behind = f.everywhere(generation); return behind == 0 })
	all := time.Since(began)
	s.say("cold join: all listed after %.1f s, full status everywhere after %.1f s (missing at %d); %d generations",
		took.Seconds(), all.Seconds(), behind, generation)
	profiled()
	used := f.net.use(s.t).since(before)
	s.say("  meanwhile: %s", used.cores(all))
	s.say("  %s", f.summary())
	s.cpu("cold join", used, all)
	s.figure("cold join: all listed", "", "%.1f s", took.Seconds())
	s.figure("cold join: full status everywhere", "≤ 60 s", "%.1f s", all.Seconds())
	s.figure("cold join: broken connections, removals", "0, 0", "%d, %d", f.breaks.Load(), len(f.left))
	if !ok {
		s.t.FailNow()
	}
}

// empty is what the network uses before it has members.
func (s *scale) empty() { s.idle("empty", 10*time.Second) }

// rest is what the network uses when nothing happens.
func (s *scale) rest() { s.idle("at rest", 20*time.Second) }

func (s *scale) idle(name string, d time.Duration) {
	<-time.After(5 * time.Second)
	before, beats := s.f.net.use(s.t), s.f.beats.Load()
	generation := s.f.view.View().Mark().Generation
	profiled := s.f.net.profile(strings.ReplaceAll(name, " ", "-"), d)
	<-time.After(d)
	used := s.f.net.use(s.t).since(before)
	profiled()
	if s.f.joined {
		s.restBrokers = float64(used.brokers) / float64(d)
		s.cpu(name, used, d)
		s.figure("at rest: cores of brokers and managers", "≤ 0.6", "%.3f + %.3f = %.3f", s.restBrokers, float64(used.managers)/float64(d), float64(used.brokers+used.managers)/float64(d))
		s.figure("at rest: cores of the harness", "", "%.3f", float64(used.self)/float64(d))
		s.figure("at rest: RSS of brokers and managers", "≤ 1.2 GiB", "%d MiB", used.rss>>20)
		s.figure("at rest: RSS of the name server", "≤ 30 MiB at 1,000", "%.1f MiB", float64(used.dnsRSS)/(1<<20))
	} else {
		s.figure("without members: cores of brokers and managers", "", "%.3f", float64(used.brokers+used.managers)/float64(d))
	}
	s.say("%s, over %s: %s; %.0f beats a second of light members; %d generations", name, d, used.cores(d),
		float64(s.f.beats.Load()-beats)/d.Seconds(), s.f.view.View().Mark().Generation-generation)
}

// change is one change until all members have heard of it.
func (s *scale) change() {
	f := s.f
	var took []time.Duration
	missing := 0
	m := f.light[len(f.light)-1]
	f.measured.Store(&m.node)
	for i := range s.samples {
		<-time.After(1500 * time.Millisecond) // a member changes the status once a second
		for _, o := range f.light {
			o.heard.Store(0)
		}
		began := time.Since(f.began)
		m.change(99 - i%90)
		s.wait(5*time.Second, func() bool {
			return !slices.ContainsFunc(f.light, func(o *lightMember) bool { return o.heard.Load() == 0 })
		})
		for _, o := range f.light {
			if h := o.heard.Load(); h == 0 {
				missing++
			} else {
				took = append(took, time.Duration(h)-began)
			}
		}
	}
	f.measured.Store(nil)
	s.times("one change → heard", "p99 ≤ 1 s", took)
	if len(took) == 0 {
		s.say("one change → heard: by none")
		return
	}
	s.say("one change → heard by all, %d changes: median %d ms, p99 %d ms, max %d ms; not within 5 s: %d of %d", s.samples,
		took[len(took)/2].Milliseconds(), took[len(took)*99/100].Milliseconds(), took[len(took)-1].Milliseconds(), missing, len(took)+missing)
}

// inDNS reports whether the name server answers with the probe, and with how many
// others.
func (s *scale) inDNS(m *lightMember) (in bool, others int) {
	var q dns.Msg
	q.SetQuestion(strings.ReplaceAll(scaleProbes, "_", "-")+"."+s.f.net.domain+".", dns.TypeA)
	c := dns.Client{Timeout: time.Second, Net: "tcp"}
	a, _, err := c.Exchange(&q, s.f.net.dns)
	if err != nil {
		s.f.fault("DNS: %v", err)
		return true, 0
	}
	for _, rr := range a.Answer {
		if x, ok := rr.(*dns.A); ok && x.A.String() == m.addr.String() {
			in = true
		} else {
			others++
		}
	}
	return in, others
}

// gone samples how long a probe stays in the answers of the name server after
// act, and brings it back by undo.
func (s *scale) gone(name, goal string, samples int, act func(*lightMember) (undo func())) {
	f := s.f
	var took []time.Duration
	for i := range samples {
		m := f.probes[i%len(f.probes)]
		f.doom(m, true)
		if _, ok := s.wait(30*time.Second, func() bool { in, others := s.inDNS(m); return in && others == len(f.probes)-1 }); !ok {
			s.say("%s: the probes were not all back before sample %d", name, i)
			break
		}
		<-time.After(500*time.Millisecond + time.Duration(i%10)*100*time.Millisecond)
		began := time.Now()
		undo := act(m)
		if _, ok := s.wait(60*time.Second, func() bool { in, _ := s.inDNS(m); return !in }); !ok {
			s.say("%s: %s was not gone within 60 s", name, m.node)
			undo()
			break
		}
		took = append(took, time.Since(began))
		undo()
	}
	s.times(name+" → gone from the name server", goal, took)
	if len(took) > 0 {
		s.say("%s → gone from the name server: median %d ms, max of %d %d ms", name, took[len(took)/2].Milliseconds(), len(took), took[len(took)-1].Milliseconds())
	}
	s.wait(30*time.Second, func() bool { _, others := s.inDNS(f.light[len(f.light)-1]); return others == len(f.probes) })
	for _, m := range f.probes {
		f.doom(m, false)
	}
}

// crash ends probes as kill -9 does: the kernel closes the socket.
func (s *scale) crash() {
	s.gone("crash", "max ≤ 0.7 s at 10, ≤ 1.0 s at 5,000", s.samples, func(m *lightMember) func() {
		m.stop()
		return func() {
			m.reborn()
			s.f.start(m)
		}
	})
}

// freeze lets probes stand still, as SIGSTOP and a cut cable do.
func (s *scale) freeze() {
	s.gone("freeze", "max ≤ 5 s at 10, ≤ 6 s at 5,000", min(s.samples, 20), (*lightMember).freeze)
}

// brokerDies kills a broker: its members come back elsewhere, all at once.
func (s *scale) brokerDies() {
	f := s.f
	index := 0
	var on []*lightMember
	for _, m := range f.light {
		m.mu.Lock()
		if m.conn != nil && m.broker == index {
			on = append(on, m)
		}
		m.mu.Unlock()
	}
	broker := f.net.find(fmt.Sprintf("broker%d", index+1))
	f.expectBreaks.Store(true)
	connects, fails, removed := f.connects.Load(), f.failedDials.Load(), len(f.left)
	began := time.Now()
	broker.end(syscall.SIGKILL)
	_, ok := s.wait(120*time.Second, func() bool {
		return f.connects.Load()-connects >= int64(len(on)) && f.connected() == len(f.light)
	})
	back := time.Since(began)
	<-time.After(15 * time.Second) // what is removed for silence goes within this
	_, same := s.wait(30*time.Second, func() bool { return f.complete() })
	s.say("a broker is killed: %d light members on it; all back after %.1f s (%v), dials that failed %d; 15 s later all are listed: %v; %s",
		len(on), back.Seconds(), ok, f.failedDials.Load()-fails, same, f.summary())
	s.figure(fmt.Sprintf("a broker killed: its %d members all back", len(on)), "≤ 10 s", "%.1f s", back.Seconds())
	s.figure("a broker killed: removals", "0", "%d", len(f.left)-removed)
	broker.start(s.t)
	f.expectBreaks.Store(false)
}

// reborn makes m a new process.
func (m *lightMember) reborn() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boot, m.seq, m.follow = newBoot(), 0, follower{}
	m.mark.Store(0)
}
