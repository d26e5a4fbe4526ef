package plan

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
)

// Sizes of columns of the table records. A row that does not fit is left out: the
// server would refuse the whole transaction.
const (
	maxName    = 255 // characters
	maxType    = 10
	maxContent = 64000
	maxTTL     = math.MaxInt32
)

// A Row is what a row of the table records says. Names are lower case and, as
// PowerDNS wants them, without the final dot.
type Row struct {
	Name    string
	Type    string // empty: the name exists and has no records
	Content string
	TTL     int64
	Prio    int64 // of MX and SRV; else 0
}

// Key names the set that a row belongs to.
type Key struct{ Name, Type string }

// Key is that of r.
func (r *Row) Key() Key { return Key{r.Name, r.Type} }

// A Mode says how a set is drawn from that is larger than an answer.
type Mode string

const (
	// Lua has PowerDNS draw the records of each answer by itself.
	Lua Mode = "lua"
	// Rotate writes one slice, and another one after each TTL.
	Rotate Mode = "rotate"
)

// A Set of rows is what the database should hold for one zone.
type Set struct {
	Rows    []Row
	LeftOut []LeftOut
	// Redraw is how long what was drawn may stay: after that another seed is to be
	// used. 0: nothing was drawn.
	Redraw time.Duration
}

// A LeftOut is a record that PowerDNS' tables cannot hold.
type LeftOut struct {
	Key
	Why string
}

// Rows are those of z. What is drawn depends on seed alone.
func Rows(z *zone.Zone, mode Mode, seed uint64) *Set {
	m := &maker{set: &Set{}, mode: mode, seed: seed}
	names := z.Names()
	m.set.Rows = make([]Row, 0, len(names))
	with := make(map[string]bool, len(names)) // records
	for s := range z.RRsets() {
		with[s.Name] = true
		m.add(s)
	}
	for _, name := range names {
		// One that is too long is there for the sake of a longer one, which was left out.
		if name := undotted(name); !with[name+"."] && len(name) <= maxName {
			m.row(Row{Name: name})
		}
	}
	return m.set
}

type maker struct {
	set  *Set
	mode Mode
	seed uint64
}

// add makes the rows of one set.
func (m *maker) add(s zone.RRset) {
	drawn := m.mode == Rotate && s.Slice < len(s.Records) || m.mode == Lua && len(s.Records) > 1
	switch {
	case s.Draw == nil || !drawn:
		for _, rr := range s.Records {
			m.record(rr)
		}
	case m.mode == Lua:
		m.lua(s)
	default:
		m.redraw(s)
		var picked [zone.MaxSlice]int
		for _, i := range picked[:s.Draw.Pick(m.rng(s), &picked)] {
			m.record(s.Records[i])
		}
	}
}

// lua adds the row of a set that PowerDNS draws from.
func (m *maker) lua(s zone.RRset) {
	d, cut := drawingOf(s, m.rng)
	if cut {
		m.redraw(s)
	}
	if len(d.contents) == 0 {
		m.set.LeftOut = append(m.set.LeftOut, LeftOut{Key{undotted(s.Name), dns.Type(s.Type).String()}, "its records are not of addresses and host names"})
		return
	}
	r := Row{Name: undotted(s.Name), Type: "LUA", Content: dns.Type(s.Type).String() + ` "` + d.code() + `"`, TTL: ttl(s.Records[0])}
	m.row(r)
}

// redraw notes that s was drawn from.
func (m *maker) redraw(s zone.RRset) {
	every := time.Duration(ttl(s.Records[0])) * time.Second
	if m.set.Redraw == 0 || every < m.set.Redraw {
		m.set.Redraw = every
	}
}

// rng draws for s, by the seed.
func (m *maker) rng(s zone.RRset) *rand.Rand {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %d", s.Name, s.Type)
	return rand.New(rand.NewPCG(m.seed, h.Sum64()))
}

func (m *maker) record(rr dns.RR) {
	content, prio := content(rr)
	m.row(Row{Name: undotted(rr.Header().Name), Type: dns.Type(rr.Header().Rrtype).String(), Content: content, TTL: ttl(rr), Prio: prio})
}

// row adds r if it fits, and reports whether it did.
func (m *maker) row(r Row) bool {
	why := ""
	switch {
	case len(r.Name) > maxName:
		why = fmt.Sprintf("its name has %d characters, %d fit", len(r.Name), maxName)
	case len(r.Type) > maxType:
		why = fmt.Sprintf("its type has %d characters, %d fit", len(r.Type), maxType)
	case len(r.Content) > maxContent:
		why = fmt.Sprintf("its content has %d characters, %d fit", len(r.Content), maxContent)
	}
	if why != "" {
		m.set.LeftOut = append(m.set.LeftOut, LeftOut{r.Key(), why})
		return false
	}
	m.set.Rows = append(m.set.Rows, r)
	return true
}

func ttl(rr dns.RR) int64 { return min(int64(rr.Header().Ttl), maxTTL) }

// undotted is an absolute name as PowerDNS writes it.
func undotted(name string) string {
	if name == "." {
		return name
	}
	return strings.TrimSuffix(name, ".")
}

// content is what PowerDNS wants to know of rr.
func content(rr dns.RR) (content string, prio int64) {
	switch rr := rr.(type) {
	case *dns.A:
		return rr.A.String(), 0
	case *dns.AAAA:
		return rr.AAAA.String(), 0
	case *dns.SOA:
		return soa(rr, rr.Serial), 0
	case *dns.NS:
		return undotted(rr.Ns), 0
	case *dns.CNAME:
		return undotted(rr.Target), 0
	case *dns.PTR:
		return undotted(rr.Ptr), 0
	case *dns.MX:
		return undotted(rr.Mx), int64(rr.Preference)
	case *dns.SRV:
		return fmt.Sprintf("%d %d %s", rr.Weight, rr.Port, undotted(rr.Target)), int64(rr.Priority)
	}
	text := rr.String()
	return strings.TrimPrefix(text, rr.Header().String()), 0
}

// soa is the content of an SOA row with the given serial.
func soa(rr *dns.SOA, serial uint32) string {
	return fmt.Sprintf("%s %s %d %d %d %d %d", undotted(rr.Ns), undotted(rr.Mbox), serial, rr.Refresh, rr.Retry, rr.Expire, rr.Minttl)
}
