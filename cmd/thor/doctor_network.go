package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	"github.com/nats-io/nats.go/jetstream"

	"thor/monitor/view"
	"thor/subjects"
)

// maxSkew is how far a broker's clock may be off. Certificates are dated back
// five minutes, so that this harms nothing yet, and NTP is far better.
const maxSkew = 10 * time.Second

// checkNetwork asks through a connection of our own.
func checkNetwork(ctx context.Context, r *reach) []finding {
	s, err := r.open(ctx)
	if err != nil {
		return []finding{{false, err.Error(), "see the brokers' logs"}}
	}
	defer s.end()
	operator := s.Identity().Has(subjects.Operator)
	var fs []finding
	if operator {
		fs = checkClocks(ctx, s)
	}
	v, err := s.status(ctx)
	if err != nil {
		return append(fs, finding{false, "connected, but no manager tells a status", "start a thor manager, and see its log"})
	}
	st := v.Status
	fs = append(fs, fine("status of epoch %d, generation %d by %s", st.Epoch, st.Generation, st.Manager))
	fs = append(fs, checkSpares(st)...)
	if operator {
		fs = append(fs, checkBucket(ctx, s, st.Mark()))
	}
	fs = append(fs, checkDigests(st)...)
	fs = append(fs, checkNameServers(ctx, st, r.dns)...)
	if ok, reasons := view.Health(st, v.Stale, v.Connected); !ok {
		for _, why := range reasons {
			fs = append(fs, finding{false, why, "see thor members, and the log of the node"})
		}
	}
	return fs
}

// A pong is what a broker says of itself.
type pong struct {
	Server struct {
		Name string    `json:"name"`
		Time time.Time `json:"time"`
	} `json:"server"`
}

// checkClocks compares ours with that of every broker of the cluster.
func checkClocks(ctx context.Context, s *session) []finding {
	inbox := s.Conn().NewInbox()
	sub, err := s.Conn().SubscribeSync(inbox)
	if err != nil {
		return []finding{{false, fmt.Sprintf("cannot ask the brokers: %v", err), "see the brokers' logs"}}
	}
	defer sub.Unsubscribe()
	asked := time.Now()
	if err := s.Conn().PublishRequest("$SYS.REQ.SERVER.PING", inbox, nil); err != nil {
		return []finding{{false, fmt.Sprintf("cannot ask the brokers: %v", err), "see the brokers' logs"}}
	}
	var names []string
	var fs []finding
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			break
		}
		var p pong
		if json.Unmarshal(m.Data, &p) != nil || p.Server.Time.IsZero() {
			continue
		}
		names = append(names, subjects.Printable(p.Server.Name, 64))
		if off := skew(p.Server.Time, asked, time.Now()); off.Abs() > maxSkew {
			fs = append(fs, finding{
				false, fmt.Sprintf("the clock of broker %s is %s", names[len(names)-1], ahead(off)),
				"run NTP on both hosts: certificates depend on the time",
			})
		}
	}
	if len(names) == 0 {
		return []finding{{false, "no broker answers $SYS.REQ.SERVER.PING", "see the brokers' logs"}}
	}
	slices.Sort(names)
	return append([]finding{fine("brokers that see each other: %s", strings.Join(names, " "))}, fs...)
}

// skew is by how much there is surely ahead of our clock, given that its answer
// was made between asked and now; 0 if it may be right.
func skew(there, asked, now time.Time) time.Duration {
	switch {
	case there.Before(asked):
		return there.Sub(asked)
	case there.After(now):
		return there.Sub(now)
	}
	return 0
}

func ahead(d time.Duration) string {
	if d < 0 {
		return fmt.Sprintf("%s behind ours", (-d).Round(time.Second))
	}
	return fmt.Sprintf("%s ahead of ours", d.Round(time.Second))
}

// checkSpares notes what nobody would take over from.
func checkSpares(st *subjects.Status) (fs []finding) {
	for _, x := range []struct {
		role subjects.Role
		what string
		want int
	}{{subjects.EventServer, "broker", 3}, {subjects.Manager, "manager", 2}, {subjects.DNSManager, "name server", 2}} {
		up := 0
		for _, m := range st.Roles[x.role] {
			if m.State == subjects.Up {
				up++
			}
		}
		switch {
		case up == 0 && x.role == subjects.Manager:
			fs = append(fs, finding{false, "the status shows no manager that is up", "see the managers' logs"})
		case up >= x.want:
			fs = append(fs, fine("%d %ss up", up, x.what))
		default:
			fs = append(fs, finding{true, fmt.Sprintf("%d %s(s) up, and nobody to spare", up, x.what), fmt.Sprintf("run %d on different hosts", x.want)})
		}
	}
	return fs
}

