package dnsagent

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/transfer"
	"thor/dnsagent/zone"
)

// A Secondary is a server that keeps a copy of the zone.
type Secondary struct {
	// Address from which it may ask for transfers.
	Address netip.Addr `toml:"address" required:"yes"`
	// Port at which it is told of a new zone (NOTIFY).
	Port uint16 `toml:"port" unit:"port" range:"1..65535" default:"53"`
	// File with the key that signs transfers and notifications, as tsig-keygen prints it. Only
	// owner and group may read it.
	KeyFile string `toml:"tsig_key_file" form:"file" secret:"yes" default:"(none, its address will do)"`
}

// secondary is one in use.
type secondary struct {
	addr    netip.Addr
	port    uint16
	key     *transfer.Key // nil: its address will do
	changed chan struct{} // has room for one
}

// openSecondaries reads the keys of the configured secondary servers.
func (f *files) openSecondaries(configured []Secondary) error {
	f.keys = make(map[string]*transfer.Key)
	for _, c := range configured {
		s := &secondary{addr: c.Address.Unmap(), port: c.Port, changed: make(chan struct{}, 1)}
		if s.port == 0 {
			s.port = 53
		}
		if c.KeyFile != "" {
			text, err := readPrivate(c.KeyFile)
			if err == nil {
				s.key, err = transfer.ParseKey(text)
			}
			if err != nil {
				return fmt.Errorf("read the key of the secondary server %s: %s: %w", c.Address, c.KeyFile, err)
			}
			if other := f.keys[s.key.Name]; other != nil && *other != *s.key {
				return fmt.Errorf("the key %s of the secondary server %s is not the one of that name before: give it another name", s.key.Name, c.Address)
			}
			f.keys[s.key.Name] = s.key
		}
		if f.secondary(s.addr) != nil {
			return fmt.Errorf("the secondary server %s is there twice", c.Address)
		}
		f.secondaries = append(f.secondaries, s)
	}
	return nil
}

// keep takes over from old the secondary servers that did not change.
func (f *files) keep(old *files) {
	for i, s := range f.secondaries {
		if o := old.secondary(s.addr); o != nil && o.same(s) {
			f.secondaries[i] = o
		}
	}
}

func (s *secondary) same(o *secondary) bool {
	return s.addr == o.addr && s.port == o.port && (s.key == nil) == (o.key == nil) && (s.key == nil || *s.key == *o.key)
}

// secondary is the one at addr, nil if there is none.
func (f *files) secondary(addr netip.Addr) *secondary {
	for _, s := range f.secondaries {
		if s.addr == addr {
			return s
		}
	}
	return nil
}

// A signer signs the messages of one answer, each with what signed the one before.
type signer struct {
	key   *transfer.Key
	mac   string
	timed bool // not the first
}

// sign packs m, signed unless there is no key.
func (s *signer) sign(m *dns.Msg, now time.Time) ([]byte, error) {
	if s.key == nil {
		return m.Pack()
	}
	m.SetTsig(s.key.Name, s.key.Algorithm, fudge, now.Unix())
	b, mac, err := dns.TsigGenerate(m, s.key.Secret(), s.mac, s.timed)
	s.mac, s.timed = mac, true
	return b, err
}

const fudge = 300 // seconds that clocks may differ: RFC 8945 10

// signature checks the signature of a request. key is nil if there is none of a known
// key.
func (f *files) signature(request []byte) (key *transfer.Key, mac string, err error) {
	m := new(dns.Msg)
	if m.Unpack(request) != nil {
		return nil, "", nil // whatever it is, it is not signed
	}
	t := m.IsTsig()
	if t == nil {
		return nil, "", nil
	}
	key = f.keys[dns.CanonicalName(t.Hdr.Name)]
	if key == nil || dns.CanonicalName(t.Algorithm) != key.Algorithm {
		return nil, "", nil
	}
	// It cuts the signature off what it verifies.
	return key, t.MAC, dns.TsigVerify(bytes.Clone(request), key.Secret(), "", false)
}

// signed is a reply with the signature that its request asks for. A request whose
// signature is wrong gets NOTAUTH instead.
func (r *responder) signed(request, reply []byte) []byte {
	key, mac, err := r.files.signature(request)
	if key == nil {
		return reply
	}
	m := new(dns.Msg)
	if m.Unpack(reply) != nil {
		return reply // cannot be
	}
	m.Compress = true
	if err != nil {
		r.empty(m)
		m.Rcode, m.Authoritative = dns.RcodeNotAuth, false
		if b, err := m.Pack(); err == nil {
			return b
		}
		return reply
	}
	b, err := (&signer{key: key, mac: mac}).sign(m, r.now)
	if err == nil && r.udp && len(b) > min(r.query.size, r.agent.cfg.UDPSize) {
		r.empty(m)
		m.Truncated = true
		b, err = (&signer{key: key, mac: mac}).sign(m, r.now)
	}
	if err != nil {
		return reply
	}
	return b
}

// empty leaves nothing but question and OPT in m.
func (r *responder) empty(m *dns.Msg) {
	opt := m.IsEdns0()
	m.Answer, m.Ns, m.Extra = nil, nil, nil
	if opt != nil {
		m.Extra = []dns.RR{opt}
	}
}

