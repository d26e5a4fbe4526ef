package driver_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"thor/dbagent/location"
	"thor/dbagent/location/driver"
)

func TestConfig(t *testing.T) {
	roots := x509.NewCertPool()
	for uri, want := range map[string]struct {
		addr string
		dial time.Duration
		tls  bool
	}{
		"mysql://thor:secret@db.example/sip":                     {"db.example:3306", 2 * time.Second, false},
		"mysql://thor:secret@db.example:3307/sip?tls=true":       {"db.example:3307", 2 * time.Second, true},
		"mysql://thor:secret@192.0.2.1/sip?timeout=500ms":        {"192.0.2.1:3306", 500 * time.Millisecond, false},
		"mysql://thor:secret@192.0.2.1/sip?timeout=10s&tls=true": {"192.0.2.1:3306", 2 * time.Second, true},
	} {
		d, err := location.Parse(uri)
		if err != nil {
			t.Fatalf("%s: %v", uri, err)
		}
		c := driver.Config(d, 2*time.Second, roots, 1<<20)
		if c.User != "thor" || c.Passwd != "secret" || c.Net != "tcp" || c.Addr != want.addr || c.DBName != "sip" {
			t.Errorf("%s: %s@%s(%s)/%s", uri, c.User, c.Net, c.Addr, c.DBName)
		}
		if c.Timeout != want.dial || c.ReadTimeout != 4*time.Second || c.WriteTimeout != 4*time.Second || c.MaxAllowedPacket != 1<<20 {
			t.Errorf("%s: timeouts %s %s %s, packets of %d", uri, c.Timeout, c.ReadTimeout, c.WriteTimeout, c.MaxAllowedPacket)
		}
		if c.AllowAllFiles || c.MultiStatements || c.AllowCleartextPasswords || c.AllowOldPasswords || c.AllowFallbackToPlaintext {
			t.Errorf("%s: a server is trusted with something: %+v", uri, c)
		}
		switch {
		case !want.tls && c.TLS != nil:
			t.Errorf("%s: TLS", uri)
		case want.tls && (c.TLS == nil || c.TLS.InsecureSkipVerify || c.TLS.ServerName != d.Host() || c.TLS.RootCAs != roots || c.TLS.MinVersion < tls.VersionTLS12):
			t.Errorf("%s: TLS %+v", uri, c.TLS)
		}
	}
}
