package faults_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/cmd/thor/e2e/faults"
	"thor/cmd/thor/e2e/trace"
)

var topology = faults.Topology{
	Core:   []string{"host1", "host2", "host3"},
	Agents: map[string][]string{"host4": {"proxy4", "proxy6"}, "host5": {"proxy5", "proxy7"}},
}

// sites is a network of three sites.
var sites = faults.Topology{
	Core:   []string{"ams1", "fra1", "lon1"},
	Agents: map[string][]string{"ams2": {"ams2"}, "fra2": {"fra2"}, "lon2": {"lon2"}},
	Sites:  map[string][]string{"ams": {"ams1", "ams2"}, "fra": {"fra1", "fra2"}, "lon": {"lon1", "lon2"}},
}

func plan(t *testing.T, p faults.Plan) []faults.Round { return planFor(t, p, topology) }

func planFor(t *testing.T, p faults.Plan, of faults.Topology) []faults.Round {
	t.Helper()
	rounds, err := faults.Schedule(p, of)
	if err != nil {
		t.Fatal(err)
	}
	return rounds
}

func TestScheduleFollowsFromItsSeed(t *testing.T) {
	p := faults.Plan{Seed: 7, Rounds: 200, Pairs: true}
	first := plan(t, p)
	if !reflect.DeepEqual(first, plan(t, p)) {
		t.Error("the same plan gives two schedules")
	}
	p.Seed = 8
	if reflect.DeepEqual(first, plan(t, p)) {
		t.Error("two seeds give one schedule")
	}
}

func TestEveryKindComesBeforeOneComesAgain(t *testing.T) {
	var kinds []string
	for _, k := range faults.Kinds {
		if slices.Contains(kinds, k.Name) {
			t.Errorf("two kinds are named %q", k.Name)
		}
		kinds = append(kinds, k.Name)
	}
	if len(kinds) < 36 {
		t.Errorf("%d kinds of faults", len(kinds))
	}
	seen := make(map[string]int)
	for _, r := range plan(t, faults.Plan{Seed: 1, Rounds: 2 * len(kinds), Pairs: true}) {
		for _, f := range r.Faults {
			seen[f.Kind]++
		}
	}
	for _, k := range faults.Kinds {
		if n := seen[k.Name]; !k.Damped && n == 0 {
			t.Errorf("%q never comes", k.Name)
		} else if k.Damped && n > 0 {
			t.Errorf("%q comes where flaps are not damped", k.Name)
		}
	}
}

// What a fault does it undoes: after its last step the world is as it was.
func TestFaultsUndoWhatTheyDo(t *testing.T) {
	undone := map[trace.Act]trace.Act{
		trace.Kill: trace.Start, trace.Term: trace.Start, trace.Freeze: trace.Continue, trace.Stutter: trace.Smooth, trace.Drain: trace.Resume,
		trace.ServiceDown: trace.ServiceUp, trace.Cut: trace.Heal, trace.LinkDown: trace.LinkUp, trace.Fill: trace.Free, trace.Revoke: trace.Reissue,
	}
	type thing struct {
		process, host, from, to string
		port                    int
		act                     trace.Act
	}
	for _, r := range slices.Concat(plan(t, faults.Plan{Seed: 3, Rounds: 1000}), planFor(t, faults.Plan{Seed: 3, Rounds: 200}, sites)) {
		for _, f := range r.Faults {
			open := make(map[thing]bool)
			var last time.Duration
			for _, s := range f.Steps {
				if s.After < last {
					t.Fatalf("%s: steps are not in the order of time", f.Kind)
				}
				last = s.After
				of := thing{s.Process, s.Host, s.From, s.To, s.Port, s.Act}
				if end, ok := undone[s.Act]; ok {
					of.act = end
					open[of] = true
				}
				delete(open, thing{s.Process, s.Host, s.From, s.To, s.Port, s.Act})
				switch s.Act {
				case trace.TwinStart:
					of.act = "twin"
					open[of] = true
				case trace.TwinTerm, trace.TwinKill:
					of.act = "twin"
					delete(open, of)
				case trace.Loss, trace.Delay, trace.Rate, trace.Files, trace.Slow, trace.Drop:
					open[of] = s.N > 0
					if s.N == 0 {
						delete(open, of)
					}
				}
			}
			if len(open) > 0 {
				t.Errorf("%s leaves behind %v", f.Kind, open)
			}
		}
	}
}

