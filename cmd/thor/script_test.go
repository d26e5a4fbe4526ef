package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/docblocks"
	"thor/identity"
	"thor/subjects"
)

// TestMain makes the test binary the program itself when it is called thor.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"thor": main})
}

// TestScripts runs testdata/script: the outside face of the program, as a shell
// and an operator see it.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.Cd)
			e.Setenv("NO_COLOR", "1")
			for _, kv := range os.Environ() { // what the tester has set is not the test's
				if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "THOR_") || strings.HasPrefix(name, "XDG_") {
					e.Setenv(name, "")
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"rc": scriptRC, "issue": scriptIssue, "port": scriptPort, "occupy": scriptOccupy, "within": scriptWithin, "bytes": scriptBytes,
			"await": scriptAwait, "page": scriptPage,
		},
		RequireExplicitExec: true,
	})
}

// rc CODE PROGRAM ARG… runs a program that must end with the code.
func scriptRC(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: rc CODE PROGRAM ARG…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// page FILE runs the blocks of a page that are given at an authority.
func scriptPage(ts *testscript.TestScript, _ bool, args []string) {
	blocks, err := docblocks.Read(repository, args[0])
	ts.Check(err)
	ran := 0
	for _, b := range blocks {
		if b.Test != docblocks.CA {
			continue
		}
		ran++
		if err := ts.Exec("bash", "-euo", "pipefail", "-c", b.Text); err != nil {
			ts.Fatalf("%s:%d: %v", b.Page, b.Line, err)
		}
	}
	if ran == 0 {
		ts.Fatalf("%s has no block for an authority", args[0])
	}
}

// repository is the root of the repository for tests.
var repository = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()

// within DURATION PROGRAM ARG… is rc 1, and in time: the bound is generous, it
// is there to tell a timeout that works from one that does not.
func scriptWithin(ts *testscript.TestScript, neg bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	began := time.Now()
	scriptRC(ts, neg, append([]string{"1"}, args[1:]...))
	if took := time.Since(began); took > d {
		ts.Fatalf("took %s", took)
	}
}

// await DURATION PROGRAM ARG… runs a program again and again until it succeeds.
func scriptAwait(ts *testscript.TestScript, _ bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ts.Exec(args[1], args[2:]...) != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("not within %s", d)
		}
	}
}

// issue [-ca DIR] [-from DURATION] [-for DURATION] [-site SITE] NODE ROLE… makes
// NODE.crt and NODE.key for 127.0.0.1; times are relative to now.
func scriptIssue(ts *testscript.TestScript, _ bool, args []string) {
	dir, from, validity, site := "ca", time.Duration(0), 30*24*time.Hour, ""
	var err error
	for len(args) > 1 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-ca":
			dir = args[1]
		case "-from":
			from, err = time.ParseDuration(args[1])
		case "-for":
			validity, err = time.ParseDuration(args[1])
		case "-site":
			site = args[1]
		}
		ts.Check(err)
		args = args[2:]
	}
	a, err := identity.Open(ts.MkAbs(dir))
	ts.Check(err)
	r := identity.Request{Node: subjects.NodeID(args[0]), Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Validity: validity, Site: subjects.Site(site)}
	if from != 0 {
		r.NotBefore = time.Now().Add(from)
	}
	for _, role := range args[1:] {
		r.Roles = append(r.Roles, subjects.Role(role))
	}
	cert, key, err := a.Issue(r)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".crt"), cert, 0o644))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), key, 0o600))
}

// port NAME… sets each variable to a port of 127.0.0.1 that is free, for TCP and UDP.
func scriptPort(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ts.Defer(func() { l.Close() })
		ts.Check(l.Close())
		ts.Setenv(name, port)
	}
}

// occupy NAME sets the variable to a port of 127.0.0.1 that is in use until the end.
func scriptOccupy(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	ts.Setenv(args[0], port)
}

