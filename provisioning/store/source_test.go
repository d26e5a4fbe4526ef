package store_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"thor/dbagent/location"
	"thor/overlay"
	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
	"thor/provisioning/store/mariadbtest"
	"thor/subjects"
)

// A network is a fake overlay node with locators.
type network struct {
	mu    sync.Mutex
	view  *overlay.View
	views chan *overlay.View
	give  map[string]location.DSN // by subject
	asked []string

	cluster string // of all databases
	site    subjects.Site
}

var _ store.Node = (*overlay.Node)(nil)

func (n *network) ID() subjects.NodeID { return "prov1" }

func (n *network) Site() subjects.Site { return n.site }

func (n *network) View() *overlay.View {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.view
}

func (n *network) Watch(ctx context.Context) <-chan *overlay.View {
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

func (n *network) Ask(_ context.Context, subject string, _ []byte) (*subjects.Reply, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, subject)
	d, ok := n.give[subject]
	if !ok {
		return nil, errors.New("no responders")
	}
	return &subjects.Reply{V: subjects.Version, Data: location.EncodeCredentials(d, location.ReadWrite)}, nil
}

// announce makes the locators of these nodes, the preferred first.
func (n *network) announce(nodes ...subjects.NodeID) { n.announceAs(subjects.Up, nodes...) }

func (n *network) announceAs(state subjects.State, nodes ...subjects.NodeID) {
	s := &subjects.Status{Roles: map[subjects.Role][]subjects.Member{}}
	for i, node := range nodes {
		m := subjects.Member{Node: node, State: state, Priority: i + 1, Attrs: map[string]string{location.AttrURI: "mysql://x:xxxxxx@" + string(node) + "/x"}}
		if n.cluster != "" {
			m.Attrs[location.AttrCluster] = n.cluster
		}
		s.Roles[subjects.Database] = append(s.Roles[subjects.Database], m)
	}
	v := &overlay.View{Status: s}
	n.mu.Lock()
	n.view = v
	n.mu.Unlock()
	n.views <- v
}

func (n *network) locator(node subjects.NodeID, d location.DSN) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.give[subjects.Credentials(node, subjects.ProvisioningServer, "prov1")] = d
}

func TestTheAnnouncedDatabaseIsFollowed(t *testing.T) {
	db := mariadbtest.Shared(t)
	one, two := db.Schema(), db.Schema()
	n := &network{views: make(chan *overlay.View, 8), give: make(map[string]location.DSN), view: &overlay.View{}}
	s, err := store.New(store.Config{Source: store.NewAnnounced(n, subjects.ProvisioningServer)})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Store: s, t: t, ctx: context.Background(), db: db, dsn: one}
	run(t, s)
	_, err = s.Domains.CountAccounts(w.ctx)
	is(t, "nothing announced", err, ngnpro.ErrUnavailable)
	in := func(d location.DSN) func() bool { return func() bool { return s.Database().Reveal() == d.Reveal() } }

	n.locator("db1", one)
	n.announce("db1", "db2")
	w.eventually("the first database is used", in(one))
	w.domain("one.example")
	n.locator("db2", two)
	n.announce("db2")
	w.eventually("the second is used once the first is gone", in(two))
	w.domain("two.example")
	n.announce() // the network is empty, or we are cut off
	n.announce("db2")
	w.domain("three.example")
	n.announce("db1", "db2")
	w.eventually("the first is preferred", in(one))
	total, ds, err := s.Domains.Find(w.ctx, admin, &ngnpro.SipDomainQuery{})
	w.ok(err)
	if total != 1 || ds[0].Domain != "one.example" {
		t.Errorf("in the first database: %+v", ds)
	}
}

// The only database is announced while it is down, and located in vain. That it
// is up again must not wait for the next attempt, which may be seconds away.
func TestADatabaseThatIsBackIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{views: make(chan *overlay.View, 8), give: make(map[string]location.DSN), view: &overlay.View{}}
		d, err := location.Parse("mysql://x:y@db1/x")
		if err != nil {
			t.Fatal(err)
		}
		n.locator("db1", d)
		a := store.NewAnnounced(n, subjects.ProvisioningServer)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changed := a.Watch(ctx)
		told := func() bool {
			synctest.Wait()
			select {
			case <-changed:
				return true
			default:
				return false
			}
		}
		for _, step := range []struct {
			state subjects.State
			want  bool
		}{{subjects.Suspect, true}, {subjects.Suspect, false}, {subjects.Up, true}, {subjects.Up, false}} {
			n.announceAs(step.state, "db1")
			if got := told(); got != step.want {
				t.Errorf("%s: told %v", step.state, got)
			}
			if _, err := a.Locate(ctx); err != nil {
				t.Error(err)
			}
		}
	})
}

