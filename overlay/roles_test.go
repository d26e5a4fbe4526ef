package overlay_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"thor/broker/brokertest"
	"thor/overlay"
	"thor/subjects"
)

// tellRoles tells what d changes by role, and the tick that names it, as a manager does
// that names roles. d may be nil.
func (f *fakeManager) tellRoles(d *subjects.Delta) {
	f.mu.Lock()
	s := f.status
	f.mu.Unlock()
	if d != nil {
		f.delta(d)
		for _, p := range d.ByRole(s) {
			p.Digest = s.RoleDigest(p.Role)
			data, _ := p.Message()
			f.send(message(subjects.ChangesOf(p.Role), data))
		}
	}
	k := subjects.RoleTick{V: 1, Epoch: s.Epoch, Generation: s.Generation, Roles: s.RoleDigests(), Manager: s.Manager, Time: time.Now().UTC()}
	f.send(message(subjects.RolesTick, k.Encode()))
	f.tick()
}

func (f *fakeManager) lastAsked() *subjects.SnapshotRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[len(f.asked)-1]
}

// shows compares a view with the part of s that is about roles.
func shows(s *subjects.Status, roles ...subjects.Role) func(*overlay.View) bool {
	p := s.Part(roles)
	return func(v *overlay.View) bool {
		if v.Status == nil || v.Mark() != s.Mark() || !slices.Equal(v.Status.Only, p.Only) || string(v.Encoded) != string(v.Status.Encode()) {
			return false
		}
		for _, r := range roles {
			if v.Status.RoleDigest(r) != s.RoleDigest(r) {
				return false
			}
		}
		return len(v.Status.Roles) == len(p.Roles)
	}
}

func TestRolesLimitTheViewAndWhatWatchDelivers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		f.change(join("sip_proxy", "n1"))
		f.change(join("media_relay", "n2"))
		cfg := config(t, b, "n9", "media_relay")
		cfg.Roles = []subjects.Role{"sip_proxy"}
		n, _ := run(t, cfg)
		first, _ := f.change(join("voicemail_server", "n3"))
		await(t, n, "the part", shows(first, "sip_proxy"))
		f.tellRoles(nil)
		synctest.Wait()
		views := n.Watch(t.Context())
		<-views // the current one
		for i, name := range nodes(20) {
			_, d := f.change(join("media_relay", name))
			f.tellRoles(d)
			if i%5 == 0 {
				time.Sleep(time.Second) // virtual
			}
		}
		synctest.Wait()
		f.mu.Lock()
		now := f.status
		f.mu.Unlock()
		if v := n.View(); !shows(now, "sip_proxy")(v) || v.Stale {
			t.Errorf("view %v, status %v", v.Mark(), now.Mark())
		}
		select {
		case v := <-views:
			t.Errorf("a change of another role is delivered: %s", v.Encoded)
		default:
		}
		s, d := f.change(join("sip_proxy", "n4"))
		f.tellRoles(d)
		if v := <-views; !shows(s, "sip_proxy")(v) {
			t.Errorf("delivered %s", v.Encoded)
		}
		if f.requests() != 1 || !slices.Equal(f.lastAsked().Roles, cfg.Roles) {
			t.Errorf("asked %d times, at last for %v", f.requests(), f.lastAsked().Roles)
		}
		if n.View().Status.Member("media_relay", "n2") != nil {
			t.Error("another role is listed")
		}
	})
}

func TestStalenessOfAPartIsDelivered(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		s, _ := f.change(join("sip_proxy", "n1"))
		cfg := config(t, b, "n9", "media_relay")
		cfg.Roles = []subjects.Role{"sip_proxy"}
		n, _ := run(t, cfg)
		await(t, n, "the part", shows(s, "sip_proxy"))
		f.tellRoles(nil)
		synctest.Wait()
		views := n.Watch(t.Context())
		<-views // the current one
		delivered := func() *overlay.View {
			select {
			case v := <-views:
				return v
			case <-time.After(time.Minute): // virtual
				t.Fatal("nothing is delivered")
				return nil
			}
		}
		start := time.Now()
		if v := delivered(); !v.Stale || !shows(s, "sip_proxy")(v) || time.Since(start) != overlay.DefaultStaleAfter {
			t.Errorf("after %v stale: %v, %s", time.Since(start), v.Stale, v.Encoded)
		}
		f.tellRoles(nil)
		if v := delivered(); v.Stale {
			t.Error("stale after a tick")
		}
	})
}

func TestLookupOfARoleThatIsNotFollowedFails(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		s, _ := f.change(join("sip_proxy", "n1"))
		cfg := config(t, b, "n9", "media_relay")
		cfg.Roles = []subjects.Role{"media_relay", "thor_database"}
		n, _ := run(t, cfg)
		if _, _, err := n.Lookup("thor_database", "alice@example.net"); !errors.Is(err, overlay.ErrNoStatus) {
			t.Errorf("before there is a status: %v", err)
		}
		await(t, n, "the part", shows(s, cfg.Roles...))
		if _, _, err := n.Lookup("sip_proxy", "alice@example.net"); !errors.Is(err, overlay.ErrNotFollowed) {
			t.Errorf("Lookup: %v", err)
		}
		if _, err := n.Find("sip_proxy", "alice@example.net"); !errors.Is(err, overlay.ErrNotFollowed) {
			t.Errorf("Find: %v", err)
		}
		if _, err := n.Find("thor_database", "alice@example.net"); !errors.Is(err, overlay.ErrNoTable) {
			t.Errorf("Find in a role that is followed: %v", err)
		}
	})
}

