package dbagent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"thor/overlay"
	"thor/subjects"
)

// runningWith is an agent that runs on databases which are made by make; end ends it.
func runningWith(t *testing.T, n *fakeNet, fake map[string]*fakeDB, dbs ...Database) (a *Agent, end func()) {
	t.Helper()
	a, err := newAgent(Config{Databases: dbs[:1]}, n, func(d Database) prober {
		f := fake[d.DSN.Host()]
		if f == nil {
			t.Errorf("no database at %s", d.DSN.Host())
			return &fakeDB{}
		}
		f.start, f.where = n.Start, d.DSN
		return f
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Reconfigure(dbs, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	synctest.Wait()
	return a, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func reconfigure(t *testing.T, a *Agent, cleared []subjects.Role, dbs ...Database) {
	t.Helper()
	if err := a.Reconfigure(dbs, cleared); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func TestReconfigureFollowsTheCandidates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		fake := map[string]*fakeDB{"h1": {}, "h2": {takes: 300 * time.Millisecond}, "h3": {}}
		one := Database{DSN: dsn(t, "mysql://u@h1/d"), Priority: 10}
		two := Database{DSN: dsn(t, "mysql://u@h2/d"), Priority: 20}
		a, end := runningWith(t, n, fake, one, two)
		time.Sleep(time.Second)
		first := []string{"0s up mysql://u:xxxxxx@h1/d read-write"}
		n.expect(t, first...)
		if n.announced().Priority != 10 {
			t.Errorf("announced %+v", n.announced())
		}
		// A better one comes: it is announced once it has been checked.
		two.Priority = 5
		reconfigure(t, a, nil, one, two)
		if got := n.announced(); got.Priority != 5 || got.Attrs["dburi"] != "mysql://u:xxxxxx@h2/d" {
			t.Errorf("what is known of the other was forgotten: %+v", got)
		}
		// The announced one goes: nothing changes until the rest is known.
		three := Database{DSN: dsn(t, "mysql://u@h3/d"), Priority: 1}
		fake["h3"].takes = 500 * time.Millisecond
		reconfigure(t, a, nil, three)
		if got := n.announced(); got.Attrs["dburi"] != "mysql://u:xxxxxx@h2/d" || got.State != subjects.Up {
			t.Errorf("announced %+v before the only candidate is known", got)
		}
		time.Sleep(time.Second)
		n.expect(t, append(first, "1s up mysql://u:xxxxxx@h2/d read-write", "1.5s up mysql://u:xxxxxx@h3/d read-write")...)
		end()
		if err := a.Reconfigure([]Database{one}, nil); err == nil {
			t.Error("reconfigured after its end")
		}
	})
}

func TestReconfigureChangesWhoIsClearedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		one := Database{DSN: secretDSN(t, "mysql://u@h1/d")}
		a, end := runningWith(t, n, map[string]*fakeDB{"h1": {}}, one)
		defer end()
		ask := func() *subjects.Reply {
			return a.credentials(t.Context(), &overlay.Request{
				Subject: subjects.Credentials("db1", "provisioning_server", "p1"), Reply: "_ANSWER.p1.thor_database.x",
			})
		}
		if r := ask(); r.Code != subjects.ErrorForbidden {
			t.Errorf("not cleared yet: %+v", r)
		}
		reconfigure(t, a, []subjects.Role{"provisioning_server"}, one)
		if r := ask(); r.Code != "" {
			t.Errorf("cleared: %+v", r)
		}
		reconfigure(t, a, nil, one)
		if r := ask(); r.Code != subjects.ErrorForbidden {
			t.Errorf("cleared no more: %+v", r)
		}
		n.expect(t, "0s up mysql://u:xxxxxx@h1/d read-write", "0s up mysql://u:xxxxxx@h1/d read-write", "0s up mysql://u:xxxxxx@h1/d read-write")
	})
}

func TestABadReconfigurationChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNet()
		one := Database{DSN: dsn(t, "mysql://u@h1/d")}
		a, end := runningWith(t, n, map[string]*fakeDB{"h1": {}}, one)
		defer end()
		for _, dbs := range [][]Database{nil, {one, one}, {one, {}}} {
			if err := a.Reconfigure(dbs, nil); err == nil {
				t.Errorf("%v accepted", dbs)
			}
		}
		time.Sleep(5 * time.Second)
		n.expect(t, "0s up mysql://u:xxxxxx@h1/d read-write")
	})
}
