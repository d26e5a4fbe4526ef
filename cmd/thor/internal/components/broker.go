package components

import (
	"cmp"

	"thor/broker"
	"thor/cmd/thor/internal/config"
	"thor/identity"
)

// Broker is the broker of the file, with its credentials. creds may be nil.
func Broker(f *config.File, creds *identity.Credentials) broker.Config {
	c := f.Broker.Config
	c.Credentials = creds
	c.StoreDir = cmp.Or(c.StoreDir, f.Network.StateDir)
	c.Site = f.Network.Site
	return c
}
