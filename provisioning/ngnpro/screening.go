package ngnpro

import (
	"slices"
	"strconv"
	"strings"
)

// CallDiversions say where calls go instead; each is a sip or sips URI, or the
// words "<voice-mailbox>". Setting them replaces the whole set.
type CallDiversions struct {
	All         *string `soap:"FUNC"`
	NotOnline   *string `soap:"FNOL"`
	Busy        *string `soap:"FBUS"`
	NoAnswer    *string `soap:"FNOA"`
	Unavailable *string `soap:"FUNV"`
}

// Clean checks diversions; empty ones are none.
func (d *CallDiversions) Clean() error {
	return first(
		diversion("diversions.FUNC", &d.All), diversion("diversions.FNOL", &d.NotOnline), diversion("diversions.FBUS", &d.Busy),
		diversion("diversions.FNOA", &d.NoAnswer), diversion("diversions.FUNV", &d.Unavailable),
	)
}

// BarringPrefixes cleans a list of prefixes of numbers: sorted, without doubles.
func BarringPrefixes(ps []string) ([]string, error) {
	ps, err := words("prefixes", ps, 32)
	if err != nil {
		return nil, err
	}
	for _, p := range ps {
		if !madeOf(p, digits+"+*#") {
			return nil, invalid("prefixes", "has one that is not of digits, +, * and #")
		}
	}
	slices.Sort(ps)
	return ps, nil
}

// maxScreening bounds the callers that are rejected, and the accept rules, in
// bytes of JSON each: see maxAccount.
const maxScreening = 32 << 10

// RejectMembers cleans a list of callers, sorted and without doubles: SIP URIs,
// whose scheme may be missing.
func RejectMembers(ms []string) ([]string, error) {
	ms, err := words("members", ms, maxText)
	if err != nil {
		return nil, err
	}
	for i, m := range ms {
		if !strings.Contains(m, ":") {
			m = "sip:" + m
		}
		if ms[i], err = sipURI("members", m); err != nil {
			return nil, err
		}
	}
	slices.Sort(ms)
	ms = slices.Compact(ms)
	return ms, within("members", maxScreening, ms)
}

// AcceptRules say whose calls get through, and when.
type AcceptRules struct {
	Persistent []AcceptRule     `soap:"persistent"`
	Temporary  *TemporaryAccept `soap:"temporary"`
}

// An AcceptRule holds between two times of day. Groups are "everybody",
// "nobody", or groups of the phonebook; Days is a bit mask, Monday is 1.
type AcceptRule struct {
	Start  string   `soap:"start"` // "HH:MM"
	Stop   string   `soap:"stop"`
	Groups []string `soap:"groups"`
	Days   int      `soap:"days"`
}

// A TemporaryAccept holds for Duration minutes from when it is set.
type TemporaryAccept struct {
	Groups   []string `soap:"groups"`
	Duration int      `soap:"duration"`
}

// maxAccept is how long a temporary rule may hold, in minutes.
const maxAccept = 366 * 24 * 60

// Clean checks rules; a temporary one without a duration is none.
func (r *AcceptRules) Clean() error {
	if len(r.Persistent) > maxList {
		return invalid("rules.persistent", "has more than %d items", maxList)
	}
	var err error
	for i := range r.Persistent {
		p := &r.Persistent[i]
		if p.Groups, err = words("rules.persistent.groups", p.Groups, maxName); err != nil {
			return err
		}
		if err := first(
			clock("rules.persistent.start", &p.Start), clock("rules.persistent.stop", &p.Stop),
			number("rules.persistent.days", p.Days, 0, 127),
		); err != nil {
			return err
		}
	}
	if t := r.Temporary; t == nil || t.Duration == 0 {
		r.Temporary = nil
	} else {
		t.Groups, err = words("rules.temporary.groups", t.Groups, maxName)
		err = first(err, number("rules.temporary.duration", t.Duration, 1, maxAccept))
	}
	return first(err, within("rules", maxScreening, r))
}

// clock cleans a time of day, "HH:MM"; 24:00 is the end of the day.
func clock(field string, p *string) error {
	h, m, ok := strings.Cut(strings.TrimSpace(*p), ":")
	m, _, _ = strings.Cut(m, ":") // seconds
	hours, err1 := strconv.ParseUint(h, 10, 8)
	minutes, err2 := strconv.ParseUint(m, 10, 8)
	if !ok || err1 != nil || err2 != nil || minutes > 59 || hours > 24 || hours == 24 && minutes > 0 || len(h) > 2 || len(m) != 2 {
		return invalid(field, "is not a time of day, HH:MM")
	}
	*p = h + ":" + m
	if len(h) == 1 {
		*p = "0" + *p
	}
	return nil
}
