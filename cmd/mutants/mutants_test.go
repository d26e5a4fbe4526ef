package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// leastMutants is how many the table has at least.
const leastMutants = 200

// The table follows the code: each row changes the present source, in one place.
func TestEachRowChangesOnePlaceOfThePresentSource(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := readTable()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) < leastMutants {
		t.Errorf("%d mutants, at least %d are wanted", len(rows), leastMutants)
	}
	equivalent := 0
	for _, m := range rows {
		if _, err := m.apply(root); err != nil {
			t.Error(err)
		}
		for _, p := range m.Packages {
			if files, _ := filepath.Glob(filepath.Join(root, p, "*_test.go")); len(files) == 0 {
				t.Errorf("%s: %s has no tests", m.Name, p)
			}
		}
		if m.Equivalent != "" {
			equivalent++
		}
	}
	if equivalent > mostEquivalent {
		t.Errorf("%d rows are said to be equivalent, %d may be", equivalent, mostEquivalent)
	}
}

// A row that does not fit is refused, whatever is wrong with it.
func TestARowThatDoesNotFitIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("package a\n\nconst x = 1\nconst y = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ old, want string }{
		{"const z", "0 times"},
		{" = 1", "2 times"},
	} {
		m := mutant{Name: "m", File: "a.go", Old: x.old}
		if _, err := m.apply(dir); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%q: %v", x.old, err)
		}
	}
	m := mutant{Name: "m", File: "a.go", Old: "x = 1", New: "x = 2"}
	if b, err := m.apply(dir); err != nil || string(b) != "package a\n\nconst x = 2\nconst y = 1\n" {
		t.Errorf("%q %v", b, err)
	}
	const row = "[[mutant]]\nname = 'm'\nfile = 'a/b.go'\nold = 'x'\nnew = 'y'\nbreaks = 'it'\n"
	ms, err := parseTable([]byte(row))
	if err != nil || len(ms) != 1 || len(ms[0].Packages) != 1 || ms[0].Packages[0] != "a" {
		t.Errorf("%v %v", ms, err)
	}
	for _, bad := range []string{row + row, row + "color = 'red'\n", strings.Replace(row, "'y'", "'x'", 1), strings.Replace(row, "old = 'x'\n", "", 1)} {
		if _, err := parseTable([]byte(bad)); err == nil {
			t.Errorf("taken:\n%s", bad)
		}
	}
}

// What killed a mutant is read from the output of its tests; a mutant that could not be
// built was not killed.
func TestWhatKilledAMutantIsNamed(t *testing.T) {
	for _, x := range []struct{ out, want string }{
		{"ok  \tthor/a\t0.1s\n", ""},
		{"FAIL\tthor/a [build failed]\n", ""},
		{"--- FAIL: TestB (0.01s)\n    b_test.go:1: no\nFAIL\n", "TestB"},
		{"--- FAIL: TestB (0.01s)\n    --- FAIL: TestB/x (0.00s)\n        b_test.go:1: no\nFAIL\n", "TestB/x"},
		{"panic: test timed out after 4m0s\n\trunning tests:\n\t\tTestC (4m0s)\n", "TestC (it does not end)"},
		{"panic: nil map\n\ngoroutine 7 [running]:\nthor/a.TestD(0xc)\n", "TestD (nil map)"},
	} {
		if got := killer(x.out); got != x.want {
			t.Errorf("%q, want %q, in\n%s", got, x.want, x.out)
		}
	}
	for _, x := range []struct{ out, want string }{
		{"PASS\n", ""},
		{"    sim_test.go:40: seeds 0 to 1999\n    sim_test.go:57: seed 7: 30.100 s: I4: gone\n--- FAIL: TestWorlds (1s)\n", "seed 7: 30.100 s: I4: gone"},
		{"    sim_test.go:127: testdata/a.plan: 30.1 s: I1: two\n", "testdata/a.plan: 30.1 s: I1: two"},
		{"    sim_test.go:83: no seed had \"guard panic\"\n", "no seed had \"guard panic\""},
	} {
		if got := brokenBy(x.out); got != x.want {
			t.Errorf("%q, want %q, in\n%s", got, x.want, x.out)
		}
	}
}

// Too many survivors, and rows that were not played, fail a run.
func TestARunFailsWhenTooManySurvive(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	p := &player{root: root, seeds: 1, hashes: map[string]string{}}
	rows := make([]*mutant, 10)
	for i := range rows {
		rows[i] = &mutant{Name: string(rune('a' + i)), File: "a/a.go", Packages: []string{"a"}}
	}
	run := func(change func(m *mutant, kind string, v *verdict)) error {
		known := map[string]*verdict{}
		for _, m := range rows {
			m.Old, m.Equivalent = m.Name, ""
		}
		for _, m := range rows {
			for _, kind := range []string{unitTests, simulation} {
				v := &verdict{By: "TestX", Tests: p.tests(m, kind)}
				if change(m, kind, v); v.Name != "not played" {
					known[p.key(m, kind)] = v
				}
			}
		}
		return (&options{}).report(&strings.Builder{}, p, rows, known)
	}
	survive := func(names, kind string) func(*mutant, string, *verdict) {
		return func(m *mutant, k string, v *verdict) {
			if k == kind && strings.Contains(names, m.Name) {
				v.By = ""
			}
		}
	}
	for _, x := range []struct {
		what   string
		change func(*mutant, string, *verdict)
		fails  bool
	}{
		{"all are killed", survive("", unitTests), false},
		{"one survives the unit tests", survive("c", unitTests), true},
		{"one is equivalent", func(m *mutant, k string, v *verdict) {
			if m.Name == "c" {
				m.Equivalent, v.By = "it is the same", ""
			}
		}, false},
		{"one of ten survives the simulation", survive("c", simulation), false},
		{"two of ten survive the simulation", survive("cd", simulation), true},
		{"one survived earlier tests", func(m *mutant, k string, v *verdict) {
			if m.Name == "c" && k == unitTests {
				v.By, v.Tests = "", "others"
			}
		}, true},
		{"one was killed by earlier tests", func(m *mutant, k string, v *verdict) {
			if m.Name == "c" && k == unitTests {
				v.Tests = "others"
			}
		}, false},
		{"one was not played", func(m *mutant, k string, v *verdict) {
			if m.Name == "c" {
				v.Name = "not played"
			}
		}, true},
	} {
		if err := run(x.change); (err != nil) != x.fails {
			t.Errorf("%s: %v", x.what, err)
		}
	}
}
