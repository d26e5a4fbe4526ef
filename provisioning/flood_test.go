package provisioning_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"thor/provisioning"
	"thor/provisioning/ngnpro"
)

// Whatever the name, a wrong password costs one look at the store and one slow
// comparison: the time tells nothing of names.
func TestAWrongPasswordCostsTheSameWhateverTheName(t *testing.T) {
	f := populated(t)
	s := newServer(t, f)
	compared := 0
	s.OnCheck(func([]byte) { compared++ })
	for i, c := range []struct{ user, rest string }{
		{adminUser, ""},
		{adminUser, "<admin>true</admin>"},
		{adminUser, "<admin>false</admin>"},
		{"customer1", ""},
		{"customer1", "<admin>true</admin>"},
		{"customer1", "<admin>false</admin>"},
		{"nobody", ""},
		{"nobody", "<admin>true</admin>"},
	} {
		compared, f.logins = 0, 0
		if b := login(s, fmt.Sprintf("192.0.2.%d", i), c.user, "wrong", c.rest); !strings.Contains(b, "<errorcode>1</errorcode>") {
			t.Errorf("%v: %s", c, b)
		}
		if compared != 1 || f.logins != 1 {
			t.Errorf("%s %s: %d slow comparisons, %d looks at the store", c.user, c.rest, compared, f.logins)
		}
	}
	if cost, err := bcrypt.Cost([]byte(provisioning.NoPassword)); err != nil || cost != provisioning.PasswordCost {
		t.Errorf("what is compared where there is no password costs %d, %v", cost, err)
	}
}

// A customer's own password does not make the customer an administrator of the
// same name, and takes as long as a wrong one.
func TestAnAdministratorsNameIsNotACustomers(t *testing.T) {
	f := populated(t)
	s := newServer(t, f)
	if err := s.SetAdmins([]provisioning.Admin{{User: "customer1", Password: "root's"}}); err != nil {
		t.Fatal(err)
	}
	compared := 0
	s.OnCheck(func([]byte) { compared++ })
	for range 2 {
		if b := login(s, "192.0.2.1", "customer1", "pw-customer1", ""); strings.Contains(b, "Alice") {
			t.Error("logged in")
		}
	}
	if compared != 2 {
		t.Errorf("%d slow comparisons for two tries", compared)
	}
}

func TestARightPasswordIsCheckedOnceUntilItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := populated(t)
		s := newServer(t, f)
		compared := 0
		s.OnCheck(func([]byte) { compared++ })
		in := func(password string) bool {
			return strings.Contains(login(s, "192.0.2.1", "customer1", password, ""), "Alice")
		}
		for range 20 {
			if !in("pw-customer1") {
				t.Fatal("not logged in")
			}
			time.Sleep(time.Minute)
		}
		if compared != 1 {
			t.Errorf("%d comparisons of a password in use", compared)
		}
		time.Sleep(20 * time.Minute)
		if in("pw-customer1"); compared != 2 {
			t.Errorf("%d comparisons after a pause", compared)
		}
		if err := f.records().Customers.Update(context.Background(), ngnpro.Viewer{Admin: true}, &ngnpro.CustomerAccount{ID: ptr(102), Reseller: ptr(101), Username: ptr("customer1"), Password: ptr("new")}); err != nil {
			t.Fatal(err)
		}
		if in("pw-customer1") {
			t.Error("the old password still works")
		}
		if !in("new") {
			t.Error("the new one does not work")
		}
	})
}

// Guesses from many networks keep all slots busy. Who is logged in goes on as if
// there were none, and comes back with a new password.
func TestAFloodOfGuessesDoesNotStarveWhoIsLoggedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := populated(t)
		s := newServer(t, f)
		const slow = 70 * time.Millisecond
		s.OnCheck(func([]byte) { time.Sleep(slow) })
		in := func(password string) bool {
			return strings.Contains(login(s, "192.0.2.1", "customer1", password, ""), "Alice")
		}
		if !in("pw-customer1") {
			t.Fatal("not logged in")
		}
		ctx, stop := context.WithCancel(t.Context())
		var g sync.WaitGroup
		guesses := 0
		var mu sync.Mutex
		for i := range 120 {
			g.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					login(s, fmt.Sprintf("10.%d.%d.1", i/250, i%250), "customer1", fmt.Sprint("guess", n), "")
					mu.Lock()
					guesses++
					mu.Unlock()
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		time.Sleep(time.Second)
		for i := range 30 {
			began := time.Now()
			if !in("pw-customer1") {
				t.Fatalf("call %d is refused", i)
			}
			if took := time.Since(began); took > 0 { // of the bubble: nothing is waited for
				t.Fatalf("call %d takes %v", i, took)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if err := f.records().Customers.Update(context.Background(), ngnpro.Viewer{Admin: true}, &ngnpro.CustomerAccount{ID: ptr(102), Reseller: ptr(101), Username: ptr("customer1"), Password: ptr("new")}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if !in("new") {
			t.Error("the new password is refused where the old one was right")
		}
		if took := time.Since(began); took > 2*slow {
			t.Errorf("the new password takes %v", took)
		}
		stop()
		g.Wait()
		if guesses < 1000 {
			t.Errorf("only %d guesses", guesses)
		}
	})
}

// A source that is over its limit cannot find out by the cache what is right.
func TestTheCacheIsNoOracle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, populated(t))
		s.OnCheck(func([]byte) {})
		if !strings.Contains(login(s, "192.0.2.1", "customer1", "pw-customer1", ""), "Alice") {
			t.Fatal("not logged in")
		}
		for i := range 120 { // of the address's tries, other users take all
			login(s, "192.0.2.1", fmt.Sprint("user", i), "wrong", "")
		}
		if !strings.Contains(login(s, "192.0.2.1", "customer1", "pw-customer1", ""), "Alice") {
			t.Error("who is logged in is refused for others' guesses")
		}
		for i := range 10 {
			login(s, "192.0.2.1", "customer1", fmt.Sprint("guess", i), "")
		}
		if strings.Contains(login(s, "192.0.2.1", "customer1", "pw-customer1", ""), "Alice") {
			t.Error("the eleventh guess is answered")
		}
	})
}

func TestFailuresOfASiteAreLimitedAndBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := populated(t)
		s := newServer(t, f)
		s.OnCheck(func([]byte) {})
		for i := range 1000 {
			login(s, fmt.Sprintf("198.51.100.%d", i%250+1), fmt.Sprint("user", i), "wrong", "")
		}
		if f.logins > 301 {
			t.Errorf("the store was asked %d times for one /24", f.logins)
		}
		f.logins = 0
		for range 3600 { // one guess a second, for an hour
			login(s, "192.0.2.1", "customer1", "wrong", "")
			time.Sleep(time.Second)
		}
		if f.logins > 60 {
			t.Errorf("an hour of guesses had %d answers", f.logins)
		}
	})
}
