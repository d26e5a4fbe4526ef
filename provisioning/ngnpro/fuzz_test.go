package ngnpro_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"thor/provisioning/ngnpro"
)

// tables are where the records of each kind are kept.
var tables = map[string]string{
	"domain": "sip_domains", "account": "sip_accounts_meta", "alias": "sip_aliases", "entry": "sip_phonebook", "peer": "sip_trusted",
	"voicemail": "voicemail_accounts", "range": "enum_ranges", "number": "enum_numbers", "customer": "customers",
}

// widths are the greatest lengths of the schema's columns, by table and column.
func widths(t testing.TB) map[string]int {
	t.Helper()
	files, err := filepath.Glob("../store/migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal("no migrations", err)
	}
	w, table := make(map[string]int), ""
	create := regexp.MustCompile(`^CREATE TABLE IF NOT EXISTS (\w+)`)
	column := regexp.MustCompile(`^\t(\w+) (VARCHAR\((\d+)\)|TEXT)`)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if m := create.FindStringSubmatch(line); m != nil {
				table = m[1]
			}
			if m := column.FindStringSubmatch(line); m != nil && m[3] != "" {
				w[table+"."+m[1]], _ = strconv.Atoi(m[3])
			} else if m != nil {
				w[table+"."+m[1]] = 65535 / utf8.UTFMax
			}
		}
	}
	return w
}

// snake is a name of the wire as columns are named.
func snake(s string) string {
	switch s {
	case "vatNumber":
		return "vat_number"
	case "group":
		return "grp"
	}
	var out strings.Builder
	for _, r := range s {
		if unicode.IsUpper(r) {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}

// texts visits the texts of a record with the columns that hold them.
func texts(v reflect.Value, table, prefix string, visit func(column, s string)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			texts(v.Elem(), table, prefix, visit)
		}
	case reflect.Slice:
		switch v.Type().Elem() {
		case reflect.TypeFor[ngnpro.EnumMapping]():
			table = "enum_mappings"
		case reflect.TypeFor[ngnpro.CustomerProperty]():
			table = "customer_properties"
		default:
			return // part of a document, or of a column of JSON
		}
		for i := range v.Len() {
			texts(v.Index(i), table, "", visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			name, readOnly, _ := strings.Cut(v.Type().Field(i).Tag.Get("soap"), ",")
			if readOnly != "" {
				continue
			}
			f := v.Field(i)
			for f.Kind() == reflect.Pointer && !f.IsNil() {
				f = f.Elem()
			}
			switch {
			case f.Kind() == reflect.String:
				visit(table+"."+prefix+snake(name), f.String())
			case name == "target":
				texts(f, table, "target_", visit)
			default:
				texts(f, table, "", visit)
			}
		}
	}
}

// inDocuments are the columns that there are not: they are part of an account's
// profile, or kept as a hash.
var inDocuments = []string{
	"sip_accounts_meta.password", "sip_accounts_meta.timezone", "sip_accounts_meta.rpid", "sip_accounts_meta.region",
	"sip_accounts_meta.quickdial_prefix", "customers.password",
}

// Whatever a client sends: Clean ends, what it accepts it accepts again as it is,
// and that fits into the schema.
func FuzzClean(f *testing.F) {
	kinds := slices.Sorted(maps.Keys(valid))
	for i, kind := range kinds {
		seed, err := json.Marshal(valid[kind]())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(i), string(seed))
	}
	for _, seed := range []string{
		`{"ID":{"Username":"\u212a","Domain":"A.b."},"Groups":["b","a"," a"],"ACL":[{"IP":"::ffff:1.2.3.4","Mask":0}],"Password":"x"}`,
		`{"ID":{"Prefix":"+31","TLD":" "},"MinDigits":9,"MaxDigits":0,"Nameservers":["A.","a"]}`,
		`{"ID":{"Number":"1"},"Mappings":[{"Type":"SIP","MapTo":"sip:%41@b","Priority":7},{"Type":"x","MapTo":"y"}]}`,
		`{"IP":"::ffff:1.2.3.4/97","Tags":"é","Strip":64}`, `{"Balance":-0.00001,"Credit":99999999999.99999,"Username":" A@b "}`,
		`{"SipID":{"Username":"a","Domain":"1.2.3.4"},"Password":"","Email":" a@B.c "}`,
	} {
		for i := range kinds {
			f.Add(byte(i), seed)
		}
	}
	schema := widths(f)
	f.Fuzz(func(t *testing.T, which byte, data string) {
		kind := kinds[int(which)%len(kinds)]
		r := valid[kind]()
		if json.Unmarshal([]byte(data), r) != nil || r.Clean() != nil {
			return
		}
		once, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Clean(); err != nil {
			t.Fatalf("%s: what was accepted is refused: %v: %s", kind, err, once)
		}
		if twice, _ := json.Marshal(r); string(twice) != string(once) {
			t.Errorf("%s: %s becomes %s", kind, once, twice)
		}
		texts(reflect.ValueOf(r), tables[kind], "", func(column, s string) {
			most, ok := schema[column]
			switch {
			case tables[kind] == "" && strings.HasPrefix(column, "."), slices.Contains(inDocuments, column):
			case !ok:
				t.Errorf("%s: the schema has no column %s", kind, column)
			case utf8.RuneCountInString(s) > most:
				t.Errorf("%s: %d characters for %s, which has %d", kind, utf8.RuneCountInString(s), column, most)
			case !utf8.ValidString(s):
				t.Errorf("%s: %s is not UTF-8: %q", kind, column, s)
			}
		})
	})
}

// The columns are as wide as the rules let texts be, for every text of every record.
func TestRulesAreWithinTheSchema(t *testing.T) {
	schema := widths(t)
	found := 0
	for kind, table := range tables {
		r := valid[kind]()
		ruled(reflect.ValueOf(r), func(f reflect.StructField, v reflect.Value) {
			if rule := strings.Fields(f.Tag.Get("rule")); len(rule) == 2 {
				n, _ := strconv.Atoi(rule[1])
				put(v, strings.Repeat("é", n))
			}
		})
		texts(reflect.ValueOf(r), table, "", func(column, s string) {
			if most, ok := schema[column]; ok && utf8.RuneCountInString(s) > most {
				t.Errorf("%s takes %d characters, the column %s has %d", kind, utf8.RuneCountInString(s), column, most)
			} else if ok {
				found++
			}
		})
	}
	if found < 50 {
		t.Errorf("only %d texts have columns: this test has lost them", found)
	}
}
