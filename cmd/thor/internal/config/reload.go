package config

import (
	"fmt"
	"reflect"
	"strings"

	"thor/overlay/setting"
)

// Reload is what the daemon of section makes of a file that was read again: next
// with the values of f where a change needs a restart. changed are the keys that
// differ and take effect, restart those that would need one, both in the order
// of the fields. A field says by the tag reload:"yes" that it may change.
func (f *File) Reload(next *File, section string) (now *File, changed, restart []string) {
	merged := *next
	r := reloader{}
	fresh := setting.Keys(reflect.ValueOf(&merged).Elem())
	for i, k := range setting.Keys(reflect.ValueOf(f).Elem()) {
		to := fresh[i].Value
		switch {
		case k.Name == "network" || k.Name == "log":
			r.walk(k.Name, k.Value, to)
		case k.Name == section && !k.Value.IsNil() && !to.IsNil():
			own := reflect.New(to.Type().Elem()) // next keeps its own
			own.Elem().Set(to.Elem())
			to.Set(own)
			r.walk(k.Name, k.Value.Elem(), own.Elem())
		}
	}
	return &merged, r.changed, r.restart
}

type reloader struct{ changed, restart []string }

// walk compares two tables and puts back into fresh what needs a restart.
func (r *reloader) walk(section string, old, fresh reflect.Value) {
	to := setting.Keys(fresh)
	for i, k := range setting.Keys(old) {
		switch key := join(section, k.Name); {
		case !k.InFile() || reflect.DeepEqual(k.Value.Interface(), to[i].Value.Interface()):
		case k.Tag("reload") == "yes":
			r.changed = append(r.changed, key)
		default:
			r.restart = append(r.restart, key)
			to[i].Value.Set(k.Value)
		}
	}
}

// Place is where key stands, as "FILE:LINE".
func (f *File) Place(key string) string {
	return strings.TrimSuffix(fmt.Sprintf("%s:%d", f.Path, f.Line(key)), ":0")
}
