package config_test

import (
	"fmt"
	"reflect"
	"testing"

	"thor/cmd/thor/internal/config"
	"thor/overlay/check"
)

// The tags that document the keys of checks say what the engine takes for an empty key.
func TestKeysOfChecksSayTheEnginesDefaults(t *testing.T) {
	for _, c := range []struct {
		of    any
		field string
		tag   string
		want  any
	}{
		{config.Check{}, "Interval", "default", check.DefaultInterval},
		{config.Check{}, "Timeout", "default", check.DefaultTimeout},
		{config.Check{}, "Rise", "default", check.DefaultRise},
		{config.Check{}, "Fall", "default", check.DefaultFall},
		{config.Check{}, "Interval", "range", fmt.Sprintf("%v..", check.MinInterval)},
		{config.Check{}, "Rise", "range", fmt.Sprintf("1..%d", check.MaxRise)},
		{config.Check{}, "Fall", "range", fmt.Sprintf("1..%d", check.MaxRise)},
		{config.Candidate{}, "Interval", "default", check.DefaultInterval},
		{config.Candidate{}, "Timeout", "default", check.DefaultTimeout},
		{config.Candidate{}, "Interval", "range", fmt.Sprintf("%v..", check.MinInterval)},
	} {
		f, ok := reflect.TypeOf(c.of).FieldByName(c.field)
		if got := f.Tag.Get(c.tag); !ok || got != fmt.Sprint(c.want) {
			t.Errorf("%T.%s: %s is %q, the engine's %v", c.of, c.field, c.tag, got, c.want)
		}
	}
}
