// Package password reads the passwords with which checks prove themselves to services.
package password

import (
	"errors"
	"fmt"
	"strings"

	"thor/identity"
)

// max is the longest password in bytes.
const max = 256

var errNone = errors.New("holds no password: one line of 1 to 256 bytes")

// Read is the password in a file that only its owner may read, see identity.ReadSecret.
func Read(path string) (string, error) {
	b, err := identity.ReadSecret(path)
	if err != nil {
		return "", err
	}
	p := strings.TrimRight(string(b), "\r\n")
	if p == "" || len(p) > max || strings.ContainsAny(p, "\r\n\x00") {
		return "", fmt.Errorf("%s: %w", path, errNone)
	}
	return p, nil
}

// Check tells why Read could not read a file.
func Check(path string) error {
	_, err := Read(path)
	return err
}
