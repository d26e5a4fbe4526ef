//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// A growing is a network whose number of brokers changes while it runs: five hosts with
// a broker each, managers and proxies on the first two.
type growing struct {
	*lab
	desk    *host
	byName  map[string]*host
	urls    []string // of all brokers that there ever are
	daemons map[string]*process
	node    *overlay.Node

	mu     sync.Mutex
	newest subjects.Mark
	faults []string
}

// The brokers of a network become three, five, three and one, as docs/operate.md says.
// At each size the active manager is killed and another leads with a later epoch; no
// mark goes back and no proxy is removed.
func TestBrokersGrowAndShrink(t *testing.T) {
	g := newGrowing(t)
	g.broker(t, 1, 1)
	g.configure(t, 2, 1)
	for _, d := range []string{"manager", "node"} {
		for i := 1; i <= 2; i++ {
			g.start(t, i, d)
		}
	}
	g.watch(t)
	g.elects(t, "one broker")

	t.Log("one broker becomes three: the first is restarted with its new file, the others follow at once")
	g.broker(t, 1, 3)
	g.broker(t, 2, 3)
	g.broker(t, 3, 3)
	g.copies(t, 3)
	g.elects(t, "three brokers")

	t.Log("three become five: the new ones start, the old ones are restarted in turn")
	g.broker(t, 4, 5)
	g.broker(t, 5, 5)
	for i := 1; i <= 3; i++ {
		g.broker(t, i, 5)
		g.ready(t, i)
	}
	g.peers(t, 5)
	g.stop(t, 4) // any two of five
	g.stop(t, 5)
	g.elects(t, "three of five brokers")

	t.Log("five become three: those that were stopped are removed, the others are restarted in turn")
	g.remove(t, 4, 5)
	for i := 1; i <= 3; i++ {
		g.broker(t, i, 3)
		g.ready(t, i)
	}
	g.peers(t, 3)
	g.elects(t, "three brokers")
	g.stop(t, 3)
	g.elects(t, "two of three brokers")

	t.Log("three become one: one is removed by the majority, the next by a rescue, and the last stands alone")
	g.remove(t, 3)
	g.stop(t, 2)
	g.remove(t, 2)
	g.broker(t, 1, 1)
	g.elects(t, "one broker")
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.faults) > 0 {
		t.Errorf("%d faults:\n%s", len(g.faults), strings.Join(g.faults[:min(len(g.faults), 20)], "\n"))
	}
}

