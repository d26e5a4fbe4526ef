package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A small module whose readings are counted by hand.
var sample = map[string]string{
	"go.mod": "module sample\n\ngo 1.26\n",
	"a/a.go": `// Package a is read.
package a

// One has no other implementation.
type one interface{ Do() }

// Two has two.
type two interface{ Close() error }

/* A comment
of two lines. */
type T struct{}

func (T) Do()           {}
func (*T) Close() error { return nil }

type U struct{}

func (*U) Close() error { return nil }

var Used, Unused int

func three() (x, y, z int) {
	x, y, z = 1, 2,
		3
	return x, y, z
}

var (
	_ one = T{}
	_ two = &T{}
	_     = three
)
`,
	"b/b.go":      "package b\n\nimport \"sample/a\"\n\nvar B = a.Used\n",
	"b/b_test.go": "package b\n\nvar NotCounted int\n",
	"b/same.go":   "package b\n\n" + twice("first", "v") + twice("second", "w"),
}

func twice(name, v string) string {
	return "func " + name + "(" + v + " []int) (sum int) {\n" +
		strings.Repeat("\tfor _, x := range "+v+" {\n\t\tif x > 1 && x < 9 {\n\t\t\tsum += x*2 + 1\n\t\t}\n\t}\n", 5) + "\treturn sum\n}\n\n"
}

func TestReadings(t *testing.T) {
	dir := t.TempDir()
	for name, text := range sample {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tree.codeLines(), 19+3+1+2*28; got != want {
		t.Errorf("code lines %d, want %d", got, want)
	}
	if got := tree.parallelAssignments(); got != 1 {
		t.Errorf("parallel assignments %d", got)
	}
	if got := tree.methods()[0]; got != (methodCount{"a.T", 2}) {
		t.Errorf("most methods %v", got)
	}
	few, all, err := tree.interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a.one (methods 1, implementations 1)"}; !slices.Equal(few, want) || all != 2 {
		t.Errorf("interfaces %q of %d", few, all)
	}
	unused, all := tree.unusedExports()
	slices.Sort(unused)
	if want := []string{"a.T", "a.U", "a.Unused", "b.B"}; !slices.Equal(unused, want) || all != 5 {
		t.Errorf("unused names %q of %d", unused, all)
	}
	if same := tree.sameShape(); len(same) != 1 || !strings.Contains(same[0], "b/same.go:4-29 and b/same.go:33-58") {
		t.Errorf("same shape %q", same)
	}
}
