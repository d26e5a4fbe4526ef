package powerdns_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent"
	"thor/dnsagent/powerdns"
	"thor/dnsagent/zone"
	"thor/overlay"
	"thor/provisioning/store/mariadbtest"
	"thor/subjects"
)

// theirs are rows of others: in the zone, at names of ours, and in another zone.
const theirs = `INSERT INTO domains (name, type) VALUES ('example.org', 'NATIVE');
INSERT INTO records (domain_id, name, type, content, ttl, prio) VALUES
((SELECT id FROM domains WHERE name = 'example.org'), 'example.org', 'SOA', 'ns1.example.org hostmaster.example.org 3 14400 3600 604800 10', 3600, 0),
((SELECT id FROM domains WHERE name = 'example.org'), 'www.example.org', 'A', '203.0.113.80', 60, 0),
((SELECT id FROM domains WHERE name = 'example.net'), 'www.example.net', 'A', '203.0.113.81', 60, 0),
((SELECT id FROM domains WHERE name = 'example.net'), 'example.net', 'MX', 'mail.example.org', 60, 10),
((SELECT id FROM domains WHERE name = 'example.net'), 'p011.example.net', 'TXT', '"rack 4"', 60, 0),
((SELECT id FROM domains WHERE name = 'example.net'), 'p011.example.net', 'A', '203.0.113.82', 60, 0),
((SELECT id FROM domains WHERE name = 'example.net'), 'off.example.net', 'A', '203.0.113.83', 60, 0);
UPDATE records SET disabled = 1 WHERE name = 'off.example.net';
INSERT INTO comments (domain_id, name, type, modified_at, account, comment) VALUES ((SELECT id FROM domains WHERE name = 'example.net'), 'www.example.net', 'A', 1, 'alice', 'the web server');
INSERT INTO domainmetadata (domain_id, kind, content) VALUES ((SELECT id FROM domains WHERE name = 'example.net'), 'ALLOW-AXFR-FROM', '192.0.2.0/24')`

// ofOthers are the rows, comments and metadata that theirs made.
func (d *database) ofOthers() string {
	return d.rows(`SELECT r.name, r.type, r.content, r.ttl, r.prio, r.disabled FROM records r WHERE
NOT EXISTS (SELECT 1 FROM comments c WHERE c.domain_id = r.domain_id AND c.account = 'thor' AND c.comment = r.id) ORDER BY r.name, r.type, r.content`) + "\n" +
		d.rows("SELECT name, comment FROM comments WHERE account <> 'thor' ORDER BY id") + "\n" +
		d.rows("SELECT kind, content FROM domainmetadata WHERE kind NOT IN ('X-THOR', 'ENABLE-LUA-RECORDS') ORDER BY id")
}

