package location_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/dbagent/location"
	"thor/subjects"
)

func parse(t *testing.T, uri string) location.DSN {
	t.Helper()
	d, err := location.Parse(uri)
	if err != nil {
		t.Fatalf("%s: %v", uri, err)
	}
	return d
}

func TestParseReadsALocation(t *testing.T) {
	for _, c := range []struct{ uri, user, password, address, name, shown string }{
		{"mysql://u@h/d", "u", "", "h:3306", "d", "mysql://u:xxxxxx@h/d"},
		{"mysql://u:p@h:3306/d", "u", "p", "h:3306", "d", "mysql://u:xxxxxx@h/d"},
		{"mysql://u:p@127.0.0.1:3307/d", "u", "p", "127.0.0.1:3307", "d", "mysql://u:xxxxxx@127.0.0.1:3307/d"},
		{"mysql://u:p@[2001:db8::1]/d", "u", "p", "[2001:db8::1]:3306", "d", "mysql://u:xxxxxx@[2001:db8::1]/d"},
		{"mysql://u:p@[::1]:65535/My_d-1$", "u", "p", "[::1]:65535", "My_d-1$", "mysql://u:xxxxxx@[::1]:65535/My_d-1$"},
		{"mysql://u:%40%2F%3A%23%3F%25+%20é@DB.example.net/d", "u", "@/:#?%+ é", "db.example.net:3306", "d", "mysql://u:xxxxxx@db.example.net/d"},
		{"mysql://u:a:b;c$!*'()@h/d", "u", "a:b;c$!*'()", "h:3306", "d", "mysql://u:xxxxxx@h/d"},
		{"mysql://u%40x:p@h/d", "u@x", "p", "h:3306", "d", "mysql://u%40x:xxxxxx@h/d"},
		{"mysql://u:xxxxxx@h/d", "u", "", "h:3306", "d", "mysql://u:xxxxxx@h/d"},
		{"mysql://u:p@h/d?charset=utf8mb4&tls=true&timeout=1500ms", "u", "p", "h:3306", "d", "mysql://u:xxxxxx@h/d?tls=true&timeout=1.5s&charset=utf8mb4"},
	} {
		d := parse(t, c.uri)
		if d.User() != c.user || d.Password() != c.password || d.HasPassword() != (c.password != "") || d.Address() != c.address || d.Name() != c.name || d.String() != c.shown {
			t.Errorf("%s: %q %q %q %q %q", c.uri, d.User(), d.Password(), d.Address(), d.Name(), d.String())
		}
		again := parse(t, d.Reveal())
		if again.Reveal() != d.Reveal() || again.Password() != c.password || again.User() != c.user || again.String() != c.shown ||
			again.TLS() != d.TLS() || again.Timeout() != d.Timeout() || again.Charset() != d.Charset() {
			t.Errorf("%s does not survive a round trip", c.uri)
		}
		if announced := parse(t, c.shown); announced.HasPassword() || announced.String() != c.shown {
			t.Errorf("%s: announced location reads as %q", c.uri, announced.Reveal())
		}
	}
	d := parse(t, "mysql://u@h/d?tls=true&timeout=2s&charset=latin1")
	if !d.TLS() || d.Timeout() != 2*time.Second || d.Charset() != "latin1" {
		t.Errorf("options: %v %v %q", d.TLS(), d.Timeout(), d.Charset())
	}
	if location.DSN.String(location.DSN{}) != "" || !(location.DSN{}).IsZero() {
		t.Error("the zero value is a location")
	}
}

// canary is in every malformed URI where a password may be.
const canary = "c4n4ry"

