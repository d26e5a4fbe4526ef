package membership

import "thor/subjects"

// Where a member is, its certificate says. A site attracts traffic and profiles: one that
// a member only announces is shown and does not count, unless the configuration
// trusts it.

// place is what the status says of m's site; at most one of the two is set.
func (t *Table) place(m *member) (site, announced subjects.Site) {
	said := m.announced.site
	certified, known := t.certifiedSite(m.key, said)
	switch {
	case certified != "":
		return certified, ""
	case !known && m.listed && m.shown.Site != "" && (said == "" || said == m.shown.Site): // no word yet about what another manager knew
		return m.shown.Site, ""
	case t.cfg.TrustAnnouncedSites:
		return said, ""
	}
	return "", said
}

// certifiedSite is the site that live certificates of k's node name; of several the one that
// is announced too, or else that of the certificate which ends last. known is false
// if none of them names the role.
func (t *Table) certifiedSite(k key, said subjects.Site) (site subjects.Site, known bool) {
	var last *fact
	for _, f := range t.facts[k.node] {
		if !f.live(t.wall) {
			continue
		}
		known = known || f.names(k.role)
		switch {
		case f.Site == "":
		case f.Site == said:
			site = said
		case last == nil || f.NotAfter.After(last.NotAfter):
			last = f
		}
	}
	if site == "" && last != nil {
		site = last.Site
	}
	return site, known
}

// placeAgain brings what the status says of the site of id's members up to date.
func (t *Table) placeAgain(id subjects.NodeID) {
	n := t.nodes[id]
	if n == nil {
		return
	}
	for _, m := range n.members {
		if !m.listed {
			continue
		}
		if site, announced := t.place(m); site != m.shown.Site || announced != m.shown.AnnouncedSite {
			t.present(m)
		}
	}
}
