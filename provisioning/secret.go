package provisioning

import (
	"fmt"
	"strings"

	"thor/identity"
)

// ReadAdmin is the administrator user with the password that stands alone in a
// file, which nobody but its owner may read.
func ReadAdmin(user, path string) (Admin, error) {
	b, err := identity.ReadSecret(path)
	if err != nil {
		return Admin{}, err
	}
	a := Admin{User: user, Password: strings.TrimRight(string(b), "\r\n")}
	if err := a.check(); err != nil {
		return Admin{}, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

func (a Admin) check() error {
	switch {
	case a.User == "" || len(a.User) > longestSecret:
		return fmt.Errorf("an administrator's name is 1 to %d bytes long", longestSecret)
	case a.Password == "" || len(a.Password) > longestSecret:
		return fmt.Errorf("an administrator's password is 1 to %d bytes long", longestSecret)
	}
	return nil
}
