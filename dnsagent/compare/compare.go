package compare

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A Server is a name server to ask.
type Server struct {
	Name    string // of its node
	Address string // host:port
}

// A Question is one that all servers are asked.
type Question struct {
	Name string // absolute
	Type uint16
}

func (q Question) String() string { return q.Name + " " + dns.Type(q.Type).String() }

// Answers are what one server said.
type Answers struct {
	Server
	Err    error // it could not be asked
	Serial uint32
	Behind uint32                // generations behind the newest, after it was waited for
	Lag    time.Duration         // until it had the serial that was the newest at the start
	Sets   map[Question][]string // records as text, sorted, without the serial
	Moved  bool                  // its zone changed while it was asked
}

// A Kind says what differs.
type Kind string

// Kinds of differences.
const (
	Unreachable Kind = "unreachable" // a server does not answer
	Behind      Kind = "behind"      // a server stays behind the newest serial
	Records     Kind = "records"     // servers answer with other records
	Keys        Kind = "keys"        // servers have other DNSKEY records
	Delegation  Kind = "delegation"  // the parent names other name servers
	Glue        Kind = "glue"        // the parent has other addresses of them
	Signer      Kind = "ds"          // the parent vouches for other keys
	Unknown     Kind = "unknown"     // something could not be compared
)

// A Difference is something that is not as it should be.
type Difference struct {
	Kind  Kind   `json:"kind"`
	Where string `json:"where"` // the name server, or that of the parent
	Text  string `json:"text"`
}

// maxShown bounds the records of one set that are told.
const maxShown = 5

// Servers are the differences between name servers. The first that is not behind is what
// the others of its serial are compared with.
func Servers(all []Answers) (out []Difference) {
	var model *Answers
	for i := range all {
		a := &all[i]
		switch {
		case a.Err != nil:
			out = append(out, Difference{Unreachable, a.Name, fmt.Sprintf("%s: %v", a.Address, a.Err)})
		case a.Behind > 0:
			out = append(out, Difference{Behind, a.Name, fmt.Sprintf("its serial is %d, %d behind the newest", a.Serial, a.Behind)})
		case a.Moved:
			out = append(out, Difference{Unknown, a.Name, "its zone changed again and again while it was asked: its records were not compared"})
		case model == nil:
			model = a
		case a.Serial != model.Serial:
			out = append(out, Difference{Unknown, a.Name, fmt.Sprintf("the zone changed while servers were asked: its serial was %d then, that of %s %d: their records were not compared", a.Serial, model.Name, model.Serial)})
		default:
			out = append(out, records(model, a)...)
		}
	}
	return out
}

// records are the differences between two servers of one serial.
func records(model, a *Answers) (out []Difference) {
	questions := slices.SortedFunc(maps.Keys(model.Sets), func(x, y Question) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Type, y.Type))
	})
	for _, q := range questions {
		text := change(model.Sets[q], a.Sets[q], model.Name)
		if text == "" {
			continue
		}
		kind := Records
		if q.Type == dns.TypeDNSKEY {
			kind = Keys
		}
		out = append(out, Difference{kind, a.Name, q.String() + " " + text})
	}
	return out
}

// change says in what two sets differ, empty if in nothing.
func change(model, set []string, of string) string {
	missing, more := without(model, set), without(set, model)
	var parts []string
	if len(missing) > 0 {
		parts = append(parts, "lacks "+shown(missing)+", which "+of+" has")
	}
	if len(more) > 0 {
		parts = append(parts, "has "+shown(more)+", which "+of+" lacks")
	}
	return strings.Join(parts, "; ")
}

// without are those of all that are not in some; both are sorted.
func without(all, some []string) (out []string) {
	for _, s := range all {
		if _, ok := slices.BinarySearch(some, s); !ok {
			out = append(out, s)
		}
	}
	return out
}

func shown(s []string) string {
	if n := len(s) - maxShown; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(s[:maxShown], ", "), n)
	}
	return strings.Join(s, ", ")
}

// A Referral is what a name server of the parent says of the zone.
type Referral struct {
	Server
	Err  error
	NS   []string            // host names, sorted
	Glue map[string][]string // addresses of those within the zone, sorted
	DS   []*dns.DS
}

// A Zone is what the zone's own name servers say of it.
type Zone struct {
	NS        []string            // host names, sorted
	Addresses map[string][]string // of those within the zone, sorted
	Keys      []*dns.DNSKEY
}

// Parent are the differences between what the parent delegates and what there is.
func Parent(z Zone, referrals []Referral) (out []Difference) {
	for _, r := range referrals {
		if errors.Is(r.Err, errUndelegated) {
			out = append(out, Difference{Delegation, "parent " + r.Name, fmt.Sprintf("%s: %v", r.Address, r.Err)})
			continue
		}
		if r.Err != nil {
			out = append(out, Difference{Unknown, "parent " + r.Name, fmt.Sprintf("%s: %v", r.Address, r.Err)})
			continue
		}
		where := "parent " + r.Name
		if text := change(z.NS, r.NS, "the zone"); text != "" {
			out = append(out, Difference{Delegation, where, "NS " + text})
		}
		for _, host := range r.NS {
			addresses, within := z.Addresses[host]
			if !within {
				continue
			}
			if text := change(addresses, r.Glue[host], "the zone"); text != "" {
				out = append(out, Difference{Glue, where, host + " " + text})
			}
		}
		out = append(out, signers(where, z.Keys, r.DS)...)
	}
	return out
}

// signers compares the DS records of the parent with the keys of the zone. A key that
// is published before the parent vouches for it is none of the parent's business.
func signers(where string, keys []*dns.DNSKEY, ds []*dns.DS) (out []Difference) {
	good := 0
	for _, d := range ds {
		if slices.ContainsFunc(keys, func(k *dns.DNSKEY) bool {
			of := k.ToDS(d.DigestType)
			return of != nil && of.KeyTag == d.KeyTag && of.Algorithm == d.Algorithm && strings.EqualFold(of.Digest, d.Digest)
		}) {
			good++
			continue
		}
		text := fmt.Sprintf("DS of key %d, which the zone does not have", d.KeyTag)
		out = append(out, Difference{Signer, where, text})
	}
	switch {
	case len(ds) > 0 && good == 0:
		out = append(out, Difference{Signer, where, "no DS is of a key of the zone: who validates gets no answer"})
	case len(ds) == 0 && len(keys) > 0:
		out = append(out, Difference{Signer, where, "no DS, and the zone is signed: its signatures prove nothing"})
	}
	return out
}
