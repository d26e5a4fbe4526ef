package docblocks

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../../../.."

// Every block of commands of README and docs/operate.md is run by a test. The other
// tests take their blocks from the pages, so that a new one is run as well.
func TestEveryBlockNamesTheTestThatRunsIt(t *testing.T) {
	for _, p := range Pages {
		blocks, err := Read(root, p)
		if err != nil || len(blocks) == 0 {
			t.Errorf("%d blocks, %v", len(blocks), err)
		}
		for _, b := range blocks {
			if !slices.Contains([]string{CA, Up, Boot, SDK, Just}, b.Test) {
				t.Errorf("%s:%d: there is no test %q", p, b.Line, b.Test)
			}
		}
	}
}

func TestWhatCIRunsByItselfIsInItsRecipes(t *testing.T) {
	blocks, err := Of(root, Just)
	if err != nil || len(blocks) == 0 {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	var recipes strings.Builder
	for _, f := range []string{"justfile", ".ci/run"} {
		b, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			t.Fatal(err)
		}
		recipes.Write(b)
	}
	for _, b := range blocks {
		for line := range strings.Lines(b.Text) {
			command, _, _ := strings.Cut(line, "#")
			if command = strings.TrimSpace(command); command != "" && !strings.Contains(recipes.String(), command) {
				t.Errorf("%s:%d: neither the justfile nor .ci/run has %q", b.Page, b.Line, command)
			}
		}
	}
}

// go mod tidy wants the modules of tests of modules too, which building thor does not fetch.
func TestTheSDKIsImportedFromACheckout(t *testing.T) {
	blocks, err := Of(root, SDK)
	if err != nil || len(blocks) == 0 {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	checkout, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", b.Text)
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "THOR="+checkout, "GOFLAGS=-mod=mod -buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s:%d: %v\n%s", b.Page, b.Line, err, out)
		}
	}
}

func TestBlocksAreReadWithTheirTest(t *testing.T) {
	dir := t.TempDir()
	page := func(text string) []Block {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "p.md"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		blocks, err := Read(dir, "p.md")
		if err != nil {
			return nil
		}
		return blocks
	}
	got := page("text\n\n<!-- run: up last -->\n```sh\na\n\n  b\n```\n\n```toml\nx = 1\n```\n")
	if len(got) != 1 || got[0].Test != "up" || !got[0].Has("last") || got[0].Text != "a\n\n  b\n" || got[0].Line != 5 {
		t.Errorf("%+v", got)
	}
	for name, text := range map[string]string{
		"no test":                    "```sh\na\n```\n",
		"a marker of something else": "<!-- run: up -->\nwords\n```sh\na\n```\n",
		"no end":                     "<!-- run: up -->\n```sh\na\n",
	} {
		if got := page(text); got != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
