package subscribers_test

import (
	"testing"
	"time"
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
		if err := ps["n1"].cache.Changed(t.Context(), "nonsense"); err == nil {
			t.Error("what is no key was taken")
		}
	})
}
