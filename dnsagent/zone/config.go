package zone

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"thor/overlay/setting"
	"thor/subjects"
)

// Sizes of answers.
const (
	MaxSlice = 8 // PJSIP reads 8 addresses of a name and 8 SRV targets
	MaxNS    = 8
)

// A Config shapes the zone of one network. All name servers of a network hold
// the same one, which they compare by Digest. The tags say what zero means, see
// package setting.
type Config struct {
	Domain string // apex of the zone and name of the network, such as "sipthor.net"
	// Absolute host names of the name servers, at most 8.
	NameServers []string `toml:"ns" reload:"yes" default:"(the hosts of the members of thor_dnsmanager)"`
	// Absolute host name for the SOA record's MNAME.
	Primary string `toml:"primary" reload:"yes" default:"(the first name server)"`
	// Mail address for the SOA record's RNAME.
	Contact string `toml:"contact" reload:"yes" default:"(hostmaster@ and the domain)"`
	// Services that have names in the zone. An entry takes the place of the default
	// services of its role.
	//
	// nil: those of DefaultConfig; empty but not nil: none.
	Services []Service `toml:"service" reload:"yes" default:"(those of the SIP Thor description: deploy/examples/zone.toml)"`
	// Records of one answer from a role: with 4, an SRV answer and its addresses stay under 512 bytes.
	Slice int `toml:"slice" reload:"yes" unit:"members" default:"4" range:"1..8" why:"SIP clients read no more"`
	// Records of one answer from a single role.
	Slices map[subjects.Role]int `toml:"slices" reload:"yes" unit:"members" range:"1..8" default:"(slice)"`
	// Which members answers of a role have, by who asks.
	Preferences []Preference `toml:"preference" reload:"yes" default:"(none)" json:",omitempty"`
	// Site of the askers of each network, by its prefix, such as "192.0.2.0/24" = "ams". The longest
	// prefix counts.
	Sites  map[string]subjects.Site `toml:"sites" reload:"yes" default:"(that of the name server, for all)" json:",omitempty"`
	TTL    TTLs                     `toml:",inline"`
	Timers Timers                   `toml:",inline"`
	// Further records, one zone file line each. Relative names are below the domain.
	Static []string `toml:"static" reload:"yes" default:"(none)"`
	// Records are those of the provisioning servers, one zone file line each, at most
	// records.Max. They hide nothing: one whose name the rest of the zone has is left out,
	// and so is one that cannot be served.
	Records []string `json:",omitempty"`
}

// TTLs are times to live, of at least one second: resolvers do not cache a TTL
// of 0, nor do they then balance.
type TTLs struct {
	// TTL of the SRV, A and AAAA records of roles: how long a resolver uses one answer, and a dead member in it.
	Role time.Duration `toml:"ttl" reload:"yes" default:"10s" range:"1s..1h" whole:"seconds"`
	// TTL of the A and AAAA records of nodes.
	Host time.Duration `toml:"ttl_host" reload:"yes" default:"60s" range:"1s..24h" whole:"seconds"`
	// TTL of NAPTR records.
	NAPTR time.Duration `toml:"ttl_naptr" reload:"yes" default:"5m" range:"1s..24h" whole:"seconds"`
	// TTL of NS records.
	NS time.Duration `toml:"ttl_ns" reload:"yes" default:"1h" range:"1s..168h" whole:"seconds"`
	// TTL of the SOA record.
	SOA time.Duration `toml:"ttl_soa" reload:"yes" default:"1h" range:"1s..168h" whole:"seconds"`
	// TTL of static records that name none.
	Static time.Duration `toml:"ttl_static" reload:"yes" default:"5m" range:"1s..168h" whole:"seconds"`
	// MINIMUM of the SOA record: how long a resolver keeps the answer that a name does not exist.
	Negative time.Duration `toml:"ttl_negative" reload:"yes" default:"10s" range:"1s..24h" whole:"seconds"`
}

// Timers are those of the SOA for secondary servers.
type Timers struct {
	// REFRESH of the SOA record, for secondary servers. Zone checkers accept 4h and more.
	Refresh time.Duration `toml:"refresh" reload:"yes" default:"4h" range:"1s..596523h14m7s" whole:"seconds"`
	// RETRY of the SOA record, for secondary servers.
	Retry time.Duration `toml:"retry" reload:"yes" default:"1h" range:"1s..596523h14m7s" whole:"seconds"`
	// EXPIRE of the SOA record, for secondary servers.
	Expire time.Duration `toml:"expire" reload:"yes" default:"168h" range:"1s..596523h14m7s" whole:"seconds"`
}

// A Service gives a role its names in the zone.
type Service struct {
	// Role whose members the names stand for.
	Role subjects.Role `toml:"role" required:"yes"`
	// Label below the domain for the A and AAAA records.
	Host string `toml:"host" required:"yes"`
	// SRV record sets, one record for each serving member.
	SRV []SRV `toml:"srv" default:"(none)"`
}

