package view

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"thor/subjects"
)

// A siteCount is what a status says of one site.
type siteCount struct {
	counts
	site      subjects.Site
	certified bool      // a certificate names it: it counts
	lost      int       // members that left since the whole site fell silent
	since     time.Time // when the first of them did
}

// sitesOf are the sites that members name, and those that fell silent, sorted. None in a
// network without sites.
func sitesOf(s *subjects.Status) []siteCount {
	if s == nil {
		return nil
	}
	sites := make(map[subjects.Site]*siteCount)
	of := func(at subjects.Site) *siteCount {
		if sites[at] == nil {
			sites[at] = &siteCount{site: at}
		}
		return sites[at]
	}
	for _, ms := range s.Roles {
		for i := range ms {
			if at := ms[i].Place(); at != "" {
				x := of(at)
				x.certified = x.certified || ms[i].Site != ""
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
		x.certified = true // others are not let go together
		x.lost++
		if x.since.IsZero() || s.Lost[i].Since.Before(x.since) {
			x.since = s.Lost[i].Since
		}
	}
	out := make([]siteCount, 0, len(sites))
	for _, at := range slices.Sorted(maps.Keys(sites)) {
		out = append(out, *sites[at])
	}
	return out
}

// siteLines are a line for each site; none where there is none. A site that no member's
// certificate names is marked: it does not count.
func siteLines(s *subjects.Status) string {
	var b strings.Builder
	for _, x := range sitesOf(s) {
		fmt.Fprintf(&b, "site %s: %d of %d members serve", siteName(x.site), x.serving, x.total)
		if x.lost > 0 {
			fmt.Fprintf(&b, ", %d lost with the site", x.lost)
		}
		if !x.certified {
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
	for _, x := range sitesOf(s) {
		if x.lost > 0 {
			out = append(out, fmt.Sprintf("site %s fell silent%s, %d members lost and %d left", siteName(x.site), lostAgo(x.since, now), x.lost, x.total))
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
