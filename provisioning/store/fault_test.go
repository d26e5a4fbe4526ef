package store_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
	"thor/provisioning/store/mariadbtest"
)

func short(c *store.Config) { c.Timeout = time.Second }

// A call to a dead or hung database fails as unavailable, in time, and says
// nothing of it to the client.
func TestDeadAndHungDatabases(t *testing.T) {
	db := mariadbtest.Start(t, mariadbtest.Durable)
	w := open(t, db, db.Schema(), short)
	w.domain("d.example")
	w.account("a@d.example")
	unavailable := func(what string) {
		t.Helper()
		began := time.Now()
		_, _, err := w.Accounts.Add(w.ctx, admin, &ngnpro.SipAccount{ID: id("b@d.example"), Password: new("hunter2")})
		is(t, what, err, ngnpro.ErrUnavailable)
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), mariadbtest.Password)) {
			t.Errorf("%s: the error tells a password", what)
		}
		_, err = w.Accounts.Get(w.ctx, admin, id("a@d.example"))
		is(t, what, err, ngnpro.ErrUnavailable)
		if took := time.Since(began); took > patience {
			t.Errorf("%s: two calls took %v", what, took)
		}
	}
	db.Freeze()
	unavailable("hung")
	db.Thaw()
	w.eventually("it answers again", func() bool { _, err := w.Accounts.Get(w.ctx, admin, id("a@d.example")); return err == nil })
	db.Kill()
	unavailable("dead")
	db.Restart()
	w.eventually("it is back", func() bool { _, err := w.Accounts.Get(w.ctx, admin, id("a@d.example")); return err == nil })
	w.check()
	if _, err := w.Accounts.Get(w.ctx, admin, id("b@d.example")); err == nil {
		t.Log("an account was added though its client was told to try again") // allowed: as a whole
	}
}

func (w *world) eventually(what string, cond func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// Invariant I8: what was acknowledged is there after the server was killed, and
// nothing is half there.
func TestAcknowledgedChangesOutliveAKill(t *testing.T) {
	db := mariadbtest.Start(t, mariadbtest.Durable)
	w := open(t, db, db.Schema(), short)
	w.domain("d.example")
	const clients, kills = 4, 3
	var mu sync.Mutex
	acknowledged := make(map[string]uint64)
	for round := range kills {
		var wg sync.WaitGroup
		stop := make(chan struct{})
		enough := make(chan struct{}, 1000)
		for c := range clients {
			wg.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					key := fmt.Sprintf("u%d-%d-%d@d.example", round, c, n)
					_, ns, err := w.Accounts.Add(w.ctx, admin, &ngnpro.SipAccount{ID: id(key), Password: new("p"), Groups: &[]string{"a", "b"}})
					if err == nil {
						mu.Lock()
						acknowledged[key] = ns[0].Revision
						mu.Unlock()
						select {
						case enough <- struct{}{}:
						default:
						}
					} else {
						is(t, key, err, ngnpro.ErrUnavailable)
					}
				}
			})
		}
		for range 40 {
			<-enough
		}
		db.Kill()
		close(stop)
		wg.Wait()
		db.Restart()
	}
	w.eventually("it is back", func() bool { _, err := w.Domains.CountAccounts(w.ctx); return err == nil })
	for key, rev := range acknowledged {
		x, err := w.Pushes.Subscriber(w.ctx, key)
		w.ok(err)
		if x.Deleted || x.Revision != rev || len(x.Groups) != 2 {
			t.Errorf("%s was acknowledged at %d and is %+v", key, rev, x)
		}
	}
	w.check()
	pending, err := w.Pushes.Pending(w.ctx, 100000)
	w.ok(err)
	if len(pending) < len(acknowledged) {
		t.Errorf("%d pushes for %d changes", len(pending), len(acknowledged))
	}
	t.Logf("%d acknowledged over %d kills", len(acknowledged), kills)
}

func TestNoDatabaseYet(t *testing.T) {
	s, err := store.New(store.Config{Source: store.Fixed{}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Accounts.Get(context.Background(), admin, id("a@d.example"))
	is(t, "before Run", err, ngnpro.ErrUnavailable)
	for _, bad := range []store.Config{{}, {Source: store.Fixed{}, Timeout: -1}, {Source: store.Fixed{}, Proxy: "asterisk"}} {
		if _, err := store.New(bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}
