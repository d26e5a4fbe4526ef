package soap

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// Decode returns the parameters of a call, each as a pointer to a new value of its
// type. What is read-only or unknown is ignored; an absent or nil element leaves
// the value zero. Parameters that a client gives no known name are taken by
// position. The error is a *ValueError.
func (m *Message) Decode(call *Element, params []Param) ([]any, error) {
	d := &values{ids: m.ids, left: maxElements, text: maxText}
	out, at := make([]any, len(params)), make([]reflect.Value, len(params))
	for i, p := range params {
		v := reflect.New(p.Type)
		out[i], at[i] = v.Interface(), v.Elem()
	}
	s := schemaOfParams(params)
	known := false
	for _, c := range call.Children {
		_, ok := s.byName[c.Name.Local]
		known = known || ok
	}
	if known || len(call.Children) > len(s.fields) {
		return out, d.fields("", call, s, func(i int) reflect.Value { return at[i] }, 0)
	}
	for i, c := range call.Children {
		if err := d.value(s.fields[i].name, c, s.fields[i].schema, at[i], 0); err != nil {
			return out, err
		}
	}
	return out, nil
}

// DecodeHeader fills v, a pointer to a struct, from a block of the header.
func (m *Message) DecodeHeader(block *Element, v any) error {
	d := &values{ids: m.ids, left: maxHeader, text: maxText}
	rv := reflect.ValueOf(v).Elem()
	s := schemaOf(rv.Type(), "")
	return d.fields(block.Name.Local, block, s, s.in(rv), 0)
}

// values decodes the elements of one message.
type values struct {
	ids  map[string]*Element
	left int // elements that may still be decoded
	text int // bytes of text that may still be decoded
}

func wrong(path, format string, args ...any) error {
	return &ValueError{Path: path, Text: fmt.Sprintf(format, args...)}
}

// resolve follows references to where the value stands.
func (d *values) resolve(path string, e *Element) (*Element, error) {
	for range maxHrefs {
		ref, ok := e.attr("href")
		if !ok {
			return e, nil
		}
		id, local := strings.CutPrefix(ref, "#")
		if e = d.ids[id]; !local || e == nil {
			return nil, wrong(path, "refers to something that is not in the message")
		}
	}
	return nil, wrong(path, "refers in a circle")
}

// value decodes e into v. depth counts values inside each other, which
// references could nest deeper than elements.
func (d *values) value(path string, e *Element, s *schema, v reflect.Value, depth int) error {
	if d.left--; d.left < 0 || depth > maxDepth {
		return wrong(path, "the message holds too many values")
	}
	e, err := d.resolve(path, e)
	if err != nil {
		return err
	}
	if d.text -= len(e.Text); d.text < 0 {
		return wrong(path, "the message holds too much text")
	}
	if e.isNil() || e.empty() && d.unset(e, s) {
		return nil
	}
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		if err := d.value(path, e, s, p.Elem(), depth+1); err != nil {
			return err
		}
		v.Set(p)
		return nil
	}
	switch s.kind {
	case kindStruct:
		if strings.TrimSpace(e.Text) != "" {
			return wrong(path, "has text where elements belong")
		}
		return d.fields(path, e, s, s.in(v), depth)
	case kindArray:
		return d.items(path, e, s, v, depth)
	}
	if len(e.Children) > 0 {
		return wrong(path, "has elements where a value belongs")
	}
	return scalar(path, e.Text, s, v)
}

// unset reports whether an empty element means that nothing was said. Clients
// without types send null as an empty element; a string or a list that they
// mean to be empty has a type beside it, and a string may do without.
func (d *values) unset(e *Element, s *schema) bool {
	switch s.kind {
	case kindString:
		return false
	case kindArray:
		_, hasType := e.attr("type")
		_, hasArrayType := e.attr("arrayType")
		return !hasType && !hasArrayType
	}
	return true
}

// fields decodes the elements of a struct, or of a call; at is where a field's
// value goes.
func (d *values) fields(path string, e *Element, s *schema, at func(field int) reflect.Value, depth int) error {
	seen := make([]bool, len(s.fields))
	for _, c := range members(e, s) {
		i, ok := s.byName[c.Name.Local]
		if !ok || s.fields[i].readOnly {
			continue
		}
		f := &s.fields[i]
		where := f.name
		if path != "" {
			where = path + "." + f.name
		}
		fv := at(i)
		if seen[i] {
			if f.schema.kind != kindArray {
				return wrong(where, "is there twice")
			}
			// A list as an element repeated: the document style.
			if err := d.appendItem(where, c, f.schema, fv, depth+1); err != nil {
				return err
			}
			continue
		}
		seen[i] = true
		if err := d.value(where, c, f.schema, fv, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// members are the elements of a struct. PHP writes an associative array that it
// has no type for as a map: a row of <item><key>name</key><value>…</value></item>.
func members(e *Element, s *schema) []*Element {
	if _, is := s.byName["item"]; is {
		return e.Children
	}
	out := make([]*Element, 0, len(e.Children))
	for _, c := range e.Children {
		key, value := c.child("key"), c.child("value")
		if c.Name.Local != "item" || key == nil || value == nil || len(key.Children) > 0 {
			return e.Children
		}
		m := *value
		m.Name = xml.Name{Local: strings.TrimSpace(key.Text)}
		out = append(out, &m)
	}
	return out
}

// appendItem adds one more element to a slice or a pointer to one.
func (d *values) appendItem(path string, e *Element, s *schema, v reflect.Value, depth int) error {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	item := reflect.New(v.Type().Elem()).Elem()
	if err := d.value(path, e, s.item, item, depth); err != nil {
		return err
	}
	v.Set(reflect.Append(v, item))
	return nil
}

// items decodes an array, whose members may have any name.
func (d *values) items(path string, e *Element, s *schema, v reflect.Value, depth int) error {
	v.Set(reflect.MakeSlice(v.Type(), 0, len(e.Children)))
	if d.single(e, s.item) {
		return d.appendItem(path, e, s, v, depth+1)
	}
	if strings.TrimSpace(e.Text) != "" {
		return wrong(path, "has text where elements belong")
	}
	for i, c := range e.Children {
		if err := d.appendItem(fmt.Sprintf("%s[%d]", path, i), c, s, v, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// single reports whether e is not an array but its only member: a list of one
// in the document style.
func (d *values) single(e *Element, item *schema) bool {
	if _, ok := e.attr("arrayType"); ok {
		return false
	}
	if t, ok := e.attr("type"); ok && strings.HasSuffix(t, "Array") {
		return false
	}
	if len(e.Children) == 0 {
		return item.scalar()
	}
	_, ok := item.byName[e.Children[0].Name.Local]
	return item.kind == kindStruct && ok
}

func scalar(path, text string, s *schema, v reflect.Value) error {
	if s.kind == kindString {
		v.SetString(text)
		return nil
	}
	text = strings.TrimSpace(text)
	switch s.kind {
	case kindInt:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return wrong(path, "is not a whole number of 32 bits")
		}
		v.SetInt(n)
	case kindFloat:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return wrong(path, "is not a number")
		}
		v.SetFloat(f)
	case kindBool:
		switch strings.ToLower(text) {
		case "1", "true":
			v.SetBool(true)
		case "0", "false":
			v.SetBool(false)
		default:
			return wrong(path, "is not true or false")
		}
	case kindBytes:
		text = strings.Join(strings.Fields(text), "")
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return wrong(path, "is not base64")
		}
		v.SetBytes(b)
	}
	return nil
}
