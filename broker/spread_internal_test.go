package broker

import "testing"

func TestACopyMovesToASiteThatHasNone(t *testing.T) {
	site := map[string]string{"b1": "ams", "b2": "ams", "b3": "fra", "b4": "lon", "b5": "ams"}
	three := func(leader, second, third string) []copyAt {
		return []copyAt{{leader, true, true}, {second, false, true}, {third, false, true}}
	}
	behind := three("b1", "b2", "b3")
	behind[2].whole = false
	for name, c := range map[string]struct {
		copies []copyAt
		site   map[string]string
		want   string
	}{
		"two in a site":          {three("b3", "b2", "b1"), site, "b2"},
		"the leader stays":       {three("b2", "b1", "b3"), site, "b1"},
		"three in a site":        {three("b5", "b1", "b2"), site, "b1"},
		"each in a site":         {three("b1", "b3", "b4"), site, ""},
		"one is behind":          {behind, site, ""},
		"no other site":          {three("b1", "b2", "b3"), map[string]string{"b1": "ams", "b2": "ams", "b3": "fra"}, ""},
		"the other site is away": {three("b1", "b2", "b3"), map[string]string{"b1": "ams", "b2": "ams", "b3": "fra", "b9": ""}, ""},
		"one does not answer":    {three("b1", "b2", "b8"), site, ""},
		"one copy":               {three("b1", "b2", "b3")[:1], site, ""},
	} {
		if got := surplus(c.copies, c.site); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
