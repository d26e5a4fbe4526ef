package zone

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"thor/subjects"
)

// Sizes of answers.
const (
	DefaultSlice = 4 // an SRV answer of 4 with its addresses stays under 512 bytes
	MaxSlice     = 8 // PJSIP reads 8 addresses of a name and 8 SRV targets
	MaxNS        = 8
)

// A Config shapes the zone of one network. All name servers of a network hold
// the same one, which they compare by Digest. The zero value of each field but
// Domain is its default.
type Config struct {
	Domain      string                // apex of the zone and name of the network, such as "sipthor.net"
	NameServers []string              // absolute host names; default: the hosts of the members of thor_dnsmanager
	Primary     string                // MNAME of the SOA, an absolute host name; default: the first name server
	Contact     string                // mail address for the SOA; default hostmaster@Domain
	Services    []Service             // nil: those of DefaultConfig; empty but not nil: none
	Slice       int                   // records of one answer from a role, 1 to MaxSlice; default DefaultSlice
	Slices      map[subjects.Role]int // the same for single roles
	TTL         TTLs
	Timers      Timers
	Static      []string // further records, one zone file line each; relative names are below Domain
}

// TTLs are times to live, in whole seconds of at least one: resolvers do not
// cache a TTL of 0, nor do they then balance.
type TTLs struct {
	Role     time.Duration // SRV, A and AAAA of roles: how long a resolver uses one slice, and a dead member; default 10s
	Host     time.Duration // A and AAAA of nodes; default 60s
	NAPTR    time.Duration // default 300s
	NS       time.Duration // default 1h
	SOA      time.Duration // default 1h
	Static   time.Duration // of static records that name none; default 300s
	Negative time.Duration // MINIMUM of the SOA: how long "there is none" is kept; default 10s
}

// Timers are those of the SOA for secondary servers, in whole seconds.
type Timers struct {
	Refresh time.Duration // default 4h, the least that zone checkers accept without a word
	Retry   time.Duration // default 1h
	Expire  time.Duration // default 7 days
}

// A Service gives a role its names in the zone.
type Service struct {
	Role subjects.Role
	Host string // label below the domain with the A and AAAA slices
	SRV  []SRV
}

// An SRV is one SRV set of a service, one record for each serving member.
type SRV struct {
	Name     string // below the domain: "_sip._udp"
	Port     uint16 // of the members of thor_eventserver only if they do not announce theirs
	Priority uint16 // default 10
	NAPTR    string // service field of a NAPTR record at the apex, such as "SIP+D2U"; empty: no such record
	Order    uint16 // of the NAPTR record: lower is tried first
}

// DefaultConfig is the zone of the SIP Thor description for domain. Of the
// infrastructure only the event servers have names: clients find them there. The
// others have those that a Service gives them (docs/adr/0015).
func DefaultConfig(domain string) Config {
	return Config{
		Domain: domain,
		Slice:  DefaultSlice,
		TTL: TTLs{
			Role: 10 * time.Second, Host: time.Minute, NAPTR: 5 * time.Minute, NS: time.Hour,
			SOA: time.Hour, Static: 5 * time.Minute, Negative: 10 * time.Second,
		},
		Timers: Timers{Refresh: 4 * time.Hour, Retry: time.Hour, Expire: 7 * 24 * time.Hour},
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
}

const defaultPriority = 10

// filled is a copy of c with defaults in place of zero values and names in
// canonical form. It shares nothing with c.
func (c *Config) filled() Config {
	f := *c
	d := DefaultConfig(c.Domain)
	f.Domain = canonical(c.Domain)
	f.Slice = orDefault(c.Slice, d.Slice)
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
	f.fillTimes(&d)
	if c.Services == nil {
		f.Services = d.Services
	}
	f.fillServices()
	f.Slices = make(map[subjects.Role]int, len(c.Slices))
	for r, n := range c.Slices {
		f.Slices[r] = n
	}
	f.Static = slices.Clone(c.Static)
	return f
}

func (c *Config) fillTimes(d *Config) {
	c.TTL = TTLs{
		Role: orDefault(c.TTL.Role, d.TTL.Role), Host: orDefault(c.TTL.Host, d.TTL.Host),
		NAPTR: orDefault(c.TTL.NAPTR, d.TTL.NAPTR), NS: orDefault(c.TTL.NS, d.TTL.NS),
		SOA: orDefault(c.TTL.SOA, d.TTL.SOA), Static: orDefault(c.TTL.Static, d.TTL.Static),
		Negative: orDefault(c.TTL.Negative, d.TTL.Negative),
	}
	c.Timers = Timers{
		Refresh: orDefault(c.Timers.Refresh, d.Timers.Refresh), Retry: orDefault(c.Timers.Retry, d.Timers.Retry),
		Expire: orDefault(c.Timers.Expire, d.Timers.Expire),
	}
}

func (c *Config) fillServices() {
	c.Services = slices.Clone(c.Services)
	for i := range c.Services {
		s := &c.Services[i]
		s.Host = strings.ToLower(s.Host)
		s.SRV = slices.Clone(s.SRV)
		for j := range s.SRV {
			s.SRV[j].Name = strings.ToLower(s.SRV[j].Name)
			s.SRV[j].Priority = orDefault(s.SRV[j].Priority, defaultPriority)
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
	b, err := json.Marshal(struct {
		Form int // raised when the same configuration comes to mean another zone
		Config
	}{3, f})
	if err != nil {
		panic("zone: encode config: " + err.Error()) // strings, numbers and maps only
	}
	return subjects.Digest(b)
}
