package dnssec

import (
	b64 "encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
	"thor/subjects"
)

// Times of signatures, in seconds.
const (
	before = 3 * 3600      // that clocks may be behind
	lasts  = 3 * 24 * 3600 // from now on
	renew  = 24 * 3600     // after which one is not used any more
)

// Pool is how many slices of a set are signed at a time, for each kind of askers.
const Pool = 256

func base64(b []byte) string { return b64.StdEncoding.EncodeToString(b) }

// A Signature is one that is ready to be sent. It is immutable.
type Signature struct {
	Records []dns.RR    // what is sent behind the records: RRSIG, and before it the NSEC if that was signed
	Packed  []byte      // the same as it travels, with a pointer to the question as owner of each
	Slice   *zone.Slice // which records of the set it is of; nil: all
	made    uint32      // in seconds since 1970
	life    uint32      // seconds for which it is used
}

// good reports whether s can be sent at time now. One that was made later, by a clock that has been set
// back, may be of a time that is still to come.
func (s *Signature) good(now uint32) bool { return s != nil && now-s.made < s.life }

// valid reports whether s can be sent in place of one that may not be made: a slice beyond the time for which
// it is used is one that others have got before.
func (s *Signature) valid(now uint32) bool { return s != nil && now-s.made < renew }

// A Set is the signatures of one set of records.
type Set struct {
	signer
	of      zone.RRset // without a Name: none of the zone's
	records []dns.RR
	ttl     uint32 // of the signatures, and of the records as they are sent
	draw    *zone.Draw
	whole   atomic.Pointer[Signature]
	pools   []atomic.Pointer[pool] // of slices, by kind of asker; nil until one is signed
}

type pool [Pool]atomic.Pointer[Signature]

// newSet is the signatures of a set of the zone.
func newSet(z signer, of zone.RRset) *Set {
	s := &Set{signer: z, of: of, records: of.Records, ttl: of.Records[0].Header().Ttl, draw: of.Draw}
	if s.Sliced() {
		s.pools = make([]atomic.Pointer[pool], s.draw.Askers())
	}
	return s
}

// Sliced reports whether answers hold a part of the set: a signature then says which.
func (s *Set) Sliced() bool {
	return s.draw != nil && (s.draw.Limit() < len(s.records) || s.draw.Prefers())
}

// Ready is a signature that was made before, for an asker at site if the set is sliced;
// nil if one has to be made by Sign. It draws a number if the set is sliced.
func (s *Set) Ready(rng *rand.Rand, site subjects.Site, now uint32) *Signature {
	at := &s.whole
	if s.Sliced() {
		if at = s.place(rng, s.draw.Asker(site)); at == nil {
			return nil
		}
	}
	if one := at.Load(); one.good(now) {
		return one
	}
	return nil
}

// place is one of the pool for an asker; all of its slices are alike where they are fixed.
func (s *Set) place(rng *rand.Rand, asker int) *atomic.Pointer[Signature] {
	i := rng.IntN(Pool)
	if s.draw.Fixed(asker) {
		i = 0
	}
	if p := s.pools[asker].Load(); p != nil {
		return &p[i]
	}
	return nil
}

// ErrLimited is that a signature had to be made, and may not be.
var ErrLimited = errors.New("signatures are limited")

// Sign is Ready, and makes a signature if there is none and affords, which counts it, allows that. No
// affords is no limit. In place of a new slice that it does not allow comes an older one, if there is any.
func (s *Set) Sign(rng *rand.Rand, site subjects.Site, now uint32, affords func() bool) (*Signature, error) {
	if !s.Sliced() {
		if one := s.whole.Load(); one.good(now) {
			return one, nil
		}
		if affords != nil && !affords() {
			return nil, ErrLimited
		}
		one, err := s.sign(s.records, s.ttl, now)
		if err == nil {
			s.whole.Store(one)
		}
		return one, err
	}
	asker := s.draw.Asker(site)
	if s.pools[asker].Load() == nil {
		s.pools[asker].CompareAndSwap(nil, new(pool))
	}
	at := s.place(rng, asker)
	if one := at.Load(); one.good(now) {
		return one, nil
	}
	if affords != nil && !affords() {
		return s.older(rng, asker, now)
	}
	drawn := new(zone.Slice)
	s.draw.PickFor(rng, asker, drawn)
	part := make([]dns.RR, drawn.N)
	for k := range part {
		part[k] = s.of.Record(drawn, k)
	}
	one, err := s.sign(part, s.ttl, now)
	if err != nil {
		return nil, err
	}
	one.Slice = drawn
	one.life = min(s.ttl, renew)
	at.Store(one)
	return one, nil
}

// older is a slice that was signed before, by chance the first valid one behind a random place.
func (s *Set) older(rng *rand.Rand, asker int, now uint32) (*Signature, error) {
	pool, first := s.pools[asker].Load(), rng.IntN(Pool)
	for i := range Pool {
		if one := pool[(first+i)%Pool].Load(); one.valid(now) {
			return one, nil
		}
	}
	return nil, ErrLimited
}

// A signer signs for a zone.
type signer struct {
	keys *Keys
	apex string
}

// sign makes the signatures of one set. An NSEC record is sent along with its own.
func (z signer) sign(rrs []dns.RR, ttl, now uint32) (*Signature, error) {
	out := &Signature{made: now, life: renew}
	h := rrs[0].Header()
	if h.Rrtype == dns.TypeNSEC {
		out.Records = append(out.Records, rrs...)
	}
	by := z.keys.all[:1]
	if h.Rrtype == dns.TypeDNSKEY {
		by = z.keys.all
	}
	for _, k := range by {
		sig := &dns.RRSIG{
			Algorithm: algorithm, KeyTag: k.tag, SignerName: z.apex, Inception: now - before, Expiration: now + lasts,
		}
		if err := sig.Sign(k.private, rrs); err != nil {
			return nil, fmt.Errorf("sign %s %s: %w", h.Name, dns.Type(h.Rrtype), err)
		}
		sig.Hdr.Ttl = ttl
		out.Records = append(out.Records, sig)
	}
	for _, rr := range out.Records {
		b, err := packed(rr)
		if err != nil {
			return nil, err
		}
		out.Packed = append(out.Packed, b...)
	}
	return out, nil
}

// packed is a record as it travels, with a pointer to the question as its owner. No
// other name in it is compressed: none may be in an RRSIG or NSEC.
func packed(rr dns.RR) ([]byte, error) {
	owner := rr.Header().Name
	name := make([]byte, 256)
	n, err := dns.PackDomainName(owner, name, 0, nil, false)
	if err != nil {
		return nil, err
	}
	b := make([]byte, dns.Len(rr)+16)
	end, err := dns.PackRR(rr, b, 0, nil, false)
	if err != nil {
		return nil, err
	}
	b = b[n-2 : end]
	binary.BigEndian.PutUint16(b, 0xc000|12)
	return b, nil
}
