// Package reference describes every key of a configuration file: for the command
// thor config reference, docs/configuration.md and the manual page thor.toml(5).
// It holds no description itself: names, defaults and bounds are the struct tags
// of the components' Configs, and sentences are the comments of their fields,
// which go generate copies to comments.json.
package reference

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"thor/cmd/thor/internal/config"
	"thor/overlay/setting"
	"thor/subjects"
)

//go:generate go test -run TestTheReferenceIsUpToDate -update

//go:embed comments.json
var commentsJSON []byte

// A Table is one table of the file.
type Table struct {
	Name string `json:"name"` // "node.role.check"
	List bool   `json:"list"` // [[…]]: there may be several
	Doc  string `json:"doc"`
	Keys []Key  `json:"keys"`
}

// A Key is one key of a table.
type Key struct {
	Name    string `json:"name"`
	Type    string `json:"type"`              // "duration"
	Bounds  string `json:"bounds,omitempty"`  // "100ms or more"
	Default string `json:"default,omitempty"` // as the file would have it
	Absent  string `json:"absent,omitempty"`  // without Default, what it means to leave the key out; "required"
	Off     bool   `json:"off,omitempty"`     // "" turns it off
	Env     string `json:"env,omitempty"`     // the variable that overrides it
	Reload  bool   `json:"reload"`            // SIGHUP applies it
	Doc     string `json:"doc"`
	empty   string // a value of its type
}

// Tables are those of the file, in its order, each before those in it.
func Tables() []Table {
	comments := make(map[string]string)
	if err := json.Unmarshal(commentsJSON, &comments); err != nil {
		panic("reference: comments.json: " + err.Error())
	}
	var out []Table
	for _, k := range setting.Keys(reflect.ValueOf(&config.File{}).Elem()) {
		out = append(out, tables(Table{Name: k.Name, Doc: comments[commentOf(k)]}, k.Field.Type, false, comments)...)
	}
	return out
}

// commentOf is where the comment of k's field is found.
func commentOf(k setting.Key) string {
	return k.Owner().PkgPath() + "." + k.Owner().Name() + "." + k.Field.Name
}

func tables(t Table, of reflect.Type, reload bool, comments map[string]string) []Table {
	if of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	var inner []Table
	for _, k := range setting.Keys(reflect.New(of).Elem()) {
		reload, doc := reload || k.Tag("reload") == "yes", comments[commentOf(k)]
		_, absent := k.Default()
		elem := k.Field.Type
		list := elem.Kind() == reflect.Slice
		if list || elem.Kind() == reflect.Pointer {
			elem = elem.Elem()
		}
		switch {
		case !k.InFile():
		case setting.IsTable(elem):
			if absent != "" {
				doc += " Default: " + absent + "."
			}
			inner = append(inner, tables(Table{Name: t.Name + "." + k.Name, List: list, Doc: doc}, elem, reload, comments)...)
		default:
			t.Keys = append(t.Keys, describe(k, reload, doc))
		}
	}
	return append([]Table{t}, inner...)
}

func describe(k setting.Key, reload bool, doc string) Key {
	out := Key{
		Name: k.Name, Bounds: bounds(k), Off: k.Tag("off") != "", Env: k.Tag("env"), Reload: reload, Doc: doc,
	}
	out.Type, out.empty = typeOf(k)
	constant, words := k.Default()
	switch env, isEnv := strings.CutPrefix(constant, "$"); {
	case k.Tag("required") != "":
		out.Absent = "required"
	case isEnv:
		out.Absent = "default the value of " + env + ", which the unit sets"
	case words != "":
		out.Absent = "default " + words
	case constant != "":
		out.Default = value(k.Field.Type, constant)
	}
	return out
}

// value is a constant as the file would have it.
func value(t reflect.Type, constant string) string {
	switch {
	case t.Kind() == reflect.String || t == reflect.TypeFor[time.Duration]():
		return fmt.Sprintf("%q", constant)
	case t.Kind() == reflect.Slice:
		var words []string
		for _, word := range strings.Fields(constant) {
			words = append(words, value(t.Elem(), word))
		}
		return "[" + strings.Join(words, ", ") + "]"
	}
	return constant
}

