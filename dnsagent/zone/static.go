package zone

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// maxSetSize is the greatest size of a static set in bytes: it must fit a message.
const maxSetSize = 16 << 10

// staticRecords parses the static records and checks that they leave the zone sound.
func (c *checker) staticRecords() []dns.RR {
	var all []dns.RR
	for i, line := range c.cfg.Static {
		key := fmt.Sprintf("static[%d]", i)
		rr, err := parseStatic(line, c.cfg.Domain, seconds(c.cfg.TTL.Static))
		if err == nil {
			err = c.mayAdd(rr, all)
		}
		if err != nil {
			c.add(key, "%v", err)
			continue
		}
		all = append(all, rr)
	}
	c.chains(all)
	return all
}

// chains reports CNAMEs that lead in a circle, or further than resolvers follow.
func (c *checker) chains(all []dns.RR) {
	next := make(map[string]string)
	for _, rr := range all {
		if cn, ok := rr.(*dns.CNAME); ok {
			next[cn.Hdr.Name] = cn.Target
		}
	}
	for i, line := range c.cfg.Static {
		rr, err := parseStatic(line, c.cfg.Domain, seconds(c.cfg.TTL.Static))
		if err != nil || next[rr.Header().Name] == "" {
			continue
		}
		start, n := rr.Header().Name, 1
		at := next[start]
		for n <= maxChain && next[at] != "" && at != start {
			at = next[at]
			n++
		}
		switch {
		case at == start:
			c.add(fmt.Sprintf("static[%d]", i), "the CNAMEs of %s lead back to it", start)
		case n > maxChain:
			c.add(fmt.Sprintf("static[%d]", i), "%s leads to more than %d CNAMEs one after the other", start, maxChain)
		}
	}
}

// parseStatic reads one zone file line. Directives are no records, and one of
// them would read files.
func parseStatic(line, apex string, ttl uint32) (dns.RR, error) {
	switch t := strings.TrimSpace(line); {
	case t == "":
		return nil, errors.New("is empty")
	case t[0] == '$':
		return nil, fmt.Errorf("%q is a directive, not a record", line)
	case strings.ContainsAny(line, "\n\r\x00"):
		return nil, errors.New("holds more than one line")
	}
	if dns.Fqdn(apex) == "." {
		return nil, errors.New("has no domain to be below of")
	}
	p := dns.NewZoneParser(strings.NewReader(line+"\n"), apex, "")
	p.SetDefaultTTL(ttl)
	rr, ok := p.Next()
	if err := p.Err(); err != nil {
		var pe *dns.ParseError
		if errors.As(err, &pe) {
			return nil, fmt.Errorf("%q is no record: %s", line, strings.TrimPrefix(pe.Error(), "dns: "))
		}
		return nil, fmt.Errorf("%q is no record: %v", line, err)
	}
	if !ok {
		return nil, fmt.Errorf("%q holds no record", line)
	}
	rr.Header().Name = strings.ToLower(rr.Header().Name)
	if cn, ok := rr.(*dns.CNAME); ok {
		cn.Target = strings.ToLower(cn.Target)
	}
	return rr, nil
}

// refused are the types a static record may not have: those the zone makes
// itself, those that would cut it into zones or claim signatures, and those
// that exist in messages only.
var refused = []uint16{
	dns.TypeSOA, dns.TypeNS, dns.TypeDNAME, dns.TypeDS, dns.TypeCDS, dns.TypeDNSKEY, dns.TypeCDNSKEY, dns.TypeRRSIG,
	dns.TypeNSEC, dns.TypeNSEC3, dns.TypeNSEC3PARAM, dns.TypeSIG, dns.TypeKEY, dns.TypeNXT,
	dns.TypeOPT, dns.TypeTSIG, dns.TypeTKEY, dns.TypeANY, dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILA, dns.TypeMAILB,
}

func (c *checker) mayAdd(rr dns.RR, before []dns.RR) error {
	h := rr.Header()
	switch {
	case h.Class != dns.ClassINET:
		return fmt.Errorf("class %s, only IN is served", dns.Class(h.Class))
	case slices.Contains(refused, h.Rrtype):
		return fmt.Errorf("%s records cannot be static", dns.Type(h.Rrtype))
	case !dns.IsSubDomain(c.cfg.Domain, h.Name):
		return fmt.Errorf("%s is not in %s", h.Name, c.cfg.Domain)
	case strings.HasPrefix(h.Name, "*."):
		return errors.New("wildcards are not served")
	case strings.HasSuffix(h.Name, "."+lookupLabel+"."+c.cfg.Domain):
		return fmt.Errorf("%s is below %s.%s, where the slots of the lookup tables have their names", h.Name, lookupLabel, c.cfg.Domain)
	case h.Name == allLabel+"."+c.cfg.Domain, strings.HasSuffix(h.Name, "."+allLabel+"."+c.cfg.Domain):
		return fmt.Errorf("%s is %s.%s or below, where roles answer with all their members", h.Name, allLabel, c.cfg.Domain)
	}
	if err := c.beside(h); err != nil {
		return err
	}
	same, size := 0, dns.Len(rr)
	for _, o := range before {
		if o.Header().Name != h.Name {
			continue
		}
		switch {
		case dns.IsDuplicate(o, rr):
			return errors.New("is there twice")
		case o.Header().Rrtype == h.Rrtype && h.Rrtype != dns.TypeCNAME:
			same++
			size += dns.Len(o)
		case o.Header().Rrtype == dns.TypeCNAME || h.Rrtype == dns.TypeCNAME:
			return fmt.Errorf("%s has a CNAME and something else", h.Name)
		}
	}
	if same >= MaxSet || size > maxSetSize {
		return fmt.Errorf("more than %d records or %d bytes of one name and type", MaxSet, maxSetSize)
	}
	return nil
}

// beside reports a record at a name of the zone's own that would mix with what
// the status puts there.
func (c *checker) beside(h *dns.RR_Header) error {
	what, owned := c.owned[h.Name]
	if !owned {
		return nil
	}
	switch h.Rrtype {
	case dns.TypeCNAME, dns.TypeSRV, dns.TypeNAPTR:
		return fmt.Errorf("%s is %s: it cannot have a static %s", h.Name, what, dns.Type(h.Rrtype))
	case dns.TypeA, dns.TypeAAAA:
		if h.Name != c.cfg.Domain {
			return fmt.Errorf("%s is %s: it cannot have a static %s", h.Name, what, dns.Type(h.Rrtype))
		}
	}
	return nil
}
