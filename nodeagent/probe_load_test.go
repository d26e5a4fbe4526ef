package nodeagent

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// Whoever stands between gets no password.
func TestAnAsteriskWhoseCertificateIsNotTrustedGetsNoPassword(t *testing.T) {
	var told atomic.Int32
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told.Add(1)
		_, _ = w.Write([]byte(`{"ping":"pong"}`))
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := CheckConfig{Kind: Asterisk, Target: srv.URL + "/ari", AuthUser: "thor", PasswordFile: file}
	ping := func() error {
		x, err := c.ARI()
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		return x.Ping(t.Context())
	}
	if err := ping(); err == nil || told.Load() > 0 {
		t.Errorf("told %d times, %v", told.Load(), err)
	}
	c.Roots = x509.NewCertPool()
	c.Roots.AddCert(srv.Certificate())
	if err := ping(); err != nil || told.Load() != 1 {
		t.Errorf("with its authority: told %d times, %v", told.Load(), err)
	}
}
