package lookup_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thor/overlay/lookup"
	"thor/subjects"
)

// buildC compiles the implementation in C.
func buildC(t *testing.T) string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no C compiler: install the Debian packages gcc and libc6-dev")
		}
		t.Skip("no C compiler: install the Debian packages gcc and libc6-dev")
	}
	bin := filepath.Join(t.TempDir(), "thorlookup")
	src := filepath.Join("..", "..", "deploy", "examples", "lookup", "thorlookup.c")
	if out, err := exec.Command(cc, "-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11", "-o", bin, src).CombinedOutput(); err != nil {
		t.Fatalf("compile: %v\n%s", err, out)
	}
	return bin
}

// randomKey is a subscriber in one of many spellings, or something that is none.
func randomKey(rng *rand.Rand) string {
	pick := func(ss ...string) string { return ss[rng.IntN(len(ss))] }
	rarely := func(odd string, usual ...string) string {
		if rng.IntN(20) == 0 {
			return odd
		}
		return pick(usual...)
	}
	user := fmt.Sprintf(rarely(pick("\"%d", "<%d", "a b%d", ""), "user%d", "+31%d", "%d", "U%dx", "\xc3\xa9%d", "a;x=%d", "a?%d/b", "%%4%d"), rng.IntN(1_000_000))
	host := rarely(pick("x..y", ".x", "[::", "[]", "b\xc3\xbc.example", "", "."),
		"example.com", "EXAMPLE.com", "sip.example.net.", "192.0.2.1", "[2001:DB8::1]", "a_b.example", "h")
	return rarely("tel:", "", "", "sip:", "SIPS:", "Sip:") + user + rarely(pick(":secret", ":"), "") + rarely("", "@") + host +
		rarely(pick(":", ":123456", ":5o60", ":5060x"), "", ":5060", ":0") + pick("", ";transport=tls", "?subject=x@y", ";a;b?c")
}

// Ten thousand lookups in random roles, against an implementation in another
// language that has no table.
func TestASecondImplementationAgrees(t *testing.T) {
	bin := buildC(t)
	rng := rand.New(rand.NewPCG(10_000, 1))
	var in, want bytes.Buffer
	weights := []int{0, 1, 25, 50, 100, 100, 100, 100, 150, 200, 400, 65535}
	lookups, bad, remotes := 0, 0, 0
	for lookups < 10_000 {
		bits := []int{10, 12, 14}[rng.IntN(3)]
		ms := make([]lookup.Member, rng.IntN(60))
		if rng.IntN(20) == 0 {
			ms = make([]lookup.Member, 500)
		}
		withSites := len(ms) > 0 && rng.IntN(2) == 0
		fmt.Fprintf(&in, "set %d", bits)
		for i := range ms {
			ms[i] = lookup.Member{
				Node: subjects.NodeID(fmt.Sprintf("%c%d-%d", 'a'+rng.IntN(26), rng.IntN(1000), i)), Weight: weights[rng.IntN(len(weights))], Draining: rng.IntN(10) == 0,
			}
			fmt.Fprintf(&in, " %s:%d", ms[i].Node, ms[i].Weight)
			if ms[i].Draining {
				in.WriteString(":draining")
			}
			if withSites {
				ms[i].Site = []subjects.Site{"ams", "fra", "", "par"}[rng.IntN(1+rng.IntN(4))]
				fmt.Fprintf(&in, "@%s", ms[i].Site)
			}
		}
		in.WriteString("\n")
		tab := table(t, bits, ms)
		for range 100 {
			key := randomKey(rng)
			fmt.Fprintf(&in, "key %s\n", key)
			lookups++
			p, err := tab.Find(key)
			switch {
			case err == lookup.ErrBadKey:
				bad++
				fmt.Fprintln(&want, "bad key")
			case err == lookup.ErrNoMembers:
				fmt.Fprintln(&want, "no members")
			default:
				heir := p.Heir()
				if heir == "" {
					heir = "-"
				}
				fmt.Fprint(&want, p.Slot(), " ", p.Owner(), " ", heir, " ", cmp.Or(p.Previous(), p.Owner()))
				if withSites {
					fmt.Fprint(&want, " ", cmp.Or(p.Remote(), "-"))
					if p.Remote() != "" {
						remotes++
					}
				}
				fmt.Fprintln(&want)
			}
		}
	}
	if bad < 1000 || bad > 5000 || remotes < 1000 {
		t.Errorf("%d of %d keys are bad, %d have remotes: the test says little", bad, lookups, remotes)
	}
	cmd := exec.Command(bin)
	cmd.Stdin = bytes.NewReader(in.Bytes())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	compareLines(t, in.String(), string(out), want.String())
}

// A set that is none ends nothing, and a member needs no weight.
func TestTheSecondImplementationReadsWhatPeopleType(t *testing.T) {
	bin := buildC(t)
	const key = "key alice@example.com\n"
	ask := func(in string) string {
		t.Helper()
		cmd := exec.Command(bin)
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		return string(out)
	}
	for _, x := range []struct{ in, same string }{
		{"set 18 a b:200\n", "set 18 a:100 b:200\n"},
		{"set 18 a b c\n", "set 18 a:100 b:100 c:100\n"},
		{"set 18 a:draining b\n", "set 18 a:100:draining b:100\n"},
	} {
		if got, want := ask(x.in+key), ask(x.same+key); got != want {
			t.Errorf("%q: %q, want %q", x.in, got, want)
		}
	}
	if got := ask("set 18 a\n" + key); !strings.HasSuffix(got, " a - a\n") {
		t.Errorf("one without a weight: %q", got)
	}
	for _, in := range []string{"set \n", "set 0 a:100\n", "set 9 a:100\n", "set 25 a:100\n", "set 64 a:100\n", "set -1 a:100\n", "set x a:100\n"} {
		if got := ask(in + key); got != "bad set\n" {
			t.Errorf("%q: %q", in, got)
		}
	}
	if got := ask(key); got != "no members\n" {
		t.Errorf("no set: %q", got)
	}
}

// compareLines shows the first difference, with the key it is about.
func compareLines(t *testing.T, in, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	var keys []string
	for line := range strings.Lines(in) {
		if strings.HasPrefix(line, "key ") {
			keys = append(keys, line)
		}
	}
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range keys {
		if i >= len(g) || g[i] != w[i] {
			t.Fatalf("%q: %q, want %q", keys[i], g[min(i, len(g)-1)], w[i])
		}
	}
	t.Fatalf("%d lines, want %d", len(g), len(w))
}
