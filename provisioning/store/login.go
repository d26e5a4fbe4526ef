package store

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"sync"

	"golang.org/x/crypto/bcrypt"

	"thor/provisioning/ngnpro"
)

const (
	bcryptCost       = 10
	maxLoginPassword = 72 // bytes; bcrypt takes no more
	maxLogins        = 1024
)

// hashPassword is what is kept of a customer's password.
func hashPassword(s string) (string, error) {
	b, err := bcrypt.GenerateFromPassword([]byte(s), bcryptCost)
	return string(b), err
}

// logins remembers which passwords were right, so that a client's every call
// does not cost the time that is meant for those who guess. Of a password it
// keeps a digest with a key that this process forgets. The zero value is ready.
type logins struct {
	mu    sync.Mutex
	key   []byte
	known map[string]login // by user name
}

type login struct {
	hash   string // that was matched; another one in the database ends this
	digest [sha256.Size]byte
}

// right reports whether password matches hash.
func (l *logins) right(username, password, hash string) bool {
	d := l.digest(password)
	l.mu.Lock()
	k, ok := l.known[username]
	l.mu.Unlock()
	if ok && k.hash == hash && hmac.Equal(k.digest[:], d[:]) {
		return true
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= maxLogins {
		clear(l.known)
	}
	l.known[username] = login{hash, d}
	return true
}

func (l *logins) digest(password string) (d [sha256.Size]byte) {
	l.mu.Lock()
	if l.key == nil {
		l.key, l.known = make([]byte, sha256.Size), make(map[string]login)
		_, _ = rand.Read(l.key) // never fails
	}
	m := hmac.New(sha256.New, l.key)
	l.mu.Unlock()
	m.Write([]byte(password))
	m.Sum(d[:0])
	return d
}

// nobody is a hash that no password matches: guessing a user name takes as long
// as guessing a password.
const nobody = "$2a$10$0000000000000000000000uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"

// Login finds the party of a user name and password.
func (s *Store) Login(ctx context.Context, username, password string) (c *ngnpro.CustomerAccount, err error) {
	hash := ""
	err = s.look(ctx, "log in", func(t *tx) error {
		c, hash, err = t.login(username)
		return err
	})
	unknown := errors.Is(err, ngnpro.ErrCustomerNotFound)
	if err != nil && !unknown {
		return nil, err
	}
	if unknown || hash == "" {
		hash = nobody
	}
	if !s.logins.right(username, password, hash) || unknown {
		return nil, ngnpro.ErrAuthentication
	}
	return c, nil
}
