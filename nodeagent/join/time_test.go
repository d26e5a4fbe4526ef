package join_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/broker/brokertest"
	"thor/nodeagent"
	"thor/nodeagent/join"
	"thor/overlay"
	"thor/subjects"
)

// pipes is a listener whose connections are dialled in this process: in virtual time a
// real one would stand still.
type pipes struct {
	waiting chan net.Conn
	closed  chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.waiting:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p pipes) Close() error   { close(p.closed); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p pipes) dial() (net.Conn, error) {
	here, there := net.Pipe()
	p.waiting <- there
	return here, nil
}

// A told network says what the test has it say.
type toldNetwork struct {
	*overlay.Node
	views chan *overlay.View
	view  atomic.Pointer[overlay.View]
}

func (n *toldNetwork) View() *overlay.View {
	if v := n.view.Load(); v != nil {
		return v
	}
	return &overlay.View{}
}

func (n *toldNetwork) Watch(ctx context.Context) <-chan *overlay.View {
	out := make(chan *overlay.View)
	go func() {
		defer close(out)
		for {
			select {
			case v := <-n.views:
				select {
				case out <- v:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// inVirtualTime plays f on a machine whose network says what views says.
func inVirtualTime(t *testing.T, f func(m *machine, views chan<- *overlay.View)) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		on, err := overlay.New(overlay.Config{Identity: b.Identity("node1", "fax_server"), Options: b.Options("node1", "fax_server"), StateDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		agent, err := nodeagent.New(nodeagent.Config{Overlay: on, Roles: []nodeagent.RoleConfig{
			{Role: "fax_server", Checks: []nodeagent.CheckConfig{{Kind: nodeagent.Program}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 2)
		go func() { done <- on.Run(ctx) }()
		go func() { done <- agent.Run(ctx) }()
		<-agent.Ready()
		n := &toldNetwork{Node: on, views: make(chan *overlay.View, 1)}
		mux := http.NewServeMux()
		service := join.New(agent, n, zerolog.Nop())
		for pattern, h := range service.Pages() {
			mux.Handle(pattern, h)
		}
		l := pipes{make(chan net.Conn), make(chan struct{})}
		srv := &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 15 * time.Second}
		go func() { _ = srv.Serve(l) }()
		t.Cleanup(func() {
			_ = srv.Close()
			cancel()
			for range 2 {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		})
		f(&machine{T: t, agent: agent, service: service, dial: l.dial}, n.views)
	})
}

func (m *machine) state() string {
	s := m.agent.Status()[0]
	return fmt.Sprintf("%s %q", s.State, s.Reason)
}

func TestAProgramThatStandsStillIsDown(t *testing.T) {
	inVirtualTime(t, func(m *machine, _ chan<- *overlay.View) {
		began := time.Now()
		p := m.ask("POST", "/join/fax_server", "{}\n")
		if p.read("self"); m.state() != `up ""` {
			t.Errorf("%s", m.state())
		}
		for n := 1; n <= 3; n++ {
			if at := p.read("ping")["ping"]; at != float64(n) || time.Since(began) != time.Duration(n)*join.PingEvery {
				t.Errorf("ping %v after %v", at, time.Since(began))
			}
		}
		if e := p.read("error")["error"]; e != "no line within 10s" || time.Since(began) != join.SilentAfter {
			t.Errorf("%q after %v", e, time.Since(began))
		}
		if m.state() != `down "its program is cut off: no line within 10s"` {
			t.Errorf("%s", m.state())
		}
		m.ask("POST", "/join/fax_server", "{}\n").read("self")
		if m.state() != `up ""` {
			t.Errorf("its successor: %s", m.state())
		}
	})
}

// Far beyond the deadlines of the HTTP service.
func TestAProgramThatAnswersStays(t *testing.T) {
	inVirtualTime(t, func(m *machine, _ chan<- *overlay.View) {
		p := m.ask("POST", "/join/fax_server", "{}\n")
		for n := 1; n <= 100; n++ {
			p.read("ping")
			p.say(fmt.Sprintf(`{"pong":%d}`, n))
		}
		if m.state() != `up ""` {
			t.Errorf("%s", m.state())
		}
	})
}

// A program that does not read is cut off before it keeps the agent from anything.
func TestAProgramThatDoesNotReadIsDown(t *testing.T) {
	inVirtualTime(t, func(m *machine, _ chan<- *overlay.View) {
		c, err := m.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go func() {
			_, _ = fmt.Fprintf(c, "POST /join/fax_server HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n")
			for { // it says that it lives
				time.Sleep(time.Second) // virtual
				if _, err := c.Write([]byte("3\r\n{}\n\r\n")); err != nil {
					return
				}
			}
		}()
		time.Sleep(20 * time.Second) // virtual
		if m.state() != `down "its program does not read what it is told"` {
			t.Errorf("%s", m.state())
		}
	})
}

func TestProgramsLearnWhoIsThere(t *testing.T) {
	inVirtualTime(t, func(m *machine, views chan<- *overlay.View) {
		s := &subjects.Status{V: subjects.Version, Domain: brokertest.Domain, Epoch: 1, Generation: 5, Roles: map[subjects.Role][]subjects.Member{
			"sip_proxy": {{Node: "p1", State: subjects.Up}}, "media_relay": {{Node: "r1", State: subjects.Up}},
		}}
		p := m.ask("POST", "/join/fax_server", `{"watch":["sip_proxy","voicemail_server"]}`+"\n")
		views <- &overlay.View{Status: s, Stale: true}
		if c := p.read("current")["current"]; c != false {
			t.Errorf("current %v", c)
		}
		expectMembers(p, "sip_proxy", 5, "p1")
		expectMembers(p, "voicemail_server", 5)
		views <- &overlay.View{Status: s, Connected: true}
		if c := p.read("current")["current"]; c != true {
			t.Errorf("current %v", c)
		}
		next := *s
		next.Generation = 6
		next.Roles = map[subjects.Role][]subjects.Member{"sip_proxy": s.Roles["sip_proxy"], "media_relay": {{Node: "r2", State: subjects.Up}}}
		views <- &overlay.View{Status: &next, Connected: true} // of another role: nothing is said
		last := next
		last.Generation = 7
		last.Roles = map[subjects.Role][]subjects.Member{"sip_proxy": {{Node: "p1", State: subjects.Up}, {Node: "p2", State: subjects.Draining}}}
		views <- &overlay.View{Status: &last, Connected: true}
		expectMembers(p, "sip_proxy", 7, "p1", "p2")
	})
}

func TestMembersAreToldWithoutJoining(t *testing.T) {
	inVirtualTime(t, func(m *machine, views chan<- *overlay.View) {
		s := &subjects.Status{V: subjects.Version, Domain: brokertest.Domain, Epoch: 1, Generation: 5, Roles: map[subjects.Role][]subjects.Member{
			"sip_proxy": {{Node: "p1", State: subjects.Up}}, "media_relay": {{Node: "r1", State: subjects.Up}},
		}}
		views <- &overlay.View{Status: s, Connected: true}
		p := m.ask("GET", "/members", "")
		expectMembers(p, "media_relay", 5, "r1")
		expectMembers(p, "sip_proxy", 5, "p1")
		expectTold(p, 5)
		time.Sleep(time.Hour) // virtual, beyond all deadlines
		next := *s
		next.Generation, next.Roles = 6, map[subjects.Role][]subjects.Member{"sip_proxy": s.Roles["sip_proxy"]}
		views <- &overlay.View{Status: &next, Connected: true}
		expectMembers(p, "media_relay", 6)
		expectTold(p, 6)
		if m.state() != ` ""` {
			t.Errorf("%s", m.state())
		}
	})
}

// The size of the lookup's table is told with the members: programs look up by themselves.
func TestTheLookupIsToldWithTheMembers(t *testing.T) {
	inVirtualTime(t, func(m *machine, views chan<- *overlay.View) {
		views <- &overlay.View{Connected: true, Status: &subjects.Status{
			V: subjects.Version, Domain: brokertest.Domain, Epoch: 1, Generation: 5,
			Roles:  map[subjects.Role][]subjects.Member{"sip_proxy": {{Node: "p1", State: subjects.Up}}},
			Lookup: map[subjects.Role]subjects.Lookup{"sip_proxy": {Bits: 20, Digest: "0123456789abcdef"}},
		}}
		p := m.ask("GET", "/members/sip_proxy", "")
		if l, _ := p.read("role")["lookup"].(map[string]any); l["bits"] != 20.0 || l["digest"] != "0123456789abcdef" {
			t.Errorf("%v", l)
		}
		expectTold(p, 5)
	})
}

func expectTold(p *program, generation float64) {
	p.Helper()
	if told, _ := p.read("told")["told"].(map[string]any); told["generation"] != generation {
		p.Errorf("told %v, want generation %v", told, generation)
	}
}

func expectMembers(p *program, role string, generation float64, nodes ...string) {
	p.Helper()
	l := p.read("role")
	var got []string
	for _, x := range l["members"].([]any) {
		got = append(got, x.(map[string]any)["node"].(string))
	}
	if l["role"] != role || l["generation"] != generation || fmt.Sprint(got) != fmt.Sprint(nodes) {
		p.Errorf("%v, want %s %v of %v", l, role, nodes, generation)
	}
}
