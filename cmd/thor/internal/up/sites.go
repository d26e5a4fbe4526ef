package up

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"thor/subjects"
)

// checkSites wants sites, each once.
func (o *Options) checkSites() error {
	for i, s := range o.Sites {
		if site, err := subjects.ParseSite(s); err != nil || site == "" {
			return fmt.Errorf("--sites: %q is not a site: 1 to %d characters of a-z, 0-9 and hyphens", subjects.Printable(s, 40), subjects.MaxSite)
		}
		if slices.Contains(o.Sites[:i], s) {
			return fmt.Errorf("--sites: %s is there twice", s)
		}
	}
	return nil
}

// siteOf is where a process is, by the number at the end of its name: those of one kind are spread over the
// sites in turn. One without a number, the operator, is nowhere.
func (o *Options) siteOf(name string) subjects.Site {
	i, err := strconv.Atoi(name[len(strings.TrimRight(name, "0123456789")):])
	if err != nil || len(o.Sites) == 0 {
		return ""
	}
	return subjects.Site(o.Sites[(i-1)%len(o.Sites)])
}

// brokerSites are the sites of all brokers, each of which has JetStream.
func (o *Options) brokerSites() (out []string) {
	for i := 1; i <= brokers && len(o.Sites) > 0; i++ {
		out = append(out, string(o.siteOf(brokerName(i))))
	}
	return out
}

func brokerName(i int) string { return fmt.Sprintf("broker%d", i) }
