package provisioning

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	passwordCost = 10 // of bcrypt: about 70 ms
	// MaxLoginPassword is how many bytes of a customer's password bcrypt takes.
	MaxLoginPassword = 72

	maxKnown = 1024
	knownFor = 10 * time.Minute // since a login was last used
)

// HashPassword is what a Store keeps of a customer's password.
func HashPassword(s string) (string, error) {
	b, err := bcrypt.GenerateFromPassword([]byte(s), passwordCost)
	return string(b), err
}

// noPassword is a hash that no password matches. A login whose name nobody has,
// or an administrator's with a wrong password, is compared with it: it takes as
// long as any other.
const noPassword = "$2a$10$0000000000000000000000uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"

// passwords remembers which logins were right, so that a client's every call does
// not cost the time that is meant for those who guess, and does not wait for them.
// Of a login it keeps a digest with a key that this process forgets. It is good
// for one hash only: a changed password ends it at once.
type passwords struct {
	compare func(hash, password []byte) error // bcrypt's; a test counts

	mu    sync.Mutex
	key   []byte
	known map[credential]knownLogin
}

type credential [sha256.Size]byte

type knownLogin struct {
	hash string // that was matched
	used time.Time
}

func newPasswords() *passwords {
	p := &passwords{compare: bcrypt.CompareHashAndPassword, key: make([]byte, sha256.Size), known: make(map[credential]knownLogin)}
	_, _ = rand.Read(p.key) // never fails
	return p
}

// credential is the digest of a user name and a password.
func (p *passwords) credential(user, password string) (c credential) {
	m := hmac.New(sha256.New, p.key)
	m.Write([]byte{byte(len(user))}) // both are at most longestSecret bytes long
	m.Write([]byte(user))
	m.Write([]byte(password))
	m.Sum(c[:0])
	return c
}

// knows reports whether c was right lately; against which hash tells holds.
func (p *passwords) knows(c credential, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, ok := p.known[c]
	return ok && now.Sub(k.used) < knownFor
}

// holds reports whether c was right for hash, and then it counts as used.
func (p *passwords) holds(c credential, hash string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, ok := p.known[c]
	if !ok || k.hash != hash || now.Sub(k.used) >= knownFor {
		delete(p.known, c)
		return false
	}
	p.known[c] = knownLogin{hash, now}
	return true
}

// check compares slowly; what is right is remembered.
func (p *passwords) check(c credential, hash, password string, now time.Time) bool {
	if p.compare([]byte(hash), []byte(password)) != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) >= maxKnown {
		p.forget(now)
	}
	p.known[c] = knownLogin{hash, now}
	return true
}

// forget drops what was not used lately, and of too many the least recently used
// half of what is left.
func (p *passwords) forget(now time.Time) {
	for age := knownFor; len(p.known) >= maxKnown && age > 0; age /= 2 {
		for c, k := range p.known {
			if now.Sub(k.used) >= age {
				delete(p.known, c)
			}
		}
	}
	if len(p.known) >= maxKnown {
		clear(p.known)
	}
}
