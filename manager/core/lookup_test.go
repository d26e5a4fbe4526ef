package core

import (
	"testing"
	"time"

	"thor/subjects"
)

// A standby makes its tables soon after a lone change. In a storm each second is
// enough, and the last status is compared too.
func TestStandbyMakesTablesOnceASecondInAStorm(t *testing.T) {
	m := newLone(t, func(c *Config) { c.SlotBits = func(subjects.Role) int { return 10 } })
	compared := 0
	tell := func(generation uint64) {
		m.follow(told(1, generation, listed(subjects.SIPProxy, subjects.Up, "p1")), false)
	}
	pass := func(d time.Duration) {
		before := m.uncompared
		m.pass(d)
		if before != nil && m.uncompared == nil {
			compared++
		}
	}
	m.pass(2 * time.Second)
	tell(10)
	pass(compareLater + 40*time.Millisecond)
	if compared != 1 {
		t.Fatalf("a lone change was compared %d times within %v", compared, compareLater)
	}
	pass(2 * time.Second)
	compared = 0
	for i := range uint64(150) { // 3 s
		tell(11 + i)
		pass(20 * time.Millisecond)
	}
	if compared < 2 || compared > 4 {
		t.Errorf("tables were made %d times in a storm of 3 s", compared)
	}
	m.pass(compareApart + 40*time.Millisecond)
	if m.uncompared != nil {
		t.Error("the last status of the storm was not compared")
	}
}
