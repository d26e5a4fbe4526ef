package subscribers_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thor/nodeagent/subscribers"
	"thor/nodeagent/subscribers/kept"
)

// A keeper holds files as systemd does.
type keeper struct {
	t    *testing.T
	held map[string]*os.File
}

func (k *keeper) Store(name string, f *os.File) error {
	k.held[name] = again(k.t, f)
	return nil
}

func (k *keeper) Forget(name string) { delete(k.held, name) }

func again(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "kept")
}

// keeps gives a proxy what its process before left with k.
func keeps(n *network, k *keeper) func(*subscribers.Config) {
	return func(cfg *subscribers.Config) {
		files := make(map[string]*os.File)
		for name, f := range k.held {
			files[name] = again(n.t, f)
		}
		cfg.Kept, cfg.Restored = kept.Open(string(cfg.Overlay.ID()), files, k, n.logger("kept"))
	}
}

// push changes key and waits until the nodes have acknowledged it.
func (n *network) push(p *peer, key, ha1 string, deleted bool) {
	n.t.Helper()
	p.live.Push(n.store.change(key, ha1, deleted))
	n.within(5*time.Second, "the push is acknowledged", func() bool { return n.store.waiting() == 0 })
}

// A process that is killed leaves to the next one what it held, to the last push
// that was acknowledged, and the next one says that it may be old.
func TestARestartKeepsTheProfiles(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		k := &keeper{t: t, held: make(map[string]*os.File)}
		prov, a := n.server("prov1"), n.proxy("p1", keeps(n, k))
		n.settled([]*peer{prov, a}, "p1")
		keys := make([]string, 50)
		for i := range keys {
			keys[i] = fmt.Sprintf("user%d@example.net", i)
			n.push(prov, keys[i], fmt.Sprintf("first%d", i), false)
		}
		n.push(prov, keys[1], "second", false)
		n.push(prov, keys[2], "", true)
		for round := range 3 {
			a.kill()
			prov.kill()
			a = n.proxy("p1", keeps(n, k))
			n.within(30*time.Second, "the node serves again", func() bool {
				l, _, err := a.node.Lookup("sip_proxy", keys[0])
				return err == nil && l.Owner() == "p1" && !strings.HasPrefix(a.ha1(keys[0]), "503")
			})
			for i, key := range keys {
				want := fmt.Sprintf("first%d?", i)
				switch i {
				case 1:
					want = "second?"
				case 2:
					want = "404?"
				}
				if got := a.ha1(key); got != want {
					t.Errorf("restart %d: %s: %s, want %s", round, key, got, want)
				}
			}
			if got := a.ha1("other@example.net"); got != "503" {
				t.Errorf("what was never held: %s", got)
			}
			prov = n.server("prov1")
			n.settled([]*peer{prov, a}, "p1")
			n.within(10*time.Second, "what is held is current again", func() bool { return a.ha1(keys[0]) == "first0" && a.ha1(keys[2]) == "404" })
		}
	})
}

// With provisioning at hand, nothing of before the restart is given without asking.
func TestAfterARestartProvisioningIsAsked(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		k := &keeper{t: t, held: make(map[string]*os.File)}
		prov, a := n.server("prov1"), n.proxy("p1", keeps(n, k))
		n.settled([]*peer{prov, a}, "p1")
		n.push(prov, "alice@example.net", "old", false)
		n.push(prov, "bob@example.net", "same", false)
		a.kill()
		n.store.change("alice@example.net", "new", false) // while the agent is down
		reads := n.store.readsOf("bob@example.net")
		a = n.proxy("p1", keeps(n, k))
		n.settled([]*peer{prov, a}, "p1")
		n.within(30*time.Second, "the node serves again", func() bool {
			l, _, err := a.node.Lookup("sip_proxy", "alice@example.net")
			return err == nil && l.Owner() == "p1"
		})
		if got := a.ha1("alice@example.net"); got != "new" {
			t.Errorf("alice: %s", got)
		}
		if got := a.ha1("bob@example.net"); got != "same" || n.store.readsOf("bob@example.net") == reads {
			t.Errorf("bob: %s, %d reads", got, n.store.readsOf("bob@example.net")-reads)
		}
		reads = n.store.readsOf("bob@example.net")
		if got := a.ha1("bob@example.net"); got != "same" || n.store.readsOf("bob@example.net") != reads {
			t.Errorf("bob, once more: %s, %d reads", got, n.store.readsOf("bob@example.net")-reads)
		}
	})
}
