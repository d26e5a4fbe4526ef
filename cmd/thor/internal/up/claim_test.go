package up

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// options are of a network that no other test runs.
func options(t *testing.T, loopback, dns string) Options {
	return Options{
		Dir: filepath.Join(t.TempDir(), "net"), Domain: "thor.test", Nodes: 2, DNS: dns, Loopback: loopback, Binary: "/bin/false",
		RestartAfter: time.Second, Say: t.Logf,
	}
}

// refused runs a network, which must fail with an error that has want, before it
// says that it is ready.
func refused(t *testing.T, o Options, want ...string) {
	t.Helper()
	err := Run(t.Context(), o, func(*Network) { t.Error("it is ready") })
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %v, want %q", err, w)
		}
	}
}

func TestASecondNetworkOnTheSameAddressesIsRefused(t *testing.T) {
	first := options(t, "127.201", "127.0.0.1:15301")
	release, err := first.takeClaims()
	if err != nil {
		t.Fatal(err)
	}
	loopback := options(t, "127.201", "127.0.0.1:15311")
	refused(t, loopback, "the network in "+first.Dir+" uses 127.201 already", "choose another --loopback")
	overlapping := options(t, "127.202", "127.0.0.1:15302")
	refused(t, overlapping, "the network in "+first.Dir+" uses 127.0.0.1:15302 already", "choose another --dns")
	again := first
	refused(t, again, "a network runs in "+first.Dir+" already", "--dir")
	for _, o := range []Options{loopback, overlapping} {
		if _, err := os.Stat(o.Dir); err == nil {
			t.Error("something was made in the directory")
		}
	}
	release()
	release, err = overlapping.takeClaims()
	if err != nil {
		t.Errorf("after the end of the first: %v", err)
	} else {
		release()
	}
}

func TestAddressesOnWhichAnotherProgramListensAreRefused(t *testing.T) {
	for _, c := range []struct{ network, address, option string }{
		{"udp", "127.0.0.1:15322", "--dns"},
		{"tcp", "127.0.0.1:15321", "--dns"},
		{"udp", "127.203.20.2:5060", "--loopback"},
		{"tcp", "127.203.20.1:9501", "--loopback"},
	} {
		var close func() error
		if c.network == "udp" {
			l, err := net.ListenPacket(c.network, c.address)
			if err != nil {
				t.Fatal(err)
			}
			close = l.Close
		} else {
			l, err := net.Listen(c.network, c.address)
			if err != nil {
				t.Fatal(err)
			}
			close = l.Close
		}
		refused(t, options(t, "127.203", "127.0.0.1:15321"), c.address, "address already in use", c.option)
		_ = close()
	}
	o := options(t, "127.203", "127.0.0.1:15321")
	if err := o.free(); err != nil {
		t.Errorf("nothing listens: %v", err)
	}
}

// What a crash left may end a moment later.
func TestAddressesOfACrashedNetworkBecomeFree(t *testing.T) {
	o := options(t, "127.205", "127.0.0.1:15341")
	l, err := net.Listen("tcp", "127.205.20.1:9500")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.awaitFree(t.Context(), false); err == nil {
		t.Error("an address in use is free")
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = l.Close() })
	if err := o.awaitFree(t.Context(), true); err != nil {
		t.Error(err)
	}
}

func TestOptionsThatCannotBeAreRefused(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"--restart-after -1s is negative":                    func(o *Options) { o.RestartAfter = -time.Second },
		"names no host":                                      func(o *Options) { o.DNS = ":5354" },
		"--dns 192.0.2.1:5354 is no address of this machine": func(o *Options) { o.DNS = "192.0.2.1:5354" },
		"is not host:port":                                   func(o *Options) { o.DNS = "5354" },
		"is no port":                                         func(o *Options) { o.DNS = "127.0.0.1:65535" },
		"0 nodes":                                            func(o *Options) { o.Nodes = 0 },
		"the beginning of a loopback":                        func(o *Options) { o.Loopback = "192.0" },
		"no directory for the network":                       func(o *Options) { o.Dir = "" },
	} {
		o := options(t, "127.204", "127.0.0.1:15331")
		if err := o.Check(); err != nil {
			t.Fatal(err)
		}
		change(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestProgramsAreFoundWhereServersAre(t *testing.T) {
	path, sbin := t.TempDir(), t.TempDir()
	old := systemDirs
	systemDirs = []string{t.TempDir(), sbin}
	t.Cleanup(func() { systemDirs = old })
	t.Setenv("PATH", path)
	make := func(file string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	make(filepath.Join(sbin, "mariadbd"), 0o755)
	make(filepath.Join(sbin, "notes"), 0o644)
	if got, err := program("mariadbd"); err != nil || got != filepath.Join(sbin, "mariadbd") {
		t.Errorf("%s, %v", got, err)
	}
	for _, absent := range []string{"notes", "kamailio"} {
		if got, err := program(absent); err == nil {
			t.Errorf("%s is %s", absent, got)
		}
	}
	make(filepath.Join(path, "mariadbd"), 0o755)
	if got, err := program("mariadbd"); err != nil || got != filepath.Join(path, "mariadbd") {
		t.Errorf("PATH goes first: %s, %v", got, err)
	}
}
