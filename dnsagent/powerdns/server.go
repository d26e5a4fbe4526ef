package powerdns

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/miekg/dns"
	"github.com/rs/zerolog"

	"thor/dnsagent/powerdns/plan"
	"thor/overlay/check"
)

// Times of what is said to PowerDNS. A question that it asks the database before a
// commit can get into its cache after the purge, so there is a second one.
const (
	purgeAgain  = 40 * time.Millisecond
	purgeRetry  = time.Second
	askTimeout  = 500 * time.Millisecond
	askEvery    = 2 * time.Millisecond
	visibleMost = 2 * time.Second
	luaTries    = 3
	luaTriesGap = 50 * time.Millisecond
)

// settled is a state of the database that PowerDNS is to answer with.
type settled struct {
	serial  uint32
	created bool      // the zone is new to the database
	primary bool      // others transfer it
	since   time.Time // when the zone was offered; zero: before the start
}

// server looks after one PowerDNS: that it forgets what it keeps of the database
// when that changes, and answers with what is there.
type server struct {
	cfg     *Config
	apex    string
	log     zerolog.Logger
	metrics *metrics
	poke    func()
	news    chan struct{} // has room for one

	mu        sync.Mutex
	next      settled
	pending   bool
	purging   string // why the caches could not be purged; empty: they were
	asking    string // why it does not answer as it should; empty: it does
	luaFailed bool   // it does not run LUA records
}

func newServer(cfg *Config, log zerolog.Logger, m *metrics, poke func()) *server {
	return &server{cfg: cfg, apex: dns.Fqdn(cfg.Domain), log: log, metrics: m, poke: poke, news: make(chan struct{}, 1)}
}

// follow takes note of what the database has now.
func (s *server) follow(n settled) {
	s.mu.Lock()
	if s.pending { // what came before was not looked at yet
		n.created = n.created || s.next.created
		if !s.next.since.IsZero() {
			n.since = s.next.since
		}
	}
	s.next, s.pending = n, true
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (s *server) luaFails() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.luaFailed
}

func (s *server) faults() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.purging != "" {
		out = append(out, "caches of PowerDNS cannot be purged: "+s.purging)
	}
	if s.asking != "" {
		out = append(out, fmt.Sprintf("PowerDNS at %s: %s", s.cfg.Server, s.asking))
	}
	return out
}

// run does what follow asks for, and looks at PowerDNS from time to time.
func (s *server) run(ctx context.Context) {
	if s.cfg.Control == "" && !s.cfg.Server.IsValid() {
		return
	}
	var last settled
	known := false
	tick := time.NewTicker(s.cfg.Verify)
	defer tick.Stop()
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		select {
		case <-s.news:
			s.mu.Lock()
			last, s.pending = s.next, false
			s.mu.Unlock()
			known = true
			if !s.purge(ctx, last, true) {
				again.Reset(purgeRetry)
				continue
			}
			s.awaitVisible(ctx, last)
			again.Reset(purgeAgain)
		case <-again.C:
			if !s.purge(ctx, last, false) {
				again.Reset(purgeRetry)
			}
		case <-tick.C:
			if known {
				s.look(ctx, last)
			}
		case <-ctx.Done():
			return
		}
	}
}

// purge has PowerDNS forget what it keeps of the zone, and find a new one. It
// reports whether that was done, or cannot be.
func (s *server) purge(ctx context.Context, n settled, first bool) bool {
	if s.cfg.Control == "" {
		return true
	}
	commands := []string{"PURGE " + s.cfg.Domain + "$"}
	if n.created {
		commands = append([]string{"REDISCOVER"}, commands...)
	}
	if n.primary && first {
		commands = append(commands, "NOTIFY "+s.cfg.Domain)
	}
	var err error
	for _, c := range commands {
		if _, err = control(ctx, s.cfg.Control, c); err != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return true
	}
	text := ""
	if err != nil {
		text = check.Explain(err).Text
		s.metrics.purgeFailures.Inc()
	}
	s.mu.Lock()
	news := text != s.purging
	s.purging = text
	s.mu.Unlock()
	switch {
	case news && err != nil:
		s.log.Warn().Str("reason", text).Str("socket", s.cfg.Control).Msg("caches of PowerDNS not purged")
	case news:
		s.log.Info().Msg("caches of PowerDNS purged again")
	}
	return err == nil
}

