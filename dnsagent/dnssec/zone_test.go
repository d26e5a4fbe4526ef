package dnssec

import (
	"bytes"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// long ends a name of which front is the first label, so that all of it is so many bytes as it travels.
func long(t *testing.T, front string, size int) string {
	t.Helper()
	wire := make([]byte, 256)
	n, err := dns.PackDomainName(front+".", wire, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	rest := ""
	for n < size {
		label := min(size-n-1, 60)
		if size-n-1-label == 1 { // no room for another one
			label--
		}
		rest += strings.Repeat("m", label) + "."
		n += 1 + label
	}
	return front + "." + rest
}

func TestTheNextNameIsTheFirstOneBehind(t *testing.T) {
	whole := strings.Repeat("a", 62)
	for _, c := range []struct {
		front string
		size  int
		want  string // in place of front; "": the one above is the next
	}{
		{"abc", 253, `\000.abc`},
		{"abc", 254, `abc\000`},
		{"abc", 255, "abd"},
		{"ab@", 255, "ab["},
		{`ab\255`, 255, "ac"},
		{`ab\255\255`, 255, "ac"},
		{`\255`, 254, `\255\000`},
		{`\255`, 255, ""},
		{`\255\255`, 255, ""},
		{whole + "a", 254, whole + "b"},
		{whole + `\255`, 254, whole[1:] + "b"},
	} {
		owner := long(t, c.front, c.size)
		above := strings.TrimPrefix(owner, c.front)
		want := c.want + above
		if c.want == "" {
			label, rest, _ := strings.Cut(above[1:], ".")
			want = label + `\000.` + rest
		}
		got := next(owner)
		if got != want {
			t.Errorf("behind %.10s… of %d bytes: %.70q, want %.70q", owner, c.size, got, want)
		}
		if compare(t, owner, got) >= 0 {
			t.Errorf("%.70q is not behind %.70q", got, owner)
		}
	}
}

// compare is canonical order of names in lower case.
func compare(t *testing.T, a, b string) int {
	t.Helper()
	la, lb := labels(t, a), labels(t, b)
	for i := range min(len(la), len(lb)) {
		if c := bytes.Compare(la[len(la)-1-i], lb[len(lb)-1-i]); c != 0 {
			return c
		}
	}
	return len(la) - len(lb)
}

func labels(t *testing.T, name string) (out [][]byte) {
	t.Helper()
	wire := make([]byte, 256)
	if _, err := dns.PackDomainName(name, wire, 0, nil, false); err != nil {
		t.Fatalf("%q: %v", name, err)
	}
	for wire[0] > 0 {
		out = append(out, wire[1:1+wire[0]])
		wire = wire[1+wire[0]:]
	}
	return out
}
