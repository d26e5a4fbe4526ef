package broker_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/identity"
	"thor/subjects"
)

// forbidden are subjects on which no certificate of the classes below may have
// anything published, whoever helps it.
var forbidden = []string{
	"thor.role.sip_proxy.victim", "thor.role.thor_dnsmanager.victim", "thor.role.thor_eventserver.b1", "thor.status.x",
	"thor.sys.disconnect", "thor.sys.revoked", "thor.sys.identity.b1", "thor.sys.lease.manager", "thor.crl.victim",
	"thor.node.victim._.drain.victim", "thor.node.victim.sip_proxy.drain.ops", "thor.node.b1.thor_eventserver.restart.victim", "thor.node.victim._.subscriber.victim", "thor.node.victim._.handover.victim",
	"thor.node.d.thor_database.credentials.provisioning_server.victim", "thor.node.p.provisioning_server.subscriber.sip_proxy.victim",
	"$KV.thor_status.other", "$KV.other.key", "$JS.API.STREAM.CREATE.x", "$JS.API.STREAM.PURGE.KV_thor_status",
	"_ANSWER.victim.victim2.x", "_JS.victim.x", "$SYS.REQ.SERVER.PING.VARZ",
}

// classes are those whose pairs are tried. thor_monitor has a part of what any
// role has.
var classes = []subjects.Role{
	subjects.MediaRelay, subjects.SIPProxy, subjects.Database, subjects.ProvisioningServer, subjects.Manager, subjects.Operator, subjects.Monitor,
}

// A voice is one certificate that plays at random.
type voice struct {
	id  *identity.Identity
	nc  *nats.Conn
	pub []string // patterns it may publish on

	mu      sync.Mutex
	replies []string // reply subjects of what it received
}

func (v *voice) took(m *nats.Msg) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if m.Reply != "" {
		v.replies = append(v.replies[max(0, len(v.replies)-20):], m.Reply)
	}
}

func (v *voice) reply(r *rand.Rand) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.replies) == 0 {
		return ""
	}
	return v.replies[r.IntN(len(v.replies))]
}

// A stage is a broker, what was heard on it, and by which grant that was allowed.
type stage struct {
	t   *testing.T
	n   *brokertest.Net
	ear *nats.Conn
	all *nats.Subscription

	mu     sync.Mutex
	voices []*voice
	counts map[string]int // accepted, by grant
	faults map[string]int // accepted, by forbidden subject
}

// hear judges a message that the broker accepted. A message with a mark is the
// doing of the voice in the mark; one without is an answer of JetStream or of
// the system, and may arrive at a requester only.
func (s *stage) hear(m *nats.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := m.Header.Get(markHeader)
	marked := who != ""
	var by *voice
	for _, v := range s.voices {
		if who == string(v.id.Node) {
			by = v
		}
	}
	if who == "ops" {
		return // who asked first
	}
	switch {
	case m.Subject == subjects.LeaseStored && m.Header.Get("Nats-Stream") == "KV_"+subjects.ElectionBucket:
		return // the doing of the bucket, which a manager may write
	case by != nil:
		for _, p := range by.pub {
			if literal(p, m.Subject) {
				s.counts[string(by.id.Roles[0])+" "+p]++
				return
			}
		}
	case strings.HasPrefix(m.Subject, "$JS.EVENT."), strings.HasPrefix(m.Subject, "_R_."):
		return // no requester chose it
	case m.Subject == subjects.IdentityOf("b1"), m.Subject == subjects.Presence(subjects.EventServer, "b1"), m.Subject == subjects.Disconnect:
		if !marked {
			return // the broker's own
		}
	case !marked && (strings.HasPrefix(m.Reply, "_JS.b1.") || strings.HasPrefix(m.Reply, "_ANSWER.b1.") || strings.HasPrefix(m.Subject, "_JS.b1.")):
		return // the broker's own requests, and their answers
	case own.MatchString(m.Subject):
		return
	}
	// A stored value comes back to its reader with its writer's mark.
	if by != nil && m.Header.Get("Nats-Stream") != "" && own.MatchString(m.Subject) {
		return
	}
	s.faults[m.Subject]++
}

