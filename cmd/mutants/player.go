package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	simPackage  = "manager/sim"
	unitTimeout = "4m" // of a package; a mutant may run for ever
	simTimeout  = "6m"
	worlds      = "^(TestWorlds|TestPlansOfThePast|TestScene.*)$"
)

// A player runs tests on mutants.
type player struct {
	ctx    context.Context
	root   string
	seeds  int
	dir    string          // for overlays and binaries
	in     map[string]bool // packages that the simulation is made from, as directories
	hashes map[string]string
	suites map[string]*suite

	together string            // overlay of the mutants that are built together…
	numbers  map[*mutant]int   // …and how each is chosen
	binaries map[string]string // of their packages' tests
	built    int
}

func newPlayer(ctx context.Context, root string, seeds int, rows []*mutant) (*player, error) {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return nil, err
	}
	p := &player{ctx: ctx, root: root, seeds: seeds, dir: dir, in: map[string]bool{}, hashes: map[string]string{}, suites: map[string]*suite{}, binaries: map[string]string{}}
	files, numbers, err := schemata(root, rows)
	if err != nil {
		return nil, err
	}
	p.numbers = numbers
	if p.together, err = p.overlay("together", files); err != nil {
		return nil, err
	}
	return p, p.findSimulated()
}

// findSimulated finds the packages that the simulation is made from.
func (p *player) findSimulated() error {
	out, err := p.command("list", "-deps", "-test", "./"+simPackage)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	module, err := p.command("list", "-m")
	if err != nil {
		return err
	}
	for _, x := range strings.Fields(out) {
		if d, ok := strings.CutPrefix(x, strings.TrimSpace(module)+"/"); ok {
			p.in[d] = true
		}
	}
	return nil
}

func (p *player) close() { _ = os.RemoveAll(p.dir) }

// command runs the go command and returns all that it prints.
func (p *player) command(args ...string) (string, error) {
	c := exec.CommandContext(p.ctx, "go", args...)
	return output(c, p.root)
}

func output(c *exec.Cmd, dir string) (string, error) {
	var b bytes.Buffer
	c.Dir, c.Stdout, c.Stderr = dir, &b, &b
	c.WaitDelay = 10 * time.Second
	err := c.Run()
	return b.String(), err
}

