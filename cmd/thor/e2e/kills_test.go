//go:build e2e

package e2e_test

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const kills = 20

// A written account is what its only writer knows of it.
type written struct {
	user  string
	acked string   // the last password that was acknowledged; "": not even the account
	maybe []string // tried since: a call without an answer may have been done or not
}

// What was acknowledged by SOAP is in the database and at the subscriber's node,
// however often provisioning server, node agents and database are killed while
// it is written.
func TestAcknowledgedWritesOutliveKills(t *testing.T) {
	need(t, "mariadbd", "mariadb-server")
	n := startNetwork(t, "127.96", "--nodes", "3")
	n.soap(t).must(t, "Sip", "addDomain", "<domain><domain>"+sipDomain+"</domain></domain>")
	const writers, each = 4, 10
	var acked, failed atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	all := make([]*written, 0, writers*each)
	for k := range writers {
		c := n.soap(t)
		own := make([]*written, each)
		for i := range own {
			own[i] = &written{user: fmt.Sprintf("w%d-%d", k, i)}
		}
		all = append(all, own...)
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond): // others run here too
				}
				if own[i%each].write(c, fmt.Sprintf("secret%d", i)) == nil {
					acked.Add(1)
				} else {
					failed.Add(1)
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(20, 1))
	counts := make(map[string]int)
	for range kills {
		victim := []string{"provisioning1", "provisioning1", "mariadb", "mariadb", "node1", "node2", "node3"}[r.IntN(7)]
		counts[victim]++
		<-time.After(time.Duration(r.IntN(500)) * time.Millisecond)
		n.kill9(t, victim)
		eventually(t, 10*time.Second, victim+" has ended", func() bool { return !n.runs(t, victim) })
		n.control(t, "start", victim)
		before := acked.Load()
		eventually(t, 60*time.Second, "writes are acknowledged again", func() bool { return acked.Load() > before+20 })
	}
	close(stop)
	wg.Wait()
	t.Logf("killed: %v; %d writes acknowledged, %d not", counts, acked.Load(), failed.Load())
	if failed.Load() == 0 || len(counts) < 4 {
		t.Error("the kills hit nothing")
	}
	n.nothingLost(t, all)
}

// write adds the account, or gives it a new password.
func (w *written) write(c *soapClient, password string) error {
	op := "updateAccount"
	if w.acked == "" {
		op = "addAccount"
		if len(w.maybe) > 0 { // it may be there
			if _, err := c.call("Sip", "getAccount", sipID(w.user, sipDomain)); err == nil {
				op = "updateAccount"
			}
		}
	}
	w.maybe = append(w.maybe, password)
	if _, err := c.call("Sip", op, account(w.user, sipDomain, "<password>"+password+"</password>")); err != nil {
		return err
	}
	w.acked, w.maybe = password, nil
	return nil
}

// nothingLost compares the database and the nodes with what the writers know.
func (n *network) nothingLost(t *testing.T, all []*written) {
	t.Helper()
	db, err := sql.Open("mysql", "root@unix("+filepath.Join(n.dir, "mariadb", "sock")+")/thor")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	lost, late := 0, 0
	for _, w := range all {
		stored, err := w.stored(db)
		if err != nil {
			t.Errorf("%s: %v", w.user, err)
			lost++
		}
		if stored != "" {
			late += n.served(t, w.user, stored)
		}
	}
	t.Logf("%d accounts: %d acknowledged writes lost, %d not at the subscriber's node at once", len(all), lost, late)
}

// stored is the digest that the database has. The error is that what was acknowledged is
// not there.
func (w *written) stored(db *sql.DB) (ha1 string, err error) {
	if err := db.QueryRow("SELECT ha1 FROM subscriber WHERE username = ? AND domain = ?", w.user, sipDomain).Scan(&ha1); err != nil {
		if w.acked == "" && errors.Is(err, sql.ErrNoRows) {
			return "", nil
		}
		return "", err
	}
	if !slices.ContainsFunc(append(slices.Clone(w.maybe), w.acked), func(p string) bool { return p != "" && digest(w.user, sipDomain, p) == ha1 }) {
		err = errors.New("the acknowledged password is not in the database")
	}
	return ha1, err
}

// served waits until the subscriber's node gives what is stored; it returns 1 if
// that was not so at once.
func (n *network) served(t *testing.T, user, stored string) (late int) {
	t.Helper()
	gives := func() bool {
		for i := range 3 {
			if status, text, _ := n.ha1(fmt.Sprintf("node%d", i+1), user+"@"+sipDomain); status == http.StatusOK {
				return text == stored
			}
		}
		return false
	}
	if gives() {
		return 0
	}
	eventually(t, 60*time.Second, user+"'s node gives what is stored", gives)
	return 1
}