// own are the reply subjects of the two certificates that play.
var own = regexp.MustCompile(`^_(INBOX|ANSWER|JS)\.(a1|b2)\.`)

// markHeader names who published a message. JetStream keeps it in what it stores.
const markHeader = "Test-By"

// concrete makes a subject of a pattern.
func concrete(r *rand.Rand, pattern string) string {
	t := strings.Split(pattern, ".")
	for i := range t {
		if t[i] == "*" || t[i] == ">" {
			t[i] = []string{"a1", "b1", "victim", "sip_proxy", "x"}[r.IntN(5)]
		}
	}
	return strings.Join(t, ".")
}

// hostile are payloads of JetStream's API that name subjects.
func hostile(r *rand.Rand, target string) []byte {
	return fmt.Appendf(nil, []string{
		`{"name":"x","subjects":["%s"],"storage":"memory"}`,
		`{"name":"KV_thor_status","subjects":["$KV.thor_status.>"],"storage":"memory","republish":{"src":">","dest":"%s"}}`,
		`{"name":"x","storage":"memory","subjects":["_INBOX.>","_ANSWER.>"],"republish":{"src":">","dest":"%s"}}`,
		`{"stream_name":"KV_thor_status","config":{"deliver_subject":"%s","ack_policy":"none"}}`,
		`{"last_by_subj":"%s"}`,
		`{"filter":"%s"}`,
	}[r.IntN(6)], target)
}

// play is one random sequence of v.
func (s *stage) play(r *rand.Rand, v *voice, steps int) {
	api := []string{
		"STREAM.CREATE.x", "STREAM.UPDATE.KV_thor_status", "STREAM.INFO.KV_thor_status", "STREAM.NAMES", "STREAM.LIST", "INFO", "STREAM.MSG.GET.KV_thor_status",
		"CONSUMER.CREATE.KV_thor_status", "CONSUMER.CREATE.KV_thor_status.c", "DIRECT.GET.KV_thor_status.$KV.thor_status.snapshot",
		"DIRECT.GET.KV_thor_election.$KV.thor_election.manager", "DIRECT.GET.KV_thor_status", "STREAM.PURGE.KV_thor_status", "CONSUMER.LIST.KV_thor_status",
	}
	target := func() string {
		switch r.IntN(4) {
		case 0:
			return "_INBOX." + string(v.id.Node) + ".r" + strconv.Itoa(r.IntN(9))
		case 1:
			if x := v.reply(r); x != "" {
				return x
			}
		}
		return forbidden[r.IntN(len(forbidden))]
	}
	for range steps {
		subject := concrete(r, v.pub[r.IntN(len(v.pub))])
		if strings.HasPrefix(subject, "$JS.API.STREAM.DELETE") || strings.HasPrefix(subject, "$JS.API.STREAM.PEER") || strings.HasPrefix(subject, "$JS.API.STREAM.LEADER") {
			continue // an operator's, and would end the play
		}
		m := &nats.Msg{Subject: subject, Header: nats.Header{markHeader: {string(v.id.Node)}}}
		switch r.IntN(10) {
		case 0:
			m.Subject = target()
		case 1, 2:
			m.Reply = target()
		case 3, 7: // a request to itself, or to the other
			asks := slices.DeleteFunc(slices.Clone(v.pub), func(p string) bool { return !strings.HasPrefix(p, "thor.node.") })
			if len(asks) > 0 {
				m.Subject = concrete(r, strings.Replace(asks[r.IntN(len(asks))], "*", []string{"a1", "b2"}[r.IntN(2)], 1))
			}
			m.Reply = target()
		case 4, 8, 9:
			if x := v.reply(r); x != "" {
				m.Subject = x
			}
		case 5:
			m.Subject, m.Reply, m.Data = "$JS.API."+api[r.IntN(len(api))], target(), hostile(r, target())
		case 6:
			m.Header.Set("Nats-Trace-Dest", target())
		}
		_ = v.nc.PublishMsg(m) // fails when the connection was cut: flush tells
	}
}

