package zone

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"thor/overlay/setting"
	"thor/subjects"
)

// A Preference says which members the answers of a role have. The zone knows no asker:
// a preference acts when an answer is drawn, and secondary servers and PowerDNS have
// the records without it.
type Preference struct {
	// Role to which it applies.
	Role subjects.Role `toml:"role" required:"yes"`
	// "site": members of the asker's site come first, and alone while min of them are up.
	Prefer string `toml:"prefer" oneof:"site" default:"(no preference)"`
	// So many members have to be up, in the asker's site for others to be left out, and of tier 1 for spares to be.
	Min int `toml:"min" unit:"members" default:"2" range:"1..8"`
	// "priority": SRV answers have members of other sites too, which are less preferred: their priority is 10 more.
	By string `toml:"by" oneof:"priority" default:"(others are left out)"`
}

// Values of Preference.Prefer and By.
const (
	PreferSite = "site"
	ByPriority = "priority"
)

// maxSites bounds the prefixes of Config.Sites.
const maxSites = 1000

// preference is that of role.
func (c *Config) preference(role subjects.Role) Preference {
	for _, p := range c.Preferences {
		if p.Role == role {
			return p
		}
	}
	p := Preference{Role: role}
	setting.Fill(&p)
	return p
}

// concerns reports whether p can make a difference between members.
func (p Preference) concerns(members []*subjects.Member) bool {
	return slices.ContainsFunc(members, func(m *subjects.Member) bool {
		return m.Spare() || p.Prefer == PreferSite && m.Site != ""
	})
}

func standingOf(m *subjects.Member) standing {
	s := standing{site: m.Site, spare: m.Spare()}
	if m.State == subjects.Up {
		s.up = 1
	}
	return s
}

// with is the standing of a record of two members.
func (s standing) with(o standing) standing {
	if s.site != o.site {
		s.site = ""
	}
	s.spare = s.spare && o.spare
	s.up += o.up
	return s
}

func (c *Config) fillPreferences() {
	c.Preferences = slices.Clone(c.Preferences)
	for i := range c.Preferences {
		setting.Fill(&c.Preferences[i])
	}
	sites := make(map[string]subjects.Site, len(c.Sites))
	for text, site := range c.Sites {
		if p, err := netip.ParsePrefix(text); err == nil {
			text = p.Masked().String() // one of host bits is refused
		}
		sites[text] = site
	}
	if c.Sites = sites; len(sites) == 0 {
		c.Sites = nil
	}
}

func (c *checker) preferences() {
	seen := make(map[subjects.Role]bool)
	for i, p := range c.cfg.Preferences {
		key := func(name string) string { return fmt.Sprintf("preference[%d].%s", i, name) }
		if seen[p.Role] {
			c.add(key("role"), "%s has two preferences", p.Role)
		}
		seen[p.Role] = true
		if p.By != "" && p.Prefer == "" {
			c.add(key("by"), `says how sites are preferred: set prefer = "site" too`)
		}
	}
}

// sites checks given, as it stands in the configuration.
func (c *checker) sites(given map[string]subjects.Site) {
	if len(given) > maxSites {
		c.add("sites", "%d prefixes, %d allowed", len(given), maxSites)
	}
	seen := make(map[netip.Prefix]string)
	for _, text := range slices.Sorted(maps.Keys(given)) {
		key := "sites." + text
		p, err := netip.ParsePrefix(text)
		switch {
		case err != nil || p.Addr().Is4In6():
			c.add(key, "%q is no network such as 192.0.2.0/24", text)
		case p != p.Masked():
			c.add(key, "%q has bits behind its length: write %s", text, p.Masked())
		case seen[p] != "":
			c.add(key, "%s is there twice", p)
		default:
			seen[p] = text
		}
		if _, err := subjects.ParseSite(string(given[text])); err != nil || given[text] == "" {
			c.add(key, "%q is no site", given[text])
		}
	}
}
