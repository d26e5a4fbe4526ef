package mariadbtest_test

import (
	"testing"

	"thor/provisioning/store/mariadbtest"
)

func TestServerKeepsItsDataOverAKill(t *testing.T) {
	s := mariadbtest.Start(t, mariadbtest.Durable)
	d := s.Schema()
	if !d.HasPassword() || d.Address() != s.Addr() {
		t.Fatalf("location %v", d)
	}
	s.SQL("CREATE TABLE " + d.Name() + ".x (n INT); INSERT INTO " + d.Name() + ".x VALUES (7)")
	s.Kill()
	s.Restart()
	if got := s.Rows("SELECT n FROM " + d.Name() + ".x"); got != "7" {
		t.Errorf("after a kill: %q", got)
	}
	s.Stop()
	s.Restart()
	if other := s.Schema(); other.Name() == d.Name() {
		t.Errorf("two schemas named %s", d.Name())
	}
}
