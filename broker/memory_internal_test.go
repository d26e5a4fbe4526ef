package broker

import "testing"

// Routes that are compressed leave less memory for clients.
func TestCompressedRoutesTakeMemoryOfClients(t *testing.T) {
	t.Parallel()
	c := Config{Routes: []string{"tls://b1:6222", "tls://b2:6222", "tls://b3:6222"}, Limits: Limits{ProcessMemory: 2 << 30}}
	plain := c.withDefaults().MaxConnections
	c.CompressRoutes = true
	compressed := c.withDefaults().MaxConnections
	if plain-compressed != 3*compressedMemory/connectionMemory || compressed <= 0 {
		t.Errorf("%d clients, compressed %d", plain, compressed)
	}
}
