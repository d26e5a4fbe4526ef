package powerdns_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dbagent/location"
	"thor/dnsagent/powerdns"
	"thor/dnsagent/powerdns/plan"
	"thor/dnsagent/zone"
	"thor/provisioning/store/mariadbtest"
	"thor/subjects"
)

// value is that of a metric, the sum over its labels but those given.
func (w *writer) value(t testing.TB, name, label string) float64 {
	t.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() != name || label != "" && !strings.Contains(fmt.Sprint(m.GetLabel()), label) {
				continue
			}
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// is waits until the writer does what state says.
func (w *writer) is(t testing.TB, state string) { t.Helper(); w.isWithin(t, patience, state) }

func (w *writer) isWithin(t testing.TB, d time.Duration, state string) {
	t.Helper()
	within(t, d, "the state is "+state, func() error {
		if w.value(t, "thor_dns_powerdns_state", `"`+state+`"`) != 1 {
			return fmt.Errorf("it is not")
		}
		return nil
	})
}

// has is an error until the database has records of a host.
func (d *database) has(host string) func() error {
	return func() error {
		if d.rows("SELECT COUNT(*) FROM records WHERE name = '"+host+".example.net'") == "0" {
			return fmt.Errorf("%s is not there", host)
		}
		return nil
	}
}

func lag(w *writer) func() error {
	return func() error {
		if l := w.Lag(); l != 0 {
			return fmt.Errorf("lag %v", l)
		}
		return nil
	}
}

func TestOneOfSeveralWrites(t *testing.T) {
	t.Parallel() // it waits, mostly
	d := newDatabase(t, mariadbtest.Shared(t))
	p1, p2 := startPDNS(t, d), startPDNS(t, d)
	n := newNetwork(t, nil)
	populate(n, 6)
	w1 := run(t, d, beside(p1))
	z := n.zone()
	w1.Offer(z, true)
	w1.is(t, "writing")
	w2 := run(t, d, beside(p2))
	w2.Offer(z, true)
	w2.is(t, "standby")
	for range 5 {
		n.status.Remove(subjects.SIPProxy, subjects.NodeID(fmt.Sprintf("p%03d", n.status.Generation)))
		z = n.zone()
		w2.Offer(z, true)
		w1.Offer(z, true)
		// The PowerDNS beside the one that stands by has its caches purged too.
		for _, p := range []*pdns{p1, p2} {
			eventually(t, "both have the zone", func() error { return p.has(z.Serial()) })
		}
	}
	eventually(t, "the one that stands by knows", lag(w2))
	if got := w2.value(t, "thor_dns_powerdns_rows_total", ""); got != 0 {
		t.Errorf("the one that stands by wrote %v rows", got)
	}
	w1.stop()
	w2.is(t, "writing")
	n.put(subjects.SIPProxy, "p200", 0, "192.0.2.200")
	z = n.zone()
	w2.Offer(z, true)
	eventually(t, "the next one writes", func() error { return p2.has(z.Serial()) })
}

// A host that loses its power says nothing any more: the server keeps its session,
// and the lock with it, for a time that the session has asked for.
func TestASilentHolderLosesTheLock(t *testing.T) {
	t.Parallel() // it waits, mostly
	d := newDatabase(t, mariadbtest.Shared(t))
	silent := proxyTo(t, d.Addr())
	n := newNetwork(t, nil)
	populate(n, 3)
	z := n.zone()
	through := func(c *powerdns.Config) {
		var err error
		if c.DSN, err = location.Parse(strings.Replace(c.DSN.Reveal(), d.Addr(), silent.addr(), 1)); err != nil {
			t.Fatal(err)
		}
	}
	w1 := run(t, d, through)
	w1.Offer(z, true)
	w1.is(t, "writing")
	w2 := run(t, d, nil)
	w2.Offer(z, true)
	w2.is(t, "standby")
	silent.cut()
	w2.isWithin(t, 2*patience, "writing") // the server waits 15 s
}

// One whose status no manager confirms never takes the database back to it.
func TestAnOlderStatusIsNotWritten(t *testing.T) {
	t.Parallel() // it waits, mostly
	d := newDatabase(t, mariadbtest.Shared(t))
	n := newNetwork(t, nil)
	populate(n, 3)
	old := n.zone()
	n.put(subjects.SIPProxy, "p100", 0, "192.0.2.200")
	now := n.zone()
	w1 := run(t, d, nil)
	w1.Offer(now, true)
	eventually(t, "it is written", d.has("p100"))
	w1.stop()
	w2 := run(t, d, nil)
	w2.Offer(old, false)
	w2.is(t, "behind")
	if d.rows("SELECT COUNT(*) FROM records WHERE name = 'p100.example.net'") == "0" {
		t.Error("the older status was written")
	}
	// What a manager confirms is believed after a while: the later status is that of a network that is no more.
	w2.Offer(old, true)
	eventually(t, "the confirmed one is written", func() error {
		if d.rows("SELECT COUNT(*) FROM records WHERE name = 'p100.example.net'") != "0" {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	if serial := d.rows("SELECT content FROM records WHERE type = 'SOA'"); !strings.Contains(serial, fmt.Sprintf(" %d ", now.Serial()+1)) {
		t.Errorf("the serial went back: %s", serial)
	}
}

// One that is cut off from the network lets another have the lock.
func TestTheOneThatKnowsMoreWrites(t *testing.T) {
	d := newDatabase(t, mariadbtest.Shared(t))
	n := newNetwork(t, nil)
	populate(n, 3)
	z := n.zone()
	w1 := run(t, d, nil)
	w1.Offer(z, true)
	w1.is(t, "writing")
	w2 := run(t, d, nil)
	w2.Offer(z, true)
	w2.is(t, "standby")
	w1.Offer(z, false)
	w2.is(t, "writing")
}

// One that is cut off and knows an older status than the rows are of does not keep
// the lock from another.
func TestAnOlderStatusDoesNotKeepTheLock(t *testing.T) {
	t.Parallel() // it waits, mostly
	d := newDatabase(t, mariadbtest.Shared(t))
	n := newNetwork(t, nil)
	populate(n, 3)
	old := n.zone()
	n.put(subjects.SIPProxy, "p100", 0, "192.0.2.200")
	z := n.zone()
	w1 := run(t, d, nil)
	w1.Offer(z, true)
	eventually(t, "it is written", d.has("p100"))
	w1.stop()
	cutOff := run(t, d, nil)
	cutOff.Offer(old, false)
	cutOff.is(t, "behind")
	w2 := run(t, d, nil)
	w2.Offer(z, true)
	w2.is(t, "writing")
	n.put(subjects.SIPProxy, "p101", 0, "192.0.2.201")
	w2.Offer(n.zone(), true)
	eventually(t, "the next zone is written", d.has("p101"))
	cutOff.is(t, "standby")
	w2.stop()
	cutOff.is(t, "behind")
	if err := d.has("p101")(); err != nil {
		t.Errorf("the older status was written: %v", err)
	}
}

// One that has no status yet does not take the lock.
func TestWithoutAStatusTheLockIsLeftAlone(t *testing.T) {
	d := newDatabase(t, mariadbtest.Shared(t))
	without := run(t, d, nil)
	eventually(t, "it has nothing to do", func() error {
		if got := d.rows("SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND command = 'Sleep' AND time_ms > 300"); got != "1" {
			return fmt.Errorf("%s sessions are idle", got)
		}
		return nil
	})
	n := newNetwork(t, nil)
	populate(n, 3)
	z := n.zone()
	w := run(t, d, nil)
	w.Offer(z, true)
	w.is(t, "writing")
	if strings.Contains(w.log.String(), "written by another name server") {
		t.Error("the one without a status had the lock")
	}
	without.is(t, "standby")
	w.stop()
	without.Offer(z, true)
	without.is(t, "writing")
}

func TestOtherDatabasesAndZonesHaveLocksOfTheirOwn(t *testing.T) {
	s := mariadbtest.Shared(t)
	d1, d2 := newDatabase(t, s), newDatabase(t, s)
	n := newNetwork(t, nil)
	populate(n, 3)
	z := n.zone()
	for _, d := range []*database{d1, d2} {
		w := run(t, d, nil)
		w.Offer(z, true)
		w.is(t, "writing")
	}
	b, err := zone.NewBuilder(zone.DefaultConfig("example.com"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := b.Build(&subjects.Status{V: subjects.Version, Domain: "example.com", Epoch: 1, Generation: 1})
	if err != nil {
		t.Fatal(err)
	}
	w := run(t, d1, func(c *powerdns.Config) { c.Domain = "example.com" })
	w.Offer(other, true)
	w.is(t, "writing")
	if got := d1.rows("SELECT GROUP_CONCAT(name ORDER BY name) FROM domains"); got != "example.com,example.net" {
		t.Errorf("zones: %s", got)
	}
}

// notified is a line of PowerDNS about a NOTIFY for the zone.
var notified = regexp.MustCompile(`(?i)notif[^\n]*'example\.net'`)

func TestASecondaryIsToldOfEveryChange(t *testing.T) {
	d := newDatabase(t, mariadbtest.Shared(t))
	p := startPDNS(t, d, "master=yes")
	w := run(t, d, func(c *powerdns.Config) { beside(p)(c); c.Kind, c.Mode = "MASTER", plan.Rotate })
	n := newNetwork(t, func(c *zone.Config) { c.TTL.Role = time.Second })
	populate(n, 12)
	z := n.zone()
	w.Offer(z, true)
	// What is drawn anew has another serial: secondary servers would not ask for it else.
	eventually(t, "the serial rises", func() error {
		r, err := p.ask("example.net", 6)
		if err != nil || len(r.Answer) == 0 {
			return fmt.Errorf("%v %v", r, err)
		}
		if soa, ok := r.Answer[0].(*dns.SOA); !ok || soa.Serial < z.Serial()+2 {
			return fmt.Errorf("%v", r.Answer[0])
		}
		return nil
	})
	if got := d.rows("SELECT type FROM domains"); got != "MASTER" {
		t.Errorf("type %s", got)
	}
	eventually(t, "PowerDNS notifies", func() error {
		if !notified.MatchString(p.said()) {
			return fmt.Errorf("%s", p.said())
		}
		return nil
	})
}
