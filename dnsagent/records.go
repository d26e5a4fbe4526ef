package dnsagent

import (
	"slices"

	"thor/dnsagent/zone"
)

// SetRecords makes lines the provisioned records of the zone, as Reload does with a
// configuration. On an error those before stay in use.
func (a *Agent) SetRecords(lines []string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.cfg.Zone
	c.Records = slices.Clone(lines)
	b, err := zone.NewBuilder(c)
	if err != nil {
		return err
	}
	b = a.files.Load().signed(b)
	if b.Digest() == a.builder.Digest() {
		return nil
	}
	if err := a.rebuild(b); err != nil {
		return err
	}
	a.cfg.Zone = c
	return nil
}

// rebuild serves the present status by b. The caller holds a.mu.
func (a *Agent) rebuild(b *zone.Builder) error {
	if a.status == nil {
		a.builder = b
		return nil
	}
	z, err := b.BuildAfter(a.Zone(), a.status)
	if err != nil {
		return err
	}
	a.builder = b
	a.publish(z)
	return nil
}

// tellUnserved logs which provisioned records z is without, where they are others
// than before. The caller holds a.mu.
func (a *Agent) tellUnserved(z *zone.Zone) {
	now := z.Unserved()
	a.metrics.unserved.Set(float64(len(now)))
	if slices.Equal(now, a.unserved) {
		return
	}
	a.unserved = now
	if len(now) == 0 {
		a.log.Info().Msg("all provisioned records are served")
		return
	}
	a.log.Warn().Int("records", len(now)).Str("record", now[0].Record).Str("reason", now[0].Reason).Msg("provisioned records are not served")
}
