package main

import (
	"testing"
	"time"
)

func TestTimesOfThePastAreRead(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.Local)
	for s, want := range map[string]time.Time{
		"2h":                       now.Add(-2 * time.Hour),
		"03:12":                    time.Date(2026, 11, 30, 3, 12, 0, 0, time.Local),
		"03:12:05":                 time.Date(2026, 11, 30, 3, 12, 5, 0, time.Local),
		"2026-11-29 03:12":         time.Date(2026, 11, 29, 3, 12, 0, 0, time.Local),
		"2026-11-29 03:12:05":      time.Date(2026, 11, 29, 3, 12, 5, 0, time.Local),
		"2026-11-29T03:12:05.004Z": time.Date(2026, 11, 29, 3, 12, 5, 4_000_000, time.UTC),
	} {
		if got, err := parsePast(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %s, %v; want %s", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-2h", "13:00", "2027-01-01 00:00", "yesterday", "25:00"} {
		if got, err := parsePast(s, now); err == nil {
			t.Errorf("%q is %s", s, got)
		}
	}
}
