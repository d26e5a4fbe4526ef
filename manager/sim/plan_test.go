package sim

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	faultsFrom = 12 * time.Second
	faultsTill = 90 * time.Second
	worldEnd   = 185 * time.Second
)

// A plan is what a run is made from.
type plan struct {
	seed    uint64
	members int
	far     bool // the machines are far from each other
	sites   bool // each broker is in a site of its own, with a third of all others
	faults  []fault
}

// A fault is one thing that goes wrong. What A and B mean is up to its kind: they
// choose among what there is at the time.
type fault struct {
	kind string
	at   time.Duration
	span time.Duration
	a, b int
}

// newPlan draws a plan. One fault in three comes at the heels of another.
func newPlan(seed uint64) plan {
	rng := rand.New(rand.NewPCG(seed, 7))
	p := plan{seed: seed, members: 5 + rng.IntN(8), far: rng.IntN(8) == 0}
	names := slices.Sorted(maps.Keys(kinds))
	for at := faultsFrom; ; {
		if rng.IntN(3) > 0 {
			at += time.Duration(rng.IntN(12_000)) * time.Millisecond
		} else {
			at += time.Duration(rng.IntN(300)) * time.Millisecond
		}
		if at >= faultsTill {
			return p
		}
		name := names[rng.IntN(len(names))]
		k := kinds[name]
		span := k.least + time.Duration(rng.Int64N(int64(k.most-k.least)+1))
		p.faults = append(p.faults, fault{
			kind: name, at: at.Round(time.Millisecond), span: min(span.Round(time.Millisecond), faultsTill-at), a: rng.IntN(1000), b: rng.IntN(1000),
		})
	}
}

func (p plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d members %d", p.seed, p.members)
	if p.far {
		b.WriteString(" far")
	}
	b.WriteByte('\n')
	for _, f := range p.faults {
		fmt.Fprintf(&b, "%v %v %d %d %s\n", f.at, f.span, f.a, f.b, f.kind)
	}
	return b.String()
}

// readPlan reads what String writes; lines that begin with # say what it is about.
func readPlan(path string) (p plan, err error) {
	f, err := os.Open(path)
	if err != nil {
		return p, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		if n, _ := fmt.Sscanf(line, "seed %d members %d", &p.seed, &p.members); n == 2 {
			p.far = strings.HasSuffix(line, " far")
			continue
		}
		parts := strings.SplitN(line, " ", 5)
		if len(parts) != 5 {
			return p, fmt.Errorf("%s: %q is no fault", path, line)
		}
		x := fault{kind: parts[4]}
		if _, ok := kinds[x.kind]; !ok {
			return p, fmt.Errorf("%s: no fault is called %q", path, x.kind)
		}
		if x.at, err = time.ParseDuration(parts[0]); err != nil {
			return p, err
		}
		if x.span, err = time.ParseDuration(parts[1]); err != nil {
			return p, err
		}
		if _, err := fmt.Sscan(parts[2]+" "+parts[3], &x.a, &x.b); err != nil {
			return p, err
		}
		p.faults = append(p.faults, x)
	}
	return p, nil
}

// play runs the plan and returns what it broke.
func (p plan) play(s *stats, trace func(string)) []string {
	w := newWorld(p, s)
	w.trace = trace
	for _, f := range p.faults {
		k := kinds[f.kind]
		w.after(f.at, func() {
			end := k.begin(w, f)
			if end == nil {
				return
			}
			w.log("fault: %s for %v", f.kind, f.span)
			s.count("fault", f.kind)
			w.after(f.span, end)
		})
	}
	w.after(faultsTill+time.Second, w.heal)
	w.run(worldEnd)
	if len(w.truth.broken) == 0 {
		w.settled()
	}
	return w.truth.broken
}

// shrink makes a plan that breaks something as small as it gets.
func (p plan) shrink() plan {
	fails := func(q plan) bool { return len(q.play(newStats(), nil)) > 0 }
	for n := max(1, len(p.faults)/2); ; n = n / 2 {
		for i := 0; i < len(p.faults); {
			q := p
			q.faults = slices.Delete(slices.Clone(p.faults), i, min(i+n, len(p.faults)))
			if fails(q) {
				p = q
			} else {
				i += n
			}
		}
		if n <= 1 {
			return p
		}
	}
}