// bytes FILE TEXT|COUNT writes Go-quoted text, or so many blanks.
func scriptBytes(ts *testscript.TestScript, _ bool, args []string) {
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	if n, err := strconv.Atoi(args[1]); err == nil {
		text = strings.Repeat(" ", n)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

func TestEveryCommandShowsAnExample(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		t.Run(c.CommandPath(), func(t *testing.T) {
			var stdout, stderr strings.Builder
			args := append(strings.Fields(c.CommandPath()), "-h")
			if code := run(context.Background(), args, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
				t.Errorf("exit code %d, stderr %q", code, &stderr)
			}
			_, after, ok := strings.Cut(stdout.String(), "\nExamples:\n")
			example, _, _ := strings.Cut(after, "\n")
			if !ok || !strings.Contains(example, c.CommandPath()) {
				t.Errorf("no example of %s in\n%s", c.CommandPath(), &stdout)
			}
			if c.Short == "" {
				t.Error("no description")
			}
		})
		for _, s := range c.Commands() {
			walk(s)
		}
	}
	walk(newRoot(os.Stdout, os.Stderr))
}

// What an example says must be a command that exists, with flags that exist.
func TestExamplesAreValid(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for line := range strings.SplitSeq(c.Example, "\n") {
			for part := range strings.SplitSeq(line, ";") {
				part, _, _ = strings.Cut(part, "#")
				part, _, _ = strings.Cut(part, "|")
				part, _, _ = strings.Cut(part, ">")
				words := strings.Fields(part)
				if len(words) == 0 || words[0] != "thor" {
					continue
				}
				if err := parses(words[1:]); err != nil {
					t.Errorf("%s: %q: %v", c.CommandPath(), part, err)
				}
			}
		}
		for _, s := range c.Commands() {
			walk(s)
		}
	}
	walk(newRoot(os.Stdout, os.Stderr))
}

// So must be what the pages say in their text.
func TestCommandsInTheTextOfPagesAreValid(t *testing.T) {
	inline := regexp.MustCompile("`(thor [^`]+)`")
	for _, page := range docblocks.Pages {
		b, err := os.ReadFile(filepath.Join(repository, page))
		if err != nil {
			t.Fatal(err)
		}
		found := inline.FindAllStringSubmatch(string(b), -1)
		for _, m := range found {
			words := strings.Fields(m[1])[1:]
			c, rest, err := newRoot(os.Stdout, os.Stderr).Find(words)
			if err == nil {
				err = c.ParseFlags(rest)
			}
			if err == nil && c.HasAvailableSubCommands() && len(c.Flags().Args()) > 0 {
				err = fmt.Errorf("there is no command %q", c.Flags().Arg(0))
			}
			if err != nil {
				t.Errorf("%s: %q: %v", page, m[1], err)
			}
		}
	}
}

// Each alarm that is shipped is explained to operators, and no other.
func TestEveryAlarmIsExplained(t *testing.T) {
	rules, err := os.ReadFile(filepath.Join(repository, "deploy/prometheus/thor.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(repository, "docs/operate.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := func(re string, text []byte) (out []string) {
		for _, m := range regexp.MustCompile(re).FindAllSubmatch(text, -1) {
			out = append(out, string(m[1]))
		}
		slices.Sort(out)
		return out
	}
	shipped, explained := names(`(?m)^\s*- alert: (\w+)$`, rules), names(`(?m)^\| (Thor\w+) \|`, page)
	if len(shipped) == 0 || !slices.Equal(shipped, explained) {
		t.Errorf("alarms %q, explained %q", shipped, explained)
	}
}

// parses finds the command of args and checks its flags and arguments, without running it.
func parses(args []string) error {
	c, rest, err := newRoot(os.Stdout, os.Stderr).Find(args)
	if err != nil {
		return err
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	if c.Args == nil {
		return fmt.Errorf("%s checks no arguments", c.CommandPath())
	}
	return c.ValidateArgs(c.Flags().Args())
}

// The program's old names are links to it.
func TestOldNamesWorkLikeTheSubcommands(t *testing.T) {
	for old, sub := range oldNames {
		var stdout, stderr strings.Builder
		if code := run(context.Background(), []string{filepath.Join("/usr/sbin", old), "-h"}, &stdout, &stderr); code != 0 ||
			!strings.Contains(stdout.String(), "thor "+sub) {
			t.Errorf("%s -h: %d, %s%s", old, code, &stdout, &stderr)
		}
	}
}
