package sim

import (
	"slices"
	"testing"
	"time"

	"thor/subjects"
)

// A detection is how long the rest of the network shows the processes of a host
// that was cut off.
type detection struct {
	seed   uint64
	took   time.Duration // -1: they were shown until the end
	what   string        // what the host had
	bucket bool          // the leader of the lease's bucket among it
}

// hostCut plays one world in which nothing happens but that a host is cut off.
func hostCut(seed uint64, trace func(string)) detection {
	const at, span = 40 * time.Second, 45 * time.Second
	p := plan{seed: seed, members: 16}
	w := newWorld(p, newStats())
	w.trace = trace
	i := int(seed) % brokerCount
	d := detection{seed: seed, took: -1}
	w.after(at, func() {
		d.what, d.bucket = w.hostIs(i), w.bucket.leader == w.brokers[i]
		w.log("host %d is cut off: %s", i+1, d.what)
		kinds["host cut off"].begin(w, fault{a: i})
	})
	on := w.onHost(i)
	var look func()
	look = func() {
		if w.elsewhereLists(i, on) {
			w.after(20*time.Millisecond, look)
			return
		}
		d.took = w.now - at
	}
	w.after(at+time.Millisecond, look)
	w.run(at + span)
	return d
}

// onHost are the members that a host has.
func (w *world) onHost(i int) (on []subjects.NodeID) {
	return append(on, subjects.NodeID(w.brokers[i].name), w.managers[i].p.node, w.observers[i].p.node, w.members[i].p.node)
}

// hostIs says what matters of a host.
func (w *world) hostIs(i int) string {
	text := " a broker, a manager, a name server, a proxy"
	if w.managers[i].leads() {
		text += ", the leader"
	}
	for _, m := range w.managers {
		if m.leads() && m.p.link != nil && m.p.link.b == w.brokers[i] {
			text += ", its broker"
		}
	}
	if w.bucket.leader == w.brokers[i] {
		text += ", the bucket's leader"
	}
	return text
}

// elsewhereLists reports whether an observer on another host shows any of those nodes.
func (w *world) elsewhereLists(host int, on []subjects.NodeID) bool {
	for j, o := range w.observers {
		if j == host || o.feed.tracker.Status == nil {
			continue
		}
		for _, ms := range o.feed.tracker.Status.Roles {
			if slices.ContainsFunc(ms, func(m subjects.Member) bool { return slices.Contains(on, m.Node) }) {
				return true
			}
		}
	}
	return false
}

// A host that is cut off is gone elsewhere within 12 s, also with the active manager. Where
// the leader of the lease's bucket was there too, that holds unless its successor takes
// longer than the lease: then the active manager stops, and the next one has to find out
// anew who is silent; or the last renewals were told to none, and the lease has to expire.
func TestAHostThatIsCutOffIsGoneSoon(t *testing.T) {
	if *oneSeed >= 0 {
		t.Log(hostCut(uint64(*oneSeed), func(s string) { t.Log(s) }))
		return
	}
	const seeds, bound, longest = 300, 12 * time.Second, 24 * time.Second
	by, withBucket, late := map[string][]time.Duration{}, 0, 0
	for seed := range uint64(seeds) {
		d := hostCut(seed, nil)
		if d.bucket {
			withBucket++
		}
		switch {
		case d.took >= 0 && d.took <= bound:
		case d.bucket && d.took >= 0 && d.took <= longest:
			late++
		default:
			t.Errorf("seed %d: %v until the members of a host are gone that had%s", seed, d.took, d.what)
		}
		by[d.what] = append(by[d.what], d.took)
	}
	if late > withBucket/6 {
		t.Errorf("%d of %d hosts with the bucket's leader took longer than %v", late, withBucket, bound)
	}
	for what, list := range by {
		slices.Sort(list)
		t.Logf("%3d hosts with%s: median %.2f s, longest %.2f s", len(list), what, list[len(list)/2].Seconds(), list[len(list)-1].Seconds())
	}
}

// An active manager whose own broker was restarted stays at another one. When the host of that is cut off,
// it finds out with its connection, and knows no silence from before: docs/budget.md has the sum of the parts.
func TestAHostWithTheBrokerOfALeaderElsewhereIsGone(t *testing.T) {
	const cut, least, most = 60 * time.Second, 12 * time.Second, 16 * time.Second
	var took []time.Duration
	for seed := uint64(0); seed < 100 && len(took) < 40; seed++ {
		w := newWorld(plan{seed: seed, members: 16}, newStats())
		if *oneSeed == int64(seed) {
			w.trace = func(s string) { t.Log(s) }
		}
		w.run(20 * time.Second)
		leader := w.leader()
		home := w.brokers[leader.p.home]
		home.kill()
		w.run(24 * time.Second)
		home.start()
		w.run(cut)
		if !leader.leads() || leader.p.link == nil || leader.p.link.b == home {
			continue // another one took over, or it could return
		}
		i := leader.p.link.b.index
		kinds["host cut off"].begin(w, fault{a: i})
		for on := w.onHost(i); w.elsewhereLists(i, on) && w.now < cut+45*time.Second; {
			w.run(w.now + 20*time.Millisecond)
		}
		if took = append(took, w.now-cut); w.now-cut > most {
			t.Errorf("seed %d: gone after %v", seed, w.now-cut)
		}
	}
	if len(took) < 20 {
		t.Fatalf("only %d worlds had a leader elsewhere", len(took))
	}
	slices.Sort(took)
	t.Logf("%d hosts: median %.2f s, shortest %.2f s, longest %.2f s", len(took), took[len(took)/2].Seconds(), took[0].Seconds(), took[len(took)-1].Seconds())
	if took[len(took)-1] < least {
		t.Errorf("none took longer than %v: docs/budget.md says so", least)
	}
}
