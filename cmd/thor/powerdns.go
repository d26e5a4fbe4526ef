package main

import (
	"context"
	"maps"
	"strings"
	"time"

	"thor/dnsagent/powerdns"
	"thor/overlay"
	"thor/subjects"
)

// powerDNSState announces what a name server does for the database of a PowerDNS, and what
// is wrong with it. Both change rarely, and each change makes a new status.
type powerDNSState struct {
	w *powerdns.Writer
	m *overlay.Membership
}

// powerDNSEvery is how often it is looked at.
const powerDNSEvery = 2 * time.Second

// Run looks until ctx ends.
func (p powerDNSState) Run(ctx context.Context) error {
	t := time.NewTicker(powerDNSEvery)
	defer t.Stop()
	var told, before subjects.Attrs
	for {
		now := powerDNSAttrs(p.w.Standing(), p.w.Faults())
		// What passes by itself, as while a zone is written, is no news.
		if maps.Equal(now, before) && !maps.Equal(now, told) {
			told = now
			p.m.Update(func(m *overlay.Member) { putPowerDNS(m.Attrs, now) })
		}
		before = now
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func powerDNSAttrs(standing string, faults []string) subjects.Attrs {
	a := subjects.Attrs{subjects.AttrPowerDNS: standing}
	if len(faults) > 0 {
		a[subjects.AttrPowerDNSFault] = subjects.Printable(strings.Join(faults, "; "), subjects.MaxAttrValue)
	}
	return a
}

// putPowerDNS makes now what attrs say of PowerDNS.
func putPowerDNS(attrs, now subjects.Attrs) {
	delete(attrs, subjects.AttrPowerDNSFault)
	maps.Copy(attrs, now)
}