// An SRV is one SRV set of a service.
type SRV struct {
	// Name below the domain, such as "_sip._udp".
	Name string `toml:"name" required:"yes"`
	// Port of the service. Members of thor_eventserver announce their own.
	Port uint16 `toml:"port" unit:"port" range:"1..65535" required:"yes"`
	// Priority of the SRV records.
	Priority uint16 `toml:"priority" unit:"lower is preferred" default:"10" range:"1..65535"`
	// Service field of a NAPTR record at the apex, such as "SIP+D2U".
	NAPTR string `toml:"naptr" default:"(no NAPTR record)"`
	// Order of the NAPTR record.
	Order uint16 `toml:"order" unit:"lower is tried first" range:"1..65535" default:"(0)"`
}

// DefaultConfig is the zone of the SIP Thor description for domain. Of the
// infrastructure only the event servers have names: clients find them there. The
// others have those that a Service gives them (docs/adr/0015).
func DefaultConfig(domain string) Config {
	c := Config{
		Domain: domain,
		Services: []Service{
			{Role: subjects.SIPProxy, Host: "proxy", SRV: []SRV{
				{Name: "_sips._tcp", Port: 5061, NAPTR: "SIPS+D2T", Order: 10},
				{Name: "_sip._tcp", Port: 5060, NAPTR: "SIP+D2T", Order: 20},
				{Name: "_sip._udp", Port: 5060, NAPTR: "SIP+D2U", Order: 30},
			}},
			{Role: subjects.XCAPServer, Host: "xcap", SRV: []SRV{{Name: "_xcap._tcp", Port: 443}}},
			{Role: subjects.ProvisioningServer, Host: "ngnpro", SRV: []SRV{{Name: "_ngnpro._tcp", Port: 9200}}},
			{Role: subjects.MSRPRelayServer, Host: "msrprelay", SRV: []SRV{{Name: "_msrps._tcp", Port: 2855}}},
			{Role: subjects.VoicemailServer, Host: "voicemail", SRV: []SRV{{Name: "_voicemail._tcp", Port: 9200}}},
			{Role: subjects.MediaRelay, Host: "relay"},
			{Role: subjects.EventServer, Host: "eventserver", SRV: []SRV{{Name: "_eventserver._tcp", Port: 8000}}},
		},
	}
	setting.Fill(&c)
	return c
}

// filled is a copy of c with defaults in place of zero values and names in
// canonical form. It shares nothing with c.
func (c *Config) filled() Config {
	f := *c
	setting.Fill(&f)
	f.Domain = canonical(c.Domain)
	if f.Contact == "" {
		f.Contact = "hostmaster@" + strings.TrimSuffix(f.Domain, ".")
	}
	if f.Primary != "" {
		f.Primary = canonical(f.Primary)
	}
	f.NameServers = make([]string, len(c.NameServers))
	for i, n := range c.NameServers {
		f.NameServers[i] = canonical(n)
	}
	if c.Services == nil {
		f.Services = DefaultConfig(c.Domain).Services
	}
	f.fillServices()
	f.Slices = make(map[subjects.Role]int, len(c.Slices))
	for r, n := range c.Slices {
		f.Slices[r] = n
	}
	f.fillPreferences()
	f.Static, f.Records = slices.Clone(c.Static), slices.Clone(c.Records)
	return f
}

func (c *Config) fillServices() {
	c.Services = slices.Clone(c.Services)
	for i := range c.Services {
		s := &c.Services[i]
		s.Host = strings.ToLower(s.Host)
		s.SRV = slices.Clone(s.SRV)
		for j := range s.SRV {
			s.SRV[j].Name = strings.ToLower(s.SRV[j].Name)
			setting.Fill(&s.SRV[j])
		}
	}
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

// canonical is a name in lower case with its final dot.
func canonical(name string) string { return strings.ToLower(dns.Fqdn(name)) }

// seconds is d as a TTL.
func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

// slice is how many records of role one answer holds.
func (c *Config) slice(role subjects.Role) int { return orDefault(c.Slices[role], c.Slice) }

// Digest names everything of c that shapes the zone: 32 hex digits. It does not
// depend on the order of lists or maps, nor on whether a default is written out.
func (c *Config) Digest() string {
	f := c.filled()
	slices.Sort(f.NameServers)
	slices.SortFunc(f.Preferences, func(a, b Preference) int { return strings.Compare(string(a.Role), string(b.Role)) })
	for i := range f.Services {
		slices.SortFunc(f.Services[i].SRV, func(a, b SRV) int { return strings.Compare(a.Name, b.Name) })
	}
	slices.SortFunc(f.Services, func(a, b Service) int { return strings.Compare(a.Host, b.Host) })
	for i, line := range f.Static {
		if rr, err := parseStatic(line, f.Domain, seconds(f.TTL.Static)); err == nil {
			f.Static[i] = rr.String()
		}
	}
	slices.Sort(f.Static)
	f.Records = canonicalRecords(f.Records, f.Domain, seconds(f.TTL.Static))
	b, err := json.Marshal(struct {
		Form int // raised when the same configuration comes to mean another zone
		Config
	}{4, f})
	if err != nil {
		panic("zone: encode config: " + err.Error()) // strings, numbers and maps only
	}
	return subjects.Digest(b)
}
