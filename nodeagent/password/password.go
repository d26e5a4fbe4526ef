// Package password reads the passwords with which checks prove themselves to services.
package password

import (
	"errors"
	"fmt"

	"thor/identity"
)

// max is the longest password in bytes.
const max = 256

var errNone = errors.New("holds no password")

// Read is the password in a file that only its owner may read, see identity.ReadSecret.
func Read(path string) (string, error) {
	p, err := identity.ReadPassword(path, max)
	if err == nil && p == "" {
		err = fmt.Errorf("%s: %w", path, errNone)
	}
	return p, err
}

// Check tells why Read could not read a file.
func Check(path string) error {
	_, err := Read(path)
	return err
}