// awaitVisible asks PowerDNS until it answers with n, or a newer one, or for a while.
func (s *server) awaitVisible(parent context.Context, n settled) {
	if !s.cfg.Server.IsValid() {
		return
	}
	ctx, cancel := context.WithTimeout(parent, visibleMost)
	defer cancel()
	purged := time.Now()
	for ctx.Err() == nil {
		serial, err := s.serial(ctx)
		if err == nil && !plan.Later(n.serial, serial) {
			if !n.since.IsZero() {
				s.metrics.visible.Observe(time.Since(n.since).Seconds())
			}
			s.saw("")
			s.probe(ctx)
			return
		}
		if time.Since(purged) > purgeAgain {
			s.purge(ctx, n, false)
			purged = time.Now()
		}
		if !sleep(ctx, askEvery) || s.outdated() {
			break
		}
	}
	if !s.outdated() && parent.Err() == nil {
		s.look(parent, n)
	}
}

// outdated reports whether the database has changed since.
func (s *server) outdated() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending
}

// look asks PowerDNS once whether it answers with n or a newer one.
func (s *server) look(ctx context.Context, n settled) {
	if !s.cfg.Server.IsValid() {
		return
	}
	serial, err := s.serial(ctx)
	if ctx.Err() != nil {
		return
	}
	switch {
	case err != nil:
		s.saw(err.Error())
		n.created = true // it may not know the zone
		s.purge(ctx, n, false)
	case plan.Later(n.serial, serial):
		s.saw(fmt.Sprintf("it has serial %d, the database %d", serial, n.serial))
		s.purge(ctx, n, false)
	default:
		s.saw("")
		s.probe(ctx)
	}
}

// saw notes why PowerDNS does not answer as it should; empty: it does.
func (s *server) saw(text string) {
	s.mu.Lock()
	news := text != s.asking
	s.asking = text
	s.mu.Unlock()
	switch {
	case news && text != "":
		s.log.Warn().Stringer("addr", s.cfg.Server).Str("reason", text).Msg("PowerDNS does not answer with the zone")
	case news:
		s.log.Info().Stringer("addr", s.cfg.Server).Msg("PowerDNS answers with the zone")
	}
}

// serial asks PowerDNS for that of the zone.
func (s *server) serial(ctx context.Context) (uint32, error) {
	r, err := s.ask(ctx, s.apex, dns.TypeSOA)
	if err != nil {
		return 0, err
	}
	for _, rr := range r.Answer {
		if soa, ok := rr.(*dns.SOA); ok && r.Rcode == dns.RcodeSuccess && r.Authoritative {
			return soa.Serial, nil
		}
	}
	return 0, fmt.Errorf("it answers %s, and not with the zone", dns.RcodeToString[r.Rcode])
}

func (s *server) ask(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(name, qtype)
	m.RecursionDesired = false
	c := &dns.Client{Timeout: askTimeout, Dialer: &net.Dialer{Timeout: askTimeout}}
	r, _, err := c.ExchangeContext(ctx, m, s.cfg.Server.String())
	if err != nil {
		return nil, check.Explain(err)
	}
	return r, nil
}

// probeLabel is a name below the apex with a LUA record: whether PowerDNS answers
// for it says whether it runs them.
const probeLabel = "_lua"

// withProbe is set and the row that is asked for by probe.
func withProbe(set *plan.Set, domain string) *plan.Set {
	more := *set
	more.Rows = append(set.Rows[:len(set.Rows):len(set.Rows)], plan.Row{
		Name: probeLabel + "." + domain, Type: "LUA", Content: `TXT ";return {tostring(pdnsrandom(1))}"`, TTL: 60,
	})
	return &more
}

// probe finds out whether PowerDNS runs LUA records, as far as it answers at all.
func (s *server) probe(ctx context.Context) {
	if s.cfg.Mode != plan.Lua {
		return
	}
	fails := false
	for range luaTries {
		r, err := s.ask(ctx, probeLabel+"."+s.apex, dns.TypeTXT)
		if err != nil || r.Rcode == dns.RcodeNameError { // or the agent that writes does without
			return
		}
		fails = r.Rcode != dns.RcodeSuccess || len(r.Answer) == 0
		if !fails || !sleep(ctx, luaTriesGap) {
			break
		}
	}
	s.mu.Lock()
	turned := fails != s.luaFailed
	s.luaFailed = fails
	s.mu.Unlock()
	switch {
	case turned && fails:
		s.log.Warn().Stringer("addr", s.cfg.Server).Msg("PowerDNS does not run LUA records: slices are rotated")
	case turned:
		s.log.Info().Stringer("addr", s.cfg.Server).Msg("PowerDNS runs LUA records")
	}
	if turned {
		s.poke()
	}
}
