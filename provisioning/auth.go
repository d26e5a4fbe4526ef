package provisioning

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/netip"
	"sync"
	"time"

	"thor/provisioning/ngnpro"
)

// An Admin is an administrator of the configuration.
type Admin struct {
	User, Password string
}

const (
	rememberFor   = 30 * time.Second // a login that succeeded; a changed password may live on so long elsewhere
	rememberMost  = 4096
	longestSecret = 128 // characters of a user name or a password that are worth a look
	checksAtOnce  = 4   // of passwords against the store, which is slow on purpose
)

// authenticate finds out on whose behalf a call is made. The error is a fault,
// and the same one whatever is wrong with name or password.
func (s *Server) authenticate(ctx context.Context, a *ngnpro.Auth, from netip.Addr) (ngnpro.Viewer, error) {
	if len(a.Username) > longestSecret || len(a.Password) > longestSecret || a.Username == "" || a.Password == "" {
		return ngnpro.Viewer{}, ngnpro.ErrAuthentication
	}
	now := time.Now()
	id := s.logins.name(a)
	v, ok := s.logins.recall(id, now)
	if !ok {
		if !s.failures.allow(from, a.Username, now) {
			s.metrics.logins.WithLabelValues("limited").Inc()
			return ngnpro.Viewer{}, ngnpro.ErrAuthentication.With("too many wrong passwords: try again in a minute")
		}
		var err error
		if v, err = s.login(ctx, a); err != nil {
			if isFault(err, ngnpro.ErrAuthentication) {
				s.failures.note(from, a.Username, now)
			}
			return ngnpro.Viewer{}, err
		}
		s.logins.remember(id, v, now)
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

func (s *Server) login(ctx context.Context, a *ngnpro.Auth) (ngnpro.Viewer, error) {
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
		return ngnpro.Viewer{}, ngnpro.ErrUnavailable
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

// logins remembers who logged in, so that not every call costs a slow check of
// a password. It holds no password: a login is known by a keyed digest whose key
// ends with the process.
type logins struct {
	key [32]byte

	mu    sync.Mutex
	known map[[32]byte]login
}

type login struct {
	v     ngnpro.Viewer
	until time.Time
}

func newLogins() *logins {
	l := &logins{known: make(map[[32]byte]login)}
	_, _ = rand.Read(l.key[:]) // never fails, see crypto/rand
	return l
}

func (l *logins) name(a *ngnpro.Auth) (id [32]byte) {
	h := hmac.New(sha256.New, l.key[:])
	admin := byte('?')
	if a.Admin != nil {
		admin = 'n'
		if *a.Admin {
			admin = 'y'
		}
	}
	h.Write([]byte{admin, byte(len(a.Username))}) // at most longestSecret
	h.Write([]byte(a.Username))
	h.Write([]byte(a.Password))
	h.Sum(id[:0])
	return id
}

func (l *logins) recall(id [32]byte, now time.Time) (ngnpro.Viewer, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.known[id]
	return k.v, ok && now.Before(k.until)
}

func (l *logins) remember(id [32]byte, v ngnpro.Viewer, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= rememberMost {
		clear(l.known)
	}
	l.known[id] = login{v, now.Add(rememberFor)}
}

// forget makes every login be checked again.
func (l *logins) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.known)
}
