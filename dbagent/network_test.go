package dbagent_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/broker/brokertest"
	"thor/dbagent"
	"thor/dbagent/location"
	"thor/overlay"
	"thor/subjects"
)

const (
	patience = 20 * time.Second
	canary   = "c4n4ry/@:#?%"
)

// running runs something until the test ends.
func running(t *testing.T, what string, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	})
}

func join(t *testing.T, net *brokertest.Net, node string, roles ...subjects.Role) *overlay.Node {
	t.Helper()
	on, err := overlay.New(overlay.Config{Credentials: net.Credentials(node, roles...), Brokers: net.URLs(), StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	running(t, node, on.Run)
	select {
	case <-on.Ready():
	case <-time.After(patience):
		t.Fatalf("%s does not connect", node)
	}
	return on
}

// log is a buffer for several writers.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestClearedRolesGetThePasswordAndNobodyElse(t *testing.T) {
	net := brokertest.Start(t)
	all, err := net.Dial("op1", subjects.Operator).SubscribeSync("thor.>")
	if err != nil {
		t.Fatal(err)
	}
	d, err := location.Parse("mysql://thor@127.0.91.7:3999/thor") // nobody there: what is announced is down
	if err != nil {
		t.Fatal(err)
	}
	if d, err = d.WithPassword(canary); err != nil {
		t.Fatal(err)
	}
	logs := &log{}
	agent, err := dbagent.New(dbagent.Config{
		Overlay: join(t, net, "db1", subjects.Database), Databases: []dbagent.Database{{DSN: d, Priority: 10}},
		Cleared: []subjects.Role{"provisioning_server"}, Log: zerolog.New(logs).Level(zerolog.TraceLevel),
	})
	if err != nil {
		t.Fatal(err)
	}
	running(t, "agent", agent.Run)
	select {
	case <-agent.Ready():
	case <-time.After(patience):
		t.Fatal("nothing is announced")
	}
	var a *subjects.Announcement
	for a == nil {
		m, err := all.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject != subjects.Presence(subjects.Database, "db1") {
			continue // such as a request for the status
		}
		if a, err = subjects.ParseAnnouncement(m.Subject, m.Data); err != nil {
			t.Fatal(err)
		}
	}
	if a.State != subjects.Down || a.Reason != "mysql 127.0.91.7:3999/thor: connection refused" || a.Attrs["dburi"] != "mysql://thor:xxxxxx@127.0.91.7:3999/thor" ||
		a.Attrs["mode"] != "read-write" || a.Priority != 10 {
		t.Errorf("announced %+v", a)
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p1 := join(t, net, "p1", "provisioning_server")
	brokertest.Eventually(t, patience, "the locator answers", func() error {
		r, err := p1.Ask(ctx, subjects.Credentials("db1", "provisioning_server", "p1"), nil)
		if err != nil {
			return err
		}
		got, mode, err := location.ParseCredentials(r.Data)
		if err != nil || got.Password() != canary || got.Reveal() != d.Reveal() || mode != location.ReadWrite {
			t.Errorf("answer %+v, %v", r, err)
		}
		return nil
	})
	s1 := join(t, net, "s1", "sip_proxy")
	if r, err := s1.Ask(ctx, subjects.Credentials("db1", "sip_proxy", "s1"), nil); err != nil || r.Code != subjects.ErrorForbidden || len(r.Data) > 0 {
		t.Errorf("a role that is not cleared: %+v, %v", r, err)
	}
	for name, subject := range map[string]string{
		"another role":  subjects.Credentials("db1", "provisioning_server", "s1"),
		"another node":  subjects.Credentials("db1", "sip_proxy", "p1"),
		"both":          subjects.Credentials("db1", "provisioning_server", "p1"),
		"no asker":      "thor.node.db1.thor_database.credentials",
		"half an asker": "thor.node.db1.thor_database.credentials.p1",
	} {
		if r, err := s1.Ask(ctx, subject, nil); !errors.Is(err, overlay.ErrForbidden) {
			t.Errorf("as %s: %+v, %v", name, r, err)
		}
	}
	for {
		m, err := all.NextMsg(10 * time.Millisecond)
		if err != nil {
			break
		}
		if bytes.Contains(m.Data, []byte("c4n4")) {
			t.Errorf("an operator heard it on %s", m.Subject)
		}
	}
	if s := logs.String(); strings.Contains(s, "c4n4") || !strings.Contains(s, `"peer":"p1"`) {
		t.Errorf("log:\n%s", s)
	}
}
