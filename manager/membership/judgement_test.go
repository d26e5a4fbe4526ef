package membership

import (
	"slices"
	"testing"
	"time"
)

// TestTheVerdictOnOneFailedMember turns one fact after the other.
func TestTheVerdictOnOneFailedMember(t *testing.T) {
	const now = time.Hour
	quiet, failing := failedFacts{state: stateSilent}, failedFacts{state: stateFailing, proven: true}
	crashed := failedFacts{state: stateLost, proven: true}
	sound := roleFacts{now: now, needed: true, up: 3, size: 10}
	with := func(change func(f *roleFacts)) roleFacts {
		f := sound
		change(&f)
		return f
	}
	panics := func(p panicFacts) roleFacts {
		return with(func(f *roleFacts) { p.step = 10 * time.Second; f.panic = &p })
	}
	confirmed := func(m failedFacts) failedFacts { m.confirmed = true; return m }
	site := func(m failedFacts, until instant) failedFacts { m.site = until; return m }
	goes := ruling{}
	for _, c := range []struct {
		name string
		f    roleFacts
		m    failedFacts
		want ruling
	}{
		{"silent", sound, quiet, goes},
		{"failing", sound, failing, goes},
		{"crashed", sound, crashed, goes},
		{"no other is up", with(func(f *roleFacts) { f.up = 0 }), crashed, ruling{GuardLast, never}},
		{"no other is up, confirmed", with(func(f *roleFacts) { f.up = 0 }), confirmed(quiet), ruling{GuardLast, never}},
		{"no other is up, of a role that none needs", with(func(f *roleFacts) { f.up, f.needed = 0, false }), quiet, goes},
		{"the role came back to life", with(func(f *roleFacts) { f.revived = now + 5 }), quiet, ruling{GuardLast, now + 5}},
		{"the role came back to life, crashed", with(func(f *roleFacts) { f.revived = now + 5 }), crashed, goes},
		{"the observer is blind", with(func(f *roleFacts) { f.blind = now + 7 }), quiet, ruling{GuardObserver, now + 7}},
		{"the observer is blind, crashed", with(func(f *roleFacts) { f.blind = now + 7 }), crashed, goes},
		{"the observer is blind, confirmed", with(func(f *roleFacts) { f.blind = now + 7 }), confirmed(quiet), goes},
		{"the observer was blind until now", with(func(f *roleFacts) { f.blind = now }), quiet, goes},
		{"panic begins", panics(panicFacts{until: now + 9, healthy: true}), quiet, ruling{GuardPanic, now + 9}},
		{"panic, crashed", panics(panicFacts{until: now + 9}), crashed, goes},
		{"panic, failing", panics(panicFacts{until: now + 9}), failing, goes},
		{"panic, confirmed", panics(panicFacts{until: now + 9}), confirmed(quiet), goes},
		{"panic, one has gone", panics(panicFacts{until: now, next: now + 4, healthy: true}), quiet, ruling{GuardPanic, now + 4}},
		{"panic, half would not stay", panics(panicFacts{stable: 19, healthy: true}), quiet, ruling{GuardPanic, now + heartbeat}},
		{"panic, half stays", panics(panicFacts{stable: 18, healthy: true}), quiet, goes},
		{"panic, the others are not well", panics(panicFacts{stable: 10}), quiet, ruling{GuardPanic, now + heartbeat}},
		{"checks fail everywhere", with(func(f *roleFacts) { f.checks = true }), failing, ruling{GuardChecks, never}},
		{"checks fail everywhere, confirmed", with(func(f *roleFacts) { f.checks = true }), confirmed(failing), goes},
		{"checks fail everywhere, silent", with(func(f *roleFacts) { f.checks = true }), quiet, goes},
		{"an operator holds, silent", with(func(f *roleFacts) { f.hold = now + 1 }), quiet, ruling{GuardHold, now + 1}},
		{"an operator holds, failing", with(func(f *roleFacts) { f.hold = now + 1 }), failing, ruling{GuardHold, now + 1}},
		{"an operator holds, crashed", with(func(f *roleFacts) { f.hold = now + 1 }), crashed, goes},
		{"an operator held until now", with(func(f *roleFacts) { f.hold = now }), quiet, goes},
		{"its site is silent", sound, site(quiet, now+5), ruling{GuardSite, now + 5}},
		{"its site is silent, crashed", sound, site(crashed, now+5), goes},
		{"its site is silent, confirmed", sound, confirmed(site(quiet, now+5)), goes},
		{"its site is silent, no other is up", with(func(f *roleFacts) { f.up = 0 }), site(quiet, now), ruling{GuardLast, never}},
		{"its site is silent, the observer is blind", with(func(f *roleFacts) { f.blind = now + 7 }), site(quiet, now), ruling{GuardObserver, now + 7}},
		{"its site was let go", sound, site(quiet, now), goes},
		{"its site was let go, panic", panics(panicFacts{until: now + 9}), site(quiet, now), goes},
	} {
		c.f.failed = []failedFacts{c.m}
		if got := judge(&c.f); !slices.Equal(got, []ruling{c.want}) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// In a panic one silent member goes at a time; proven failures pass, and count for the half that stays.
func TestTheVerdictOnSeveral(t *testing.T) {
	const now = time.Hour
	quiet, crashed := failedFacts{state: stateSilent}, failedFacts{state: stateLost, proven: true}
	f := roleFacts{now: now, needed: true, up: 3, size: 10, failed: []failedFacts{crashed, quiet, quiet, crashed}}
	f.panic = &panicFacts{step: 10 * time.Second, stable: 10, healthy: true}
	wait := ruling{GuardPanic, now + 10*time.Second}
	if got, want := judge(&f), []ruling{{}, {}, wait, {}}; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	f.size = 6 // without the one that crashed: 5
	wait.until = now + heartbeat
	if got, want := judge(&f), []ruling{{}, wait, wait, {}}; !slices.Equal(got, want) {
		t.Errorf("half stays, no more: %+v, want %+v", got, want)
	}
	f.panic = nil
	if got, want := judge(&f), make([]ruling, 4); !slices.Equal(got, want) {
		t.Errorf("without a guard: %+v, want %+v", got, want)
	}
}
