package provisioning

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// fill sets every string below v to the path of its field.
func fill(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), path+"."+v.Type().Field(i).Name)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), path)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), path)
	case reflect.String:
		v.SetString(path)
	case reflect.Int:
		v.SetInt(4711)
	}
}

// Whatever a client may set, the audit log names the keys and nothing else.
func TestEveryWritingOperationHasAKeyAndTellsNoValue(t *testing.T) {
	keys := []string{"Username", "Domain", "IP", "URI", "Prefix", "TLD", "Number", "Group"}
	writing := 0
	for _, p := range ports {
		for _, o := range p.operations {
			in := reflect.New(o.In)
			fill(in.Elem(), "")
			got := keysOf(in.Interface())
			if !o.writes() {
				continue
			}
			writing++
			if got == "" {
				t.Errorf("%s.%s: no key", p.name, o.Name)
			}
			for _, word := range strings.Fields(got) {
				for field := range strings.SplitSeq(word, "@") {
					if last := field[strings.LastIndexByte(field, '.')+1:]; last != "4711" && !slices.Contains(keys, last) {
						t.Errorf("%s.%s tells %s", p.name, o.Name, field)
					}
				}
			}
		}
	}
	if writing < 30 {
		t.Errorf("%d operations write", writing)
	}
}
