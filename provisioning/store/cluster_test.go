package store_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"thor/dbagent/location"
	"thor/overlay"
	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
	"thor/provisioning/store/mariadbtest"
	"thor/subjects"
)

var _ store.Cluster = (*store.Announced)(nil)

// A database of a cluster dies while the network's status goes on listing it as up, as
// that of a host that is cut off: calls wait for another one, and none fails. The
// two here have different content, but that is nothing to the calls.
func TestCallsGoOnAtAnotherDatabaseOfTheCluster(t *testing.T) {
	dying, other := mariadbtest.Start(t, mariadbtest.Fast), mariadbtest.Shared(t)
	one, two := dying.Schema(), other.Schema()
	n := &network{views: make(chan *overlay.View, 8), give: make(map[string]location.DSN), view: &overlay.View{}, cluster: "c"}
	n.locator("db1", one)
	n.locator("db2", two)
	s, err := store.New(store.Config{Source: store.NewAnnounced(n, subjects.ProvisioningServer), Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Store: s, t: t, ctx: context.Background(), db: other, dsn: two}
	run(t, s)
	n.announce("db1", "db2")
	<-s.Ready()
	if s.Database().Reveal() != one.Reveal() {
		t.Fatalf("%s is used", s.Database())
	}
	stop := make(chan struct{})
	var after atomic.Int32 // calls that ended after the change
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := s.Pushes.Changes(w.ctx, 0); err != nil {
					t.Errorf("a read: %v", err)
				}
				if s.Database().Reveal() == two.Reveal() {
					after.Add(1)
				}
			}
		})
	}
	dying.Kill()
	w.eventually("the other database is used", func() bool { return s.Database().Reveal() == two.Reveal() })
	w.eventually("calls go on there", func() bool { return after.Load() > 20 })
	close(stop)
	wg.Wait()
	w.domain("d.example")
}

// One that hangs is left too, within the time of a call.
func TestADatabaseOfAClusterThatHangsIsLeft(t *testing.T) {
	hanging, other := mariadbtest.Start(t, mariadbtest.Fast), mariadbtest.Shared(t)
	n := &network{views: make(chan *overlay.View, 8), give: make(map[string]location.DSN), view: &overlay.View{}, cluster: "c"}
	two := other.Schema()
	n.locator("db1", hanging.Schema())
	n.locator("db2", two)
	s, err := store.New(store.Config{Source: store.NewAnnounced(n, subjects.ProvisioningServer)})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Store: s, t: t, ctx: context.Background(), db: other, dsn: two}
	run(t, s)
	n.announce("db1", "db2")
	<-s.Ready()
	hanging.Freeze()
	defer hanging.Thaw()
	w.eventually("the other database is used", func() bool { return s.Database().Reveal() == two.Reveal() })
	w.domain("d.example")
}

// Without a cluster the second database may lack what the first acknowledged: a call
// fails, and stays where it is.
func TestADatabaseWithoutAClusterIsKept(t *testing.T) {
	dying, other := mariadbtest.Start(t, mariadbtest.Fast), mariadbtest.Shared(t)
	one := dying.Schema()
	n := &network{views: make(chan *overlay.View, 8), give: make(map[string]location.DSN), view: &overlay.View{}}
	n.locator("db1", one)
	n.locator("db2", other.Schema())
	s, err := store.New(store.Config{Source: store.NewAnnounced(n, subjects.ProvisioningServer)})
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
	n.announce("db1", "db2")
	<-s.Ready()
	dying.Kill()
	for range 3 {
		_, err := s.Domains.CountAccounts(context.Background())
		is(t, "dead", err, ngnpro.ErrUnavailable)
	}
	if s.Database().Reveal() != one.Reveal() {
		t.Errorf("%s is used", s.Database())
	}
}

// What was avoided is tried again after a while, and the next but one is found.
func TestAvoidingEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{views: make(chan *overlay.View, 8), give: make(map[string]location.DSN), view: &overlay.View{}, cluster: "c"}
		for _, node := range []subjects.NodeID{"db1", "db3"} { // the locator of db2 does not answer
			d, err := location.Parse("mysql://x:y@" + string(node) + "/x")
			if err != nil {
				t.Fatal(err)
			}
			n.locator(node, d)
		}
		a := store.NewAnnounced(n, subjects.ProvisioningServer)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changed := a.Watch(ctx)
		if a.Others() || a.Avoid(location.DSN{}) {
			t.Error("there are others before any was located")
		}
		n.announce("db1", "db2", "db3")
		var at location.DSN
		locate := func(want string) {
			t.Helper()
			<-changed
			d, err := a.Locate(ctx)
			for i := 0; err != nil && i < 3; i++ {
				d, err = a.Locate(ctx)
			}
			if err == nil && d.Reveal() == at.Reveal() { // it yielded for the one that was located meanwhile
				<-changed
				d, err = a.Locate(ctx)
			}
			if err != nil || d.Host() != want {
				t.Errorf("located %s, %v; want %s", d, err, want)
			}
			at = d
		}
		locate("db1")
		began := time.Now()
		if !a.Others() || !a.Avoid(at) {
			t.Error("there is no other one for db1")
		}
		locate("db3")
		if took := time.Since(began); took != 0 {
			t.Errorf("after %v", took)
		}
		locate("db1")
		if took := time.Since(began); took != 15*time.Second {
			t.Errorf("db1 was avoided for %v", took)
		}
		cancel()
		synctest.Wait()
		if errors.Is(ctx.Err(), context.Canceled) {
			for range changed {
			}
		}
	})
}

// The database in use goes on failing while the one that takes its place is being
// opened, which may take seconds: those failures are not the next one's.
func TestTheNextDatabaseIsNotAvoidedForTheOneBefore(t *testing.T) {
	n := &network{views: make(chan *overlay.View, 8), give: make(map[string]location.DSN), view: &overlay.View{}, cluster: "c"}
	for _, node := range []subjects.NodeID{"db1", "db2", "db3"} {
		d, err := location.Parse("mysql://x:y@" + string(node) + "/x")
		if err != nil {
			t.Fatal(err)
		}
		n.locator(node, d)
	}
	n.announce("db1", "db2", "db3")
	a := store.NewAnnounced(n, subjects.ProvisioningServer)
	one, err := a.Locate(t.Context())
	if err != nil || one.Host() != "db1" || !a.Avoid(one) {
		t.Fatalf("located %s, %v", one, err)
	}
	for range 2 {
		two, err := a.Locate(t.Context())
		if err != nil || two.Host() != "db2" {
			t.Fatalf("located %s, %v; want db2", two, err)
		}
		if a.Avoid(one) {
			t.Error("db2 is avoided for the failures of db1")
		}
	}
}
