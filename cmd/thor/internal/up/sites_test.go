package up

import (
	"slices"
	"testing"

	"thor/subjects"
)

func TestProcessesAreSpreadOverTheSites(t *testing.T) {
	o := Options{Sites: []string{"ams", "fra", "lon"}}
	for name, want := range map[string]subjects.Site{"node1": "ams", "node3": "lon", "node10": "ams", "dns2": "fra", "operator": ""} {
		if got := o.siteOf(name); got != want {
			t.Errorf("%s is in %q, want %q", name, got, want)
		}
	}
	if got := o.brokerSites(); !slices.Equal(got, o.Sites) {
		t.Errorf("brokers are in %v", got)
	}
	o.Sites = []string{"ams", "fra"}
	if got := o.brokerSites(); !slices.Equal(got, []string{"ams", "fra", "ams"}) {
		t.Errorf("brokers are in %v", got)
	}
	o.Sites = nil
	if got := o.brokerSites(); got != nil || o.siteOf("node1") != "" {
		t.Errorf("without sites brokers are in %v, and node1 in %q", got, o.siteOf("node1"))
	}
	for _, bad := range [][]string{{"AMS"}, {""}, {"ams", "ams"}} {
		if o.Sites = bad; o.checkSites() == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
