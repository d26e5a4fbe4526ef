package zone

import (
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// allLabel is the name below the apex under which roles answer with all their
// members. No service and no static record may have it.
const allLabel = "all"

// MaxSet is the greatest number of records of one name and type: BIND refuses
// larger ones, as a server and as a resolver (max-records-per-type). It is the size
// of a page of the names below all.D, too.
const MaxSet = 100

// allNode makes the node of a name below all.D; nil if there is none. Names are
// <name>.all.D, where <name>.D is a role's, with the first MaxSet members, and
// <name>.<page>.all.D from the second page on. They are made when they are asked for,
// for monitoring.
func (z *Zone) allNode(name string) *node {
	front, ok := strings.CutSuffix(name, "."+allLabel+"."+z.apex)
	if !ok {
		return nil
	}
	page := 1
	before, last := cutLast(front)
	if n, err := strconv.Atoi(last); err == nil && strconv.Itoa(n) == last && !z.roles[front] {
		if n < 2 || n > z.pages {
			return nil
		}
		if before == "" {
			return &node{} // something is below it
		}
		front, page = before, n
	}
	if !z.roles[front] {
		return nil
	}
	out := &node{}
	for _, s := range z.names[front+"."+z.apex].sets {
		out.add(s.page(name, page, z))
	}
	if page > 1 && len(out.sets) == 0 && !z.above(front, page) {
		return nil
	}
	return out
}

// above reports whether a role's name below front has so many pages.
func (z *Zone) above(front string, page int) bool {
	for role := range z.roles {
		if strings.HasSuffix(role, "."+front) && pages(z.names[role+"."+z.apex]) >= page {
			return true
		}
	}
	return false
}

// page is a part of a drawn set under another name; nil of other sets, and beyond the end.
func (s *rrset) page(name string, page int, z *Zone) *rrset {
	first := (page - 1) * MaxSet
	if s.draw == nil || first >= len(s.rrs) {
		return nil
	}
	out := &rrset{rtype: s.rtype, whole: true}
	for _, rr := range s.rrs[first:min(first+MaxSet, len(s.rrs))] {
		rr = dns.Copy(rr)
		rr.Header().Name = name
		out.rrs = append(out.rrs, rr)
	}
	if s.glue != nil {
		out.glue = s.glue[first:]
	}
	return out
}

// pages is how many pages the largest drawn set of n has.
func pages(n *node) int {
	most := 0
	for _, s := range n.sets {
		if s.draw != nil {
			most = max(most, (len(s.rrs)+MaxSet-1)/MaxSet)
		}
	}
	return most
}

// addAll notes the names of roles, those above them included, for allNode.
func (a *assembly) addAll() {
	z := a.zone
	z.roles = make(map[string]bool)
	note := func(name string) {
		for front := strings.TrimSuffix(name, "."+z.apex); front != ""; _, front, _ = strings.Cut(front, ".") {
			z.roles[front] = true
		}
		z.pages = max(z.pages, pages(z.names[name]))
	}
	for name := range a.owned {
		note(name)
	}
	for _, s := range a.cfg.Services {
		for _, v := range s.SRV {
			note(a.name(v.Name))
		}
	}
	z.at(a.name(allLabel))
}

// All is the name at which the drawn set of a name is found whole, page by page from 1 on.
func (z *Zone) All(name string, page int) string {
	front := strings.TrimSuffix(name, "."+z.apex)
	if page > 1 {
		front += "." + strconv.Itoa(page)
	}
	return front + "." + allLabel + "." + z.apex
}

// Static reports whether a name has static or provisioned records.
func (z *Zone) Static(name string) bool { return z.static[name] }
