package login

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"thor/provisioning/ngnpro"
)

// fakeParties are a reseller, a customer of it, and another reseller.
type fakeParties struct {
	mu     sync.Mutex
	byName map[string]*party
	reads  int           // of credentials
	delay  time.Duration // of each, whether or not its context ends
}

type party struct {
	account ngnpro.CustomerAccount
	hash    string
}

func newParties(t *testing.T) *fakeParties {
	t.Helper()
	p := &fakeParties{byName: make(map[string]*party)}
	for _, c := range []struct {
		user         string
		id, reseller int
	}{{"reseller1", 101, 101}, {"customer1", 102, 101}, {"reseller2", 103, 103}} {
		p.byName[c.user] = &party{account: ngnpro.CustomerAccount{ID: &c.id, Reseller: &c.reseller, Username: &c.user}}
		p.setPassword(t, c.user, "pw-"+c.user)
	}
	return p
}

func (p *fakeParties) setPassword(t *testing.T, user, password string) {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost) // the tests make thousands of comparisons
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byName[user].hash = string(hash)
}

func (p *fakeParties) Credentials(_ context.Context, username string) (*ngnpro.CustomerAccount, string, error) {
	p.mu.Lock()
	p.reads++
	x, delay := p.byName[username], p.delay
	p.mu.Unlock()
	time.Sleep(delay)
	if x == nil {
		return nil, "", ngnpro.ErrCustomerNotFound
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return &x.account, x.hash, nil
}

func (p *fakeParties) Get(_ context.Context, v ngnpro.Viewer, id int) (*ngnpro.CustomerAccount, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.byName {
		if *x.account.ID == id && v.Sees(id, *x.account.Reseller) {
			return &x.account, nil
		}
	}
	return nil, ngnpro.ErrCustomerNotFound
}

const adminUser, adminPassword = "admin", "s3cret & <sûre>"

func newAuthenticator(t *testing.T, p *fakeParties) *Authenticator {
	t.Helper()
	a := New(p)
	if err := a.SetAdmins([]Admin{{adminUser, adminPassword}}); err != nil {
		t.Fatal(err)
	}
	return a
}

// onCompare has f called at each slow comparison, instead of it where no password
// matches.
func (a *Authenticator) onCompare(f func()) {
	a.verified.bcrypt = func(hash, password []byte) error {
		if f(); string(hash) == noPassword {
			return bcrypt.ErrMismatchedHashAndPassword
		}
		return bcrypt.CompareHashAndPassword(hash, password)
	}
}

func ptr[T any](v T) *T { return &v }

// try logs in from an address; admin is nil if the login does not say.
func (a *Authenticator) try(from, user, password string, admin *bool) error {
	_, err := a.Authenticate(context.Background(), &ngnpro.Auth{Username: user, Password: password, Admin: admin}, netip.MustParseAddr(from))
	return err
}

// want checks what came of a login.
func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) || (err == nil) != (target == nil) {
		t.Errorf("%s: %v, want %v", what, err, target)
	}
}

func TestViewerOfALogin(t *testing.T) {
	a := newAuthenticator(t, newParties(t))
	for _, c := range []struct {
		user, password string
		impersonate    int
		viewer         ngnpro.Viewer
		err            error
	}{
		{adminUser, adminPassword, 0, ngnpro.Viewer{Admin: true}, nil},
		{"reseller1", "pw-reseller1", 0, ngnpro.Viewer{Reseller: 101}, nil},
		{"customer1", "pw-customer1", 0, ngnpro.Viewer{Customer: 102}, nil},
		{adminUser, adminPassword, 101, ngnpro.Viewer{Reseller: 101}, nil},
		{adminUser, adminPassword, 102, ngnpro.Viewer{Customer: 102}, nil},
		{adminUser, adminPassword, 999, ngnpro.Viewer{}, ngnpro.ErrForbidden},
		{"reseller1", "pw-reseller1", 102, ngnpro.Viewer{Customer: 102}, nil},
		{"customer1", "pw-customer1", 102, ngnpro.Viewer{Customer: 102}, nil},
		{"reseller2", "pw-reseller2", 102, ngnpro.Viewer{}, ngnpro.ErrForbidden},
		{"customer1", "pw-customer1", 101, ngnpro.Viewer{}, ngnpro.ErrForbidden},
		{"customer1", "pw-reseller1", 0, ngnpro.Viewer{}, ngnpro.ErrAuthentication},
		{"unknown", "pw-customer1", 0, ngnpro.Viewer{}, ngnpro.ErrAuthentication},
		{"customer1", "", 0, ngnpro.Viewer{}, ngnpro.ErrAuthentication},
		{"", "pw-customer1", 0, ngnpro.Viewer{}, ngnpro.ErrAuthentication},
		{"customer1", strings.Repeat("x", maxSecret+1), 0, ngnpro.Viewer{}, ngnpro.ErrAuthentication},
	} {
		auth := &ngnpro.Auth{Username: c.user, Password: c.password, Impersonate: &c.impersonate}
		v, err := a.Authenticate(t.Context(), auth, netip.MustParseAddr("192.0.2.1"))
		if want(t, c.user, err, c.err); v != c.viewer {
			t.Errorf("%s as %d: %+v, want %+v", c.user, c.impersonate, v, c.viewer)
		}
	}
}

