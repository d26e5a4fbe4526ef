package core

import (
	"testing"
	"time"
)

// A manager that loses input asks brokers for certificates again, but does not make
// its own overload worse: the answers are many.
func TestLostInputAsksForCertificatesOnceInAWhile(t *testing.T) {
	m := newLone(t)
	m.pass(30 * time.Second)
	before := len(all[AskIdentities](m))
	m.Missed(m.now)
	m.pass(40 * time.Millisecond)
	if n := len(all[AskIdentities](m)) - before; n != 1 {
		t.Errorf("asked %d times at once", n)
	}
	for range 500 {
		m.Missed(m.now)
		m.pass(20 * time.Millisecond)
	}
	if n := len(all[AskIdentities](m)) - before; n < 5 || n > 7 {
		t.Errorf("asked %d times in ten seconds", n)
	}
}
