package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"thor/monitor/view"
	"thor/subjects"
)

// maxSkew is how far a broker's clock may be off. Certificates are dated back
// five minutes, so that this harms nothing yet, and NTP is far better.
const maxSkew = 10 * time.Second

func network(n *Network, now time.Time) (fs []Finding) {
	if n.Err != nil {
		return []Finding{fault("see the brokers' logs", "%v", n.Err)}
	}
	if n.Clocks != nil {
		fs = clocks(n.Clocks)
	}
	for _, why := range n.Doubts {
		fs = append(fs, Finding{Partial, why, "see the log of the broker or manager; is the cluster port (6222) of all brokers open to all others?"})
	}
	st := n.Status
	if st == nil {
		return append(fs, fault("start a thor manager, and see its log", "connected, but no manager tells a status"))
	}
	fs = append(fs, ok("status of epoch %d, generation %d by %s", st.Epoch, st.Generation, st.Manager))
	fs = append(fs, spares(st)...)
	fs = append(fs, sites(st)...)
	fs = append(fs, routes(st)...)
	if n.Bucket != nil {
		fs = append(fs, bucket(n.Bucket))
	}
	fs = append(fs, disks(st)...)
	fs = append(fs, digests(st)...)
	fs = append(fs, powerDNS(st)...)
	fs = append(fs, nameServers(n.NameServers)...)
	if healthy, reasons := view.Health(st, now, n.Stale, n.Connected); !healthy {
		for _, why := range reasons {
			if strings.Contains(why, "has a fault with PowerDNS") {
				continue // judged above
			}
			advice := "see thor members, and the log of the node"
			if strings.Contains(why, " lost ") {
				advice = "start it again, its log says why it ended; thor forget NODE if it is gone for good"
			}
			fs = append(fs, fault(advice, "%s", why))
		}
	}
	return fs
}

// clocks compares ours with that of every broker of the cluster.
func clocks(c *Clocks) (fs []Finding) {
	if c.Err != nil {
		return []Finding{fault("see the brokers' logs", "cannot ask the brokers: %v", c.Err)}
	}
	if len(c.Pongs) == 0 {
		return []Finding{fault("see the brokers' logs", "no broker answers $SYS.REQ.SERVER.PING")}
	}
	var names []string
	for _, p := range c.Pongs {
		name := subjects.Printable(p.Broker, 64)
		names = append(names, name)
		if off := skew(p.Time, c.Asked, p.Came); off.Abs() > maxSkew {
			fs = append(fs, fault("run NTP on both hosts: certificates depend on the time", "the clock of broker %s is %s", name, ahead(off)))
		}
	}
	slices.Sort(names)
	return append([]Finding{ok("brokers that see each other: %s", strings.Join(names, " "))}, fs...)
}

// skew is by how much there is surely ahead of our clock, given that its answer
// was made between asked and came; 0 if it may be right.
func skew(there, asked, came time.Time) time.Duration {
	switch {
	case there.Before(asked):
		return there.Sub(asked)
	case there.After(came):
		return there.Sub(came)
	}
	return 0
}

func ahead(d time.Duration) string {
	if d < 0 {
		return fmt.Sprintf("%s behind ours", (-d).Round(time.Second))
	}
	return fmt.Sprintf("%s ahead of ours", d.Round(time.Second))
}

// spares notes the roles in which no other member could take over.
func spares(st *subjects.Status) (fs []Finding) {
	for _, x := range []struct {
		role subjects.Role
		what string
		want int
	}{{subjects.EventServer, "broker", 3}, {subjects.Manager, "manager", 2}, {subjects.DNSManager, "name server", 2}} {
		up := 0
		for _, m := range st.Roles[x.role] {
			if m.State == subjects.Up {
				up++
			}
		}
		switch {
		case up == 0 && x.role == subjects.Manager:
			fs = append(fs, fault("see the managers' logs", "the status shows no manager that is up"))
		case up >= x.want:
			fs = append(fs, ok("%d %ss up", up, x.what))
		default:
			fs = append(fs, Finding{Note, fmt.Sprintf("%d %s(s) up, and none to spare", up, x.what), fmt.Sprintf("run %d on different hosts", x.want)})
		}
	}
	return fs
}

