//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// replay sends old messages again, with a node's certificate.
func (f *faultNet) replay(t *testing.T, node string, list ...string) error {
	creds := f.load(t, node)
	nc, err := nats.Connect(strings.Join(f.brokers, ","), nats.Secure(creds.ClientTLS()), nats.ClientTLSConfig(nil, creds.RootCAs),
		nats.TLSHandshakeFirst(), nats.SetCustomDialer(hostDialer{f.desk}))
	if err != nil {
		return err
	}
	defer nc.Close()
	for _, s := range list {
		f.watchers.mu.Lock()
		m := f.watchers.old[s]
		f.watchers.mu.Unlock()
		if m == nil {
			return fmt.Errorf("nothing was heard on %s", s)
		}
		f.watchers.replayed.Store(string(m.Data), true)
		if err := nc.Publish(s, m.Data); err != nil {
			return err
		}
	}
	return nc.FlushTimeout(2 * time.Second)
}

// changeAuthority does one step of a change of the authority: both are trusted; all
// certificates are of the new one; the new one alone is trusted.
func (f *faultNet) changeAuthority(t *testing.T, step int) error {
	in := func(name string) string { return filepath.Join(f.desk.dir, name) }
	switch step {
	case 1:
		next := fmt.Sprintf("ca-%d", time.Now().UnixNano())
		f.onDesk(t, "ca", "init", "--ca-dir", next, "--domain", faultDomain)
		old, err := os.ReadFile(in(f.authorities()))
		if err != nil {
			return err
		}
		b, err := os.ReadFile(in(filepath.Join(next, "ca.crt")))
		if err != nil {
			return err
		}
		if err := os.WriteFile(in("bundle.crt"), append(old, b...), 0o600); err != nil {
			return err
		}
		f.nextCA = next
	case 2:
		f.ca = f.nextCA
		for node, roles := range f.roles {
			f.certify(t, node, roles...)
		}
	case 3:
		if err := os.Remove(in("bundle.crt")); err != nil {
			return err
		}
	}
	return f.hangUp(t)
}

// hangUp gives all processes what the desk has now.
func (f *faultNet) hangUp(t *testing.T) (err error) {
	f.trust(t)
	for _, name := range f.order {
		d := f.daemons[name]
		f.install(t, d.p.host, string(d.Node))
		err = errors.Join(err, syscall.Kill(d.p.cmd.Process.Pid, syscall.SIGHUP))
	}
	for _, c := range f.creds {
		err = errors.Join(err, c.Reload())
	}
	return err
}