// transfer answers a request for the zone of a secondary server. It reports
// whether the request was one that is its to answer.
func (r *responder) transfer(request []byte, write func([]byte) error) (mine bool, err error) {
	a, q := r.agent, &r.query
	if len(r.files.secondaries) == 0 || q.parse(request) != dns.RcodeSuccess || q.qclass != dns.ClassINET ||
		q.qtype != dns.TypeAXFR && q.qtype != dns.TypeIXFR || strings.ToLower(q.name) != a.apex {
		return false, nil
	}
	defer r.survive(request)
	served, from := a.served.Load(), r.files.secondary(r.client)
	if served == nil || from == nil { // a stranger's are counted as refused, and not logged
		return false, nil
	}
	key, mac, bad := r.files.signature(request)
	if bad != nil || from.key != nil && (key == nil || *key != *from.key) {
		a.log.Warn().Stringer("addr", r.client).Msg("zone transfer refused: its signature is missing or wrong")
		return false, nil
	}
	s := &signer{key: key, mac: mac}
	send := func(m *dns.Msg) error {
		b, err := s.sign(m, time.Now())
		if err != nil {
			return err
		}
		return write(b)
	}
	question := dns.Question{Name: q.name, Qtype: q.qtype, Qclass: q.qclass}
	r.count.reply(q.qtype, dns.RcodeSuccess)
	if q.qtype == dns.TypeIXFR && isCurrent(request, served.zone) {
		return true, send(&dns.Msg{ // the SOA alone says so: RFC 1995 4
			MsgHdr:   dns.MsgHdr{Id: q.id, Response: true, Authoritative: true},
			Question: []dns.Question{question}, Answer: []dns.RR{served.zone.SOA()},
		})
	}
	for m := range transfer.Messages(served.zone, q.id, question) {
		if err := send(m); err != nil {
			return true, err
		}
	}
	a.log.Debug().Stringer("addr", r.client).Uint32("serial", served.zone.Serial()).Msg("zone transferred")
	return true, nil
}

// isCurrent reports whether the SOA of an IXFR says that its sender has z or a later zone.
func isCurrent(request []byte, z *zone.Zone) bool {
	m := new(dns.Msg)
	if m.Unpack(request) != nil || len(m.Ns) != 1 {
		return false
	}
	soa, ok := m.Ns[0].(*dns.SOA)
	return ok && int32(soa.Serial-z.Serial()) >= 0 // RFC 1982
}

// tell wakes the goroutines that notify secondary servers.
func (a *Agent) tell() {
	for _, s := range a.files.Load().secondaries {
		s.tell()
	}
}

func (s *secondary) tell() {
	select {
	case s.changed <- struct{}{}:
	default: // it is told of the newest anyway
	}
}

// Times of notifications. A secondary server asks for each new zone it is told of, so
// zones that follow each other fast are told as one.
const (
	notifyEvery   = time.Second
	notifyTimeout = 2 * time.Second
	notifyPause   = time.Second // before it is told again, doubled each time
	notifyTries   = 6
)

// notifyAll tells the secondary servers of new zones, those of each reload, until ctx ends.
func (a *Agent) notifyAll(ctx context.Context, from netip.Addr) {
	var told sync.WaitGroup
	defer told.Wait()
	running := make(map[*secondary]context.CancelFunc)
	for {
		now := a.files.Load().secondaries
		for s, end := range running {
			if !slices.Contains(now, s) {
				end()
				delete(running, s)
			}
		}
		for _, s := range now {
			if running[s] != nil {
				continue
			}
			one, end := context.WithCancel(ctx)
			running[s] = end
			told.Go(func() { a.notify(one, s, from) })
			if a.Zone() != nil {
				s.tell()
			}
		}
		select {
		case <-a.told:
		case <-ctx.Done():
			for _, end := range running {
				end()
			}
			return
		}
	}
}

// notify tells one secondary server of new zones until ctx ends (RFC 1996).
func (a *Agent) notify(ctx context.Context, s *secondary, from netip.Addr) {
	silent := false
	for {
		select {
		case <-s.changed:
		case <-ctx.Done():
			return
		}
		err := a.notifyOnce(ctx, s, from)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !silent:
			a.log.Warn().Err(err).Stringer("addr", s.addr).Msg("secondary server takes no notification")
		case err == nil && silent:
			a.log.Info().Stringer("addr", s.addr).Msg("secondary server takes notifications again")
		}
		silent = err != nil
		if !sleep(ctx, notifyEvery) {
			return
		}
	}
}

func (a *Agent) notifyOnce(ctx context.Context, s *secondary, from netip.Addr) (err error) {
	c := &dns.Client{Timeout: notifyTimeout, Dialer: &net.Dialer{Timeout: notifyTimeout}}
	if !from.IsUnspecified() && from.Is4() == s.addr.Is4() && (!from.IsLoopback() || s.addr.IsLoopback()) {
		c.Dialer.LocalAddr = &net.UDPAddr{IP: from.AsSlice(), Zone: from.Zone()} // by which it knows us
	}
	for i := range notifyTries {
		m := new(dns.Msg).SetNotify(a.apex)
		if z := a.Zone(); z != nil {
			m.Answer = []dns.RR{z.SOA()}
		}
		if s.key != nil {
			c.TsigSecret = map[string]string{s.key.Name: s.key.Secret()}
			m.SetTsig(s.key.Name, s.key.Algorithm, fudge, time.Now().Unix())
		}
		var r *dns.Msg
		r, _, err = c.ExchangeContext(ctx, m, netip.AddrPortFrom(s.addr, s.port).String())
		if err == nil && r.Rcode != dns.RcodeSuccess {
			err = fmt.Errorf("answered with %s", dns.RcodeToString[r.Rcode])
		}
		if err == nil || !sleep(ctx, notifyPause<<i) {
			return err
		}
	}
	return err
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// frame appends a message and its length to b.
func frame(b, message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(message))), message...)
}
