package dnsagent

import (
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/subjects"
)

// All members have the same chance to be in an answer: of 100,000 answers as they come from the socket, each with
// four of 200 members, chi-square of how often each was there. The draws have a fixed seed, so the result is
// the same each time.
func TestAnswersFromTheSocketAreFair(t *testing.T) {
	const members, answers, slice = 200, 100_000, 4
	st := &subjects.Status{V: 1, Domain: "sipthor.net", Epoch: 1, Generation: 1}
	for i := range members {
		m := subjects.Member{Node: subjects.NodeID(fmt.Sprintf("m%03d", i)), State: subjects.Up}
		m.Addresses = append(m.Addresses, addr4(10, 1, byte(i/250), byte(1+i%250)))
		st.Put(subjects.SIPProxy, m)
	}
	s := startAs(t, st, nil, func(a *Agent) { a.seed = func() [32]byte { return [32]byte{20, 9} } })
	c := s.dial(t, "udp")
	defer func() { _ = c.Close() }()
	q := question("proxy.sipthor.net", dns.TypeA, dns.ClassINET)
	request := packet(0, [4]uint16{1}, q)
	first := len(request) // where the first record begins
	const ahead, record = 50, 16
	seen := make(map[[4]byte]int)
	for i := range answers + ahead { // questions on their way
		if i%1000 == 0 {
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		}
		if i < answers {
			c.send(t, request)
		}
		if i < ahead {
			continue
		}
		b := c.receive(t)
		if len(b) != first+slice*record {
			t.Fatalf("answer %x", b)
		}
		for k := range slice {
			end := first + (k+1)*record
			seen[[4]byte(b[end-4:end])]++
		}
	}
	// Counts of draws without putting back vary less than independent ones, by p(1-p) and their covariance.
	const p, most = float64(slice) / members, 248.33 // chi-square of 199 degrees of freedom at p = 0.01
	sum := 0.0
	for _, n := range seen {
		d := float64(n) - answers*p
		sum += d * d
	}
	chi := sum / (answers * p * (1 - p)) * (members - 1) / members
	t.Logf("%d members, chi-square %.1f", len(seen), chi)
	if len(seen) != members || chi > most {
		t.Errorf("%d members were seen, chi-square %.1f, want at most %.1f", len(seen), chi, most)
	}
}
