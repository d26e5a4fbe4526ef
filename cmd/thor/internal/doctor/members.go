package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"thor/subjects"
)

// aside finds a configured broker that answers us, and that the others do not hear.
func aside(b *Broker, n *Network) []Finding {
	if b.Failed != Connected || b.Node == "" {
		return nil
	}
	node := subjects.Printable(b.Node, 64)
	switch {
	case b.Revoked:
		return []Finding{fault("end it there, systemctl disable --now thor-broker; or give it a new certificate: thor ca request on its host, thor ca sign, systemctl reload thor-broker",
			"the certificate of broker %s at %s is revoked: the others do not let it in", node, b.URL)}
	case b.Alone:
		return []Finding{fault("is its cluster port (6222) open to the others, and theirs to it? journalctl -u thor-broker there says why routes fail",
			"broker %s at %s hears no other broker", node, b.URL)}
	case n != nil && n.hears(b.Node) == no:
		return []Finding{fault("journalctl -u thor-broker there; thor doctor --brokers "+b.URL+" shows what it hears itself",
			"broker %s at %s answers, and is not among those that see each other", node, b.URL)}
	}
	return nil
}

type heard int

const (
	unknown heard = iota
	no
	yes
)

// hears says whether the brokers and managers that answered know a broker.
func (n *Network) hears(node string) heard {
	if n.Clocks != nil && n.Clocks.Err == nil && len(n.Clocks.Pongs) > 0 {
		if slices.ContainsFunc(n.Clocks.Pongs, func(p Pong) bool { return p.Broker == node }) {
			return yes
		}
		return no
	}
	if n.Status == nil || len(n.Status.Roles[subjects.EventServer]) == 0 {
		return unknown
	}
	if n.Status.Member(subjects.EventServer, subjects.NodeID(node)) != nil {
		return yes
	}
	return no
}

// ending finds the certificate of a broker that ends soon.
func ending(b *Broker, now time.Time) []Finding {
	if b.Leaf == nil || !endsSoon(b.Leaf.NotBefore, b.Leaf.NotAfter, now) {
		return nil
	}
	return []Finding{fault("renew it there: thor ca renew, then systemctl reload thor-broker",
		"the certificate of the broker at %s expires in %s", b.URL, rough(b.Leaf.NotAfter.Sub(now)))}
}

// told reports whether a broker's own answer says when its certificate ends.
func (n *Network) told(broker string) bool {
	return n != nil && slices.ContainsFunc(n.Daemons, func(d Daemon) bool { return d.Unit == units[subjects.EventServer] && string(d.Node) == broker })
}

// certificates finds the daemons whose certificate ends soon, one line for each node
// and end: the daemons of a host usually share one.
func certificates(ds []Daemon, now time.Time) (fs []Finding) {
	type of struct {
		node  subjects.NodeID
		until int64
	}
	ending := make(map[of][]string)
	last := 0 // of those that are well
	for _, d := range ds {
		c := d.Certificate
		if endsSoon(c.From, c.Until, now) {
			k := of{d.Node, c.Until.Unix()}
			ending[k] = append(ending[k], d.Unit)
			continue
		}
		last++
	}
	for _, k := range slices.SortedFunc(maps.Keys(ending), func(a, b of) int { return cmp.Or(cmp.Compare(a.until, b.until), cmp.Compare(a.node, b.node)) }) {
		units := slices.Compact(slices.Sorted(slices.Values(ending[k])))
		fs = append(fs, fault("thor ca request and thor ca sign --renew make the next one (docs/operate.md, Certificates); then there: systemctl reload thor-"+strings.Join(units, " thor-"),
			"the certificate of %s on %s %s", strings.Join(units, ", "), k.node, expiry(time.Unix(k.until, 0).Sub(now))))
	}
	if len(fs) == 0 && last > 0 {
		fs = append(fs, ok("no certificate ends soon, of the %d daemon(s) that answered", last))
	}
	return fs
}

func expiry(left time.Duration) string {
	if left < 0 {
		return "expired " + rough(-left) + " ago"
	}
	return "expires in " + rough(left)
}

// units are the daemons that announce themselves, by role; all others are the node agent's.
var units = map[subjects.Role]string{
	subjects.EventServer: "broker", subjects.Manager: "manager", subjects.DNSManager: "dns", subjects.Database: "database", subjects.ProvisioningServer: "provisioning",
	subjects.Monitor: "web",
}

// versions notes daemons that are of another version than this program. After an upgrade
// those are the ones that were not restarted.
func versions(st *subjects.Status, program string) (fs []Finding) {
	if program == "" {
		return nil
	}
	old := make(map[string][]string) // by unit and version
	for role, ms := range st.Roles {
		for i := range ms {
			// A locator tells the version of its database server, and terminals have their own.
			terminal := role == subjects.Operator || role == subjects.Monitor && ms[i].Attrs[subjects.AttrPort] == ""
			if v := ms[i].Version; v != "" && v != program && role != subjects.Database && !terminal {
				key := cmp.Or(units[role], "node") + " " + subjects.Printable(v, 64)
				if node := string(ms[i].Node); !slices.Contains(old[key], node) {
					old[key] = append(old[key], node)
				}
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(old)) {
		unit, version, _ := strings.Cut(key, " ")
		slices.Sort(old[key])
		fs = append(fs, Finding{
			Note, fmt.Sprintf("thor %s of %s is version %s, this program is %s", unit, strings.Join(old[key], " "), version, program),
			"if the program there was upgraded: thor restart --daemon " + unit,
		})
	}
	return fs
}

// fullDisk is the share in use, in percent, from which on a broker's disk is a fault.
const fullDisk = 90

func disks(st *subjects.Status) (fs []Finding) {
	for _, m := range st.Roles[subjects.EventServer] {
		used, err := strconv.Atoi(m.Attrs[subjects.AttrDisk])
		if err != nil {
			continue
		}
		f := fault("make room on it: a broker that cannot write goes on without JetStream", "the disk of broker %s is %d %% full", m.Node, used)
		if used < fullDisk {
			f.Level = Note
		}
		fs = append(fs, f)
	}
	return fs
}

// powerDNS tells of the database of a PowerDNS, by the name servers that keep it.
func powerDNS(st *subjects.Status) (fs []Finding) {
	var doing []string
	for _, m := range st.Roles[subjects.DNSManager] {
		does := m.Attrs[subjects.AttrPowerDNS]
		if does == "" {
			continue
		}
		doing = append(doing, string(m.Node)+" "+subjects.Printable(does, 32))
		if why := m.Attrs[subjects.AttrPowerDNSFault]; why != "" {
			fs = append(fs, fault("journalctl -u thor-dns there, lines with comp=powerdns; docs/powerdns.md", "PowerDNS of %s: %s", m.Node, subjects.Printable(why, subjects.MaxAttrValue)))
		}
	}
	if len(doing) > 0 && len(fs) == 0 {
		fs = append(fs, ok("the database of PowerDNS is kept: %s", strings.Join(doing, ", ")))
	}
	return fs
}
