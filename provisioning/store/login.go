package store

import (
	"context"

	"thor/provisioning/ngnpro"
)

// Credentials finds the party of a user name, and the hash of its password.
func (s customers) Credentials(ctx context.Context, username string) (c *ngnpro.CustomerAccount, hash string, err error) {
	err = s.look(ctx, "log in", func(t *tx) error {
		c, hash, err = t.login(username)
		return err
	})
	return c, hash, err
}
