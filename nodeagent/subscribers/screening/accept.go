package screening

import (
	"math/bits"
	"slices"
	"time"

	"thor/overlay/subscriber"
)

// Words that stand for callers in accept rules; others are groups of the
// phonebook.
const (
	everybody = "everybody"
	nobody    = "nobody"
)

// accepted decides by the accept rules of s. A temporary rule decides alone while
// it lasts. Of the rules that hold now those for the fewest days decide: one for
// the weekend goes before one for every day. If none holds now, the call gets
// through unless a rule of the same day lets calls through at other times: "from 9
// to 17: everybody" rejects in the evening, "from 23 to 7: nobody" does not reject
// at noon.
func accepted(s *subscriber.Profile, c Caller, now time.Time) bool {
	if t := s.Accept.Temporary; t != nil && now.Unix() < t.Until {
		return lets(s, t.Groups, c)
	}
	zone, err := time.LoadLocation(s.Timezone)
	if err != nil || s.Timezone == "Local" {
		zone = time.UTC
	}
	now = now.In(zone)
	fewest := 8
	ok := true
	opens := false
	for _, r := range s.Accept.Persistent {
		if on(r, now.Weekday()) && !only(r.Groups, nobody) {
			opens = true
		}
		n := bits.OnesCount(uint(r.Days & 127))
		if !holds(r, now) || n > fewest {
			continue
		}
		if n < fewest {
			fewest, ok = n, false
		}
		ok = ok || lets(s, r.Groups, c)
	}
	if fewest == 8 {
		return !opens
	}
	return ok
}

func only(groups []string, g string) bool {
	return !slices.ContainsFunc(groups, func(x string) bool { return x != g })
}

// lets reports whether c is among the groups.
func lets(s *subscriber.Profile, groups []string, c Caller) bool {
	if slices.Contains(groups, everybody) {
		return true
	}
	for _, g := range groups {
		if g != nobody && slices.ContainsFunc(s.Accept.Members[g], func(uri string) bool { return matches(uri, c.Key) }) {
			return true
		}
	}
	return false
}

// on reports whether r is for a day.
func on(r subscriber.AcceptRule, d time.Weekday) bool {
	return r.Days&(1<<((int(d)+6)%7)) != 0 // Monday is 1
}

// holds reports whether r holds at a local time. One that stops before it starts
// lasts past midnight.
func holds(r subscriber.AcceptRule, now time.Time) bool {
	at := now.Format("15:04")
	if r.Start <= r.Stop {
		return on(r, now.Weekday()) && at >= r.Start && at < r.Stop
	}
	return on(r, now.Weekday()) && at >= r.Start || on(r, now.AddDate(0, 0, -1).Weekday()) && at < r.Stop
}
