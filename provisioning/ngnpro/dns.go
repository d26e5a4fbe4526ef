package ngnpro

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"thor/overlay/subscriber"
)

// A DnsZone is a zone that records may be added to. Its shape is the name servers'
// configuration, so that it is read here and not changed: an element is nil while no
// name server answers.
type DnsZone struct {
	Name        string    `soap:"name"`
	Customer    *int      `soap:"customer" rule:"number"`
	Reseller    *int      `soap:"reseller" rule:"number"`
	Info        *string   `soap:"info" rule:"lines 1024"`
	Email       *string   `soap:"email,ro"` // of the SOA record, as the rest
	TTL         *int      `soap:"ttl,ro"`
	Minimum     *int      `soap:"minimum,ro"`
	Retry       *int      `soap:"retry,ro"`
	Expire      *int      `soap:"expire,ro"`
	Serial      *int      `soap:"serial,ro"`
	Nameservers *[]string `soap:"nameservers,ro"`
	ChangeDate  string    `soap:"changeDate,ro"`
}

// Clean folds and checks a zone.
func (z *DnsZone) Clean() error { return first(host("zone.name", &z.Name), fields("zone", z)) }

// Zone folds and checks the name of a zone.
func Zone(name *string) error { return host("zone", name) }

// A DnsRecord is a record of a zone.
type DnsRecord struct {
	ID   *int   `soap:"id"` // assigned by the server
	Zone string `soap:"zone"`
	// Name is absolute, without the final dot. A client may leave out the zone; empty and
	// "@" are the zone's own name.
	Name string `soap:"name"`
	Type string `soap:"type"` // see recordTypes
	// Value is what follows the type in a zone file, for MX and SRV without the priority.
	// A host name is absolute if it has a final dot, or a dot and no underscore in its last
	// label, and else below the zone.
	Value      *string `soap:"value"`
	Priority   *int    `soap:"priority" rule:"number 0 65535"` // of MX and SRV; default 0
	TTL        *int    `soap:"ttl" rule:"number 1 604800"`     // seconds; default 3600
	Owner      *int    `soap:"owner" rule:"number"`
	Customer   int     `soap:"customer,ro"`
	Reseller   int     `soap:"reseller,ro"`
	ChangeDate string  `soap:"changeDate,ro"`
}

// recordTypes are those that clients offer. NS is one of them, and refused where the
// zone is checked: it would cut names out of it.
var recordTypes = []string{"A", "AAAA", "CNAME", "MX", "SRV", "NS", "NAPTR", "PTR", "TXT", "LOC"}

// maxValue is the greatest length of a value: with name and type a line of the zone.
const maxValue = 600

// Clean checks a record that is changed, which its id names. Zone and name may be
// left out together, and the type.
func (r *DnsRecord) Clean() error {
	if err := RecordID(r.ID); err != nil {
		return err
	}
	if strings.TrimSpace(r.Zone) == "" {
		if r.Zone = ""; strings.TrimSpace(r.Name) != "" {
			return invalid("record.zone", "is missing")
		}
		r.Name = ""
	} else if err := r.name(); err != nil {
		return err
	}
	return first(r.kind(), fields("record", r), r.value())
}

// CleanNew checks a record that is to be added; what it leaves open gets its default.
func (r *DnsRecord) CleanNew() error {
	r.ID = nil
	set(&r.TTL, defaultTTL)
	set(&r.Priority, 0)
	if err := first(r.name(), r.kind(), fields("record", r), r.value()); err != nil {
		return err
	}
	switch {
	case r.Type == "":
		return invalid("record.type", "is missing")
	case r.Value == nil:
		return invalid("record.value", "is missing")
	}
	return nil
}

// RecordID checks the number of a record.
func RecordID(id *int) error {
	if id == nil || *id <= 0 || *id > maxNumber {
		return invalid("record.id", "is not the number of a record")
	}
	return nil
}

// name folds and checks zone and name.
func (r *DnsRecord) name() error {
	if err := host("record.zone", &r.Zone); err != nil {
		return err
	}
	n := subscriber.Fold(strings.TrimSpace(r.Name))
	switch n = strings.TrimSuffix(n, "."); {
	case n == "", n == "@", n == r.Zone:
		n = r.Zone
	case !strings.HasSuffix(n, "."+r.Zone):
		n += "." + r.Zone
	}
	if len(n) > 253 || !isOwner(n) {
		return invalid("record.name", "is not a name in a zone")
	}
	r.Name = n
	return nil
}

// kind folds and checks the type.
func (r *DnsRecord) kind() error {
	r.Type = strings.ToUpper(strings.TrimSpace(r.Type))
	if r.Type != "" && !slices.Contains(recordTypes, r.Type) {
		return invalid("record.type", "is none of %s", strings.Join(recordTypes, ", "))
	}
	return nil
}

// isOwner reports whether s is a name that records may have here: labels of letters,
// digits, hyphens and underscores. It cannot end the word it stands in.
func isOwner(s string) bool {
	for l := range strings.SplitSeq(s, ".") {
		if l == "" || len(l) > 63 || !madeOf(l, letters+digits+"-_") {
			return false
		}
	}
	return true
}

// value trims and checks the value as a text: whether it is one of its type is for
// the zone to say.
func (r *DnsRecord) value() error {
	if r.Value == nil {
		return nil
	}
	v := strings.TrimSpace(*r.Value)
	r.Value = &v
	if v == "" {
		return invalid("record.value", "is missing")
	}
	if len(v) > maxValue {
		return invalid("record.value", "is longer than %d bytes", maxValue)
	}
	if i := strings.IndexFunc(v, func(c rune) bool { return c < ' ' || c > '~' }); i >= 0 {
		return invalid("record.value", "holds a character that is not printable ASCII: write it as \\DDD in a quoted text")
	}
	return nil
}

// Line is the record as a line of a zone file. The record is whole.
func (r *DnsRecord) Line() string {
	v, words := *r.Value, strings.Fields(*r.Value)
	switch n := len(words); r.Type {
	case "CNAME", "NS", "PTR":
		v = r.target(v)
	case "MX":
		v = strconv.Itoa(*r.Priority) + " " + r.target(v)
	case "SRV":
		if n == 3 {
			v = strings.Join([]string{strconv.Itoa(*r.Priority), words[0], words[1], r.target(words[2])}, " ")
		}
	case "NAPTR":
		if n > 1 && words[n-1] != "." {
			v = strings.TrimSuffix(v, words[n-1]) + r.target(words[n-1])
		}
	case "TXT":
		v = quoted(v)
	case "A", "AAAA":
		if a, err := netip.ParseAddr(v); err == nil {
			v = a.String()
		}
	}
	return fmt.Sprintf("%s. %d IN %s %s", r.Name, *r.TTL, r.Type, v)
}

// target is a host name in a value as an absolute one.
func (r *DnsRecord) target(s string) string {
	switch i := strings.LastIndexByte(s, '.'); {
	case s == "@":
		return r.Zone + "."
	case strings.HasSuffix(s, "."):
		return s
	case i < 0, s[i+1] == '_':
		return s + "." + r.Zone + "."
	}
	return s + "."
}

// maxString is the greatest length of one string of a TXT record.
const maxString = 255

// quoted is a text in quotes, of several strings if it is long. What has quotes is
// written as the client means it.
func quoted(s string) string {
	if strings.HasPrefix(s, `"`) {
		return s
	}
	var parts []string
	for len(s) > 0 {
		n := min(len(s), maxString)
		parts = append(parts, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s[:n])+`"`)
		s = s[n:]
	}
	return strings.Join(parts, " ")
}
