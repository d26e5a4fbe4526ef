package subscribers_test

import (
	"errors"
	"testing"
	"time"

	"thor/nodeagent/subscribers"
	"thor/overlay"
	"thor/subjects"
)

// An XCAP server stores a document in the profile, which is no change that provisioning
// counts: owner and heir read it anew once one node is told, whichever.
func TestAChangeWithoutARevisionIsReadAnewByAllHolders(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		p1, ps := trio(n)
		k := p1.keyOf("n1", "n2")
		n.answered(p1, k, "v0")
		for i, told := range []string{"n1", "n2", "n3"} {
			want := "v0" + told
			n.store.mu.Lock()
			n.store.rows[k].HA1 = want // of the same revision
			n.store.mu.Unlock()
			if got := ps["n1"].ha1(k); i == 0 && got != "v0" {
				t.Errorf("before anything is told: %s", got)
			}
			if err := ps[told].cache.Changed(t.Context(), "sip:"+k); err != nil {
				t.Fatal(err)
			}
			n.within(5*time.Second, "owner and heir have it", func() bool {
				return ps["n1"].ha1(k) == want && ps["n2"].get("/subscriber/"+k+"/ha1?for=heir").Body.String() == want
			})
		}
		if err := ps["n1"].cache.Changed(t.Context(), "nonsense"); !errors.Is(err, overlay.ErrBadKey) {
			t.Errorf("what is no key: %v", err)
		}
	})
}

// Which other nodes hold the profile is not known, so none is told: the sender has to
// learn of it, and not to take it for a bad key.
func TestAChangeThatCannotBePassedOnIsNotTaken(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		alone := n.join("n8", subjects.SIPProxy) // never connected
		c, err := subscribers.New(subscribers.Config{Overlay: alone.node})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Changed(t.Context(), "alice@example.com"); !errors.Is(err, overlay.ErrNoStatus) {
			t.Errorf("without a status: %v", err)
		}
		p1 := n.server("p1")
		other := n.proxy("n9", func(cfg *subscribers.Config) { cfg.Role = subjects.MediaRelay })
		n.settled([]*peer{p1, other}, "n9")
		if err := other.cache.Changed(t.Context(), "alice@example.com"); !errors.Is(err, overlay.ErrNoTable) {
			t.Errorf("without a table: %v", err)
		}
	})
}
