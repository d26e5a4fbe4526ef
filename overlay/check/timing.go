package check

import (
	"fmt"
	"time"
)

// The defaults of Timing, and its bounds.
const (
	DefaultInterval = 2 * time.Second
	DefaultTimeout  = time.Second
	DefaultRise     = 2
	DefaultFall     = 2
	MinInterval     = 100 * time.Millisecond
	MaxRise         = 100 // of Fall too
)

// Timing says how often a service is asked, and how many answers count.
type Timing struct {
	// Interval is the time from probe to probe, at least 100 ms; 0: 2 s.
	Interval time.Duration
	// Timeout of a probe is at most Interval; 0: 1 s, or Interval if that is shorter.
	Timeout time.Duration
	// Rise is how many probes in a row must pass before a check that failed counts as
	// passing, 1 to 100; 0: 2. The first probe of all decides alone.
	Rise int
	// Fall is how many must fail before one that passed counts as failing, 1 to 100;
	// 0: 2.
	Fall int
}

// WithDefaults is t with its zero values replaced.
func (t Timing) WithDefaults() Timing {
	if t.Interval == 0 {
		t.Interval = DefaultInterval
	}
	if t.Timeout == 0 {
		t.Timeout = min(DefaultTimeout, t.Interval)
	}
	if t.Rise == 0 {
		t.Rise = DefaultRise
	}
	if t.Fall == 0 {
		t.Fall = DefaultFall
	}
	return t
}

// Problems are what is wrong with t, after WithDefaults, a line each.
func (t Timing) Problems() (texts []string) {
	if t.Interval < MinInterval {
		texts = append(texts, fmt.Sprintf("interval %v is shorter than %v", t.Interval, MinInterval))
	}
	if t.Timeout <= 0 || t.Timeout > t.Interval {
		texts = append(texts, fmt.Sprintf("timeout %v is not between 0 and the interval of %v", t.Timeout, t.Interval))
	}
	if t.Rise < 1 || t.Rise > MaxRise || t.Fall < 1 || t.Fall > MaxRise {
		texts = append(texts, fmt.Sprintf("rise %d and fall %d: each is 1 to %d", t.Rise, t.Fall, MaxRise))
	}
	return texts
}
