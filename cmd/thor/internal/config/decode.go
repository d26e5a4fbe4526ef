package config

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"thor/cmd/thor/internal/suggest"
	"thor/overlay/setting"
)

// A Problem is one thing wrong with a configuration, at its place.
type Problem struct {
	File string
	Line int    // 1-based; 0 when there is no line to point at
	Key  string // dotted path, such as "node.role[0].check[1].kind"
	Text string // what is wrong and what to do
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems is an error that lists every problem of a configuration, one a line.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Has reports whether key, or a table around it, has a problem.
func (ps Problems) Has(key string) bool {
	return slices.ContainsFunc(ps, func(p Problem) bool {
		rest, ok := strings.CutPrefix(key, p.Key)
		return ok && p.Key != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// Of are the problems of some sections and of the file as a whole, and those of
// the other sections.
func (ps Problems) Of(sections ...string) (own, others Problems) {
	for _, p := range ps {
		top, _, _ := strings.Cut(p.Key, ".")
		top, _, _ = strings.Cut(top, "[")
		if top == "" || slices.Contains(sections, top) {
			own = append(own, p)
		} else {
			others = append(others, p)
		}
	}
	return own, others
}

// Sorted are the problems in the order of their lines.
func (ps Problems) Sorted() Problems {
	return slices.SortedStableFunc(slices.Values(ps), func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
}

// decoder turns the generic tree of a TOML document into a File, and goes on
// after a mistake: no TOML library reports more than the first wrong type.
type decoder struct {
	file     string
	lines    map[string]int
	problems Problems
}

func (d *decoder) add(key, format string, args ...any) {
	d.problems = append(d.problems, Problem{d.file, d.line(key), key, fmt.Sprintf(format, args...)})
}

// line is that of key or of the nearest table around it.
func (d *decoder) line(key string) int {
	for {
		if n, ok := d.lines[key]; ok {
			return n
		}
		i := strings.LastIndexAny(key, ".[")
		if i < 0 {
			return 0
		}
		key = key[:i]
	}
}

// parse reads a document into out, a pointer to a struct.
func (d *decoder) parse(doc []byte, out any) {
	var tree map[string]any
	if err := toml.Unmarshal(doc, &tree); err != nil {
		p := Problem{File: d.file, Text: strings.TrimPrefix(err.Error(), "toml: ")}
		if de := (*toml.DecodeError)(nil); errors.As(err, &de) {
			p.Line, _ = de.Position()
		}
		d.problems = append(d.problems, p)
		return
	}
	d.lines = positions(doc)
	d.table("", tree, reflect.ValueOf(out).Elem())
}

// positions maps every key path of a valid document to its line.
func positions(doc []byte) map[string]int {
	lines := make(map[string]int)
	var p unstable.Parser
	p.Reset(doc)
	table, counts := "", make(map[string]int)
	for p.NextExpression() {
		e := p.Expression()
		path, line := "", 0
		if e.Kind == unstable.KeyValue {
			path = table
		}
		for it := e.Key(); it.Next(); {
			k := it.Node()
			path = join(path, string(k.Data))
			line = p.Shape(k.Raw).Start.Line
			// A later [a.b] below [[a]] belongs to the newest element of a.
			if n := counts[path]; n > 0 && (!it.IsLast() || e.Kind == unstable.KeyValue) {
				path = fmt.Sprintf("%s[%d]", path, n-1)
			}
		}
		switch e.Kind {
		case unstable.ArrayTable:
			n := counts[path]
			counts[path]++
			for k := range counts { // a new element starts its own lists
				if strings.HasPrefix(k, fmt.Sprintf("%s[%d]", path, n)) {
					delete(counts, k)
				}
			}
			path = fmt.Sprintf("%s[%d]", path, n)
			table = path
		case unstable.Table:
			table = path
		}
		if _, ok := lines[path]; !ok {
			lines[path] = line
		}
		if e.Kind == unstable.KeyValue && e.Value().Kind == unstable.Array {
			elements(&p, path, e.Value(), lines)
		}
	}
	return lines
}

// elements notes the lines of the plain values of a list, which may span many.
func elements(p *unstable.Parser, path string, list *unstable.Node, lines map[string]int) {
	i := 0
	for it := list.Children(); it.Next(); {
		n := it.Node()
		if n.Kind == unstable.Comment {
			continue
		}
		if n.Raw.Length > 0 {
			lines[fmt.Sprintf("%s[%d]", path, i)] = p.Shape(n.Raw).Start.Line
		}
		i++
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	addrType     = reflect.TypeFor[netip.Addr]()
)

// value decodes in, which is at path, into the field or element k.
func (d *decoder) value(path string, in any, k setting.Key) {
	out := k.Value
	text, _ := out.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case out.Type() == durationType:
		d.duration(path, in, out)
	case out.Type() == addrType:
		s, _ := in.(string)
		a, err := netip.ParseAddr(s)
		if err != nil {
			d.add(path, "%s is not an IP address, write it like \"192.0.2.1\"", show(in))
			return
		}
		out.Set(reflect.ValueOf(a))
	case text != nil:
		switch s, ok := in.(string); {
		case !ok:
			d.add(path, "%s is no text in quotes", show(in))
		case s != "":
			if err := text.UnmarshalText([]byte(s)); err != nil {
				d.add(path, "%v", err)
			}
		}
	case out.Kind() == reflect.Pointer:
		out.Set(reflect.New(out.Type().Elem()))
		k.Value = out.Elem()
		d.value(path, in, k)
	case out.Kind() == reflect.Struct:
		d.table(path, in, out)
	case out.Kind() == reflect.Map:
		d.dict(path, in, k)
	case out.Kind() == reflect.Slice:
		d.list(path, in, k)
	default:
		d.scalar(path, in, k)
	}
}

func (d *decoder) duration(path string, in any, out reflect.Value) {
	s, ok := in.(string)
	v, err := time.ParseDuration(s)
	switch {
	case !ok:
		d.add(path, "%s has no unit, write a duration like \"2s\" or \"500ms\"", show(in))
	case err != nil:
		d.add(path, "%q is not a duration, write it like \"2s\" or \"500ms\"", s)
	case v < 0:
		d.add(path, "%s is negative", s)
	default:
		out.SetInt(int64(v))
	}
}

func (d *decoder) scalar(path string, in any, k setting.Key) {
	out := k.Value
	switch v := in.(type) {
	case string:
		if out.Kind() == reflect.String {
			out.SetString(v)
			return
		}
	case bool:
		if out.Kind() == reflect.Bool {
			out.SetBool(v != k.Not())
			return
		}
	case int64:
		switch {
		case out.CanInt() && !out.OverflowInt(v):
			out.SetInt(v)
			return
		case out.CanUint() && v >= 0 && !out.OverflowUint(uint64(v)):
			out.SetUint(uint64(v))
			return
		case out.CanInt() || out.CanUint():
			d.add(path, "%s", cmp.Or(k.OutOfBounds(v), fmt.Sprintf("%d is out of range", v)))
			return
		}
	}
	d.add(path, "%s is no %s", show(in), wanted(out))
}

func wanted(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.String:
		return "text in quotes"
	case v.Kind() == reflect.Bool:
		return "true or false"
	case v.CanInt() || v.CanUint():
		return "whole number"
	}
	return v.Kind().String()
}

func (d *decoder) table(path string, in any, out reflect.Value) {
	m, ok := in.(map[string]any)
	if !ok {
		d.add(path, "%s is no table, write [%s]", show(in), path)
		return
	}
	setting.Preset(out)
	keys := make(map[string]setting.Key)
	for _, k := range setting.Keys(out) {
		if k.InFile() {
			keys[k.Name] = k
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		k, ok := keys[name]
		if !ok {
			d.add(join(path, name), "unknown key%s", suggestion(name, slices.Sorted(maps.Keys(keys))))
			continue
		}
		d.value(join(path, name), m[name], k)
	}
}

func (d *decoder) dict(path string, in any, k setting.Key) {
	m, ok := in.(map[string]any)
	if !ok {
		d.add(path, "%s is no table", show(in))
		return
	}
	out := k.Value
	out.Set(reflect.MakeMap(out.Type()))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		k.Value = reflect.New(out.Type().Elem()).Elem()
		v := m[name]
		if n, ok := v.(int64); ok && k.Value.Kind() == reflect.String { // attributes may be numbers
			v = strconv.FormatInt(n, 10)
		}
		d.value(join(path, name), v, k)
		out.SetMapIndex(reflect.ValueOf(name).Convert(out.Type().Key()), k.Value)
	}
}

func (d *decoder) list(path string, in any, k setting.Key) {
	l, ok := in.([]any)
	if !ok {
		d.add(path, "%s is no list, write [%s]", show(in), show(in))
		return
	}
	out := k.Value
	out.Set(reflect.MakeSlice(out.Type(), len(l), len(l)))
	for i, v := range l {
		k.Value = out.Index(i)
		d.value(fmt.Sprintf("%s[%d]", path, i), v, k)
	}
}

func show(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case map[string]any:
		return "a table"
	case []any:
		return "a list"
	}
	return fmt.Sprint(v)
}

// suggestion names the known key that is one slip away from k.
func suggestion(k string, known []string) string {
	if near := suggest.Nearest(k, known); near != "" {
		return fmt.Sprintf(", did you mean %q?", near)
	}
	return ", known here: " + strings.Join(known, ", ")
}