func TestAPartyThatIsNoneSeesNothing(t *testing.T) {
	p := newParties(t)
	p.byName["customer1"].account = ngnpro.CustomerAccount{}
	want(t, "a party without a number", newAuthenticator(t, p).try("192.0.2.1", "customer1", "pw-customer1", nil), ngnpro.ErrAuthentication)
}

func TestNewAdministratorsReplaceTheOldOnes(t *testing.T) {
	a := newAuthenticator(t, newParties(t))
	if err := a.SetAdmins([]Admin{{"root", "one"}, {"ops", "two"}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user, password string
		admin          *bool
		want           error
	}{
		{adminUser, adminPassword, ptr(true), ngnpro.ErrAuthentication},
		{"root", "one", ptr(true), nil},
		{"ops", "two", ptr(true), nil},
		{"ops", "two", nil, nil},
		{"ops", "two", ptr(false), ngnpro.ErrAuthentication},
		{"ops", "one", ptr(true), ngnpro.ErrAuthentication},
		{"root", "", ptr(true), ngnpro.ErrAuthentication},
		{"", "", ptr(true), ngnpro.ErrAuthentication},
	} {
		want(t, fmt.Sprint(c.user, " ", c.password), a.try("192.0.2.1", c.user, c.password, c.admin), c.want)
	}
	for _, bad := range []Admin{{}, {User: "admin"}, {Password: "x"}, {"admin", strings.Repeat("x", maxSecret+1)}, {strings.Repeat("x", maxSecret+1), "x"}} {
		if a.SetAdmins([]Admin{bad}) == nil {
			t.Errorf("accepted: %+v", bad)
		}
	}
	want(t, "after a bad list", a.try("192.0.2.1", "root", "one", nil), nil)
}

// MySQL compares without the blanks at the end: each spelling would have a limit
// of its own.
func TestANameWithBlanksIsUnknown(t *testing.T) {
	p := newParties(t)
	a := newAuthenticator(t, p)
	for _, user := range []string{"customer1 ", "customer1  ", " customer1", "customer1\t"} {
		want(t, user, a.try("192.0.2.1", user, "pw-customer1", nil), ngnpro.ErrAuthentication)
	}
	if p.reads > 0 {
		t.Errorf("the store was read %d times", p.reads)
	}
}

// Whatever the name, a wrong password costs one look at the store and one slow
// comparison: the time reveals nothing of names.
func TestAWrongPasswordCostsTheSameWhateverTheName(t *testing.T) {
	p := newParties(t)
	a := newAuthenticator(t, p)
	compared := 0
	a.onCompare(func() { compared++ })
	i := 0
	for _, user := range []string{adminUser, "customer1", "unknown"} {
		for _, admin := range []*bool{nil, ptr(true), ptr(false)} {
			i++
			compared, p.reads = 0, 0
			want(t, user, a.try(fmt.Sprintf("192.0.2.%d", i), user, "wrong", admin), ngnpro.ErrAuthentication)
			if compared != 1 || p.reads != 1 {
				t.Errorf("%s: %d slow comparisons, %d reads of the store", user, compared, p.reads)
			}
		}
	}
	hash, err := HashPassword("x")
	if err != nil {
		t.Fatal(err)
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if none, err2 := bcrypt.Cost([]byte(noPassword)); err != nil || err2 != nil || cost != none {
		t.Errorf("a password costs %d, what is compared where there is none %d: %v, %v", cost, none, err, err2)
	}
}

// A customer's own password does not make the customer an administrator of the
// same name, and takes as long as a wrong one.
func TestAnAdministratorsNameIsNotACustomers(t *testing.T) {
	a := newAuthenticator(t, newParties(t))
	if err := a.SetAdmins([]Admin{{"customer1", "root's"}}); err != nil {
		t.Fatal(err)
	}
	compared := 0
	a.onCompare(func() { compared++ })
	for range 2 {
		want(t, "the customer's password", a.try("192.0.2.1", "customer1", "pw-customer1", nil), ngnpro.ErrAuthentication)
	}
	if compared != 2 {
		t.Errorf("%d slow comparisons for two tries", compared)
	}
}

func TestARightPasswordIsComparedOnceUntilItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newParties(t)
		a := newAuthenticator(t, p)
		compared := 0
		a.onCompare(func() { compared++ })
		try := func(password string) error { return a.try("192.0.2.1", "customer1", password, nil) }
		for range 20 {
			want(t, "in use", try("pw-customer1"), nil)
			time.Sleep(time.Minute)
		}
		if compared != 1 {
			t.Errorf("%d comparisons of a password in use", compared)
		}
		time.Sleep(20 * time.Minute)
		if want(t, "after a pause", try("pw-customer1"), nil); compared != 2 {
			t.Errorf("%d comparisons after a pause", compared)
		}
		p.setPassword(t, "customer1", "new")
		want(t, "the old password", try("pw-customer1"), ngnpro.ErrAuthentication)
		want(t, "the new password", try("new"), nil)
	})
}
