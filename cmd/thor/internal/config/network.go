package config

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"thor/identity"
	"thor/overlay"
	"thor/overlay/audit"
	"thor/overlay/setting"
	"thor/subjects"
)

// Network is what every daemon needs to join.
type Network struct {
	// Name of the network: the O of its certificates.
	Domain string `toml:"domain" form:"domain" required:"yes" env:"THOR_DOMAIN"`
	overlay.Config
	identity.Files
	// Address of metrics and health of a daemon that has the file for itself. In a file with the
	// sections of several daemons each section has its own.
	HTTP string `toml:"http" form:"listen" default:"(that of the daemon's section)"`
}

// Log says what is logged, to standard error, and where audit entries go.
type Log struct {
	// Least level that is logged.
	Level string `toml:"level" oneof:"debug info warn error" default:"info" reload:"yes"`
	// Form of a log line; auto is console on a terminal, else json.
	Format string `toml:"format" oneof:"auto json console" default:"auto"`
	audit.Config
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
	f.fill()
	f.check()
	f.requireBrokers()
	own, _ := f.d.problems.Of("network")
	if own = slices.DeleteFunc(own, func(p Problem) bool { return p.Key == "" }); len(own) > 0 {
		return nil, own.Sorted()
	}
	return &f.Network, nil
}

// environment lets the variables that tags name override the file.
func (f *File) environment() {
	setting.Walk(f, func(k setting.Key) {
		v := os.Getenv(k.Tag("env"))
		switch {
		case v == "" || k.Elem:
		case k.Value.Kind() == reflect.String:
			k.Value.SetString(v)
		default:
			k.Value.Set(reflect.ValueOf(strings.Split(v, ",")))
		}
	})
}

// checkBrokers looks at what a client of the brokers dials.
func (f *File) checkBrokers() {
	present, _ := f.sections()
	delete(present, "broker")
	if len(present) > 0 {
		f.requireBrokers()
	}
	brokers := f.Network.Brokers
	for i, b := range brokers {
		key := fmt.Sprintf("network.brokers[%d]", i)
		if d, ok := strings.CutPrefix(b, "srv:"); ok {
			if len(brokers) > 1 || !subjects.IsHostName(d) {
				f.d.add(key, "srv:DOMAIN stands alone and names a domain")
			}
			continue
		}
		f.checkURL(key, b)
	}
}

func (f *File) requireBrokers() {
	if len(f.Network.Brokers) == 0 && !f.failed("network.brokers") {
		f.d.add("network.brokers", "is missing: list the brokers like [\"tls://192.0.2.1:4222\"]")
	}
}
