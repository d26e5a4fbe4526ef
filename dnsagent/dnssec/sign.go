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
)

// Times of signatures, in seconds.
const (
	before = 3 * 3600      // that clocks may be behind
	lasts  = 3 * 24 * 3600 // from now on
	renew  = 24 * 3600     // after which one is not used any more
)

// Pool is how many slices of a set are signed at a time.
const Pool = 256

func base64(b []byte) string { return b64.StdEncoding.EncodeToString(b) }

// A Signature is one that is ready to be sent. It is immutable.
type Signature struct {
	Records []dns.RR // what is sent behind the records: RRSIG, and before it the NSEC if that was signed
	Packed  []byte   // the same as it travels, with a pointer to the question as owner of each
	Slice   []int    // which records of the set it is of; nil: all
	made    uint32   // in seconds since 1970
	life    uint32   // seconds for which it is used
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
	slices  atomic.Pointer[[Pool]atomic.Pointer[Signature]] // nil until one is signed
}

// Sliced reports whether answers hold a part of the set: a signature then says which.
func (s *Set) Sliced() bool { return s.draw != nil && s.draw.Limit() < len(s.records) }

// Ready is a signature that was made before; nil if one has to be made by Sign. It
// draws a number if the set is sliced.
func (s *Set) Ready(rng *rand.Rand, now uint32) *Signature {
	at := &s.whole
	if s.Sliced() {
		if at = s.place(rng); at == nil {
			return nil
		}
	}
	if one := at.Load(); one.good(now) {
		return one
	}
	return nil
}

func (s *Set) place(rng *rand.Rand) *atomic.Pointer[Signature] {
	i := rng.IntN(Pool)
	if p := s.slices.Load(); p != nil {
		return &p[i]
	}
	return nil
}

// ErrLimited is that a signature had to be made, and may not be.
var ErrLimited = errors.New("signatures are limited")

// Sign is Ready, and makes a signature if there is none and affords, which counts it, allows that. No
// affords is no limit. In place of a new slice that it does not allow comes an older one, if there is any.
func (s *Set) Sign(rng *rand.Rand, now uint32, affords func() bool) (*Signature, error) {
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
	if s.slices.Load() == nil {
		s.slices.CompareAndSwap(nil, new([Pool]atomic.Pointer[Signature]))
	}
	at := s.place(rng)
	if one := at.Load(); one.good(now) {
		return one, nil
	}
	if affords != nil && !affords() {
		return s.older(rng, now)
	}
	var drawn [zone.MaxSlice]int
	n := s.draw.Pick(rng, &drawn)
	part := make([]dns.RR, n)
	for k, i := range drawn[:n] {
		part[k] = s.records[i]
	}
	one, err := s.sign(part, s.ttl, now)
	if err != nil {
		return nil, err
	}
	one.Slice = append([]int{}, drawn[:n]...)
	one.life = min(s.ttl, renew)
	at.Store(one)
	return one, nil
}

// older is a slice that was signed before, by chance the first valid one behind a random place.
func (s *Set) older(rng *rand.Rand, now uint32) (*Signature, error) {
	pool, first := s.slices.Load(), rng.IntN(Pool)
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
