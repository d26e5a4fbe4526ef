package login

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

	maxVerified = 1024
	verifiedFor = 10 * time.Minute // since a login was last used
)

// HashPassword is what a store keeps of a party's password.
func HashPassword(s string) (string, error) {
	b, err := bcrypt.GenerateFromPassword([]byte(s), passwordCost)
	return string(b), err
}

// noPassword is a hash that no password matches. The login of a name that does
// not exist, or an administrator's with a wrong password, is compared with it: it
// takes as long as any other.
const noPassword = "$2a$10$0000000000000000000000uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"

// verified are the logins that were right lately: their next calls need no slow
// comparison. Of a login it keeps a digest, keyed with a random key of this
// process. It is good for one hash only: a changed password ends it at once.
type verified struct {
	bcrypt func(hash, password []byte) error // a test counts

	mu     sync.Mutex
	key    []byte
	logins map[credential]verifiedLogin
}

type credential [sha256.Size]byte

type verifiedLogin struct {
	hash string // that was matched
	used time.Time
}

func newVerified() *verified {
	x := &verified{bcrypt: bcrypt.CompareHashAndPassword, key: make([]byte, sha256.Size), logins: make(map[credential]verifiedLogin)}
	_, _ = rand.Read(x.key) // never fails
	return x
}

// credential is the digest of a user name and a password.
func (x *verified) credential(user, password string) (c credential) {
	m := hmac.New(sha256.New, x.key)
	m.Write([]byte{byte(len(user))}) // both are at most maxSecret bytes long
	m.Write([]byte(user))
	m.Write([]byte(password))
	m.Sum(c[:0])
	return c
}

// knows reports whether c was right lately. holds compares the hash.
func (x *verified) knows(c credential, now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	k, ok := x.logins[c]
	return ok && now.Sub(k.used) < verifiedFor
}

// holds reports whether c was right for hash, and then it counts as used.
func (x *verified) holds(c credential, hash string, now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	k, ok := x.logins[c]
	if !ok || k.hash != hash || now.Sub(k.used) >= verifiedFor {
		delete(x.logins, c)
		return false
	}
	x.logins[c] = verifiedLogin{hash, now}
	return true
}

// compare compares slowly; what is right is remembered.
func (x *verified) compare(c credential, hash, password string, now time.Time) bool {
	if x.bcrypt([]byte(hash), []byte(password)) != nil {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.logins) >= maxVerified {
		x.forget(now)
	}
	x.logins[c] = verifiedLogin{hash, now}
	return true
}

// forget drops what was not used lately, and of too many the least recently used
// half of what is left.
func (x *verified) forget(now time.Time) {
	for age := verifiedFor; len(x.logins) >= maxVerified && age > 0; age /= 2 {
		for c, k := range x.logins {
			if now.Sub(k.used) >= age {
				delete(x.logins, c)
			}
		}
	}
	if len(x.logins) >= maxVerified {
		clear(x.logins)
	}
}
