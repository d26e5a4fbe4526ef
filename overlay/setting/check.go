package setting

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"thor/subjects"
)

// A Problem is what is wrong with the value of a key.
type Problem struct {
	Key  string // its path in the Config; empty: the Config as a whole
	Text string // one line
}

func (p Problem) Error() string {
	if p.Key == "" {
		return p.Text
	}
	return p.Key + ": " + p.Text
}

// Join is the problems as one error, each with the name of the package that found
// it; nil if there are none.
func Join(pkg string, ps []Problem) error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = fmt.Errorf("%s: %w", pkg, p)
	}
	return errors.Join(errs...)
}

// Check is everything that the tags forbid in the struct that p points to, with
// its defaults filled in, and every name of a role that is none.
func Check(p any) (ps []Problem) {
	Walk(p, func(k Key) {
		if text := k.fault(); text != "" {
			ps = append(ps, Problem{k.Path, text})
		}
		if k.Value.Kind() == reflect.Map && k.Value.Type().Key() == reflect.TypeFor[subjects.Role]() {
			for _, r := range slices.Sorted(maps.Keys(entries(k.Value))) {
				if _, err := subjects.ParseRole(r); err != nil {
					ps = append(ps, Problem{join(k.Path, r), err.Error()})
				}
			}
		}
	})
	return ps
}

func (k Key) fault() string {
	if k.Value.IsZero() && !k.Elem {
		return ""
	}
	if n, ok := number(k.Value); ok {
		return k.OutOfBounds(n)
	}
	if k.Value.Kind() != reflect.String {
		return ""
	}
	s := k.Value.String()
	if words := strings.Fields(k.Tag("oneof")); len(words) > 0 && !slices.Contains(words, s) {
		return fmt.Sprintf("%q is not %s", s, Or(words))
	}
	if k.Value.Type() == reflect.TypeFor[subjects.Role]() {
		if _, err := subjects.ParseRole(s); err != nil {
			return err.Error()
		}
	}
	return ""
}

// Or lists alternatives.
func Or(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// OutOfBounds says which bound n, as the value of the key, violates; empty if none.
func (k Key) OutOfBounds(n int64) string {
	lo, _ := k.bound(0)
	hi, above := k.bound(1)
	tag := k.Tag("range")
	low := tag != "" && !strings.HasPrefix(tag, "..") && n < lo
	high := tag != "" && !strings.HasSuffix(tag, "..") && n > hi && (above == "" || hi > 0)
	whole := k.Tag("whole") != ""
	if !low && !high && !(whole && n%int64(time.Second) != 0) {
		return ""
	}
	duration := k.Scalar() == reflect.TypeFor[time.Duration]()
	show := func(n int64) string {
		if duration {
			return strings.Replace(strings.Replace(time.Duration(n).String(), "m0s", "m", 1), "h0m", "h", 1)
		}
		return strconv.FormatInt(n, 10)
	}
	less := "less"
	if duration {
		less = "shorter"
	}
	var text string
	switch {
	case high && above != "" && duration:
		text = fmt.Sprintf("%s is longer than the %s of %s", show(n), above, show(hi))
	case high && above != "":
		text = fmt.Sprintf("%s is more than %s (%s)", show(n), above, show(hi))
	case whole:
		text = fmt.Sprintf("%s is not a whole number of seconds from %s to %s", show(n), show(lo), show(hi))
	case strings.HasSuffix(tag, "..") || low && above != "":
		text = fmt.Sprintf("%s is %s than %s", show(n), less, show(lo))
	default:
		text = fmt.Sprintf("%s is not %s to %s", show(n), show(lo), show(hi))
	}
	if why := k.Tag("why"); why != "" {
		text += ": " + why
	}
	return text
}
