package manager_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"thor/broker/brokertest"
	"thor/manager"
	"thor/overlay"
	"thor/subjects"
)

// follower is a member that follows roles; none: all.
func follower(t *testing.T, b *brokertest.B, name string, roles ...subjects.Role) *overlay.Node {
	t.Helper()
	n, err := overlay.New(overlay.Config{Identity: b.Identity(name, subjects.Monitor), Options: b.Options(name, subjects.Monitor), Roles: roles})
	if err != nil {
		t.Fatal(err)
	}
	(&peer{node: n}).run(t)
	return n
}

// Nine of ten roles change all the time. What a process receives that follows the
// tenth is its snapshot and the ticks.
func TestTrafficOfAProcessThatFollowsOneRole(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		const roles, members = 10, 20
		candidate(t, b, "m1", "")
		var busy []*overlay.Membership
		for r := range roles {
			role := subjects.Role(fmt.Sprintf("role%d", r))
			for i := range members {
				name := fmt.Sprintf("n%d-%d", r, i)
				p := join(t, b, name, role)
				m, err := p.node.Join(overlay.Member{Role: role, Addresses: p.node.Identity().Addresses, Version: "1.0", Attrs: subjects.Attrs{"port": "5060"}})
				if err != nil {
					t.Fatal(err)
				}
				p.run(t)
				if r > 0 {
					busy = append(busy, m)
				}
			}
		}
		watcher := follower(t, b, "w0")
		whole := func() *subjects.Status { return watcher.View().Status }
		within(t, 60*time.Second, "all members", func() bool {
			s := whole()
			return s != nil && len(s.Roles["role9"]) == members && len(s.Roles["role0"]) == members
		})

		all, one := follower(t, b, "w1"), follower(t, b, "w2", "role0")
		within(t, 10*time.Second, "a status", func() bool {
			return all.View().Status != nil && one.View().Status != nil && !all.View().Stale && !one.View().Stale
		})
		start := [2]uint64{all.Conn().Stats().InBytes, one.Conn().Stats().InBytes}
		minute := func(what string, each func(second int)) (bytes, messages [2]uint64) {
			var before [2][2]uint64
			for i, n := range []*overlay.Node{all, one} {
				before[i] = [2]uint64{n.Conn().Stats().InBytes, n.Conn().Stats().InMsgs}
			}
			for s := range 60 {
				each(s)
				time.Sleep(time.Second)
			}
			synctest.Wait()
			for i, n := range []*overlay.Node{all, one} {
				bytes[i], messages[i] = n.Conn().Stats().InBytes-before[i][0], n.Conn().Stats().InMsgs-before[i][1]
			}
			t.Logf("%s: all roles %d bytes, %d messages; one role %d bytes, %d messages", what, bytes[0], messages[0], bytes[1], messages[1])
			return bytes, messages
		}
		t.Logf("%d roles of %d members; at the start: all roles %d bytes, one role %d", roles, members, start[0], start[1])
		minute("a minute at rest", func(int) {})
		one0 := one.View().Status.RoleDigest("role0")
		few, _ := minute("a minute, a member of another role changes each second", func(s int) {
			busy[s%len(busy)].Update(func(m *overlay.Member) { m.Version = fmt.Sprint(s) })
		})
		many, messages := minute("a minute, twenty members of other roles change each second", func(s int) {
			for i := range 20 {
				busy[(20*s+i)%len(busy)].Update(func(m *overlay.Member) { m.Version = fmt.Sprint(s, i) })
			}
		})
		if 2*few[1] > few[0] || 4*many[1] > many[0] {
			t.Errorf("one role %d and %d bytes, all %d and %d", few[1], many[1], few[0], many[0])
		}
		if messages[1] > 3*60+10 {
			t.Errorf("%d messages for one role", messages[1])
		}
		s := whole()
		if v := one.View(); v.Mark() != s.Mark() || v.Status.RoleDigest("role0") != s.RoleDigest("role0") || one0 != s.RoleDigest("role0") || len(v.Status.Roles) != 1 {
			t.Errorf("the part %s of %v", v.Encoded, s.Mark())
		}
	})
}

func TestAManagerNeedsAllRoles(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		n, err := overlay.New(overlay.Config{Identity: b.Identity("m1", subjects.Manager), Options: b.Options("m1", subjects.Manager), Roles: []subjects.Role{subjects.SIPProxy}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := manager.New(manager.Config{Overlay: n, Domain: "example.net", Addresses: n.Identity().Addresses}); err == nil {
			t.Error("one that follows one role is made")
		}
	})
}