// typeOf is the type of k's value in words, and an empty value of it.
func typeOf(k setting.Key) (words, empty string) {
	scalar := k.Scalar()
	switch form := k.Tag("form"); {
	case form == "listen" || form == "host:port":
		words = "HOST:PORT"
	case form == "file" || form == "directory":
		words = form
		if k.Secret() {
			words = "secret file"
		}
	case scalar == reflect.TypeFor[time.Duration]():
		words = "duration"
	case scalar == reflect.TypeFor[netip.Addr]():
		words = "IP address"
	case scalar == reflect.TypeFor[subjects.Role]():
		words = "role"
	case scalar.Kind() == reflect.Bool:
		words, empty = "true or false", "false"
	case scalar.Kind() == reflect.String || scalar.Kind() == reflect.Struct:
		words = "text"
	default:
		words, empty = "whole number", "0"
	}
	if empty == "" {
		empty = `""`
	}
	if unit := k.Tag("unit"); unit != "" {
		words += " (" + unit + ")"
	}
	switch t := k.Field.Type; t.Kind() {
	case reflect.Slice:
		return "list: " + words, "[]"
	case reflect.Map:
		by := "name"
		if t.Key() == reflect.TypeFor[subjects.Role]() {
			by = "role"
		}
		return "table: " + words + " by " + by, "{}"
	}
	return words, empty
}

func bounds(k setting.Key) (text string) {
	if words := strings.Fields(k.Tag("oneof")); len(words) > 0 {
		return strings.Join(words, " | ")
	}
	lo, hi, _ := strings.Cut(k.Tag("range"), "..")
	if f, ok := k.Owner().FieldByName(hi); ok {
		hi = f.Tag.Get("toml")
	}
	switch {
	case lo == "" && hi == "":
		return ""
	case hi == "":
		text = lo + " or more"
	case lo == "":
		text = "at most " + hi
	default:
		text = lo + " to " + hi
	}
	if whole := k.Tag("whole"); whole != "" {
		text += ", whole " + whole
	}
	if why := k.Tag("why"); why != "" {
		text += " (" + why + ")"
	}
	return text
}

// Facts are what there is to say of k beside its sentence.
func (k Key) Facts() string {
	facts := []string{k.Type}
	add := func(s string, when bool) {
		if when {
			facts = append(facts, s)
		}
	}
	add(k.Bounds, k.Bounds != "")
	add("default "+k.Default, k.Default != "")
	add(k.Absent, k.Absent != "")
	add(`"" turns it off`, k.Off)
	add(k.Env+" overrides it", k.Env != "")
	add("SIGHUP", k.Reload)
	return strings.Join(facts, "; ")
}

// Header is the line that begins t.
func (t Table) Header() string {
	if t.List {
		return "[[" + t.Name + "]]"
	}
	return "[" + t.Name + "]"
}

// Select are the tables, or keys in them, that are named; all if none are.
func Select(tables []Table, names []string) ([]Table, error) {
	var out []Table
	found := make(map[string]bool)
	for _, t := range tables {
		part := t
		part.Keys = nil
		whole := len(names) == 0
		for _, n := range names {
			if n == t.Name || strings.HasPrefix(t.Name, n+".") {
				whole, found[n] = true, true
			}
		}
		for _, k := range t.Keys {
			for _, n := range names {
				if !whole && n == t.Name+"."+k.Name {
					part.Keys, found[n] = append(part.Keys, k), true
				}
			}
		}
		if whole {
			part.Keys = t.Keys
		}
		if whole || len(part.Keys) > 0 {
			out = append(out, part)
		}
	}
	for _, n := range names {
		if !found[n] {
			return nil, fmt.Errorf("there is no key %q: thor config reference lists all", n)
		}
	}
	return out, nil
}
