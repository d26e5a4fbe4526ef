// Package setting reads what the struct tags of a Config say of its fields: the
// key in a configuration file, the default, the bounds. A component states each
// of these once, beside the field; the file's decoder, the component's own check
// and the reference of all keys read it from there. The field's Go comment is
// its documentation.
//
//	toml:"max_pending"   the key; without one the field cannot be set in a file
//	toml:",inline"       a struct whose keys belong to the table around it, as those of an embedded struct do
//	toml:"damping,not"   a bool that the file says the other way round
//	default:"2s"         what zero means; a list is separated by spaces; in parentheses, words for what is no constant
//	range:"1..65535"     bounds of a number or of each in a list; either may be missing, or be the name of a field above
//	whole:"seconds"      the duration has no fraction of a second
//	why:"…"              the reason for the bounds, told with a violation
//	oneof:"udp tcp tls"  the words allowed
//	secret:"yes"         the file that the value names holds a password or a key
//	unit:"bytes"         what a whole number counts
//
// Zero means the default, whatever the bounds are; numbers of lists and maps
// have none. What only a file needs is read by package config of the command:
// required, form, env, off and reload.
package setting

import (
	"cmp"
	"encoding"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// A Key is a field of a Config, or an element of a list or map in it.
type Key struct {
	Name  string // the key in a file; the field's name if it has none
	Path  string // from the Config, such as "role[0].check[1].kind"
	Field reflect.StructField
	Value reflect.Value
	Elem  bool // Value is an element
	owner reflect.Value
}

// InFile reports whether a file can set the field.
func (k Key) InFile() bool { return k.Field.Tag.Get("toml") != "" }

// Not reports whether the file says the opposite of the field.
func (k Key) Not() bool { return strings.HasSuffix(k.Field.Tag.Get("toml"), ",not") }

// Secret reports whether the value names a file that holds a password or a key.
func (k Key) Secret() bool { return k.Tag("secret") != "" }

// Owner is the type of the struct that has the field.
func (k Key) Owner() reflect.Type { return k.owner.Type() }

// Tag is the value of a tag of the field, empty without one.
func (k Key) Tag(name string) string { return k.Field.Tag.Get(name) }

// Keys are those of the struct v, in the order of its fields.
func Keys(v reflect.Value) []Key { return keys(v, "") }

func keys(v reflect.Value, path string) (out []Key) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag := f.Tag.Get("toml")
		name, _, _ := strings.Cut(tag, ",")
		switch {
		case f.Anonymous && tag == "" && f.Type.Kind() == reflect.Struct, tag == ",inline":
			out = append(out, keys(v.Field(i), path)...)
		case name != "" || f.Tag.Get("default") != "" || f.Tag.Get("range") != "":
			name = cmp.Or(name, f.Name)
			out = append(out, Key{Name: name, Path: join(path, name), Field: f, Value: v.Field(i), owner: v})
		}
	}
	return out
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// IsTable reports whether t is a struct with keys of its own.
func IsTable(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[netip.Addr]() && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// Walk calls f for every key of the struct that p points to and of the tables in
// it, with the elements of lists and maps.
func Walk(p any, f func(Key)) { walk(reflect.ValueOf(p).Elem(), "", f) }

// SecretFiles are the files with passwords and keys that the struct that p points to names.
func SecretFiles(p any) (out []string) {
	Walk(p, func(k Key) {
		if k.Secret() && k.Value.Kind() == reflect.String && k.Value.String() != "" {
			out = append(out, k.Value.String())
		}
	})
	return out
}

func walk(v reflect.Value, path string, f func(Key)) {
	for _, k := range keys(v, path) {
		visit(k, f)
	}
}

func visit(k Key, f func(Key)) {
	f(k)
	v := k.Value
	elem := func(path string, v reflect.Value) Key {
		return Key{Name: k.Name, Path: path, Field: k.Field, Value: v, Elem: true, owner: k.owner}
	}
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil() && IsTable(v.Type().Elem()):
		walk(v.Elem(), k.Path, f)
	case IsTable(v.Type()):
		walk(v, k.Path, f)
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			visit(elem(fmt.Sprintf("%s[%d]", k.Path, i), v.Index(i)), f)
		}
	case v.Kind() == reflect.Map:
		for _, m := range slices.SortedFunc(maps.Keys(entries(v)), strings.Compare) {
			e := reflect.New(v.Type().Elem()).Elem()
			e.Set(entries(v)[m])
			visit(elem(join(k.Path, m), e), f)
		}
	}
}

func entries(m reflect.Value) map[string]reflect.Value {
	out := make(map[string]reflect.Value, m.Len())
	for it := m.MapRange(); it.Next(); {
		out[it.Key().String()] = it.Value()
	}
	return out
}
