package login

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"thor/provisioning/ngnpro"
)

func TestWrongPasswordsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParties(t)
		a := newAuthenticator(t, p)
		for range 30 {
			want(t, "a guess", a.try("192.0.2.1", "customer1", "wrong", nil), ngnpro.ErrAuthentication)
		}
		if p.reads > 11 {
			t.Errorf("the store was read %d times", p.reads)
		}
		// If the right password ended the limit it would be none.
		want(t, "the right password", a.try("192.0.2.1", "customer1", "pw-customer1", nil), ErrLimited)
		want(t, "another address", a.try("192.0.2.2", "customer1", "pw-customer1", nil), nil)
		want(t, "another user", a.try("192.0.2.1", "reseller1", "pw-reseller1", nil), nil)
		time.Sleep(time.Minute)
		want(t, "a minute later", a.try("192.0.2.1", "customer1", "pw-customer1", nil), nil)
	})
}

func TestOneHostTryingManyUsersIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParties(t)
		a := newAuthenticator(t, p)
		a.onCompare(func() {})
		for i := range 300 {
			want(t, "a guess", a.try(fmt.Sprintf("2001:db8::%x", i+1), fmt.Sprint("user", i), "wrong", nil), ngnpro.ErrAuthentication) // of one /64
		}
		if p.reads > 101 {
			t.Errorf("the store was read %d times", p.reads)
		}
	})
}

func TestAdministratorsAreLimitedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthenticator(t, newParties(t))
		a.onCompare(func() {})
		for range 11 {
			want(t, "a guess", a.try("192.0.2.1", adminUser, "guess", ptr(true)), ngnpro.ErrAuthentication)
		}
		want(t, "the twelfth", a.try("192.0.2.1", adminUser, "guess", ptr(true)), ErrLimited)
	})
}

// Passwords that wait for a slot until their call ends are an error of
// their own, and no outage of the store.
func TestPasswordsThatWaitTooLongAreBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParties(t)
		p.delay = time.Minute
		a := newAuthenticator(t, p)
		var g sync.WaitGroup
		var mu sync.Mutex
		busy, right := 0, 0
		for i := range 8 {
			g.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				auth := &ngnpro.Auth{Username: "customer1", Password: "pw-customer1"}
				_, err := a.Authenticate(ctx, auth, netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i)))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					right++
				case errors.Is(err, ErrBusy) && errors.Is(err, ngnpro.ErrUnavailable):
					busy++
				default:
					t.Error(err)
				}
			})
		}
		g.Wait()
		if busy != 6 || right != slotsOfOthers {
			t.Errorf("%d busy, %d right", busy, right)
		}
	})
}

// Guesses from many networks keep all slots busy. A client that is logged in goes
// on as if there were none, and comes back with a new password.
func TestAFloodOfGuessesDoesNotStarveALoggedInClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParties(t)
		a := newAuthenticator(t, p)
		const slow = 70 * time.Millisecond
		a.onCompare(func() { time.Sleep(slow) })
		try := func(password string) error { return a.try("192.0.2.1", "customer1", password, nil) }
		want(t, "before the flood", try("pw-customer1"), nil)
		ctx, stop := context.WithCancel(t.Context())
		var g sync.WaitGroup
		guesses := 0
		var mu sync.Mutex
		for i := range 120 {
			g.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					_ = a.try(fmt.Sprintf("10.%d.%d.1", i/250, i%250), "customer1", fmt.Sprint("guess", n), nil) // refused one way or another
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
			want(t, fmt.Sprint("call ", i), try("pw-customer1"), nil)
			if took := time.Since(began); took > 0 { // of the bubble: it waits for nothing
				t.Fatalf("call %d takes %v", i, took)
			}
			time.Sleep(100 * time.Millisecond)
		}
		p.setPassword(t, "customer1", "new")
		began := time.Now()
		want(t, "a new password where the old one was right", try("new"), nil)
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

// A host that is over its limit cannot find out by the cache what is right.
func TestTheCacheIsNoOracle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthenticator(t, newParties(t))
		a.onCompare(func() {})
		try := func(password string) error { return a.try("192.0.2.1", "customer1", password, nil) }
		want(t, "the first call", try("pw-customer1"), nil)
		for i := range 120 { // other users take all tries of the host
			_ = a.try("192.0.2.1", fmt.Sprint("user", i), "wrong", nil) // refused one way or another
		}
		want(t, "a client that is logged in, after others' guesses", try("pw-customer1"), nil)
		for i := range 10 {
			want(t, "a guess", try(fmt.Sprint("guess", i)), ngnpro.ErrAuthentication)
		}
		want(t, "the right one after ten guesses", try("pw-customer1"), ErrLimited)
	})
}

func TestFailuresOfASiteAreLimitedAndBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParties(t)
		a := newAuthenticator(t, p)
		a.onCompare(func() {})
		for i := range 1000 {
			want(t, "a guess", a.try(fmt.Sprintf("198.51.100.%d", i%250+1), fmt.Sprint("user", i), "wrong", nil), ngnpro.ErrAuthentication)
		}
		if p.reads > 301 {
			t.Errorf("the store was read %d times for one /24", p.reads)
		}
		p.reads = 0
		for range 3600 { // one guess a second, for an hour
			want(t, "a guess", a.try("192.0.2.1", "customer1", "wrong", nil), ngnpro.ErrAuthentication)
			time.Sleep(time.Second)
		}
		if p.reads > 60 {
			t.Errorf("an hour of guesses had %d answers", p.reads)
		}
	})
}
