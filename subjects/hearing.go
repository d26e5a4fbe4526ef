package subjects

// A Hearing is what a manager hears of the network, whatever it knows of it: nodes of its
// status from which a beat came as lately as beats come.
type Hearing struct {
	V     int          `json:"v"`
	Nodes int          `json:"nodes"` // of its status
	Heard int          `json:"heard"` // of these
	Sites map[Site]int `json:"sites"` // nodes that are heard, by site; 0: all nodes of the site are silent
}

// maxSites are in a Hearing.
const maxSites = 4096

// Hears reports whether a node of site is heard.
func (h *Hearing) Hears(site Site) bool { return h.Sites[site] > 0 }

// Whole reports whether something is heard of each site.
func (h *Hearing) Whole() bool {
	for _, n := range h.Sites {
		if n == 0 {
			return false
		}
	}
	return true
}

// Encode returns the wire form.
func (h *Hearing) Encode() []byte { return Encode(h) }

// ParseHearing decodes and checks a hearing.
func ParseHearing(b []byte) (*Hearing, error) {
	var h Hearing
	if err := Decode(b, 1<<20, &h); err != nil {
		return nil, err
	}
	if err := CheckVersion(h.V); err != nil {
		return nil, err
	}
	if len(h.Sites) > maxSites || h.Heard < 0 || h.Heard > h.Nodes || h.Nodes > MaxNumber {
		return nil, Bad(CodeRange, "%d of %d nodes heard in %d sites", h.Heard, h.Nodes, len(h.Sites))
	}
	for site, n := range h.Sites {
		if _, err := ParseSite(string(site)); err != nil || site == "" {
			return nil, Bad(CodeName, "site %q", Printable(string(site), 40))
		}
		if n < 0 || n > h.Heard {
			return nil, Bad(CodeRange, "%d of %d nodes that are heard are in %s", n, h.Heard, site)
		}
	}
	return &h, nil
}
