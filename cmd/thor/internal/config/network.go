package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Network is what every daemon needs to join.
type Network struct {
	Domain      string   `toml:"domain"`      // of the network; must be the certificate's O
	Brokers     []string `toml:"brokers"`     // "tls://HOST:PORT", or one "srv:DOMAIN"
	Certificate string   `toml:"certificate"` // PEM file
	Key         string   `toml:"key"`         // PEM file, readable by its owner only
	CA          string   `toml:"ca"`          // PEM file; several during a CA rotation
	State       string   `toml:"state"`       // directory of this daemon alone
	HTTP        string   `toml:"http"`        // host:port of metrics and health; empty is off
}

// Log says what is logged, to standard error, and where audit entries go.
type Log struct {
	Level  string `toml:"level" reload:"yes"` // debug, info (default), warn, error
	Format string `toml:"format"`             // auto (default: console on a terminal), json, console
	Audit  string `toml:"audit"`              // file; empty (default): the journal under systemd, standard error elsewhere
}

// Reach reads [network] alone, for a program that is no daemon: mistakes in
// other sections are not its concern. environment lets THOR_* override the file.
func Reach(path string, environment bool) (*Network, error) {
	f, problems := parse(path)
	if f == nil {
		return nil, problems
	}
	if environment {
		f.environment()
	}
	f.checkNetwork()
	if len(f.Network.Brokers) == 0 && !f.failed("network.brokers") {
		f.d.add("network.brokers", "is missing: list the brokers like [\"tls://192.0.2.1:4222\"]")
	}
	if own, _ := f.d.problems.Of("network"); len(own) > 0 {
		return nil, own.Sorted()
	}
	n := &f.Network
	for _, p := range []*string{&n.Certificate, &n.Key, &n.CA, &n.State} {
		f.abs(p)
	}
	return n, nil
}

// environment lets THOR_* override [network].
func (f *File) environment() {
	n := &f.Network
	for env, dst := range map[string]*string{
		"THOR_DOMAIN": &n.Domain, "THOR_CERT": &n.Certificate, "THOR_KEY": &n.Key, "THOR_CA": &n.CA, "THOR_STATE": &n.State,
	} {
		if v := os.Getenv(env); v != "" {
			*dst = v
		}
	}
	if v := os.Getenv("THOR_BROKERS"); v != "" {
		n.Brokers = strings.Split(v, ",")
	}
}

func (f *File) checkNetwork() {
	n := &f.Network
	if f.require("network.domain", n.Domain) && !isDomain(n.Domain) {
		f.d.add("network.domain", "%q is not a domain name", n.Domain)
	}
	f.require("network.certificate", n.Certificate)
	f.require("network.key", n.Key)
	f.require("network.ca", n.CA)
	f.require("network.state", n.State)
	if len(n.Brokers) == 0 && f.needsBrokers() && !f.failed("network.brokers") {
		f.d.add("network.brokers", "is missing: list the brokers like [\"tls://192.0.2.1:4222\"]")
	}
	for i, b := range n.Brokers {
		key := fmt.Sprintf("network.brokers[%d]", i)
		if d, ok := strings.CutPrefix(b, "srv:"); ok {
			if len(n.Brokers) > 1 || !isDomain(d) {
				f.d.add(key, "srv:DOMAIN stands alone and names a domain")
			}
			continue
		}
		f.checkURL(key, b)
	}
	if n.HTTP != "" {
		f.hostPort("network.http", n.HTTP)
	}
}

// needsBrokers reports whether a daemon of the file is a client of the brokers.
func (f *File) needsBrokers() bool {
	present, _ := f.sections()
	delete(present, "broker")
	return len(present) > 0
}

func (f *File) checkLog() {
	if !slices.Contains([]string{"", "debug", "info", "warn", "error"}, f.Log.Level) {
		f.d.add("log.level", "%q is not debug, info, warn or error", f.Log.Level)
	}
	if !slices.Contains([]string{"", "auto", "json", "console"}, f.Log.Format) {
		f.d.add("log.format", "%q is not auto, json or console", f.Log.Format)
	}
}
