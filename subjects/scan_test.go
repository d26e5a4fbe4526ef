package subjects

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"
)

// oneObject says by encoding/json's tokens what scanText says by its own reading.
func oneObject(b []byte) bool {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') || !uniqueKeys(d, 1) {
		return false
	}
	_, err := d.Token()
	return err == io.EOF
}

func uniqueKeys(d *json.Decoder, depth int) bool {
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		k, _ := t.(string)
		if err != nil || seen[k] || !oneValue(d, depth) {
			return false
		}
		seen[k] = true
	}
	_, err := d.Token()
	return err == nil
}

func oneValue(d *json.Decoder, depth int) bool {
	t, err := d.Token()
	if err != nil {
		return false
	}
	switch {
	case t != json.Delim('{') && t != json.Delim('['):
		return true
	case depth+1 > maxDepth:
		return false
	case t == json.Delim('{'):
		return uniqueKeys(d, depth+1)
	}
	for d.More() {
		if !oneValue(d, depth+1) {
			return false
		}
	}
	_, err = d.Token()
	return err == nil
}

func FuzzScan(f *testing.F) {
	many := "{"
	for i := range 60 {
		many += fmt.Sprintf(`"k%d":%d,`, i, i)
	}
	for _, s := range []string{
		`{}`, ` { "a" : [ 1 , {"b":null} , "x" ] } `, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"\u0061":1,"b":2,"a":3}`, `{"a":{"a":1},"b":{"a":1}}`,
		`{"a":1}{}`, `{"a":1}x`, `[1]`, `{"a":"\"}"}`, `{"a":"\\"}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{"a":tru}`, `{"a":1 2}`, `{"\ud800":1,"\ufffd":2}`,
		many + `"k3":0}`, many + `"\u006b59":0}`, many + `"z":0}`, `{"a":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + `}`,
		`{"a":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`, `{"a":"`, `{"a\`, "{\"a\":\x00}", `{"a":1:2}`, `{"a":[1,]}`, `{"a":-}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !utf8.Valid(b) || len(b) == 0 {
			return
		}
		var v map[string]any
		got := Decode(b, 1<<20, &v) == nil
		if want := oneObject(b) && json.Valid(b); got != want {
			t.Errorf("%q: accepted is %v, want %v", b, got, want)
		}
	})
}

// Attributes are read as encoding/json reads them.
func FuzzAttrs(f *testing.F) {
	for _, s := range []string{
		`{"a":"b","c":1,"d":true,"e":null,"f":-1.5e3}`, `{"e":null,"a":"b"}`, `{}`, `null`, ` null `, `[]`, `1`, `{"a":{}}`, `{"a":[1]}`, `{"a":"\u00e4\n"}`, `{"\u0061":1}`, `"x"`,
		`{"a":true,"a":null}`, `{"a":null,"a":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var a Attrs
		err := a.UnmarshalJSON(b)
		if !json.Valid(b) || !utf8.Valid(b) {
			return // encoding/json never hands that over
		}
		want, ok := attrsByJSON(b)
		if (err == nil) != ok || ok && !maps.Equal(a, want) {
			t.Errorf("%q: %v %v, want %v %v", b, a, err, want, ok)
		}
	})
}

func attrsByJSON(b []byte) (Attrs, bool) {
	var raw map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if d.Decode(&raw) != nil {
		return nil, false
	}
	out := Attrs{}
	for k, v := range raw {
		switch v := v.(type) {
		case string:
			out[k] = v
		case json.Number:
			out[k] = v.String()
		case bool:
			out[k] = fmt.Sprint(v)
		case nil:
		default:
			return nil, false
		}
	}
	return out, true
}
