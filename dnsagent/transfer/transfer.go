// Package transfer makes the messages of a zone transfer (RFC 5936), and reads the
// keys that sign them (RFC 8945).
//
// A secondary server knows no slices: it gives its clients whole sets. So sets are
// cut to 100 records, since BIND refuses larger ones; which ones is drawn anew with
// each serial, and is the same on all name servers.
package transfer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"regexp"
	"slices"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
)

// MaxSet is how many records of one name and type a transfer holds.
const MaxSet = zone.MaxSet

// messageSize is about how many bytes a message has: compression works within the
// first 16 KiB only.
const messageSize = 16 << 10

// Messages are those of a transfer of z that answers question q of message id.
func Messages(z *zone.Zone, id uint16, q dns.Question) iter.Seq[*dns.Msg] {
	return func(yield func(*dns.Msg) bool) {
		m, size := reply(id, q), 0
		for rr := range Records(z) {
			if n := dns.Len(rr); size+n > messageSize {
				if !yield(m) {
					return
				}
				m, size = reply(id, q), 0
			}
			m.Answer = append(m.Answer, rr)
			size += dns.Len(rr)
		}
		yield(m)
	}
}

func reply(id uint16, q dns.Question) *dns.Msg {
	return &dns.Msg{
		MsgHdr:   dns.MsgHdr{Id: id, Response: true, Authoritative: true, Opcode: dns.OpcodeQuery},
		Compress: true, Question: []dns.Question{q},
	}
}

// Records are those of a transfer: the SOA, all others, and the SOA again.
func Records(z *zone.Zone) iter.Seq[dns.RR] {
	return func(yield func(dns.RR) bool) {
		for s := range z.RRsets() { // the SOA comes first
			for _, rr := range cut(s, z.Serial()) {
				if !yield(rr) {
					return
				}
			}
		}
		yield(z.SOA())
	}
}

// cut is at most MaxSet records of s, in their order.
func cut(s zone.RRset, serial uint32) []dns.RR {
	if len(s.Records) <= MaxSet {
		return s.Records
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %d", s.Name, s.Type)
	picked := rand.New(rand.NewPCG(uint64(serial), h.Sum64())).Perm(len(s.Records))[:MaxSet]
	slices.Sort(picked)
	out := make([]dns.RR, MaxSet)
	for i, k := range picked {
		out[i] = s.Records[k]
	}
	return out
}

// A Key signs messages. It has no text form, so that no log holds it.
type Key struct {
	Name      string // absolute, lower case
	Algorithm string // absolute, such as "hmac-sha256."
	secret    string
}

// Secret is what the library wants to know: base64.
func (k *Key) Secret() string { return k.secret }

var keyForm = regexp.MustCompile(`^\s*key\s+"?([A-Za-z0-9._-]+)"?\s*\{\s*algorithm\s+"?(hmac-sha(?:224|256|384|512))"?\s*;\s*secret\s+"?([A-Za-z0-9+/=]+)"?\s*;\s*\}\s*;?\s*$`)

// ParseKey reads what tsig-keygen of BIND prints and its configuration includes.
func ParseKey(text string) (*Key, error) {
	m := keyForm.FindStringSubmatch(text)
	if m == nil {
		return nil, errors.New(`is no key such as tsig-keygen prints: key "NAME" { algorithm hmac-sha256; secret "BASE64"; };`)
	}
	if _, ok := dns.IsDomainName(m[1]); !ok {
		return nil, fmt.Errorf("%q is no name of a key", m[1])
	}
	if b, err := base64.StdEncoding.DecodeString(m[3]); err != nil || len(b) < 16 {
		return nil, errors.New("holds a secret that is not base64 of 16 bytes or more")
	}
	return &Key{Name: dns.CanonicalName(m[1]), Algorithm: m[2] + ".", secret: m[3]}, nil
}
