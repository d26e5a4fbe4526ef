package dnsagent

import (
	crand "crypto/rand"
	"errors"
	"fmt"
	"os"

	"thor/dnsagent/cookie"
	"thor/dnsagent/dnssec"
	"thor/dnsagent/transfer"
	"thor/dnsagent/zone"
	"thor/overlay/setting"
)

// files is what an agent reads from files of secrets and keys. It is immutable and
// replaced as a whole.
type files struct {
	secrets     cookie.Secrets
	keys        map[string]*transfer.Key // of the secondary servers, by name
	secondaries []*secondary
	zoneKeys    *dnssec.Keys // nil: the zone is not signed
}

// signed is b, with the keys of the zone if it has any.
func (f *files) signed(b *zone.Builder) *zone.Builder {
	if f.zoneKeys == nil {
		return b
	}
	return b.Signed(f.zoneKeys.DNSKEY(b.Apex()))
}

// read reads the files that cfg names. What has no file stays as it is in use.
func (a *Agent) read(cfg Config) (*files, error) {
	f := new(files)
	old := a.files.Load()
	switch {
	case cfg.CookieFile != "":
		s, err := readSecrets(cfg.CookieFile)
		if err != nil {
			return nil, fmt.Errorf("read the secret for DNS cookies: %w", err)
		}
		f.secrets = s
	case old != nil && a.cfg.CookieFile == "":
		f.secrets = old.secrets
	default:
		var random [16]byte
		_, _ = crand.Read(random[:]) // never fails, see crypto/rand
		f.secrets = cookie.Secrets{cookie.New(random)}
	}
	if err := f.openSecondaries(cfg.Secondaries); err != nil {
		return nil, err
	}
	if old != nil {
		f.keep(old)
	}
	if cfg.KeyFile != "" {
		k, err := ReadKeys(cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("read the keys of the zone: %w", err)
		}
		f.zoneKeys = k
	}
	return f, nil
}

// Reload takes over the zone, the secondary servers and the names of files of cfg, of
// the same domain, and reads all files of secrets and keys again. The present status is
// served by it at once; a question is answered by the old or by the new. The records
// that were provisioned stay. On an error all of the old stays in use. The rest of cfg
// is not looked at.
func (a *Agent) Reload(cfg Config) error {
	ps := cfg.Validate()
	if err := setting.Join("dns", ps); err != nil {
		return err
	}
	setting.Fill(&cfg)
	a.mu.Lock()
	defer a.mu.Unlock()
	cfg.Zone.Records = a.cfg.Zone.Records
	b, err := zone.NewBuilder(cfg.Zone)
	if err != nil {
		return err
	}
	if b.Apex() != a.apex {
		return fmt.Errorf("reload zone: the domain was %s and cannot become %s while running", a.apex, b.Apex())
	}
	f, err := a.read(cfg)
	if err != nil {
		return err
	}
	b = f.signed(b)
	var z *zone.Zone
	if a.status != nil {
		if z, err = b.BuildAfter(a.Zone(), a.status); err != nil {
			return err
		}
	}
	a.builder, a.cfg.CookieFile, a.cfg.Zone = b, cfg.CookieFile, cfg.Zone
	a.files.Store(f)
	if z != nil {
		a.publish(z)
	}
	select {
	case a.told <- struct{}{}:
	default:
	}
	return nil
}

// maxPrivate is the size in bytes of a file with secrets and comments.
const maxPrivate = 4096

// readPrivate reads a file that others than owner and group may not read.
func readPrivate(path string) (string, error) {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return "", err
	case fi.IsDir():
		return "", errors.New("is a directory")
	case fi.Mode().Perm()&0o027 != 0:
		return "", fmt.Errorf("mode %04o: 0640 or less is wanted", fi.Mode().Perm())
	case fi.Size() > maxPrivate:
		return "", fmt.Errorf("longer than %d bytes", maxPrivate)
	}
	b, err := os.ReadFile(path)
	return string(b), err
}

// ReadKeys reads the file of the keys by which a zone is signed.
func ReadKeys(path string) (*dnssec.Keys, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	k, err := dnssec.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

func readSecrets(path string) (cookie.Secrets, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s, err := cookie.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}