func TestParseRefusesWithoutEchoingAnything(t *testing.T) {
	long := strings.Repeat("a", 10<<10)
	for name, uri := range map[string]string{
		"empty":                      "",
		"no scheme":                  "u:c4n4ry@h/d",
		"scheme only":                "mysql://",
		"other scheme":               "postgres://u:c4n4ry@h/d",
		"upper-case scheme":          "MYSQL://u:c4n4ry@h/d",
		"driver's own form":          "u:c4n4ry@tcp(h:3306)/d",
		"no host":                    "mysql://u:c4n4ry@/d",
		"no host but a port":         "mysql://u:c4n4ry@:3306/d",
		"no user":                    "mysql://h/d",
		"empty user":                 "mysql://@h/d",
		"empty user, password":       "mysql://:c4n4ry@h/d",
		"empty password":             "mysql://u:@h/d",
		"IPv6 without brackets":      "mysql://u:c4n4ry@::1/d",
		"IPv6 without, with port":    "mysql://u:c4n4ry@2001:db8::1:3306/d",
		"IPv6 half bracketed":        "mysql://u:c4n4ry@[::1/d",
		"IPv6 and rubbish":           "mysql://u:c4n4ry@[::1]x/d",
		"IPv6 zone":                  "mysql://u:c4n4ry@[fe80::1%25eth0]/d",
		"IPv4 in IPv6":               "mysql://u:c4n4ry@[::ffff:10.0.0.1]/d",
		"IPv4 in brackets":           "mysql://u:c4n4ry@[10.0.0.1]/d",
		"nowhere":                    "mysql://u:c4n4ry@0.0.0.0/d",
		"IPv4 above 255":             "mysql://u:c4n4ry@10.0.0.256/d",
		"unicode host":               "mysql://u:c4n4ry@dätabase/d",
		"escaped host":               "mysql://u:c4n4ry@%68/d",
		"host with underscore":       "mysql://u:c4n4ry@a_b/d",
		"host with empty label":      "mysql://u:c4n4ry@a..b/d",
		"socket":                     "mysql://u:c4n4ry@unix(/tmp/c4n4ry)/d",
		"port text":                  "mysql://u:c4n4ry@h:mysql/d",
		"port empty":                 "mysql://u:c4n4ry@h:/d",
		"port 0":                     "mysql://u:c4n4ry@h:0/d",
		"port 70000":                 "mysql://u:c4n4ry@h:70000/d",
		"port +1":                    "mysql://u:c4n4ry@h:+1/d",
		"password with @":            "mysql://u:c4n4@c4n4ry@h/d",
		"password with /":            "mysql://u:c4n4/c4n4ry@h/d",
		"password with / and port":   "mysql://u:3306/c4n4ry",
		"password with ?":            "mysql://u:c4n4?c4n4ry@h/d",
		"password with ? and option": "mysql://u:1?c4n4ry=1@h/d",
		"password with #":            "mysql://u:c4n4#c4n4ry@h/d",
		"password with %":            "mysql://u:c4n4%ry@h/d",
		"percent at the end":         "mysql://u:c4n4ry%@h/d",
		"percent junk":               "mysql://u:c4n4ry%zz@h:3306/d",
		"NUL in the password":        "mysql://u:c4n4ry%00@h/d",
		"line feed in the password":  "mysql://u:c4n4ry%0A@h/d",
		"raw line feed":              "mysql://u:c4n4ry\n@h/d",
		"password not UTF-8":         "mysql://u:c4n4ry%ff@h/d",
		"two @":                      "mysql://u@x:c4n4ry@h/d",
		"@ in the database":          "mysql://u:c4n4ry@h/d@x",
		"no database":                "mysql://u:c4n4ry@h",
		"empty database":             "mysql://u:c4n4ry@h/",
		"empty database, options":    "mysql://u:c4n4ry@h?tls=true",
		"two databases":              "mysql://u:c4n4ry@h/d/c4n4ry",
		"escaped database":           "mysql://u:c4n4ry@h/%64",
		"backtick in the database":   "mysql://u:c4n4ry@h/d`c4n4ry",
		"long database":              "mysql://u:c4n4ry@h/" + long[:65],
		"allowAllFiles":              "mysql://u:c4n4ry@h/d?allowAllFiles=true",
		"multiStatements":            "mysql://u:c4n4ry@h/d?charset=utf8&multiStatements=true",
		"skip-verify":                "mysql://u:c4n4ry@h/d?tls=skip-verify",
		"preferred":                  "mysql://u:c4n4ry@h/d?tls=preferred",
		"escaped option":             "mysql://u:c4n4ry@h/d?%74ls=true",
		"option twice":               "mysql://u:c4n4ry@h/d?tls=true&tls=false",
		"empty option":               "mysql://u:c4n4ry@h/d?tls=true&",
		"charset with a statement":   "mysql://u:c4n4ry@h/d?charset=utf8;DROP",
		"timeout without unit":       "mysql://u:c4n4ry@h/d?timeout=5",
		"negative timeout":           "mysql://u:c4n4ry@h/d?timeout=-5s",
		"timeout of a year":          "mysql://u:c4n4ry@h/d?timeout=8760h",
		"fragment":                   "mysql://u:c4n4ry@h/d#c4n4ry",
		"long user":                  "mysql://" + long[:81] + ":c4n4ry@h/d",
		"long password":              "mysql://u:c4n4ry" + long[:512] + "@h/d",
		"long host":                  "mysql://u:c4n4ry@" + long[:300] + "/d",
		"10 KB":                      "mysql://u:c4n4ry" + long + "@h/d",
	} {
		d, err := location.Parse(uri)
		if err == nil {
			t.Errorf("%s: accepted as %s", name, d.Reveal())
			continue
		}
		if !d.IsZero() || d.HasPassword() {
			t.Errorf("%s: a refused URI left something behind", name)
		}
		text := fmt.Sprintf("%v %+v %#v", err, err, err)
		if strings.Contains(text, "c4n4") || strings.Contains(text, "ry@") || len(text) > 1000 {
			t.Errorf("%s: the error echoes: %s", name, text)
		}
	}
}