func newGrowing(t *testing.T) *growing {
	t.Helper()
	g := &growing{lab: newLab(t), byName: make(map[string]*host), daemons: make(map[string]*process)}
	g.desk = g.host(t, "desk", "203.0.113.10", "203.0.113.10", "203.0.113.254")
	g.desk.thor(t, "ca", "init", "--domain", "grow.example")
	equip := func(h *host, roles ...subjects.Role) {
		args := []string{"ca", "issue", "--node", h.name, "--ip", h.address, "--out", h.name}
		for _, r := range roles {
			args = append(args, "--role", string(r))
		}
		g.desk.thor(t, args...)
		for from, to := range map[string]string{h.name + ".key": "node.key", h.name + ".crt": "node.crt", "ca/ca.crt": "ca.crt"} {
			b, err := os.ReadFile(filepath.Join(g.desk.dir, from))
			if err == nil {
				err = os.WriteFile(filepath.Join(h.dir, to), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	equip(g.desk, subjects.Operator, subjects.Monitor)
	for i := 1; i <= 5; i++ {
		h := g.host(t, hostNamed(i), fmt.Sprintf("192.0.2.%d", i), fmt.Sprintf("192.0.2.%d", i), "192.0.2.254")
		g.byName[h.name] = h
		g.urls = append(g.urls, fmt.Sprintf("tls://%s:4222", h.address))
		equip(h, subjects.EventServer, subjects.Manager, subjects.SIPProxy)
	}
	return g
}

func hostNamed(i int) string { return fmt.Sprintf("host%d", i) }

// configure writes the file of a host in a network of so many brokers.
func (g *growing) configure(t *testing.T, i, brokers int) {
	t.Helper()
	h := g.byName[hostNamed(i)]
	text := fmt.Sprintf("[network]\ndomain = \"grow.example\"\nbrokers = [\"%s\"]\ncertificate = \"node.crt\"\nkey = \"node.key\"\nca = \"ca.crt\"\n", strings.Join(g.urls, `", "`))
	text += fmt.Sprintf("[broker]\nlisten = \"%s:4222\"\n", h.address)
	if brokers > 1 {
		var routes []string
		for k := 1; k <= brokers; k++ {
			routes = append(routes, fmt.Sprintf("\"tls://%s:6222\"", g.byName[hostNamed(k)].address))
		}
		text += fmt.Sprintf("cluster_listen = \"%s:6222\"\nroutes = [%s]\n", h.address, strings.Join(routes, ", "))
	}
	text += "[manager]\ndamping = false\n[node]\nhttp = \"\"\nlookup = \"\"\n[[node.role]]\nrole = \"sip_proxy\"\n"
	if err := os.WriteFile(filepath.Join(h.dir, "thor.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start starts a daemon of a host.
func (g *growing) start(t *testing.T, i int, daemon string) {
	t.Helper()
	h := g.byName[hostNamed(i)]
	name := h.name + " " + daemon
	if p := g.daemons[name]; p != nil {
		p.run(t)
		return
	}
	env := []string{"THOR_STATE=" + filepath.Join(h.dir, "state", daemon)}
	g.daemons[name] = h.start(t, daemon, env, thor, daemon, "--config", "thor.toml")
}

// broker starts the broker of a host in a network of so many, or restarts it.
func (g *growing) broker(t *testing.T, i, brokers int) {
	t.Helper()
	if g.daemons[hostNamed(i)+" broker"] != nil {
		g.stop(t, i)
	}
	g.configure(t, i, brokers)
	g.start(t, i, "broker")
}

// stop ends the broker of a host as systemd does.
func (g *growing) stop(t *testing.T, i int) {
	t.Helper()
	d := &daemonProc{p: g.daemons[hostNamed(i)+" broker"]}
	select {
	case <-d.p.done:
		return
	default:
	}
	if err := d.term(); err != nil {
		t.Fatal(err)
	}
}

// remove has the operator remove brokers that were stopped for good.
func (g *growing) remove(t *testing.T, list ...int) {
	t.Helper()
	args := append([]string{"rescue"}, g.reach()...)
	for _, i := range list {
		args = append(args, hostNamed(i))
	}
	var out string
	eventually(t, 90*time.Second, fmt.Sprintf("brokers %v are removed", list), func() bool {
		var err error
		if out, err = g.desk.try(append(args, "--yes")...); err != nil {
			t.Log(err) // a leader that lost its majority takes up to half a minute to find out
		}
		return err == nil
	})
	t.Log(out)
}

// reach are the flags of the operator.
func (g *growing) reach() []string {
	return []string{"--brokers", strings.Join(g.urls, ","), "--cert", "node.crt", "--key", "node.key", "--ca", "ca.crt"}
}

// watch notes all that an observer is told.
func (g *growing) watch(t *testing.T) {
	t.Helper()
	in := func(name string) string { return filepath.Join(g.desk.dir, name) }
	creds, err := identity.Load(identity.Files{Cert: in("node.crt"), Key: in("node.key"), CA: in("ca.crt")})
	if err != nil {
		t.Fatal(err)
	}
	n, err := overlay.New(overlay.Config{Credentials: creds, Brokers: g.urls, Dial: g.desk.dial})
	if err != nil {
		t.Fatal(err)
	}
	g.node = n
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	parts.Go(func() { _ = n.Run(ctx) })
	parts.Go(func() {
		whole := false
		for v := range n.Watch(ctx) {
			if v.Status == nil {
				continue
			}
			proxies := len(v.Status.Roles[subjects.SIPProxy])
			whole = whole || proxies == 2
			g.mu.Lock()
			switch mark := v.Mark(); {
			case g.newest.After(mark):
				g.faults = append(g.faults, fmt.Sprintf("%v after %v", mark, g.newest))
			case whole && proxies < 2:
				g.faults = append(g.faults, fmt.Sprintf("%d proxies at %v", proxies, mark))
			default:
				g.newest = mark
			}
			g.mu.Unlock()
		}
	})
	t.Cleanup(func() { cancel(); parts.Wait() })
}

// elects kills the active manager and waits until the other leads.
func (g *growing) elects(t *testing.T, what string) {
	t.Helper()
	active := func() (subjects.NodeID, subjects.Mark) {
		v := g.node.View()
		if v.Status == nil || v.Stale || time.Since(g.node.Confirmed()) > 3*time.Second || len(v.Status.Roles[subjects.SIPProxy]) != 2 {
			return "", subjects.Mark{}
		}
		return v.Status.Manager, v.Mark()
	}
	eventually(t, 60*time.Second, what+": a manager leads, both proxies are listed", func() bool { m, _ := active(); return m != "" })
	before, mark := active()
	if before == "" {
		t.Fatal("no active manager")
	}
	p := g.daemons[string(before)+" manager"]
	p.kill(t)
	eventually(t, 60*time.Second, what+": the other manager leads", func() bool {
		m, k := active()
		return m != "" && m != before && k.Epoch > mark.Epoch
	})
	p.run(t)
	eventually(t, 60*time.Second, what+": both managers are listed", func() bool {
		v := g.node.View()
		return v.Status != nil && len(v.Status.Roles[subjects.Manager]) == 2
	})
}

// ready waits until a broker that was restarted is one of the network again.
func (g *growing) ready(t *testing.T, i int) {
	t.Helper()
	eventually(t, 60*time.Second, hostNamed(i)+"'s broker is listed, JetStream has a leader", func() bool {
		v := g.node.View()
		r := g.group(i)
		return v.Status != nil && v.Status.Member(subjects.EventServer, subjects.NodeID(hostNamed(i))) != nil && r != nil && r.Leader != ""
	})
}

// peers waits until JetStream's group has so many brokers, all of them heard.
func (g *growing) peers(t *testing.T, n int) {
	t.Helper()
	eventually(t, 60*time.Second, fmt.Sprintf("JetStream's group has %d brokers", n), func() bool {
		r := g.group(1)
		return r != nil && r.Leader != "" && len(r.Peers) == n-1 && !slices.ContainsFunc(r.Peers, func(p subjects.RescuePeer) bool { return !p.Heard })
	})
}

// group is JetStream's group as the broker of a host sees it: what it answers to a
// request for a rescue that names none. nil: it does not answer.
func (g *growing) group(i int) *subjects.RescueReply {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req := subjects.RescueRequest{V: subjects.Version}
	p, err := g.node.Ask(ctx, subjects.RequestFrom(g.node.ID(), subjects.NodeID(hostNamed(i)), subjects.EventServer, subjects.VerbRescue), req.Encode())
	if err != nil || p.Code != "" {
		return nil
	}
	var r subjects.RescueReply
	if json.Unmarshal(p.Data, &r) != nil {
		return nil
	}
	return &r
}

// copies waits until each of the managers' buckets has so many copies.
func (g *growing) copies(t *testing.T, n int) {
	t.Helper()
	for _, b := range []string{subjects.ElectionBucket, subjects.StatusBucket} {
		eventually(t, 60*time.Second, fmt.Sprintf("%s has %d copies", b, n), func() bool {
			js, err := jetstream.New(g.node.Conn())
			if err != nil {
				return false
			}
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			s, err := js.Stream(ctx, "KV_"+b)
			if err != nil {
				return false
			}
			c := s.CachedInfo().Cluster
			return c != nil && c.Leader != "" && len(c.Replicas) == n-1 && !slices.ContainsFunc(c.Replicas, func(r *jetstream.PeerInfo) bool { return r.Offline || !r.Current })
		})
	}
}
