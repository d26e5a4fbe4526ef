package setting_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/overlay/setting"
	"thor/subjects"
)

type timing struct {
	Interval time.Duration `toml:"interval" default:"2s" range:"100ms.." why:"a reason"`
	Timeout  time.Duration `toml:"timeout" default:"1s" range:"..Interval"`
}

type limits struct {
	Most int `toml:"most" default:"20" range:"1.."`
	Each int `toml:"each" default:"10" range:"1..Most"`
}

type sample struct {
	timing
	Limits limits `toml:"limits"`
	Extra  struct {
		TTL time.Duration `toml:"ttl" default:"10s" range:"1s..1h" whole:"seconds"`
	} `toml:",inline"`
	Port    uint16                `toml:"port" range:"1..65535"`
	Mode    string                `toml:"mode" oneof:"a b c" default:"b"`
	Deny    bool                  `toml:"allow,not"`
	Listen  string                `toml:"listen" default:"127.0.0.1:1" off:"yes"`
	Socket  string                `toml:"socket" default:"$SOCKET" off:"yes"`
	Roles   []subjects.Role       `toml:"roles" default:"x y"`
	Bits    map[subjects.Role]int `toml:"bits" range:"1..8"`
	Entries []timing              `toml:"entry"`
	Also    *limits               `toml:"also" default:"(none)"`
	Hidden  int                   `default:"7"`
	Plain   string
}

func TestZeroMeansTheDefault(t *testing.T) {
	s := sample{Also: &limits{Most: 5}, Entries: make([]timing, 1)}
	s.Interval = 500 * time.Millisecond
	setting.Fill(&s)
	want := sample{
		Limits: limits{20, 10}, Mode: "b", Roles: []subjects.Role{"x", "y"}, Hidden: 7, Entries: make([]timing, 1),
		Also: &limits{5, 5}, // a default is not above a bound
	}
	want.timing = timing{500 * time.Millisecond, 500 * time.Millisecond}
	want.Extra.TTL = 10 * time.Second
	if !reflect.DeepEqual(s, want) {
		t.Errorf("%+v, want %+v", s, want)
	}
	setting.Preset(reflect.ValueOf(&s).Elem())
	if s.Listen != "127.0.0.1:1" || s.Socket != "" {
		t.Errorf("preset: %q, %q", s.Listen, s.Socket)
	}
}

func TestAnEntryTakesWhatItLeavesOpen(t *testing.T) {
	e, from := timing{Interval: time.Second}, timing{Interval: 4 * time.Second, Timeout: 3 * time.Second}
	setting.FillFrom(&e, &from)
	if e != (timing{time.Second, time.Second}) {
		t.Errorf("%+v", e)
	}
	e = timing{}
	setting.FillFrom(&e, &from)
	if e != from {
		t.Errorf("%+v", e)
	}
}

func TestKeysAreThoseOfTheFile(t *testing.T) {
	var names []string
	for _, k := range setting.Keys(reflect.ValueOf(&sample{}).Elem()) {
		if k.InFile() {
			names = append(names, k.Name)
		}
	}
	want := "interval timeout limits ttl port mode allow listen socket roles bits entry also"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestCheckTellsWhatTheTagsForbid(t *testing.T) {
	for want, edit := range map[string]func(*sample){
		"": func(*sample) {},
		"interval: 50ms is shorter than 100ms: a reason":                         func(s *sample) { s.Interval, s.Timeout = 50*time.Millisecond, 1 },
		"timeout: 3s is longer than the interval of 2s":                          func(s *sample) { s.Timeout = 3 * time.Second },
		"limits.most: -1 is less than 1":                                         func(s *sample) { s.Limits.Most = -1 },
		"limits.each: 21 is more than most (20)":                                 func(s *sample) { s.Limits.Each = 21 },
		"also.each: 3 is more than most (2)":                                     func(s *sample) { s.Also = &limits{2, 3} },
		"ttl: 1.5s is not a whole number of seconds from 1s to 1h":               func(s *sample) { s.Extra.TTL = 1500 * time.Millisecond },
		"ttl: 1h30m is not a whole number of seconds from 1s to 1h":              func(s *sample) { s.Extra.TTL = 90 * time.Minute },
		`mode: "d" is not a, b or c`:                                             func(s *sample) { s.Mode = "d" },
		"bits.x: 0 is not 1 to 8":                                                func(s *sample) { s.Bits = map[subjects.Role]int{"x": 0, "y": 8} },
		"entry[1].interval: 1ms is shorter than 100ms: a reason":                 func(s *sample) { s.Entries = []timing{{}, {Interval: time.Millisecond}} },
		`roles[0]: not a role name: "" must be 1 to 63 characters`:               func(s *sample) { s.Roles = []subjects.Role{""} },
		`bits.B: not a role name: "B" may hold a-z, 0-9 and _ only and starts w`: func(s *sample) { s.Bits = map[subjects.Role]int{"B": 1} },
	} {
		var s sample
		edit(&s)
		setting.Fill(&s)
		err := setting.Join("p", setting.Check(&s))
		switch {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (err == nil || !strings.HasPrefix(err.Error(), "p: "+want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestDefaultsInWords(t *testing.T) {
	got := make(map[string][2]string)
	for _, k := range setting.Keys(reflect.ValueOf(&sample{}).Elem()) {
		constant, words := k.Default()
		got[k.Name] = [2]string{constant, words}
	}
	for name, want := range map[string][2]string{"allow": {"true", ""}, "also": {"", "none"}, "port": {"", ""}, "timeout": {"1s", ""}} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
}

func TestWalkVisitsElements(t *testing.T) {
	s := sample{Roles: []subjects.Role{"a"}, Bits: map[subjects.Role]int{"z": 1, "b": 2}, Entries: make([]timing, 1)}
	var paths []string
	setting.Walk(&s, func(k setting.Key) { paths = append(paths, k.Path) })
	for _, want := range []string{"interval", "limits.each", "roles", "roles[0]", "bits.b", "bits.z", "entry[0].timeout"} {
		if !slices.Contains(paths, want) {
			t.Errorf("no %s in %q", want, paths)
		}
	}
}

// A number out of bounds cannot be held by a small type: the decoder asks before.
func TestOutOfBounds(t *testing.T) {
	for _, k := range setting.Keys(reflect.ValueOf(&sample{}).Elem()) {
		if k.Name == "port" && (k.OutOfBounds(70000) != "70000 is not 1 to 65535" || k.OutOfBounds(1) != "") {
			t.Errorf("%q, %q", k.OutOfBounds(70000), k.OutOfBounds(1))
		}
	}
}

func TestFilesWithSecretsAreFound(t *testing.T) {
	type inner struct {
		Key string `toml:"key" form:"file" secret:"yes"`
	}
	s := struct {
		Password string  `toml:"password_file" form:"file" secret:"yes"`
		Empty    string  `toml:"token_file" form:"file" secret:"yes"`
		Other    string  `toml:"ca" form:"file"`
		List     []inner `toml:"list"`
	}{Password: "p", Other: "ca", List: []inner{{"k1"}, {"k2"}}}
	if got := setting.SecretFiles(&s); !slices.Equal(got, []string{"p", "k1", "k2"}) {
		t.Errorf("%v", got)
	}
}