// checkBucket reads what managers write for those that start.
func checkBucket(ctx context.Context, s *session, now subjects.Mark) finding {
	const fix = "JetStream needs a majority of the brokers: see their logs, and nats --context thor server check jetstream"
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	js, err := jetstream.New(s.Conn())
	if err != nil {
		return finding{false, fmt.Sprintf("bucket %s: %v", subjects.StatusBucket, err), fix}
	}
	kv, err := js.KeyValue(ctx, subjects.StatusBucket)
	if err != nil {
		return finding{false, fmt.Sprintf("bucket %s: %v", subjects.StatusBucket, err), fix}
	}
	e, err := kv.Get(ctx, subjects.StatusKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return finding{true, fmt.Sprintf("bucket %s holds no snapshot yet", subjects.StatusBucket), "managers write it within a second of a change: ask again"}
	}
	if err != nil {
		return finding{false, fmt.Sprintf("bucket %s: %v", subjects.StatusBucket, err), fix}
	}
	var head struct{ Epoch, Generation uint64 }
	if err := json.Unmarshal(e.Value(), &head); err != nil {
		return finding{false, fmt.Sprintf("the snapshot in bucket %s is damaged: %v", subjects.StatusBucket, err), "nats kv del " + subjects.StatusBucket + " " + subjects.StatusKey + ": a manager writes it anew"}
	}
	return fine("bucket %s holds epoch %d, generation %d, written %s ago", subjects.StatusBucket, head.Epoch, head.Generation, rough(time.Since(e.Created())))
}

// checkDigests compares what the name servers say of their configurations.
func checkDigests(st *subjects.Status) []finding {
	by := make(map[string][]string)
	for _, m := range st.Roles[subjects.DNSManager] {
		if d := m.Attrs["zone"]; d != "" {
			by[d] = append(by[d], string(m.Node))
		}
	}
	switch len(by) {
	case 0:
		return nil
	case 1:
		return []finding{fine("the name servers have one zone configuration")}
	}
	var groups []string
	for _, d := range slices.Sorted(maps.Keys(by)) {
		groups = append(groups, strings.Join(by[d], " "))
	}
	slices.Sort(groups)
	return []finding{{
		false, "the name servers have different zone configurations: " + strings.Join(groups, " | "),
		"make [dns] (ns, contact, slice, slices, ttl, static) the same on all, and send them SIGHUP",
	}}
}

// checkNameServers asks each where it is announced, and compares the answers.
// known are places that are better known, by their port: a thor up listens
// elsewhere than where its name servers are announced.
func checkNameServers(ctx context.Context, st *subjects.Status, known []string) []finding {
	fs, agree := askNameServers(ctx, st, known)
	if !agree { // a change may have come between two of them
		fs, _ = askNameServers(ctx, st, known)
	}
	return fs
}

// place is where to ask the name server m.
func place(m *subjects.Member, known []string) string {
	port := cmp.Or(m.Attrs["port"], "53")
	for _, k := range known {
		if _, p, err := net.SplitHostPort(k); err == nil && p == port {
			return k
		}
	}
	return net.JoinHostPort(m.Address().String(), port)
}

func askNameServers(ctx context.Context, st *subjects.Status, known []string) (fs []finding, agree bool) {
	members := st.Roles[subjects.DNSManager]
	said := make(map[string][]string)
	for i := range members {
		m := &members[i]
		server := place(m, known)
		answer, err := fixedAnswers(ctx, server, st.Domain, uint32(st.Generation))
		if err != nil {
			fs = append(fs, finding{
				false, fmt.Sprintf("name server %s at %s: %v", m.Node, server, err),
				"see its log; is UDP port " + server[strings.LastIndexByte(server, ':')+1:] + " open in the firewall?",
			})
			continue
		}
		said[answer] = append(said[answer], string(m.Node))
	}
	switch {
	case len(said) == 1:
		for _, nodes := range said {
			fs = append(fs, fine("the name servers agree: %s", strings.Join(nodes, " ")))
		}
	case len(said) > 1:
		var groups []string
		for _, nodes := range said {
			groups = append(groups, strings.Join(nodes, " "))
		}
		slices.Sort(groups)
		fs = append(fs, finding{
			false, "the name servers answer differently: " + strings.Join(groups, " | "),
			"thor members thor_dnsmanager shows their zone digests; if these are the same, ask again",
		})
	}
	return fs, len(said) < 2
}

// fixedAnswers are the sets of the apex that are no random slices, as one text. A server whose serial is behind generation gets two
// seconds to catch up.
func fixedAnswers(ctx context.Context, server, domain string, generation uint32) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for try := 0; ; try++ {
		var all []string
		serial := uint32(0)
		for _, kind := range []uint16{dns.TypeSOA, dns.TypeNS, dns.TypeNAPTR} {
			var q dns.Msg
			q.SetQuestion(dns.Fqdn(domain), kind)
			r, _, err := new(dns.Client).ExchangeContext(ctx, &q, server)
			if err != nil {
				return "", err
			}
			if r.Rcode != dns.RcodeSuccess {
				return "", errors.New("it answers " + dns.RcodeToString[r.Rcode])
			}
			for _, rr := range r.Answer {
				if soa, ok := rr.(*dns.SOA); ok {
					serial = soa.Serial // may rise between two questions
					continue
				}
				all = append(all, rr.String())
			}
		}
		slices.Sort(all)
		if int32(serial-generation) >= 0 { // RFC 1982
			return strings.Join(all, "\n"), nil
		}
		select {
		case <-tick.C:
			if try >= 10 {
				return "", fmt.Errorf("its serial is %d, and the status is at %d: it does not hear the managers", serial, generation)
			}
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}
