package kept

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// A supervisor keeps what processes store.
type supervisor struct {
	t    *testing.T
	held map[string]*os.File
	deny error
}

func newSupervisor(t *testing.T) *supervisor {
	return &supervisor{t: t, held: make(map[string]*os.File)}
}

func dup(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "dup")
}

func (s *supervisor) Store(name string, f *os.File) error {
	if s.deny != nil {
		return s.deny
	}
	s.held[name] = dup(s.t, f)
	return nil
}

func (s *supervisor) Forget(name string) { delete(s.held, name) }

// process starts the next one: it gets what is held.
func (s *supervisor) process(owner string) (*Log, []Record) {
	s.t.Helper()
	files := make(map[string]*os.File)
	for name, f := range s.held {
		files[name] = dup(s.t, f)
	}
	l, rs := Open(owner, files, s, zerolog.New(zerolog.NewTestWriter(s.t)))
	s.t.Cleanup(l.Close)
	return l, rs
}

// rewrite makes a log with the given profiles.
func rewrite(t *testing.T, l *Log, profiles ...string) {
	t.Helper()
	err := l.Rewrite(0, func(put func([]byte) error) error {
		for _, p := range profiles {
			if err := put([]byte(p)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, l.Confirm()); err != nil {
		t.Fatal(err)
	}
}

func text(rs []Record) string {
	var out []string
	for _, r := range rs {
		if r.Profile == nil {
			out = append(out, "-"+r.Dropped)
			continue
		}
		out = append(out, string(r.Profile))
	}
	return strings.Join(out, " ")
}

// Each process goes on in the log of the one before, which never ends in order.
func TestTheNextProcessReadsAllThatWasPut(t *testing.T) {
	s := newSupervisor(t)
	l, rs := s.process("n1/sip_proxy")
	if len(rs) != 0 || !l.Wants() {
		t.Errorf("the first process: %v", rs)
	}
	rewrite(t, l, "a1", "b1")
	want := "a1 b1"
	for i := range 5 {
		l.Put([]byte(fmt.Sprintf("a%d", i+2)))
		l.Drop("b")
		want += fmt.Sprintf(" a%d -b", i+2)
		if l, rs = s.process("n1/sip_proxy"); text(rs) != want || l.Wants() {
			t.Fatalf("process %d reads %s, want %s", i+2, text(rs), want)
		}
	}
	rewrite(t, l, "a9")
	l.Put([]byte("c1"))
	if _, rs = s.process("n1/sip_proxy"); text(rs) != "a9 c1" || len(s.held) != 1 {
		t.Errorf("after it was written anew: %s, %d files", text(rs), len(s.held))
	}
	if _, rs := s.process("n2/sip_proxy"); len(rs) != 0 || len(s.held) != 0 {
		t.Errorf("another node reads %s, %d files are held", text(rs), len(s.held))
	}
}

// The process may die at any store to memory: what it had put before counts, and
// the next one can go on.
func TestARecordThatWasCutShortIsNone(t *testing.T) {
	s := newSupervisor(t)
	l, _ := s.process("n")
	rewrite(t, l, "a1")
	whole := bytes.Clone(l.now.mem)
	tail := l.now.tail
	l.Put([]byte(strings.Repeat("long", 50)))
	for _, written := range []int{4, 8, 12, 100, 200} { // all but the length, up to here
		copy(l.now.mem, whole)
		for i := tail + 4; i < tail+4+written; i++ {
			l.now.mem[i] = 0xAA
		}
		next, rs := s.process("n")
		if text(rs) != "a1" {
			t.Fatalf("%d bytes: %s", written, text(rs))
		}
		next.Put([]byte("b1"))
		next.Put([]byte("c1"))
		if _, rs := s.process("n"); text(rs) != "a1 b1 c1" {
			t.Fatalf("%d bytes, and then more: %s", written, text(rs))
		}
	}
}

func TestADamagedLogIsRefusedAsAWhole(t *testing.T) {
	for name, damage := range map[string]func(mem []byte){
		"magic":           func(m []byte) { m[0]++ },
		"version":         func(m []byte) { order.PutUint32(m[8:], 2); order.PutUint32(m[252:], headerSum(m)) },
		"given up":        func(m []byte) { order.PutUint32(m[12:], 0) },
		"sequence":        func(m []byte) { m[16]++ },
		"first record":    func(m []byte) { m[headerSize+recordHead+1] ^= 1 },
		"last record":     func(m []byte) { m[headerSize+2*recordSize(3)+recordHead+1] ^= 1 },
		"checksum":        func(m []byte) { m[headerSize+4] ^= 1 },
		"length":          func(m []byte) { m[headerSize]++ },
		"absurd length":   func(m []byte) { order.PutUint32(m[headerSize:], 1<<31) },
		"unknown kind":    func(m []byte) { m[headerSize+8] = 'x'; order.PutUint32(m[headerSize+4:], 0) },
		"after the end":   func(m []byte) { order.PutUint32(m[headerSize+3*recordSize(3):], 5) },
		"owner's length":  func(m []byte) { order.PutUint32(m[24:], 1<<30) },
		"all of one byte": func(m []byte) { copy(m, bytes.Repeat([]byte{0xFF}, len(m))) },
	} {
		s := newSupervisor(t)
		l, _ := s.process("n")
		rewrite(t, l, "a1", "b1", "c1")
		damage(l.now.mem)
		next, rs := s.process("n")
		if len(rs) != 0 || !next.Wants() || len(s.held) != 0 {
			t.Errorf("%s: %s, %d files held", name, text(rs), len(s.held))
		}
	}
	s := newSupervisor(t)
	fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	unsealed := os.NewFile(uintptr(fd), "x")
	l, _ := s.process("n")
	rewrite(t, l, "a1")
	if _, err := unsealed.Write(l.now.mem); err != nil {
		t.Fatal(err)
	}
	s.held = map[string]*os.File{Name + "a": unsealed}
	if _, rs := s.process("n"); len(rs) != 0 {
		t.Errorf("one that is not sealed: %s", text(rs))
	}
}

// Of two logs, as when the process died while one took over, the newer counts.
func TestTheNewerOfTwoLogsCounts(t *testing.T) {
	s := newSupervisor(t)
	l, _ := s.process("n")
	rewrite(t, l, "a1")
	before := maps.Clone(s.held)
	if err := l.Rewrite(0, func(put func([]byte) error) error { return put([]byte("a2")) }); err != nil {
		t.Fatal(err)
	}
	l.Put([]byte("b1")) // into both
	if _, rs := s.process("n"); text(rs) != "a1 b1" {
		t.Errorf("before the new one was confirmed: %s", text(rs))
	}
	s.held[Name+"b"] = dup(t, l.next.file)
	if _, rs := s.process("n"); text(rs) != "a2 b1" || len(s.held) != 1 {
		t.Errorf("while both are held: %s, %d files", text(rs), len(s.held))
	}
	s.held = before
	s.deny = errors.New("denied")
	if err := l.Confirm(); err == nil {
		t.Error("a supervisor that takes nothing is no error")
	}
	l.Put([]byte("c1"))
	if _, rs := s.process("n"); text(rs) != "a1 b1 c1" {
		t.Errorf("after the supervisor refused: %s", text(rs))
	}
}

// Rather nothing than the revision before: a log without room is given up.
func TestAFullLogIsGivenUp(t *testing.T) {
	s := newSupervisor(t)
	l, _ := s.process("n")
	rewrite(t, l)
	big := bytes.Repeat([]byte("x"), 60<<10)
	for n := 0; !l.Wants(); n++ {
		l.Put(big)
		if n > 1000 {
			t.Fatal("it never wants to be written anew")
		}
	}
	if _, rs := s.process("n"); len(rs) == 0 {
		t.Error("nothing is kept before it is full")
	}
	for range 100 {
		l.Put(big)
	}
	if _, rs := s.process("n"); len(rs) != 0 {
		t.Errorf("%d records of a log that lost some", len(rs))
	}
	if !l.Wants() {
		t.Error("it does not want to be written anew")
	}
	l.Put([]byte("a1")) // kept nowhere
	rewrite(t, l, "a1")
	if _, rs := s.process("n"); text(rs) != "a1" {
		t.Errorf("after it was written anew: %s", text(rs))
	}
}

func BenchmarkPut(b *testing.B) {
	l, _ := Open("n", nil, nothing{}, zerolog.Nop())
	p := bytes.Repeat([]byte("x"), 600)
	again := func() {
		if err := errors.Join(l.Rewrite(64<<20, func(func([]byte) error) error { return nil }), l.Confirm()); err != nil {
			b.Fatal(err)
		}
	}
	again()
	for b.Loop() {
		if l.Put(p); l.Wants() {
			again()
		}
	}
	l.Close()
}

type nothing struct{}

func (nothing) Store(string, *os.File) error { return nil }
func (nothing) Forget(string)                {}
