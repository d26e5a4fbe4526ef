// Command shape prints readings of the source tree's structure: lines of code,
// the widest types, interfaces without a choice, exported names that only their
// own package uses, and passages of the same shape.
//
//	go run ./cmd/shape [-v] [DIR]
//
// The readings are for readers who compare two commits. None of them is a gate.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
)

func main() {
	verbose := flag.Bool("v", false, "name the interfaces, names and passages that are counted")
	flag.Parse()
	dir := "."
	if flag.NArg() > 0 {
		dir = flag.Arg(0)
	}
	if err := run(os.Stdout, dir, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "shape:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, dir string, verbose bool) error {
	t, err := load(dir)
	if err != nil {
		return err
	}
	code := t.codeLines()
	fmt.Fprintf(w, "code lines without tests and comments   %d\n", code)

	files := t.fileLengths()
	over, funcs := t.longFunctions()
	fmt.Fprintf(w, "files, median and p90 lines             %d, %d and %d\n", len(files), quantile(files, 0.5), quantile(files, 0.9))
	fmt.Fprintf(w, "functions over %d lines                 %d of %d (%.1f %%)\n", longFunction, over, funcs, percent(over, funcs))

	assigns := t.parallelAssignments()
	fmt.Fprintf(w, "parallel assignments of three or more   %d (%.1f per 1,000 lines)\n", assigns, 1000*float64(assigns)/float64(code))

	fmt.Fprintln(w, "most methods on one type")
	for _, m := range t.methods()[:8] {
		fmt.Fprintf(w, "  %3d %s\n", m.count, m.name)
	}

	few, all, err := t.interfaces()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "interfaces with one implementation or none  %d of %d\n", len(few), all)
	list(w, verbose, few)

	unused, exported := t.unusedExports()
	fmt.Fprintf(w, "exported names used by no other package     %d of %d\n", len(unused), exported)
	list(w, verbose, unused)

	same := t.sameShape()
	fmt.Fprintf(w, "pairs of passages of the same shape         %d\n", len(same))
	list(w, verbose, same)
	return nil
}

func list(w io.Writer, verbose bool, lines []string) {
	if !verbose {
		return
	}
	slices.Sort(lines)
	for _, l := range lines {
		fmt.Fprintln(w, "  ", l)
	}
}

func percent(a, b int) float64 { return 100 * float64(a) / float64(max(b, 1)) }

// quantile is the value below which the share q of sorted values lies.
func quantile(sorted []int, q float64) int {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
