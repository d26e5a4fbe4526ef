// Package login finds out on whose behalf a call is made.
//
// Administrators are those of the configuration, all others are parties of the
// store, whose passwords are kept as bcrypt hashes. A wrong login costs the same
// whatever its name: a slot, one look at the store and one slow comparison. A
// right one is remembered, so that a client's further calls cost one look only
// and wait for nothing. Wrong ones are limited by where they come from.
package login

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"thor/identity"
	"thor/provisioning/ngnpro"
)

// maxSecret is how many bytes a user name or a password may have.
const maxSecret = 128

// parties are the customers and resellers of a store. It is an interface so that
// tests run in virtual time and count how often the store is read.
type parties interface {
	// Credentials are the party of a user name and what HashPassword made of its
	// password, or ngnpro.ErrCustomerNotFound. They are read at each call that is no
	// administrator's: one statement.
	Credentials(ctx context.Context, username string) (c *ngnpro.CustomerAccount, hash string, err error)
	// Get is the party of a number, if v sees it.
	Get(ctx context.Context, v ngnpro.Viewer, id int) (*ngnpro.CustomerAccount, error)
}

// ErrLimited says that too many logins were wrong; ErrBusy, that too many
// passwords waited to be compared, whatever the store does.
var (
	ErrLimited = errors.New("login: too many wrong passwords")
	ErrBusy    = errors.New("login: no password could be compared in time")
)

// An Authenticator checks logins. Its methods may be called by any number of
// goroutines.
type Authenticator struct {
	parties  parties
	admins   atomic.Pointer[[]Admin]
	limits   limits
	verified *verified
	slots    *slots
}

// New returns an Authenticator without administrators.
func New(p parties) *Authenticator {
	a := &Authenticator{parties: p, verified: newVerified(), slots: newSlots()}
	a.admins.Store(&[]Admin{})
	return a
}

// An Admin is an administrator of the configuration.
type Admin struct {
	User, Password string
}

