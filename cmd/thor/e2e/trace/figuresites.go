package trace

import (
	"slices"
	"time"
)

// siteFigures are the measurements of faults that a network of several sites has, where a run
// had such faults. Goals are those for 80 ms between sites.
func (c *checker) siteFigures() (out []Figure) {
	gone, steps, back := c.sitesCut()
	for _, f := range []Figure{
		{What: "active manager killed → next epoch heard everywhere", Samples: c.takeovers(), Goal: time.Second},
		{What: "site cut off → its members gone elsewhere", Samples: gone, Goal: 30 * time.Second},
		{What: "site back → one whole status everywhere", Samples: back, Goal: 15 * time.Second},
	} {
		if len(f.Samples) > 0 {
			out = append(out, f)
		}
	}
	if len(gone) > 0 {
		out = append(out, Figure{What: "generations in which members of cut sites left, of sites", N: steps, Of: len(gone)})
	}
	return out
}

// takeovers are the times from the kill of the active manager to the first word of the next
// epoch at the last of those that listened then.
func (c *checker) takeovers() (out []time.Duration) {
	for i, l := range c.lines {
		before := c.activeAt(l)
		if before == nil {
			continue
		}
		waiting := make(map[string]bool)
		for _, x := range c.lines[:i] {
			if x.Heard != nil && x.At >= l.At-Moment(3*time.Second) {
				waiting[x.Heard.Observer] = true
			}
		}
		heard := len(waiting) > 0
		for _, x := range c.lines[i:] {
			if x.Heard == nil || !waiting[x.Heard.Observer] || x.Heard.Epoch <= before.Epoch {
				continue
			}
			if delete(waiting, x.Heard.Observer); len(waiting) == 0 {
				out = append(out, time.Duration(x.At-l.At))
				break
			}
		}
		if heard && len(waiting) > 0 { // it counts, as long as was waited
			out = append(out, time.Duration(c.end-l.At))
		}
	}
	return out
}

// activeAt is the newest status where l is the kill of the manager that published it, and no
// other one.
func (c *checker) activeAt(l Line) *publication {
	if l.Effect == nil || l.Effect.Act != Kill || len(c.effects[l.At]) > 1 {
		return nil
	}
	var newest *publication
	for i := range c.published {
		if c.published[i].at <= l.At {
			newest = &c.published[i]
		}
	}
	for _, p := range c.history.processes {
		if newest != nil && p.Name == l.Effect.Process && p.Program == Manager && p.Node == newest.Manager {
			return newest
		}
	}
	return nil
}

// sitesCut are, of cuts of all hosts of one site from all others that lasted 20 s, the times to
// the first status without a member of it, and from the end to one status for all. steps counts the
// statuses in which members of them left.
func (c *checker) sitesCut() (gone []time.Duration, steps int, back []time.Duration) {
	for at, effects := range c.effects {
		site := cutSite(effects)
		heal := c.healed(site, at)
		if len(site) == 0 || time.Duration(heal-at) < 20*time.Second {
			continue
		}
		var members []entry
		for _, p := range c.history.processes {
			if slices.Contains(site, p.Host) {
				members = append(members, p.entries()...)
			}
		}
		left, last := len(members), heal
		for _, p := range c.published {
			if p.at <= at || p.at >= heal {
				continue
			}
			n := 0
			for _, e := range members {
				if p.member(e) != nil {
					n++
				}
			}
			if n < left {
				steps, left = steps+1, n
			}
			if n == 0 {
				last = p.at
				break
			}
		}
		gone = append(gone, time.Duration(last-at))
		if whole, ok := c.convergedAfter(heal, min(c.end, heal+Moment(convergesWithin))); ok {
			back = append(back, time.Duration(whole-heal))
		}
	}
	return gone, steps, back
}

// cutSite are the hosts of the site that effects of one moment cut off, two at least; none where
// they cut something else.
func cutSite(effects []*Effect) (site []string) {
	peers := make(map[string]map[string]bool)
	for _, e := range effects {
		if e.Act != Cut || e.Port != 0 {
			return nil
		}
		if peers[e.From] == nil {
			peers[e.From] = make(map[string]bool)
		}
		peers[e.From][e.To] = true
	}
	most := 0
	for _, to := range peers {
		most = max(most, len(to))
	}
	for host, to := range peers {
		if len(to) == most {
			site = append(site, host)
		}
	}
	if len(site) < 2 || len(site)+most != len(peers) { // each of them is cut off from all others, both ways
		return nil
	}
	slices.Sort(site)
	return site
}

// healed is when the hosts of site were reached again after a moment.
func (c *checker) healed(site []string, after Moment) Moment {
	for _, l := range c.lines {
		if l.At > after && l.Effect != nil && l.Effect.Act == Heal && slices.Contains(site, l.Effect.From) {
			return l.At
		}
	}
	return c.end
}
