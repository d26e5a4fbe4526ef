package setting

import (
	"cmp"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Default is the constant that zero means, as the tag has it; empty if there is
// none. Words are what it says in parentheses.
func (k Key) Default() (constant, words string) {
	d := k.Tag("default")
	if inner, ok := strings.CutPrefix(d, "("); ok {
		return "", strings.TrimSuffix(inner, ")")
	}
	if d == "" && k.Field.Type.Kind() == reflect.Bool {
		d = strconv.FormatBool(k.Not())
	}
	return d, ""
}

// Fill sets the fields of the struct that p points to, and of the tables in it,
// that are zero to their defaults. A default above a bound that is a field becomes
// the bound. Elements of lists are left as they are. A tag off means that
// zero is no default.
func Fill(p any) { fill(reflect.ValueOf(p).Elem(), nil) }

// FillFrom is Fill for an entry of a list that takes from another struct of its
// type what it leaves open.
func FillFrom[T any](p, from *T) { fill(reflect.ValueOf(p).Elem(), Keys(reflect.ValueOf(from).Elem())) }

func fill(v reflect.Value, from []Key) {
	for i, k := range Keys(v) {
		if from != nil && k.Value.IsZero() {
			k.Value.Set(from[i].Value)
			k.clamp()
		}
		switch d, _ := k.Default(); {
		case k.Value.Kind() == reflect.Pointer && !k.Value.IsNil() && IsTable(k.Value.Type().Elem()):
			fill(k.Value.Elem(), nil)
		case IsTable(k.Value.Type()):
			fill(k.Value, nil)
		case d != "" && !strings.HasPrefix(d, "$") && k.Tag("off") == "" && k.Value.IsZero():
			k.set(d)
		}
	}
}

// Preset sets the fields of the struct v that zero turns off to their defaults:
// before a file is read, since there only an absent key means the default.
func Preset(v reflect.Value) {
	for _, k := range Keys(v) {
		switch d, _ := k.Default(); {
		case k.Tag("off") == "" || d == "":
		case strings.HasPrefix(d, "$"):
			k.set(os.Getenv(d[1:]))
		default:
			k.set(d)
		}
	}
}

func (k Key) set(d string) {
	switch v := k.Value; v.Kind() {
	case reflect.String:
		v.SetString(d)
	case reflect.Slice:
		for _, word := range strings.Fields(d) {
			e := reflect.New(v.Type().Elem()).Elem()
			e.SetString(word)
			v.Set(reflect.Append(v, e))
		}
	case reflect.Bool:
	default:
		setNumber(v, parse(v.Type(), d))
		k.clamp()
	}
}

// clamp makes a number that is not from its own line of a file at most the bound
// that another field sets.
func (k Key) clamp() {
	n, ok := number(k.Value)
	if hi, above := k.bound(1); ok && above != "" && hi > 0 {
		setNumber(k.Value, min(n, hi))
	}
}

// number is the value of a number, and whether v is one.
func number(v reflect.Value) (int64, bool) {
	switch {
	case v.CanInt():
		return v.Int(), true
	case v.CanUint():
		return int64(v.Uint()), true
	}
	return 0, false
}

func setNumber(v reflect.Value, n int64) {
	if v.CanUint() {
		v.SetUint(uint64(n))
		return
	}
	v.SetInt(n)
}

// parse reads a number of a tag. Tags are constants, so a wrong one is a panic,
// which the first use of the Config brings to light.
func parse(t reflect.Type, s string) int64 {
	var n int64
	var err error
	if t == reflect.TypeFor[time.Duration]() {
		var d time.Duration
		d, err = time.ParseDuration(s)
		n = int64(d)
	} else {
		n, err = strconv.ParseInt(s, 10, 64)
	}
	if err != nil {
		panic(fmt.Sprintf("setting: tag: %v", err))
	}
	return n
}

// Scalar is the type of the field's numbers or words: that of its elements if it
// is a list or a map.
func (k Key) Scalar() reflect.Type {
	t := k.Field.Type
	if t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return t
}

// bound is the lower (0) or upper (1) bound, and the key of the field that sets
// it; 0 is none.
func (k Key) bound(side int) (n int64, key string) {
	lo, hi, _ := strings.Cut(k.Tag("range"), "..")
	switch s := [2]string{lo, hi}[side]; {
	case s == "":
		return 0, ""
	case s[0] >= 'A' && s[0] <= 'Z':
		f, _ := k.owner.Type().FieldByName(s)
		n, _ = number(k.owner.FieldByName(s))
		name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
		return n, cmp.Or(name, f.Name)
	default:
		return parse(k.Scalar(), s), ""
	}
}
