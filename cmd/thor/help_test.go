package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The help texts are part of the outside face: a change of one is a change of
// the golden file, which a reader of the commit sees.
func TestHelpIsAsRecorded(t *testing.T) {
	const golden = "testdata/outside/help.txt"
	var got bytes.Buffer
	root := newRoot(io.Discard, io.Discard)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		c.InitDefaultHelpFlag()
		c.SetOut(&got)
		got.WriteString("## " + c.CommandPath() + "\n\n")
		if err := c.Help(); err != nil {
			t.Fatal(err)
		}
		got.WriteString("\n")
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the help texts differ from %s: run `go test ./cmd/thor -run TestHelpIsAsRecorded -update` and read the difference", golden)
	}
}
