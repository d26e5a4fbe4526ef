package provisioning

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/netip"
	"strings"
	"time"

	"thor/provisioning/ngnpro"
)

// An Admin is an administrator of the configuration.
type Admin struct {
	User, Password string
}

const longestSecret = 128 // bytes of a user name or a password that are worth a look

// authenticate finds out on whose behalf a call is made. The error is a fault,
// and the same one whatever is wrong with name or password.
func (s *Server) authenticate(ctx context.Context, a *ngnpro.Auth, from netip.Addr) (ngnpro.Viewer, error) {
	if len(a.Username) > longestSecret || len(a.Password) > longestSecret || a.Username == "" || a.Password == "" ||
		strings.TrimSpace(a.Username) != a.Username { // the database would take "bob " for bob, and the limits for another
		return ngnpro.Viewer{}, ngnpro.ErrAuthentication
	}
	if !s.failures.allowUser(from, a.Username, time.Now()) {
		return ngnpro.Viewer{}, s.limited()
	}
	v, err := s.login(ctx, a, from)
	if err != nil {
		return ngnpro.Viewer{}, err
	}
	s.checks.right(from, time.Now())
	if a.Impersonate == nil || *a.Impersonate == 0 {
		return v, nil
	}
	party, err := s.cfg.Store.Customers.Get(ctx, v, *a.Impersonate) // only what v sees: never more rights than before
	if err != nil {
		if isFault(err, ngnpro.ErrCustomerNotFound) {
			err = ngnpro.ErrForbidden.With("there is no party %d to impersonate", *a.Impersonate)
		}
		return ngnpro.Viewer{}, err
	}
	return viewer(party), nil
}

// login finds out who a is. A login that is known to be right costs one look at
// the database, to see that it still is. All others cost the same whatever the
// name is, an administrator's, a customer's or none: a slot, the look and one slow
// comparison.
func (s *Server) login(ctx context.Context, a *ngnpro.Auth, from netip.Addr) (ngnpro.Viewer, error) {
	isAdmin, wantsAdmin := s.isAdmin(a)
	if isAdmin && wantsAdmin {
		return ngnpro.Viewer{Admin: true}, nil
	}
	sum, now := s.passwords.credential(a.Username, a.Password), time.Now()
	if !wantsAdmin && s.passwords.knows(sum, now) {
		c, hash, err := s.credentials(ctx, a.Username)
		if err != nil {
			return ngnpro.Viewer{}, err
		}
		if c != nil && s.passwords.holds(sum, hash, now) {
			return s.entitled(c)
		}
	}
	if !s.failures.allowSource(from, now) {
		s.failures.noteUser(from, a.Username, now) // or tries that are right would be told from those that are not
		return ngnpro.Viewer{}, s.limited()
	}
	leave, err := s.checks.enter(ctx, from, now)
	if err != nil {
		return ngnpro.Viewer{}, err
	}
	defer leave()
	now = time.Now()
	if !s.failures.allowUser(from, a.Username, now) || !s.failures.allowSource(from, now) { // others have failed while this one waited
		return ngnpro.Viewer{}, s.limited()
	}
	c, hash, err := s.credentials(ctx, a.Username)
	if err != nil {
		return ngnpro.Viewer{}, err
	}
	if c == nil || wantsAdmin || hash == "" {
		c, hash = nil, noPassword
	}
	if !s.passwords.check(sum, hash, a.Password, now) || c == nil {
		s.failures.note(from, a.Username, now)
		return ngnpro.Viewer{}, ngnpro.ErrAuthentication
	}
	return s.entitled(c)
}

func (s *Server) limited() error {
	s.metrics.logins.WithLabelValues("limited").Inc()
	return ngnpro.ErrAuthentication.With("too many wrong passwords: try again in a minute")
}

// credentials are the party of a user name, nil if there is none, and the hash of
// its password.
func (s *Server) credentials(ctx context.Context, username string) (*ngnpro.CustomerAccount, string, error) {
	c, hash, err := s.cfg.Store.Customers.Credentials(ctx, username)
	if isFault(err, ngnpro.ErrCustomerNotFound) {
		return nil, "", nil
	}
	return c, hash, err
}

// entitled is what a party that has logged in sees.
func (s *Server) entitled(c *ngnpro.CustomerAccount) (ngnpro.Viewer, error) {
	v := viewer(c)
	if v == (ngnpro.Viewer{}) {
		return v, ngnpro.ErrAuthentication
	}
	return v, nil
}

// isAdmin compares with every administrator, in a time that does not depend on
// where the difference is. wantsAdmin: the login is for an administrator, said
// so, or not said and the name is one's.
func (s *Server) isAdmin(a *ngnpro.Auth) (isAdmin, wantsAdmin bool) {
	user, pass := sha256.Sum256([]byte(a.Username)), sha256.Sum256([]byte(a.Password))
	right, known := 0, 0
	for _, x := range *s.admins.Load() {
		u, p := sha256.Sum256([]byte(x.User)), sha256.Sum256([]byte(x.Password))
		name := subtle.ConstantTimeCompare(u[:], user[:])
		known |= name
		right |= name & subtle.ConstantTimeCompare(p[:], pass[:])
	}
	if a.Admin != nil {
		return right == 1, *a.Admin
	}
	return right == 1, known == 1
}

// viewer is what a customer or reseller sees.
func viewer(c *ngnpro.CustomerAccount) ngnpro.Viewer {
	id, reseller, as := value(c.ID), value(c.Reseller), value(c.Impersonate)
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

func isFault(err error, f *ngnpro.Fault) bool { return err != nil && errors.Is(err, f) }
