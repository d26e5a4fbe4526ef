package provisioning

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"thor/provisioning/ngnpro"
)

// An Admin is an administrator of the configuration.
type Admin struct {
	User, Password string
}

const (
	longestSecret = 128 // characters of a user name or a password that are worth a look
	checksAtOnce  = 4   // of passwords against the store, which is slow on purpose
)

// errBusy says that too many passwords waited to be checked, whatever the store does.
var errBusy = errors.New("provisioning: no password could be checked in time")

// authenticate finds out on whose behalf a call is made. The error is a fault,
// and the same one whatever is wrong with name or password.
func (s *Server) authenticate(ctx context.Context, a *ngnpro.Auth, from netip.Addr) (ngnpro.Viewer, error) {
	if len(a.Username) > longestSecret || len(a.Password) > longestSecret || a.Username == "" || a.Password == "" ||
		strings.TrimSpace(a.Username) != a.Username { // the database would take "bob " for bob, and the limits for another
		return ngnpro.Viewer{}, ngnpro.ErrAuthentication
	}
	now := time.Now()
	if !s.failures.allow(from, a.Username, now) {
		s.metrics.logins.WithLabelValues("limited").Inc()
		return ngnpro.Viewer{}, ngnpro.ErrAuthentication.With("too many wrong passwords: try again in a minute")
	}
	v, err := s.login(ctx, a, from)
	if err != nil {
		if isFault(err, ngnpro.ErrAuthentication) {
			s.failures.note(from, a.Username, now)
		}
		return ngnpro.Viewer{}, err
	}
	if a.Impersonate == nil || *a.Impersonate == 0 {
		return v, nil
	}
	party, err := s.cfg.Store.Customer(ctx, v, *a.Impersonate) // only what v sees: never more rights than before
	if err != nil {
		if isFault(err, ngnpro.ErrCustomerNotFound) {
			err = ngnpro.ErrForbidden.With("there is no party %d to impersonate", *a.Impersonate)
		}
		return ngnpro.Viewer{}, err
	}
	return viewer(party), nil
}

func (s *Server) login(ctx context.Context, a *ngnpro.Auth, from netip.Addr) (ngnpro.Viewer, error) {
	isAdmin, wantsAdmin := s.isAdmin(a)
	switch {
	case isAdmin && wantsAdmin:
		return ngnpro.Viewer{Admin: true}, nil
	case wantsAdmin:
		return ngnpro.Viewer{}, ngnpro.ErrAuthentication
	}
	select {
	case s.checks <- struct{}{}:
		defer func() { <-s.checks }()
	case <-ctx.Done():
		return ngnpro.Viewer{}, fmt.Errorf("%w: %w", ngnpro.ErrUnavailable, errBusy)
	}
	if !s.failures.allow(from, a.Username, time.Now()) { // others have failed while this one waited
		return ngnpro.Viewer{}, ngnpro.ErrAuthentication.With("too many wrong passwords: try again in a minute")
	}
	c, err := s.cfg.Store.Login(ctx, a.Username, a.Password)
	if err != nil {
		return ngnpro.Viewer{}, err
	}
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