func TestNoWayOfPrintingShowsThePassword(t *testing.T) {
	d := parse(t, "mysql://u:"+canary+"@h/d")
	type holder struct {
		hidden location.DSN
		Shown  *location.DSN
		List   []location.DSN
	}
	h := holder{d, &d, []location.DSN{d}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%t", "%p", "%T", "%c", "%e", "%o", "%w"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+" "+verb+"\n", d, &d, h, map[string]any{"d": d})
	}
	for _, x := range []any{d, &d, h, map[string]location.DSN{"d": d}} {
		b, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	log := zerolog.New(&out)
	log.Info().Object("o", d).EmbedObject(d).Interface("i", d).Any("a", h).Stringer("s", d).Err(fmt.Errorf("with %v", d)).Msgf("%v", d)
	hex := fmt.Sprintf("%x", canary)
	if s := out.String(); strings.Contains(s, canary) || strings.Contains(strings.ToLower(s), hex) || !strings.Contains(s, `"uri":"mysql://u:xxxxxx@h/d"`) {
		t.Errorf("%s", s)
	}
	if got := fmt.Sprintf("%s %q", d, d); got != `mysql://u:xxxxxx@h/d "mysql://u:xxxxxx@h/d"` {
		t.Error(got)
	}
	if b, err := json.Marshal(map[string]any{"d": d}); err != nil || string(b) != `{"d":"mysql://u:xxxxxx@h/d"}` {
		t.Errorf("%s, %v", b, err)
	}
}

func TestAPasswordIsGivenOnce(t *testing.T) {
	d := parse(t, "mysql://u@h/d")
	with, err := d.WithPassword(canary)
	if err != nil || with.Password() != canary || d.HasPassword() {
		t.Errorf("%v, %v", with.Reveal(), err)
	}
	if _, err := with.WithPassword("other"); err == nil {
		t.Error("a second password was accepted")
	}
	for _, p := range []string{"", "a\nb", "a\x00", strings.Repeat("x", 513), "\xff"} {
		if _, err := d.WithPassword(p); err == nil {
			t.Errorf("%q was accepted", p)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("mysql://u:p@[::1]:3306/d?tls=true&charset=utf8")
	f.Add("mysql://u%40:%2F@h.example/d?timeout=1s")
	f.Fuzz(func(t *testing.T, uri string) {
		d, err := location.Parse(uri)
		if err != nil {
			return
		}
		again, err := location.Parse(d.Reveal())
		if err != nil || again.Reveal() != d.Reveal() || again.Password() != d.Password() || again.User() != d.User() || again.String() != d.String() {
			t.Errorf("%q -> %q -> %q, %v", uri, d.Reveal(), again.Reveal(), err)
		}
		if shown, err := location.Parse(d.String()); err != nil || shown.HasPassword() {
			t.Errorf("%q is announced as %q: %v", uri, d.String(), err)
		}
	})
}

func member(node, addr string, priority int, mode location.Mode, s subjects.State) subjects.Member {
	m := subjects.Member{Node: subjects.NodeID(node), Addresses: []netip.Addr{netip.MustParseAddr(addr)}, Priority: priority, State: s, Attrs: subjects.Attrs{}}
	if mode != "" {
		m.Attrs[location.AttrMode] = string(mode)
	}
	return m
}

func TestEverybodyChoosesTheSameDatabase(t *testing.T) {
	up, drain, suspect := subjects.Up, subjects.Draining, subjects.Suspect
	original := []subjects.Member{ // the screen of 2009
		member("c", "10.0.0.132", 10, "", up), member("b", "10.0.0.131", 10, "", up), member("a", "10.0.0.99", 50, "", up),
	}
	for _, c := range []struct {
		name    string
		members []subjects.Member
		mode    location.Mode
		want    subjects.NodeID
	}{
		{"none", nil, location.ReadWrite, ""},
		{"as in the original", original, location.ReadWrite, "b"},
		{"as text", []subjects.Member{member("a", "10.0.0.9", 1, "", up), member("b", "10.0.0.10", 1, "", up)}, location.ReadWrite, "b"},
		{"same address", []subjects.Member{member("b", "10.0.0.1", 1, "", up), member("a", "10.0.0.1", 1, "", up)}, location.ReadWrite, "a"},
		{"no priority comes last", []subjects.Member{member("a", "10.0.0.1", 0, "", up), member("b", "10.0.0.2", 65535, "", up)}, location.ReadWrite, "b"},
		{"draining is passed over", []subjects.Member{member("a", "10.0.0.1", 1, "", drain), member("b", "10.0.0.2", 2, "", up)}, location.ReadWrite, "b"},
		{"only draining", []subjects.Member{member("a", "10.0.0.1", 1, "", drain)}, location.ReadWrite, ""},
		{"suspect serves", []subjects.Member{member("a", "10.0.0.1", 1, "", suspect)}, location.ReadWrite, "a"},
		{"writers pass over readers", []subjects.Member{member("a", "10.0.0.1", 1, location.ReadOnly, up), member("b", "10.0.0.2", 2, location.ReadWrite, up)}, location.ReadWrite, "b"},
		{"readers do not", []subjects.Member{member("a", "10.0.0.1", 1, location.ReadOnly, up), member("b", "10.0.0.2", 2, location.ReadWrite, up)}, location.ReadOnly, "a"},
		{"no address", []subjects.Member{{Node: "a", State: up}}, location.ReadWrite, "a"},
	} {
		got, ok := location.Choose(c.members, c.mode)
		if got.Node != c.want || ok != (c.want != "") {
			t.Errorf("%s: %q, %v", c.name, got.Node, ok)
		}
		for i, j := 0, len(c.members)-1; i < j; i, j = i+1, j-1 {
			c.members[i], c.members[j] = c.members[j], c.members[i]
		}
		if again, _ := location.Choose(c.members, c.mode); again.Node != got.Node {
			t.Errorf("%s: the order of members matters", c.name)
		}
	}
}

func TestCredentialsTravelWhole(t *testing.T) {
	d := parse(t, "mysql://u:%40%2F%26"+canary+"@h:3307/d?tls=true&charset=utf8")
	got, mode, err := location.ParseCredentials(location.EncodeCredentials(d, location.ReadOnly))
	if err != nil || mode != location.ReadOnly || got.Reveal() != d.Reveal() || got.Password() != "@/&"+canary {
		t.Errorf("%v, %v, %v", got.Reveal(), mode, err)
	}
	for _, bad := range []string{
		"", "null", "[]", `{"v":2,"uri":"mysql://u:c4n4ry@h/d","mode":"read-only"}`, `{"v":1,"uri":"mysql://u:c4n4ry@/d","mode":"read-only"}`,
		`{"v":1,"uri":"mysql://u:c4n4ry@h/d","mode":"c4n4ry"}`, `{"v":1,"uri":7,"mode":"c4n4ry"}`,
	} {
		if _, _, err := location.ParseCredentials([]byte(bad)); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// Within a cluster, a member that is suspect, or that a client cannot use, is passed
// over: the others have what was written to it. Elsewhere it is not.
func TestAnotherDatabaseOfTheCluster(t *testing.T) {
	member := func(node string, priority int, cluster string, state subjects.State) subjects.Member {
		m := subjects.Member{Node: subjects.NodeID(node), Priority: priority, State: state, Attrs: subjects.Attrs{location.AttrMode: "read-write"}}
		if cluster != "" {
			m.Attrs[location.AttrCluster] = cluster
		}
		return m
	}
	const up, suspect, draining = subjects.Up, subjects.Suspect, subjects.Draining
	for _, c := range []struct {
		what    string
		members []subjects.Member
		avoid   string
		want    string
	}{
		{"all well", []subjects.Member{member("a", 10, "c", up), member("b", 20, "c", up)}, "", "a"},
		{"the first is suspect", []subjects.Member{member("a", 10, "c", suspect), member("b", 20, "c", up)}, "", "b"},
		{"all are suspect", []subjects.Member{member("a", 10, "c", suspect), member("b", 20, "c", suspect)}, "", "a"},
		{"the first of all suspect ones cannot be used", []subjects.Member{member("a", 10, "c", suspect), member("b", 20, "c", suspect)}, "a", "b"},
		{"the first cannot be used", []subjects.Member{member("a", 10, "c", up), member("c", 30, "c", up), member("b", 20, "c", up)}, "a", "b"},
		{"two cannot be used", []subjects.Member{member("a", 10, "c", up), member("c", 30, "c", up), member("b", 20, "c", up)}, "ab", "c"},
		{"none can be used", []subjects.Member{member("a", 10, "c", up), member("b", 20, "c", up)}, "ab", "a"},
		{"the next drains", []subjects.Member{member("a", 10, "c", suspect), member("b", 20, "c", draining), member("c", 30, "c", up)}, "", "c"},
		{"no cluster, suspect", []subjects.Member{member("a", 10, "", suspect), member("b", 20, "", up)}, "", "a"},
		{"no cluster, cannot be used", []subjects.Member{member("a", 10, "", up), member("b", 20, "", up)}, "a", "a"},
		{"another cluster", []subjects.Member{member("a", 10, "c", suspect), member("b", 20, "d", up)}, "a", "a"},
	} {
		got, ok := location.ChooseWithout(c.members, location.ReadWrite, func(n subjects.NodeID) bool { return strings.Contains(c.avoid, string(n)) })
		if !ok || string(got.Node) != c.want {
			t.Errorf("%s: %s %v, want %s", c.what, got.Node, ok, c.want)
		}
	}
	if _, ok := location.ChooseWithout(nil, location.ReadWrite, func(subjects.NodeID) bool { return false }); ok {
		t.Error("one of none was chosen")
	}
}