// ReadAdmin is the administrator user with the password that stands alone in a
// file, which only its owner may be able to read.
func ReadAdmin(user, path string) (Admin, error) {
	password, err := identity.ReadPassword(path, maxSecret)
	if err != nil {
		return Admin{}, err
	}
	a := Admin{User: user, Password: password}
	if err := a.check(); err != nil {
		return Admin{}, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

func (a Admin) check() error {
	switch {
	case a.User == "" || len(a.User) > maxSecret:
		return fmt.Errorf("an administrator's name is 1 to %d bytes long", maxSecret)
	case a.Password == "" || len(a.Password) > maxSecret:
		return fmt.Errorf("an administrator's password is 1 to %d bytes long", maxSecret)
	}
	return nil
}

// SetAdmins replaces the administrators, from the next login on.
func (a *Authenticator) SetAdmins(admins []Admin) error {
	for _, x := range admins {
		if err := x.check(); err != nil {
			return err
		}
	}
	a.admins.Store(&admins)
	return nil
}

// Authenticate returns the viewer of a login from an address. The error is a
// fault, and the same one whatever is wrong with name or password.
func (a *Authenticator) Authenticate(ctx context.Context, auth *ngnpro.Auth, from netip.Addr) (ngnpro.Viewer, error) {
	if len(auth.Username) > maxSecret || len(auth.Password) > maxSecret || auth.Username == "" || auth.Password == "" ||
		strings.TrimSpace(auth.Username) != auth.Username { // the database would take "bob " for bob, and the limits for another
		return ngnpro.Viewer{}, ngnpro.ErrAuthentication
	}
	if !a.limits.allowUser(from, auth.Username, time.Now()) {
		return ngnpro.Viewer{}, limited()
	}
	v, err := a.login(ctx, auth, from)
	if err != nil {
		return ngnpro.Viewer{}, err
	}
	a.slots.right(from, time.Now())
	if auth.Impersonate == nil || *auth.Impersonate == 0 {
		return v, nil
	}
	party, err := a.parties.Get(ctx, v, *auth.Impersonate) // only what v sees: never more rights than before
	if err != nil {
		if errors.Is(err, ngnpro.ErrCustomerNotFound) {
			err = ngnpro.ErrForbidden.With("there is no party %d to impersonate", *auth.Impersonate)
		}
		return ngnpro.Viewer{}, err
	}
	return viewer(party), nil
}

func (a *Authenticator) login(ctx context.Context, auth *ngnpro.Auth, from netip.Addr) (ngnpro.Viewer, error) {
	isAdmin, wantsAdmin := a.isAdmin(auth)
	if isAdmin && wantsAdmin {
		return ngnpro.Viewer{Admin: true}, nil
	}
	cred, now := a.verified.credential(auth.Username, auth.Password), time.Now()
	if !wantsAdmin && a.verified.knows(cred, now) {
		c, hash, err := a.credentials(ctx, auth.Username)
		if err != nil {
			return ngnpro.Viewer{}, err
		}
		if c != nil && a.verified.holds(cred, hash, now) {
			return entitled(c)
		}
	}
	if !a.limits.allowSource(from, now) {
		a.limits.noteUser(from, auth.Username, now) // or right tries could be distinguished from wrong ones
		return ngnpro.Viewer{}, limited()
	}
	leave, err := a.slots.enter(ctx, from, now)
	if err != nil {
		return ngnpro.Viewer{}, err
	}
	defer leave()
	now = time.Now()
	if !a.limits.allowUser(from, auth.Username, now) || !a.limits.allowSource(from, now) { // others have failed while this one waited
		return ngnpro.Viewer{}, limited()
	}
	c, hash, err := a.credentials(ctx, auth.Username)
	if err != nil {
		return ngnpro.Viewer{}, err
	}
	if c == nil || wantsAdmin || hash == "" {
		c, hash = nil, noPassword
	}
	if !a.verified.compare(cred, hash, auth.Password, now) || c == nil {
		a.limits.note(from, auth.Username, now)
		return ngnpro.Viewer{}, ngnpro.ErrAuthentication
	}
	return entitled(c)
}

func limited() error {
	return fmt.Errorf("%w: %w", ErrLimited, ngnpro.ErrAuthentication.With("too many wrong passwords: try again in a minute"))
}

// credentials are the party of a user name, nil if there is none, and the hash of
// its password.
func (a *Authenticator) credentials(ctx context.Context, username string) (*ngnpro.CustomerAccount, string, error) {
	c, hash, err := a.parties.Credentials(ctx, username)
	if errors.Is(err, ngnpro.ErrCustomerNotFound) {
		return nil, "", nil
	}
	return c, hash, err
}

// isAdmin compares with every administrator, in a time that does not depend on
// where the difference is. wantsAdmin: the login is for an administrator, said
// so, or not said and the name is one's.
func (a *Authenticator) isAdmin(auth *ngnpro.Auth) (isAdmin, wantsAdmin bool) {
	user, pass := sha256.Sum256([]byte(auth.Username)), sha256.Sum256([]byte(auth.Password))
	right, known := 0, 0
	for _, x := range *a.admins.Load() {
		u, p := sha256.Sum256([]byte(x.User)), sha256.Sum256([]byte(x.Password))
		name := subtle.ConstantTimeCompare(u[:], user[:])
		known |= name
		right |= name & subtle.ConstantTimeCompare(p[:], pass[:])
	}
	if auth.Admin != nil {
		return right == 1, *auth.Admin
	}
	return right == 1, known == 1
}

// entitled is the viewer of a party that has logged in.
func entitled(c *ngnpro.CustomerAccount) (ngnpro.Viewer, error) {
	v := viewer(c)
	if v == (ngnpro.Viewer{}) {
		return v, ngnpro.ErrAuthentication
	}
	return v, nil
}

// viewer is what a customer or reseller sees.
func viewer(c *ngnpro.CustomerAccount) ngnpro.Viewer {
	id := value(c.ID)
	reseller := value(c.Reseller)
	as := value(c.Impersonate)
	if reseller != 0 && (id == reseller || as == reseller) {
		return ngnpro.Viewer{Reseller: reseller}
	}
	return ngnpro.Viewer{Customer: id}
}

func value(p *int) int {
	if p == nil {
		return 0
	}
	return *p
}