// A manager of the version before names no roles and answers with everything: all its
// deltas are heard then, until one leads that names them.
func TestUnderAnEarlierManagerAllIsFollowedAndThePartShown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		f.change(join("sip_proxy", "n1"))
		first, _ := f.change(join("media_relay", "n2"))
		cfg := config(t, b, "n9", "media_relay")
		cfg.Roles = []subjects.Role{"sip_proxy"}
		n, _ := run(t, cfg)
		await(t, n, "the part", shows(first, "sip_proxy"))
		f.tick()
		time.Sleep(time.Second) // virtual: the whole is fetched
		asked := f.requests()
		if f.lastAsked().Roles != nil {
			t.Errorf("asked for %v", f.lastAsked().Roles)
		}
		for i, name := range nodes(10) {
			s, d := f.change(join([]subjects.Role{"sip_proxy", "media_relay"}[i%2], name))
			f.delta(d)
			f.tick()
			synctest.Wait()
			if v := n.View(); !shows(s, "sip_proxy")(v) || v.Stale {
				t.Fatalf("%s: view %s", name, v.Encoded)
			}
		}
		if f.requests() != asked {
			t.Errorf("asked %d times", f.requests()-asked)
		}
		_, d := f.change(func(s *subjects.Status) { s.Epoch = 2 })
		f.tellRoles(d)
		synctest.Wait()
		before := n.Conn().Stats().InMsgs
		s, d := f.change(join("media_relay", "n5"))
		f.tellRoles(d)
		synctest.Wait()
		if v := n.View(); !shows(s, "sip_proxy")(v) {
			t.Fatalf("view %s", v.Encoded)
		}
		if heard := n.Conn().Stats().InMsgs - before; heard != 1 {
			t.Errorf("%d messages for a change of another role, want the tick of the roles", heard)
		}
		if f.requests() != asked {
			t.Errorf("asked %d times", f.requests()-asked)
		}
	})
}

func TestABrokerThatRefusesTheDeltasOfRolesIsFoundOut(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		first, _ := f.change(join("sip_proxy", "n1"))
		cfg := config(t, b, "n9", "media_relay")
		cfg.Roles = []subjects.Role{"sip_proxy"}
		n, _ := run(t, cfg)
		await(t, n, "the part", shows(first, "sip_proxy"))
		f.tellRoles(nil)
		overlay.Violate(n, subjects.ChangesOf("sip_proxy"))
		time.Sleep(time.Second) // virtual
		if f.lastAsked().Roles != nil {
			t.Errorf("asked for %v", f.lastAsked().Roles)
		}
		s, d := f.change(join("sip_proxy", "n2"))
		f.delta(d)
		synctest.Wait()
		if !shows(s, "sip_proxy")(n.View()) {
			t.Errorf("view %s", n.View().Encoded)
		}
	})
}

// What is kept of some roles is never taken for the network, by a process of an earlier
// version or one that follows all.
func TestThePartOnDiskIsNotTheNetwork(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		f := newManager(t, b.Dial("m1", subjects.Manager))
		f.change(join("sip_proxy", "n1"))
		s, _ := f.change(join("media_relay", "n2"))
		cfg := config(t, b, "n9", "media_relay")
		cfg.Roles = []subjects.Role{"sip_proxy"}
		n, stop := run(t, cfg)
		await(t, n, "the part", shows(s, "sip_proxy"))
		stop()
		content, err := os.ReadFile(filepath.Join(cfg.StateDir, "status.json"))
		if err != nil || !strings.HasPrefix(string(content), `{"v":1001,`) || strings.Contains(string(content), "media_relay") {
			t.Errorf("%v: %s", err, content)
		}
		f.mu.Lock()
		f.refuse = true
		f.mu.Unlock()
		n, stop = run(t, cfg)
		if v := await(t, n, "the part from disk", func(v *overlay.View) bool { return v.Status != nil }); !v.FromDisk || !shows(s, "sip_proxy")(v) {
			t.Errorf("from disk: %s", v.Encoded)
		}
		stop()
		cfg.Roles = nil
		n, _ = run(t, cfg)
		await(t, n, "a connection", func(v *overlay.View) bool { return v.Connected })
		time.Sleep(time.Second) // virtual
		if v := n.View(); v.Status != nil {
			t.Errorf("a process that follows all shows %s", v.Encoded)
		}
		f.mu.Lock()
		f.refuse = false
		f.mu.Unlock()
		await(t, n, "the network", holds(s))
	})
}

func TestRolesOfAConfigurationAreChecked(t *testing.T) {
	inBubble(t, func(t *testing.T, b *brokertest.B) {
		cfg := config(t, b, "n9", "media_relay")
		cfg.Roles = []subjects.Role{"thor_database", "sip_proxy", "sip_proxy"}
		n, err := overlay.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if want := []subjects.Role{"sip_proxy", "thor_database"}; !slices.Equal(n.Roles(), want) {
			t.Errorf("follows %v", n.Roles())
		}
		cfg.Roles = []subjects.Role{"sip.*"}
		if _, err := overlay.New(cfg); !errors.Is(err, subjects.ErrBadRole) {
			t.Errorf("a wildcard: %v", err)
		}
		cfg.Roles = nil
		for _, name := range nodes(subjects.MaxFollowed + 1) {
			cfg.Roles = append(cfg.Roles, subjects.Role("r"+name))
		}
		if _, err := overlay.New(cfg); err == nil {
			t.Error("too many roles are taken")
		}
	})
}
