package config

import (
	"reflect"
	"testing"
)

func TestEverySectionChecksAndFillsItself(t *testing.T) {
	f := reflect.TypeFor[File]()
	for i := range f.NumField() {
		if x := f.Field(i); x.IsExported() && x.Type.Kind() == reflect.Pointer && !x.Type.Implements(reflect.TypeFor[section]()) {
			t.Errorf("section %s is no section: it lacks check or fill", x.Name)
		}
	}
}
