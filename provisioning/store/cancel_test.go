package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"thor/provisioning/ngnpro"
	"thor/provisioning/store"
)

// A caller that goes away in the middle of a call leaves nothing of it: neither
// now nor when the next call uses the connection.
func TestCallsThatAreCutShortChangeNothing(t *testing.T) {
	w := newWorld(t, func(c *store.Config) { c.Connections = 1 })
	w.domain("d.example")
	began := time.Now()
	w.account("first@d.example")
	usual := time.Since(began)
	cut, whole := 0, 0
	for i := range 200 {
		name := fmt.Sprintf("u%d@d.example", i)
		ctx, cancel := context.WithCancel(w.ctx)
		timer := time.AfterFunc(rand.N(usual), cancel)
		_, _, err := w.Accounts.Add(ctx, admin, &ngnpro.SipAccount{ID: id(name), Password: new("secret"), Groups: &[]string{"g"}})
		timer.Stop()
		cancel()
		began := time.Now()
		w.account(fmt.Sprintf("after%d@d.example", i)) // on the same connection
		usual = time.Since(began)
		_, missing := w.Accounts.Get(w.ctx, admin, id(name))
		switch {
		case err == nil && missing != nil:
			t.Fatalf("%s was added, and is not there: %v", name, missing)
		case err == nil:
			whole++
		default:
			cut++ // the commit may have arrived all the same, but then as a whole
		}
	}
	w.check()
	t.Logf("%d calls cut short, %d not", cut, whole)
	if cut < 20 {
		t.Error("hardly any call was cut short")
	}
}
