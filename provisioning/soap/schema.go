package soap

import (
	"reflect"
	"strings"
	"sync"
)

// A kind is how a Go type stands on the wire.
type kind int

const (
	kindString kind = iota
	kindInt
	kindFloat
	kindBool
	kindBytes
	kindStruct
	kindArray
)

// A schema is what codec and WSDL know of a Go type: structs with tags
// `soap:"name"` and `soap:"name,ro"`, strings, ints (as xsd:int, 32 bits),
// float64, bool, []byte, and slices of these. A pointer is the type with the
// possibility to be absent.
type schema struct {
	kind   kind
	name   string // of the type in the WSDL, without a prefix
	fields []schemaField
	byName map[string]int
	item   *schema // of an array
	typ    reflect.Type
}

type schemaField struct {
	name     string
	index    int
	readOnly bool
	schema   *schema
}

var schemas sync.Map // reflect.Type → *schema

// schemaOf describes t, which must be built of what schema allows: anything
// else is a mistake of the program.
func schemaOf(t reflect.Type, name string) *schema {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if s, ok := schemas.Load(t); ok {
		return s.(*schema)
	}
	s := newSchema(t, name)
	actual, _ := schemas.LoadOrStore(t, s)
	return actual.(*schema)
}

// newSchema uses name for a type that has none of its own.
func newSchema(t reflect.Type, name string) *schema {
	s := &schema{typ: t}
	switch {
	case t.Kind() == reflect.String:
		s.kind, s.name = kindString, "string"
	case t.Kind() == reflect.Int:
		s.kind, s.name = kindInt, "int"
	case t.Kind() == reflect.Float64:
		s.kind, s.name = kindFloat, "double"
	case t.Kind() == reflect.Bool:
		s.kind, s.name = kindBool, "boolean"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		s.kind, s.name = kindBytes, "base64Binary"
	case t.Kind() == reflect.Slice:
		s.kind, s.item = kindArray, schemaOf(t.Elem(), name+"Item")
		s.name = upper(s.item.name) + "Array"
	case t.Kind() == reflect.Struct:
		s.kind, s.name = kindStruct, name
		if t.Name() != "" {
			s.name = strings.TrimSuffix(t.Name(), "ID")
			if s.name != t.Name() {
				s.name += "Id" // as the original spells it
			}
		}
		s.setFields()
	default:
		panic("soap: no schema for " + t.String())
	}
	return s
}

func (s *schema) setFields() {
	s.byName = make(map[string]int)
	for i := range s.typ.NumField() {
		f := s.typ.Field(i)
		tag, ok := f.Tag.Lookup("soap")
		if !ok {
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		s.byName[name] = len(s.fields)
		s.fields = append(s.fields, schemaField{
			name: name, index: i, readOnly: option == "ro",
			schema: schemaOf(f.Type, s.name+f.Name),
		})
	}
}

// in says where the fields of v, a struct of this schema, are.
func (s *schema) in(v reflect.Value) func(field int) reflect.Value {
	return func(i int) reflect.Value { return v.Field(s.fields[i].index) }
}

// schemaOfParams describes the element of a call: its fields are the parameters.
func schemaOfParams(params []Param) *schema {
	s := &schema{kind: kindStruct, byName: make(map[string]int, len(params)), fields: make([]schemaField, 0, len(params))}
	for i, p := range params {
		s.byName[p.Name] = i
		s.fields = append(s.fields, schemaField{name: p.Name, index: i, schema: schemaOf(p.Type, "")})
	}
	return s
}

func (s *schema) scalar() bool { return s.kind < kindStruct }

// qualified is the name with the prefixes that envelopes and WSDLs declare.
func (s *schema) qualified() string {
	if s.scalar() {
		return "xsd:" + s.name
	}
	return "tns:" + s.name
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