// A network with sites is hit by all kinds of sites, and by another one only if that is named.
func TestNetworksWithSitesAreHitAsSites(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range planFor(t, faults.Plan{Seed: 4, Rounds: len(faults.SiteKinds)}, sites) {
		seen[r.Faults[0].Kind] = true
		for _, s := range r.Faults[0].Steps {
			if s.From == "" {
				continue
			}
			for _, end := range []string{s.From, s.To} {
				if end != faults.ActiveSite && !slices.Contains(sites.Places(), end) {
					t.Errorf("%s acts on %q, which is no site", r.Faults[0].Kind, end)
				}
			}
			if s.From == s.To {
				t.Errorf("%s cuts %s off from itself", r.Faults[0].Kind, s.From)
			}
		}
	}
	for _, k := range faults.SiteKinds {
		if !seen[k.Name] {
			t.Errorf("%q never comes", k.Name)
		}
		if _, err := faults.Schedule(faults.Plan{Rounds: 1, Only: []string{k.Name}}, topology); err == nil {
			t.Errorf("%q comes where there are no sites", k.Name)
		}
	}
	if len(seen) != len(faults.SiteKinds) {
		t.Errorf("%d kinds came, not %d", len(seen), len(faults.SiteKinds))
	}
	if r := planFor(t, faults.Plan{Rounds: 1, Only: []string{"agent crashes"}}, sites); r[0].Faults[0].Kind != "agent crashes" {
		t.Errorf("%+v", r)
	}
	if s := sites.Site("fra2"); s != "fra" {
		t.Errorf("fra2 is in site %q", s)
	}
}

func TestUnknownKindIsRefused(t *testing.T) {
	if _, err := faults.Schedule(faults.Plan{Rounds: 1, Only: []string{"flood of frogs"}}, topology); err == nil {
		t.Error("no error")
	}
}

func TestListsNameKinds(t *testing.T) {
	has := func(name string) bool {
		return slices.ContainsFunc(faults.Kinds, func(k faults.Kind) bool { return k.Name == name })
	}
	for _, q := range faults.Quick {
		if !has(q) {
			t.Errorf("the quick run names %q, which is no kind", q)
		}
	}
	for _, k := range faults.KnownFailures {
		if !has(k.Kind) || k.Why == "" {
			t.Errorf("%+v is no kind, or does not say why", k)
		}
	}
	if len(faults.Quick) != 12 {
		t.Errorf("%d kinds in the quick run", len(faults.Quick))
	}
}

// Each program is replaced once, alone, and those that are to be first are.
func TestARollingUpgradeHasAnOrder(t *testing.T) {
	for order, programs := range map[faults.Order][]string{
		faults.ManagersFirst: {trace.Manager, trace.Broker, trace.NameServer, trace.Agent},
		faults.MembersFirst:  {trace.Agent, trace.NameServer, trace.Broker, trace.Manager},
	} {
		rounds, err := faults.Rolling(order, topology)
		if err != nil {
			t.Fatal(err)
		}
		var met []string
		seen := make(map[string]bool)
		for _, r := range rounds {
			if on := r.Faults[0].On; len(on) != 1 || seen[on[0]] {
				t.Errorf("%s: a round is about %v", order, on)
			}
			process := r.Faults[0].On[0]
			seen[process] = true
			if p := process[strings.Index(process, "/")+1:]; !slices.Contains(met, p) {
				met = append(met, p)
			}
		}
		if len(seen) != 16 || !slices.Equal(met, programs) {
			t.Errorf("%s: %d programs in the order %v", order, len(seen), met)
		}
	}
	if _, err := faults.Rolling("brokers", topology); err == nil {
		t.Error("an order that does not exist")
	}
}

// An upgrade ends with every program running this build, and stops none for good.
func TestAnUpgradeEndsWithThisBuild(t *testing.T) {
	rounds, err := faults.Upgrade(5, topology)
	if err != nil {
		t.Fatal(err)
	}
	build, stopped, both := make(map[string]int), make(map[string]bool), 0
	for _, r := range rounds {
		for _, s := range r.Faults[0].Steps {
			switch s.Act {
			case trace.Build:
				if !stopped[s.Process] {
					t.Errorf("%s changes its build while it runs", s.Process)
				}
				build[s.Process] = s.N
			case trace.Term, trace.Kill:
				stopped[s.Process] = true
			case trace.Start:
				delete(stopped, s.Process)
			}
		}
		if n := len(build); n > 0 && n < 16 {
			both++
		}
	}
	if len(build) != 16 || len(stopped) > 0 || both < 5 {
		t.Errorf("%d programs changed, %d rounds with both builds, stopped are %v", len(build), both, stopped)
	}
	for p, n := range build {
		if n != faults.ThisBuild {
			t.Errorf("%s ends with build %d", p, n)
		}
	}
}
