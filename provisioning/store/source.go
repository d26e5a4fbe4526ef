package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"thor/dbagent/location"
	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// Fixed is a Source that is configured. The file is read anew whenever the
// server refuses the password.
type Fixed struct {
	DSN          location.DSN
	PasswordFile string // may be empty if DSN has the password, or needs none
}

// maxPassword is the longest password in bytes.
const maxPassword = 4096

// Locate reads the password.
func (f Fixed) Locate(context.Context) (location.DSN, error) {
	if f.PasswordFile == "" {
		return f.DSN, nil
	}
	secret, err := identity.ReadPassword(f.PasswordFile, maxPassword)
	if err != nil {
		return location.DSN{}, fmt.Errorf("read the database password: %w", err)
	}
	return f.DSN.WithPassword(secret)
}

// Watch never yields.
func (f Fixed) Watch(context.Context) <-chan struct{} { return nil }

// A Node is what Announced needs of an overlay.Node.
type Node interface {
	ID() subjects.NodeID
	Site() subjects.Site
	View() *overlay.View
	Watch(ctx context.Context) <-chan *overlay.View
	Ask(ctx context.Context, subject string, data []byte) (*subjects.Reply, error)
}

// Announced is the Source that the network announces under thor_database: the
// database for reading and writing with the lowest (priority, address). Its
// locator tells the password to a provisioning server that asks. Of a cluster, whose
// members announce that they are one, another database is used for one that fails here, and of
// those with the same priority one in the site of this node.
type Announced struct {
	node Node
	role subjects.Role

	poked chan struct{} // holds one token: avoided has changed

	mu      sync.Mutex
	last    subjects.Member               // that was asked last, successfully
	lastAt  location.DSN                  // what it answered
	avoided map[subjects.NodeID]time.Time // until then
}

// avoidTime is how long a database is passed over that could not be used. Then it is
// opened again if it is still the most preferred one that is announced.
const avoidTime = 15 * time.Second

// NewAnnounced asks in the name of role, which the locator has to know as
// cleared.
func NewAnnounced(n Node, role subjects.Role) *Announced {
	return &Announced{node: n, role: role, poked: make(chan struct{}, 1), avoided: make(map[subjects.NodeID]time.Time)}
}

var errNoDatabase = errors.New("no database for reading and writing is announced")

// chosen is the database to use, of those that v lists.
func (a *Announced) chosen(v *overlay.View) (subjects.Member, bool) {
	if v == nil || v.Status == nil {
		return subjects.Member{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return location.ChooseNear(v.Status.Roles[subjects.Database], location.ReadWrite, a.avoids, a.node.Site())
}

// avoids reports whether a node is passed over. The caller holds mu.
func (a *Announced) avoids(n subjects.NodeID) bool { return time.Now().Before(a.avoided[n]) }

// Others implements Cluster.
func (a *Announced) Others() bool {
	a.mu.Lock()
	last := a.last
	a.mu.Unlock()
	cluster := last.Attrs[location.AttrCluster]
	v := a.node.View()
	if cluster == "" || v == nil || v.Status == nil {
		return false
	}
	return slices.ContainsFunc(v.Status.Roles[subjects.Database], func(m subjects.Member) bool {
		return m.Node != last.Node && m.Serves() && m.Attrs[location.AttrCluster] == cluster && m.Attrs[location.AttrMode] != string(location.ReadOnly)
	})
}

// Avoid implements Cluster. A database that another one is about to replace is avoided
// already: the failures of the one are not those of the other.
func (a *Announced) Avoid(d location.DSN) bool {
	a.mu.Lock()
	last, at := a.last, a.lastAt
	a.mu.Unlock()
	return at.Reveal() == d.Reveal() && a.avoid(last)
}

// avoid passes over m for a while from now on, and reports whether that changes the
// choice.
func (a *Announced) avoid(m subjects.Member) bool {
	if m.Attrs[location.AttrCluster] == "" {
		return false
	}
	a.mu.Lock()
	was := a.avoids(m.Node)
	a.avoided[m.Node] = time.Now().Add(avoidTime)
	a.mu.Unlock()
	time.AfterFunc(avoidTime, a.poke)
	a.poke()
	next, ok := a.chosen(a.node.View())
	return ok && next.Node != m.Node && !was
}

func (a *Announced) poke() {
	select {
	case a.poked <- struct{}{}:
	default:
	}
}

// same reports whether two members announce the same database in the same state.
func same(a, b subjects.Member) bool {
	return a.Node == b.Node && a.Attrs[location.AttrURI] == b.Attrs[location.AttrURI] && a.State == b.State
}

// Locate asks the locator of the announced database for its location.
func (a *Announced) Locate(ctx context.Context) (location.DSN, error) {
	m, ok := a.chosen(a.node.View())
	if !ok {
		return location.DSN{}, errNoDatabase
	}
	r, err := a.node.Ask(ctx, subjects.Credentials(m.Node, a.role, a.node.ID()), nil)
	if err != nil {
		if ctx.Err() == nil {
			a.avoid(m)
		}
		return location.DSN{}, fmt.Errorf("ask %s for the database password: %w", m.Node, err)
	}
	if r.Code != "" {
		return location.DSN{}, fmt.Errorf("ask %s for the database password: %s: %s", m.Node, r.Code, r.Text)
	}
	d, mode, err := location.ParseCredentials(r.Data)
	if err != nil {
		return location.DSN{}, fmt.Errorf("answer of %s: %w", m.Node, err)
	}
	if mode != location.ReadWrite {
		return location.DSN{}, fmt.Errorf("the database of %s is for reading only", m.Node)
	}
	a.mu.Lock()
	a.last, a.lastAt = m, d
	a.mu.Unlock()
	return d, nil
}

// Watch yields when another database is announced than the one located last, or
// when that one is in another state: as the last of its role it is announced
// while it fails, and then it is back. One that is no longer announced, without
// another in its place, stays in use.
func (a *Announced) Watch(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	views := a.node.Watch(ctx)
	go func() {
		defer close(changed)
		for {
			var v *overlay.View
			select {
			case next, ok := <-views:
				if !ok {
					return
				}
				v = next
			case <-a.poked:
				v = a.node.View()
			}
			m, ok := a.chosen(v)
			a.mu.Lock()
			known := same(m, a.last)
			a.mu.Unlock()
			if !ok || known {
				continue
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed
}