// key tells the verdicts on m from those on others.
func (p *player) key(m *mutant, kind string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s", kind, m.File, m.Old, m.New)
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// tests is a digest of the tests of kind that m has to survive.
func (p *player) tests(m *mutant, kind string) string {
	if kind == simulation {
		return fmt.Sprintf("%d %s", p.seeds, p.testsOf(simPackage))
	}
	var all []string
	for _, x := range m.Packages {
		all = append(all, p.testsOf(x))
	}
	return strings.Join(all, " ")
}

// holds reports whether v is still the verdict on m: who was killed stays dead, who
// survived has survived the tests of that time.
func (p *player) holds(v *verdict, m *mutant, kind string) bool {
	return v != nil && (v.By != "" || v.Tests == p.tests(m, kind))
}

// testsOf is a digest of the tests of a package and their data.
func (p *player) testsOf(dir string) string {
	if d, ok := p.hashes[dir]; ok {
		return d
	}
	files, _ := filepath.Glob(filepath.Join(p.root, dir, "*_test.go"))
	data, _ := filepath.Glob(filepath.Join(p.root, dir, "testdata", "*"))
	h := sha256.New()
	for _, f := range append(files, data...) {
		b, err := os.ReadFile(f)
		if err != nil { // a directory
			continue
		}
		fmt.Fprintf(h, "%s %d\n", filepath.Base(f), len(b))
		h.Write(b)
	}
	p.hashes[dir] = hex.EncodeToString(h.Sum(nil)[:12])
	return p.hashes[dir]
}

// play runs the tests of kind on m.
func (p *player) play(m *mutant, kind string) (*verdict, error) {
	v := &verdict{Name: m.Name, Kind: kind}
	packages := m.Packages
	if kind == simulation {
		packages = []string{simPackage}
	}
	if kind == simulation && !p.in[path.Dir(m.File)] {
		v.Beside = true
		return v, nil
	}
	for _, x := range packages {
		if _, err := p.suite(x, kind); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	binaries, number, err := p.build(m, packages)
	if err != nil {
		return nil, err
	}
	if kind == unitTests {
		v.By, err = p.unit(binaries, number, packages)
	} else {
		v.By, err = p.simulate(binaries[0], number)
	}
	if err == nil {
		err = p.ctx.Err()
	}
	v.Seconds = time.Since(began).Seconds()
	return v, err
}

// build is the test binary of each package with m in it, and the number that chooses it.
func (p *player) build(m *mutant, packages []string) (binaries []string, number int, err error) {
	number, grouped := p.numbers[m]
	overlay := ""
	if !grouped {
		src, err := m.apply(p.root)
		if err != nil {
			return nil, 0, err
		}
		if overlay, err = p.overlay("alone", map[string][]byte{m.File: src}); err != nil {
			return nil, 0, err
		}
	}
	for _, x := range packages {
		b := ""
		if grouped {
			b, err = p.group(x)
		} else {
			b, err = p.compile(overlay, x)
		}
		if err != nil {
			return nil, 0, err
		}
		binaries = append(binaries, b)
	}
	return binaries, number, nil
}

// group is the test binary of a package with all mutants that are built together.
func (p *player) group(dir string) (string, error) {
	if b := p.binaries[dir]; b != "" {
		return b, nil
	}
	b, err := p.compile(p.together, dir)
	p.binaries[dir] = b
	return b, err
}

func (p *player) compile(overlay, dir string) (string, error) {
	p.built++
	binary := filepath.Join(p.dir, strconv.Itoa(p.built)+".test")
	if out, err := p.command("test", "-overlay", overlay, "-vet=off", "-ldflags", "-s -w", "-c", "-o", binary, "./"+dir); err != nil {
		return "", fmt.Errorf("it cannot be built: %w\n%s", err, out)
	}
	return binary, nil
}

// overlay writes what the go command needs to read files in the place of others.
func (p *player) overlay(name string, files map[string][]byte) (string, error) {
	replace := map[string]string{}
	for f, src := range files {
		to := filepath.Join(p.dir, name, filepath.FromSlash(f))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(to, src, 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(p.root, filepath.FromSlash(f))] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(p.dir, name+".json")
	return file, os.WriteFile(file, b, 0o600)
}

// test runs a test binary in the directory of its package.
func (p *player) test(binary string, number int, dir string, args ...string) (string, error) {
	c := exec.CommandContext(p.ctx, binary, args...)
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%d", chooser, number))
	return output(c, filepath.Join(p.root, dir))
}

// A suite is the tests of a package, which pass without a mutant.
type suite struct {
	tiers []string // regular expressions of tests that take longer and longer; the rest comes last
}

// quickTests are how long tests may take to be in a tier, as a share of the time of all.
var quickTests = []float64{0.003, 0.03}

// suite sees that the tests of a package pass while no mutant is chosen, or each would be
// killed by what is broken anyway; and how long each takes.
func (p *player) suite(dir, kind string) (*suite, error) {
	if s := p.suites[dir]; s != nil {
		return s, nil
	}
	binary, err := p.group(dir)
	if err != nil {
		return nil, err
	}
	args := []string{"-test.v", "-test.timeout", unitTimeout}
	if kind == simulation {
		args = append(args, "-test.run", worlds, "-seeds", "50")
	}
	out, err := p.test(binary, 0, dir, args...)
	if err != nil {
		return nil, fmt.Errorf("the tests of %s fail without a mutant: %w\n%s", dir, err, out)
	}
	took, all := map[string]float64{}, 0.0
	for _, x := range passed.FindAllStringSubmatch(out, -1) {
		took[x[1]], _ = strconv.ParseFloat(x[2], 64) // digits
		all += took[x[1]]
	}
	s := &suite{}
	for _, share := range quickTests {
		var quick []string
		for _, t := range slices.Sorted(maps.Keys(took)) {
			if took[t] <= share*all {
				quick = append(quick, t)
			}
		}
		s.tiers = append(s.tiers, "^("+strings.Join(quick, "|")+")$")
	}
	p.suites[dir] = s
	return s, nil
}

// unit runs the unit tests of packages, and returns which test failed first; empty:
// none. The quick ones of all packages come first: most mutants do not survive them.
func (p *player) unit(binaries []string, number int, packages []string) (by string, err error) {
	for tier := range len(quickTests) + 1 {
		for i, x := range packages {
			args := []string{"-test.failfast", "-test.timeout", unitTimeout}
			tiers := p.suites[x].tiers
			if tier < len(tiers) {
				args = append(args, "-test.run", tiers[tier])
			}
			if tier > 0 {
				args = append(args, "-test.skip", tiers[tier-1])
			}
			out, err := p.test(binaries[i], number, x, args...)
			if err == nil {
				continue
			}
			if by := killer(out); by != "" {
				return by, nil
			}
			return "", fmt.Errorf("it cannot be tested: %w\n%s", err, out)
		}
	}
	return "", nil
}

// simulate plays the simulation, and returns what broke first; empty: nothing.
func (p *player) simulate(binary string, number int) (by string, err error) {
	out, err := p.test(binary, number, simPackage, "-test.run", worlds, "-test.timeout", simTimeout, "-seeds", strconv.Itoa(p.seeds), "-shrink=false")
	if err == nil {
		return "", nil
	}
	if by := brokenBy(out); by != "" {
		return by, nil
	}
	return "", fmt.Errorf("it cannot be played: %w\n%s", err, out)
}

var (
	passed   = regexp.MustCompile(`(?m)^--- PASS: (\S+) \((\S+)s\)`)
	failed   = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	running  = regexp.MustCompile(`(?m)^\s*running tests:\s+(\S+)`)
	panicked = regexp.MustCompile(`(?m)^(panic|fatal error): (.*)`)
	stack    = regexp.MustCompile(`\.(Test\w+)\(`)
	seed     = regexp.MustCompile(`(?m)seed (\d+): (.*)$`)
	plan     = regexp.MustCompile(`(?m)(testdata/\S+\.plan): (.*)$`)
	missing  = regexp.MustCompile(`(?m)(no seed (?:had|played) .*)$`)
)

// killer is the test that failed, in the output of go test; empty: none did.
func killer(out string) string {
	tests := failed.FindAllStringSubmatch(out, -1)
	if len(tests) > 0 {
		name := tests[0][1]
		for _, t := range tests[1:] { // the first of its parts
			if strings.HasPrefix(t[1], name+"/") {
				name = t[1]
			}
		}
		return name
	}
	if x := running.FindStringSubmatch(out); x != nil {
		return x[1] + " (it does not end)"
	}
	if x := panicked.FindStringSubmatch(out); x != nil {
		if in := stack.FindStringSubmatch(out); in != nil {
			return in[1] + " (" + x[2] + ")"
		}
		return x[1] + ": " + x[2]
	}
	return ""
}

// brokenBy is what the simulation found; empty: nothing.
func brokenBy(out string) string {
	if x := seed.FindStringSubmatch(out); x != nil {
		return "seed " + x[1] + ": " + x[2]
	}
	if x := plan.FindStringSubmatch(out); x != nil {
		return x[1] + ": " + x[2]
	}
	if x := missing.FindStringSubmatch(out); x != nil {
		return x[1]
	}
	return killer(out)
}
