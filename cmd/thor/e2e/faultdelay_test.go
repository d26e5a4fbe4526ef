//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// run runs a command; the error has what it printed.
func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// A slowLink holds each packet to one host for a while. The router routes them into a
// tunnel, whose other end is this process; what comes back out of the tunnel takes
// the cable, by a table of its own.
type slowLink struct {
	tunnel *os.File
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

const (
	tunnelName  = "slow0"
	tunnelTable = "77" // of routes for packets out of the tunnel
)

// delay slows the packets to a host; 0 ends it. One host at a time.
func (f *faultNet) delay(host string, d, jitter time.Duration) error {
	h := f.byName[host]
	cable := "v-" + host
	if d == 0 {
		err := errors.Join(
			f.onRouter("ip", "route", "replace", h.address+"/32", "dev", cable),
			f.onRouter("ip", "rule", "del", "iif", tunnelName, "lookup", tunnelTable),
			f.onRouter("ip", "route", "flush", "table", tunnelTable),
		)
		if f.slow != nil {
			f.slow.end()
		}
		f.slow = nil
		return err
	}
	s := &slowLink{}
	var err error
	if e := inNamespace(f.router, func() { s.tunnel, err = openTunnel(tunnelName) }); e != nil || err != nil {
		return errors.Join(e, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	f.slow = s
	s.wg.Go(func() { s.forward(ctx, d, jitter) })
	return errors.Join(
		f.onRouter("ip", "link", "set", tunnelName, "up"),
		f.onRouter("sysctl", "-q", "-w", "net.ipv4.conf."+tunnelName+".rp_filter=0"),
		f.onRouter("ip", "route", "add", h.address+"/32", "dev", cable, "table", tunnelTable),
		f.onRouter("ip", "rule", "add", "iif", tunnelName, "lookup", tunnelTable),
		f.onRouter("ip", "route", "replace", h.address+"/32", "dev", tunnelName),
	)
}

// openTunnel makes the device in the namespace of the calling thread.
func openTunnel(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	r, err := unix.NewIfreq(name)
	if err == nil {
		r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// forward writes each packet back after d ± jitter, so that they change their order.
func (s *slowLink) forward(ctx context.Context, d, jitter time.Duration) {
	buf := make([]byte, 64<<10)
	for {
		n, err := s.tunnel.Read(buf)
		if err != nil {
			return
		}
		packet := append([]byte(nil), buf[:n]...)
		late := d - jitter + rand.N(2*jitter+1)
		time.AfterFunc(late, func() {
			if ctx.Err() == nil {
				_, _ = s.tunnel.Write(packet) // one that is lost is lost
			}
		})
	}
}

func (s *slowLink) end() {
	s.cancel()
	_ = s.tunnel.Close()
	s.wg.Wait()
}
