// Package driver configures the MySQL driver for a database that a location
// names, so that every user of one is as careful: a server may be hostile.
package driver

import (
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/go-sql-driver/mysql"

	"thor/dbagent/location"
)

// Config lets a server read no local file, learn no password in clear and leave
// out TLS that d asks for. The context of a call ends it; timeout is for what the
// driver does besides, and d may shorten it for dialling. roots verify the
// server's certificate, nil: the system's. maxPacket is how many bytes of one
// packet a server may make us hold.
func Config(d location.DSN, timeout time.Duration, roots *x509.CertPool, maxPacket int) *mysql.Config {
	c := mysql.NewConfig()
	c.User = d.User()
	c.Passwd = d.Password()
	c.Net = "tcp"
	c.Addr = d.Address()
	c.DBName = d.Name()
	c.Timeout = timeout
	c.ReadTimeout = 2 * timeout
	c.WriteTimeout = 2 * timeout
	if t := d.Timeout(); t > 0 {
		c.Timeout = min(t, timeout)
	}
	c.AllowAllFiles = false
	c.MultiStatements = false
	c.AllowCleartextPasswords = false
	c.AllowOldPasswords = false
	c.AllowFallbackToPlaintext = false
	c.InterpolateParams = false
	c.ParseTime = false
	c.MaxAllowedPacket = maxPacket
	c.Logger = &mysql.NopLogger{} // it says nothing that its errors do not
	if d.TLS() {
		c.TLS = &tls.Config{RootCAs: roots, ServerName: d.Host(), MinVersion: tls.VersionTLS12}
	}
	return c
}
