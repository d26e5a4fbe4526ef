package identity_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"thor/identity"
)

func TestLoadTellsWhatIsWrongWithTheFilesInOneLine(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	ca := newTestCA(t, "ca", nil)
	write := func(path string, data []byte) {
		t.Helper()
		check(t, os.WriteFile(path, data, 0o600))
	}
	reissue := func(f identity.Files, from time.Time, life time.Duration) {
		r := request("gw1", "sip_proxy")
		r.NotBefore, r.Validity = from, life
		cert, key, err := a.Issue(r)
		check(t, err)
		write(f.Cert, cert)
		write(f.Key, key)
	}
	_, strangerKey, err := a.Issue(request("gw1", "sip_proxy"))
	check(t, err)
	for _, c := range []struct {
		name string
		want error
		file string // named in the error
		edit func(f *identity.Files)
	}{
		{"no certificate file", identity.ErrFile, "node.crt", func(f *identity.Files) { check(t, os.Remove(f.Cert)) }},
		{"no key file", identity.ErrFile, "node.key", func(f *identity.Files) { check(t, os.Remove(f.Key)) }},
		{"no CA file", identity.ErrFile, "ca.crt", func(f *identity.Files) { check(t, os.Remove(f.CA)) }},
		{"no name given", identity.ErrFile, "", func(f *identity.Files) { f.CA = "" }},
		{"certificate is a directory", identity.ErrFile, "node.crt", func(f *identity.Files) { check(t, os.Remove(f.Cert)); check(t, os.Mkdir(f.Cert, 0o700)) }},
		{"certificate is a FIFO", identity.ErrFile, "node.crt", func(f *identity.Files) { check(t, os.Remove(f.Cert)); check(t, syscall.Mkfifo(f.Cert, 0o600)) }},
		{"symlink loop", identity.ErrFile, "node.crt", func(f *identity.Files) { check(t, os.Remove(f.Cert)); check(t, os.Symlink(f.Cert, f.Cert)) }},
		{"certificate of 10 MB", identity.ErrFile, "node.crt", func(f *identity.Files) { write(f.Cert, make([]byte, 10<<20)) }},
		{"empty certificate", identity.ErrFile, "node.crt", func(f *identity.Files) { write(f.Cert, nil) }},
		{"certificate is text", identity.ErrPEM, "node.crt", func(f *identity.Files) { write(f.Cert, []byte("hello\n")) }},
		{"certificate is damaged", identity.ErrPEM, "node.crt", func(f *identity.Files) {
			write(f.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0x30, 1}}))
		}},
		{"certificate out of form", identity.ErrNoRole, "node.crt", func(f *identity.Files) {
			s := goodSpec()
			s.subject = s.subject[:1]
			leaf, _ := ca.sign(t, s)
			write(f.Cert, pemOf(leaf))
		}},
		{"chain of six", identity.ErrChainTooLong, "node.crt", func(f *identity.Files) {
			b, err := os.ReadFile(f.Cert)
			check(t, err)
			write(f.Cert, bytes.Repeat(b, 6))
		}},
		{"key readable by the group", identity.ErrKeyMode, "chmod 600", func(f *identity.Files) { check(t, os.Chmod(f.Key, 0o640)) }},
		{"key readable by others", identity.ErrKeyMode, "mode 0604", func(f *identity.Files) { check(t, os.Chmod(f.Key, 0o604)) }},
		{"key behind a link readable by others", identity.ErrKeyMode, "node.key", func(f *identity.Files) {
			check(t, os.Rename(f.Key, f.Key+"2"))
			check(t, os.Chmod(f.Key+"2", 0o644))
			check(t, os.Symlink(f.Key+"2", f.Key))
		}},
		{"key of another certificate", identity.ErrKeyMismatch, "node.key", func(f *identity.Files) { write(f.Key, strangerKey) }},
		{"key is a certificate", identity.ErrPEM, "node.key", func(f *identity.Files) { write(f.Key, a.CertificatePEM()) }},
		{"key is damaged", identity.ErrPEM, "node.key", func(f *identity.Files) {
			write(f.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{0x30, 1}}))
		}},
		{"key is encrypted", identity.ErrKeyEncrypted, "node.key", func(f *identity.Files) {
			write(f.Key, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{0x30, 1}}))
		}},
		{"CA file holds a leaf", identity.ErrNotAuthority, "ca.crt", func(f *identity.Files) {
			leaf, err := os.ReadFile(f.Cert)
			check(t, err)
			write(f.CA, append(a.CertificatePEM(), leaf...))
		}},
		{"another authority", identity.ErrUntrusted, "ca.crt must hold", func(f *identity.Files) { write(f.CA, other.CertificatePEM()) }},
		{"self-signed", identity.ErrUntrusted, "node.crt", func(f *identity.Files) {
			self, key := selfSignedLeaf(t)
			write(f.Cert, self)
			write(f.Key, key)
		}},
		{"expired", identity.ErrExpired, "thor ca renew", func(f *identity.Files) { reissue(*f, time.Now().Add(-2*time.Hour), time.Hour) }},
		{"not yet valid", identity.ErrNotYetValid, "set the clock", func(f *identity.Files) { reissue(*f, time.Now().Add(time.Hour), time.Hour) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := issueFiles(t, a, request("gw1", "sip_proxy"))
			creds := load(t, f)
			edited := f
			c.edit(&edited)
			_, err := identity.Load(edited)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.file) {
				t.Errorf("got %v; want %v naming %q", err, c.want, c.file)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			if edited != f {
				return
			}
			before := creds.Certificate()
			if err := creds.Reload(); !errors.Is(err, c.want) {
				t.Errorf("Reload: %v", err)
			}
			if creds.Certificate() != before {
				t.Error("a bad file replaced the last good set")
			}
		})
	}
}