// Calls that run while the database changes end on the one they began with.
func TestNoCallFailsBecauseTheDatabaseChanges(t *testing.T) {
	db := mariadbtest.Shared(t)
	one, two := db.Schema(), db.Schema()
	n := &network{views: make(chan *overlay.View, 8), give: make(map[string]location.DSN), view: &overlay.View{}}
	n.locator("db1", one)
	n.locator("db2", two)
	s, err := store.New(store.Config{Source: store.NewAnnounced(n, subjects.ProvisioningServer)})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Store: s, t: t, ctx: context.Background(), db: db, dsn: one}
	run(t, s)
	n.announce("db1")
	<-s.Ready()
	stop := make(chan struct{})
	var calls int
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := s.Pushes.Changes(w.ctx, 0); err != nil {
					t.Errorf("%v", err)
				}
				mu.Lock()
				calls++
				mu.Unlock()
			}
		})
	}
	for i := range 6 {
		node, d := []subjects.NodeID{"db2", "db1"}[i%2], []location.DSN{two, one}[i%2]
		n.announce(node)
		w.eventually("the other database is used", func() bool { return s.Database().Reveal() == d.Reveal() })
	}
	close(stop)
	wg.Wait()
	if calls == 0 {
		t.Error("no call was made")
	}
	w.eventually("the connections of the databases before are closed", func() bool {
		return w.rows("SELECT COUNT(*) FROM information_schema.processlist WHERE db = '"+two.Name()+"'") == "0"
	})
}

func TestANewPasswordIsReadFromItsFile(t *testing.T) {
	db := mariadbtest.Shared(t)
	full := db.Schema()
	bare, err := location.Parse("mysql://" + full.User() + "@" + full.Address() + "/" + full.Name())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "password")
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(s+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(mariadbtest.Password)
	w := open(t, db, full, func(c *store.Config) { c.Source = store.Fixed{DSN: bare, PasswordFile: file} })
	w.domain("d.example")
	w.sql("SET PASSWORD FOR '" + full.User() + "'@'%' = PASSWORD('another')")
	write("another")
	w.kill()
	w.eventually("the new password is used", func() bool { _, err := w.Domains.CountAccounts(w.ctx); return err == nil })
	w.domain("e.example")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (store.Fixed{DSN: bare, PasswordFile: file}).Locate(w.ctx); err == nil {
		t.Error("a password that everybody may read was taken")
	}
}

// kill ends all connections of the schema's user.
func (w *world) kill() { w.t.Helper(); w.sql("KILL USER '" + w.dsn.User() + "'") }

// A moving source names another database whenever it is told to.
type moving struct {
	mu      sync.Mutex
	at      location.DSN
	changed chan struct{}
}

func (m *moving) Locate(context.Context) (location.DSN, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at, nil
}

func (m *moving) Watch(context.Context) <-chan struct{} { return m.changed }

func (m *moving) move(ctx context.Context, t *testing.T, d location.DSN) {
	t.Helper()
	m.mu.Lock()
	m.at = d
	m.mu.Unlock()
	select {
	case m.changed <- struct{}{}:
	case <-ctx.Done():
		t.Fatal("nobody hears that another database is to be used")
	}
}

// A database that hangs while it is opened, for which there are two minutes, is
// left for another one at once.
func TestADatabaseThatHangsIsLeft(t *testing.T) {
	db := mariadbtest.Shared(t)
	good := db.Schema()
	l, err := net.Listen("tcp", "127.0.0.1:0") // connects, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	hung, err := location.Parse("mysql://x:y@" + l.Addr().String() + "/x")
	if err != nil {
		t.Fatal(err)
	}
	m := &moving{at: hung, changed: make(chan struct{})}
	s, err := store.New(store.Config{Source: m})
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
	conn, err := l.Accept() // it is being opened
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m.move(ctx, t, hung) // nothing new
	m.move(ctx, t, good)
	select {
	case <-s.Ready():
	case <-ctx.Done():
		t.Fatal("the other database is not used")
	}
}

// Of databases of one cluster with one priority that of the own site is asked.
func TestTheDatabaseOfTheOwnSiteIsAsked(t *testing.T) {
	d, err := location.Parse("mysql://x:y@db2/x")
	if err != nil {
		t.Fatal(err)
	}
	s := &subjects.Status{Roles: make(map[subjects.Role][]subjects.Member)}
	for node, site := range map[subjects.NodeID]subjects.Site{"db1": "ams", "db2": "fra"} {
		s.Put(subjects.Database, subjects.Member{Node: node, Site: site, State: subjects.Up, Priority: 10, Attrs: subjects.Attrs{location.AttrCluster: "c"}})
	}
	n := &network{give: make(map[string]location.DSN), view: &overlay.View{Status: s}, site: "fra"}
	n.locator("db2", d)
	if _, err := store.NewAnnounced(n, subjects.ProvisioningServer).Locate(t.Context()); err != nil {
		t.Error(err, n.asked)
	}
}
