package zone

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"thor/overlay/setting"
	"thor/subjects"
)

// maxDomain leaves room for <node>.<host>. before the domain: 253 is the limit of a name.
const maxDomain = 253 - 2*64

type checker struct {
	cfg      Config // filled
	problems []setting.Problem
	owned    map[string]string // names the zone makes itself, and what they are
	static   []dns.RR
}

func (c *checker) add(key, format string, args ...any) {
	c.problems = append(c.problems, setting.Problem{Key: key, Text: subjects.Printable(fmt.Sprintf(format, args...), 300)})
}

// Validate lists everything that is wrong with c; nothing if c makes a zone.
func (c *Config) Validate() []setting.Problem {
	return c.check().problems
}

// check is all that is known of c: its problems, and the records it is parsed to.
func (c *Config) check() *checker {
	k := &checker{cfg: c.filled(), owned: make(map[string]string)}
	k.problems = setting.Check(&k.cfg)
	k.domain()
	k.nameServers()
	k.services()
	k.preferences()
	k.sites(c.Sites)
	k.static = k.staticRecords()
	k.reachable(k.static)
	k.recordProblems()
	return k
}

func (c *checker) domain() {
	d := strings.TrimSuffix(c.cfg.Domain, ".")
	switch {
	case d == "":
		c.add("domain", "is missing")
	case !subjects.IsHostName(d):
		c.add("domain", "%q is not a domain name", d)
	case len(d) > maxDomain:
		c.add("domain", "%q is longer than %d characters", d, maxDomain)
	}
	c.owned[c.cfg.Domain] = "the apex"
	if _, err := mailbox(c.cfg.Contact); err != nil {
		c.add("contact", "%v", err)
	}
}

func (c *checker) nameServers() {
	if len(c.cfg.NameServers) > MaxNS {
		c.add("ns", "%d name servers, %d allowed", len(c.cfg.NameServers), MaxNS)
	}
	for i, n := range c.cfg.NameServers {
		if !subjects.IsHostName(strings.TrimSuffix(n, ".")) || dns.CountLabel(n) < 2 {
			c.add(fmt.Sprintf("ns[%d]", i), "%q is not a full host name", n)
		}
		if slices.Contains(c.cfg.NameServers[:i], n) {
			c.add(fmt.Sprintf("ns[%d]", i), "%q is there twice", n)
		}
	}
	if p := c.cfg.Primary; p != "" && !subjects.IsHostName(strings.TrimSuffix(p, ".")) {
		c.add("primary", "%q is not a host name", p)
	}
}

// reachable reports name servers of the domain whose name is an alias, or cannot
// have an address: neither a static one nor a member's.
func (c *checker) reachable(static []dns.RR) {
	for i, n := range c.cfg.NameServers {
		if !dns.IsSubDomain(c.cfg.Domain, n) {
			continue
		}
		key, found, alias := fmt.Sprintf("ns[%d]", i), c.hostOfMember(n), false
		for _, rr := range static {
			if rr.Header().Name != n {
				continue
			}
			switch rr.Header().Rrtype {
			case dns.TypeA, dns.TypeAAAA:
				found = true
			case dns.TypeCNAME:
				alias = true
			}
		}
		switch {
		case alias:
			c.add(key, "%q is a CNAME, which no name server may be (RFC 2181 10.3)", n)
		case !found:
			c.add(key, "%q has no address: give it a static A or AAAA record", n)
		}
	}
}

// hostOfMember reports whether members may have their addresses at name: that of a
// node, of a node below a service, or of a service.
func (c *checker) hostOfMember(name string) bool {
	label, above, _ := strings.Cut(name, ".")
	if _, err := subjects.ParseNodeID(label); err != nil || name == c.cfg.Domain {
		return false
	}
	for _, s := range c.cfg.Services {
		if above == s.Host+"."+c.cfg.Domain {
			return true
		}
	}
	return above == c.cfg.Domain || above == subjects.DNSManager.HostLabel()+"."+c.cfg.Domain
}

func (c *checker) services() {
	for i, s := range c.cfg.Services {
		key := fmt.Sprintf("service[%d]", i)
		if s.Role == "" {
			c.add(key+".role", "is missing")
		}
		if !isLabel(s.Host) {
			c.add(key+".host", "%q is not one host label", s.Host)
		}
		if s.Host == allLabel {
			c.add(key+".host", "is %q, below which roles answer with all their members", allLabel)
		}
		c.own(key+".host", s.Host, "a service")
		for j, v := range s.SRV {
			c.srv(fmt.Sprintf("%s.srv[%d]", key, j), v)
		}
	}
}

func (c *checker) srv(key string, v SRV) {
	if !isServiceName(v.Name) {
		c.add(key+".name", "%q is not of the form _service._protocol", v.Name)
	}
	if v.Port == 0 {
		c.add(key+".port", "is missing")
	}
	if v.Order != 0 && v.NAPTR == "" {
		c.add(key+".order", "is of a NAPTR record, and there is no naptr")
	}
	if len(v.NAPTR) > 32 || strings.Trim(v.NAPTR, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		c.add(key+".naptr", "%q is not a NAPTR service such as SIP+D2U", v.NAPTR)
	}
	c.own(key+".name", v.Name, "a service")
}

func (c *checker) own(key, name, what string) {
	full := name + "." + c.cfg.Domain
	if _, twice := c.owned[full]; twice {
		c.add(key, "%q is there twice", name)
	}
	c.owned[full] = what
}

func isLabel(s string) bool {
	if len(s) == 0 || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// isServiceName accepts "_service._protocol" (RFC 2782).
func isServiceName(s string) bool {
	service, proto, ok := strings.Cut(s, ".")
	if !ok {
		return false
	}
	for _, l := range []string{service, proto} {
		if rest, ok := strings.CutPrefix(l, "_"); !ok || !isLabel(rest) {
			return false
		}
	}
	return true
}

// mailbox writes a mail address as a domain name (RFC 1035 3.3.13, RFC 2142).
func mailbox(address string) (string, error) {
	local, domain, ok := strings.Cut(address, "@")
	if !ok || local == "" || len(local) > 63 || !subjects.IsHostName(strings.ToLower(domain)) ||
		strings.Trim(strings.ToLower(local), "abcdefghijklmnopqrstuvwxyz0123456789.-_+") != "" {
		return "", fmt.Errorf("%q is not a mail address", address)
	}
	return strings.ReplaceAll(local, ".", `\.`) + "." + canonical(domain), nil
}