// join connects a voice and subscribes to all it may.
func (s *stage) join(node string, role subjects.Role, nc *nats.Conn) *voice {
	id := &identity.Identity{Domain: brokertest.Domain, Node: subjects.NodeID(node), Roles: []subjects.Role{role}}
	v := &voice{id: id, nc: nc}
	var sub []string
	v.pub, sub = broker.Allowed(id)
	for _, p := range append(sub, "thor.node."+node+".>") {
		if _, err := nc.Subscribe(p, v.took); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := nc.FlushTimeout(soon); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.voices = append(s.voices, v)
	s.mu.Unlock()
	return v
}

// run lets two certificates play sequences together, after each has answered a
// request of every class.
func (s *stage) run(a, b subjects.Role, seed uint64, sequences int, dial func(node string, role subjects.Role) *nats.Conn, asker func() *nats.Conn) {
	s.mu.Lock()
	s.voices = nil
	s.mu.Unlock()
	defer s.settle()
	va, vb := s.join("a1", a, dial("a1", a)), s.join("b2", b, dial("b2", b))
	defer va.nc.Close()
	defer vb.nc.Close()
	ask := asker()
	for _, v := range []*voice{va, vb} {
		for _, of := range []string{"_.x", string(v.id.Roles[0]) + ".x", "thor_database.credentials.sip_proxy.ops"} {
			_ = ask.PublishMsg(&nats.Msg{Subject: "thor.node." + string(v.id.Node) + "." + of, Reply: "_INBOX.ops.x", Header: nats.Header{markHeader: {"ops"}}})
		}
	}
	if err := ask.FlushTimeout(soon); err != nil {
		s.t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(seed, uint64(len(a)*100+len(b))))
	for i := range sequences {
		s.play(r, []*voice{va, vb}[i%2], 10)
		if i%5 == 4 {
			for _, v := range []*voice{va, vb} {
				if err := v.nc.FlushTimeout(soon); err != nil {
					s.t.Fatalf("%s, seed %d: %v", v.id.Roles, seed, err)
				}
			}
		}
	}
	for _, nc := range []*nats.Conn{va.nc, vb.nc} {
		if err := nc.FlushTimeout(soon); err != nil {
			s.t.Fatal(err)
		}
	}
}

func newStage(t *testing.T, old bool) *stage {
	s := &stage{t: t, n: brokertest.New(t), counts: map[string]int{}, faults: map[string]int{}}
	b := s.n.Prepare("b1")
	b.Make()
	b.Permit(func(id *identity.Identity) *server.Permissions {
		if id.Node == "ear" {
			return nil // hears all
		}
		p := broker.Permissions(id)
		if old {
			p.Response = &server.ResponsePermission{MaxMsgs: 16, Expires: 5 * time.Second}
			p.Subscribe.Allow = append(p.Subscribe.Allow, "thor.node."+string(id.Node)+".>")
		}
		return p
	})
	b.Begin()
	s.n.AwaitJetStream(1)
	s.ear = s.inside("ear", subjects.Manager)
	var err error
	if s.all, err = s.ear.Subscribe(">", s.hear); err != nil {
		t.Fatal(err)
	}
	flush(t, s.ear)
	return s
}

// settle returns when all that was accepted so far has been judged.
func (s *stage) settle() {
	s.t.Helper()
	flush(s.t, s.ear)
	brokertest.Eventually(s.t, soon, "judgement", func() error {
		if n, _, err := s.all.Pending(); n > 0 || err != nil {
			return fmt.Errorf("%d left, %v", n, err)
		}
		return nil
	})
}

// inside is a connection in the broker's process, which no filter reads.
func (s *stage) inside(node string, role subjects.Role) *nats.Conn {
	s.t.Helper()
	b := s.n.Brokers[0]
	nc, err := nats.Connect("", b.InProcess(&identity.Identity{Domain: brokertest.Domain, Node: subjects.NodeID(node), Roles: []subjects.Role{role}}), nats.NoReconnect(), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(nc.Close)
	return nc
}

// No message is accepted outside the table, whatever reply subjects and
// payloads two certificates of any classes send each other, JetStream and the
// system. THOR_SEQUENCES is the number of random sequences; the default is short.
func TestNoReplyLendsAVoice(t *testing.T) {
	sequences := 2000
	if x, err := strconv.Atoi(os.Getenv("THOR_SEQUENCES")); err == nil {
		sequences = x
	}
	s := newStage(t, false)
	s.n.Brokers[0].Hurry()
	ops := s.inside("ops", subjects.Operator)
	pairs := len(classes) * (len(classes) + 1) / 2
	seed := uint64(1)
	all := func() {
		for i, a := range classes {
			for _, b := range classes[i:] {
				seed++
				s.run(a, b, seed, max(sequences/pairs, 20), func(node string, role subjects.Role) *nats.Conn {
					return s.n.Brokers[0].Dial(append(s.n.Options(node, role), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))...)
				}, func() *nats.Conn { return ops })
			}
		}
		flush(t, ops)
	}
	all()
	for range 4 { // what arrives within a sequence differs from run to run
		if missing, _ := s.unexercised(); len(missing) > 0 {
			all()
		}
	}
	missing, total := s.unexercised()
	if len(missing) > 0 {
		t.Errorf("grants that were not exercised:\n%s", strings.Join(missing, "\n"))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for subject, n := range s.faults {
		t.Errorf("%d messages accepted on %s", n, subject)
	}
	var lines []string
	for k, n := range s.counts {
		lines = append(lines, fmt.Sprintf("%8d  %s", n, k))
	}
	slices.Sort(lines)
	t.Logf("%d sequences, %d messages accepted in the table:\n%s", sequences, total, strings.Join(lines, "\n"))
}

// unexercised are the grants of all classes by which no message was accepted, sorted, and how many
// messages were accepted in all.
func (s *stage) unexercised() (missing []string, total int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, role := range classes {
		pub, _ := broker.Allowed(&identity.Identity{Node: "a1", Roles: []subjects.Role{role}})
		for _, p := range pub {
			k := string(role) + " " + p
			total += s.counts[k]
			if s.counts[k] == 0 && s.counts[string(role)+" "+strings.ReplaceAll(p, "a1", "b2")] == 0 && !served(p) {
				missing = append(missing, k)
			}
		}
	}
	slices.Sort(missing)
	return missing, total
}

// served are subjects that nats-server serves itself: what is published there
// reaches no subscriber.
func served(p string) bool {
	return strings.HasPrefix(p, "$JS.API.") || strings.HasPrefix(p, "$SYS.")
}

// The table of before, with response permissions, is found out.
func TestTheOldTableLentEveryVoice(t *testing.T) {
	s := newStage(t, true)
	ops := s.inside("ops", subjects.Operator)
	dial := func(node string, role subjects.Role) *nats.Conn { return s.inside(node, role) }
	for i, pair := range [][2]subjects.Role{{"media_relay", "media_relay"}, {"media_relay", "sip_proxy"}, {"media_relay", "thor_database"}, {"media_relay", "voicemail_server"}} {
		s.run(pair[0], pair[1], uint64(i), 250, dial, func() *nats.Conn { return ops })
	}
	flush(t, ops)
	s.mu.Lock()
	defer s.mu.Unlock()
	var missed []string
	for _, f := range forbidden {
		if s.faults[f] == 0 {
			missed = append(missed, f)
		}
	}
	if len(missed) > 0 {
		t.Errorf("%d of %d forbidden subjects not found in 1,000 sequences: %v", len(missed), len(forbidden), missed)
	}
}
