package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"thor/overlay/subscriber"
	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
	"thor/subjects"
)

// Everybody changes the same few keys: revisions rise for each, projections stay
// what the model says, and only faults that make sense come back.
func TestConcurrentChangesOfTheSameKeys(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.domain("e.example")
	r := w.customer("r", 0)
	keys := []string{"a@d.example", "b@d.example", "c@e.example"}
	allowed := []error{
		ngnpro.ErrAccountExists, ngnpro.ErrAliasExists, ngnpro.ErrAccountNotFound, ngnpro.ErrAliasNotFound, ngnpro.ErrInGroup, ngnpro.ErrNotInGroup,
		ngnpro.ErrVoicemailExists, ngnpro.ErrVoicemailNotFound, ngnpro.ErrEntryExists,
	}
	const clients, steps = 8, 60
	var mu sync.Mutex
	seen := make(map[string][]uint64)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(c), 7))
			for i := range steps {
				ns, err := w.anything(random, keys, i, r)
				if err != nil && !slices.ContainsFunc(allowed, func(e error) bool { return errors.Is(err, e) }) {
					t.Errorf("%v", err)
				}
				mu.Lock()
				for _, n := range ns {
					seen[n.Key] = append(seen[n.Key], n.Revision)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	w.check()
	changes := 0
	for key, revs := range seen {
		changes += len(revs)
		slices.Sort(revs)
		if len(slices.Compact(slices.Clone(revs))) != len(revs) {
			t.Errorf("%s got a revision twice", key)
		}
		x, err := w.Pushes.Subscriber(w.ctx, key)
		w.ok(err)
		if x.Revision != revs[len(revs)-1] {
			t.Errorf("%s is at %d, the highest given is %d", key, x.Revision, revs[len(revs)-1])
		}
	}
	t.Logf("%d changes of %d keys", changes, len(seen))
	if changes < clients {
		t.Error("hardly anything changed")
	}
}

// anything is one call that changes something.
func (w *world) anything(r *rand.Rand, keys []string, i, party int) (ns store.Notices, err error) {
	a, b := id(keys[r.IntN(len(keys))]), id(keys[r.IntN(len(keys))])
	switch r.IntN(10) {
	case 0, 1:
		_, ns, err = w.Accounts.Add(w.ctx, admin, &ngnpro.SipAccount{ID: a, Password: new(fmt.Sprint(i)), Groups: &[]string{"g", fmt.Sprint(i % 3)}})
	case 2:
		ns, err = w.Accounts.Delete(w.ctx, admin, a)
	case 3:
		ns, err = w.Aliases.Add(w.ctx, admin, &ngnpro.SipAlias{ID: a, Target: b})
	case 4:
		ns, err = w.Aliases.Update(w.ctx, admin, &ngnpro.SipAlias{ID: a, Target: b})
	case 5:
		ns, err = w.Aliases.Delete(w.ctx, admin, a)
	case 6:
		ns, err = w.Accounts.Update(w.ctx, admin, &ngnpro.SipAccount{ID: a, Password: new(fmt.Sprint(i)), Groups: &[]string{fmt.Sprint(i % 5)}})
	case 7:
		ns, err = w.Mailboxes.Add(w.ctx, admin, &ngnpro.VoicemailAccount{SipID: a})
	case 8:
		_, err = w.Phonebook.Add(w.ctx, admin, a, &ngnpro.PhonebookEntry{URI: fmt.Sprintf("sip:%d@x", i)})
	case 9:
		ns, err = w.Domains.Update(w.ctx, admin, &ngnpro.SipDomain{Domain: a.Domain, Reseller: new([]int{0, party}[i%2])})
	}
	return ns, err
}

// Whoever reads up to N has everything up to N: no change appears later with a
// revision below.
func TestChangesAppearInTheirOrder(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	var wg sync.WaitGroup
	done := make(chan struct{})
	for c := range 4 {
		wg.Go(func() {
			for i := range 40 {
				w.account(fmt.Sprintf("u%d-%d@d.example", c, i))
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	known := make(map[string]bool)
	through := uint64(0)
	for last := false; !last; {
		select {
		case <-done:
			last = true
		default:
		}
		c, err := w.Pushes.Changes(w.ctx, through)
		w.ok(err)
		if c.All || c.Through < through {
			t.Fatalf("changes %+v after %d", c, through)
		}
		for _, k := range c.Keys {
			known[k] = true
		}
		through = c.Through
	}
	if len(known) != 160 {
		t.Errorf("a reader that followed heard of %d of 160", len(known))
	}
}

func TestPushesUntilAcknowledged(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	w.account("a@d.example")
	w.account("b@d.example")
	ns, err := w.Pushes.Pending(w.ctx, 1)
	w.ok(err)
	if len(ns) != 1 || ns[0].Key != "a@d.example" || ns[0].Deleted || ns[0].V != subjects.Version {
		t.Fatalf("pending %+v", ns)
	}
	newer, err := w.Accounts.AddToGroup(w.ctx, admin, id("a@d.example"), "x")
	w.ok(err)
	w.ok(w.Pushes.Acknowledge(w.ctx, ns)) // of the revision before
	all, err := w.Pushes.Pending(w.ctx, 10)
	w.ok(err)
	if len(all) != 2 || all[1] != newer[0] {
		t.Errorf("an old acknowledgement ended a newer push: %+v", all)
	}
	w.ok(w.Pushes.Acknowledge(w.ctx, append(all, subscriber.Notice{Key: "nobody@d.example", Revision: 1})))
	if all, err = w.Pushes.Pending(w.ctx, 10); err != nil || len(all) != 0 {
		t.Errorf("left %+v, %v", all, err)
	}
	_, err = w.Accounts.Delete(w.ctx, admin, id("a@d.example"))
	w.ok(err)
	if all, err = w.Pushes.Pending(w.ctx, 10); err != nil || len(all) != 1 || !all[0].Deleted {
		t.Errorf("deleted %+v, %v", all, err)
	}
}

func TestChangesAreBounded(t *testing.T) {
	w := newWorld(t)
	w.domain("d.example")
	db := w.connect()
	_, err := db.Exec("INSERT INTO sip_revisions (domain, username, kind, revision, change_date) SELECT 'x.example', seq, 0, seq, UTC_TIMESTAMP() - INTERVAL 1 YEAR FROM seq_1_to_1001")
	w.ok(err)
	_, err = db.Exec("UPDATE sip_counters SET value = 1001 WHERE name = 'revision'")
	w.ok(err)
	look := func(since uint64, all bool, keys int) *subscriber.ChangedKeys {
		t.Helper()
		c, err := w.Pushes.Changes(w.ctx, since)
		w.ok(err)
		if c.All != all || len(c.Keys) != keys {
			t.Errorf("after %d: all %v, %d keys, through %d", since, c.All, len(c.Keys), c.Through)
		}
		return c
	}
	look(0, true, 0)
	look(1, false, subscriber.MaxKeys)
	look(1001, false, 0)
	look(1002, true, 0) // heard of what this database lacks
	w.account("a@d.example")
	if c := look(1001, false, 1); c.Through <= 1001 {
		t.Errorf("through %d", c.Through)
	}
	n, err := w.Trim(w.ctx)
	w.ok(err)
	if n != 1001 {
		t.Errorf("%d trimmed", n)
	}
	look(1000, true, 0)
	look(1001, false, 1)
	if n, err := w.Trim(w.ctx); err != nil || n != 0 {
		t.Errorf("%d trimmed again, %v", n, err)
	}
	w.check()
}
