package zone

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"thor/overlay/records"
	"thor/overlay/setting"
	"thor/subjects"
)

// An Unserved is a provisioned record that is not in the zone, and why.
type Unserved struct {
	Record string
	Reason string
}

func unserved(record, format string, args ...any) Unserved {
	return Unserved{record, subjects.Printable(fmt.Sprintf(format, args...), 300)}
}

// recordProblems checks what all provisioned records have in common; each of them is
// checked where the zone is made, since one that cannot be served is left out.
func (c *checker) recordProblems() {
	if len(c.cfg.Records) > records.Max {
		c.problems = append(c.problems, setting.Problem{Text: fmt.Sprintf("%d provisioned records, %d allowed", len(c.cfg.Records), records.Max)})
	}
}

// records parses the provisioned records and leaves out those that would not leave
// the zone sound beside the static ones, which go before them.
func (c *checker) records(static []dns.RR) (good []dns.RR, bad []Unserved) {
	p := provisioned{at: make(map[string][]dns.RR), chains: newChains()}
	for _, rr := range static {
		p.add(rr)
	}
	for _, line := range canonicalRecords(c.cfg.Records, c.cfg.Domain, seconds(c.cfg.TTL.Static)) {
		rr, err := parseStatic(line, c.cfg.Domain, seconds(c.cfg.TTL.Static))
		if err == nil {
			err = c.mayProvision(rr, &p, static)
		}
		if err != nil {
			bad = append(bad, unserved(line, "%v", err))
			continue
		}
		good = append(good, rr)
		p.add(rr)
	}
	return good, bad
}

// provisioned is what a provisioned record is put beside.
type provisioned struct {
	at map[string][]dns.RR // by name
	chains
}

func (p *provisioned) add(rr dns.RR) {
	name := rr.Header().Name
	p.at[name] = append(p.at[name], rr)
	if cn, ok := rr.(*dns.CNAME); ok {
		p.next[name] = cn.Target
		p.into[cn.Target] = append(p.into[cn.Target], name)
	}
}

func (c *checker) mayProvision(rr dns.RR, p *provisioned, static []dns.RR) error {
	h := rr.Header()
	if slices.Contains(c.cfg.NameServers, h.Name) && leads(h.Rrtype) {
		return fmt.Errorf("%s is a name server", h.Name)
	}
	for _, o := range static {
		if o.Header().Name == h.Name && (o.Header().Rrtype == h.Rrtype || leads(h.Rrtype)) {
			return fmt.Errorf("%s has records in the configuration of the name servers", h.Name)
		}
	}
	if err := c.mayAdd(rr, p.at[h.Name]); err != nil {
		return err
	}
	if rr, ok := rr.(*dns.CNAME); ok {
		return p.mayLink(rr)
	}
	return nil
}

// chains are CNAMEs without a circle.
type chains struct {
	next map[string]string
	into map[string][]string
}

func newChains() chains { return chains{make(map[string]string), make(map[string][]string)} }

// mayLink reports that one more CNAME leads in a circle or makes a chain that is
// longer than resolvers follow.
func (c *chains) mayLink(rr *dns.CNAME) error {
	after := 1
	for at := rr.Target; ; at = c.next[at] {
		if at == rr.Hdr.Name {
			return fmt.Errorf("the CNAMEs of %s lead back to it", at)
		}
		if c.next[at] == "" {
			break
		}
		after++
	}
	if after+c.longest(rr.Hdr.Name) > maxChain {
		return fmt.Errorf("%s would be in a chain of more than %d CNAMEs", rr.Hdr.Name, maxChain)
	}
	return nil
}

// longest is the number of CNAMEs of the longest chain that leads to name.
func (c *chains) longest(name string) int {
	most := 0
	for _, from := range c.into[name] {
		most = max(most, 1+c.longest(from))
	}
	return most
}

// canonicalRecords are the records in one form and order, each once. What is no record
// stays as it is.
func canonicalRecords(lines []string, apex string, ttl uint32) []string {
	out := make([]string, 0, len(lines))
	for _, line := range lines {
		if rr, err := parseStatic(line, apex, ttl); err == nil {
			line = rr.String()
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// addRecords adds the provisioned records. It comes last: a name that the status or
// the configuration has is theirs, and a record that would change what it leads to is
// left out as long as they have it.
func (a *assembly) addRecords() {
	a.zone.unserved = slices.Clone(a.badRecords)
	for name, n := range a.records {
		a.addRecordsAt(name, n)
	}
	slices.SortFunc(a.zone.unserved, func(x, y Unserved) int { return strings.Compare(x.Record, y.Record) })
}

func (a *assembly) addRecordsAt(name string, n *node) {
	there := a.zone.names[name]
	of := a.whose(name)
	for _, s := range n.sets {
		switch {
		case of != "" && leads(s.rtype):
			a.leaveOut(s, "%s is %s", name, of)
		case there != nil && (there.set(s.rtype) != nil || there.set(dns.TypeCNAME) != nil || s.rtype == dns.TypeCNAME && len(there.sets) > 0):
			a.leaveOut(s, "%s has other records", name)
		default:
			to := a.zone.at(name)
			to.sets = append(to.sets, &rrset{rtype: s.rtype, rrs: s.rrs})
			a.zone.static[name] = true
		}
	}
}

// whose says what a name is to the network, empty if it is nothing.
func (a *assembly) whose(name string) string {
	label, above, _ := strings.Cut(name, ".")
	switch {
	case name == a.cfg.Domain:
		return ""
	case a.owned[name]:
		return "the name of a role"
	case above == a.cfg.Domain:
		if _, is := a.hosts[subjects.NodeID(label)]; is {
			return "the name of a node"
		}
	}
	if n := a.zone.names[name]; n != nil && slices.ContainsFunc(n.sets, func(s *rrset) bool { return leads(s.rtype) }) {
		return "a name of the network's own"
	}
	return ""
}

// leads reports whether records of a type tell a client where to go.
func leads(rtype uint16) bool {
	switch rtype {
	case dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeSRV, dns.TypeNAPTR:
		return true
	}
	return false
}

func (a *assembly) leaveOut(s *rrset, format string, args ...any) {
	for _, rr := range s.rrs {
		a.zone.unserved = append(a.zone.unserved, unserved(rr.String(), format, args...))
	}
}

// Unserved lists the provisioned records that are not in the zone, in order.
func (z *Zone) Unserved() []Unserved { return z.unserved }

// Refuses says why a zone of c that has the provisioned records have would leave out
// line, or for its sake another one; empty if it would not. Without a status the names
// that it would give are not looked at.
func (c *Config) Refuses(have []string, line string, s *subjects.Status) string {
	with := *c
	with.Records = have
	before, err := with.left(s)
	if err != nil {
		return err.Error()
	}
	with.Records = append(slices.Clip(have), line)
	after, err := with.left(s)
	if err != nil {
		return err.Error()
	}
	for _, u := range after {
		if !slices.Contains(before, u) {
			return u.Reason
		}
	}
	return ""
}

// left are the records that a zone of c leaves out.
func (c *Config) left(s *subjects.Status) ([]Unserved, error) {
	b, err := NewBuilder(*c)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return b.badRecords, nil
	}
	z, err := b.Build(s)
	if err != nil {
		return nil, err
	}
	return z.unserved, nil
}