func TestRowsOfOthersStay(t *testing.T) {
	d := newDatabase(t, mariadbtest.Shared(t))
	p := startPDNS(t, d)
	w := run(t, d, beside(p))
	n := newNetwork(t, nil)
	populate(n, 12)
	z := n.zone()
	w.Offer(z, true)
	eventually(t, "the zone is there", func() error { return p.has(z.Serial()) })
	d.exec(theirs)
	before := d.ofOthers()
	if strings.Count(before, "203.0.113.") != 4 {
		t.Fatalf("rows of others: %s", before)
	}
	eventually(t, "the row in a set of ours is told", func() error {
		if got := w.value(t, "thor_dns_powerdns_foreign_rows", ""); got != 1 {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	for i := range 12 {
		n.status.Remove(subjects.SIPProxy, subjects.NodeID(fmt.Sprintf("p%03d", i)))
		if i%4 == 3 {
			z = n.zone()
			w.Offer(z, true)
			eventually(t, "the zone is there", func() error { return p.has(z.Serial()) })
		}
	}
	if got := d.ofOthers(); got != before {
		t.Errorf("rows of others were\n%s\nand are\n%s", before, got)
	}
	if r, err := p.ask("www.example.net", dns.TypeA); err != nil || len(r.Answer) != 1 {
		t.Errorf("a name of others: %v, %v", r, err)
	}
}

// What somebody did by hand is undone; the zone is right again within a comparison.
func TestWhatIsChangedByHandIsPutBack(t *testing.T) {
	t.Parallel() // it waits, mostly
	d := newDatabase(t, mariadbtest.Shared(t))
	p := startPDNS(t, d)
	w := run(t, d, beside(p))
	n := newNetwork(t, nil)
	populate(n, 12)
	z := n.zone()
	w.Offer(z, true)
	eventually(t, "the zone is there", func() error { return p.has(z.Serial()) })
	d.exec("INSERT INTO records (domain_id, name, type, content, ttl) SELECT id, 'www.example.net', 'A', '203.0.113.81', 60 FROM domains WHERE name = 'example.net'")
	whole := d.rows(written)
	for _, c := range []struct{ what, sql string }{
		{"records deleted", "DELETE FROM records WHERE name <> 'www.example.net'"},
		{"records truncated", "TRUNCATE records"},
		{"zone deleted", "DELETE FROM domains"},
		{"marks deleted", "DELETE FROM comments"},
		{"metadata deleted", "DELETE FROM domainmetadata"},
		{"everything truncated", "TRUNCATE records; TRUNCATE comments; TRUNCATE domainmetadata; TRUNCATE domains"},
		{"zone deleted as pdnsutil does", "DELETE FROM records; DELETE FROM comments; DELETE FROM domainmetadata; DELETE FROM domains"},
		{"addresses changed", "UPDATE records SET content = '203.0.113.99' WHERE type = 'A' AND name LIKE 'p0%'"},
		{"all disabled", "UPDATE records SET disabled = 1"},
		{"names in upper case", "UPDATE records SET name = UPPER(name) WHERE name LIKE 'p0%'"},
		{"serial lowered", "UPDATE records SET content = REPLACE(content, ' 2 14400', ' 1 14400') WHERE type = 'SOA'"},
		{"LUA switched on by another word", "UPDATE domainmetadata SET kind = 'enable-lua-records' WHERE kind = 'ENABLE-LUA-RECORDS'"},
		{"a mark that is none", "UPDATE domainmetadata SET content = 'what?' WHERE kind = 'X-THOR'"},
	} {
		d.exec(c.sql)
		eventually(t, c.what, func() error {
			if got := d.rows(written); got != whole {
				return fmt.Errorf("%q, want %q", got, whole)
			}
			if err := p.has(z.Serial()); err != nil {
				return err
			}
			return allowed(p, z)
		})
	}
}

// written is what the writer has written, but for the numbers of rows.
const written = `SELECT r.name, r.type, r.content, r.ttl, r.prio, r.ordername, r.auth, r.disabled FROM records r JOIN domains d ON r.domain_id = d.id AND d.name = 'example.net'
JOIN comments c ON c.domain_id = r.domain_id AND c.account = 'thor' AND c.comment = r.id AND c.name = r.name ORDER BY r.name, r.type, r.content`

func TestTheDatabaseMayDieAndComeBack(t *testing.T) {
	t.Parallel() // it waits, mostly
	d := newDatabase(t, mariadbtest.Start(t, mariadbtest.Fast))
	p := startPDNS(t, d)
	w := run(t, d, beside(p))
	n := newNetwork(t, nil)
	populate(n, 6)
	z := n.zone()
	w.Offer(z, true)
	eventually(t, "the zone is there", func() error { return p.has(z.Serial()) })
	for _, c := range []struct {
		what       string
		stop, back func()
	}{
		{"killed", d.Kill, d.Restart},
		{"stopped", d.Stop, d.Restart},
		{"frozen", d.Freeze, d.Thaw},
	} {
		c.stop()
		n.put(subjects.SIPProxy, "p100", 0, "192.0.2.200")
		w.Offer(n.zone(), true)
		n.status.Remove(subjects.SIPProxy, "p000")
		z = n.zone()
		w.Offer(z, true)
		if c.what != "frozen" { // which is as a slow one for a while
			eventually(t, "it is told that the database is "+c.what, func() error {
				if len(w.Faults()) == 0 || w.Lag() == 0 {
					return fmt.Errorf("faults %q, lag %v", w.Faults(), w.Lag())
				}
				return nil
			})
		}
		c.back()
		eventually(t, "PowerDNS has the newest zone after the database was "+c.what, func() error {
			if err := p.has(z.Serial()); err != nil {
				return err
			}
			return allowed(p, z)
		})
		eventually(t, "no fault is left", func() error {
			if len(w.Faults()) > 0 || w.Lag() != 0 {
				return fmt.Errorf("faults %q, lag %v", w.Faults(), w.Lag())
			}
			return nil
		})
	}
}

func TestPowerDNSMayDieAndComeBack(t *testing.T) {
	t.Parallel() // it waits, mostly
	d := newDatabase(t, mariadbtest.Shared(t))
	p := startPDNS(t, d)
	w := run(t, d, beside(p))
	n := newNetwork(t, nil)
	populate(n, 6)
	z := n.zone()
	w.Offer(z, true)
	eventually(t, "the zone is there", func() error { return p.has(z.Serial()) })
	p.kill()
	n.status.Remove(subjects.SIPProxy, "p000")
	z = n.zone()
	w.Offer(z, true)
	eventually(t, "the database is written without PowerDNS", func() error {
		if w.Lag() != 0 {
			return fmt.Errorf("lag %v", w.Lag())
		}
		return nil
	})
	eventually(t, "it is told that PowerDNS is away", func() error {
		if f := strings.Join(w.Faults(), "\n"); !strings.Contains(f, "purged") || !strings.Contains(f, p.addr.String()) {
			return fmt.Errorf("faults %q", f)
		}
		return nil
	})
	p.start()
	eventually(t, "all answers are of the zone", func() error {
		if f := w.Faults(); len(f) > 0 {
			return fmt.Errorf("faults %q", f)
		}
		return allowed(p, z)
	})
	n.status.Remove(subjects.SIPProxy, "p001")
	z = n.zone()
	w.Offer(z, true)
	eventually(t, "the next zone is there", func() error { return p.has(z.Serial()) })
}

// PowerDNS starts before the database has the zone, and keeps that for minutes.
func TestAZoneThatPowerDNSDoesNotKnowIsFound(t *testing.T) {
	d := newDatabase(t, mariadbtest.Shared(t))
	d.exec("INSERT INTO domains (name, type) VALUES ('other.example', 'NATIVE')")
	p := startPDNS(t, d)
	if err := p.has(1); err == nil || err.Error() != "REFUSED" {
		t.Fatalf("a zone that is not there: %v", err)
	}
	w := run(t, d, func(c *powerdns.Config) { c.Control = p.socket() }) // it does not ask either
	n := newNetwork(t, nil)
	populate(n, 6)
	z := n.zone()
	w.Offer(z, true)
	eventually(t, "the zone is found", func() error { return p.has(z.Serial()) })
}

// A database that hangs holds up neither the news nor the answers of the name server.
func TestTheNameServerDoesNotWaitForTheDatabase(t *testing.T) {
	t.Parallel() // it waits, mostly
	d := newDatabase(t, mariadbtest.Start(t, mariadbtest.Fast))
	w, err := powerdns.New(powerdns.Config{DSN: d.dsn, Domain: "example.net", Verify: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	views := make(source)
	a, err := dnsagent.New(dnsagent.Config{
		Listen: []string{"127.0.0.1:0"}, Zone: zone.DefaultConfig("example.net"), Source: views, Outputs: []dnsagent.Output{w},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	n := newNetwork(t, nil)
	populate(n, 6)
	tell := func() uint32 {
		n.status.Generation++
		views <- &overlay.View{Status: n.status.Clone(), Connected: true}
		return uint32(n.status.Generation)
	}
	tell()
	<-a.Ready()
	eventually(t, "the database is written", lag(&writer{Writer: w}))
	d.Freeze()
	for i := range 100 {
		n.put(subjects.SIPProxy, fmt.Sprintf("p%03d", 100+i), 0, fmt.Sprintf("192.0.2.%d", 100+i))
		serial := tell()
		eventually(t, "the name server has the news", func() error {
			m := new(dns.Msg).SetQuestion("example.net.", dns.TypeSOA)
			r, err := dns.Exchange(m, a.Addresses()[0].String())
			if err != nil {
				return err
			}
			if got := r.Answer[0].(*dns.SOA).Serial; got != serial {
				return fmt.Errorf("serial %d, want %d", got, serial)
			}
			return nil
		})
	}
	if w.Lag() == 0 {
		t.Error("the database hangs, and has the newest zone")
	}
	d.Thaw()
	eventually(t, "the database is written", lag(&writer{Writer: w}))
	cancel()
	close(views)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
