package up

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"thor/subjects"
)

// A claim keeps other networks off addresses: without it the answers of one
// would be taken for those of another. It is an abstract Unix socket, unix(7),
// which belongs to the network namespace, as loopback addresses do, and ends with
// the process. A program that connects to it reads the directory of the network.
type claim struct {
	what   string // such as "127.83" or "127.0.0.1:5354"
	option string // that chooses something else
}

func (c claim) name() string { return "@thor-up/" + c.what }

// claims are what a network uses of the machine by its options.
func (o *Options) claims() []claim {
	out := []claim{{o.Loopback, "--loopback"}}
	for _, a := range o.dnsAddresses() {
		out = append(out, claim{a, "--dns"})
	}
	return out
}

// takeClaims takes what the network uses until release is called. The error
// names the network that has it.
func (o *Options) takeClaims() (release func(), err error) {
	var held []net.Listener
	release = func() {
		for _, l := range held {
			_ = l.Close()
		}
	}
	for _, c := range o.claims() {
		l, err := net.Listen("unix", c.name())
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			release()
			return nil, c.taken(o.Dir)
		case err != nil:
			release()
			return nil, fmt.Errorf("claim %s: %w", c.what, err)
		}
		held = append(held, l)
		go tell(l, o.Dir)
	}
	return release, nil
}

// tell answers every connection with text, until l is closed.
func tell(l net.Listener, text string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_ = c.SetDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(c, text)
		_ = c.Close()
	}
}

// taken says which network has the claim.
func (c claim) taken(own string) error {
	dir := "another directory"
	if conn, err := net.DialTimeout("unix", c.name(), time.Second); err == nil {
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		if b, err := io.ReadAll(io.LimitReader(conn, 4096)); err == nil && len(b) > 0 {
			dir = subjects.Printable(string(b), 4096)
		}
	}
	if dir == own {
		return fmt.Errorf("a network runs in %s already: end it, or choose another --dir", dir)
	}
	return fmt.Errorf("the network in %s uses %s already: end it, or choose another %s", dir, c.what, c.option)
}

// free returns an error that names an address of the network on which another
// program listens: its answers would be taken for ours.
func (o *Options) free() error {
	var fixed []string // of each node
	for i := 1; i <= o.Nodes; i++ {
		fixed = append(fixed, nodeAddress(o.Loopback, i).String())
	}
	for _, a := range o.dnsAddresses() {
		if err := bindable(a, "udp", "tcp"); err != nil {
			return fmt.Errorf("%w: end what listens there, or choose another --dns", err)
		}
	}
	for _, host := range fixed {
		for port, networks := range nodePorts {
			if err := bindable(net.JoinHostPort(host, fmt.Sprint(port)), networks...); err != nil {
				return fmt.Errorf("%w: end what listens there, or choose another --loopback", err)
			}
		}
	}
	return nil
}

// awaitFree is free. After a crash the last threads of the processes that it
// left may still be ending: it gives them a while.
func (o *Options) awaitFree(ctx context.Context, crashed bool) error {
	patience := time.Duration(0)
	if crashed {
		patience = 2 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := o.free()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// bindable returns why an address cannot be listened on.
func bindable(address string, networks ...string) error {
	for _, n := range networks {
		var c io.Closer
		var err error
		if strings.HasPrefix(n, "udp") {
			c, err = net.ListenPacket(n, address)
		} else {
			c, err = net.Listen(n, address)
		}
		if err != nil {
			return err
		}
		_ = c.Close()
	}
	return nil
}

// nodeAddress is that of a node by its number, from 1 on.
func nodeAddress(loopback string, i int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("%s.%d.%d", loopback, nodeNet, i))
}
