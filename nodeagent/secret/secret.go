package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"time"

	"thor/identity/atomicfile"
)

// Header is the name of the HTTP header that holds nonce and MAC.
const Header = "Thor-Auth"

// A Kind tells what a MAC is for, so that none serves for something else.
type Kind string

// The kinds.
const (
	Ask    Kind = "ask"
	Answer Kind = "answer"
	RPC    Kind = "rpc"
)

// Size is the number of hexadecimal digits of a secret and of a MAC.
const Size = 2 * sha256.Size

// A Key is a secret. It has no text form, so that no log holds it.
type Key struct{ digits string }

// form is the line of a secret's file: Kamailio includes it. The digits alone
// will do for other programs.
const form = "#!substdef \"!THOR_SECRET!%s!g\"\n"

var find = regexp.MustCompile(`(?m)^(?:#!substdef "!THOR_SECRET!)?([0-9a-f]{64})(?:!g")?\r?$`)

// Parse finds the secret in the text of a file: one line, 64 lower case
// hexadecimal digits, or the directive by which Kamailio learns them.
func Parse(text string) (*Key, error) {
	m := find.FindAllStringSubmatch(text, -1)
	if len(m) != 1 {
		return nil, errors.New("holds no secret: a line of 64 hexadecimal digits, or remove the file to have one made")
	}
	return &Key{m[0][1]}, nil
}

// Read reads the secret of a file. One that others than owner and group may
// read, or that others may write, is refused.
func Read(path string) (*Key, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if fi.Mode().Perm()&0o027 != 0 {
		return nil, fmt.Errorf("%s has mode %04o: 0640 or less is wanted", path, fi.Mode().Perm())
	}
	if fi.Size() > 4096 {
		return nil, fmt.Errorf("%s is too long", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	k, err := Parse(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return k, nil
}

// Load is Read, and makes the file where there is none: for group gid, or the
// process's own if it is negative.
func Load(path string, gid int) (*Key, error) {
	k, err := Read(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if err := create(path, gid); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	return Read(path)
}

// create puts a whole file in place, or none; never over another.
func create(path string, gid int) error {
	var raw [sha256.Size]byte
	_, _ = rand.Read(raw[:]) // never fails
	return atomicfile.Create(path, fmt.Appendf(nil, form, hex.EncodeToString(raw[:])), gid, 0o640)
}

// MAC is what proves the text, SHA-256 in hexadecimal digits.
func (k *Key) MAC(kind Kind, nonce, text string) string {
	return sum(k.digits + sum(k.digits+string(kind)+" "+nonce+" "+text))
}

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// Sign is the header's value for a text, and its nonce.
func (k *Key) Sign(kind Kind, text string, now time.Time) (header, nonce string) {
	nonce = fmt.Sprintf("%d.%06d.%s", now.Unix(), now.Nanosecond()/1000, rand.Text())
	return nonce + " " + k.MAC(kind, nonce, text), nonce
}

// Check compares a MAC in constant time.
func (k *Key) Check(kind Kind, nonce, text, mac string) bool {
	return subtle.ConstantTimeCompare([]byte(k.MAC(kind, nonce, text)), []byte(mac)) == 1
}

// Open checks an answer as the agent gives it, a line with the MAC and the body,
// and returns the body.
func (k *Key) Open(nonce string, status int, answer string) (body string, ok bool) {
	if len(answer) <= Size || answer[Size] != '\n' {
		return "", false
	}
	body = answer[Size+1:]
	return body, k.Check(Answer, nonce, fmt.Sprintf("%d %s", status, body), answer[:Size])
}

// Seal is the answer that Open opens.
func (k *Key) Seal(nonce string, status int, body string) string {
	return k.MAC(Answer, nonce, fmt.Sprintf("%d %s", status, body)) + "\n" + body
}

// split takes a header's value apart; not ok for what is none.
func split(header string) (nonce, mac string, at time.Time, ok bool) {
	nonce, mac, ok = strings.Cut(header, " ")
	if !ok || len(mac) != Size || len(nonce) > 128 {
		return "", "", time.Time{}, false
	}
	var sec, micro int64
	if n, err := fmt.Sscanf(nonce, "%d.%d", &sec, &micro); n != 2 || err != nil || micro < 0 || micro > 999_999 {
		return "", "", time.Time{}, false
	}
	return nonce, mac, time.Unix(sec, micro*1000), true
}
