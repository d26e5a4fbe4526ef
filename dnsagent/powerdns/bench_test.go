package powerdns_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent"
	"thor/dnsagent/powerdns"
	"thor/dnsagent/zone"
	"thor/overlay"
	"thor/provisioning/store/mariadbtest"
	"thor/subjects"
)

// TestBenchPowerDNS prints how long it takes from a name server's news of a changed
// membership until the PowerDNS beside it answers so, with the caches that PowerDNS
// has by default and questions for the same name all the time. It runs only when
// THOR_BENCH_POWERDNS says how many changes to make, or use just bench-powerdns;
// THOR_BENCH_POWERDNS_MEMBERS bounds the sizes of the network.
func TestBenchPowerDNS(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("THOR_BENCH_POWERDNS"))
	if err != nil || n < 1 {
		t.Skip("set THOR_BENCH_POWERDNS to a number of changes, or use just bench-powerdns")
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 2, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "members\trows\tfirst write ms\tchanges\tp50 ms\tp99 ms\tmost ms")
	most, err := strconv.Atoi(os.Getenv("THOR_BENCH_POWERDNS_MEMBERS"))
	if err != nil {
		most = 5000
	}
	for _, members := range []int{20, 200, 1000, 5000} {
		if members <= most {
			benchChanges(t, w, members, n)
		}
	}
	_ = w.Flush()
	fmt.Print(out.String())
}

// A source delivers the views that are put into it.
type source chan *overlay.View

func (s source) Watch(context.Context) <-chan *overlay.View { return s }

func benchChanges(t *testing.T, table *tabwriter.Writer, members, changes int) {
	d := newDatabase(t, mariadbtest.Start(t, mariadbtest.Durable))
	p := startPDNS(t, d)
	w, err := powerdns.New(powerdns.Config{DSN: d.dsn, Domain: "example.net", Control: p.socket(), Server: p.addr})
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
	for i := range members {
		n.put(subjects.SIPProxy, fmt.Sprintf("m%04d", i), 0, fmt.Sprintf("10.0.%d.%d", i>>8, i&255))
	}
	tell := func() uint32 {
		n.status.Generation++
		views <- &overlay.View{Status: n.status.Clone(), Connected: true}
		return uint32(n.status.Generation)
	}
	began := time.Now()
	serial := tell()
	eventually(t, "the zone is there", func() error { return p.has(serial) })
	first := time.Since(began)
	c, err := net.Dial("udp", p.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn := &dns.Conn{Conn: c}
	client := &dns.Client{Timeout: time.Second}
	there := func() bool {
		r, _, err := client.ExchangeWithConn(new(dns.Msg).SetQuestion("changing.example.net.", dns.TypeA), conn)
		if err != nil {
			t.Fatal(err)
		}
		return r.Rcode == dns.RcodeSuccess && len(r.Answer) == 1
	}
	var times []float64
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	before := d.rows("SELECT COUNT(*) FROM records")
	for i := range changes {
		if i%2 == 0 {
			n.put(subjects.SIPProxy, "changing", 0, "10.99.99.99")
		} else {
			n.status.Remove(subjects.SIPProxy, "changing")
		}
		began := time.Now()
		tell()
		for ; there() != (i%2 == 0); <-tick.C {
			if time.Since(began) > patience {
				t.Fatal("no change")
			}
		}
		times = append(times, float64(time.Since(began).Microseconds())/1000)
		for range 20 { // what is asked in between stays in the caches
			<-tick.C
			there()
		}
	}
	slices.Sort(times)
	_, _ = fmt.Fprintf(table, "%d\t%s\t%.0f\t%d\t%.1f\t%.1f\t%.1f\n", members, before, float64(first.Microseconds())/1000, changes,
		times[len(times)/2], times[len(times)*99/100], times[len(times)-1])
	cancel()
	close(views)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
