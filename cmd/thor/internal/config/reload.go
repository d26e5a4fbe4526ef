package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Reload is what the daemon of section makes of a file that was read again: next
// with the values of f where a change needs a restart. changed are the keys that
// differ and take effect, restart those that would need one, both in the order
// of the fields. A field says by the tag reload:"yes" that it may change.
func (f *File) Reload(next *File, section string) (now *File, changed, restart []string) {
	merged := *next
	r := reloader{}
	old, fresh := reflect.ValueOf(f).Elem(), reflect.ValueOf(&merged).Elem()
	for i := range old.NumField() {
		key := old.Type().Field(i).Tag.Get("toml")
		switch {
		case key == "network" || key == "log":
			r.walk(key, old.Field(i), fresh.Field(i))
		case key == section && !old.Field(i).IsNil() && !fresh.Field(i).IsNil():
			own := reflect.New(fresh.Field(i).Type().Elem()) // next keeps its own
			own.Elem().Set(fresh.Field(i).Elem())
			fresh.Field(i).Set(own)
			r.walk(key, old.Field(i).Elem(), own.Elem())
		}
	}
	return &merged, r.changed, r.restart
}

type reloader struct{ changed, restart []string }

// walk compares two tables and puts back into fresh what needs a restart.
func (r *reloader) walk(key string, old, fresh reflect.Value) {
	for i := range old.NumField() {
		f := old.Type().Field(i)
		tag := f.Tag.Get("toml")
		switch {
		case f.Anonymous:
			r.walk(key, old.Field(i), fresh.Field(i))
			continue
		case tag == "" || reflect.DeepEqual(old.Field(i).Interface(), fresh.Field(i).Interface()):
			continue
		}
		if f.Tag.Get("reload") == "yes" {
			r.changed = append(r.changed, join(key, tag))
			continue
		}
		r.restart = append(r.restart, join(key, tag))
		fresh.Field(i).Set(old.Field(i))
	}
}

// Place is where key stands, as "FILE:LINE".
func (f *File) Place(key string) string {
	return strings.TrimSuffix(fmt.Sprintf("%s:%d", f.Path, f.Line(key)), ":0")
}
