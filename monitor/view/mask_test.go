package view_test

import (
	"strings"
	"testing"

	"thor/monitor/view"
)

func TestMaskHidesPasswordsAndNothingElse(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "",
		"mysql://sipthor:secret@db/sipthor":   "mysql://sipthor:xxxxxx@db/sipthor",
		"mysql://sipthor:xxxxxx@db/sipthor":   "mysql://sipthor:xxxxxx@db/sipthor",
		"mysql://u:p@ss:w/o#r?d!@h:3306/db":   "mysql://u:xxxxxx@h:3306/db",
		"mysql://u:with blank@h/db":           "mysql://u:xxxxxx@h/db",
		"mysql://u:@h/db":                     "mysql://u:xxxxxx@h/db",
		"redis://:secret@h":                   "redis://:xxxxxx@h",
		"mysql://u@x:secret@h/db":             "mysql://u@x:xxxxxx@h/db",
		"mysql://u:s@[2001:db8::1]:3306/db":   "mysql://u:xxxxxx@[2001:db8::1]:3306/db",
		"dial mysql://u:s3/@h: refused":       "dial mysql://u:xxxxxx@h: refused",
		"see http://h:80/x, mysql://u:s@h/db": "see http://h:xxxxxx@h/db",
		"mysql://u:cut-off-in-the-mid":        "mysql://u:xxxxxx",
		"http://h:80 and mysql://u:cut":       "http://h:80 and mysql://u:xxxxxx",
		"u:se:cr@et@tcp(db:3306)/sipthor":     "u:xxxxxx@tcp(db:3306)/sipthor",
		"https://h/?password=a!b&user=c":      "https://h/?password=xxxxxx&user=c",

		"tls://10.0.0.1:4222":                   "tls://10.0.0.1:4222",
		"http://[2001:db8::1]:8080/health":      "http://[2001:db8::1]:8080/health",
		"mysql://u@[2001:db8::1]:3306/db":       "mysql://u@[2001:db8::1]:3306/db",
		"https://example.org/a: not found":      "https://example.org/a: not found",
		"sip:alice@example.org":                 "sip:alice@example.org",
		"OPTIONS udp:192.0.2.1:5060 timed out":  "OPTIONS udp:192.0.2.1:5060 timed out",
		"12:30: alice@example.org (and so on)":  "12:30: alice@example.org (and so on)",
		"mysql://db/sipthor":                    "mysql://db/sipthor",
		"dial tcp 10.0.0.1:3306: i/o timeout":   "dial tcp 10.0.0.1:3306: i/o timeout",
		"http://10.0.0.1:8080: connection lost": "http://10.0.0.1:8080: connection lost",
	} {
		if got := view.Mask(in); got != want {
			t.Errorf("Mask(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzMaskHidesAnyPassword(f *testing.F) {
	f.Add("user", "secret", "db/sipthor")
	f.Add("", "p@ss://:w[or]d\n", "[::1]:3306/x")
	f.Fuzz(func(t *testing.T, user, password, host string) {
		const marker = "MARKER"
		if strings.ContainsAny(user, ":[/") || strings.Contains(host, marker) || strings.Contains(user, marker) {
			t.Skip()
		}
		in := "mysql://" + user + ":" + password + marker + password + "@" + host
		out := view.Mask(in)
		if strings.Contains(out, marker) {
			t.Errorf("Mask(%q) = %q", in, out)
		}
		if again := view.Mask(out); again != out {
			t.Errorf("Mask of %q is %q", out, again)
		}
	})
}