func selfSignedLeaf(t *testing.T) (cert, key []byte) {
	t.Helper()
	k := newKey(t)
	self := &testCA{&x509.Certificate{RawSubject: subjectOf(t, goodSpec().subject...)}, k}
	s := goodSpec()
	s.public = k.Public()
	leaf, _ := self.sign(t, s)
	return pemOf(leaf), keyPEM(t, k)
}

func TestExpiredAuthorityIsNamed(t *testing.T) {
	ca := newTestCA(t, "old authority", nil, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	leaf, key := ca.sign(t, goodSpec())
	_, err := identity.Load(writeFiles(t, pemOf(leaf), keyPEM(t, key), pemOf(ca.cert)))
	if !errors.Is(err, identity.ErrExpired) || !strings.Contains(err.Error(), "old authority") {
		t.Error(err)
	}
}

func TestKeyFormatsOfOpenSSLAreRead(t *testing.T) {
	ca := newTestCA(t, "ca", nil)
	k := newKey(t)
	s := goodSpec()
	s.public = k.Public()
	leaf, _ := ca.sign(t, s)
	sec1, err := x509.MarshalECPrivateKey(k)
	check(t, err)
	old := append(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 0}}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})...)
	load(t, writeFiles(t, pemOf(leaf), old, pemOf(ca.cert)))
}

func TestIntermediatesAreSentButNotRead(t *testing.T) {
	root := newTestCA(t, "root", nil)
	mid := newTestCA(t, "mid", root, func(c *x509.Certificate) {
		c.RawSubject = subjectOf(t, o(domain), ou("thor_operator"), cn("mid"))
	})
	leaf, key := mid.sign(t, goodSpec())
	c := load(t, writeFiles(t, pemOf(leaf, mid.cert), keyPEM(t, key), pemOf(root.cert)))
	if c.Identity().Has("thor_operator") {
		t.Error("a role came from the intermediate")
	}
	if len(c.Certificate().Certificate) != 2 {
		t.Error("the intermediate is not sent")
	}
	s := goodSpec()
	s.subject = s.subject[:1] // no role of its own
	poor, poorKey := mid.sign(t, s)
	_, err := identity.Load(writeFiles(t, pemOf(poor, mid.cert), keyPEM(t, poorKey), pemOf(root.cert)))
	if !errors.Is(err, identity.ErrNoRole) {
		t.Error(err)
	}
}

func TestReloadTakesNewRolesButNoOtherNode(t *testing.T) {
	a := newAuthority(t)
	f := issueFiles(t, a, request("gw1", "sip_proxy"))
	c := load(t, f)
	replace := func(r identity.Request) {
		cert, key, err := a.Issue(r)
		check(t, err)
		check(t, os.WriteFile(f.Cert, cert, 0o644))
		check(t, os.WriteFile(f.Key, key, 0o600))
	}
	replace(request("gw2", "sip_proxy"))
	if err := c.Reload(); !errors.Is(err, identity.ErrOtherNode) || c.Identity().Node != "gw1" {
		t.Errorf("%v, node %s", err, c.Identity().Node)
	}
	replace(request("gw1", "media_relay"))
	check(t, c.Reload())
	if !c.Identity().Has("media_relay") {
		t.Error("the new certificate is not in use")
	}
}

func TestCredentialsAreOneSetWhileReloading(t *testing.T) {
	a := newAuthority(t)
	f := issueFiles(t, a, request("gw1", "sip_proxy"))
	c := load(t, f)
	var g sync.WaitGroup
	for range 4 {
		g.Go(func() {
			for range 20 {
				if err := c.Reload(); err != nil {
					t.Error(err)
				}
				cert := c.Certificate()
				if cert.Leaf.SerialNumber.Cmp(new(big.Int)) == 0 || c.Roots() == nil || len(c.Authorities()) != 1 {
					t.Error("an incomplete set")
				}
			}
		})
	}
	g.Wait()
}

func TestFilesMayBeRelative(t *testing.T) {
	f := issueFiles(t, newAuthority(t), request("gw1", "sip_proxy"))
	t.Chdir(filepath.Dir(f.Cert))
	load(t, identity.Files{Cert: "node.crt", Key: "node.key", CA: "ca.crt"})
}

func TestReadPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	for content, want := range map[string]string{"secret\n": "secret", "crlf\r\n": "crlf", "\n": "", "12345678": "12345678", "123456789": "!", "a\nb\n": "!", "a\x00b": "!"} {
		check(t, os.WriteFile(file, []byte(content), 0o600))
		got, err := identity.ReadPassword(file, 8)
		if want == "!" {
			if !errors.Is(err, identity.ErrFile) || got != "" || strings.Contains(err.Error(), strings.TrimSpace(content)) {
				t.Errorf("%q: %q %v", content, got, err)
			}
			continue
		}
		if got != want || err != nil {
			t.Errorf("%q: %q %v", content, got, err)
		}
	}
	check(t, os.Chmod(file, 0o644))
	if _, err := identity.ReadPassword(file, 8); !errors.Is(err, identity.ErrKeyMode) {
		t.Errorf("readable by others: %v", err)
	}
}
