package provisioning

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"thor/provisioning/login"
	"thor/provisioning/ngnpro"
	"thor/provisioning/soap"
	"thor/provisioning/store"
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
	for _, p := range newPorts(unused(t)) {
		for _, o := range p.operations {
			if o.writes == strings.HasPrefix(o.Name, "get") {
				t.Errorf("%s.%s: writes is %v", p.name, o.Name, o.writes)
			}
			if !o.writes {
				continue
			}
			var args []any
			for _, p := range o.Params {
				v := reflect.New(p.Type)
				fill(v.Elem(), "."+upper(p.Name))
				args = append(args, v.Interface())
			}
			writing++
			got := keysOf(o.Params, args)
			if got == "" {
				t.Errorf("%s.%s: no key", p.name, o.Name)
			}
			for _, word := range strings.Fields(got) {
				for field := range strings.SplitSeq(word, "@") {
					if last := field[strings.LastIndexByte(field, '.')+1:]; last != "4711" && !slices.Contains(keys, last) && field != ".Zone.Name" && field != ".Zone" {
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

// upper spells the names of parameters as fields are spelled.
func upper(name string) string {
	if len(name) < 4 {
		return strings.ToUpper(name)
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// docs/provisioning.md is made of the table.
func TestDocumentationListsTheOperations(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Operations of the provisioning server\n\nMade of the table of operations: `go test ./provisioning -run Documentation -update`. The WSDL at `/wsdl`\n" +
		"has the types. Calls of those that change something are in the audit log.\n\n| port | operation | parameters | answer | audited |\n|---|---|---|---|---|\n")
	for _, p := range newPorts(unused(t)) {
		for _, o := range p.operations {
			var params []string
			for _, p := range o.Params {
				params = append(params, p.Name+" "+typeName(p.Type))
			}
			answer, audited := "", ""
			if o.Result != nil {
				answer = typeName(o.Result)
			}
			if o.writes {
				audited = "yes"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", p.name, o.Name, strings.Join(params, ", "), answer, audited)
		}
	}
	const file = "../docs/provisioning.md"
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || string(have) != b.String() {
		t.Errorf("docs/provisioning.md is out of date (-update writes it): %v", err)
	}
}

// typeName is a type as the WSDL calls it, a list with brackets.
func typeName(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.Pointer:
		return typeName(t.Elem())
	case t == reflect.TypeFor[[]byte]():
		return "base64Binary"
	case t.Kind() == reflect.Slice:
		return typeName(t.Elem()) + "[]"
	case strings.HasSuffix(t.Name(), "ID"):
		return strings.TrimSuffix(t.Name(), "ID") + "Id"
	}
	return t.Name()
}

// unused is a store whose database is never used.
func unused(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.New(store.Config{Source: store.Fixed{}})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// Only what the store says of itself is its outage.
func TestAnErrorIsAnOutageOfTheStoreOnlyIfItIsTheStores(t *testing.T) {
	outage := fmt.Errorf("%w: connection refused", ngnpro.ErrUnavailable)
	for _, c := range []struct {
		err     error
		failing bool
		code    soap.Code
		number  int
	}{
		{outage, true, soap.Server, 4},
		{errors.New("unforeseen"), true, soap.Server, 4},
		{fmt.Errorf("%w: %w", outage, context.Canceled), false, soap.Server, 4},
		{fmt.Errorf("%w: %w", ngnpro.ErrUnavailable, login.ErrBusy), false, soap.Server, 4},
		{fmt.Errorf("%w: %w", errUnknownNetwork, ngnpro.ErrUnavailable), false, soap.Server, 4},
		{fmt.Errorf("%w: %w", login.ErrLimited, ngnpro.ErrAuthentication), false, soap.Client, 1},
		{&soap.ValueError{Path: "a.b", Text: "is wrong"}, false, soap.Client, 3},
		{ngnpro.ErrAccountNotFound, false, soap.Client, 1010},
		{&soap.Fault{Code: soap.MustUnderstand, Name: "MustUnderstand"}, false, soap.MustUnderstand, 0},
	} {
		var s Server
		if f := s.asFault(c.err); f.Code != c.code || f.Number != c.number || s.failing.Load() != c.failing {
			t.Errorf("%v: %+v, failing %v", c.err, f, s.failing.Load())
		}
	}
}
