package overlay_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"thor/broker/brokertest"
	"thor/overlay"
	"thor/subjects"
)

// killed is what a process that is killed now leaves behind.
func killed(t *testing.T, dir string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "state")
	if err := os.CopyFS(out, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return out
}

// A process that was killed right after it had shown a status does not begin with
// the one before, which is on disk: it asks first. Only where no broker answers it
// shows that one after a while.
func TestAKilledProcessDoesNotGoBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		cfg := config(t, b, "dns1", subjects.DNSManager)
		n, stop := run(t, cfg)
		saved, d := f.change(join("sip_proxy", "n1"))
		f.delta(d)
		await(t, n, "the first status", holds(saved))
		brokertest.Eventually(t, 5*time.Second, "it is on disk", func() error {
			_, err := os.Stat(filepath.Join(cfg.StateDir, "status.json"))
			return err
		})
		shown, d := f.change(join("sip_proxy", "n2"))
		f.delta(d)
		await(t, n, "the second status", holds(shown)) // and not on disk: one write a second
		dir := killed(t, cfg.StateDir)
		stop()

		cfg.StateDir, cfg.Boot = dir, "second"
		n, stop = run(t, cfg)
		if v := await(t, n, "a status", func(v *overlay.View) bool { return v.Status != nil }); shown.Mark().After(v.Mark()) {
			t.Errorf("shown was %v, then %v", shown.Mark(), v.Mark())
		}
		stop()

		began := time.Now()
		cfg.StateDir, cfg.Boot = killed(t, dir), "third"
		n, _ = run(t, cfg)
		if v := n.View(); v.Status != nil && v.Mark() != shown.Mark() {
			t.Errorf("%v", v.Mark())
		}
		await(t, n, "after a graceful end the disk has it", holds(shown))
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("it was held back for %v", took)
		}
	})
}

func TestWithoutABrokerTheOldStatusIsShownAfterAWhile(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		cfg := config(t, b, "dns1", subjects.DNSManager)
		n, stop := run(t, cfg)
		saved, d := f.change(join("sip_proxy", "n1"))
		f.delta(d)
		await(t, n, "the first status", holds(saved))
		brokertest.Eventually(t, 5*time.Second, "it is on disk", func() error {
			_, err := os.Stat(filepath.Join(cfg.StateDir, "status.json"))
			return err
		})
		shown, d := f.change(join("sip_proxy", "n2"))
		f.delta(d)
		await(t, n, "the second status", holds(shown))
		dir := killed(t, cfg.StateDir)
		stop()
		f.nc.Close() // no manager answers
		began := time.Now()
		cfg.StateDir, cfg.Boot = dir, "second"
		n, _ = run(t, cfg)
		v := await(t, n, "a status", func(v *overlay.View) bool { return v.Status != nil })
		if took := time.Since(began); took < 2*time.Second || took > 3*time.Second || !v.FromDisk {
			t.Errorf("after %v: %+v", took, v)
		}
	})
}
