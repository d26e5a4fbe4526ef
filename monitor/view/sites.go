package view

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"thor/subjects"
)

// A Site is what a status says of one site.
type Site struct {
	Site      subjects.Site
	Total     int       // members
	Serving   int       // of these, up or suspect
	Suspect   int       // of these
	Draining  int       // of the total
	Certified bool      // a certificate names it: it counts
	Lost      int       // members that left since the whole site fell silent
	Since     time.Time // when the first of them did
}

// Sites are the sites that members name, and those that fell silent, sorted. None in a
// network without sites.
func Sites(s *subjects.Status) []Site {
	if s == nil {
		return nil
	}
	sites := make(map[subjects.Site]*Site)
	of := func(at subjects.Site) *Site {
		if sites[at] == nil {
			sites[at] = &Site{Site: at}
		}
		return sites[at]
	}
	for _, ms := range s.Roles {
		for i := range ms {
			if at := ms[i].Place(); at != "" {
				x := of(at)
				x.Certified = x.Certified || ms[i].Site != ""
				x.add(&ms[i])
			}
		}
	}
	for i := range s.Lost {
		at := s.Lost[i].SilentSite()
		if at == "" {
			continue
		}
		x := of(at)
		x.Certified = true // others are not let go together
		x.Lost++
		if x.Since.IsZero() || s.Lost[i].Since.Before(x.Since) {
			x.Since = s.Lost[i].Since
		}
	}
	out := make([]Site, 0, len(sites))
	for _, at := range slices.Sorted(maps.Keys(sites)) {
		out = append(out, *sites[at])
	}
	return out
}

func (x *Site) add(m *subjects.Member) {
	var c counts
	c.add(m)
	x.Total, x.Serving, x.Suspect, x.Draining = x.Total+c.total, x.Serving+c.serving, x.Suspect+c.suspect, x.Draining+c.draining
}

// siteLines are a line for each site; none where there is none. A site that no member's
// certificate names is marked: it does not count.
func siteLines(s *subjects.Status) string {
	var b strings.Builder
	for _, x := range Sites(s) {
		fmt.Fprintf(&b, "site %s: %d of %d members serve", siteName(x.Site), x.Serving, x.Total)
		if x.Lost > 0 {
			fmt.Fprintf(&b, ", %d lost with the site", x.Lost)
		}
		if !x.Certified {
			b.WriteString(", announced only")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// siteReasons say which sites fell silent and lost their members for that.
func siteReasons(s *subjects.Status, now time.Time) (out []string) {
	if !slices.ContainsFunc(s.Lost, func(l subjects.Lost) bool { return l.SilentSite() != "" }) {
		return nil
	}
	for _, x := range Sites(s) {
		if x.Lost > 0 {
			out = append(out, fmt.Sprintf("site %s fell silent%s, %d members lost and %d left", siteName(x.Site), lostAgo(x.Since, now), x.Lost, x.Total))
		}
	}
	return out
}

func siteName(at subjects.Site) string { return safe(string(at), subjects.MaxSite) }

// placeName is where m is, in brackets if it only says so; "-" where it does not.
func placeName(m *subjects.Member) string {
	switch {
	case m.Site != "":
		return siteName(m.Site)
	case m.AnnouncedSite != "":
		return "(" + siteName(m.AnnouncedSite) + ")"
	}
	return "-"
}

// AtSite is the part of s that stands in site: its members, and those that left with it.
func AtSite(s *subjects.Status, site subjects.Site) *subjects.Status {
	c := s.Clone()
	for r, ms := range c.Roles {
		if c.Roles[r] = slices.DeleteFunc(ms, func(m subjects.Member) bool { return m.Place() != site }); len(c.Roles[r]) == 0 {
			delete(c.Roles, r)
		}
	}
	c.Lost = slices.DeleteFunc(c.Lost, func(l subjects.Lost) bool { return l.SilentSite() != site })
	c.Held = nil
	return c
}
