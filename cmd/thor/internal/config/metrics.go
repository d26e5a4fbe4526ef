package config

import (
	"reflect"
	"slices"
	"strings"

	"thor/broker"
	"thor/manager"
	"thor/overlay/setting"
)

// Broker configures the event server.
type Broker struct {
	broker.Config
	// Address of metrics and health.
	HTTP string `toml:"http" form:"listen" default:"127.0.0.1:9502" off:"yes"`
}

// Manager configures the network manager.
type Manager struct {
	manager.Config
	// Address of metrics and health.
	HTTP string `toml:"http" form:"listen" default:"127.0.0.1:9503" off:"yes"`
}

// sharedHTTP is the key of an address for the one daemon of a file.
const sharedHTTP = "network.http"

// Metrics is where the daemon of section serves metrics and health, and the key that
// says so; empty: nowhere.
func (f *File) Metrics(section string) (address, key string) {
	if f.Network.HTTP != "" {
		return f.Network.HTTP, sharedHTTP
	}
	k, ok := f.metricsKey(section)
	if !ok {
		return "", ""
	}
	return k.Value.String(), join(section, k.Name)
}

// metricsKey is the key of a section's own address of metrics and health.
func (f *File) metricsKey(section string) (setting.Key, bool) {
	present, _ := f.sections()
	s, ok := present[section]
	if !ok {
		return setting.Key{}, false
	}
	name := "http"
	if section == "node" {
		name = "metrics"
	}
	keys := setting.Keys(reflect.ValueOf(s).Elem())
	i := slices.IndexFunc(keys, func(k setting.Key) bool { return k.Name == name })
	if i < 0 {
		return setting.Key{}, false
	}
	return keys[i], true
}

// Set reports whether the file itself has key.
func (f *File) Set(key string) bool {
	_, ok := f.d.lines[key]
	return ok
}

// checkMetrics refuses an address that several daemons would share.
func (f *File) checkMetrics() {
	if f.Network.HTTP == "" {
		return
	}
	present, names := f.sections()
	var own []string // keys to use instead
	for _, name := range names {
		k, ok := f.metricsKey(name)
		if !ok {
			continue
		}
		key := join(name, k.Name)
		own = append(own, key)
		if f.Set(key) && !f.failed(key) {
			f.d.add(key, "stands beside network.http: leave one of them out")
		}
	}
	if len(present) > 1 && !f.failed(sharedHTTP) {
		f.d.add(sharedHTTP, "one address cannot serve several daemons: leave it out, or set %s", strings.Join(own, ", "))
	}
}
