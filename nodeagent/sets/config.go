package sets

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"thor/overlay/setting"
	"thor/subjects"
)

// A Config says which sets of a Kamailio or an OpenSIPS are kept, and in which files.
type Config struct {
	// File with the groups of Kamailio's module dispatcher, its list_file.
	DispatcherFile string `toml:"dispatcher_file" form:"file" default:"(none)"`
	// Groups of dispatcher_file.
	Dispatcher []Dispatcher `toml:"dispatcher" default:"(none)"`
	// Directory of the db_text database that is the db_url of Kamailio's module rtpengine.
	RTPEngineDir string `toml:"rtpengine_dir" form:"directory" default:"(none)"`
	// Sets in rtpengine_dir.
	RTPEngine []RTPEngine `toml:"rtpengine" default:"(none)"`
	// File with the groups of addresses of Kamailio's module permissions, its address_file.
	TrustedFile string `toml:"trusted_file" form:"file" default:"(none)"`
	// Directory of the db_text database of the role's OpenSIPS, which takes the place of the files above: the
	// db_url of its modules dispatcher, rtpengine and permissions.
	DatabaseDir string `toml:"database_dir" form:"directory" default:"(none)"`
	// Groups of addresses in trusted_file.
	Trusted []Trusted `toml:"trusted" default:"(none)"`
}

// A Dispatcher is one group of destinations.
type Dispatcher struct {
	// Role whose members are the destinations.
	Members subjects.Role `toml:"members" required:"yes"`
	// Number of the group.
	Group int `toml:"group" unit:"id" range:"1..2147483647" default:"1"`
	// Transport to the destinations.
	Transport string `toml:"transport" oneof:"udp tcp tls" default:"udp"`
	Endpoint
}

// An RTPEngine is one set of relays.
type RTPEngine struct {
	// Role whose members are the relays.
	Members subjects.Role `toml:"members" default:"media_relay"`
	// Number of the set.
	Set int `toml:"set" unit:"id" range:"0..1073741823" default:"0"`
	// Give each relay a set of its own too, so that a script can send a call to the relay that
	// has it. The agent tells the number (GET /call). Relays that drain stay enabled there.
	Each bool `toml:"each" default:"false"`
	Endpoint
}

// A Trusted is one group of addresses.
type Trusted struct {
	// Role whose members' addresses are in the group, all of each.
	Members subjects.Role `toml:"members" required:"yes"`
	// Number of the group.
	Group int `toml:"group" unit:"id" range:"1..2147483647" default:"1"`
}

// An Endpoint is where a member serves.
type Endpoint struct {
	// Port of members that do not announce one.
	Port int `toml:"port" unit:"port" range:"1..65535" default:"(of SIP 5060, with tls 5061; of rtpengine 2223)"`
	// Attribute by which a member announces its port.
	PortAttr string `toml:"port_attribute" default:"port"`
	// Which address of a member is used: the first one, or the first one of IPv4 or of IPv6.
	Address string `toml:"address" oneof:"first ipv4 ipv6" default:"first"`
}

// Ports of members that announce none.
const (
	sipPort       = 5060
	sipsPort      = 5061
	rtpenginePort = 2223
)

// A File is one that is written, with the key that names it or its directory.
type File struct{ Key, Path string }

// Files are those that are written for c.
func (c *Config) Files() (out []File) {
	keys := map[Kind]string{KindDispatcher: "dispatcher_file", KindRTPEngine: "rtpengine_dir", KindTrusted: "trusted_file"}
	for _, t := range c.Tables() {
		key := keys[t.Kind]
		if c.DatabaseDir != "" {
			key = "database_dir"
		}
		for _, p := range append(slices.Sorted(maps.Keys(t.Beside)), t.File) {
			if f := (File{key, filepath.Clean(p)}); !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out
}

// Fill sets what is left open to its default, in lists too.
func (c *Config) Fill() {
	for i := range c.Dispatcher {
		d := &c.Dispatcher[i]
		setting.Fill(d)
		if d.Port == 0 && d.Transport == "tls" {
			d.Port = sipsPort
		} else if d.Port == 0 {
			d.Port = sipPort
		}
	}
	for i := range c.RTPEngine {
		r := &c.RTPEngine[i]
		setting.Fill(r)
		if r.Port == 0 {
			r.Port = rtpenginePort
		}
	}
	for i := range c.Trusted {
		setting.Fill(&c.Trusted[i])
	}
}

// Validate lists what is wrong with c, after Fill, beside what the tags forbid.
func (c *Config) Validate() (ps []setting.Problem) {
	list := func(name, fileKey, file, number string, numbers []int) {
		switch {
		case c.DatabaseDir != "" && file != "":
			ps = append(ps, setting.Problem{Key: fileKey, Text: "is for Kamailio, and database_dir for OpenSIPS"})
		case c.DatabaseDir != "":
		case len(numbers) > 0 && file == "":
			ps = append(ps, setting.Problem{Key: fileKey, Text: fmt.Sprintf("is missing: %s has sets", name)})
		case len(numbers) == 0 && file != "":
			ps = append(ps, setting.Problem{Key: fileKey, Text: fmt.Sprintf("has no sets: add [[…sets.%s]]", name)})
		}
		seen := make(map[int]bool)
		for i, n := range numbers {
			if seen[n] {
				ps = append(ps, setting.Problem{Key: fmt.Sprintf("%s[%d].%s", name, i, number), Text: fmt.Sprintf("%d is there twice", n)})
			}
			seen[n] = true
		}
	}
	var dispatcher, rtpengine, trusted []int
	for _, d := range c.Dispatcher {
		dispatcher = append(dispatcher, d.Group)
	}
	for _, r := range c.RTPEngine {
		rtpengine = append(rtpengine, r.Set)
	}
	for _, t := range c.Trusted {
		trusted = append(trusted, t.Group)
	}
	list("dispatcher", "dispatcher_file", c.DispatcherFile, "group", dispatcher)
	list("rtpengine", "rtpengine_dir", c.RTPEngineDir, "set", rtpengine)
	list("trusted", "trusted_file", c.TrustedFile, "group", trusted)
	if c.DatabaseDir != "" && len(dispatcher)+len(rtpengine)+len(trusted) == 0 {
		ps = append(ps, setting.Problem{Key: "database_dir", Text: "has no sets: add [[…sets.dispatcher]], [[…sets.rtpengine]] or [[…sets.trusted]]"})
	}
	return ps
}
