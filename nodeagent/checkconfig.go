package nodeagent

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"thor/nodeagent/asterisk"
	"thor/nodeagent/sipprobe"
	"thor/overlay/setting"
)

// Timing of test calls that the configuration leaves open: each makes a telephone ring.
const (
	callInterval = 30 * time.Second
	callTimeout  = 5 * time.Second
)

// Fill sets what is left open to its default.
func (c *CheckConfig) Fill() {
	if c.speaksSIP() && c.Transport == "" {
		c.Transport = "udp"
	}
	if c.Kind == Call && c.Interval == 0 {
		c.Interval = callInterval
	}
	if c.Kind == Call && c.Timeout == 0 {
		c.Timeout = min(callTimeout, c.Interval)
	}
	switch {
	case c.ExpectMin != 0 && c.ExpectMax == 0:
		c.ExpectMax = 699
	case c.ExpectMax != 0 && c.ExpectMin == 0:
		c.ExpectMin = 200
	}
	setting.Fill(c)
}

func (c CheckConfig) withDefaults() CheckConfig {
	c.Fill()
	return c
}

func (c *CheckConfig) speaksSIP() bool { return c.Kind == SIP || c.Kind == Register || c.Kind == Call }

// namesCodes reports whether c says which status codes count as alive.
func (c *CheckConfig) namesCodes() bool { return len(c.Expect) > 0 || c.ExpectMax != 0 }

// accepts reports whether a status code is one of those that c names.
func (c *CheckConfig) accepts(code int) bool {
	return slices.Contains(c.Expect, code) || c.ExpectMax != 0 && code >= c.ExpectMin && code <= c.ExpectMax
}

// faults are what is wrong with c, after Fill.
func (c *CheckConfig) faults() []setting.Problem {
	ps := setting.Check(c)
	fail := func(key, format string, args ...any) {
		ps = append(ps, setting.Problem{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if c.Kind == "" {
		fail("kind", "is missing")
	}
	if slices.ContainsFunc(ps, func(p setting.Problem) bool { return p.Key == "kind" }) {
		return ps
	}
	if !c.speaksSIP() && c.Transport != "" {
		fail("transport", "%q: sip, register and call have udp, tcp and tls, the other kinds have none", c.Transport)
	}
	if c.Full != 0 && !slices.Contains([]Kind{RTPEngine, Kamailio, OpenSIPS, Asterisk}, c.Kind) {
		fail("full", "is for rtpengine, kamailio, opensips and asterisk only")
	}
	if c.Weigh && c.Kind != Command {
		fail("weigh", "is for command only")
	}
	if c.ReportOnly && c.Kind == Program {
		fail("report_only", "is not for program: the connection of the program is the member")
	}
	c.codeFaults(fail)
	c.accountFaults(fail)
	switch {
	case c.Kind == Program && (c.Target != "" || len(c.Command) > 0):
		fail("kind", "program has neither target nor command: the program comes by itself")
	case c.Kind == Program:
	case c.Kind == Command && (len(c.Command) == 0 || !filepath.IsAbs(c.Command[0])):
		fail("command", "is a list that begins with an absolute path")
	case c.Kind == Command && c.Target != "":
		fail("target", "is not for a command")
	case c.Kind == Command:
	case len(c.Command) > 0:
		fail("command", "is for the kind command only")
	case c.Target == "":
		fail("target", "is missing")
	default:
		if err := c.checkTarget(); err != nil {
			fail("target", "%v", err)
		}
	}
	return ps
}

type failFunc = func(key, format string, args ...any)

// codeFaults are about the status codes.
func (c *CheckConfig) codeFaults(fail failFunc) {
	keys := map[string]bool{"expect": len(c.Expect) > 0, "expect_max": c.ExpectMax != 0}
	for _, key := range []string{"expect", "expect_max"} {
		if keys[key] && !c.speaksSIP() && c.Kind != HTTP {
			fail(key, "is for sip, register, call and http only")
		}
	}
	if c.Kind == Call {
		return
	}
	const final = 200
	if i := slices.IndexFunc(c.Expect, func(code int) bool { return code >= 180 && code < final }); i >= 0 {
		fail(fmt.Sprintf("expect[%d]", i), "%d is not final, which only call can expect", c.Expect[i])
	}
	if c.ExpectMin >= 180 && c.ExpectMin < final {
		fail("expect_min", "%d is not final, which only call can expect", c.ExpectMin)
	}
}

// accountFaults are about the test account.
func (c *CheckConfig) accountFaults(fail failFunc) {
	for _, k := range []struct {
		key, value string
		needed     bool
		wanted     bool
	}{
		{"account", c.Account, c.Kind == Register || c.Kind == Call, true},
		{"callee", c.Callee, c.Kind == Call, true},
		{"auth_user", c.AuthUser, c.Kind == Register || c.Kind == Call || c.Kind == Asterisk, false},
		{"password_file", c.PasswordFile, c.Kind == Register || c.Kind == Call || c.Kind == Asterisk, false},
	} {
		switch {
		case k.value == "" && k.needed && k.wanted:
			fail(k.key, "is missing: USER@DOMAIN")
		case k.value != "" && !k.needed:
			fail(k.key, "is not for the kind %s", c.Kind)
		case k.value != "" && k.wanted:
			if _, err := sipprobe.ParseAccount(k.value); err != nil {
				fail(k.key, "%v", err)
			}
		}
	}
	if c.AuthUser != "" && c.PasswordFile == "" {
		fail("auth_user", "needs password_file")
	}
	if c.Kind == Asterisk && c.AuthUser == "" {
		fail("auth_user", "is missing: the user of ARI, in ari.conf")
	}
	for i, m := range c.Modules {
		switch {
		case c.Kind != Asterisk:
			fail("modules", "is for asterisk only")
			return
		case m == "" || strings.Trim(m, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != "" || m[0] == '.':
			fail(fmt.Sprintf("modules[%d]", i), "%q is no module's name, such as \"app_voicemail.so\"", m)
		}
	}
}

func (c *CheckConfig) checkTarget() error {
	if c.Kind == Asterisk {
		return asterisk.CheckURL(c.Target)
	}
	if c.Kind == HTTP || c.Kind == Kamailio || c.Kind == OpenSIPS {
		u, err := url.Parse(c.Target)
		switch {
		case err == nil && u.User != nil:
			return errors.New("holds a user: give the service a page that needs none")
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
			return fmt.Errorf("%q is not a URL like \"http://127.0.0.1:8080/health\"", c.Target)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(c.Target)
	if err != nil || host == "" {
		return fmt.Errorf("%q is not host:port", c.Target)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %q is not 1 to 65535", port)
	}
	return nil
}

// tlsConfig is for a service at host.
func (c *CheckConfig) tlsConfig(host string) *tls.Config {
	t := &tls.Config{
		RootCAs: c.Roots, ServerName: c.ServerName, InsecureSkipVerify: c.Roots == nil,
		ClientSessionCache: tls.NewLRUClientSessionCache(1), // spares both sides most of a handshake
	}
	if t.ServerName == "" {
		t.ServerName = host
	}
	return t
}

// hostOf is the host of a target.
func hostOf(target string) string {
	host, _, _ := net.SplitHostPort(target) // Validate has seen it
	return host
}
