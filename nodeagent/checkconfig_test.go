package nodeagent

import (
	"strings"
	"testing"
	"time"

	"thor/overlay/check"
)

func TestBadChecksAreRefused(t *testing.T) {
	ok := CheckConfig{Kind: SIP, Target: "127.0.0.1:5060"}
	with := func(f func(*CheckConfig)) CheckConfig { c := ok; f(&c); return c }
	for name, c := range map[string]CheckConfig{
		"no kind":               with(func(c *CheckConfig) { c.Kind = "" }),
		"another kind":          with(func(c *CheckConfig) { c.Kind = "ping" }),
		"no target":             with(func(c *CheckConfig) { c.Target = "" }),
		"no port":               with(func(c *CheckConfig) { c.Target = "127.0.0.1" }),
		"port 0":                with(func(c *CheckConfig) { c.Target = "127.0.0.1:0" }),
		"port 70000":            with(func(c *CheckConfig) { c.Target = "127.0.0.1:70000" }),
		"no host":               with(func(c *CheckConfig) { c.Target = ":5060" }),
		"IPv6 without brackets": with(func(c *CheckConfig) { c.Target = "::1:5060" }),
		"transport":             with(func(c *CheckConfig) { c.Transport = "sctp" }),
		"transport of tcp":      with(func(c *CheckConfig) { c.Kind, c.Transport = TCP, "tls" }),
		"expect 99":             with(func(c *CheckConfig) { c.Expect = []int{99} }),
		"expect of tcp":         with(func(c *CheckConfig) { c.Kind, c.Expect = TCP, []int{200} }),
		"180 of OPTIONS":        with(func(c *CheckConfig) { c.Expect = []int{180} }),
		"from 180 of OPTIONS":   with(func(c *CheckConfig) { c.ExpectMin = 180 }),
		"codes upside down":     with(func(c *CheckConfig) { c.ExpectMin, c.ExpectMax = 500, 400 }),
		"greatest code 700":     with(func(c *CheckConfig) { c.ExpectMax = 700 }),
		"range of tcp":          with(func(c *CheckConfig) { c.Kind, c.ExpectMax = TCP, 299 }),
		"account of OPTIONS":    with(func(c *CheckConfig) { c.Account = "probe@example.net" }),
		"password of OPTIONS":   with(func(c *CheckConfig) { c.PasswordFile = "/x" }),
		"register of nobody":    with(func(c *CheckConfig) { c.Kind = Register }),
		"register of a URI":     with(func(c *CheckConfig) { c.Kind, c.Account = Register, "sip:probe@example.net" }),
		"register with callee":  with(func(c *CheckConfig) { c.Kind, c.Account, c.Callee = Register, "a@b", "c@d" }),
		"a name, no password":   with(func(c *CheckConfig) { c.Kind, c.Account, c.AuthUser = Register, "a@b", "x" }),
		"asterisk, no user":     {Kind: Asterisk, Target: "http://127.0.0.1:8088/ari"},
		"asterisk, no password": {Kind: Asterisk, Target: "http://127.0.0.1:8088/ari", AuthUser: "thor"},
		"asterisk in the clear": {Kind: Asterisk, Target: "http://192.0.2.1:8088/ari", AuthUser: "thor", PasswordFile: "/x"},
		"asterisk, odd module":  {Kind: Asterisk, Target: "http://127.0.0.1:8088/ari", AuthUser: "thor", PasswordFile: "/x", Modules: []string{"../ping"}},
		"modules of OPTIONS":    with(func(c *CheckConfig) { c.Modules = []string{"app_voicemail.so"} }),
		"full of OPTIONS":       with(func(c *CheckConfig) { c.Full = 1 }),
		"weigh of OPTIONS":      with(func(c *CheckConfig) { c.Weigh = true }),
		"program that reports":  {Kind: Program, ReportOnly: true},
		"call of nobody":        with(func(c *CheckConfig) { c.Kind, c.Account = Call, "a@b" }),
		"interval 99ms":         with(func(c *CheckConfig) { c.Interval = 99 * time.Millisecond }),
		"negative interval":     with(func(c *CheckConfig) { c.Interval = -time.Second }),
		"timeout over interval": with(func(c *CheckConfig) { c.Timeout = 3 * time.Second }),
		"negative timeout":      with(func(c *CheckConfig) { c.Timeout = -1 }),
		"negative rise":         with(func(c *CheckConfig) { c.Rise = -1 }),
		"fall 101":              with(func(c *CheckConfig) { c.Fall = 101 }),
		"target and command":    with(func(c *CheckConfig) { c.Command = []string{"/bin/true"} }),
		"command and target":    with(func(c *CheckConfig) { c.Kind, c.Command = Command, []string{"/bin/true"} }),
		"relative command":      {Kind: Command, Command: []string{"true"}},
		"no command":            {Kind: Command},
		"url of ftp":            {Kind: HTTP, Target: "ftp://127.0.0.1/"},
		"url without host":      {Kind: HTTP, Target: "http:///x"},
		"url with a user":       {Kind: HTTP, Target: "http://u:secret@127.0.0.1/"},
		"not a url":             {Kind: HTTP, Target: "http://[::1/"},
	} {
		_, err := newAgent(Config{Roles: []RoleConfig{{Role: "sip_proxy", Checks: []CheckConfig{ok, c}}}}, newFakeNet(), (*CheckConfig).prober)
		if err == nil || !strings.HasPrefix(err.Error(), "nodeagent: role sip_proxy: check 2: ") {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password", name)
		}
	}
	if c := (CheckConfig{Kind: SIP, Timing: check.Timing{Interval: 300 * time.Millisecond}}).withDefaults(); c.Timeout != c.Interval || c.Rise != 2 || c.Fall != 2 || c.Transport != "udp" {
		t.Errorf("defaults: %+v", c)
	}
	if c := (CheckConfig{Kind: Call}).withDefaults(); c.Interval != 30*time.Second || c.Timeout != 5*time.Second || c.Transport != "udp" {
		t.Errorf("defaults of a call: %+v", c)
	}
}

func TestCodesAreNamedOneByOneAndByARange(t *testing.T) {
	for _, c := range []struct {
		cfg      CheckConfig
		yes, no  []int
		isNaming bool
	}{
		{CheckConfig{Expect: []int{200, 404}}, []int{200, 404}, []int{201, 403}, true},
		{CheckConfig{ExpectMin: 200, ExpectMax: 299}, []int{200, 299}, []int{300, 404}, true},
		{CheckConfig{ExpectMax: 499}, []int{200, 499}, []int{500}, true},
		{CheckConfig{ExpectMin: 400}, []int{400, 699}, []int{399}, true},
		{CheckConfig{Expect: []int{503}, ExpectMin: 200, ExpectMax: 299}, []int{200, 503}, []int{404}, true},
		{CheckConfig{}, nil, []int{200}, false},
	} {
		c.cfg.Kind, c.cfg.Target = SIP, "127.0.0.1:5060"
		cfg := c.cfg.withDefaults()
		if fs := cfg.faults(); len(fs) > 0 || cfg.namesCodes() != c.isNaming {
			t.Errorf("%+v: %v", c.cfg, fs)
		}
		for _, code := range c.yes {
			if !cfg.accepts(code) {
				t.Errorf("%+v: %d is not accepted", c.cfg, code)
			}
		}
		for _, code := range c.no {
			if cfg.accepts(code) {
				t.Errorf("%+v: %d is accepted", c.cfg, code)
			}
		}
	}
}