// routes names brokers that are up without a route to each other. They stay in the status as long
// as a third one has routes to both. Of the two, the one that the manager does not hear is shown as it was
// heard last.
func routes(st *subjects.Status) (fs []Finding) {
	lacks := func(a, b *subjects.Member) bool {
		_, known := a.Attrs.Peers()
		return known && !a.Attrs.HasPeer(b.Node)
	}
	ms := st.Roles[subjects.EventServer]
	for i := range ms {
		for j := range i {
			if lacks(&ms[i], &ms[j]) || lacks(&ms[j], &ms[i]) {
				text := fmt.Sprintf("brokers %s and %s have no route to each other", ms[j].Node, ms[i].Node)
				fs = append(fs, Finding{Partial, text, "see their logs; is the cluster port (6222) of each open to the other?"})
			}
		}
	}
	return fs
}

func bucket(b *Bucket) Finding {
	const name = subjects.StatusBucket
	switch {
	case b.Err != nil:
		return fault("JetStream needs a majority of the brokers: see their logs, and nats --context thor server check jetstream; thor rescue if they are lost for good", "bucket %s: %v", name, b.Err)
	case b.Empty:
		return Finding{Note, fmt.Sprintf("bucket %s holds no snapshot yet", name), "managers write it within a second of a change: ask again"}
	case b.Damaged != nil:
		return fault("nats kv del "+name+" "+subjects.StatusKey+": a manager writes it anew", "the snapshot in bucket %s is damaged: %v", name, b.Damaged)
	}
	return ok("bucket %s holds epoch %d, generation %d, written %s ago", name, b.Epoch, b.Generation, rough(b.Age))
}

// digests compares what the name servers say of their configurations.
func digests(st *subjects.Status) []Finding {
	by := make(map[string][]string)
	for _, m := range st.Roles[subjects.DNSManager] {
		if d := m.Attrs["zone"]; d != "" {
			by[d] = append(by[d], string(m.Node))
		}
	}
	switch len(by) {
	case 0:
		return nil
	case 1:
		return []Finding{ok("the name servers have one zone configuration")}
	}
	return []Finding{fault("make [dns] (ns, contact, slice, slices, ttl, static) the same on all, and send them SIGHUP",
		"the name servers have different zone configurations: %s", groups(by))}
}

// Agree reports whether all name servers that answered gave the same answer. If
// not, a change may have come between two of them: they are to be asked again.
func Agree(servers []NameServer) bool { return len(byAnswer(servers)) < 2 }

// byAnswer are the nodes that gave each answer.
func byAnswer(servers []NameServer) map[string][]string {
	by := make(map[string][]string)
	for _, s := range servers {
		if s.Err == nil {
			by[s.Answer] = append(by[s.Answer], string(s.Node))
		}
	}
	return by
}

func nameServers(servers []NameServer) (fs []Finding) {
	for _, s := range servers {
		if s.Err != nil {
			fs = append(fs, fault("see its log; is UDP port "+s.Address[strings.LastIndexByte(s.Address, ':')+1:]+" open in the firewall?",
				"name server %s at %s: %v", s.Node, s.Address, s.Err))
		}
	}
	switch by := byAnswer(servers); {
	case len(by) == 1:
		fs = append(fs, ok("the name servers agree: %s", groups(by)))
	case len(by) > 1:
		fs = append(fs, fault("thor members thor_dnsmanager shows their zone digests; if these are the same, ask again",
			"the name servers answer differently: %s", groups(by)))
	}
	return fs
}

// groups are the nodes of each answer, in an order of their own.
func groups(by map[string][]string) string {
	all := slices.SortedFunc(maps.Values(by), func(a, b []string) int { return cmp.Compare(a[0], b[0]) })
	var out []string
	for _, nodes := range all {
		out = append(out, strings.Join(nodes, " "))
	}
	return strings.Join(out, " | ")
}
