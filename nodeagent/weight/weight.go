// Package weight decides which weight a role announces by what its checks measure. It is
// pure: time is an argument.
//
// # What it keeps
//
// A weight that is announced is a generation of the network status, and sets of proxies
// are loaded again for it. So a weight changes at most once in a period, only by a step or
// more, and by the mean of the period: a moment's load says nothing.
package weight

import (
	"time"
)

// A Rule bounds the changes of a weight.
type Rule struct {
	// Least time between two changes of a weight that checks measure.
	Every time.Duration `toml:"weight_every" default:"30s" range:"10s..1h"`
	// Least change, in percent of the role's weight.
	Step int `toml:"weight_step" unit:"percent" default:"10" range:"1..50"`
}

// A Damper turns what is measured into the share of the role's weight to announce. The zero
// value announces what is measured first.
type Damper struct {
	known bool
	share int       // that is announced, in percent
	since time.Time // of the period

	last int       // measured last…
	at   time.Time // …and when that was counted up to
	sum  float64   // of percent times seconds, in the period
}

// Next takes what is measured now, a percentage from 0 to 100, and returns the share to
// announce. now does not go back.
func (d *Damper) Next(r Rule, now time.Time, percent int) int {
	if !d.known {
		*d = Damper{known: true, share: percent, since: now, last: percent, at: now}
		return d.share
	}
	d.sum += float64(d.last) * now.Sub(d.at).Seconds()
	d.last, d.at = percent, now
	length := now.Sub(d.since)
	if length < r.Every {
		return d.share
	}
	mean := int(d.sum/length.Seconds() + 0.5)
	d.sum, d.since = 0, now
	change := mean - d.share
	if change >= r.Step || -change >= r.Step || change != 0 && (mean == 0 || mean == 100) {
		d.share = mean
	}
	return d.share
}

// Of is the share of whole, at least 1: a member without weight would be none.
func Of(whole, percent int) int { return max(1, (whole*percent+50)/100) }

// Share is what is left to a service that carries n of what fills it, in percent.
func Share(n, full int) int { return 100 * max(0, full-n) / full }
