// Package docblocks reads the blocks of commands of a page, and which test runs each.
// A block is fenced as sh and follows a line "<!-- run: TEST [WORD…] -->".
package docblocks

import (
	"fmt"
	"os"
	"strings"
)

// The tests that run blocks.
const (
	CA   = "ca"   // at an authority: cmd/thor TestScripts/pages
	Up   = "up"   // in a thor up: cmd/thor/e2e TestCommandsOfThePagesRun
	Boot = "boot" // on a booted machine with the package: cmd/thor/e2e TestPackageBoots
	SDK  = "sdk"  // beside a checkout: TestTheSDKIsImportedFromACheckout
	Just = "just" // by CI itself: the justfile or .ci/run has each line
)

// Pages are those all of whose blocks are run, from the root of the repository.
var Pages = []string{"README.md", "docs/operate.md", "CONTRIBUTING.md"}

// A Block is some lines of shell.
type Block struct {
	Page  string
	Line  int // of its first line, from 1
	Test  string
	Words []string // for that test
	Text  string
}

// Has reports whether word is among the words of b.
func (b *Block) Has(word string) bool {
	for _, w := range b.Words {
		if w == word {
			return true
		}
	}
	return false
}

// Read returns the blocks of the page below root. A block without a test is an error.
func Read(root, page string) (blocks []Block, err error) {
	data, err := os.ReadFile(root + "/" + page)
	if err != nil {
		return nil, err
	}
	var open *Block
	var marker []string
	for i, line := range strings.Split(string(data), "\n") {
		switch trimmed := strings.TrimSpace(line); {
		case open != nil && trimmed == "```":
			blocks, open = append(blocks, *open), nil
		case open != nil:
			open.Text += line + "\n"
		case trimmed == "```sh":
			if len(marker) == 0 {
				return nil, fmt.Errorf("%s:%d: no line <!-- run: … --> before these commands says which test runs them", page, i+1)
			}
			open = &Block{Page: page, Line: i + 2, Test: marker[0], Words: marker[1:]}
			marker = nil
		case strings.HasPrefix(trimmed, "<!-- run:"):
			marker = strings.Fields(strings.TrimSuffix(strings.TrimPrefix(trimmed, "<!-- run:"), "-->"))
		case trimmed != "":
			marker = nil
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s:%d: the block has no end", page, open.Line)
	}
	return blocks, nil
}

// Of are the blocks of all pages that a test runs.
func Of(root, test string) (out []Block, err error) {
	for _, p := range Pages {
		blocks, err := Read(root, p)
		if err != nil {
			return nil, err
		}
		for _, b := range blocks {
			if b.Test == test {
				out = append(out, b)
			}
		}
	}
	return out, nil
}
