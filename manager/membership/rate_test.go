package membership_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// What one certificate can put into the history is bounded in bytes: a member that
// changes large attributes all the time changes the status the less often.
func TestLargeChangesAreRare(t *testing.T) {
	for _, c := range []struct{ size, changes int }{{100, 604}, {1000, 604}, {2048, 304}, {7000, 104}} {
		table := membership.New(membership.Config{})
		last := table.Revision()
		changes := 0
		for i := range 1200 { // ten minutes
			now := t0.Add(time.Duration(i) * 500 * time.Millisecond)
			a := &subjects.Announcement{
				V: 1, Node: "n1", Role: "sip_proxy", Boot: "b", Seq: uint64(i + 1), Addresses: addresses("10.0.0.1"),
				Attrs: subjects.Attrs{},
			}
			for k := range (c.size + 249) / 250 {
				a.Attrs[fmt.Sprintf("a%02d", k)] = fmt.Sprintf("%04d", i) + strings.Repeat("x", min(c.size, 250)-7)
			}
			if err := table.Announce(a, now); err != nil {
				t.Fatal(err)
			}
			table.Advance(now)
			if r := table.Revision(); r != last {
				last = r
				changes++
			}
		}
		if changes > c.changes || changes < c.changes/2 {
			t.Errorf("%d bytes: %d changes in ten minutes, want about %d", c.size, changes, c.changes)
		}
	}
}
